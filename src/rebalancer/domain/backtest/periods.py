"""Periods people ask for: change, series, months and years, and the sum of several portfolios."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from enum import StrEnum

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats, Rows
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.errors import InvalidRequest


class Period(StrEnum):
    """How far back a change is measured."""

    DAY = "1D"
    MONTH = "1M"
    THIS_YEAR = "YTD"
    YEAR = "1Y"
    ALL = "max"


class Interval(StrEnum):
    """Distance of the points of a series."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


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

    def within(self, span: Span) -> ValueHistory:
        """Return the history of a period, measured from its first close."""
        rows, first = span.shown, span.first
        before = 0.0 if first is None else float(self.contributions[first])
        level = 1.0 if first is None else float(self.index[first])
        return ValueHistory(
            self.dates[rows],
            self.values[rows],
            self.contributions[rows] - before,
            self.index[rows] / level if level > 0.0 else np.ones(len(self.dates[rows])),
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
        earlier = np.append(1.0, one.index[:-1])  # 0 once everything was lost
        ratios = np.divide(one.index, earlier, out=np.ones_like(earlier), where=earlier > 0.0)
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


@attrs.frozen
class CalendarReturn:
    """Return of a month or a year, as far as it belongs to a period.

    Attributes:
        begins: First day of the month or year.
        last: Day of its last close.
        change: Time-weighted return, a fraction.
        gain: Growth of the value that is not from deposits and withdrawals.
        contributed: Deposits minus withdrawals.
    """

    begins: date
    last: date
    change: float
    gain: float
    contributed: float


def find_span(dates: Dates, since: date | None, until: date | None) -> Span:
    """Return the rows of a period; its first and last day belong to it.

    It is measured from the last close before its first day, or from before the first row of a
    record that begins later.

    Args:
        dates: (T,) trading days of the record.
        since: First day; None: from the beginning.
        until: Last day; None: to the last close.

    Raises:
        InvalidRequest: the period is reversed, outside the record, or has no close.
    """
    first, last = dates[0].item(), dates[-1].item()
    if since is not None and until is not None and since > until:
        raise InvalidRequest(
            f"{since} is after {until}, the last day; choose an earlier day",
            field="from",
            code="period_reversed",
        )
    if until is not None and until < first:
        raise InvalidRequest(
            f"{until} is before {first}, the first day of the record; choose that day or a later "
            "one",
            field="to",
            code="period_before_record",
        )
    if since is not None and since > last:
        raise InvalidRequest(
            f"{since} is after {last}, the day of the last close; choose that day or an earlier "
            "one",
            field="from",
            code="period_after_prices",
        )
    begin: int | None = None
    if since is not None:
        before = int(np.searchsorted(dates, np.datetime64(since, "D"), "left")) - 1
        begin = before if before >= 0 else None
    end = len(dates) - 1
    if until is not None:
        end = int(np.searchsorted(dates, np.datetime64(until, "D"), "right")) - 1
    if begin is not None and end <= begin:
        raise InvalidRequest(
            f"there is no close from {since} to {until}; choose a longer period",
            field="to",
            code="period_without_close",
        )
    return Span(begin, end)


def thin_out(dates: Dates, interval: Interval) -> Rows:
    """Return the first row, and the last row of each day, week from Monday, or month."""
    if interval is Interval.DAY:
        return np.arange(len(dates))
    return np.unique(np.append(0, _last_rows(_number(dates, interval))))


def calendar_returns(
    history: ValueHistory, *, whole: bool, years: bool = False
) -> list[CalendarReturn]:
    """Return the months or years of a history, the first and the last perhaps in part.

    Args:
        history: Of the period.
        whole: Whether the entries of its first day belong to it; otherwise it is measured from the
            first close, which belongs to no month.
        years: Whether to return years.
    """
    dates = history.dates.astype("datetime64[D]")
    unit = "datetime64[Y]" if years else "datetime64[M]"
    begins = dates.astype(unit)
    start = 0 if whole else 1
    ends = _last_rows(begins[start:].astype(np.int64)) + start
    index, value, paid = (1.0, 0.0, 0.0) if whole else _point(history, 0)
    found = []
    for row in ends.tolist():
        level, worth, contributed = _point(history, row)
        flows = contributed - paid
        found.append(
            CalendarReturn(
                begins=begins[row].astype("datetime64[D]").item(),
                last=dates[row].item(),
                change=level / index - 1.0 if index > 0.0 else 0.0,
                gain=worth - value - flows,
                contributed=flows,
            )
        )
        index, value, paid = level, worth, contributed
    return found


def _point(history: ValueHistory, row: int) -> tuple[float, float, float]:
    """Return index, value and contributions at a row."""
    return (
        float(history.index[row]),
        float(history.values[row]),
        float(history.contributions[row]),
    )


def _number(dates: Dates, interval: Interval) -> Rows:
    """Return (T,) the number of the week or month of each day."""
    if interval is Interval.MONTH:
        return dates.astype("datetime64[M]").astype(np.intp)
    return (dates.astype("datetime64[D]").astype(np.intp) + 3) // 7  # 1970-01-01 was a Thursday


def _last_rows(numbers: Rows) -> Rows:
    """Return the last row of each run of equal numbers."""
    return np.flatnonzero(np.append(numbers[1:] != numbers[:-1], True)[: len(numbers)])


def _back(day: date, *, months: int) -> date:
    """Return the same day of an earlier month, or that month's last day."""
    at = day.year * 12 + day.month - 1 - months
    year, month = divmod(at, 12)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return min(date(year, month + 1, 1) + timedelta(day.day - 1), following - timedelta(1))
