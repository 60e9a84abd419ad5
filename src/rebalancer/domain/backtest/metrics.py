"""Performance metrics: pure functions of wealth or returns.

Inputs are oldest first, one row an observation: ``values``, shape (T,), wealth per 1 invested,
above 0, beginning with the 1 before the costs of the first purchases; and ``returns``, shape
(T - 1,), simple returns ``v[t] / v[t-1] - 1``, of which the first are those costs. Figures a year
multiply by the periods a year, 252 for trading days; growth is over elapsed time. Standard
deviations are those of a sample (``ddof=1``). Each function needs at least two rows and
raises InvalidRequest for fewer. Each returns a finite number; a ratio without risk, as on a
constant path, is 0.0 by convention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.frequency import TRADING_DAYS

STILL = 1e-14
"""Deviations up to this are rounding errors."""


def cagr(growth: float, years: float) -> float:
    """Return the compound annual growth rate, ``growth ** (1 / years) - 1``.

    Args:
        growth: Final wealth per 1 invested.
        years: Elapsed time, above 0.
    """
    # Logarithms prevent an overflow of the power over short times.
    if growth <= 0.0:
        return -1.0
    return math.expm1(min(math.log(growth) / years, 700.0))


def annual_volatility(returns: Floats, periods_per_year: float = TRADING_DAYS) -> float:
    """Return the sample standard deviation of returns times the root of the periods a year."""
    return _deviation(_check_rows(returns)) * math.sqrt(periods_per_year)


def sharpe(
    returns: Floats,
    risk_free: Floats | float = 0.0,
    periods_per_year: float = TRADING_DAYS,
) -> float:
    """Return mean over deviation of the returns in excess of the risk-free rate, annualised.

    ``mean(r - f) / std(r - f, ddof=1) * sqrt(periods a year)``; 0.0 if the deviation is 0.

    Args:
        returns: Simple returns, shape (T - 1,).
        risk_free: Simple returns of cash: one, or one a row, shape (T - 1,).
        periods_per_year: Returns in a year.

    References:
        Sharpe, W. F. (1994). The Sharpe ratio. Journal of Portfolio Management 21(1), 49-58.
    """
    excess = _subtract(returns, risk_free)
    return _ratio(float(excess.mean()), _deviation(excess)) * math.sqrt(periods_per_year)


def sortino(
    returns: Floats,
    risk_free: Floats | float = 0.0,
    periods_per_year: float = TRADING_DAYS,
) -> float:
    """Return mean excess return over its downside deviation, annualised.

    The downside deviation is ``sqrt(mean(min(r - f, 0) ** 2))`` over *all* rows: rows above the
    risk-free rate count as zeros. The ratio is 0.0 if all rows are above it.

    Args:
        returns: Simple returns, shape (T - 1,).
        risk_free: Simple returns of cash: one, or one a row, shape (T - 1,).
        periods_per_year: Returns in a year.

    References:
        Sortino, F. A. and Price, L. N. (1994). Performance measurement in a downside risk
        framework. Journal of Investing 3(3), 59-64.
    """
    excess = _subtract(returns, risk_free)
    short = np.minimum(excess, 0.0)
    downside = math.sqrt(float(short @ short) / len(short))
    return _ratio(float(excess.mean()), downside) * math.sqrt(periods_per_year)


def max_drawdown(values: Floats) -> float:
    """Return the largest loss from an earlier peak, ``max(1 - v_t / max(v_0..v_t))``, in [0, 1]."""
    path = _check_rows(values)
    return float(1.0 - (path / np.maximum.accumulate(path)).min())


def longest_drawdown(values: Floats) -> int:
    """Return the longest time, in rows, from a peak to its recovery or to the end.

    0 for a path that never falls. Reaching the peak's value again is recovery.
    """
    path = _check_rows(values)
    peaks = np.flatnonzero(path >= np.maximum.accumulate(path))
    waits = np.diff(peaks)
    recovered = int(waits.max(initial=0))
    # A drawdown cannot lie between peaks in neighbouring rows.
    return max(recovered if recovered > 1 else 0, len(path) - 1 - int(peaks[-1]))


def value_at_risk(returns: Floats, level: float = 0.95) -> float:
    """Return the historical value at risk: the loss not exceeded on ``level`` of the rows.

    The smallest loss l among the rows with ``share(loss <= l) >= level``, without interpolation. A
    fraction of wealth, positive for a loss, negative if even that row is a gain.

    References:
        Jorion, P. (2006). Value at risk, 3rd edition, chapter 5.
    """
    losses = -_check_rows(returns)
    count = len(losses)
    # The tolerance absorbs rounding: 0.9 * 10 may exceed 9.
    rank = max(math.ceil(_check_level(level) * count - 1e-9), 1)
    return float(np.partition(losses, rank - 1)[rank - 1])


def expected_shortfall(returns: Floats, level: float = 0.95) -> float:
    """Return the mean loss of the worst ``1 - level`` of the rows (CVaR), a fraction of wealth.

    The tail has ``k = (1 - level) (T - 1)`` rows, rarely an integer: the worst ``floor(k)`` rows
    count in full, the next one with the remaining fraction. This keeps the measure coherent, unlike
    the mean of the rows beyond `value_at_risk`.

    References:
        Rockafellar, R. T. and Uryasev, S. (2000). Optimization of conditional value-at-risk.
        Journal of Risk 2(3), 21-41. For distributions with atoms, as here: the same (2002),
        Journal of Banking and Finance 26(7), 1443-1471, proposition 8.
    """
    changes = _check_rows(returns)
    tail = (1.0 - _check_level(level)) * len(changes)
    whole = min(int(tail), len(changes) - 1)
    ranked = np.partition(changes, whole)
    return float(-(ranked[:whole].sum() + (tail - whole) * ranked[whole]) / tail)


def tracking_error(
    returns: Floats, benchmark: Floats, periods_per_year: float = TRADING_DAYS
) -> float:
    """Return the annualised sample deviation of the difference from a benchmark.

    References:
        Grinold, R. C. and Kahn, R. N. (2000). Active portfolio management, 2nd edition, chapter 3.
    """
    return annual_volatility(_subtract(returns, benchmark), periods_per_year)


def information_ratio(
    returns: Floats, benchmark: Floats, periods_per_year: float = TRADING_DAYS
) -> float:
    """Return the annualised mean of the difference from a benchmark over its deviation.

    0.0 if the difference is constant.

    References:
        Grinold, R. C. and Kahn, R. N. (2000). Active portfolio management, 2nd edition, chapter 5.
    """
    return sharpe(returns, benchmark, periods_per_year)


def xirr(cash_flows: Sequence[float] | Floats, dates: Sequence[date]) -> float:
    """Return the money-weighted return: the annual rate at which cash flows have no present value.

    The r > -1 with ``sum(c_i / (1 + r) ** (days_i / 365)) = 0``. Deposits are negative; withdrawals
    and the final value are positive. If several rates solve it, the one nearest to 0 in
    ``log(1 + r)`` is returned.

    Raises:
        InvalidRequest: fewer than two flows or dates, flows of one sign or of one day, or no rate
            between -99.9999% and 1,000,000% a year.

    References:
        Brent, R. P. (1973). Algorithms for minimization without derivatives, chapter 4.
    """
    from scipy.optimize import brentq

    flows = _check_rows(cash_flows)
    if len(dates) != len(flows):
        raise InvalidRequest(
            f"{len(flows)} cash flows do not match {len(dates)} dates; give as many",
            code="lengths_differ",
        )
    if not ((flows > 0.0).any() and (flows < 0.0).any()):
        raise InvalidRequest(
            "all cash flows have the same sign; a rate of return needs both signs",
            code="no_rate_of_return",
        )
    first = min(dates)
    years = np.array([(day - first).days for day in dates]) / 365.0

    def worth(log_rate: float) -> float:
        return float(flows @ np.exp(-log_rate * years))

    grid = np.linspace(math.log(1e-6), math.log(1e4), 401)
    with np.errstate(over="ignore", invalid="ignore"):  # at the ends of the grid, over decades
        signs = np.sign(np.exp(-np.outer(grid, years)) @ flows)
    changes = np.flatnonzero(signs[:-1] * signs[1:] <= 0.0)
    if not changes.size or not years.any():
        raise InvalidRequest(
            "no annual rate between -99.9999% and 1,000,000% solves the cash flows",
            code="no_rate_of_return",
        )
    nearest = changes[np.argmin(np.abs(grid[changes] + grid[changes + 1]))]
    return math.expm1(brentq(worth, grid[nearest], grid[nearest + 1], xtol=1e-14))


def _check_rows(series: Sequence[float] | Floats) -> Floats:
    """Return the series as an array of at least two finite numbers."""
    rows: Floats = np.asarray(series, dtype=np.float64)
    if rows.ndim != 1 or len(rows) < 2:
        raise InvalidRequest(
            f"shape {rows.shape} is invalid; give at least two rows in one dimension",
            code="too_few_rows",
        )
    if not np.isfinite(rows).all():
        raise InvalidRequest(
            f"row {int(np.argmin(np.isfinite(rows)))} is not a finite number",
            code="row_not_finite",
        )
    return rows


def _subtract(returns: Floats, other: Floats | float) -> Floats:
    """Subtract another series with as many rows, or one figure."""
    rows = _check_rows(returns)
    if np.ndim(other) and np.shape(other) != rows.shape:
        raise InvalidRequest(
            f"{len(rows)} returns do not match a series of shape {np.shape(other)}; give as many",
            code="lengths_differ",
        )
    return _check_rows(rows - other)


def _check_level(level: float) -> float:
    """Return a confidence level, which must lie strictly between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise InvalidRequest(
            f"{level} is out of range; enter a level between 0 and 1",
            field="level",
            code="level_out_of_range",
        )
    return level


def _deviation(rows: Floats) -> float:
    """Return the sample standard deviation; 0.0 if it is only rounding errors."""
    deviation = float(rows.std(ddof=1))
    return deviation if deviation > STILL else 0.0


def _ratio(gain: float, risk: float) -> float:
    """Return the ratio of gain to risk; 0.0 without risk."""
    return gain / risk if risk > STILL else 0.0
