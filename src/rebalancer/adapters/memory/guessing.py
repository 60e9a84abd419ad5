"""Failed logins and known devices in memory."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.domain.accounts.guessing import Failures, KnownDevice


@attrs.frozen
class MemoryLoginFailures:
    rows: dict[str, Failures]

    def find(self, key: str) -> Failures | None:
        return self.rows.get(key)

    def get(self, key: str, owner: UUID | None, now: datetime) -> Failures:
        return self.rows.setdefault(key, Failures(key, 0, now, owner))

    def save(self, failures: Failures) -> None:
        self.rows[failures.key] = failures

    def clear(self, owner: UUID) -> None:
        for key in [key for key, row in self.rows.items() if row.owner == owner]:
            del self.rows[key]

    def delete_before(self, before: datetime) -> None:
        for key, row in list(self.rows.items()):
            if row.owner is None and row.last < before:
                del self.rows[key]


@attrs.frozen
class MemoryKnownDevices:
    rows: dict[str, KnownDevice]

    def save(self, device: KnownDevice) -> None:
        self.rows[device.digest] = device

    def find(self, digest: str) -> KnownDevice | None:
        return self.rows.get(digest)

    def of_owner(self, owner: UUID) -> list[KnownDevice]:
        found = [row for row in self.rows.values() if row.owner == owner]
        return sorted(found, key=lambda row: (row.used, row.digest), reverse=True)

    def delete(self, digest: str) -> None:
        self.rows.pop(digest, None)

    def forget(self, owner: UUID) -> None:
        for device in self.of_owner(owner):
            del self.rows[device.digest]

    def delete_unused(self, before: datetime) -> None:
        for digest, row in list(self.rows.items()):
            if row.used < before:
                del self.rows[digest]
