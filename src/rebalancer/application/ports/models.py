"""Model portfolios and their versions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from rebalancer.domain.portfolio.models import ModelVersion, PortfolioModel


class Models(Protocol):
    """Models of owners; those of others are not found."""

    def add(self, model: PortfolioModel, versions: Collection[ModelVersion]) -> None:
        """Add a new model with its versions."""

    def get(self, id: UUID, *, owner: UUID) -> PortfolioModel:
        """Return the model of this id.

        A model that is read in a writing transaction is locked until the transaction ends.

        Raises:
            NotFound: it does not exist, or has another owner.
        """

    def save(self, model: PortfolioModel, version: ModelVersion | None = None) -> None:
        """Replace the previous state of a model, and add a version.

        Raises:
            ModelChanged: the stored one is not the previous one; nothing is written.
        """

    def delete(self, id: UUID) -> None:
        """Delete a model with its versions; an unknown id is ignored."""

    def count(self, owner: UUID) -> int:
        """Return the number of an owner's models."""

    def known(self, ids: Collection[UUID]) -> frozenset[UUID]:
        """Return which models exist, of any owner."""

    def page(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[PortfolioModel]:
        """Return an owner's models, oldest first, beginning after the id ``after``."""

    def version(self, id: UUID, number: int) -> ModelVersion | None:
        """Return a version of a model; None if there is no such version."""

    def versions(
        self, id: UUID, *, before: int | None = None, limit: int | None = None
    ) -> list[ModelVersion]:
        """Return versions of a model, the latest first, with numbers below ``before``."""
