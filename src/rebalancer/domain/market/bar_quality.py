"""Checks of bars as a source lists them: figures that cannot be, or hardly can be, those of a day.

Each rule is a function on arrays. `check_bars` applies all of them to the rows of a source, and
makes one finding for each asset and rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.market.bar_rows import BarRows, SortedBars
from rebalancer.domain.market.quality import Decision, Rule, Verdict

RANGE_TOLERANCE = 0.01
"""Fraction by which an open or a close may lie outside of the day's range: auctions are reported
apart from trading, and some sources round."""

QUIET = 5
"""Bars without volume in a row, at least, that are worth a finding."""

USUAL = 20
"""Bars before a bar from which the usual volume follows."""

TRADED = 0.9
"""Share of these that must have a volume, so that thin trading is no finding."""

MULTIPLE = 1000.0
"""Volume in multiples of the usual one from which on it is a finding."""

LIQUID = 1000.0
"""Usual volume, in shares, from which on a multiple of it means something."""

SAME_OPENS = 0.95
"""Share of bars whose open is their close from which on opens are not real ones."""


def is_not_positive(values: Floats) -> Bools:
    """(R,) whether figures are 0 or negative; missing ones (NaN) are not."""
    with np.errstate(invalid="ignore"):
        found: Bools = values <= 0
    return found


def is_outside_range(opens: Floats, highs: Floats, lows: Floats, closes: Floats) -> Bools:
    """(R,) whether the high is below the low, or open or close lie outside of both.

    Missing figures (NaN), and those that are not positive, are not compared.
    """
    prices = (opens, highs, lows, closes)
    opens, highs, lows, closes = (np.where(is_not_positive(one), np.nan, one) for one in prices)
    with np.errstate(invalid="ignore"):
        found: Bools = highs < lows
        for price in (opens, closes):
            found = found | (price > highs * (1 + RANGE_TOLERANCE))
            found = found | (price < lows * (1 - RANGE_TOLERANCE))
    return found


def is_future(days: Dates, today: date) -> Bools:
    """(R,) whether days have not begun anywhere on ``today``, a day in UTC."""
    found: Bools = days > np.datetime64(today + timedelta(days=1), "D")
    return found


def lacks_volume(closes: Floats, volumes: Floats) -> Bools:
    """(T,) bars of one asset without volume although its price moves, in runs of `QUIET` or more.

    Only of an asset that usually trades: nine of the ten bars before the run have a volume. Most
    closes of a run differ from the ones before.
    """
    found = np.zeros(len(volumes), dtype=bool)
    with np.errstate(invalid="ignore"):
        empty = volumes == 0
    if not empty.any():
        return found
    moved = np.append(False, closes[1:] != closes[:-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        before = volumes[max(start - USUAL, 0) : start]
        usual = len(before) == USUAL and float((before > 0).mean()) >= TRADED
        if stop - start >= QUIET and usual and moved[start:stop].mean() > 0.5:
            found[start:stop] = True
    return found


def has_huge_volume(volumes: Floats) -> Bools:
    """(T,) volumes of one asset that are a thousandfold of the median of the 20 bars before."""
    found = np.zeros(len(volumes), dtype=bool)
    if len(volumes) <= USUAL:
        return found
    windows = np.lib.stride_tricks.sliding_window_view(volumes, USUAL)[:-1]
    usual = np.median(windows, axis=1)  # NaN where a volume is missing
    with np.errstate(invalid="ignore"):
        found[USUAL:] = (usual >= LIQUID) & (volumes[USUAL:] >= MULTIPLE * usual)
    return found


def has_copied_opens(opens: Floats, highs: Floats, lows: Floats, closes: Floats) -> bool:
    """Return whether the opens of an asset's bars, shape (T,), are copies of their closes.

    So they are if nearly all are equal, although the price moves within most days.
    """
    known = ~(np.isnan(opens) | np.isnan(highs) | np.isnan(lows))
    if known.sum() < USUAL:
        return False
    same = opens[known] == closes[known]
    return bool(same.mean() >= SAME_OPENS and (highs[known] > lows[known]).mean() > 0.5)


def check_bars(bars: SortedBars, *, known: datetime) -> tuple[Verdict, ...]:
    """Return what the rules find, as open verdicts: one for each asset and rule, at its first day.

    Args:
        bars: Rows of a source.
        known: When they became known, in UTC; later days are in the future.
    """
    rows = bars.rows
    found = list(_unusable(bars))
    used = rows.at(bars.usable)
    masks = {
        Rule.HIGH_BELOW_LOW: is_outside_range(used.open, used.high, used.low, used.close),
        Rule.FUTURE_DATE: is_future(used.days, known.date()),
        Rule.NOT_POSITIVE: np.logical_or.reduce(
            [is_not_positive(values) for values in (used.open, used.high, used.low)]
        )
        | (used.volume < 0),
    }
    for rule, mask in masks.items():
        found += [(symbol, rule, days) for symbol, days in _by_asset(used, mask)]
    found += _by_series(used)
    verdicts: dict[tuple[str, Rule], Verdict] = {}
    for symbol, rule, days in found:
        text = _TEXTS[rule].format(days=_listed(days))
        if (symbol, rule) not in verdicts:  # an unusable close says more than another figure
            verdicts[symbol, rule] = Verdict(
                symbol, rule, days[0].item(), Decision.OPEN, known, text
            )
    return tuple(sorted(verdicts.values(), key=lambda one: one.key))


_TEXTS = {
    Rule.NOT_POSITIVE: "has a figure of 0 or less on {days}, which is taken for missing",
    Rule.DUPLICATE: "has rows with different closes on {days}, none of which is used",
    Rule.HIGH_BELOW_LOW: "has a high below its low, or a price outside of both, on {days}",
    Rule.FUTURE_DATE: "has closes of days to come, which are not used before: {days}",
    Rule.VOLUME_ANOMALY: "has no volume although its price moves, or a thousandfold of the usual "
    "volume, on {days}",
    Rule.OPEN_IS_CLOSE: "has opens that are its closes on nearly all days, from {days}",
}
"""Clauses about an asset, by rule."""


def _listed(days: Dates) -> str:
    """Write the first of some days, and how many more there are."""
    more = len(days) - 1
    return f"{days[0]}" + (f" and {more} more day{'' if more == 1 else 's'}" if more else "")


def _unusable(bars: SortedBars) -> Iterator[tuple[str, Rule, Dates]]:
    """Yield assets with closes that cannot be used, and their days."""
    for rule, mask in ((Rule.NOT_POSITIVE, bars.unusable), (Rule.DUPLICATE, bars.conflicting)):
        for symbol, days in _by_asset(bars.rows, mask):
            yield symbol, rule, np.unique(days)


def _by_asset(rows: BarRows, mask: Bools) -> Iterator[tuple[str, Dates]]:
    """Yield each asset with a marked row, and the days of its marked rows."""
    marked = np.flatnonzero(mask)
    for part in _runs(rows.assets[marked]):
        yield rows.symbols[int(rows.assets[marked[part.start]])], rows.days[marked[part]]


def _runs(numbers: Rows) -> Iterator[slice]:
    """Yield the slices of equal numbers in a sorted array."""
    if not len(numbers):
        return
    starts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1])).tolist()
    yield from (
        slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True)
    )


def _by_series(rows: BarRows) -> Iterator[tuple[str, Rule, Dates]]:
    """Yield what follows from an asset's bars in a row."""
    for part in _runs(rows.assets):
        symbol, days = rows.symbols[int(rows.assets[part.start])], rows.days[part]
        closes, volumes = rows.close[part], rows.volume[part]
        odd = lacks_volume(closes, volumes) | has_huge_volume(volumes)
        if odd.any():
            yield symbol, Rule.VOLUME_ANOMALY, days[odd]
        if has_copied_opens(rows.open[part], rows.high[part], rows.low[part], closes):
            yield symbol, Rule.OPEN_IS_CLOSE, days[:1]
