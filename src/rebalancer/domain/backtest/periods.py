"""Change over periods people ask for, and the sum of several portfolios."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats


class Period(StrEnum):
    """How far back a change is measured."""

    DAY = "1D"
    MONTH = "1M"
    THIS_YEAR = "YTD"
    YEAR = "1Y"
    ALL = "max"


@attrs.frozen(eq=False)
class ValueHistory:
    """Value of one or several portfolios over T closes, in one currency.

    Attributes:
        dates: (T,) trading days.
        values: (T,) value at each close, after the day's entries.
        contributions: (T,) cumulative deposits minus withdrawals.
        index: (T,) value per 1 held throughout, without the effect of flows.
    """

    dates: Dates
    values: Floats
    contributions: Floats
    index: Floats

    def since(self, row: int) -> ValueHistory:
        """Return the history from a row on."""
        return ValueHistory(
            self.dates[row:], self.values[row:], self.contributions[row:], self.index[row:]
        )

    def first_row(self, period: Period) -> int:
        """Return the row of the close from which a period is measured.

        It is the last close before the period begins, or the first close of a shorter history.
        """
        last: date = self.dates[-1].item()
        if period is Period.ALL:
            return 0
        if period is Period.DAY:
            return max(0, len(self.dates) - 2)
        if period is Period.THIS_YEAR:
            begins = date(last.year - 1, 12, 31)
        elif period is Period.YEAR:
            begins = _back(last, months=12)
        else:
            begins = _back(last, months=1)
        row = int(np.searchsorted(self.dates, np.datetime64(begins), "right")) - 1
        return max(0, row)

    def change(self, period: Period) -> PeriodChange:
        """Return the change over a period."""
        row = self.first_row(period)
        begins = float(self.values[row])
        paid_in = float(self.contributions[-1] - self.contributions[row])
        whole = row == 0 and period is not Period.DAY
        if whole:  # the first day's entries, and their costs, belong to the period
            begins, paid_in = 0.0, float(self.contributions[-1])
        start = 1.0 if whole else float(self.index[row])
        known = len(self.dates) > 1 and start > 0.0
        return PeriodChange(
            period=period,
            since=self.dates[row].item(),
            gain=float(self.values[-1]) - begins - paid_in,
            change=float(self.index[-1]) / start - 1.0 if known else None,
        )


@attrs.frozen
class PeriodChange:
    """Change over a period.

    Attributes:
        since: Day of the close from which it is measured.
        gain: Growth of the value that is not from deposits and withdrawals.
        change: Time-weighted return, a fraction; None with a single close.
    """

    period: Period
    since: date
    gain: float
    change: float | None


def add_histories(histories: Sequence[ValueHistory]) -> ValueHistory | None:
    """Return the history of several portfolios together; None without any.

    The return of a day is the mean of the portfolios' returns, weighted by their values at the
    close before: what a single account that holds them all would have. On the first day of all,
    it is that of the portfolios that begin then, weighted by their values.
    """
    if not histories:
        return None
    dates = np.unique(np.concatenate([one.dates for one in histories]))
    values, paid = np.zeros(len(dates)), np.zeros(len(dates))
    weight, grown = np.zeros(len(dates)), np.zeros(len(dates))
    for one in histories:
        rows = np.searchsorted(dates, one.dates)
        latest = np.searchsorted(one.dates, dates, "right") - 1
        known = latest >= 0
        values[known] += one.values[latest[known]]
        paid[known] += one.contributions[latest[known]]
        before = np.append(one.values[0] / max(one.index[0], 1e-12), one.values[:-1])
        ratios = one.index / np.append(1.0, one.index[:-1])
        held = np.zeros(len(dates))
        growth = np.ones(len(dates))
        held[known] = one.values[latest[known]]
        held = np.append(0.0, held[:-1])  # on days of other portfolios only, it stands still
        held[rows], growth[rows] = before, ratios
        if rows[0] > 0:
            held[rows[0]] = 0.0  # what arrives on a later day has no part in that day's return
        weight += held
        grown += held * growth
    ratio = np.divide(grown, weight, out=np.ones(len(dates)), where=weight > 0.0)
    index: Floats = np.cumprod(ratio, dtype=np.float64)
    return ValueHistory(dates, values, paid, index)


def _back(day: date, *, months: int) -> date:
    """Return the same day of an earlier month, or that month's last day."""
    at = day.year * 12 + day.month - 1 - months
    year, month = divmod(at, 12)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return min(date(year, month + 1, 1) + timedelta(day.day - 1), following - timedelta(1))
