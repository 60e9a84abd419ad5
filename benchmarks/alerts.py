"""Measure the evaluation of alerts: 10,000 portfolios at one tick of prices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import perf_counter
from uuid import UUID

import attrs
import numpy as np

from benchmarks.figures import Figure
from rebalancer.domain.alerts.evaluation import AlertState, Observation, evaluate_alerts
from rebalancer.domain.alerts.measures import WatchedBook, measure
from rebalancer.domain.alerts.settings import OF_MARKET, AlertSettings
from rebalancer.domain.arrays import Floats

PORTFOLIOS, SLOTS, ASSETS, TICKS = 10_000, 8, 500, 5
AIM = 1.0
"""Seconds that a tick of all portfolios may take."""

_NOW = datetime(2026, 1, 5, 15, tzinfo=UTC)
_WANTED = AlertSettings(
    band=True, drift=0.15, drawdown=0.2, cash_above=0.2, cash_below=0.005, live=True
)


def figures() -> Iterator[Figure]:
    """Yield the time of a tick: all portfolios at once, and one after the other."""
    book, prices = _draw(np.random.default_rng(1))
    together = _run(book, prices, PORTFOLIOS)
    alone = _run(book, prices, 1, until=200) * PORTFOLIOS / 200
    what = f"alerts of {PORTFOLIOS:,} portfolios of {SLOTS} assets, one tick"
    yield Figure("alerts", what, "s", together, "one by one", alone, aim=AIM)


def _draw(draw: np.random.Generator) -> tuple[WatchedBook, Floats]:
    """Return portfolios near their targets, and prices by tick."""
    shape = (PORTFOLIOS, SLOTS)
    prices = np.exp(draw.normal(0, 0.03, (TICKS, 1, ASSETS)).cumsum(axis=0)) * 50
    columns = draw.integers(0, ASSETS, shape)
    targets = draw.dirichlet(np.ones(SLOTS + 1), PORTFOLIOS)
    values = draw.lognormal(10, 1, PORTFOLIOS)
    book = WatchedBook(
        columns=columns,
        present=np.ones(shape, bool),
        units=targets[:, 1:] * values[:, None] / prices[0, 0][columns],
        targets=targets[:, 1:],
        cash=targets[:, 0] * values,
        tables=np.zeros(PORTFOLIOS, np.intp),
        own_prices=np.full(shape, np.nan),
        levels=np.ones(PORTFOLIOS),
        peaks=draw.uniform(1.0, 1.2, PORTFOLIOS),
        values=values,
    )
    return book, prices


def _run(book: WatchedBook, prices: Floats, size: int, until: int = PORTFOLIOS) -> float:
    """Return the seconds of the slowest tick, in batches of a size."""
    symbols = tuple(f"A{slot}" for slot in range(SLOTS))
    states = [AlertState()] * until
    parts = [
        WatchedBook(
            *(getattr(book, field.name)[at : at + size] for field in attrs.fields(WatchedBook))
        )
        for at in range(0, until, size)
    ]
    slowest = 0.0
    for tick in range(TICKS):
        begin, found = perf_counter(), []
        now = _NOW + timedelta(seconds=tick)
        for number, part in enumerate(parts):
            observations = [
                Observation(UUID(int=at), _WANTED, states[at], 0.05, symbols, kinds=OF_MARKET)
                for at in range(number * size, number * size + len(part.cash))
            ]
            found += evaluate_alerts(observations, measure(part, prices[tick]), now)
        slowest = max(slowest, perf_counter() - begin)
        states = [one.state for one in found]
    return slowest
