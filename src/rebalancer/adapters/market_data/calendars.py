"""Trading sessions of exchanges, from exchange_calendars; of markets that never close, from none.

The package and pandas are imported when the first exchange is asked for: both take a second.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import numpy as np

from rebalancer.domain.arrays import Dates
from rebalancer.domain.market.instruments import ALWAYS_OPEN
from rebalancer.domain.market.sessions import Sessions

log = logging.getLogger("rebalancer.market")

_FIRST = np.datetime64("1990-01-01", "D")
"""Earliest session that is asked for; some calendars begin later."""

_LAST = np.datetime64("2100-01-01", "D")
"""End of the days of markets that never close."""


class ExchangeCalendars:
    """See `Calendars`.

    The sessions end about a year ahead, as far as holidays are announced.
    """

    def sessions(self, markets: Collection[str]) -> Sessions:
        found = {market: _sessions(market) for market in sorted(markets)}
        return {market: known[0] for market, known in found.items() if known is not None}

    def closing_times(self, market: str) -> Dates | None:
        known = _sessions(market)
        return None if known is None else known[1]


@lru_cache(maxsize=256)
def _sessions(market: str) -> tuple[Dates, Dates] | None:
    """Return the days of a market's sessions, and when they end; None if they are not known."""
    days: Dates
    ends: Dates
    if market == ALWAYS_OPEN:
        days = np.arange(_FIRST, _LAST)
        ends = (days + np.timedelta64(1, "D")).astype("datetime64[s]")
    else:
        try:
            import exchange_calendars
        except ImportError:
            log.warning(
                "the sessions of %s are not known without the package exchange_calendars: gaps are "
                "counted in weekdays; pip install 'rebalancer[market]'",
                market,
            )
            return None
        try:
            calendar = _open_calendar(exchange_calendars, market)
        except exchange_calendars.errors.InvalidCalendarName:
            log.warning("market %s has no calendar: gaps are counted in weekdays", market)
            return None
        days = calendar.sessions.to_numpy().astype("datetime64[D]")
        ends = calendar.closes.dt.tz_convert(None).to_numpy().astype("datetime64[s]")
    for array in (days, ends):
        array.setflags(write=False)
    return days, ends


def _open_calendar(package: Any, market: str) -> Any:
    """Return a calendar from `_FIRST` on, or from the first day that it can have."""
    try:
        return package.get_calendar(market, start=str(_FIRST))
    except ValueError:  # it begins later
        bound = type(package.get_calendar(market)).bound_min()
        return package.get_calendar(market, start=bound)
