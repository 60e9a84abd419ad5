"""Recognition of highs, lows, opens and closes by their numbers, where titles are unknown."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from rebalancer.domain.arrays import Floats

_MOST_COLUMNS = 10
"""Columns up to which a file may be of one asset."""

_FEWEST_ROWS = 3

_WIDEST = 3.0
"""Highest range of a day, in mean absolute changes from day to day."""

_CROSSING = 0.1
"""Lowest share of days on which an asset closes above, and below, its open."""


def find_bars(closes: Floats) -> tuple[int, int, int, int] | None:
    """Return the columns of high, low and two prices between them, or None.

    On every row the high is highest and the low is lowest of the four, and the other two cross: so
    are the open and the close. The range between high and low is that of a day's trading, not a
    distance between assets: on average, at most three times the change from row to row.

    Args:
        closes: Shape (T, N), NaN where missing.
    """
    rows = closes[~np.isnan(closes).any(axis=1)]
    count = rows.shape[1]
    if not 4 <= count <= _MOST_COLUMNS or len(rows) < _FEWEST_ROWS:
        return None
    above = np.array(
        [[(rows[:, a] >= rows[:, b]).all() for b in range(count)] for a in range(count)]
    )
    for one, other in combinations(range(count), 2):
        higher = float((rows[:, one] > rows[:, other]).mean())
        lower = float((rows[:, one] < rows[:, other]).mean())
        if min(higher, lower) < _CROSSING:
            continue
        change = float(np.abs(np.diff(np.log(rows[:, one]))).mean())
        for high in np.flatnonzero(above[:, one] & above[:, other]).tolist():
            for low in np.flatnonzero(above[one] & above[other]).tolist():
                spread = float(np.log(rows[:, high] / rows[:, low]).mean())
                if (
                    high not in (one, other)
                    and low not in (one, other)
                    and spread <= (_WIDEST * change)
                ):
                    return high, low, one, other
    return None
