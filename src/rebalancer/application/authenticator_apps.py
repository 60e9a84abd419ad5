"""Authenticator apps of a user, recovery codes, and an overview of all factors."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import load_account
from rebalancer.application.audit import record
from rebalancer.application.factors import (
    add_recovery_codes,
    first_recovery_codes,
    remove_factor,
    second_factors,
)
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.factors import FactorCodes
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.sessions import require_recent
from rebalancer.domain.accounts.factors import TotpSecret, normalize_totp_code
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, InvalidRequest

_APP = "authenticator app"


@attrs.frozen
class NewTotp:
    """Secret for an authenticator app, which is shown once.

    Attributes:
        uri: The same for a QR code.
    """

    secret: str = attrs.field(repr=False)
    uri: str = attrs.field(repr=False)


@attrs.frozen
class StartTotp:
    """Begin to set up an authenticator app."""

    work: UnitOfWork
    codes: FactorCodes

    def __call__(self, bearer: Bearer, *, now: datetime) -> NewTotp:
        """Return a new secret, which replaces one that was not confirmed.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            Conflict: the user has an authenticator app already.
        """
        secret = self.codes.create_totp_secret()
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            user = load_account(tx, bearer.owner)
            known = tx.totp.get(user.id)
            if known is not None and known.confirmed is not None:
                raise Conflict(
                    "an authenticator app is set up already; remove it first", code="totp_enabled"
                )
            tx.totp.save(TotpSecret(user.id, secret, created=now))
        return NewTotp(secret, self.codes.totp_uri(secret, user.email))


@attrs.frozen
class ConfirmTotp:
    """Confirm an authenticator app by its first code."""

    work: UnitOfWork
    tokens: Tokens
    codes: FactorCodes

    def __call__(self, bearer: Bearer, *, code: str, now: datetime) -> tuple[str, ...]:
        """Make the app a second factor; return recovery codes unless some are left.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            Conflict: no secret waits for confirmation.
            InvalidRequest: the code is wrong.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            user = load_account(tx, bearer.owner)
            totp = tx.totp.get(bearer.owner)
            if totp is None or totp.confirmed is not None:
                raise Conflict(
                    "no authenticator app is waiting for its first code; start again",
                    code="totp_not_started",
                )
            step = self.codes.totp_step(totp.secret, normalize_totp_code(code), now)
            if step is None:
                raise InvalidRequest(
                    "wrong code; enter the one that the app shows now, and check the clock of its "
                    "device",
                    field="code",
                    code="wrong_code",
                )
            tx.totp.save(attrs.evolve(totp, confirmed=now, last_step=step))
            record(tx, Action.TOTP_ENABLED, at=now, actor=bearer.owner)
            notify(tx, user, MailKind.FACTOR_ADDED, now=now, factor=_APP)
            return first_recovery_codes(tx, self.tokens, self.codes, bearer.owner, now)


@attrs.frozen
class RemoveTotp:
    """Remove the authenticator app of a user."""

    work: UnitOfWork

    def __call__(self, bearer: Bearer, *, now: datetime) -> None:
        """Remove the app, or a secret that was not confirmed; without either, do nothing.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            Conflict: the user could then sign in with a short password alone.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            user = load_account(tx, bearer.owner)
            known = tx.totp.get(user.id)
            tx.totp.delete(user.id)
            if known is not None and known.confirmed is not None:
                remove_factor(tx, user, now)
                record(tx, Action.TOTP_DISABLED, at=now, actor=user.id)
                notify(tx, user, MailKind.FACTOR_REMOVED, now=now, factor=_APP)


@attrs.frozen
class RenewRecoveryCodes:
    """Replace the recovery codes of a user."""

    work: UnitOfWork
    tokens: Tokens
    codes: FactorCodes

    def __call__(self, bearer: Bearer, *, now: datetime) -> tuple[str, ...]:
        """Return the new codes; the old ones are no longer valid.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
            Conflict: the user has no second factor.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            load_account(tx, bearer.owner)
            if not second_factors(tx, bearer.owner):
                raise Conflict(
                    "recovery codes replace a second factor; add a passkey or an authenticator app "
                    "first",
                    code="second_factor_missing",
                )
            return add_recovery_codes(tx, self.tokens, self.codes, bearer.owner, now)


@attrs.frozen
class Factors:
    """How a user can sign in.

    Attributes:
        password: Whether there is a password.
        passkeys: Number of passkeys.
        totp: Whether an authenticator app is set up.
        recovery_codes: Number of recovery codes that are left.
    """

    password: bool
    passkeys: int
    totp: bool
    recovery_codes: int


@attrs.frozen
class ReadFactors:
    """Read how a user can sign in."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> Factors:
        """Return the factors.

        Raises:
            NotAuthenticated: the user no longer exists.
        """
        with self.work.read() as tx:
            user = load_account(tx, owner)
            totp = tx.totp.get(owner)
            return Factors(
                password=user.password is not None,
                passkeys=len(tx.passkeys.of_owner(owner)),
                totp=totp is not None and totp.confirmed is not None,
                recovery_codes=tx.recovery_codes.unused(owner),
            )
