"""Second factors of a user: which there are, and whether a proof is right."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.audit import record
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.factors import (
    FactorCodes,
    PasskeyCeremonies,
    PresentedCredential,
)
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.accounts.factors import (
    PASSKEY,
    RECOVERY_CODE,
    RECOVERY_CODES,
    TOTP,
    Passkey,
    normalize_recovery_code,
    normalize_totp_code,
)
from rebalancer.domain.accounts.guessing import ACCOUNT
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.one_time import OneTimeToken
from rebalancer.domain.accounts.passwords import SHORTEST_PASSWORD
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound
from rebalancer.domain.portfolio.owner import User

CHALLENGE_LIFETIME = timedelta(minutes=5)
"""Time that a client has to answer a challenge of WebAuthn."""

LOGIN_CHALLENGE = "passkey_login"
"""Purpose of the one-time token that is the challenge of any passkey."""


class WrongFactor(NotAuthenticated):
    """A second factor is wrong; the attempt counts."""

    default_code = "wrong_code"


def second_factors(tx: Transaction, owner: UUID) -> tuple[str, ...]:
    """Return the methods that confirm a user's password; empty if the password suffices."""
    methods = [PASSKEY] if tx.passkeys.of_owner(owner) else []
    totp = tx.totp.get(owner)
    if totp is not None and totp.confirmed is not None:
        methods.append(TOTP)
    if methods and tx.recovery_codes.unused(owner):
        methods.append(RECOVERY_CODE)
    return tuple(methods)


@attrs.frozen
class Answer:
    """Response of an authenticator whose challenge was valid, and is used up.

    Attributes:
        credential: The response, whose signature is not verified yet.
        claimed: What it claims.
        token: The challenge.
    """

    credential: Mapping[str, Any]
    claimed: PresentedCredential
    token: OneTimeToken


@attrs.frozen
class TakeChallenge:
    """Use up the challenge that an authenticator has answered."""

    work: UnitOfWork
    tokens: Tokens
    ceremonies: PasskeyCeremonies

    def __call__(self, credential: Mapping[str, Any], purpose: str, *, now: datetime) -> Answer:
        """Return the response with its challenge, which no other response can answer any more.

        Raises:
            InvalidRequest: the response is malformed.
            NotAuthenticated: the challenge is unknown, has expired or was answered before.
        """
        claimed = self.ceremonies.read(credential)
        digest = self.tokens.digest(claimed.challenge)
        with self.work.read() as tx:  # a stranger's text takes no lock
            token = tx.one_time.get(digest, purpose, now)
        if token is not None:
            with self.work.begin() as tx:
                token = tx.one_time.take(digest, purpose, now)
        if token is None:
            raise NotAuthenticated(
                "the challenge has expired or was answered before; start again",
                code="challenge_invalid",
            )
        return Answer(credential, claimed, token)


def use_passkey(
    tx: Transaction,
    ceremonies: PasskeyCeremonies,
    answer: Answer,
    now: datetime,
    *,
    owner: UUID | None = None,
) -> Passkey:
    """Return the passkey that has signed a challenge, with its counter stored.

    Args:
        tx: Transaction that writes.
        ceremonies: Verifies the signature.
        answer: Response to a `LOGIN_CHALLENGE`.
        now: Current time.
        owner: The user whose passkey it must be; None: the user whom the response names.

    Raises:
        WrongFactor: the passkey is unknown or another user's, or the signature is not its own.
    """
    unknown = WrongFactor(
        "this passkey is not registered here; use another one", code="passkey_unknown"
    )
    named = answer.claimed.user_handle or owner
    if named is None or owner not in (None, named):
        raise unknown
    try:
        tx.users.get(named)  # locked before the passkey, as elsewhere
    except NotFound:
        raise unknown from None
    passkey = tx.passkeys.by_credential(answer.claimed.id)
    if passkey is None or passkey.owner != named:
        raise unknown
    try:
        verified = ceremonies.authenticate(answer.credential, answer.claimed.challenge, passkey)
    except NotAuthenticated as error:
        raise WrongFactor(error.message, code=error.code) from None
    passkey = attrs.evolve(
        passkey, sign_count=verified.sign_count, backed_up=verified.backed_up, used=now
    )
    tx.passkeys.save(passkey)
    return passkey


def use_totp(tx: Transaction, codes: FactorCodes, owner: UUID, code: str, now: datetime) -> bool:
    """Return whether a one-time password is right and was not used before; it is used then."""
    totp = tx.totp.get(owner)
    if totp is None or totp.confirmed is None:
        return False
    step = codes.totp_step(totp.secret, normalize_totp_code(code), now)
    if step is None or step <= totp.last_step:
        return False
    tx.totp.save(attrs.evolve(totp, last_step=step))
    return True


def use_recovery_code(
    tx: Transaction, tokens: Tokens, owner: UUID, code: str, now: datetime
) -> bool:
    """Return whether a recovery code is right and was not used before; it is used then."""
    is_right = tx.recovery_codes.use(owner, tokens.digest(normalize_recovery_code(code)), now)
    if is_right:
        user = tx.users.get(owner)
        notify(tx, user, MailKind.FACTOR_REMOVED, now=now, factor="a recovery code, which was used")
        record(tx, Action.RECOVERY_CODE_USED, at=now, actor=owner)
    return is_right


@attrs.frozen
class Proof:
    """Second factor that a client presents: exactly one of the three.

    Attributes:
        code: One-time password of an authenticator app.
        recovery_code: Recovery code.
        credential: Response of an authenticator to the challenge of a login.
    """

    code: str | None = None
    recovery_code: str | None = None
    credential: Mapping[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        given = [one for one in attrs.astuple(self, recurse=False) if one is not None]
        if len(given) != 1:
            raise InvalidRequest(
                "send exactly one of code, recovery_code and credential", code="one_proof_expected"
            )


@attrs.frozen
class CheckProof:
    """Check a second factor of a user, and use it up."""

    tokens: Tokens
    codes: FactorCodes
    ceremonies: PasskeyCeremonies
    take_challenge: TakeChallenge

    def answer(self, proof: Proof, now: datetime) -> Answer | None:
        """Use up the challenge of a proof by passkey, before the transaction of `in_transaction`.

        Raises:
            As `TakeChallenge`.
        """
        if proof.credential is None:
            return None
        return self.take_challenge(proof.credential, LOGIN_CHALLENGE, now=now)

    def in_transaction(
        self, tx: Transaction, proof: Proof, answer: Answer | None, owner: UUID, now: datetime
    ) -> str:
        """Return the method of a right proof.

        Wrong codes in a row cause growing pauses, wherever they are entered. Recovery codes and
        passkeys cannot be guessed.

        Raises:
            WrongFactor: it is wrong, or was used before. The caller commits the transaction.
            TooManyAttempts: the client must wait, or use another second factor.
        """
        if answer is not None:
            use_passkey(tx, self.ceremonies, answer, now, owner=owner)
            return PASSKEY
        if proof.code is not None:
            failures = tx.failures.get(f"code:{owner}", owner, now).add(ACCOUNT, now)
            if use_totp(tx, self.codes, owner, proof.code, now):
                tx.failures.save(attrs.evolve(failures, count=0))
                return TOTP
            tx.failures.save(failures)
            raise WrongFactor(
                "the code is wrong or was used before; enter the one that the app shows now"
            )
        assert proof.recovery_code is not None  # see `Proof`
        if use_recovery_code(tx, self.tokens, owner, proof.recovery_code, now):
            return RECOVERY_CODE
        raise WrongFactor("the recovery code is wrong or was used before; use another one")


def remove_factor(tx: Transaction, user: User, now: datetime) -> None:
    """Complete the removal of a passkey or of an authenticator app.

    Raises:
        Conflict: the user could not sign in any more, or only with a short password.
    """
    if second_factors(tx, user.id):
        return
    if user.password is None:
        raise Conflict(
            "this is the last way to sign in; set a password or add another passkey first",
            code="last_way_to_sign_in",
        )
    if user.short_password:
        raise Conflict(
            f"the password has fewer than {SHORTEST_PASSWORD} characters and needs a second "
            "factor; choose a longer password first",
            code="password_too_short_alone",
        )
    tx.recovery_codes.replace(user.id, (), now)


def first_recovery_codes(
    tx: Transaction, tokens: Tokens, codes: FactorCodes, owner: UUID, now: datetime
) -> tuple[str, ...]:
    """Return recovery codes for the first second factor of a user; empty if there are some."""
    if tx.recovery_codes.unused(owner):
        return ()
    return add_recovery_codes(tx, tokens, codes, owner, now)


def add_recovery_codes(
    tx: Transaction, tokens: Tokens, codes: FactorCodes, owner: UUID, now: datetime
) -> tuple[str, ...]:
    """Replace the recovery codes of a user, and return the new ones, which are not stored."""
    made = tuple(codes.create_recovery_code() for _ in range(RECOVERY_CODES))
    digests = [tokens.digest(normalize_recovery_code(one)) for one in made]
    tx.recovery_codes.replace(owner, digests, now)
    record(tx, Action.RECOVERY_CODES_CREATED, at=now, actor=owner)
    return made
