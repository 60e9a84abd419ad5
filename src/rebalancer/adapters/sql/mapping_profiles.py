"""Saved mapping profiles in a SQL database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, delete, select

from rebalancer.adapters.sql.engine import upsert
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import mapping_profiles
from rebalancer.application.not_found import require
from rebalancer.domain.portfolio.mapping_profiles import profile_of
from rebalancer.domain.portfolio.saved_profiles import SavedProfile, profile_id

_TABLE = mapping_profiles.c


class SqlMappingProfiles(SqlStore):
    def save(self, saved: SavedProfile) -> None:
        row = {
            "id": saved.id,
            "owner": saved.owner,
            "profile": saved.profile.document(),
            "changed": saved.changed,
        }
        upsert(self.connection, mapping_profiles, [seal_row(self.cipher, mapping_profiles, row)])

    def find(self, name: str, *, owner: UUID) -> SavedProfile | None:
        query = select(mapping_profiles).where(_TABLE.id == profile_id(owner, name))
        row = self.connection.execute(query).one_or_none()
        return None if row is None else self._saved(row)

    def get(self, name: str, *, owner: UUID) -> SavedProfile:
        return require(self.find(name, owner=owner), "mapping profile", name)

    def of_owner(self, owner: UUID) -> list[SavedProfile]:
        rows = self.connection.execute(select(mapping_profiles).where(_TABLE.owner == owner))
        return sorted(map(self._saved, rows), key=lambda one: one.profile.name.casefold())

    def delete(self, name: str, *, owner: UUID) -> None:
        query = delete(mapping_profiles).where(_TABLE.id == profile_id(owner, name))
        require(self.connection.execute(query).rowcount or None, "mapping profile", name)

    def _saved(self, row: Row[Any]) -> SavedProfile:
        opened = open_row(self.cipher, mapping_profiles, row)
        profile = profile_of(msgspec.json.decode(opened.profile))
        return SavedProfile(opened.owner, profile, opened.changed)
