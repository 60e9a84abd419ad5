"""Notices in a SQL database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.engine import upsert
from rebalancer.adapters.sql.rows import NOTICE_CHOICES, NOTICE_TARGETS, NOTICES
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import (
    SqlStore,
    delete_unlocked,
    lock_rows,
    replace_row,
    select_latest,
)
from rebalancer.adapters.sql.tables import notice_choices, notice_targets, notices
from rebalancer.application.not_found import NOT_FOUND, require
from rebalancer.application.ports.notices import NoticeCount
from rebalancer.domain.notices.choices import NoticeChoices
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import Target

_TABLE = notices.c


class SqlNotices(SqlStore):
    def add(self, notice: Notice) -> bool:
        add = sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert
        row = add(notices).values(seal_row(self.cipher, notices, NOTICES.to_row(notice)))
        # The id derives from the owner and the key, so both constraints are met at once.
        added = row.on_conflict_do_nothing().returning(_TABLE.id)
        return self.connection.execute(added).one_or_none() is not None

    def get(self, id: UUID, *, owner: UUID) -> Notice:
        query = select(notices).where(_TABLE.id == id, _TABLE.owner == owner)
        return self._notice_of(require(self.connection.execute(query).one_or_none(), "notice", id))

    def of(self, ids: Collection[UUID]) -> list[Notice]:
        query = select(notices).where(_TABLE.id.in_(sorted(ids)))
        return self._notices(query.order_by(_TABLE.created, _TABLE.id))

    def page(
        self,
        owner: UUID,
        *,
        unread: bool = False,
        portfolio: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Notice]:
        query = select(notices)
        if unread:
            query = query.where(_TABLE.read.is_(None))
        same = {"owner": owner, "portfolio": portfolio}
        return self._notices(
            select_latest(query, notices, "created", before=before, limit=limit, **same)
        )

    def count(self, owner: UUID) -> NoticeCount:
        mine = _TABLE.owner == owner
        unread = select(func.count()).where(mine, _TABLE.read.is_(None)).scalar_subquery()
        newest = select(_TABLE.id).where(mine).order_by(_TABLE.created.desc(), _TABLE.id.desc())
        row = self.connection.execute(select(unread, newest.limit(1).scalar_subquery())).one()
        return NoticeCount(row[0], row[1])

    def mark_read(self, id: UUID, *, owner: UUID, now: datetime) -> Notice:
        unread = (_TABLE.id == id) & (_TABLE.owner == owner) & _TABLE.read.is_(None)
        self.connection.execute(update(notices).where(unread).values(read=now))
        return self.get(id, owner=owner)

    def mark_all_read(self, owner: UUID, now: datetime, *, through: UUID | None = None) -> int:
        change = update(notices).where(_TABLE.owner == owner, _TABLE.read.is_(None))
        if through is not None:
            last = notices.alias("last")
            place = select(last.c.created, last.c.id)
            place = place.where(last.c.id == through, last.c.owner == owner)
            change = change.where(tuple_(_TABLE.created, _TABLE.id) <= place.scalar_subquery())
        return self.connection.execute(change.values(read=now)).rowcount

    def resolve(self, owner: UUID, key: str, now: datetime) -> bool:
        still = (_TABLE.owner == owner) & (_TABLE.key == key) & _TABLE.resolved.is_(None)
        change = update(notices).where(still).values(resolved=now)
        return self.connection.execute(change).rowcount == 1

    def delete_old(self, before: datetime) -> None:
        old = select(_TABLE.id).where(_TABLE.created < before)
        self.connection.execute(delete_unlocked(notices, _TABLE.id, old))

    def _notices(self, query: Select[Any]) -> list[Notice]:
        return [self._notice_of(row) for row in self.connection.execute(query)]

    def _notice_of(self, row: Row[Any]) -> Notice:
        return NOTICES.from_row(open_row(self.cipher, notices, row))


class SqlNoticeChoices(SqlStore):
    def get(self, owner: UUID) -> NoticeChoices:
        query = select(notice_choices.c.choices).where(notice_choices.c.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return NoticeChoices() if row is None else NOTICE_CHOICES(row.choices)

    def save(self, owner: UUID, choices: NoticeChoices) -> None:
        upsert(self.connection, notice_choices, [{"owner": owner, "choices": choices}])


class SqlNoticeTargets(SqlStore):
    def add(self, target: Target) -> None:
        self.connection.execute(insert(notice_targets), self._row_of(target))

    def get(self, id: UUID, *, owner: UUID) -> Target:
        table = notice_targets.c
        query = select(notice_targets).where(table.id == id, table.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return self._target_of(require(row, "target", id))

    def of_owner(self, owner: UUID) -> list[Target]:
        table = notice_targets.c
        query = select(notice_targets).where(table.owner == owner)
        rows = self.connection.execute(query.order_by(table.created, table.id))
        return [self._target_of(row) for row in rows]

    def save(self, target: Target) -> None:
        replace_row(self.connection, notice_targets, self._row_of(target), "target")

    def delete(self, id: UUID, *, owner: UUID) -> None:
        table = notice_targets.c
        mine = (table.id == id) & (table.owner == owner)
        if self.connection.execute(delete(notice_targets).where(mine)).rowcount != 1:
            raise NOT_FOUND["target"](id)

    def _row_of(self, target: Target) -> dict[str, Any]:
        return seal_row(self.cipher, notice_targets, NOTICE_TARGETS.to_row(target))

    def _target_of(self, row: Row[Any]) -> Target:
        return NOTICE_TARGETS.from_row(open_row(self.cipher, notice_targets, row))
