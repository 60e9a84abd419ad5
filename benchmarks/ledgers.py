"""Measure writes and reads of portfolios with long ledgers, with checkpoints and without.

Without checkpoints is how earlier versions worked: each write adds up all entries, while it holds
its locks. Operations are use cases over an SQLite file and over Postgres on this machine.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from time import perf_counter
from uuid import UUID, uuid4

import attrs
from sqlalchemy import delete

from benchmarks.figures import Figure
from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.checkpoints import LedgerRules
from rebalancer.adapters.sql.engine import connect, writing
from rebalancer.adapters.sql.tables import ledger_checkpoints
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.owner_entries import CashFlow, Trade
from rebalancer.application.portfolios import ReadPortfolio
from rebalancer.application.quotas import UNLIMITED
from rebalancer.application.rebalance import BuildContext, ProposalRequest, ProposeForPortfolio
from rebalancer.application.transactions import ReadTransactions, RecordCashFlow, RecordTrades
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.owner import User
from tests.builders import CLASSES, USD, prices
from tests.servers import Postgres, running

COUNTS = (100, 10_000, 100_000)
NOW = datetime(2021, 6, 1, 12, tzinfo=UTC)
MARKET = prices(assets=8, days=300)
AIM = 0.02
"""Seconds that a deposit may take with the longest ledger."""

_WITHOUT = LedgerRules(from_count=10**9, locked=10**9)


@attrs.frozen
class House:
    """Use cases over one store, and a portfolio for each length of a ledger."""

    work: SqlWork
    owner: UUID
    portfolios: dict[int, UUID]

    def deposit(self, portfolio: UUID, on: date | None = None) -> None:
        """Record a deposit."""
        flow = CashFlow(EntryKind.DEPOSIT, Decimal(1), on)
        RecordCashFlow(self.work, _PRICES, UNLIMITED)(
            flow, portfolio_id=portfolio, owner=self.owner, id=uuid4(), now=NOW
        )

    def trade(self, portfolio: UUID) -> None:
        """Record a purchase."""
        close = Decimal(repr(float(MARKET.closes[-1, 0])))
        trade = Trade(EntryKind.BUY, MARKET.symbols[0], Decimal("0.001"), close)
        RecordTrades(self.work, _PRICES, self._book, UNLIMITED)(
            [trade], portfolio_id=portfolio, owner=self.owner, id=uuid4(), now=NOW
        )

    def read(self, portfolio: UUID) -> None:
        """Read the portfolio at the last close."""
        ReadPortfolio(self.work, _PRICES, self._book)(portfolio, actor=self.owner)

    def propose(self, portfolio: UUID) -> None:
        """Request a proposal."""
        build = BuildContext(_PRICES, _LISTED, MemoryPolicies())
        ProposeForPortfolio(self.work, _PRICES, build, self._book, UNLIMITED)(
            ProposalRequest(
                portfolio, self.owner, "band", CostModel.flat(10.0), id=uuid4(), now=NOW
            )
        )

    def page(self, portfolio: UUID) -> None:
        """Read the latest transactions."""
        ReadTransactions(self.work)(portfolio, actor=self.owner, limit=50)

    @property
    def _book(self) -> BookActions:
        return BookActions(self.work, lambda: NOW)


_PRICES, _LISTED = MemoryPrices(MARKET), MemoryInstruments(CLASSES)


def figures() -> Iterator[Figure]:
    """Yield the time of each operation, and of others while a long ledger is replayed."""
    with tempfile.TemporaryDirectory(prefix="rebalancer-bench-") as name, ExitStack() as stack:
        server = stack.enter_context(running(Postgres))
        for kind, url in (
            ("SQLite", f"sqlite:///{Path(name) / 'ledgers.db'}"),
            ("Postgres", server.url),
        ):
            engine = connect(url)
            stack.callback(engine.dispose)
            migrations.upgrade(engine)
            house = _fill(SqlWork(engine))
            now = _measure(house, rounds=20)
            with writing(engine) as connection:
                connection.execute(delete(ledger_checkpoints))
            before = _measure(attrs.evolve(house, work=SqlWork(engine, ledgers=_WITHOUT)), rounds=1)
            for what, seconds in now.items():
                yield Figure(
                    "ledgers",
                    f"{what}, {kind}",
                    "s",
                    seconds,
                    "without checkpoints",
                    before[what],
                    aim=AIM if what.startswith("deposit, ") else None,
                    note=_NOTE if what == _NEIGHBOUR else "",
                )


_NOTE = "The 90th percentile of 40, and of 4 without checkpoints."
_NEIGHBOUR = f"deposit of another user during back-dated entries in {COUNTS[-1]:,}"


def _measure(house: House, rounds: int) -> dict[str, float]:
    """Return the fastest run of each operation."""
    found = {}
    for what, operation in (
        ("deposit", House.deposit),
        ("trade", House.trade),
        ("deposit of a month ago", _back_dated),
        ("portfolio", House.read),
        ("proposal", House.propose),
        ("page of transactions", House.page),
    ):
        for count, portfolio in house.portfolios.items():
            found[f"{what}, {count:,} entries"] = min(
                _time(partial(operation, house, portfolio)) for _ in range(rounds)
            )
    found[_NEIGHBOUR] = _neighbour(house, max(4, 2 * rounds))
    return found


def _neighbour(house: House, rounds: int) -> float:
    """Measure deposits into a short ledger, while the longest one gets back-dated entries."""
    short, longest = house.portfolios[COUNTS[0]], house.portfolios[COUNTS[-1]]
    begun, stopped = threading.Event(), threading.Event()

    def occupy() -> None:
        while not stopped.is_set():
            with suppress(Unavailable):
                _back_dated(house, longest)
            begun.set()

    thread = threading.Thread(target=occupy)
    thread.start()
    begun.wait()

    def deposit() -> None:
        with suppress(Unavailable):  # refused after a long wait
            house.deposit(short)

    times = sorted(_time(deposit) for _ in range(rounds))
    stopped.set()
    thread.join()
    return times[len(times) * 9 // 10]


def _back_dated(house: House, portfolio: UUID) -> None:
    house.deposit(portfolio, MARKET.dates[-22].item())


def _fill(work: SqlWork) -> House:
    owner = uuid4()
    with work.begin() as tx:
        tx.users.add(User(owner, f"{owner.hex}@example.org", "Ada", password="", created=NOW))
    portfolios = {}
    for count in COUNTS:
        mandate = Mandate(f"{count} entries", USD, dict.fromkeys(MARKET.symbols[:6], 0.1))
        entries = list(_entries(count))
        opened = ManagedPortfolio.open(
            mandate, id=uuid4(), owner=owner, entries=entries[:50], now=NOW
        )
        portfolios[count] = opened.id
        with work.begin() as tx:
            tx.portfolios.add(opened, entries[:50])
        for start in range(50, count, 500):
            batch = entries[start : start + 500]
            with work.begin() as tx:
                stored = tx.portfolios.get(opened.id)
                longer = tx.portfolios.ledger(opened.id).extended_by(batch)
                tx.portfolios.save(stored.book(longer, NOW), entries=batch, ledger=longer)
    return House(work, owner, portfolios)


def _entries(count: int) -> Iterator[Entry]:
    """Yield deposits and purchases, spread over the days of the market."""
    for number in range(count):
        on = MARKET.dates[number * len(MARKET.dates) // count].item()
        if number % 2 == 0:
            yield Entry(uuid4(), EntryKind.DEPOSIT, on, NOW, Decimal("100.00"))
            continue
        symbol = MARKET.symbols[number % 6]
        yield Entry(
            uuid4(), EntryKind.BUY, on, NOW, Decimal("50.00"), symbol, Decimal("0.5"), Decimal(100)
        )


def _time(job: Callable[[], None]) -> float:
    begin = perf_counter()
    job()
    return perf_counter() - begin
