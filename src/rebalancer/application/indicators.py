"""Compute technical indicators of one asset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import attrs
import numpy as np

from rebalancer.application.market_data import adjusted_closes, check_known
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.stored_market import StoredMarket
from rebalancer.domain.arrays import Bools, Dates, Floats
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.technical import (
    INDICATORS,
    IndicatorRequest,
    Series,
    compute_indicators,
)


@attrs.frozen
class IndicatorColumns:
    """Indicators of an asset over the days of a window.

    Attributes:
        days: Days with a close, oldest first.
        columns: Values by name, None where an indicator has too few closes yet.
    """

    days: list[date]
    columns: dict[str, list[float | None]]


@attrs.frozen
class IndicatorPlot:
    """What a plot of indicators shows.

    Attributes:
        closes: Adjusted closes on the days of the indicators.
    """

    symbol: str
    currency: str | None
    closes: list[float]
    indicators: IndicatorColumns


@attrs.frozen
class ReadIndicators:
    """Compute indicators of one asset.

    Prices are adjusted for splits and distributions, up to the last close of the window.

    Attributes:
        stored: Has whole bars, of which other sources have the closes.
        sources_are_stored: Whether the prices come from the store.
    """

    prices: PriceSource
    stored: StoredMarket
    sources_are_stored: bool

    def __call__(
        self,
        symbol: str,
        wanted: Sequence[IndicatorRequest],
        *,
        start: date | None = None,
        end: date | None = None,
    ) -> IndicatorColumns:
        """Return indicators on the days from ``start`` to ``end``, both included.

        Days before ``start`` are used, so that a window's first values are the same in any window.

        Raises:
            NotFound: the symbol is unknown.
            InvalidRequest: the asset lacks what an indicator needs.
            PricesUnavailable: the provider did not answer.
        """
        check_known(symbol, self.prices)
        history = self.prices.closes()
        if end is not None:
            rows = int(np.searchsorted(history.dates, np.datetime64(end, "D"), side="right"))
            if not rows:
                return IndicatorColumns([], {})
            history = history.until(rows - 1)
        column = history.column(symbol)
        own = history.observed[:, column]
        series = self._series(history, symbol, own, wanted)
        columns = compute_indicators(series, wanted)
        first = 0 if start is None else int(np.searchsorted(series.days, np.datetime64(start, "D")))
        return IndicatorColumns(
            series.days[first:].tolist(),
            {
                name: [None if value != value else value for value in values[first:].tolist()]
                for name, values in columns.items()
            },
        )

    def _series(
        self,
        history: PriceHistory,
        symbol: str,
        own: Bools,
        wanted: Sequence[IndicatorRequest],
    ) -> Series:
        """Return what the indicators need of an asset on the days of its own closes, (T,)."""
        column = history.column(symbol)
        closes = adjusted_closes(history, column, own)
        days = history.dates[own]
        needs = {need for one in wanted for need in INDICATORS[one.name].needs}
        bars = None
        if needs - {"market"} and self.sources_are_stored:
            bars = self.stored.store.bars(symbols=[symbol]).get(symbol)
        return Series(
            days,
            closes,
            **_other_fields(bars, days, closes),
            market=_equal_mix(history)[own] if "market" in needs else None,
            periods_per_year=history.frequency.periods_per_year,
        )


def _other_fields(bars: Bars | None, days: Dates, closes: Floats) -> dict[str, Floats]:
    """Return high, low and volume on days, adjusted as the closes (T,); those that bars have."""
    if bars is None or not len(days):
        return {}
    rows = np.searchsorted(bars.days, days)
    inside = np.minimum(rows, len(bars) - 1)
    if (bars.days[inside] != days).any():
        return {}
    factors = closes / bars.close[inside]  # also from a quote unit to its currency
    found = {}
    for name in ("high", "low", "volume"):
        values = getattr(bars, name)
        if values is not None:
            found[name] = values[inside] / factors if name == "volume" else values[inside] * factors
    return found


def _equal_mix(history: PriceHistory) -> Floats:
    """Return (T,) the value of an equal mix of all assets, rebalanced every day."""
    changes = history.returns(len(history))
    known = ~np.isnan(changes)
    mean = np.where(known, changes, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    mix: Floats = np.append(1.0, np.cumprod(1.0 + mean))
    return mix
