"""Days without a price: which may repeat the last close, and which may not."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.prices import STALE_AFTER

GAP_RULE = f"a gap of at most {STALE_AFTER} rows repeats the last close"
"""The rule, as messages tell it."""


@attrs.frozen
class Gap:
    """Rows ``first`` to ``last`` without a price, after a first one and too many of them."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


def fill_gaps(closes: Floats) -> tuple[Floats, dict[int, Gap]]:
    """Repeat the last close of each column over gaps of at most `STALE_AFTER` rows.

    Args:
        closes: Shape (T, N), NaN where there is none.

    Returns:
        The closes, NaN before each column's first; and the first gap that is longer, by column,
        where there is one: what the closes have there means nothing.
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
