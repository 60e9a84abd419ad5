"""User accounts: logins and risk assessments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.account_mails import AccountPolicy, LinkMailer, require_confirmed
from rebalancer.application.audit import record, record_refusal
from rebalancer.application.guessing import CountAttempt
from rebalancer.application.idempotency import ClientRequest
from rebalancer.application.ports.accounts import Passwords, Revocations, Tokens
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.second_step import begin_second_step
from rebalancer.application.sessions import (
    Login,
    end_session,
    issue_login,
    issue_tokens,
    repeats_exchange,
    seen_now,
    session_of,
)
from rebalancer.domain.accounts.factors import PASSWORD
from rebalancer.domain.accounts.passwords import prepare_password
from rebalancer.domain.accounts.sessions import Session
from rebalancer.domain.audit.events import Action, Outcome
from rebalancer.domain.errors import NotAllowed, NotAuthenticated, NotFound
from rebalancer.domain.portfolio.owner import (
    RefreshToken,
    User,
    spellings_of_email,
)
from rebalancer.domain.portfolio.questions import load_questionnaire


@attrs.frozen
class LogIn:
    """Exchange a password for tokens."""

    work: UnitOfWork
    passwords: Passwords
    tokens: Tokens
    count_attempt: CountAttempt
    mailer: LinkMailer
    policy: AccountPolicy

    def __call__(self, *, email: str, password: str, session_id: UUID, now: datetime) -> Login:
        """Return tokens of a new session.

        Raises:
            TooManyAttempts: the client must wait, or log in by other means.
            NotAuthenticated: the address or the password is wrong; the message names neither.
            NotAllowed: the password is right, and the account disabled, or its address not
                confirmed; then a link was mailed.
            SecondFactorRequired: the password is right, and the account has a second factor.
        """
        with self.work.read() as tx:
            user = find_by_email(tx, email)
        owner = None if user is None else user.id
        self.count_attempt(owner, spellings_of_email(email)[0], now=now)
        matches = password_matches(self.passwords, password, user)
        if user is None or not matches:
            subject, reason = (user.id, "wrong_password") if user else (None, "unknown_account")
            record_refusal(self.work, Action.LOGIN_REFUSED, at=now, subject=subject, reason=reason)
            raise NotAuthenticated(
                "the e-mail address or the password is wrong", code="wrong_credentials"
            )
        hashed = stronger_hash(self.passwords, password, user)
        try:
            require_confirmed(self.work, self.mailer, self.policy, user, now)
            with self.work.begin() as tx:
                self.count_attempt.take_back(tx, user.id, now=now)
                user.check_enabled()
                replace_hash(tx, user, hashed)
                required = begin_second_step(tx, self.tokens, user.id, PASSWORD, now)
                if required is None:
                    return issue_login(
                        tx, self.tokens, user, session_id=session_id, method=PASSWORD, now=now
                    )
        except NotAllowed as error:
            record_refusal(
                self.work, Action.LOGIN_REFUSED, at=now, subject=user.id, reason=error.code
            )
            raise
        raise required


@attrs.frozen
class RefreshLogin:
    """Exchange a refresh token for new tokens.

    A token can be used once. A second use means that it was stolen, before or after: then the
    session ends (RFC 9700, section 4.14.2), unless the first answer was probably lost, see
    `repeats_exchange`.
    """

    work: UnitOfWork
    tokens: Tokens
    revocations: Revocations

    def __call__(self, secret: str, *, now: datetime) -> Login:
        """Return new tokens of the same session.

        Raises:
            NotAuthenticated: the token is unknown, has expired, or was used before.
        """
        digest = self.tokens.digest(secret)
        with self.work.read() as tx:  # a stranger's text takes no lock
            known = tx.tokens.get(digest)
        login = None
        if known is not None and now < known.expires:
            with self.work.begin() as tx:
                user = load_account(tx, known.owner)  # locked before its sessions, as elsewhere
                session = session_of(tx, known)
                token = tx.tokens.get(digest)
                if token is not None:
                    login = self._exchange(tx, user, session, token, now)
        if login is None:
            raise NotAuthenticated(
                "the refresh token has expired or was used before; log in again",
                code="refresh_token_invalid",
            )
        return login

    def _exchange(
        self, tx: Transaction, user: User, session: Session, token: RefreshToken, now: datetime
    ) -> Login | None:
        if session.is_active(now) and (
            tx.tokens.mark_used(token.digest, now) or repeats_exchange(tx, session, token, now)
        ):
            user.check_enabled()
            session = seen_now(session, now)
            tx.sessions.save(session)
            return issue_tokens(tx, self.tokens, user, session, now)
        end_session(tx, self.revocations, session, now)
        if token.used is not None:
            record(
                tx,
                Action.REFRESH_REUSED,
                at=now,
                subject=user.id,
                outcome=Outcome.REFUSED,
                target=f"session:{session.id}",
            )
        return None


@attrs.frozen
class LogOut:
    """End a session by its refresh token."""

    work: UnitOfWork
    tokens: Tokens
    revocations: Revocations

    def __call__(self, secret: str, *, now: datetime) -> None:
        """Revoke all tokens of the same session; an unknown secret is ignored."""
        digest = self.tokens.digest(secret)
        with self.work.read() as tx:  # a stranger's text takes no lock
            known = tx.tokens.get(digest)
        if known is not None:
            with self.work.begin() as tx:
                session = session_of(tx, known)
                if session.ended is None:
                    record(tx, Action.LOGOUT, at=now, actor=session.owner)
                end_session(tx, self.revocations, session, now)


@attrs.frozen
class ReadProfile:
    """Read the profile of a user."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> User:
        """Return the user.

        Raises:
            NotAuthenticated: the user no longer exists.
        """
        with self.work.read() as tx:
            return load_account(tx, owner)


@attrs.frozen
class AssessRisk:
    """Score a risk questionnaire and store the outcome."""

    work: UnitOfWork

    def __call__(
        self,
        answers: Mapping[str, str],
        *,
        owner: UUID,
        request: ClientRequest | None = None,
        now: datetime,
    ) -> tuple[User, bool]:
        """Return the user with the assessment, and whether the same request was carried out before.

        Raises:
            InvalidRequest: an answer is missing or invalid; the field names the question.
            NotAuthenticated: the user no longer exists.
        """
        assessment = load_questionnaire().assess(answers)
        with self.work.begin() as tx:
            user = load_account(tx, owner)
            if request is not None and request.earlier_result(tx, owner) is not None:
                return user, True
            user = attrs.evolve(user, assessment=assessment, assessed=now)
            tx.users.save(user)
            record(tx, Action.RISK_ASSESSED, at=now, subject=owner)
            if request is not None:
                request.store_result(tx, owner, owner, now)
        return user, False


def find_by_email(tx: Transaction, email: str) -> User | None:
    """Return the user who is registered with an address in any spelling; None without one."""
    found = (tx.users.by_email(spelling) for spelling in spellings_of_email(email))
    return next((user for user in found if user is not None), None)


def password_matches(passwords: Passwords, password: str, user: User | None) -> bool:
    """Return whether a password is the user's, also as earlier versions hashed it: as typed."""
    hashed = None if user is None else user.password
    prepared = prepare_password(password)
    return passwords.verify(prepared, hashed) or (
        prepared != password and passwords.verify(password, hashed)
    )


def stronger_hash(passwords: Passwords, password: str, user: User) -> str | None:
    """Return a new hash of the right password of a user; None if the stored one is up to date."""
    prepared = prepare_password(password)
    if not user.password or not passwords.is_outdated(user.password):
        return None
    return passwords.hash(prepared)


def replace_hash(tx: Transaction, user: User, hashed: str | None) -> None:
    """Store a stronger hash of the same password, unless the password was changed meanwhile."""
    stored = tx.users.get(user.id)
    if hashed is not None and stored.password == user.password:
        tx.users.save(attrs.evolve(stored, password=hashed))


def load_account(tx: Transaction, owner: UUID) -> User:
    """Return the user of an access token, which may outlive the account.

    Raises:
        NotAuthenticated: the user no longer exists.
        NotAllowed: the account has just been disabled.
    """
    try:
        user = tx.users.get(owner)
    except NotFound:
        raise NotAuthenticated(
            "this account no longer exists; register again", code="account_deleted"
        ) from None
    user.check_enabled()
    return user
