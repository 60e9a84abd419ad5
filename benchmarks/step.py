"""Simulate 1,024 portfolios x 20 assets for a year of days; the peer loops over portfolios.

Every portfolio has its own returns, as in training. A portfolio-step is one decision, its
trades and their costs, and one day of returns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks import naive
from benchmarks.books import business_days
from benchmarks.figures import Figure, best_of
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.step import step
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Frequency
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostModel

PORTFOLIOS, ASSETS, DAYS = 1_024, 20, 252
SAMPLE = 16
"""Portfolios for timing the loop, whose speed does not depend on their number."""

RATE = 10e-4
CASH = 100_000.0

RULES = {
    "monthly": "monthly rule",
    "monthly:frequency=daily": "to the targets at every step",
    "band": "2-point band",
}


def figures() -> Iterator[Figure]:
    random = np.random.default_rng(3)
    growth = 1.0 + random.normal(0.0003, 0.012, (DAYS, PORTFOLIOS, ASSETS))
    targets = random.dirichlet(np.full(ASSETS, 5.0), PORTFOLIOS) * 0.98
    days = business_days("2021-01-04", DAYS + 1)
    for rule, meaning in RULES.items():
        seconds, values = best_of(partial(_ours, rule, growth, targets, days))
        begin = time.perf_counter()
        others = [_loop(rule, growth[:, i], targets[i], days) for i in range(SAMPLE)]
        taken = time.perf_counter() - begin
        apart = float(np.abs(values[:SAMPLE] / others - 1.0).max())
        yield Figure(
            subject="step",
            what=f"step: {PORTFOLIOS:,} portfolios x {ASSETS} assets, {meaning}",
            unit="/s",
            ours=PORTFOLIOS * DAYS / seconds,
            peer_name="plain Python loop",
            peer=SAMPLE * DAYS / taken,
            aim=1e6,
            agrees=apart < 1e-9,
            how_close=f"final values to {apart:.0e}",
            note="Portfolio-steps: decision, trades, costs and one day of returns, on one core.",
        )


def _ours(rule: str, growth: Floats, targets: Floats, days: NDArray[np.datetime64]) -> Floats:
    """Return the final values, shape (B,)."""
    chosen = parse_rule(rule)
    shape = targets.shape
    symbols = [f"S{column:02}" for column in range(ASSETS)]
    market = PriceHistory.of(symbols, days[:1], np.ones((1, ASSETS)))
    charges = CostModel.flat(RATE * 1e4).of(symbols, Instruments())
    book = Book(
        assets=np.broadcast_to(np.arange(ASSETS), shape),
        present=np.ones(shape, dtype=bool),
        values=np.zeros(shape),
        cash=np.full(shape[0], CASH),
        flow=np.zeros(shape[0]),
        targets=targets,
        as_of=np.full(shape[0], days[0]),
        reviewed=np.full(shape[0], np.datetime64("NaT", "D")),
        band=np.full(shape[0], np.nan),
    )
    as_of = np.broadcast_to(days[:, None], (len(days), shape[0]))
    for day, grown in enumerate(growth):
        book, _ = step(book, chosen.decide(book, market), charges, grown, 1.0, as_of[day + 1])
    return book.total


def _loop(rule: str, growth: Floats, targets: Floats, days: NDArray[np.datetime64]) -> float:
    """Return the final value of one portfolio."""
    due = Frequency.MONTHLY.reviews(days).tolist() if rule == "monthly" else [True] * len(days)
    band = 0.02 if rule == "band" else None
    wanted = targets.tolist()
    values, cash = [0.0] * len(wanted), CASH
    for reviewed, grown in zip(due, growth.tolist(), strict=False):
        if reviewed:
            trades = naive.solve_trades(values, cash, wanted, RATE, band)
            cash -= sum(trades) + RATE * sum(map(abs, trades))
            values = [value + trade for value, trade in zip(values, trades, strict=True)]
        values = [value * factor for value, factor in zip(values, grown, strict=True)]
    return cash + sum(values)
