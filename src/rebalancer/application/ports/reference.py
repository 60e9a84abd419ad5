"""Store of fundamentals and economic series."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import attrs

from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts


@attrs.frozen
class StoredFacts:
    """Fundamentals as they were fetched last.

    Attributes:
        provider: Name of the provider.
        fetched: Time of its answer.
    """

    facts: Facts
    provider: str
    fetched: datetime


@attrs.frozen
class StoredSeries:
    """Economic series with every vintage that was fetched.

    Attributes:
        provider: Name of the provider.
        fetched: Time of its last answer.
    """

    series: EconomicSeries
    provider: str
    fetched: datetime

    def extended_by(self, later: StoredSeries) -> StoredSeries:
        """Return the series after a later answer; that of another provider replaces it."""
        if later.provider != self.provider:
            return later
        on = later.fetched.date()
        return attrs.evolve(later, series=self.series.extended_by(later.series, on=on))


class ReferenceStore(Protocol):
    """Fundamentals and economic series that this deployment stores itself.

    Each method raises Unavailable if the store does not answer.
    """

    def prepare(self) -> None:
        """Create collections where the store has them; saving does this by itself, once."""

    def facts(self, symbol: str) -> StoredFacts | None:
        """Return the fundamentals of an asset; None if they were never saved."""

    def save_facts(self, facts: StoredFacts) -> None:
        """Save fundamentals in place of those before."""

    def series(self, id: str) -> StoredSeries | None:
        """Return an economic series; None if it was never saved."""

    def save_series(self, series: StoredSeries) -> StoredSeries:
        """Add an answer to a series, see `StoredSeries.extended_by`, and return the result.

        Concurrent calls lose no vintage.
        """

    def facts_fetched(self) -> Mapping[str, datetime]:
        """Return the time of the last answer of each asset with fundamentals, by symbol."""

    def series_fetched(self) -> Mapping[str, datetime]:
        """Return the time of the last answer of each series, by id."""
