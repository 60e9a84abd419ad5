"""Backtest monthly equal weight over 33 years of real closes, with bt and vectorbt as peers.

Each peer is configured to our conventions: buy at the first close, then rebalance on the first
trading day of each month; 10 bps of traded value each side, paid from the portfolio; fractional
quantities; simple daily returns from the first close on, 252 days a year, risk-free rate 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np

from benchmarks.figures import Figure, best_of
from rebalancer.adapters.market_data.sample import SamplePrices
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.engine import BacktestSettings, simulate
from rebalancer.domain.backtest.result import measure_performance
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Frequency
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel

if TYPE_CHECKING:
    import pandas


RATE = 10e-4
CAPITAL = 100_000.0
CLOSE = 1e-4
"""Final values agree when they differ by less than this, relative."""


@attrs.frozen
class Outcome:
    """Compared results: the final value per 1 invested, the drawdown positive."""

    final_value: float
    sharpe: float
    max_drawdown: float


def figures() -> Iterator[Figure]:
    history = SamplePrices("stocks", full=True).closes()
    rows, assets = history.closes.shape
    what = f"backtest: monthly equal weight, {assets} assets x {rows:,} days, 10 bps, statistics"
    seconds, own = best_of(_ours(history), seconds=1.0, least=5)
    for name, peer, least, aim, note in (
        ("vectorbt, warm", _vectorbt(history), 5, 2.0, ""),
        (
            "bt",
            _bt(history),
            1,
            100.0,
            "bt lets each asset pay for its own trades, so each ends off its target by a "
            "thousandth of its trade.",
        ),
    ):
        taken, other = best_of(peer, seconds=0.0, least=least)
        apart = abs(other.final_value / own.final_value - 1.0)
        yield Figure(
            subject="monthly",
            what=what,
            unit="s",
            ours=seconds,
            peer_name=name,
            peer=taken,
            aim=0.025,
            aim_ratio=aim,
            agrees=apart < CLOSE,
            how_close=(
                f"final value {own.final_value:.4f} to {apart:.0e}, "
                f"Sharpe {own.sharpe:.4f} to {abs(other.sharpe - own.sharpe):.0e}, "
                f"drawdown {own.max_drawdown:.4f} to "
                f"{abs(other.max_drawdown - own.max_drawdown):.0e}"
            ),
            note=note,
        )


def _ours(history: PriceHistory) -> Callable[[], Outcome]:
    count = len(history.symbols)
    settings = BacktestSettings(
        prices=history,
        first=0,
        targets=np.full(count, 1.0 / count),
        costs=CostModel.flat(RATE * 1e4),
        risk_free=np.zeros(len(history)),
        capital=CAPITAL,
    )
    monthly = parse_rule("monthly")

    def job() -> Outcome:
        path = simulate(monthly, settings)
        found = measure_performance(path, settings.window, path)  # all statistics
        return Outcome(found.final_value, found.sharpe, found.max_drawdown)

    return job


def _bt(history: PriceHistory) -> Callable[[], Outcome]:
    import bt
    import ffn

    closes = _frame(history)

    def job() -> Outcome:
        strategy = bt.Strategy(
            "monthly",
            [
                bt.algos.RunMonthly(),
                bt.algos.SelectAll(),
                bt.algos.WeighEqually(),
                bt.algos.Rebalance(),
            ],
        )
        # Not bt.run, whose report of some fifty statistics would slow bt down further.
        test = bt.Backtest(
            strategy,
            closes,
            initial_capital=CAPITAL,
            commissions=lambda quantity, price: abs(quantity) * price * RATE,
            integer_positions=False,
            progress_bar=False,
        )
        test.run()
        # bt puts a row of capital before the first close; our returns begin at that close.
        values = test.strategy.values.iloc[1:]
        returns = values.pct_change().dropna()
        return Outcome(
            final_value=float(values.iloc[-1]) / CAPITAL,
            sharpe=float(ffn.calc_sharpe(returns, nperiods=252)),
            max_drawdown=-float(ffn.calc_max_drawdown(values)),
        )

    return job


def _vectorbt(history: PriceHistory) -> Callable[[], Outcome]:
    import vectorbt

    closes = _frame(history)
    # vectorbt sizes orders before costs: with targets that sum to 1, fees would cut the last buy of
    # each month. So we compute the weights after fees for it, outside the timing.
    sizes = np.full(history.closes.shape, np.nan)
    looks = np.flatnonzero(Frequency.MONTHLY.reviews(history.dates))
    sizes[looks] = _shares_after_costs(history.closes[looks])[:, None]

    def job() -> Outcome:
        portfolio = vectorbt.Portfolio.from_orders(
            closes,
            size=sizes,
            size_type="targetpercent",
            group_by=True,
            cash_sharing=True,
            call_seq="auto",  # sells before buys
            fees=RATE,
            init_cash=CAPITAL,
            freq="D",
        )
        # Its own Sharpe counts the first close's costs as a return, and a year as 365 days.
        returns = portfolio.returns().iloc[1:].vbt.returns(freq="D", year_freq="252 days")
        return Outcome(
            final_value=float(portfolio.final_value()) / CAPITAL,
            sharpe=float(returns.sharpe_ratio()),
            max_drawdown=-float(portfolio.max_drawdown()),
        )

    job()  # the first call compiles for about twenty seconds
    return job


def _shares_after_costs(closes: Floats) -> Floats:
    """Return the weight of each asset after each rebalance: 1/N of 1 - costs, shape (R,)."""
    count = closes.shape[1]
    held = np.zeros_like(closes)
    grown = closes[1:] / closes[:-1]
    held[1:] = grown / grown.sum(axis=1, keepdims=True)
    paid = np.zeros(len(closes))
    for _ in range(12):
        paid = RATE * np.abs((1.0 - paid[:, None]) / count - held).sum(axis=1)
    weights: Floats = (1.0 - paid) / count
    return weights


def _frame(history: PriceHistory) -> pandas.DataFrame:
    import pandas

    index = pandas.DatetimeIndex(history.dates.astype("datetime64[ns]"))
    return pandas.DataFrame(history.closes.copy(), index=index, columns=list(history.symbols))
