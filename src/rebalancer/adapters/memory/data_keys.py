"""Wrapped data keys in memory."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from uuid import UUID

import attrs

from rebalancer.application.ports.encryption import WrappedKey


@attrs.frozen
class MemoryDataKeys:
    rows: dict[UUID, WrappedKey]

    def get(self, owner: UUID) -> WrappedKey | None:
        return self.rows.get(owner)

    def add(self, owner: UUID, key: WrappedKey) -> WrappedKey:
        return self.rows.setdefault(owner, key)

    def replace(self, owner: UUID, key: WrappedKey) -> None:
        if owner in self.rows:
            self.rows[owner] = key

    def wrapped_by(self, key: str, *, limit: int) -> dict[UUID, WrappedKey]:
        found = ((owner, row) for owner, row in self.rows.items() if row.key == key)
        return dict(islice(found, limit))

    def counts(self) -> dict[str, int]:
        return dict(Counter(row.key for row in self.rows.values()))

    def erase(self, owner: UUID) -> None:
        self.rows.pop(owner, None)

    def erase_all(self) -> None:
        self.rows.clear()
