"""Notices in memory."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.application.ports.notices import NoticeCount
from rebalancer.domain.notices.choices import NoticeChoices
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.notices.targets import Target


@attrs.frozen
class MemoryNotices:
    rows: dict[UUID, Notice]

    def add(self, notice: Notice) -> bool:
        is_new = notice.id not in self.rows
        if is_new:
            self.rows[notice.id] = notice
        return is_new

    def get(self, id: UUID, *, owner: UUID) -> Notice:
        found = self.rows.get(id)
        return require(found if found is not None and found.owner == owner else None, "notice", id)

    def of(self, ids: Collection[UUID]) -> list[Notice]:
        return self._latest([self.rows[id] for id in ids if id in self.rows])[::-1]

    def page(
        self,
        owner: UUID,
        *,
        unread: bool = False,
        portfolio: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Notice]:
        mine = [
            row
            for row in self.rows.values()
            if row.owner == owner and portfolio in (None, row.portfolio)
        ]
        if before is not None:
            start = next((row for row in mine if row.id == before), None)
            mine = [row for row in mine if start is not None and _time(row) < _time(start)]
        return self._latest([row for row in mine if not (unread and row.read)])[:limit]

    def count(self, owner: UUID) -> NoticeCount:
        latest = self._latest([row for row in self.rows.values() if row.owner == owner])
        unread = sum(row.read is None for row in latest)
        return NoticeCount(unread, latest[0].id if latest else None)

    def mark_read(self, id: UUID, *, owner: UUID, now: datetime) -> Notice:
        found = self.get(id, owner=owner)
        self.rows[id] = attrs.evolve(found, read=found.read or now)
        return self.rows[id]

    def mark_all_read(self, owner: UUID, now: datetime, *, through: UUID | None = None) -> int:
        unread = [row for row in self.rows.values() if row.owner == owner and row.read is None]
        if through is not None:
            last = self.rows.get(through)
            is_mine = last is not None and last.owner == owner
            unread = [row for row in unread if is_mine and last and _time(row) <= _time(last)]
        for row in unread:
            self.rows[row.id] = attrs.evolve(row, read=now)
        return len(unread)

    def resolve(self, owner: UUID, key: str, now: datetime) -> bool:
        for row in self.rows.values():
            if row.owner == owner and row.key == key and row.resolved is None:
                self.rows[row.id] = attrs.evolve(row, resolved=now)
                return True
        return False

    def delete_old(self, before: datetime) -> None:
        for id in [id for id, row in self.rows.items() if row.created < before]:
            del self.rows[id]

    def _latest(self, rows: list[Notice]) -> list[Notice]:
        return sorted(rows, key=_time, reverse=True)


def _time(row: Notice) -> tuple[datetime, UUID]:
    return row.created, row.id


@attrs.frozen
class MemoryNoticeChoices:
    rows: dict[UUID, NoticeChoices]

    def get(self, owner: UUID) -> NoticeChoices:
        return self.rows.get(owner, NoticeChoices())

    def save(self, owner: UUID, choices: NoticeChoices) -> None:
        self.rows[owner] = choices


@attrs.frozen
class MemoryNoticeTargets:
    rows: dict[UUID, Target]

    def add(self, target: Target) -> None:
        self.rows[target.id] = target

    def get(self, id: UUID, *, owner: UUID) -> Target:
        found = self.rows.get(id)
        return require(found if found is not None and found.owner == owner else None, "target", id)

    def of_owner(self, owner: UUID) -> list[Target]:
        mine = [row for row in self.rows.values() if row.owner == owner]
        return sorted(mine, key=lambda row: (row.created, row.id))

    def save(self, target: Target) -> None:
        self.get(target.id, owner=target.owner)
        self.rows[target.id] = target

    def delete(self, id: UUID, *, owner: UUID) -> None:
        self.get(id, owner=owner)
        del self.rows[id]
