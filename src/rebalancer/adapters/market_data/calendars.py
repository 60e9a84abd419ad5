"""Trading sessions of exchanges, from exchange_calendars; of markets that never close, from none.

The package and pandas are imported when an exchange is asked for the first time: both take a second
and 70 MB. What they give is written to a file, from which later processes read it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from rebalancer.domain.arrays import Dates
from rebalancer.domain.market.instruments import ALWAYS_OPEN
from rebalancer.domain.market.sessions import Sessions

log = logging.getLogger("rebalancer.market")

_Times = tuple[Dates, Dates, Dates]
"""Days of sessions, and when they end and begin in UTC."""

_FIRST = np.datetime64("1990-01-01", "D")
"""Earliest session that is asked for; some calendars begin later."""

_LAST = np.datetime64("2100-01-01", "D")
"""End of the days of markets that never close."""


class ExchangeCalendars:
    """See `Calendars`.

    The sessions end about a year ahead, as far as holidays are announced.

    Args:
        folder: Where sessions are written for other processes, for a month; None: nowhere.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._read: dict[str, _Times | None] = {}

    def sessions(self, markets: Collection[str]) -> Sessions:
        found = {market: self._find(market) for market in sorted(markets)}
        return {market: known[0] for market, known in found.items() if known is not None}

    def closing_times(self, market: str) -> Dates | None:
        known = self._find(market)
        return None if known is None else known[1]

    def opening_times(self, market: str) -> Dates | None:
        known = self._find(market)
        return None if known is None else known[2]

    def time_zone(self, market: str) -> tzinfo:
        return _time_zone(market)

    def _find(self, market: str) -> _Times | None:
        if market not in self._read:
            path = None if self._folder is None else _path_of(self._folder, market)
            known = None if path is None else _read_file(path)
            if known is None:
                known = _sessions(market)
                if path is not None and known is not None:
                    _write_file(path, known)
            self._read[market] = known
        return self._read[market]


def _path_of(folder: Path, market: str) -> Path | None:
    """Return the file of a market; another one for each month and version of the package."""
    if not (market.isascii() and market.isalnum()):
        return None
    try:
        installed = version("exchange_calendars")
    except PackageNotFoundError:
        return None
    return folder / f"{market}-{datetime.now(UTC):%Y-%m}-{installed}.npy"


def _read_file(path: Path) -> _Times | None:
    """Return the times of a file; None if it is missing, damaged or of an earlier version."""
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if table.dtype != np.int64 or table.ndim != 2 or len(table) != 3:
        return None
    ends, begins = (row.astype("datetime64[s]") for row in table[1:])
    return _frozen(table[0].astype("datetime64[D]"), ends, begins)


def _write_file(path: Path, known: _Times) -> None:
    """Write the times to a file at once, and delete earlier ones of the market."""
    table = np.array([times.astype(np.int64) for times in known])
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, table)
        part.replace(path)
        market = path.name.partition("-")[0]
        for earlier in path.parent.glob(f"{market}-*.npy"):
            if earlier != path:
                earlier.unlink(missing_ok=True)
    except OSError as error:  # the next process asks the package again
        log.debug("sessions cannot be written to %s: %s", path, error)


def _frozen(days: Dates, ends: Dates, begins: Dates) -> _Times:
    for array in (days, ends, begins):
        array.setflags(write=False)
    return days, ends, begins


@lru_cache(maxsize=256)
def _sessions(market: str) -> _Times | None:
    """Return the times of a market's sessions; None if they are not known."""
    days: Dates
    ends: Dates
    begins: Dates
    if market == ALWAYS_OPEN:
        days = np.arange(_FIRST, _LAST)
        ends = (days + np.timedelta64(1, "D")).astype("datetime64[s]")
        begins = days.astype("datetime64[s]")
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
        begins = calendar.opens.dt.tz_convert(None).to_numpy().astype("datetime64[s]")
    return _frozen(days, ends, begins)


@lru_cache(maxsize=256)
def _time_zone(market: str) -> tzinfo:
    """Return the time zone of a market; UTC if it is not known."""
    if market == ALWAYS_OPEN:
        return UTC
    try:
        import exchange_calendars

        found: tzinfo = exchange_calendars.get_calendar(market).tz
    except ImportError:
        return UTC
    except exchange_calendars.errors.InvalidCalendarName:
        return UTC
    return found


def _open_calendar(package: Any, market: str) -> Any:
    """Return a calendar from `_FIRST` on, or from the first day that it can have."""
    try:
        return package.get_calendar(market, start=str(_FIRST))
    except ValueError:  # it begins later
        bound = type(package.get_calendar(market)).bound_min()
        return package.get_calendar(market, start=bound)
