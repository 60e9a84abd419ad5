"""Mails that wait, in a SQL database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.rows import MAILS
from rebalancer.adapters.sql.sealed import has_text, open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore, delete_unlocked
from rebalancer.adapters.sql.tables import outbox
from rebalancer.domain.accounts.mail import Mail, MailKind

_TABLE = outbox.c


class SqlOutbox(SqlStore):
    def add(self, mail: Mail) -> None:
        insert = sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert
        sealed = seal_row(self.cipher, outbox, MAILS.to_row(mail))
        row = insert(outbox).values(sealed | {"due": mail.created})
        self.connection.execute(row.on_conflict_do_nothing(index_elements=["id"]))

    def has_due(self, now: datetime) -> bool:
        query = select(_TABLE.id).where(_TABLE.due <= now).limit(1)
        return self.connection.execute(query).one_or_none() is not None

    def claim(self, now: datetime, *, until: datetime) -> Mail | None:
        first = (
            select(outbox)
            .where(_TABLE.due <= now)
            .order_by(_TABLE.due, _TABLE.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        row = self.connection.execute(first).one_or_none()
        if row is None:
            return None
        changed = {"due": until, "attempts": row.attempts + 1}
        claimed = update(outbox).where(_TABLE.id == row.id).values(changed)
        row = self.connection.execute(claimed.returning(*outbox.columns)).one()
        return MAILS.from_row(open_row(self.cipher, outbox, row))

    def defer(self, id: UUID, due: datetime) -> None:
        waiting = (_TABLE.id == id) & _TABLE.closed.is_(None)
        self.connection.execute(update(outbox).where(waiting).values(due=due))

    def close(self, id: UUID, now: datetime) -> None:
        closed: dict[str, Any] = {"due": None, "closed": now, "facts": {}}
        self.connection.execute(update(outbox).where(_TABLE.id == id).values(closed))

    def count(self, to: str, kinds: Collection[MailKind], since: datetime) -> int:
        named = _TABLE.kind.in_(sorted(kind.value for kind in kinds))
        same = has_text(self.cipher, outbox, to)
        mine = same & named & (_TABLE.created >= since)
        return self.connection.scalar(select(func.count()).where(mine)) or 0

    def delete_closed(self, before: datetime) -> None:
        old = select(_TABLE.id).where((_TABLE.closed < before) | (_TABLE.expires < before))
        self.connection.execute(delete_unlocked(outbox, _TABLE.id, old))


class NoOutbox(SqlOutbox):
    """Outbox of a service that sends no mail; nothing is added to it."""

    def add(self, mail: Mail) -> None:
        """Do nothing."""
