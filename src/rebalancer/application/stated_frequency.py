"""Prices whose observation frequency the caller states."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import attrs

from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.market.prices import PriceHistory


@attrs.frozen
class PricesAtFrequency:
    """Decorator of a price source: a stated number of closes counts as a year."""

    prices: PriceSource
    periods_per_year: float

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols of the prices."""
        return self.prices.symbols()

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """Return the closes, whose `frequency` is the stated one.

        Raises:
            InvalidRequest: as `PriceSource.closes`, or the number is out of range.
            PricesUnavailable: the provider did not answer.
        """
        history = self.prices.closes(symbols, days=days, until=until)
        return history.at_frequency(self.periods_per_year)


def at_frequency(prices: PriceSource, periods_per_year: float | None) -> PriceSource:
    """Return the prices with a stated number of closes a year; None: as their dates have."""
    return prices if periods_per_year is None else PricesAtFrequency(prices, periods_per_year)
