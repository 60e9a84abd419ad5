"""State of synchronization in memory."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import attrs

from rebalancer.domain.market.synchronization import ScheduledTask, SyncState


@attrs.frozen
class MemoryProviderQuotas:
    rows: dict[tuple[str, str], int]

    def take(self, provider: str, period: str, *, limit: int, count: int = 1) -> bool:
        used = self.used(provider, period)
        if used + count > limit:
            return False
        self.rows[provider, period] = used + count
        return True

    def used(self, provider: str, period: str) -> int:
        return self.rows.get((provider, period), 0)

    def delete_before(self, period: str) -> int:
        old = [key for key in self.rows if key[1] < period]
        for key in old:
            del self.rows[key]
        return len(old)


@attrs.frozen
class MemorySyncStates:
    rows: dict[str, SyncState]

    def get(self, symbols: Collection[str] | None = None) -> dict[str, SyncState]:
        return {
            symbol: state
            for symbol, state in sorted(self.rows.items())
            if symbols is None or symbol in symbols
        }

    def save(self, state: SyncState) -> None:
        self.rows[state.symbol] = state


@attrs.frozen
class MemoryScheduledTasks:
    rows: dict[str, ScheduledTask]

    def all(self) -> list[ScheduledTask]:
        return sorted(self.rows.values(), key=lambda task: (task.due, task.name))

    def add_missing(self, task: ScheduledTask) -> None:
        self.rows.setdefault(task.name, task)

    def claim(
        self, name: str, now: datetime, *, abandoned_before: datetime
    ) -> ScheduledTask | None:
        task = self.rows.get(name)
        if task is None or not task.is_due(now, abandoned_before=abandoned_before):
            return None
        self.rows[name] = task.start(now)
        return self.rows[name]

    def save(self, task: ScheduledTask, *, expected: datetime | None) -> bool:
        current = self.rows.get(task.name)
        if current is None or current.started != expected:
            return False
        self.rows[task.name] = task
        return True
