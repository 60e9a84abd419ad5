"""Trading sessions: the days on which a market trades.

Gaps and ages of prices are counted in the sessions of the asset's own market. A holiday is then no
gap, however long it is, and an asset of one exchange is never judged by the days of another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import attrs
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


@attrs.frozen
class MarketHours:
    """Whether a market trades at a time.

    Attributes:
        is_open: Whether a session is open.
        since: When the session has opened, or the last one has ended; None before the first.
        until: When the session ends, or the next one opens; None after the last that is known.
    """

    is_open: bool
    since: datetime | None
    until: datetime | None


def market_hours(begins: Dates, ends: Dates, now: datetime) -> MarketHours:
    """Return whether a market trades at a time.

    Args:
        begins: When its sessions begin, increasing, ``datetime64[s]`` in UTC.
        ends: When they end.
        now: The time.
    """
    moment = np.datetime64(int(now.timestamp()), "s")
    row = int(np.searchsorted(ends, moment, side="right"))
    is_open = row < len(begins) and bool(begins[row] <= moment)
    if is_open:
        return MarketHours(True, _time_of(begins[row]), _time_of(ends[row]))
    since = _time_of(ends[row - 1]) if row > 0 else None
    return MarketHours(False, since, _time_of(begins[row]) if row < len(begins) else None)


def _time_of(moment: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(moment.astype("datetime64[s]").astype(np.int64)), UTC)


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
