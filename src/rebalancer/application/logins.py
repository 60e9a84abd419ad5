"""Ways to log in besides a password alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.account_mails import AccountPolicy, LinkMailer, require_confirmed
from rebalancer.application.accounts import load_account
from rebalancer.application.audit import record, record_refusal
from rebalancer.application.factors import (
    CHALLENGE_LIFETIME,
    LOGIN_CHALLENGE,
    CheckProof,
    Proof,
    TakeChallenge,
    WrongFactor,
    use_passkey,
)
from rebalancer.application.one_time import create_one_time, take_one_time
from rebalancer.application.ports.accounts import Tokens
from rebalancer.application.ports.factors import PasskeyCeremonies
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.second_step import LOGIN_TICKET
from rebalancer.application.sessions import Login, issue_login
from rebalancer.domain.accounts.factors import PASSKEY
from rebalancer.domain.audit.events import Action, Outcome
from rebalancer.domain.errors import NotAllowed, NotAuthenticated, RebalancerError

MOST_TRIES = 5
"""Wrong second factors after which the password must be entered again."""


@attrs.frozen
class StartPasskeyLogin:
    """Begin a login with a passkey, of any user."""

    work: UnitOfWork
    tokens: Tokens
    ceremonies: PasskeyCeremonies

    def __call__(self, *, now: datetime) -> Mapping[str, Any]:
        """Return the options with which a client signs; they name no user and no passkey.

        Raises:
            NotFound: passkeys are not set up on this service.
        """
        with self.work.begin() as tx:
            challenge = create_one_time(
                tx, self.tokens, LOGIN_CHALLENGE, None, CHALLENGE_LIFETIME, {}, now
            )
            return self.ceremonies.request_options(challenge)


@attrs.frozen
class LogInWithPasskey:
    """Exchange the signature of a passkey for tokens."""

    work: UnitOfWork
    tokens: Tokens
    ceremonies: PasskeyCeremonies
    take_challenge: TakeChallenge
    mailer: LinkMailer
    policy: AccountPolicy

    def __call__(self, credential: Mapping[str, Any], *, session_id: UUID, now: datetime) -> Login:
        """Return tokens of a new session.

        Raises:
            InvalidRequest: the credential is malformed.
            NotAuthenticated: the challenge is invalid, the passkey unknown, or the signature wrong.
            NotAllowed: the account is disabled, or its address not confirmed; then a link was
                mailed.
        """
        answer = self.take_challenge(credential, LOGIN_CHALLENGE, now=now)
        try:
            with self.work.begin() as tx:
                user = load_account(tx, use_passkey(tx, self.ceremonies, answer, now).owner)
        except WrongFactor as error:
            known = answer.claimed.user_handle if error.code == "passkey_rejected" else None
            self._record_refusal(known, error, now)
            raise
        try:
            require_confirmed(self.work, self.mailer, self.policy, user, now)
            with self.work.begin() as tx:
                return issue_login(
                    tx, self.tokens, user, session_id=session_id, method=PASSKEY, now=now
                )
        except NotAllowed as error:
            self._record_refusal(user.id, error, now)
            raise

    def _record_refusal(self, subject: UUID | None, error: RebalancerError, now: datetime) -> None:
        record_refusal(self.work, Action.LOGIN_REFUSED, at=now, subject=subject, reason=error.code)


@attrs.frozen
class CompleteLogin:
    """Complete a login by a second factor."""

    work: UnitOfWork
    tokens: Tokens
    check: CheckProof

    def __call__(self, ticket: str, proof: Proof, *, session_id: UUID, now: datetime) -> Login:
        """Return tokens of a new session.

        Raises:
            InvalidRequest: the credential is malformed.
            NotAuthenticated: the ticket is invalid, or the second factor is wrong.
            NotAllowed: the account is disabled.
            TooManyAttempts: the client must wait, or use another second factor.
        """
        digest = self.tokens.digest(ticket)
        with self.work.read() as tx:  # a stranger's text takes no lock
            if tx.one_time.get(digest, LOGIN_TICKET, now) is None:
                raise ticket_invalid()
        answer = self.check.answer(proof, now)
        with self.work.begin() as tx:
            held = take_one_time(tx, self.tokens, LOGIN_TICKET, ticket, now)
            if held is None or held.owner is None:
                raise ticket_invalid()
            user = load_account(tx, held.owner)
            try:
                method = self.check.in_transaction(tx, proof, answer, held.owner, now)
            except WrongFactor as error:
                wrong, tries = error, held.document["tries"] + 1
                record(
                    tx,
                    Action.SECOND_FACTOR_REFUSED,
                    at=now,
                    subject=held.owner,
                    outcome=Outcome.REFUSED,
                    details={"reason": error.code},
                )
                if tries < MOST_TRIES:
                    tx.one_time.add(attrs.evolve(held, document={**held.document, "tries": tries}))
            else:
                return issue_login(
                    tx,
                    self.tokens,
                    user,
                    session_id=session_id,
                    method=f"{held.document['method']}+{method}",
                    now=now,
                )
        raise wrong


def ticket_invalid() -> NotAuthenticated:
    """Return the error of a ticket that is unknown, was used, or has expired."""
    return NotAuthenticated(
        "this login has expired, or had too many wrong codes; enter the password again",
        code="ticket_invalid",
    )
