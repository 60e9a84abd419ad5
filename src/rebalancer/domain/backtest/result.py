"""Results of a backtest: equity paths, performance figures, comparisons of policies."""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.evidence import ConfidenceInterval, simple_returns
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.indicators import TRADING_DAYS

Integers = NDArray[np.int64]


@attrs.frozen
class Performance:
    """Performance figures: fractions, not percent; a year is 252 rows. Sources: see `metrics`.

    Attributes:
        final_value: Final wealth per 1 invested, net of the first close's costs.
        cagr: Compound annual growth rate of 1 invested.
        volatility: Annual standard deviation of daily returns.
        sharpe: Annual excess return over the risk-free rate per unit of volatility.
        sortino: Annual excess return per unit of downside deviation.
        calmar: Compound annual growth rate over maximum drawdown, both of the whole window; the
            original uses 36 months: Young, T. W. (1991). Calmar ratio: a smoother tool. Futures
            20(1), 40.
        max_drawdown: Largest loss from a peak, positive.
        longest_drawdown: Rows from a peak to its recovery, or to the end.
        value_at_risk: Loss exceeded on 5% of days, positive.
        expected_shortfall: Mean loss of the worst 5% of days, positive.
        turnover_per_year: One-way turnover a year, without the first close.
        orders: Asset trades, without the first close.
        orders_per_year: Asset trades a year, without the first close.
        cost_paid: Trading costs per 1 invested, with the first close.
        average_exposure: Mean invested share after each close.
        tracking_error: Annual volatility of the difference from the monthly rule.
        information_ratio: Mean difference from the monthly rule over the tracking error.
    """

    final_value: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    longest_drawdown: int
    value_at_risk: float
    expected_shortfall: float
    turnover_per_year: float
    orders: int
    orders_per_year: float
    cost_paid: float
    average_exposure: float
    tracking_error: float
    information_ratio: float


@attrs.frozen(eq=False)
class EquityPath:
    """Wealth, weights and trading of a policy over R rows, per 1 invested.

    Attributes:
        values: (R,) wealth after each close.
        weights: (R, N) of the assets after each close; the remainder is cash.
        costs: (R,) trading costs at each close.
        orders: (R,) assets traded at each close.
        turnover: (R,) one-way turnover at each close.
    """

    values: Floats
    weights: Floats
    costs: Floats
    orders: Integers
    turnover: Floats

    @property
    def returns(self) -> Floats:
        """(R - 1,) simple returns."""
        return simple_returns(self.values)


@attrs.frozen(eq=False)
class PolicyResult:
    """A policy's equity path and performance.

    Attributes:
        gain: Sharpe ratio minus that of the monthly rule, with a 95% interval; None if the window
            is too short.
    """

    policy: str
    path: EquityPath
    performance: Performance
    gain: ConfidenceInterval | None = None


@attrs.frozen(eq=False)
class Backtest:
    """Results of several policies over the same window, with the same costs and targets.

    Attributes:
        dates: (R,) trading days of the window.
        cost_label: Name of the cost model.
        results: One a policy, in the requested order.
        cautions: Limitations that a reader must know.
    """

    dates: Dates
    symbols: tuple[str, ...]
    cost_label: str
    results: tuple[PolicyResult, ...]
    cautions: tuple[Caution, ...] = ()


def measure_performance(path: EquityPath, risk_free: Floats, baseline: EquityPath) -> Performance:
    """Compute the performance figures of an equity path of R rows.

    Args:
        path: The policy's equity path.
        risk_free: (R - 1,) simple return of cash over each row.
        baseline: Equity path of the monthly rule over the same rows.
    """
    values, returns, against = path.values, path.returns, baseline.returns
    years = (len(values) - 1) / TRADING_DAYS
    # Growth of 1 invested, net of the first close's costs; logarithms prevent an overflow.
    growth = math.expm1(min(math.log(values[-1]) / years, 700.0))
    fall = metrics.max_drawdown(values)
    orders = int(path.orders[1:].sum())
    return Performance(
        final_value=float(values[-1]),
        cagr=growth,
        volatility=metrics.annual_volatility(returns),
        sharpe=metrics.sharpe(returns, risk_free),
        sortino=metrics.sortino(returns, risk_free),
        calmar=growth / fall if fall > metrics.STILL else 0.0,
        max_drawdown=fall,
        longest_drawdown=metrics.longest_drawdown(values),
        value_at_risk=metrics.value_at_risk(returns),
        expected_shortfall=metrics.expected_shortfall(returns),
        turnover_per_year=float(path.turnover[1:].sum() / years),
        orders=orders,
        orders_per_year=orders / years,
        cost_paid=float(path.costs.sum()),
        average_exposure=float(path.weights.sum(axis=1).mean()),
        tracking_error=metrics.tracking_error(returns, against),
        information_ratio=metrics.information_ratio(returns, against),
    )
