"""What accounts use of their daily quotas."""

from __future__ import annotations

from datetime import date
from typing import Protocol
from uuid import UUID


class Usage(Protocol):
    """Counters of each account, quota and day."""

    def take(self, owner: UUID, quota: str, day: date, amount: int, *, limit: int) -> bool:
        """Add an amount to a counter, unless the total would exceed the limit.

        Two transactions that take from the same counter run one after the other. A transaction that
        fails takes nothing.

        Returns:
            Whether the amount was added.
        """

    def used(self, owner: UUID, quota: str, day: date) -> int:
        """Return the total of a counter."""

    def delete_before(self, day: date) -> int:
        """Delete the counters of earlier days; return how many."""
