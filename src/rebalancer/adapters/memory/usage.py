"""Use of daily quotas in memory."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import attrs


@attrs.frozen
class MemoryUsage:
    rows: dict[tuple[UUID, str, date], int]

    def take(self, owner: UUID, quota: str, day: date, amount: int, *, limit: int) -> bool:
        total = self.used(owner, quota, day) + amount
        if total > limit:
            return False
        self.rows[owner, quota, day] = total
        return True

    def used(self, owner: UUID, quota: str, day: date) -> int:
        return self.rows.get((owner, quota, day), 0)

    def delete_before(self, day: date) -> int:
        old = [key for key in self.rows if key[2] < day]
        for key in old:
            del self.rows[key]
        return len(old)
