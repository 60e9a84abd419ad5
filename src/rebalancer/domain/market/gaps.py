"""Gaps in prices: short ones repeat the last close, longer ones are rejected."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.prices import STALE_AFTER

GAP_RULE = f"a gap of at most {STALE_AFTER} rows repeats the last close"
"""The rule, in the words of messages."""


@attrs.frozen
class Gap:
    """Rows ``first`` to ``last`` without a price: too many, after a first price."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


def fill_gaps(closes: Floats) -> tuple[Floats, dict[int, Gap]]:
    """Repeat the last close of each column over gaps of at most `STALE_AFTER` rows.

    Args:
        closes: Shape (T, N), NaN where a price is missing.

    Returns:
        The closes, NaN before each column's first one; and the first longer gap by column. In such
        a column the closes are meaningless.
    """
    known = ~np.isnan(closes)
    if known.all():
        return closes, {}
    rows = np.arange(len(closes))[:, None]
    last = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
    too_long = (last >= 0) & (rows - last > STALE_AFTER)
    gaps = {}
    for column in np.flatnonzero(too_long.any(axis=0)).tolist():
        first = int(last[np.argmax(too_long[:, column]), column]) + 1
        later = np.flatnonzero(known[first:, column])
        gaps[column] = Gap(first, (first + int(later[0]) if later.size else len(closes)) - 1)
    filled: Floats = np.where(last >= 0, np.take_along_axis(closes, np.maximum(last, 0), 0), np.nan)
    return filled, gaps
