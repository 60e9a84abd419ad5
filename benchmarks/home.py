"""Measure the summary of all portfolios of an owner, with long ledgers.

Operations are use cases over an SQLite file on this machine. The first summary of all reads all
entries; later ones, also of other processes, follow from snapshots.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from uuid import UUID, uuid4

from benchmarks.figures import Figure
from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.histories import ReadHistories
from rebalancer.application.home import HomeSummary, SummarizeHome
from rebalancer.application.owner_entries import CashFlow
from rebalancer.application.quotas import UNLIMITED
from rebalancer.application.rebalance import ReadProposals
from rebalancer.application.transactions import RecordCashFlow
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.owner import User
from tests.builders import USD, prices

PORTFOLIOS, ENTRIES, DAYS = 20, 5_000, 1_260
NOW = datetime(2024, 11, 1, 12, tzinfo=UTC)
AIM = 0.2
"""Seconds that a summary may take."""


def figures() -> Iterator[Figure]:
    """Yield the time of a summary: the first one, later ones, and those after a change."""
    market = prices(assets=40, days=DAYS + 1).until(DAYS - 1)
    with tempfile.TemporaryDirectory(prefix="rebalancer-bench-") as name, ExitStack() as stack:
        engine = connect(f"sqlite:///{Path(name) / 'home.db'}")
        stack.callback(engine.dispose)
        migrations.upgrade(engine)
        work = SqlWork(engine)
        owner, first = _fill(work, market)
        what = f"home, {PORTFOLIOS} portfolios of {ENTRIES:,} entries"
        histories = ReadHistories(work)
        cold = _time(histories, market, owner)
        warm = min(_time(histories, market, owner) for _ in range(5))
        _deposit(work, market, owner, first, days_ago=0)
        changed = _time(histories, market, owner)
        _deposit(work, market, owner, first, days_ago=600)
        back_dated = _time(histories, market, owner)
        next_day = _time(histories, prices(assets=40, days=DAYS + 1).until(DAYS), owner)
        restarted = _time(ReadHistories(work), market, owner)
        for case, seconds in (
            ("", warm),
            (", after a deposit", changed),
            (", after a deposit that is back-dated by years", back_dated),
            (", after a new close", next_day),
            (", the first one of another process", restarted),
        ):
            yield Figure("home", f"{what}{case}", "s", seconds, "all entries", cold, aim=AIM)


def _time(histories: ReadHistories, market: PriceHistory, owner: UUID) -> float:
    begin = perf_counter()
    _summarize(histories, market, owner)
    return perf_counter() - begin


def _summarize(histories: ReadHistories, market: PriceHistory, owner: UUID) -> HomeSummary:
    source, work = MemoryPrices(market), histories.work
    book, proposals = BookActions(work, lambda: NOW), ReadProposals(work, source)
    kinds = MemoryInstruments(Instruments())
    summarize = SummarizeHome(work, source, book, proposals, histories, USD, kinds)
    return summarize(owner, now=NOW)


def _deposit(
    work: SqlWork, market: PriceHistory, owner: UUID, portfolio: UUID, *, days_ago: int
) -> None:
    flow = CashFlow(EntryKind.DEPOSIT, Decimal(1), market.dates[-1 - days_ago].item())
    RecordCashFlow(work, MemoryPrices(market), UNLIMITED)(
        flow, portfolio_id=portfolio, owner=owner, id=uuid4(), now=NOW
    )


def _fill(work: SqlWork, market: PriceHistory) -> tuple[UUID, UUID]:
    """Store an owner's portfolios; return the ids of both the owner and the first portfolio."""
    owner = uuid4()
    with work.begin() as tx:
        tx.users.add(User(owner, f"{owner.hex}@example.org", "Ada", password="", created=NOW))
    ids = []
    for number in range(PORTFOLIOS):
        symbols = [market.symbols[(number + at) % 40] for at in range(12)]
        mandate = Mandate(f"portfolio {number}", USD, dict.fromkeys(symbols, 0.08))
        entries = list(_entries(market, symbols))
        opened = ManagedPortfolio.open(
            mandate, id=uuid4(), owner=owner, entries=entries[:500], now=NOW
        )
        ids.append(opened.id)
        with work.begin() as tx:
            tx.portfolios.add(opened, entries[:500])
        for start in range(500, ENTRIES, 500):
            batch = entries[start : start + 500]
            with work.begin() as tx:
                stored = tx.portfolios.get(opened.id)
                longer = tx.portfolios.ledger(opened.id).extended_by(batch)
                tx.portfolios.save(stored.book(longer, NOW), entries=batch, ledger=longer)
    return owner, ids[0]


def _entries(market: PriceHistory, symbols: list[str]) -> Iterator[Entry]:
    """Yield deposits, purchases and dividends, spread over the days of the market."""
    for number in range(ENTRIES):
        row = number * len(market.dates) // ENTRIES
        on, symbol = market.dates[row].item(), symbols[number % 12]
        close = Decimal(repr(round(float(market.closes[row, market.column(symbol)]), 4)))
        match number % 4:
            case 0:
                yield Entry(uuid4(), EntryKind.DEPOSIT, on, NOW, Decimal(200))
            case 3 if number > 100:
                yield Entry(uuid4(), EntryKind.INTEREST, on, NOW, Decimal("0.50"))
            case _:
                units = Decimal("0.2")
                yield Entry(uuid4(), EntryKind.BUY, on, NOW, units * close, symbol, units, close)
