"""A user's own sessions: list them and end them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.not_found import require
from rebalancer.application.ports.accounts import Revocations
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.sessions import end_session, end_sessions, require_recent
from rebalancer.domain.accounts.sessions import Bearer, Session
from rebalancer.domain.audit.events import Action


@attrs.frozen
class ListSessions:
    """List the active sessions of a user."""

    work: UnitOfWork

    def __call__(self, owner: UUID, *, now: datetime) -> list[Session]:
        """Return the sessions, the last used first."""
        with self.work.read() as tx:
            return tx.sessions.active(owner, now)


@attrs.frozen
class EndSession:
    """End a session of the same user."""

    work: UnitOfWork
    revocations: Revocations

    def __call__(self, id: UUID, bearer: Bearer, *, now: datetime) -> None:
        """End the session; its tokens are refused from then on.

        Raises:
            NotFound: the user has no such active session.
            ReauthenticationRequired: it is another one, and the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            found = tx.sessions.find(id)
            is_own = found is not None and found.owner == bearer.owner and found.is_active(now)
            session = require(found if is_own else None, "session", id)
            if id != bearer.session:
                require_recent(tx, bearer, now)
            end_session(tx, self.revocations, session, now)
            record(
                tx, Action.SESSION_ENDED, at=now, actor=bearer.owner, target=f"session:{session.id}"
            )


@attrs.frozen
class EndOtherSessions:
    """End all sessions of a user but the present one."""

    work: UnitOfWork
    revocations: Revocations

    def __call__(self, bearer: Bearer, *, now: datetime) -> int:
        """Return the number of sessions that ended.

        Raises:
            ReauthenticationRequired: the last proof of identity is too old.
        """
        with self.work.begin() as tx:
            require_recent(tx, bearer, now)
            ended = end_sessions(
                tx, self.revocations, bearer.owner, except_=bearer.session, now=now
            )
            details = {"sessions": str(ended)}
            record(tx, Action.SESSIONS_ENDED, at=now, actor=bearer.owner, details=details)
        return ended
