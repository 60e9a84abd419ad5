"""Measure a book of portfolios at prices: weights, drift, drawdown and cash.

Like `rebalancer.domain.portfolio.book`, B portfolios have B x K slots, of which each holds a
position or is empty.
"""

from __future__ import annotations

from datetime import date

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows, one_way_distance
from rebalancer.domain.backtest.periods import ValueHistory


@attrs.frozen(eq=False)
class WatchedBook:
    """B portfolios with K slots, as far as their alerts need them.

    Attributes:
        columns: (B, K) column of the asset among the prices; 0 where a slot is empty.
        present: (B, K) whether a slot holds an asset or has a target.
        units: (B, K) quantity that is held.
        targets: (B, K) strategic weights.
        cash: (B,) cash in all currencies, money in the base currency; NaN without a rate.
        tables: (B,) row of the price table in the base currency.
        own_prices: (B, K) prices of assets that the table does not price; NaN elsewhere.
        levels: (B,) present level of the time-weighted index at the last close; NaN if unknown.
        peaks: (B,) its highest level.
        values: (B,) value at the last close; NaN if unknown.
    """

    columns: Rows
    present: Bools
    units: Floats
    targets: Floats
    cash: Floats
    tables: Rows
    own_prices: Floats
    levels: Floats
    peaks: Floats
    values: Floats


@attrs.frozen(eq=False)
class Measures:
    """Figures of B portfolios; NaN where a price is missing.

    Attributes:
        weights: (B, K) weight of each asset.
        departures: (B, K) distance of each weight from its target; NaN in empty slots.
        drift: (B,) one-way distance of all weights from the targets.
        drawdown: (B,) loss since the peak, a fraction.
        cash: (B,) weight of cash.
        values: (B,) value.
    """

    weights: Floats
    departures: Floats
    drift: Floats
    drawdown: Floats
    cash: Floats
    values: Floats


def measure(book: WatchedBook, prices: Floats) -> Measures:
    """Measure portfolios at prices.

    A row does not depend on the other rows.

    Args:
        book: The portfolios.
        prices: (C, U) price of each asset in each base currency; NaN where it is not known.
    """
    listed = prices[book.tables[:, None], book.columns]
    price = np.where(np.isnan(book.own_prices), listed, book.own_prices)
    worth = np.where(book.units > 0.0, book.units * price, 0.0)
    values = worth.sum(axis=1) + book.cash
    priced = values > 0.0  # false for NaN
    divisor = np.where(priced, values, np.nan)
    weights = worth / divisor[:, None]
    moves = np.where(book.present, weights - book.targets, 0.0)
    targeted: Bools = np.any(book.targets > 0.0, axis=1)
    drift = np.where(targeted, one_way_distance(moves), np.nan)
    departures = np.where(book.present & targeted[:, None], np.abs(moves), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = book.levels * np.where(priced, values / book.values, np.nan)
        drawdown = 1.0 - level / book.peaks
    return Measures(weights, departures, drift, drawdown, book.cash / divisor, values)


@attrs.frozen
class Peak:
    """How far a portfolio is below its peak, without the effect of deposits and withdrawals.

    It is continued from close to close. So entries that are recorded later for earlier days do not
    move the peak, and no alert repeats because of them.

    Attributes:
        day: Day of the last close that it includes.
        level: Level of the time-weighted index then; only ratios of levels have a meaning.
        peak: Highest level so far.
    """

    day: date
    level: float
    peak: float

    @classmethod
    def begin(cls, history: ValueHistory) -> Peak:
        """Return the state at the end of a history."""
        return cls(history.dates[-1].item(), float(history.index[-1]), float(history.index.max()))

    def advance(self, history: ValueHistory) -> Peak:
        """Return the state with the closes of a history that followed."""
        first = int(np.searchsorted(history.dates, np.datetime64(self.day, "D"), "right"))
        later = history.index[first:]
        if not len(later):
            return self
        before = float(history.index[first - 1]) if first else 1.0
        if before <= 0.0:  # everything was lost
            return Peak(history.dates[-1].item(), 0.0, self.peak)
        levels = self.level / before * later
        return Peak(
            history.dates[-1].item(), float(levels[-1]), max(self.peak, float(levels.max()))
        )
