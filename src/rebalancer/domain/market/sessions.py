"""Trading sessions: the days on which a market trades.

Gaps and ages of prices are counted in the sessions of the asset's own market. A holiday is then no
gap, however long it is, and an asset of one exchange is never judged by the days of another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rebalancer.domain.arrays import Dates, Floats

Sessions = Mapping[str, Dates]
"""Days of the sessions of markets by their code, each increasing, ``datetime64[D]``."""

SESSION_GRACE = 5
"""Missed sessions for which a last close may stand in: a week of suspended trading."""

_MARGIN = np.timedelta64(15, "D")
"""Days by which known sessions may begin or end inside of the prices: no closure is longer."""


def covers(sessions: Dates, days: Dates) -> bool:
    """Return whether sessions are known for all of some days, which increase."""
    if not len(sessions) or not len(days):
        return False
    return bool(sessions[0] - _MARGIN <= days[0] and days[-1] <= sessions[-1] + _MARGIN)


def count_sessions(sessions: Dates, days: Dates) -> Floats:
    """(T,) sessions up to and including each of some days, which increase."""
    counted: Floats = np.searchsorted(sessions, days, side="right").astype(np.float64)
    return counted


def count_open_days(
    sessions: Sequence[Dates | None], after: np.datetime64, until: np.datetime64
) -> int | None:
    """Count the days after one day, and up to another, on which any of some markets trades.

    None if the sessions of a market are not known over that time.
    """
    days = np.arange(after, until + np.timedelta64(1, "D"))
    found: set[int] = set()
    for known in sessions:
        if known is None or not covers(known, days):
            return None
        first, last = np.searchsorted(known, [after, until], side="right")
        found.update(known[first:last].astype(np.int64).tolist())
    return len(found)
