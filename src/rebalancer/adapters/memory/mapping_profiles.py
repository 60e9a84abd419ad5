"""Saved mapping profiles in memory."""

from __future__ import annotations

from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.domain.portfolio.saved_profiles import SavedProfile, profile_id


@attrs.frozen
class MemoryMappingProfiles:
    rows: dict[UUID, SavedProfile]

    def save(self, saved: SavedProfile) -> None:
        self.rows[saved.id] = saved

    def find(self, name: str, *, owner: UUID) -> SavedProfile | None:
        return self.rows.get(profile_id(owner, name))

    def get(self, name: str, *, owner: UUID) -> SavedProfile:
        return require(self.find(name, owner=owner), "mapping profile", name)

    def of_owner(self, owner: UUID) -> list[SavedProfile]:
        found = (one for one in self.rows.values() if one.owner == owner)
        return sorted(found, key=lambda one: one.profile.name.casefold())

    def delete(self, name: str, *, owner: UUID) -> None:
        del self.rows[self.get(name, owner=owner).id]
