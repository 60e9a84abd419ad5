"""How a run went, in the figures that investors compare: pure functions of a path.

Two inputs, both oldest first and one row a trading day: ``values``, shape (T,), the wealth that
1 became, above 0; and ``returns``, shape (T - 1,), its simple changes, ``v[t] / v[t-1] - 1``. A
year is 252 rows. Standard deviations are of a sample (``ddof=1``). Each function wants two rows at
least and raises InvalidRequest for fewer; each answers with a finite number, also on a constant
path, where a ratio over no risk is 0.0 by convention: no evidence of skill, neither way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.indicators import TRADING_DAYS

STILL = 1e-14
"""Daily deviations up to this are rounding: a ratio of two prices near 1 is exact to 1e-16."""


def cagr(values: Floats) -> float:
    """Compound annual growth rate: ``(v_end / v_0) ** (252 / (T - 1)) - 1``, a fraction a year."""
    path = _rows(values)
    growth = float(path[-1] / path[0])
    # In logarithms, a path of few rows cannot overflow the power unnoticed.
    if growth <= 0.0:
        return -1.0
    exponent = math.log(growth) * TRADING_DAYS / (len(path) - 1)
    return math.expm1(min(exponent, 700.0))


def annual_volatility(returns: Floats) -> float:
    """Sample standard deviation of daily returns times sqrt(252), a fraction a year."""
    return _deviation(_rows(returns)) * math.sqrt(TRADING_DAYS)


def sharpe(returns: Floats, risk_free: Floats | float = 0.0) -> float:
    """Mean over deviation of the returns in excess of the risk-free, annualised.

    ``mean(r - f) / std(r - f, ddof=1) * sqrt(252)``; 0.0 where the deviation is 0.

    Args:
        returns: Daily simple returns, shape (T - 1,).
        risk_free: Daily simple returns of cash: one, or one a row, shape (T - 1,).

    References:
        Sharpe, W. F. (1994). The Sharpe ratio. Journal of Portfolio Management 21(1), 49-58.
    """
    excess = _less(returns, risk_free)
    return _over(float(excess.mean()), _deviation(excess)) * math.sqrt(TRADING_DAYS)


def sortino(returns: Floats, risk_free: Floats | float = 0.0) -> float:
    """Mean excess return over its downside deviation, annualised.

    The downside deviation is ``sqrt(mean(min(r - f, 0) ** 2))`` over *all* rows: rows above the
    risk-free count as zeros, they are not left out. 0.0 where no row falls short.

    Args:
        returns: Daily simple returns, shape (T - 1,).
        risk_free: Daily simple returns of cash: one, or one a row, shape (T - 1,).

    References:
        Sortino, F. A. and Price, L. N. (1994). Performance measurement in a downside risk
        framework. Journal of Investing 3(3), 59-64.
    """
    excess = _less(returns, risk_free)
    short = np.minimum(excess, 0.0)
    downside = math.sqrt(float(short @ short) / len(short))
    return _over(float(excess.mean()), downside) * math.sqrt(TRADING_DAYS)


def max_drawdown(values: Floats) -> float:
    """Deepest fall below an earlier peak, ``max(1 - v_t / max(v_0..v_t))``, in [0, 1]."""
    path = _rows(values)
    return float(1.0 - (path / np.maximum.accumulate(path)).min())


def longest_drawdown(values: Floats) -> int:
    """Rows from a peak until its value is reached again, or until the end: the longest such wait.

    A path that never falls has 0. Reaching the peak again, without passing it, is recovery.
    """
    path = _rows(values)
    peaks = np.flatnonzero(path >= np.maximum.accumulate(path))
    waits = np.diff(peaks)
    recovered = int(waits.max(initial=0))
    # Peaks in neighbouring rows have no fall between them.
    return max(recovered if recovered > 1 else 0, len(path) - 1 - int(peaks[-1]))


def calmar(values: Floats) -> float:
    """Annual growth over the deepest drawdown, `cagr` / `max_drawdown`; 0.0 without a drawdown.

    The whole path counts, where the original took the last 36 months.

    References:
        Young, T. W. (1991). Calmar ratio: a smoother tool. Futures 20(1), 40.
    """
    return _over(cagr(values), max_drawdown(values))


def value_at_risk(returns: Floats, level: float = 0.95) -> float:
    """Historical value at risk: the daily loss not exceeded on ``level`` of the rows.

    The least loss l among the rows with ``share(loss <= l) >= level``; an observed one, not
    interpolated. A fraction of wealth, positive for a loss (below 0 if even that row gained).

    References:
        Jorion, P. (2006). Value at risk, 3rd edition, chapter 5.
    """
    losses = -_rows(returns)
    count = len(losses)
    # 0.9 * 10 may come out above 9: a hair less must not cost a row.
    rank = max(math.ceil(_level(level) * count - 1e-9), 1)
    return float(np.partition(losses, rank - 1)[rank - 1])


def expected_shortfall(returns: Floats, level: float = 0.95) -> float:
    """Mean loss of the worst ``1 - level`` of the rows (CVaR), a fraction of wealth.

    The tail is ``k = (1 - level) (T - 1)`` rows, seldom a whole number: the worst ``floor(k)``
    count in full and the next one with the fraction that is left, over k. So the tail's weight is
    exact, and the measure coherent; a mean of the rows beyond `value_at_risk` is neither.

    References:
        Rockafellar, R. T. and Uryasev, S. (2000). Optimization of conditional value-at-risk.
        Journal of Risk 2(3), 21-41. For distributions with atoms, as here: the same (2002),
        Journal of Banking and Finance 26(7), 1443-1471, proposition 8.
    """
    changes = _rows(returns)
    tail = (1.0 - _level(level)) * len(changes)
    whole = min(int(tail), len(changes) - 1)
    ranked = np.partition(changes, whole)
    return float(-(ranked[:whole].sum() + (tail - whole) * ranked[whole]) / tail)


def tracking_error(returns: Floats, benchmark: Floats) -> float:
    """Annualised sample deviation of the daily difference to a benchmark, a fraction a year.

    References:
        Grinold, R. C. and Kahn, R. N. (2000). Active portfolio management, 2nd edition, chapter 3.
    """
    return annual_volatility(_less(returns, benchmark))


def information_ratio(returns: Floats, benchmark: Floats) -> float:
    """Annualised mean of the difference to a benchmark over its deviation: the Sharpe of the bet.

    0.0 where the two never differ, or always by the same.

    References:
        Grinold, R. C. and Kahn, R. N. (2000). Active portfolio management, 2nd edition, chapter 5.
    """
    return sharpe(returns, benchmark)


def time_weighted_return(values_before_flow: Floats, values_after_flow: Floats) -> float:
    """Growth of 1 left in the account throughout, less 1; deposits and withdrawals do not count.

    ``prod(before[t] / after[t - 1]) - 1`` over t >= 1: from after one flow to before the next.

    Args:
        values_before_flow: Account value just before each day's flow, shape (T,). The first is
            not used: before the first deposit there was nothing to grow.
        values_after_flow: Value just after it, shape (T,); above 0 but for the last.

    References:
        CFA Institute (2020). Global investment performance standards (GIPS), provision 2.A.
    """
    before, after = _rows(values_before_flow), _rows(values_after_flow)
    if before.shape != after.shape:
        raise InvalidRequest(f"{len(before)} values before a flow do not fit {len(after)} after")
    if not (after[:-1] > 0.0).all():
        raise InvalidRequest(
            "an account that was empty has no return; start after its next deposit"
        )
    return float(np.prod(before[1:] / after[:-1]) - 1.0)


def xirr(cash_flows: Sequence[float] | Floats, dates: Sequence[date]) -> float:
    """Annual rate at which dated cash flows are worth nothing today: the money-weighted return.

    The r > -1 with ``sum(c_i / (1 + r) ** (days_i / 365)) = 0``. Deposits are negative;
    withdrawals, and the final value, positive. If flows change sign more than once several rates
    may solve it; this is the one nearest to 0 in ``log(1 + r)``.

    Raises:
        InvalidRequest: fewer than two flows or dates, all of one sign, all on one day, or no
            rate between -99.9999% and 1,000,000% a year solves it.

    References:
        Brent, R. P. (1973). Algorithms for minimization without derivatives, chapter 4.
    """
    from scipy.optimize import brentq

    flows = _rows(cash_flows)
    if len(dates) != len(flows):
        raise InvalidRequest(f"{len(flows)} cash flows do not fit {len(dates)} dates")
    if not ((flows > 0.0).any() and (flows < 0.0).any()):
        raise InvalidRequest("cash flows of one sign have no rate of return")
    first = min(dates)
    years = np.array([(day - first).days for day in dates]) / 365.0

    def worth(log_rate: float) -> float:
        return float(flows @ np.exp(-log_rate * years))

    grid = np.linspace(math.log(1e-6), math.log(1e4), 401)
    with np.errstate(over="ignore", invalid="ignore"):  # over a lifetime, the ends of the grid do
        signs = np.sign(np.exp(-np.outer(grid, years)) @ flows)
    changes = np.flatnonzero(signs[:-1] * signs[1:] <= 0.0)
    if not changes.size or not years.any():
        raise InvalidRequest("no annual rate between -99.9999% and 1,000,000% fits the cash flows")
    nearest = changes[np.argmin(np.abs(grid[changes] + grid[changes + 1]))]
    return math.expm1(brentq(worth, grid[nearest], grid[nearest + 1], xtol=1e-14))


def _rows(series: Sequence[float] | Floats) -> Floats:
    """The series as an array, once it is known to be one of two finite numbers or more."""
    rows: Floats = np.asarray(series, dtype=np.float64)
    if rows.ndim != 1 or len(rows) < 2:
        raise InvalidRequest(f"at least two rows are needed, in one dimension; got {rows.shape}")
    if not np.isfinite(rows).all():
        raise InvalidRequest(f"row {int(np.argmin(np.isfinite(rows)))} is not a finite number")
    return rows


def _less(returns: Floats, other: Floats | float) -> Floats:
    """Returns less another series of as many rows, or less one figure."""
    rows = _rows(returns)
    if np.ndim(other) and np.shape(other) != rows.shape:
        raise InvalidRequest(f"{len(rows)} returns do not fit {np.shape(other)} to compare them to")
    return _rows(rows - other)


def _level(level: float) -> float:
    """A confidence level, once it is known to lie strictly between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise InvalidRequest(f"a level lies between 0 and 1, not at {level}", field="level")
    return level


def _deviation(rows: Floats) -> float:
    """Sample standard deviation, a row; 0.0 where all that moves is the last digit."""
    deviation = float(rows.std(ddof=1))
    return deviation if deviation > STILL else 0.0


def _over(gain: float, risk: float) -> float:
    """A ratio of gain to risk; 0.0 where there is no risk."""
    return gain / risk if risk > STILL else 0.0
