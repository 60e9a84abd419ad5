"""Results of a backtest: equity paths, performance figures, comparisons of policies."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Dates, Floats, Rows
from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.evidence import ConfidenceInterval, simple_returns
from rebalancer.domain.market.caution import Caution
from rebalancer.domain.market.frequency import (
    DAILY,
    ObservationFrequency,
    is_a_year,
    years_between,
)
from rebalancer.domain.policy.policy import LooksBack, Policy

Integers = NDArray[np.int64]

FEWEST_OBSERVATIONS = 60
"""Returns below which figures carry a caution."""


@attrs.frozen
class Performance:
    """Performance figures: fractions, not percent. Sources: see `metrics`.

    All figures count the costs of the first close: the path of values begins with the 1 before
    them, and the first return is these costs. Figures a year follow the observation frequency;
    growth is over elapsed time. Figures that are None are not given for less than a year.

    Attributes:
        final_value: Final wealth per 1 invested.
        cagr: Compound annual growth rate of 1 invested; None for less than a year.
        volatility: Annual standard deviation of returns.
        sharpe: Annual excess return over the risk-free rate per unit of volatility.
        sortino: Annual excess return per unit of downside deviation.
        calmar: Compound annual growth rate over maximum drawdown, both of the whole window; the
            original uses 36 months: Young, T. W. (1991). Calmar ratio: a smoother tool. Futures
            20(1), 40. None for less than a year.
        max_drawdown: Largest loss from a peak, positive.
        longest_drawdown: Rows from a peak to its recovery, or to the end.
        value_at_risk: Loss exceeded in 5% of the periods, positive.
        expected_shortfall: Mean loss of the worst 5% of the periods, positive.
        turnover_per_year: One-way turnover a year, without the first close; None for less than a
            year.
        orders: Asset trades, without the first close.
        orders_per_year: Asset trades a year, without the first close; None for less than a year.
        cost_paid: Trading costs per 1 invested, with the first close.
        average_exposure: Mean invested share after each close.
        tracking_error: Annual volatility of the difference from the monthly rule.
        information_ratio: Mean difference from the monthly rule over the tracking error.
        turnover: One-way turnover, without the first close.
    """

    final_value: float
    cagr: float | None
    volatility: float
    sharpe: float
    sortino: float
    calmar: float | None
    max_drawdown: float
    longest_drawdown: int
    value_at_risk: float
    expected_shortfall: float
    turnover_per_year: float | None
    orders: int
    orders_per_year: float | None
    cost_paid: float
    average_exposure: float
    tracking_error: float
    information_ratio: float
    turnover: float


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


@attrs.frozen(eq=False)
class MeasuredWindow:
    """The R rows of a window, and the M of them between which returns are measured.

    These are the rows on which all targeted assets trade, and the first row. Usually they are all
    rows; see `market.calendars`. There are M returns: the first is that of the first close, its
    costs, and takes no time.

    Attributes:
        dates: (R,) trading days.
        rows: (M,) measured rows, increasing; the first is 0.
        risk_free: (M,) simple return of cash over each period; 0 over the first one.
        frequency: Number of measured rows in a year.
    """

    dates: Dates
    rows: Rows
    risk_free: Floats
    frequency: ObservationFrequency

    @classmethod
    def of(
        cls, dates: Dates, rows: Rows, risk_free: Floats, frequency: ObservationFrequency
    ) -> MeasuredWindow:
        """Return the window, from (R - 1,) simple returns of cash over each row but the first."""
        if len(rows) < len(dates):
            money = np.cumprod(np.append(1.0, 1.0 + risk_free))[rows]
            risk_free = money[1:] / money[:-1] - 1.0
        return cls(dates, rows, np.append(0.0, risk_free), frequency)

    @property
    def measured_dates(self) -> Dates:
        """(M,) days at the end of each period."""
        return self.dates[self.rows]

    @property
    def is_a_year(self) -> bool:
        """Whether the window takes at least a year."""
        return is_a_year(self.dates[0], self.dates[-1])

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What readers of figures over this window must know."""
        found = []
        rows, count = len(self.dates), len(self.rows)
        if count < rows:
            found.append(
                Caution(
                    "mixed_calendars",
                    f"On {rows - count} of {rows} days some targeted asset has no close. Returns, "
                    f"volatilities and trades are those of the other {count} days.",
                )
            )
        if not self.frequency.is_daily:
            found.append(
                Caution(
                    "prices_not_daily",
                    "The prices are not daily: policies decide at each close, and a look-back of "
                    f"63 trading days takes {self.frequency.window(self.frequency.rows(63))}.",
                )
            )
        if count <= FEWEST_OBSERVATIONS:
            found.append(
                Caution(
                    "short_window",
                    f"The window has {count} closes. Volatility, Sharpe ratio and the other "
                    f"figures from fewer than {FEWEST_OBSERVATIONS} returns are mostly chance.",
                )
            )
        if not self.is_a_year:
            found.append(
                Caution(
                    "less_than_a_year",
                    f"The window from {self.dates[0]} to {self.dates[-1]} takes less than a year, "
                    "so growth, turnover and orders a year are not given.",
                )
            )
        return tuple(found)

    def policy_cautions(self, policies: Sequence[Policy]) -> tuple[Caution, ...]:
        """Return a caution if a simpler rule decides in place of some policies."""
        replaced = [
            policy.name
            for policy in policies
            if isinstance(policy, LooksBack) and not policy.suits(self.frequency)
        ]
        if not replaced:
            return ()
        return (
            Caution(
                "look_back_too_short",
                f"{', '.join(replaced)}: {self.frequency.periods_per_year:.3g} closes a year are "
                "too few for the look-back, so a simpler rule decides: the monthly one, or the "
                "fallback of a learned policy.",
            ),
        )

    def returns(self, values: Floats) -> Floats:
        """Return (M,) simple returns of wealth (R,) per 1 invested, the first close's included."""
        return simple_returns(np.append(1.0, values[self.rows]))


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
        frequency: Number of measured rows in a year.
        measured: Rows between which returns are measured; None: all.
        currency: ISO 4217 code of the base currency; None if the prices do not state one.
    """

    dates: Dates
    symbols: tuple[str, ...]
    cost_label: str
    results: tuple[PolicyResult, ...]
    cautions: tuple[Caution, ...] = ()
    frequency: ObservationFrequency = DAILY
    measured: Rows | None = None
    currency: str | None = None


def measure_performance(
    path: EquityPath, window: MeasuredWindow, baseline: EquityPath
) -> Performance:
    """Compute the performance figures of an equity path of R rows.

    Args:
        path: The policy's equity path.
        window: Its rows.
        baseline: Equity path of the monthly rule over the same rows.
    """
    returns, against = window.returns(path.values), window.returns(baseline.values)
    risk_free, yearly = window.risk_free, window.frequency.periods_per_year
    final = float(path.values[-1])
    values = np.append(1.0, path.values)
    fall = metrics.max_drawdown(values)
    orders, turnover = int(path.orders[1:].sum()), float(path.turnover[1:].sum())
    growth = calmar = turnover_per_year = orders_per_year = None
    if window.is_a_year:
        years = years_between(window.dates[0], window.dates[-1])
        growth = metrics.cagr(final, years)
        calmar = growth / fall if fall > metrics.STILL else 0.0
        turnover_per_year, orders_per_year = turnover / years, orders / years
    return Performance(
        final_value=final,
        cagr=growth,
        volatility=metrics.annual_volatility(returns, yearly),
        sharpe=metrics.sharpe(returns, risk_free, yearly),
        sortino=metrics.sortino(returns, risk_free, yearly),
        calmar=calmar,
        max_drawdown=fall,
        longest_drawdown=metrics.longest_drawdown(values),
        value_at_risk=metrics.value_at_risk(returns),
        expected_shortfall=metrics.expected_shortfall(returns),
        turnover_per_year=turnover_per_year,
        orders=orders,
        orders_per_year=orders_per_year,
        cost_paid=float(path.costs.sum()),
        average_exposure=float(path.weights.sum(axis=1).mean()),
        tracking_error=metrics.tracking_error(returns, against, yearly),
        information_ratio=metrics.information_ratio(returns, against, yearly),
        turnover=turnover,
    )
