"""Observation frequency: how many rows of a price history make a year, derived from its dates.

A year of shares has about 252 rows, of coins 365, of weekly closes 52. Figures a year, and
look-backs that are given in trading days, follow this number. A rate near a usual one becomes that
one, so that a holiday more or less changes nothing.
"""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates
from rebalancer.domain.errors import InvalidRequest

TRADING_DAYS = 252
"""Trading days in a year; look-backs of policies are given in them."""

DAYS_A_YEAR = 365.25
"""Calendar days in a year, on average."""

_LEAST_DAYS = 365
"""Elapsed days from which a figure a year is given; they count as a whole year."""

LONGEST, SHORTEST = 100_000.0, 0.1
"""Bounds of a stated number of periods a year."""

_TOLERANCE = 0.07
"""Relative distance within which a measured rate is a usual one: exchanges have 240 to 262 days."""

_FEW = 10
"""Gaps between rows below which their usual length alone decides."""

_SEASON = 200
"""Gaps of daily rows below which holidays and the window's ends distort the rate too much."""

_NEARLY_ALL = 0.9
"""Share of the calendar days on which coins have a price, and shares have not."""

_LONGEST_WEEKEND = 4
"""Usual days between a few daily rows at most, when they begin and end at a weekend."""

_LONGEST_CLOSURE = 15
"""Days that an exchange closes at most; a longer gap between daily rows is a hole in the data."""

_SATURDAY, _SUNDAY = 2, 3
"""Days since 1970-01-01, a Thursday, modulo 7."""


@attrs.frozen
class ObservationFrequency:
    """Number of observations in a year.

    Attributes:
        periods_per_year: Rows a year; each is one period.
        name: Unit of a period: "trading days", "calendar days", "weeks", "months", "quarters",
            "years"; "irregular" rows; or "stated" by the caller.
    """

    periods_per_year: float
    name: str

    def rows(self, days: int) -> int:
        """Return the number of rows, at least 1, that ``days`` trading days take."""
        return max(1, round(days * self.periods_per_year / TRADING_DAYS))

    def window(self, rows: int) -> str:
        """Describe a window of some rows: "63 days", "13 weeks"."""
        return f"{rows} {self._unit}{'' if rows == 1 else 's'}"

    def long(self, rows: int) -> str:
        """Describe an average over some rows: "200-day", "41-week"."""
        return f"{rows}-{self._unit}"

    @property
    def _unit(self) -> str:
        if self.name in ("trading days", "calendar days"):
            return "day"
        return "close" if self.name in ("irregular", "stated") else self.name.removesuffix("s")

    @property
    def is_daily(self) -> bool:
        """Whether a week has at least four rows."""
        return self.rows(5) >= 4

    @property
    def sentence(self) -> str:
        """Statement for readers of figures a year."""
        digits = 4 if self.name == "irregular" else 6
        number = f"{self.periods_per_year:.{digits}g}"
        if self.name == "stated":
            return f"A year counts as {number} closes, as stated."
        if self.name == "irregular":
            return f"A year counts as {number} closes, as many as the prices have."
        return f"A year counts as {number} {'year' if self.name == 'years' else self.name}."


DAILY = ObservationFrequency(TRADING_DAYS, "trading days")
EVERY_DAY = ObservationFrequency(DAYS_A_YEAR, "calendar days")

_SPACED = (
    (5, 9, ObservationFrequency(DAYS_A_YEAR / 7, "weeks")),
    (26, 35, ObservationFrequency(12, "months")),
    (80, 100, ObservationFrequency(4, "quarters")),
    (350, 380, ObservationFrequency(1, "years")),
)
"""Usual frequencies of fewer rows than daily, and the least and the most days between rows."""


def stated_frequency(periods_per_year: float) -> ObservationFrequency:
    """Return a frequency that the caller states.

    Raises:
        InvalidRequest: the number is not between 0.1 and 100,000.
    """
    if not SHORTEST <= periods_per_year <= LONGEST:
        raise InvalidRequest(
            f"{periods_per_year} is not a number of periods a year; enter {SHORTEST:g} to "
            f"{LONGEST:g}, such as 252",
            field="periods_per_year",
            code="periods_per_year_out_of_range",
        )
    return ObservationFrequency(float(periods_per_year), "stated")


def observation_frequency(dates: Dates) -> ObservationFrequency:
    """Derive the observation frequency of increasing dates, shape (T,).

    The rate is the number of rows in a year of the time that they span, without holes in the data.
    Within 7% of a usual rate it is that rate. For fewer than 11 rows, and for daily ones of less
    than about a year, the usual distance between rows and weekends decide.
    """
    gaps = np.diff(dates).astype(np.int64)
    if not gaps.size:
        return DAILY
    usual = float(np.median(gaps))
    regular = gaps[gaps <= max(_LONGEST_CLOSURE, 10 * usual)]
    rate = len(regular) * DAYS_A_YEAR / int(regular.sum())
    if usual < 2 or (len(gaps) < _FEW and usual <= _LONGEST_WEEKEND):
        return _daily(dates, len(gaps), rate)
    for least, most, frequency in _SPACED:
        if least <= usual <= most and (len(gaps) < _FEW or _near(rate, frequency)):
            return frequency
    return ObservationFrequency(rate, "irregular")


def _daily(dates: Dates, gaps: int, rate: float) -> ObservationFrequency:
    """Distinguish trading days from all days of the week."""
    if gaps >= _SEASON:
        for frequency in (DAILY, EVERY_DAY):
            if _near(rate, frequency):
                return frequency
        return ObservationFrequency(rate, "irregular")
    if gaps < _FEW:
        weekdays = set((dates.astype("datetime64[D]").astype(np.int64) % 7).tolist())
        return EVERY_DAY if {_SATURDAY, _SUNDAY} <= weekdays else DAILY
    return EVERY_DAY if rate >= _NEARLY_ALL * DAYS_A_YEAR else DAILY


def _near(rate: float, frequency: ObservationFrequency) -> bool:
    return abs(rate / frequency.periods_per_year - 1.0) <= _TOLERANCE


def years_between(first: np.datetime64, last: np.datetime64) -> float:
    """Return the years between two days, actual/365.25.

    365 days are a whole year: a return of a year is not another one "a year".
    """
    days = _days_between(first, last)
    years = days / DAYS_A_YEAR
    return max(years, 1.0) if days >= _LEAST_DAYS else years


def is_a_year(first: np.datetime64, last: np.datetime64) -> bool:
    """Return whether at least a year lies between two days: returns of less are not annualised.

    References:
        CFA Institute (2020). Global investment performance standards (GIPS), provision 4.A.
    """
    return _days_between(first, last) >= _LEAST_DAYS


def _days_between(first: np.datetime64, last: np.datetime64) -> int:
    return int((last - first) / np.timedelta64(1, "D"))
