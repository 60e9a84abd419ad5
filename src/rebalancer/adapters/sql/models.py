"""Model portfolios in a SQL database."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import delete, func, insert, select, tuple_, update

from rebalancer.adapters.sql.rows import MODEL_VERSIONS, MODELS
from rebalancer.adapters.sql.statements import SqlStore, lock_rows, without_key
from rebalancer.adapters.sql.tables import model_versions, models
from rebalancer.application.not_found import require
from rebalancer.domain.portfolio.models import ModelChanged, ModelVersion, PortfolioModel


class SqlModels(SqlStore):
    def add(self, model: PortfolioModel, versions: Collection[ModelVersion]) -> None:
        self.connection.execute(insert(models), MODELS.to_row(model))
        rows = [MODEL_VERSIONS.to_row(one) for one in versions]
        if rows:
            self.connection.execute(insert(model_versions), rows)

    def get(self, id: UUID, *, owner: UUID) -> PortfolioModel:
        query = select(models).where(models.c.id == id, models.c.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return MODELS.from_row(require(row, "model", id))

    def save(self, model: PortfolioModel, version: ModelVersion | None = None) -> None:
        table = models.c
        same = (table.id == model.id) & (table.version == model.version - 1)
        values = without_key(MODELS.to_row(model))
        if self.connection.execute(update(models).where(same).values(values)).rowcount != 1:
            raise ModelChanged("the model has just been changed; read it again")
        if version is not None:
            self.connection.execute(insert(model_versions), MODEL_VERSIONS.to_row(version))

    def delete(self, id: UUID) -> None:
        self.connection.execute(delete(model_versions).where(model_versions.c.model == id))
        self.connection.execute(delete(models).where(models.c.id == id))

    def count(self, owner: UUID) -> int:
        return self.connection.scalar(select(func.count()).where(models.c.owner == owner)) or 0

    def known(self, ids: Collection[UUID]) -> frozenset[UUID]:
        query = select(models.c.id).where(models.c.id.in_(list(ids)))
        return frozenset(self.connection.execute(query).scalars()) if ids else frozenset()

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[PortfolioModel]:
        table, cursor = models.c, models.alias("cursor")
        query = select(models).where(table.owner == owner)
        if after is not None:
            start = select(cursor.c.created, cursor.c.id).where(
                cursor.c.id == after, cursor.c.owner == owner
            )
            query = query.where(tuple_(table.created, table.id) > start.scalar_subquery())
        page = query.order_by(table.created, table.id).limit(limit)
        return [MODELS.from_row(row) for row in self.connection.execute(page)]

    def version(self, id: UUID, number: int) -> ModelVersion | None:
        table = model_versions.c
        query = select(model_versions).where(table.model == id, table.number == number)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else MODEL_VERSIONS.from_row(row)

    def versions(
        self, id: UUID, *, before: int | None = None, limit: int | None = None
    ) -> list[ModelVersion]:
        table = model_versions.c
        query = select(model_versions).where(table.model == id)
        if before is not None:
            query = query.where(table.number < before)
        rows = self.connection.execute(query.order_by(table.number.desc()).limit(limit))
        return [MODEL_VERSIONS.from_row(row) for row in rows]
