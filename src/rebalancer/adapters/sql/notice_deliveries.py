"""Messages with notices, in a SQL database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.rows import NOTICE_DELIVERIES
from rebalancer.adapters.sql.statements import (
    SqlStore,
    delete_unlocked,
    lock_rows,
    select_latest,
)
from rebalancer.adapters.sql.tables import notice_deliveries
from rebalancer.application.not_found import require
from rebalancer.domain.notices.deliveries import DeliveryState, NoticeDelivery

_TABLE = notice_deliveries.c


class SqlNoticeDeliveries(SqlStore):
    def add(self, delivery: NoticeDelivery) -> None:
        if self._insert(delivery):
            return
        query = select(notice_deliveries).where(_TABLE.id == delivery.id)
        # The lock makes a claim wait, or skip the message, until the notice is in it.
        row = self.connection.execute(lock_rows(query)).one_or_none()
        if row is None:  # it was deleted meanwhile
            self._insert(delivery)
            return
        known = NOTICE_DELIVERIES.from_row(row)
        extra = [one for one in delivery.notices if one not in known.notices]
        if known.closed is None and known.attempts == 0:
            notices = [str(one) for one in (*known.notices, *extra)]
            self._change(_TABLE.id == known.id, notices=notices)
            return
        for notice in extra:
            self._insert(delivery.following(notice))

    def has_due(self, now: datetime) -> bool:
        query = select(_TABLE.id).where(_TABLE.closed.is_(None), _TABLE.due <= now, _is_free(now))
        return self.connection.execute(query.limit(1)).one_or_none() is not None

    def claim(
        self, now: datetime, *, until: datetime, without: Collection[str] = ()
    ) -> NoticeDelivery | None:
        other = notice_deliveries.alias("other")
        busy = select(other.c.id).where(
            other.c.closed.is_(None),
            other.c.owner == _TABLE.owner,
            other.c.channel == _TABLE.channel,
            other.c.claimed > now,
        )
        first = (
            select(notice_deliveries)
            .where(_TABLE.closed.is_(None), _TABLE.due <= now, ~busy.exists())
            .order_by(_TABLE.due, _TABLE.id)
            .limit(1)
            .with_for_update(skip_locked=True, of=notice_deliveries)
        )
        if without:
            first = first.where(_TABLE.channel.not_in(sorted(without)))
        row = self.connection.execute(first).one_or_none()
        if row is None:
            return None
        changed = {"claimed": until, "attempts": row.attempts + 1}
        claimed = update(notice_deliveries).where(_TABLE.id == row.id).values(changed)
        found = self.connection.execute(claimed.returning(*notice_deliveries.columns)).one()
        return NOTICE_DELIVERIES.from_row(found)

    def close(self, id: UUID, state: DeliveryState, now: datetime, *, fault: str = "") -> None:
        waiting = (_TABLE.id == id) & _TABLE.closed.is_(None)
        self._change(waiting, state=state.value, closed=now, claimed=None, fault=fault)

    def defer(
        self, id: UUID, due: datetime, *, rest: datetime, attempts: int, fault: str = ""
    ) -> None:
        mine = (_TABLE.id == id) & _TABLE.closed.is_(None) & (_TABLE.attempts == attempts)
        change = update(notice_deliveries).where(mine)
        change = change.values(due=due, claimed=None, fault=fault)
        row = self.connection.execute(change.returning(_TABLE.owner, _TABLE.channel)).one_or_none()
        if row is not None:
            same = (_TABLE.owner == row.owner) & (_TABLE.channel == row.channel)
            self._change(same & _TABLE.closed.is_(None) & (_TABLE.due < rest), due=rest)

    def get(self, id: UUID, *, owner: UUID) -> NoticeDelivery:
        query = select(notice_deliveries).where(_TABLE.id == id, _TABLE.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return NOTICE_DELIVERIES.from_row(require(row, "delivery", id))

    def page(
        self,
        owner: UUID,
        *,
        state: DeliveryState | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[NoticeDelivery]:
        query = select_latest(
            select(notice_deliveries),
            notice_deliveries,
            "created",
            before=before,
            limit=limit,
            owner=owner,
            state=None if state is None else state.value,
        )
        return [NOTICE_DELIVERIES.from_row(row) for row in self.connection.execute(query)]

    def retry(self, id: UUID, now: datetime) -> None:
        failed = (_TABLE.id == id) & (_TABLE.state == DeliveryState.FAILED.value)
        waiting = DeliveryState.WAITING.value
        self._change(failed, state=waiting, due=now, created=now, closed=None, claimed=None)

    def drop(self, owner: UUID, channel: str, now: datetime) -> None:
        same = (_TABLE.owner == owner) & (_TABLE.channel == channel) & _TABLE.closed.is_(None)
        self._change(same, state=DeliveryState.DROPPED.value, closed=now, claimed=None)

    def delete_closed(self, before: datetime) -> None:
        old = select(_TABLE.id).where(_TABLE.closed < before)
        self.connection.execute(delete_unlocked(notice_deliveries, _TABLE.id, old))

    def _insert(self, delivery: NoticeDelivery) -> bool:
        insert = sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert
        row = NOTICE_DELIVERIES.to_row(delivery) | {"notices": [str(i) for i in delivery.notices]}
        added = insert(notice_deliveries).values(row).on_conflict_do_nothing()
        found = self.connection.execute(added.returning(_TABLE.id)).one_or_none()
        return found is not None

    def _change(self, condition: Any, **values: Any) -> None:
        self.connection.execute(update(notice_deliveries).where(condition).values(**values))


def _is_free(now: datetime) -> Any:
    return or_(_TABLE.claimed.is_(None), _TABLE.claimed <= now)
