"""Measure alerts of 10,000 portfolios at one tick of prices: in arrays alone, and in full."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from time import perf_counter
from uuid import UUID, uuid4

import attrs
import numpy as np

from benchmarks.figures import Figure
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.domain.alerts.evaluation import AlertState, Observation, evaluate_alerts
from rebalancer.domain.alerts.measures import WatchedBook, measure
from rebalancer.domain.alerts.record import AlertRecord
from rebalancer.domain.alerts.settings import OF_MARKET, AlertSettings
from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from tests.alerting import Desk
from tests.builders import USD, prices

PORTFOLIOS, SLOTS, ASSETS, TICKS = 10_000, 8, 500, 5
AIM = 1.0
"""Seconds that a tick of all portfolios may take."""

_NOW = datetime(2026, 1, 5, 15, tzinfo=UTC)
_WANTED = AlertSettings(
    band=True, drift=0.15, drawdown=0.2, cash_above=0.2, cash_below=0.005, live=True
)


def figures() -> Iterator[Figure]:
    """Yield the time of a tick: all portfolios at once, and one after the other."""
    book, ticks = _draw(np.random.default_rng(1))
    together = _run(book, ticks, PORTFOLIOS)
    alone = _run(book, ticks, 1, until=200) * PORTFOLIOS / 200
    what = f"alerts of {PORTFOLIOS:,} portfolios of {SLOTS} assets, one tick"
    yield Figure("alerts", what, "s", together, "one by one", alone, aim=AIM)
    closes, tick = _watch()
    case = f"{what}, with quotes from a board"
    yield Figure("alerts", case, "s", tick, "all of them at new closes", closes, aim=AIM)


def _watch() -> tuple[float, float]:
    """Return the seconds of an evaluation at new closes, stored in memory, and of a tick."""
    market = prices(assets=ASSETS, days=60)
    desk = Desk(MemoryWork(), now=datetime.combine(market.last_date, time(22), UTC))
    desk.prices.history = market
    draw = np.random.default_rng(2)
    wanted = attrs.evolve(_WANTED, drawdown=None)
    with desk.work.begin() as tx:
        for _ in range(PORTFOLIOS):
            chosen = sorted(market.symbols[at] for at in draw.choice(ASSETS, SLOTS, replace=False))
            weights = draw.dirichlet(np.ones(SLOTS + 1))[:SLOTS].tolist()
            mandate = Mandate("Benchmark", USD, dict(zip(chosen, weights, strict=True)))
            id, day = uuid4(), market.last_date
            entries = [Entry(uuid4(), EntryKind.DEPOSIT, day, desk.now, Decimal(500))]
            for symbol, weight in zip(chosen, weights, strict=True):
                units = Decimal(f"{10_000 * weight / _close(market, symbol) + 1e-4:.4f}")
                entries.append(
                    Entry(
                        uuid4(), EntryKind.DEPOSIT, day, desk.now, units, symbol, units, Decimal(1)
                    )
                )
            portfolio = ManagedPortfolio.open(
                mandate, id=id, owner=desk.owner, entries=entries, now=desk.now
            )
            tx.portfolios.add(portfolio, entries)
            tx.alerts.save_settings(
                AlertRecord(id, desk.owner, desk.now, desk.now, settings=wanted)
            )
    begin = perf_counter()
    desk.look()
    closes = perf_counter() - begin
    desk.wait(days=1)
    watch, slowest = desk.watch, 0.0
    for number in range(TICKS + 1):
        desk.quote(**{one: _close(market, one) * 1.0001 for one in market.symbols})
        begin = perf_counter()
        watch()
        if number:  # the first one reads all portfolios
            slowest = max(slowest, perf_counter() - begin)
        desk.wait(seconds=1)
    return closes, slowest


def _close(market: PriceHistory, symbol: str) -> float:
    return float(market.last_closes[market.columns[symbol]])


def _draw(draw: np.random.Generator) -> tuple[WatchedBook, Floats]:
    """Return portfolios near their targets, and prices by tick."""
    shape = (PORTFOLIOS, SLOTS)
    ticks = np.exp(draw.normal(0, 0.03, (TICKS, 1, ASSETS)).cumsum(axis=0)) * 50
    columns = draw.integers(0, ASSETS, shape)
    targets = draw.dirichlet(np.ones(SLOTS + 1), PORTFOLIOS)
    values = draw.lognormal(10, 1, PORTFOLIOS)
    book = WatchedBook(
        columns=columns,
        present=np.ones(shape, bool),
        units=targets[:, 1:] * values[:, None] / ticks[0, 0][columns],
        targets=targets[:, 1:],
        cash=targets[:, 0] * values,
        tables=np.zeros(PORTFOLIOS, np.intp),
        own_prices=np.full(shape, np.nan),
        levels=np.ones(PORTFOLIOS),
        peaks=draw.uniform(1.0, 1.2, PORTFOLIOS),
        values=values,
    )
    return book, ticks


def _run(book: WatchedBook, ticks: Floats, size: int, until: int = PORTFOLIOS) -> float:
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
            found += evaluate_alerts(observations, measure(part, ticks[tick]), now)
        slowest = max(slowest, perf_counter() - begin)
        states = [one.state for one in found]
    return slowest
