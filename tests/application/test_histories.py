"""Histories of stored portfolios are continued, and always those of all entries."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.checkpoints import LedgerRules
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.histories import unpack
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.histories import STORED_FROM, HistoryCache, ReadHistories
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.backtest.accounts import measure_history
from rebalancer.domain.backtest.periods import ValueHistory
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.owner import User
from tests.builders import USD, prices

NOW = datetime(2024, 1, 1, tzinfo=UTC)
OWNER, ID = uuid4(), uuid4()
LONG = prices(days=120)


def deposit(on: date, amount: int = 100) -> Entry:
    return Entry(uuid4(), EntryKind.DEPOSIT, on, NOW, Decimal(amount))


def day(row: int) -> date:
    found: date = LONG.dates[row].item()
    return found


@attrs.define
class Shop:
    """A store with one portfolio, and the histories that are read from it."""

    work: UnitOfWork
    read: ReadHistories
    market: PriceHistory = attrs.field(factory=lambda: LONG.until(99))

    def open(self, *entries: Entry) -> None:
        mandate = Mandate("p", USD, {"A": 0.5})
        portfolio = ManagedPortfolio.open(mandate, id=ID, owner=OWNER, entries=entries, now=NOW)
        with self.work.begin() as tx:
            tx.users.add(User(OWNER, "ada@example.org", "Ada", "x", NOW))
            tx.portfolios.add(portfolio, list(entries))

    def record(self, *entries: Entry) -> None:
        with self.work.begin() as tx:
            stored = tx.portfolios.get(ID)
            longer = tx.portfolios.ledger(ID).extended_by(entries)
            tx.portfolios.save(stored.book(longer, NOW), entries=list(entries), ledger=longer)

    def history(self) -> ValueHistory:
        with self.work.read() as tx:
            portfolio = tx.portfolios.get(ID)
        return self.read([portfolio], self.market)[ID]

    def check(self) -> None:
        """Check that the history is that of all entries."""
        found = self.history()
        with self.work.read() as tx:
            whole = measure_history(tx.portfolios.ledgers([ID])[ID], self.market)
        assert found.dates.tolist() == whole.dates.tolist()
        for name in ("values", "contributions", "index"):
            assert getattr(found, name) == pytest.approx(getattr(whole, name), rel=1e-10)

    @property
    def reads(self) -> int:
        """Ledgers that were read in full."""
        assert isinstance(self.read, CountingHistories)
        return len(self.read.read_in_full)


@attrs.frozen
class CountingHistories(ReadHistories):
    """Counts ledgers that are measured in full."""

    read_in_full: list[UUID] = attrs.field(factory=list, init=False)

    def _measure_all(self, portfolio, ledger, market):  # type: ignore[no-untyped-def]  # as its base
        self.read_in_full.append(portfolio.id)
        return super()._measure_all(portfolio, ledger, market)


@pytest.fixture(params=["memory", "sqlite", "sqlite with checkpoints"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "memory":
        work: UnitOfWork = MemoryWork()
    else:
        engine = connect(f"sqlite:///{tmp_path / 'p.db'}")
        request.addfinalizer(engine.dispose)
        migrations.upgrade(engine)
        rules = LedgerRules(from_count=1) if "check" in request.param else LedgerRules()
        work = SqlWork(engine, ledgers=rules)
    found = Shop(work, CountingHistories(work))
    price = Decimal("100")
    found.open(
        deposit(day(10), 10_000),
        Entry(uuid4(), EntryKind.BUY, day(10), NOW, 10 * price, "A", Decimal(10), price),
    )
    return found


def test_unchanged_portfolio_is_not_measured_again(shop: Shop) -> None:
    shop.check()
    first = shop.history()
    assert shop.history() is first
    assert shop.reads == 1


def test_later_entries_and_closes_are_continued(shop: Shop) -> None:
    shop.check()
    shop.record(deposit(day(99)))
    shop.check()
    shop.record(deposit(day(90)), deposit(day(98), 5))
    shop.check()
    shop.market = LONG.until(105)
    shop.check()
    assert shop.reads == 1


def test_back_dated_and_void_entries_are_measured_in_full(shop: Shop) -> None:
    shop.check()
    early = deposit(day(20))
    shop.record(early)
    shop.check()
    shop.record(early.reversal(recorded=NOW))
    shop.check()
    assert shop.reads == 3


def test_restated_close_is_measured_in_full(shop: Shop) -> None:
    shop.check()
    closes = np.array(shop.market.closes)
    closes[20, 0] *= 1.5
    shop.market = PriceHistory.of(shop.market.symbols, shop.market.dates, closes)
    shop.check()
    assert shop.reads == 2


def test_snapshot_of_a_long_ledger_is_continued_by_another_process(shop: Shop) -> None:
    shop.record(*(deposit(day(11 + number % 60)) for number in range(STORED_FROM)))
    shop.check()
    shop.record(deposit(day(98)))
    other = attrs.evolve(shop, read=CountingHistories(shop.work), market=LONG.until(104))
    other.check()
    stored = not isinstance(shop.work, MemoryWork)
    assert (shop.reads, other.reads) == (1, 0 if stored else 1)
    shop.record(deposit(day(20)))
    third = attrs.evolve(shop, read=CountingHistories(shop.work), market=LONG)
    third.check()
    assert third.reads == 1
    fourth = attrs.evolve(third, read=CountingHistories(shop.work))
    fourth.check()
    assert fourth.reads == (0 if stored else 1)
    with shop.work.read() as tx:
        assert (ID in tx.portfolios.histories([ID])) == stored


def test_damaged_snapshot_is_ignored() -> None:
    assert unpack(b"") is None
    assert unpack(b"\x81\xa6format\x00") is None
    assert unpack(b"\x81\xa6format\x01") is None


def test_forgotten_portfolio_is_measured_again(shop: Shop) -> None:
    shop.check()
    cache = HistoryCache(most=1)
    kept = shop.read.cache.get(ID)
    assert kept is not None
    cache.put(ID, kept)
    cache.put(uuid4(), kept)
    assert cache.get(ID) is None
