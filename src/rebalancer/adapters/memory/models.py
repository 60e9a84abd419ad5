"""Model portfolios in memory."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.domain.portfolio.models import ModelChanged, ModelVersion, PortfolioModel


@attrs.frozen
class MemoryModels:
    rows: dict[UUID, PortfolioModel]
    _versions: dict[tuple[UUID, UUID], tuple[ModelVersion, ...]]
    """Of each model, by its owner and id; the first one first."""

    def add(self, model: PortfolioModel, versions: Collection[ModelVersion]) -> None:
        self.rows[model.id] = model
        found = sorted(versions, key=lambda one: one.number)
        self._versions[model.owner, model.id] = tuple(found)

    def get(self, id: UUID, *, owner: UUID) -> PortfolioModel:
        found = self.rows.get(id)
        is_foreign = found is not None and found.owner != owner
        return require(None if is_foreign else found, "model", id)

    def save(self, model: PortfolioModel, version: ModelVersion | None = None) -> None:
        stored = self.rows.get(model.id)
        if stored is None or stored.version != model.version - 1:
            raise ModelChanged("the model has just been changed; read it again")
        self.rows[model.id] = model
        if version is not None:
            self._versions[model.owner, model.id] += (version,)

    def delete(self, id: UUID) -> None:
        found = self.rows.pop(id, None)
        if found is not None:
            self._versions.pop((found.owner, id), None)

    def count(self, owner: UUID) -> int:
        return sum(row.owner == owner for row in self.rows.values())

    def known(self, ids: Collection[UUID]) -> frozenset[UUID]:
        return frozenset(self.rows.keys() & set(ids))

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[PortfolioModel]:
        mine = [row for row in self.rows.values() if row.owner == owner]
        mine.sort(key=lambda row: (row.created, row.id))
        if after is not None:
            at = next((i for i, row in enumerate(mine) if row.id == after), len(mine))
            mine = mine[at + 1 :]
        return mine[:limit]

    def version(self, id: UUID, number: int) -> ModelVersion | None:
        return next((one for one in self.versions(id) if one.number == number), None)

    def versions(
        self, id: UUID, *, before: int | None = None, limit: int | None = None
    ) -> list[ModelVersion]:
        found = self.rows.get(id)
        if found is None:
            return []
        newest_first = reversed(self._versions[found.owner, id])
        return [one for one in newest_first if before is None or one.number < before][:limit]
