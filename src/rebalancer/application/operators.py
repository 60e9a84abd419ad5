"""Management of accounts by operators.

Each use case reads the role of the acting operator in its own transaction, so that a role that was
taken away has no further effect. ``bearer`` is None for an operator at a terminal, whom the
operating system has authenticated. Nothing here reads portfolios, proposals or ledgers.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from rebalancer.application.account_notices import notify
from rebalancer.application.accounts import find_by_email
from rebalancer.application.audit import record
from rebalancer.application.one_time import create_one_time
from rebalancer.application.ports.accounts import Revocations, Tokens
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.sessions import end_sessions, require_recent
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.sessions import Bearer
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, NotAllowed
from rebalancer.domain.jobs.job import JobChanged, JobState
from rebalancer.domain.portfolio.owner import User

RESET_LIFETIME = timedelta(hours=1)
"""Validity of a link with which a password is reset."""

_UNFINISHED = frozenset({JobState.QUEUED, JobState.RUNNING})
_MOST_JOBS = 1000


@attrs.frozen
class AccountStatus:
    """An account as operators see it.

    Attributes:
        sessions: Number of active sessions.
        last_used: Last use of an active session; None without one.
        failed_logins: Failed logins in a row, which slow down or lock further ones.
    """

    user: User
    sessions: int
    last_used: datetime | None
    failed_logins: int


@attrs.frozen
class CheckOperator:
    """Check that a user is an operator."""

    work: UnitOfWork

    def __call__(self, user: UUID) -> None:
        """Read the role from the store.

        Raises:
            NotAllowed: the user is not an operator, or is disabled.
        """
        with self.work.read() as tx:
            _check_operator(tx.users.enabled_operators(), user)


@attrs.frozen
class ListAccounts:
    """List accounts."""

    work: UnitOfWork

    def __call__(
        self,
        *,
        role: Role | None = None,
        email: str | None = None,
        after: UUID | None = None,
        limit: int,
        bearer: Bearer | None,
        now: datetime,
    ) -> list[User]:
        """Return a page of users, oldest first; with ``email`` the one with this address.

        Raises:
            NotAllowed: the caller is not an operator.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer)
            if email is None:
                found = tx.users.page(role=role, after=after, limit=limit)
            else:
                named = find_by_email(tx, email)
                found = [] if named is None or role not in (None, named.role) else [named]
            record(tx, Action.ACCOUNTS_LISTED, at=now, details={"accounts": str(len(found))})
        return found


@attrs.frozen
class ShowAccount:
    """Show an account, without what its owner stores."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, bearer: Bearer | None, now: datetime) -> AccountStatus:
        """Return the account and a summary of its sessions.

        Raises:
            NotFound: the user does not exist.
            NotAllowed: the caller is not an operator.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer)
            user = tx.users.get(id)
            _record(tx, Action.ACCOUNT_VIEWED, user, now)
            return _describe(tx, user, now)


@attrs.frozen
class DisableAccount:
    """Block an account: its sessions end, its jobs are cancelled, and it cannot sign in."""

    work: UnitOfWork
    revocations: Revocations

    def __call__(self, id: UUID, *, bearer: Bearer | None, now: datetime) -> AccountStatus:
        """Return the disabled account; disabling twice changes nothing.

        Raises:
            NotFound: the user does not exist.
            NotAllowed: the caller is not an operator, or it is his or her own account, or the last
                proof of identity is too old.
            Conflict: it is the last operator.
        """
        with self.work.begin() as tx:
            user = _lock_other(tx, id, bearer, now)
            end_sessions(tx, self.revocations, id, now=now)
            tx.one_time.delete(id, MailKind.RESET_PASSWORD)
            tx.devices.forget(id)
            for job in tx.jobs.page(id, states=_UNFINISHED, limit=_MOST_JOBS):
                with suppress(JobChanged):  # it has just ended
                    tx.jobs.save(tx.jobs.get(job.id).cancel(now))
            if user.disabled is None:
                user = attrs.evolve(user, disabled=now)
                tx.users.save(user)
                _record(tx, Action.ACCOUNT_DISABLED, user, now)
                notify(tx, user, MailKind.ACCOUNT_LOCKED, now=now)
            return _describe(tx, user, now)


@attrs.frozen
class EnableAccount:
    """Let a disabled account be used again."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, bearer: Bearer | None, now: datetime) -> AccountStatus:
        """Return the account; enabling twice changes nothing.

        Raises:
            NotFound: the user does not exist.
            NotAllowed: the caller is not an operator, or the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer, recent_at=now)
            user = tx.users.get(id)
            if user.disabled is not None:
                user = attrs.evolve(user, disabled=None)
                tx.users.save(user)
                _record(tx, Action.ACCOUNT_ENABLED, user, now)
                notify(tx, user, MailKind.ACCOUNT_UNLOCKED, now=now)
            return _describe(tx, user, now)


@attrs.frozen
class UnlockAccount:
    """Forget the failed logins of an account, which slow down or lock further ones."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, bearer: Bearer | None, now: datetime) -> AccountStatus:
        """Return the account; a disabled account stays disabled.

        Raises:
            NotFound: the user does not exist.
            NotAllowed: the caller is not an operator, or the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer, recent_at=now)
            user = tx.users.get(id)
            before = _describe(tx, user, now)
            tx.failures.clear(id)
            failed = str(before.failed_logins)
            _record(tx, Action.ACCOUNT_UNLOCKED, user, now, failed_logins=failed)
        return attrs.evolve(before, failed_logins=0)


@attrs.frozen
class EndAccountSessions:
    """End all sessions of an account."""

    work: UnitOfWork
    revocations: Revocations

    def __call__(self, id: UUID, *, bearer: Bearer | None, now: datetime) -> int:
        """Return how many sessions were active.

        Raises:
            NotFound: the user does not exist.
            NotAllowed: the caller is not an operator, or the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer, recent_at=now)
            user = tx.users.get(id)
            ended = end_sessions(tx, self.revocations, id, now=now)
            _record(tx, Action.SESSIONS_ENDED, user, now, sessions=str(ended))
        return ended


@attrs.frozen
class ChangeRole:
    """Change the role of an account."""

    work: UnitOfWork

    def __call__(
        self, id: UUID, role: Role, *, bearer: Bearer | None, now: datetime
    ) -> AccountStatus:
        """Return the account with the role.

        Raises:
            NotFound: the user does not exist.
            NotAllowed: the caller is not an operator, or it is his or her own account, or the last
                proof of identity is too old.
            Conflict: it is the last operator, and the role is another one.
        """
        with self.work.begin() as tx:
            user = _lock_other(tx, id, bearer, now, keeps=role is Role.OPERATOR)
            if user.role is not role:
                before, user = user.role, attrs.evolve(user, role=role)
                tx.users.save(user)
                _record(tx, Action.ROLE_CHANGED, user, now, before=before.value, role=role.value)
            return _describe(tx, user, now)


@attrs.frozen
class ResetPassword:
    """Send a link with which the owner of an account chooses a new password."""

    work: UnitOfWork
    tokens: Tokens

    def __call__(
        self, id: UUID, *, mails: bool, bearer: Bearer | None, now: datetime
    ) -> str | None:
        """Mail the link, or return its secret, which works once, at a terminal without mail.

        The present password stays valid until a new one is chosen. Earlier links stop working.

        Raises:
            NotFound: the user does not exist.
            NotAllowed: the caller is not an operator, or the last proof of identity is too old.
            Conflict: the account is disabled, or no mail can be sent.
        """
        with self.work.begin() as tx:
            authorize(tx, bearer, recent_at=now)
            user = tx.users.get(id)
            if user.disabled is not None:
                raise Conflict(
                    "this account is disabled; enable it first", code="account_is_disabled"
                )
            if not mails and bearer is not None:
                raise Conflict(
                    "this service sends no mail; reset the password at its terminal",
                    code="mail_not_configured",
                )
            tx.one_time.delete(id, MailKind.RESET_PASSWORD)
            # A link that is not mailed does not show that the address is the owner's.
            document = {} if mails else {"mailed": False}
            secret = create_one_time(
                tx, self.tokens, MailKind.RESET_PASSWORD, id, RESET_LIFETIME, document, now
            )
            sent = "mail" if mails else "terminal"
            _record(tx, Action.PASSWORD_RESET_REQUESTED, user, now, by="operator", sent=sent)
            if not mails:
                return secret
            minutes = f"{RESET_LIFETIME / timedelta(minutes=1):.0f} minutes"
            notify(tx, user, MailKind.RESET_PASSWORD, now=now, token=secret, validity=minutes)
        return None


def _check_operator(operators: frozenset[UUID], user: UUID) -> None:
    if user not in operators:
        raise NotAllowed("only operators can do this", code="operator_required")


def authorize(
    tx: Transaction, bearer: Bearer | None, *, recent_at: datetime | None = None
) -> frozenset[UUID]:
    """Return the enabled operators, after checking that the caller is one of them.

    They are locked before any other user, in one order.

    Raises:
        NotAllowed: the caller is not an operator, or has not proved an identity recently.
    """
    operators = tx.users.enabled_operators()
    if bearer is not None:
        _check_operator(operators, bearer.owner)
        if recent_at is not None:
            require_recent(tx, bearer, recent_at)
    return operators


def _lock_other(
    tx: Transaction, id: UUID, bearer: Bearer | None, now: datetime, *, keeps: bool = False
) -> User:
    """Return another user than the caller, who may stop being an operator unless ``keeps``.

    Raises:
        NotAllowed: as `authorize`, or the user is the caller.
        Conflict: the user is the last operator.
        NotFound: the user does not exist.
    """
    operators = authorize(tx, bearer, recent_at=now)
    if bearer is not None and id == bearer.owner:
        raise NotAllowed(
            "you cannot do this to your own account; ask another operator", code="own_account"
        )
    if operators == {id} and not keeps:
        raise Conflict(
            "this is the last operator; make another account an operator first",
            code="last_operator",
        )
    return tx.users.get(id)


def _describe(tx: Transaction, user: User, now: datetime) -> AccountStatus:
    active, failures = tx.sessions.active(user.id, now), tx.failures.find(f"user:{user.id}")
    return AccountStatus(
        user,
        sessions=len(active),
        last_used=max((one.used for one in active), default=None),
        failed_logins=0 if failures is None else int(failures.count),
    )


def _record(tx: Transaction, action: Action, user: User, now: datetime, **details: str) -> None:
    record(tx, action, at=now, subject=user.id, target=f"user:{user.id}", details=details)
