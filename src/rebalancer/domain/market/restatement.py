"""Infer corporate actions from closes that a source restates.

Sources of adjusted closes restate all earlier ones after a split or a distribution: each is
multiplied by one factor. Comparing the closes that were stored with those of a new file shows the
factor, and the day before which it applies. The ex-day is that day; or, if all closes in both are
restated, a day after the last of them, of which the first one is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market.actions import (
    DISTRIBUTIONS,
    ActionKind,
    CorporateAction,
    inferred_source,
)

_ROUNDING = 2e-6
"""Relative error of each close besides the rounding of its last decimal, as of single precision."""

_MOST_DECIMALS = 8

_DISTINCT = 10
"""Different closes, at least, that show in how many decimals a source writes."""

_FEWEST = 3
"""Closes with one factor, at least, that make a restatement of more than single closes."""

_MOST_ACTIONS = 12
"""Actions in one restatement; more changes of the factor are another series."""

_RATIOS = (
    *(Fraction(new) for new in (*range(2, 21), 25, 30, 40, 50)),
    *(Fraction(1, old) for old in (*range(2, 21), 25, 30, 40, 50)),
    *map(Fraction, ("3/2", "5/2", "7/2", "4/3", "5/3", "5/4", "2/3", "2/5", "3/4")),
)
"""New shares per old one of usual splits."""

_HIGHEST_REVERSE = 10_000
"""Old shares per new one, at most."""

_HIGHEST_DISTRIBUTION = 0.5
"""Part of the price that a distribution pays at most: a larger change is a split, or unclear."""

_WITH_DISTRIBUTION = tuple(one for one in _RATIOS if 1 in (one.numerator, one.denominator))
"""Ratios of splits that are looked for together with a distribution."""

_SLACK = 0.25
"""Part of a known distribution by which it may miss what it explains."""

_LEAST_REST = 0.9
"""Factor of a distribution on the day of a split, at least."""

_UNITS = (100, 1000)
"""Factors of a changed unit, as between pence and pounds, which is no split."""


@attrs.frozen(eq=False)
class Restatement:
    """What restated closes show.

    Attributes:
        actions: Inferred ones that were not known, by ex-day.
        corrections: Number of closes that changed otherwise.
        factors: What the source multiplied each close by, shape (T,) as the days in both; None: it
            restated nothing, or not by actions. Closes that the new file lacks need it, too.
    """

    actions: tuple[CorporateAction, ...] = ()
    corrections: int = 0
    factors: Floats | None = None


@attrs.frozen
class _Level:
    """Successive closes that were restated by one factor.

    Attributes:
        start, stop: Rows.
        low, high: Bounds of the factor: the new closes divided by the old ones.
    """

    start: int
    stop: int
    low: float
    high: float

    @property
    def is_one(self) -> bool:
        """Whether the closes may be the same."""
        return self.low <= 1.0 <= self.high

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds of the factor; 1 if they allow it."""
        return (1.0, 1.0) if self.is_one else (self.low, self.high)

    def __len__(self) -> int:
        return self.stop - self.start


def infer_actions(
    symbol: str,
    days: Dates,
    old: Floats,
    new: Floats,
    *,
    later: Dates,
    traded: Floats | None = None,
    known: Iterable[CorporateAction] = (),
) -> Restatement:
    """Return the actions that a restatement of an asset's adjusted closes shows.

    Args:
        symbol: The asset.
        days: (T,) days with a close in both, increasing.
        old: (T,) closes that were stored.
        new: (T,) closes of the new file.
        later: Days of the new file after the last stored close, increasing.
        traded: (T,) prices as traded that follow from the stored closes and the known actions;
            None: the stored closes.
        known: Actions of the asset that are known already; what they explain is not inferred again.
    """
    if not len(days) or np.array_equal(old, new):
        return Restatement()
    changed = int(np.count_nonzero(old != new))
    levels = _levels(old, new)
    if levels is None:
        return Restatement(corrections=changed)
    if not levels[-1].is_one and not len(later):
        return Restatement(corrections=changed)
    spreads = [level.bounds for level in levels] + [(1.0, 1.0)]
    prices = old if traded is None else traded
    stated = tuple(known)
    found: list[CorporateAction] = []
    for at, level in enumerate(levels):
        (low, high), (next_low, next_high) = spreads[at], spreads[at + 1]
        if max(low, next_low) <= min(high, next_high):
            continue
        begins = days[level.stop] if level.stop < len(days) else later[0]
        ends = begins if level.stop < len(days) else later[-1]
        last = float(prices[level.stop - 1])
        whole = (low / next_high, high / next_low)
        rest = _unexplained(whole, last, stated, days[level.stop - 1], ends)
        if rest is None:
            continue
        inferred = _actions(rest, last)
        if inferred is None:
            return Restatement(corrections=changed)
        source = inferred_source(begins.item(), ends.item())
        found += [
            CorporateAction(symbol, begins.item(), kind, value, source=source)
            for kind, value in inferred
        ]
    return Restatement(tuple(found), factors=_factors(levels, len(days)))


def _factors(levels: Sequence[_Level], count: int) -> Floats | None:
    """Return the factor of each row, shape (count,); None if all are 1.

    A factor of a usual split is exact, others are the middle of their bounds.
    """
    if all(level.is_one for level in levels):
        return None
    factors = np.ones(count)
    for level in levels:
        exact = (1.0 / float(one) for one in _RATIOS)
        within = [one for one in exact if level.low <= one <= level.high]
        middle = (level.low + level.high) / 2
        factors[level.start : level.stop] = (
            1.0 if level.is_one else within[0] if len(within) == 1 else middle
        )
    return factors


def _levels(old: Floats, new: Floats) -> list[_Level] | None:
    """Return the levels of the factor, oldest first; None if the series is another one.

    Single closes that differ from the level on both sides of them are corrections, and part of it.
    """
    ratio = new / old
    relative = _step(new) / new + _step(old) / old
    error = ratio * (relative * 1.01 + _ROUNDING)
    low, high = ratio - error, ratio + error
    levels: list[_Level] = []
    row = 0
    while row < len(ratio):
        if len(levels) > 4 * _MOST_ACTIONS:
            return None
        lowest = np.maximum.accumulate(low[row:])
        highest = np.minimum.accumulate(high[row:])
        apart = lowest > highest
        length = int(np.argmax(apart)) if apart.any() else len(apart)
        levels.append(
            _Level(row, row + length, float(lowest[length - 1]), float(highest[length - 1]))
        )
        row += length
    levels = _without_corrections(levels)
    short = any(len(level) < _FEWEST for level in levels[:-1])
    if short or len(levels) > _MOST_ACTIONS:
        return None
    return levels if levels[-1].is_one or len(levels[-1]) >= _FEWEST else None


def _without_corrections(levels: list[_Level]) -> list[_Level]:
    """Join levels that only a few other closes separate; drop the latter at the ends."""
    joined: list[_Level] = []
    for level in levels:
        if len(joined) >= 2 and len(joined[-1]) < _FEWEST:
            before = joined[-2]
            low, high = max(before.low, level.low), min(before.high, level.high)
            if low <= high:
                joined[-2:] = [_Level(before.start, level.stop, low, high)]
                continue
        joined.append(level)
    if len(joined) > 1 and len(joined[0]) < _FEWEST:
        joined[:2] = [attrs.evolve(joined[1], start=0)]
    last = joined[-1]
    if len(joined) > 1 and len(last) < _FEWEST and not last.is_one:
        joined[-2:] = [attrs.evolve(joined[-2], stop=last.stop)]
    return joined


def _step(closes: Floats) -> float:
    """Return half a unit of the last decimal in which closes are written.

    Few different closes may be whole numbers by chance.
    """
    fewest = 0 if len(np.unique(closes)) >= _DISTINCT else 2
    for decimals in range(fewest, _MOST_DECIMALS + 1):
        if np.all(np.abs(np.round(closes, decimals) - closes) <= 1e-12 * closes):
            return 0.5 * 10.0**-decimals
    return 0.0


def _unexplained(
    bounds: tuple[float, float],
    last: float,
    known: Sequence[CorporateAction],
    after: np.datetime64,
    until: np.datetime64,
) -> tuple[float, float] | None:
    """Return the bounds of the factor that known actions leave; None if they explain it.

    Args:
        bounds: Of the whole factor.
        last: Price as traded before the action.
        known: Actions of the asset.
        after: Last day before the possible ex-days.
        until: Last possible ex-day.
    """
    factor, paid = 1.0, 0.0
    for action in known:
        if not after < np.datetime64(action.ex_day, "D") <= until:
            continue
        if action.kind is ActionKind.SPLIT:
            factor /= float(action.value)
        elif action.kind in DISTRIBUTIONS:
            part = min(float(action.value) / last, _HIGHEST_DISTRIBUTION)
            factor, paid = factor * (1.0 - part), paid + part
    if factor == 1.0:
        return bounds
    low, high = bounds[0] / factor, bounds[1] / factor
    # The factor follows from the close before the ex-day, which differs from the last stored one.
    slack = _ROUNDING + _SLACK * paid
    return None if low - slack <= 1.0 <= high + slack else (low, high)


def _actions(bounds: tuple[float, float], last: float) -> list[tuple[ActionKind, Decimal]] | None:
    """Return kinds and values of what multiplies earlier closes by a factor within bounds.

    A split, if its ratio lies within the bounds; else a distribution, or a split with one. None if
    it is unclear.
    """
    low, high = bounds
    if any(low <= unit <= high or low <= 1 / unit <= high for unit in _UNITS):
        return None
    ratio = _ratio_within(low, high)
    if ratio is not None:
        return [_split(ratio)]
    if high < 1.0 and low >= 1.0 - _HIGHEST_DISTRIBUTION:
        return [_dividend(bounds, last)]
    rests = [(low * float(one), high * float(one), one) for one in _WITH_DISTRIBUTION]
    rest = max((one for one in rests if one[0] >= _LEAST_REST and one[1] < 1.0), default=None)
    return None if rest is None else [_split(rest[2]), _dividend((rest[0], rest[1]), last)]


def _ratio_within(low: float, high: float) -> Fraction | None:
    """Return the new shares per old one of a split that multiplies closes within bounds."""
    for one in _RATIOS:
        if low <= float(1 / one) <= high:
            return one
    whole = round((low + high) / 2)
    if 1 < whole <= _HIGHEST_REVERSE and low <= whole <= high and high - low < 0.5:
        return Fraction(1, whole)
    return None


def _split(ratio: Fraction) -> tuple[ActionKind, Decimal]:
    return ActionKind.SPLIT, Decimal(ratio.numerator) / Decimal(ratio.denominator)


def _dividend(bounds: tuple[float, float], last: float) -> tuple[ActionKind, Decimal]:
    """Return the dividend with the fewest decimals that the bounds of the factor allow."""
    lowest, highest = (Decimal(repr(last * (1.0 - bound))) for bound in reversed(bounds))
    for decimals in range(10):
        value = lowest.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_CEILING)
        if 0 < value <= highest:
            return ActionKind.DIVIDEND, value
    return ActionKind.DIVIDEND, (lowest + highest) / 2
