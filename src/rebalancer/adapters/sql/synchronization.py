"""State of synchronization in a SQL database."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.engine import upsert
from rebalancer.adapters.sql.rows import SYNC_STATES, TASKS
from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import provider_quotas, scheduled_tasks, sync_states
from rebalancer.domain.market.synchronization import ScheduledTask, SyncState


class SqlProviderQuotas(SqlStore):
    def take(self, provider: str, period: str, *, limit: int, count: int = 1) -> bool:
        if count > limit:
            return False
        insert = sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert
        statement = insert(provider_quotas).values(provider=provider, period=period, used=count)
        used = provider_quotas.c.used + count
        taken = statement.on_conflict_do_update(
            index_elements=["provider", "period"], set_={"used": used}, where=used <= limit
        )
        return self.connection.scalar(taken.returning(provider_quotas.c.used)) is not None

    def used(self, provider: str, period: str) -> int:
        table = provider_quotas.c
        query = select(table.used).where(table.provider == provider, table.period == period)
        return self.connection.scalar(query) or 0

    def delete_before(self, period: str) -> int:
        old = provider_quotas.c.period < period
        return self.connection.execute(delete(provider_quotas).where(old)).rowcount


class SqlSyncStates(SqlStore):
    def get(self, symbols: Collection[str] | None = None) -> dict[str, SyncState]:
        query = select(sync_states).order_by(sync_states.c.symbol)
        if symbols is not None:
            query = query.where(sync_states.c.symbol.in_(sorted(symbols)))
        found = [SYNC_STATES.from_row(row) for row in self.connection.execute(query)]
        return {state.symbol: state for state in sorted(found, key=lambda one: one.symbol)}

    def save(self, state: SyncState) -> None:
        upsert(self.connection, sync_states, [SYNC_STATES.to_row(state)])


class SqlScheduledTasks(SqlStore):
    def all(self) -> list[ScheduledTask]:
        table = scheduled_tasks.c
        query = select(scheduled_tasks).order_by(table.due, table.name)
        return [TASKS.from_row(row) for row in self.connection.execute(query)]

    def add_missing(self, task: ScheduledTask) -> None:
        insert = sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert
        row = insert(scheduled_tasks).values(TASKS.to_row(task))
        self.connection.execute(row.on_conflict_do_nothing(index_elements=["name"]))

    def claim(
        self, name: str, now: datetime, *, abandoned_before: datetime
    ) -> ScheduledTask | None:
        query = select(scheduled_tasks).where(scheduled_tasks.c.name == name)
        row = self.connection.execute(query.with_for_update()).one_or_none()
        task = None if row is None else TASKS.from_row(row)
        if task is None or not task.is_due(now, abandoned_before=abandoned_before):
            return None
        started = task.start(now)
        upsert(self.connection, scheduled_tasks, [TASKS.to_row(started)])
        return started

    def save(self, task: ScheduledTask, *, expected: datetime | None) -> bool:
        table = scheduled_tasks.c
        mine = table.started.is_(None) if expected is None else table.started == expected
        changed = self.connection.execute(
            update(scheduled_tasks).where(table.name == task.name, mine).values(TASKS.to_row(task))
        )
        return changed.rowcount == 1
