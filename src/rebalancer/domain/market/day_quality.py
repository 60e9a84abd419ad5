"""Checks of days and of sources: missing sessions, days without one, old closes, disagreement."""

from __future__ import annotations

import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats
from rebalancer.domain.market.prices import GRACE
from rebalancer.domain.market.sessions import SESSION_GRACE

THIN = 0.1
"""Share of sessions without a close from which on an asset trades thinly: that is no finding."""

FEWEST_SESSIONS = 20
"""Sessions at least that tell whether an asset trades thinly."""

AGREEMENT = 0.005
"""Relative difference up to which closes of two sources agree: they round, and take closing prices
at different times."""


def missing_sessions(days: Dates, sessions: Dates, until: np.datetime64) -> Dates:
    """Return the sessions from the first close of an asset on that it has no close of.

    None if the asset trades thinly.

    Args:
        days: (T,) days of its closes, increasing.
        sessions: Days of its market, increasing.
        until: Last session of which a close is expected.
    """
    if not len(days):
        return days
    first, after = np.searchsorted(sessions, [days[0], until + np.timedelta64(1, "D")])
    own = sessions[first:after]
    missing = own[~_is_among(own, days)]
    thin = len(own) >= FEWEST_SESSIONS and len(missing) > THIN * len(own)
    found: Dates = missing[:0] if thin else missing
    return found


def extra_days(days: Dates, sessions: Dates) -> Dates:
    """Return the days with a close that are no session of the market, where sessions are known."""
    if not len(sessions):
        return days[:0]
    known = (days >= sessions[0]) & (days <= sessions[-1])
    found: Dates = days[known & ~_is_among(days, sessions)]
    return found


def _is_among(days: Dates, others: Dates) -> Bools:
    """(T,) whether days are among others; both increase."""
    rows = np.minimum(np.searchsorted(others, days), len(others) - 1)
    found: Bools = others[rows] == days
    return found


def disagreements(
    days: Dates,
    closes: Floats,
    other_days: Dates,
    other_closes: Floats,
    *,
    tolerance: float = AGREEMENT,
) -> Dates:
    """Return the days on which two sources have closes that differ.

    Args:
        days: (T,) of one source, increasing.
        closes: (T,) on them.
        other_days: (S,) of the other source, increasing.
        other_closes: (S,) on them.
        tolerance: Relative difference up to which they agree.
    """
    common, here, there = np.intersect1d(days, other_days, assume_unique=True, return_indices=True)
    differ = np.abs(np.log(closes[here] / other_closes[there])) > np.log1p(tolerance)
    found: Dates = common[differ]
    return found


def agrees_with_change(
    day: np.datetime64,
    change: float,
    other_days: Dates,
    other_closes: Floats,
    *,
    tolerance: float = 0.02,
) -> bool:
    """Return whether another source has the same change to a day, so that it is a true one.

    Args:
        day: Day of the close after the change.
        change: Close after the change divided by the one before.
        other_days: (S,) of the other source, increasing.
        other_closes: (S,) on them.
        tolerance: Relative difference of the changes.
    """
    at = int(np.searchsorted(other_days, day))
    if not 0 < at < len(other_days) or other_days[at] != day:
        return False
    other = other_closes[at] / other_closes[at - 1]
    return bool(abs(np.log(other / change)) <= np.log1p(tolerance))


def is_stale(last: np.datetime64, until: np.datetime64, sessions: Dates | None = None) -> bool:
    """Return whether a last close is too old to stand in for a later one.

    That is more than `SESSION_GRACE` sessions, or `GRACE` weekdays where sessions are not known.

    Args:
        last: Day of the last close.
        until: Day on which it should be current.
        sessions: Days of the asset's market, increasing.
    """
    if sessions is None:
        return int(np.busday_count(last, until)) > GRACE
    first, after = np.searchsorted(sessions, [last, until], side="right")
    return int(after - first) > SESSION_GRACE
