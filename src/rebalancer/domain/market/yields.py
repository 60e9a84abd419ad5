"""Yields in percent a year, and what cash earns at them."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.market.frequency import DAYS_A_YEAR


@attrs.frozen(eq=False)
class Yields:
    """Yields of a security, such as a Treasury bill; they may be 0 or negative.

    Attributes:
        days: Days with a yield, increasing, shape (T,), ``datetime64[D]``.
        percent: Percent a year, each finite and above -100, shape (T,).
    """

    days: Dates
    percent: Floats

    def returns(self, dates: Dates) -> Floats:
        """Return simple returns of cash between rows, 0 for the first one; shape of ``dates``.

        From one row to the next, cash earns the yield y that was last known at the first of them:
        (1 + y / 100)^(days / 365.25) - 1, by elapsed time (actual/365.25). It earns nothing before
        the first yield.
        """
        known = np.searchsorted(self.days, dates, side="right") - 1
        rates = np.where(known < 0, 0.0, self.percent[np.maximum(known, 0)] / 100.0)
        years = np.diff(dates).astype(np.float64) / DAYS_A_YEAR
        earned = np.zeros(len(dates))
        earned[1:] = np.expm1(years * np.log1p(rates[:-1]))
        return earned
