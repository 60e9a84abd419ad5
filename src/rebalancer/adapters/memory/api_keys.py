"""API keys in memory."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.domain.accounts.api_keys import ApiKey


@attrs.frozen
class MemoryApiKeys:
    rows: dict[UUID, ApiKey]

    def add(self, key: ApiKey) -> None:
        self.rows[key.id] = key

    def by_digest(self, digest: str) -> ApiKey | None:
        return next((row for row in self.rows.values() if row.digest == digest), None)

    def of_owner(self, owner: UUID) -> list[ApiKey]:
        found = [row for row in self.rows.values() if row.owner == owner]
        return sorted(found, key=lambda row: (row.created, row.id))

    def note_use(self, id: UUID, now: datetime) -> None:
        if id in self.rows:
            self.rows[id] = attrs.evolve(self.rows[id], used=now)

    def delete(self, id: UUID, *, owner: UUID) -> None:
        found = self.rows.get(id)
        require(found if found is not None and found.owner == owner else None, "API key", id)
        del self.rows[id]
