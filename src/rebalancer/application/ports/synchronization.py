"""Stores of what synchronizing with providers must remember across restarts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from rebalancer.domain.market.synchronization import ScheduledTask, SyncState


class ProviderQuotas(Protocol):
    """Requests that were spent of providers' quotas."""

    def take(self, provider: str, period: str, *, limit: int, count: int = 1) -> bool:
        """Spend requests of a period, such as a day; return whether that many were left.

        Nothing is spent if fewer are left. Transactions that commit never spend more than the
        limit together.
        """

    def used(self, provider: str, period: str) -> int:
        """Return how many requests of a period are spent."""

    def delete_before(self, period: str) -> int:
        """Delete periods that sort before one; return how many."""


class SyncStates(Protocol):
    """States of synchronization by symbol."""

    def get(self, symbols: Collection[str] | None = None) -> dict[str, SyncState]:
        """Return the states of symbols that have one, of all when None, sorted by symbol."""

    def save(self, state: SyncState) -> None:
        """Save a state in place of the one before."""


class ScheduledTasks(Protocol):
    """Scheduled tasks by name."""

    def all(self) -> list[ScheduledTask]:
        """Return all tasks, by time at which they are due."""

    def add_missing(self, task: ScheduledTask) -> None:
        """Add a task unless one of its name exists."""

    def claim(
        self, name: str, now: datetime, *, abandoned_before: datetime
    ) -> ScheduledTask | None:
        """Start a task if it is due, and return it; None if it is not, or another worker runs it.

        Of several transactions that claim the same run, one gets it.
        """

    def save(self, task: ScheduledTask, *, expected: datetime | None) -> bool:
        """Save a task if it still is the run that started at a time; return whether it was."""
