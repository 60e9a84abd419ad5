"""Users, their sessions and refresh tokens in a SQL database."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, tuple_, update

from rebalancer.adapters.sql.rows import SESSIONS, TOKENS, USERS, user_row
from rebalancer.adapters.sql.sealed import has_text, open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore, delete_unlocked, lock_rows, replace_row
from rebalancer.adapters.sql.tables import account_deletions, refresh_tokens, sessions, users
from rebalancer.application.not_found import require
from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.accounts.sessions import IDLE_LIFETIME, Session
from rebalancer.domain.portfolio.owner import RefreshToken, User


class SqlUsers(SqlStore):
    def add(self, user: User) -> None:
        self.connection.execute(insert(users), self._row_of(user))

    def get(self, id: UUID) -> User:
        query = select(users).where(users.c.id == id)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return self._user_of(require(row, "user", id))

    def lock(self, id: UUID) -> None:
        self.connection.execute(lock_rows(select(users.c.id).where(users.c.id == id)))

    def by_email(self, email: str) -> User | None:
        found = select(users).where(has_text(self.cipher, users, email))
        row = self.connection.execute(found).first()
        return None if row is None else self._user_of(row)

    def save(self, user: User) -> None:
        replace_row(self.connection, users, self._row_of(user), "user")

    def page(
        self, *, role: Role | None = None, after: UUID | None = None, limit: int
    ) -> list[User]:
        query, cursor = select(users), users.alias("cursor")
        if role is not None:
            query = query.where(users.c.role == role.value)
        if after is not None:
            start = select(cursor.c.created, cursor.c.id).where(cursor.c.id == after)
            query = query.where(tuple_(users.c.created, users.c.id) > start.scalar_subquery())
        page = query.order_by(users.c.created, users.c.id).limit(limit)
        return [self._user_of(row) for row in self.connection.execute(page)]

    def enabled_operators(self) -> frozenset[UUID]:
        query = select(users.c.id, users.c.disabled).where(users.c.role == Role.OPERATOR.value)
        query = query.order_by(users.c.id)  # one order of locks
        rows = self.connection.execute(lock_rows(query) if self.locks else query)
        enabled = frozenset(row.id for row in rows if row.disabled is None)
        owner = account_deletions.c.owner  # after the locks, as a request to delete takes them, too
        leaving = self.connection.scalars(select(owner).where(owner.in_(enabled)))
        return enabled.difference(leaving)

    def _row_of(self, user: User) -> dict[str, Any]:
        return seal_row(self.cipher, users, user_row(user))

    def _user_of(self, row: Row[Any]) -> User:
        return USERS.from_row(open_row(self.cipher, users, row))


class SqlRefreshTokens(SqlStore):
    def add(self, token: RefreshToken) -> None:
        self.connection.execute(insert(refresh_tokens), TOKENS.to_row(token))

    def get(self, digest: str) -> RefreshToken | None:
        query = select(refresh_tokens).where(refresh_tokens.c.digest == digest)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return None if row is None else TOKENS.from_row(row)

    def mark_used(self, digest: str, now: datetime) -> bool:
        table = refresh_tokens
        unused = (table.c.digest == digest) & table.c.used.is_(None)
        return self.connection.execute(update(table).where(unused).values(used=now)).rowcount == 1

    def unused(self, family: UUID) -> list[RefreshToken]:
        table = refresh_tokens
        query = select(table).where(table.c.family == family, table.c.used.is_(None))
        rows = self.connection.execute(lock_rows(query) if self.locks else query)
        return [TOKENS.from_row(row) for row in rows]

    def revoke(self, family: UUID) -> None:
        """See `RefreshTokens.revoke`.

        A concurrent refresh may insert a new token that this statement does not see. The deletion
        waits for it and is repeated until no row is deleted; a new token only replaces an old one.
        """
        tokens = delete(refresh_tokens).where(refresh_tokens.c.family == family)
        while self.connection.execute(tokens).rowcount:
            pass

    def has_family(self, family: UUID) -> bool:
        query = select(refresh_tokens.c.family).where(refresh_tokens.c.family == family).limit(1)
        return self.connection.execute(query).one_or_none() is not None

    def delete_expired(self, now: datetime, *, owner: UUID | None = None) -> None:
        table = refresh_tokens.c
        ended = select(table.digest).where(table.expires <= now)
        if owner is not None:
            ended = ended.where(table.owner == owner)
        self.connection.execute(delete_unlocked(refresh_tokens, table.digest, ended))


class SqlSessions(SqlStore):
    def add(self, session: Session) -> None:
        row = seal_row(self.cipher, sessions, SESSIONS.to_row(session))
        self.connection.execute(insert(sessions), row)

    def find(self, id: UUID) -> Session | None:
        query = select(sessions).where(sessions.c.id == id)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return None if row is None else self._session_of(row)

    def save(self, session: Session) -> None:
        row = seal_row(self.cipher, sessions, SESSIONS.to_row(session))
        replace_row(self.connection, sessions, row, "session")

    def active(self, owner: UUID, now: datetime) -> list[Session]:
        table = sessions.c
        query = (
            select(sessions)
            .where(table.owner == owner, table.ended.is_(None), table.ends > now)
            .where(table.used > now - IDLE_LIFETIME)
            .order_by(table.used.desc(), table.id.desc())
        )
        return [self._session_of(row) for row in self.connection.execute(query)]

    def delete_past(self, now: datetime) -> None:
        past = select(sessions.c.id).where(sessions.c.ends <= now)
        self.connection.execute(delete_unlocked(sessions, sessions.c.id, past))

    def _session_of(self, row: Row[Any]) -> Session:
        return SESSIONS.from_row(open_row(self.cipher, sessions, row))
