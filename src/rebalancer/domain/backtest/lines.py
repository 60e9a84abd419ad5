"""Performance figures of an account over time."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.courses import Course
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.frequency import ObservationFrequency, is_a_year, years_between


@attrs.frozen(eq=False)
class Line:
    """Performance of the contributions in one of three ways, over T closes.

    Attributes:
        name: "portfolio", "no rebalancing", "targets, monthly", or the benchmark's symbol.
        values: (T,) value at each close, after that day's entries.
        index: (T,) value per 1 held throughout, without the effect of flows; net of the first
            day's costs.
        twr: Time-weighted return over the whole period, a fraction; None with a single close.
        twr_annual: The same, annualised over the invested time; None for less than a year.
        xirr: Annual money-weighted return; None for less than a year since the first entry, or
            without a solution.
        volatility: Annual volatility of the returns since the first investment, without those of
            an empty account; None for fewer than two returns.
        max_drawdown: Largest loss of the index from its peak or its initial 1; None with a single
            close.
        local_return: What ``twr`` would be if exchange rates did not change on any day; None with
            a single close.
        currency_effect: Return from changes of exchange rates, with
            ``(1 + local_return) * (1 + currency_effect) == 1 + twr``; None with a single close.
    """

    name: str
    values: Floats
    index: Floats
    twr: float | None
    twr_annual: float | None
    xirr: float | None
    volatility: float | None
    max_drawdown: float | None
    local_return: float | None
    currency_effect: float | None


@attrs.frozen(eq=False)
class Measured:
    """What the figures of several accounts have in common.

    Attributes:
        dates: (T,) trading days.
        assets: N, the first columns of a course; the others are currencies.
        rows: Rows between which returns count, the first one included.
        frequency: Number of returns in a year.
    """

    dates: Dates
    assets: int
    rows: Rows
    frequency: ObservationFrequency


@attrs.frozen(eq=False)
class Growth:
    """What an account is worth on each of T closes, and how it grew since the close before.

    Attributes:
        values: (T,) value after the day's entries.
        before: (T,) value at the close before; 0 on the first day.
        stood: (T,) value of what was held at the start of the day, with the day's income; 0 on the
            first day.
        unchanged: (T,) the same at the exchange rates of the close before.
        held: (T, N + C) units at the start of the day, after splits and the like.
        paid_in: (T,) value of deposits.
        taken_out: (T,) value of withdrawals.
    """

    values: Floats
    before: Floats
    stood: Floats
    unchanged: Floats
    held: Floats
    paid_in: Floats
    taken_out: Floats

    @property
    def market(self) -> Floats:
        """(T,) growth of what was held, by prices, exchange rates and income."""
        return _ratio(self.stood, self.before)

    @property
    def ratio(self) -> Floats:
        """(T,) growth without the effect of flows: 1 plus the day's return."""
        traded = _ratio(self.values + self.taken_out, self.stood + self.paid_in)
        growth: Floats = self.market * traded
        return growth


def measure_growth(course: Course, levels: Floats, rates: Floats) -> Growth:
    """Return the daily growth of an account.

    Args:
        course: Its holdings.
        levels: (T, N + C) prices in the assets' own currencies.
        rates: (T, N + C) base currency per unit of these.
    """
    rows, count = course.rows, len(levels)
    prices = levels * rates
    part = np.repeat(np.arange(len(rows)), np.diff(np.append(rows, count)))
    held = course.quantities[part]
    values = (held * prices).sum(axis=1) + course.cash[part]
    # What stood at a close before its entries, at the rates of this close and of the one before.
    cash = course.cash[part]
    cash[rows[1:]] = course.cash[:-1] + course.income[1:]
    held[rows[1:]] = course.opening[1:]
    stood = (held * prices).sum(axis=1) + cash
    unchanged = stood
    if (rates != 1.0).any():
        unchanged = (held[1:] * levels[1:] * rates[:-1]).sum(axis=1) + cash[1:]
        unchanged = np.append(0.0, unchanged)
    stood[0] = unchanged[0] = 0.0
    paid_in, taken_out = np.zeros(count), np.zeros(count)
    paid_in[rows], taken_out[rows] = course.paid_in, course.taken_out
    before = np.append(0.0, values[:-1])
    return Growth(values, before, stood, unchanged, held, paid_in, taken_out)


@attrs.frozen
class Span:
    """Rows of a period.

    Attributes:
        first: Row of the close from which it is measured; None: from before the first row, so that
            the entries of the first day and their costs belong to it.
        last: Row of its last close.
    """

    first: int | None
    last: int

    @property
    def begin(self) -> int:
        """Row of the first value that is shown."""
        return self.first or 0

    @property
    def shown(self) -> slice:
        """Rows whose values are shown."""
        return slice(self.begin, self.last + 1)

    @property
    def counted(self) -> slice:
        """Rows whose returns and entries count."""
        return slice(0 if self.first is None else self.first + 1, self.last + 1)


def measure_line(
    name: str,
    course: Course,
    levels: Floats,
    rates: Floats,
    measured: Measured,
    span: Span | None = None,
    growth: Growth | None = None,
) -> Line:
    """Return the performance figures of an account, its returns between the measured rows.

    Args:
        name: See `Line`.
        course: Its holdings.
        levels: (T, N + C) prices in the assets' own currencies.
        rates: (T, N + C) base currency per unit of these.
        measured: Days and rows.
        span: Period of the figures; None: all rows.
        growth: Growth of the account where it is known already.
    """
    found = growth or measure_growth(course, levels, rates)
    span = span or Span(None, len(measured.dates) - 1)
    shown, begin = span.shown, span.begin
    rows, dates = course.rows, measured.dates[shown]
    count, continues = len(dates), span.first is not None
    ratio = found.ratio[shown]
    if continues:
        ratio[0] = 1.0
    values = found.values[shown]
    index: Floats = np.cumprod(ratio, dtype=np.float64)
    currency = float(np.prod(_ratio(found.stood, found.unchanged)[span.counted]))
    part = np.repeat(np.arange(len(rows)), np.diff(np.append(rows, len(measured.dates))))
    owned: Bools = np.logical_or.reduce(course.quantities[:, : measured.assets] != 0.0, axis=1)
    invested = np.logical_or.accumulate(owned[part])
    counts = (invested & ((found.before > 0.0) | (found.paid_in > 0.0)))[shown]
    invested = invested[shown]
    if continues:
        counts[0] = False
    common = measured.rows[(measured.rows > begin) & (measured.rows <= span.last)] - begin
    periods = np.append(0, np.append(0, common)[:-1] + 1)  # the first row of each
    periods = periods[periods < count]
    counts = np.logical_or.reduceat(counts, periods)
    returns = (np.multiply.reduceat(ratio, periods) - 1.0)[counts]
    # The time at whose beginning the account held money, from the first investment on.
    days = int(np.diff(dates).astype(np.int64)[invested[:-1] & (values[:-1] > 0.0)].sum())
    first, last = dates[-1] - np.timedelta64(days, "D"), dates[-1]
    flows = (found.taken_out - found.paid_in)[shown]
    if continues:
        flows[0] = -values[0]
    flows[-1] += values[-1]
    return Line(
        name=name,
        values=values,
        index=index,
        twr=float(index[-1] - 1.0) if count > 1 else None,
        twr_annual=(
            metrics.cagr(float(index[-1]), years_between(first, last))
            if is_a_year(first, last)
            else None
        ),
        xirr=_solve_xirr(flows, dates) if is_a_year(dates[0], last) else None,
        volatility=(
            metrics.annual_volatility(returns, measured.frequency.periods_per_year)
            if len(returns) > 1
            else None
        ),
        max_drawdown=metrics.max_drawdown(np.append(1.0, index)) if count > 1 else None,
        local_return=float(index[-1]) / currency - 1.0 if count > 1 else None,
        currency_effect=currency - 1.0 if count > 1 else None,
    )


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part over whole; 1 if the whole is 0."""
    ratio: Floats = np.divide(part, whole, out=np.ones_like(part), where=whole > 0.0)
    return ratio


def _solve_xirr(flows: Floats, dates: Dates) -> float | None:
    """Return the annual rate that solves the flows and the last value; None without a solution."""
    rows = np.flatnonzero(flows)
    try:
        return metrics.xirr(flows[rows], dates[rows].tolist())
    except InvalidRequest:
        return None
