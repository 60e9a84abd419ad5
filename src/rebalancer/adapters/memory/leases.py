"""Leases in memory."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen
class MemoryLeases:
    rows: dict[str, tuple[str, datetime]]

    def take(self, name: str, holder: str, *, now: datetime, until: datetime) -> bool:
        if self.holder(name, now) not in (None, holder):
            return False
        self.rows[name] = (holder, until)
        return True

    def give_back(self, name: str, holder: str) -> None:
        if name in self.rows and self.rows[name][0] == holder:
            del self.rows[name]

    def holder(self, name: str, now: datetime) -> str | None:
        holder, expires = self.rows.get(name, ("", now))
        return holder if now < expires else None
