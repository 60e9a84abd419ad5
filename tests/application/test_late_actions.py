"""Corporate actions that arrive late, or with restated closes, change no value and no return."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID, uuid5

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryMarket
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.market_import import ImportMarket
from rebalancer.application.performance import MeasurePerformance
from rebalancer.application.portfolios import OpenPortfolio, ReadPortfolio
from rebalancer.application.stored_market import StoredMarket
from rebalancer.application.transactions import CashFlow, RecordCashFlow, RecordTrades, Trade
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.track_record import TrackRecord
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.domain.portfolio.owner import User

NOW = datetime(2024, 2, 1, tzinfo=UTC)
OWNER, ID = UUID(int=1), UUID(int=2)
DAYS = np.datetime64("2024-01-01") + np.arange(12)
EX = 6
TRADED = np.array([400.0, 404, 396, 400, 402, 400, 99, 100, 101, 100, 102, 100])
"""A split of 4 for 1, and a dividend of 8 a share held before it, on the row `EX`."""
ADJUSTED = np.where(np.arange(12) < EX, TRADED / 4 * (392 / 400), TRADED)
ACTIONS = (
    CorporateAction("A", DAYS[EX].item(), ActionKind.SPLIT, Decimal(4)),
    CorporateAction("A", DAYS[EX].item(), ActionKind.DIVIDEND, Decimal(8)),
)
BUY = Trade(EntryKind.BUY, "A", Decimal(10), Decimal(400), cost=Decimal(4), on=DAYS[0].item())


class Shop:
    """Market and portfolios in memory."""

    def __init__(self) -> None:
        self.market = StoredMarket(MemoryMarket(), check_interval=0.0)
        self.work = MemoryWork()
        self.book = BookActions(self.work, lambda: NOW)

    def bars(self, closes: Floats, *, until: int = 12, adjusted: bool = False) -> None:
        days = DAYS[:until]
        self.market.save_bars(
            [
                Bars("A", days, closes[:until], adjusted=adjusted),
                Bars("B", days, np.full(until, 50.0), adjusted=False),
            ]
        )

    def actions(self) -> None:
        self.market.save_actions(ACTIONS, source="test")

    def open(self) -> None:
        with self.work.begin() as tx:
            tx.users.add(User(OWNER, "ada@example.org", "Ada", "x", NOW))
        OpenPortfolio(self.work, self.market, self.market)(
            Mandate("p", Currency("USD"), {"A": 0.5, "B": 0.4}),
            cash=Decimal(5000),
            on=DAYS[0].item(),
            id=ID,
            owner=OWNER,
            now=NOW,
        )
        RecordTrades(self.work, self.market, self.book)(
            [BUY], portfolio_id=ID, owner=OWNER, id=uuid5(ID, "buy"), now=NOW
        )

    def measure(self) -> tuple[Decimal | None, TrackRecord]:
        value = ReadPortfolio(self.work, self.market, self.book)(ID, actor=OWNER).value
        measure = MeasurePerformance(self.work, self.market, self.market, self.book)
        return value, measure(ID, actor=OWNER).record

    def pay(self, amount: int, row: int) -> None:
        flow = CashFlow(EntryKind.DIVIDEND, Decimal(amount), on=DAYS[row].item(), symbol="A")
        record = RecordCashFlow(self.work, self.market)
        record(flow, portfolio_id=ID, owner=OWNER, id=uuid5(ID, f"{row}"), now=NOW)


@pytest.fixture
def on_time() -> tuple[Decimal | None, TrackRecord]:
    shop = Shop()
    shop.bars(TRADED)
    shop.actions()
    shop.open()
    return shop.measure()


def assert_same(
    found: tuple[Decimal | None, TrackRecord], expected: tuple[Decimal | None, TrackRecord]
) -> None:
    assert found[0] == expected[0]
    for name in ("portfolio", "no_rebalancing", "benchmark"):
        line, same = getattr(found[1], name), getattr(expected[1], name)
        assert line.values == pytest.approx(same.values, rel=1e-12)
        assert line.index == pytest.approx(same.index, rel=1e-12)
    assert found[1].gain == pytest.approx(expected[1].gain)
    assert found[1].dividends == expected[1].dividends == 80


def test_split_and_dividend_count_once(on_time: tuple[Decimal | None, TrackRecord]) -> None:
    value, record = on_time
    # 40 shares at 100, and 5,000 - 4,000 - 4 + 80 of cash.
    assert value == Decimal("5076.00")
    assert record.gain == pytest.approx(76)
    assert record.portfolio.twr == pytest.approx(0.0152)


def test_actions_that_arrive_a_day_late_change_no_return(
    on_time: tuple[Decimal | None, TrackRecord],
) -> None:
    shop = Shop()
    shop.bars(TRADED, until=EX)
    shop.open()
    before = shop.measure()[1].portfolio
    shop.bars(TRADED, until=EX + 1)
    shop.measure()  # a fall to a quarter, for a day
    shop.actions()
    shop.bars(TRADED, until=EX + 2)
    again = shop.measure()[1].portfolio
    assert again.values[:EX] == pytest.approx(before.values, rel=1e-12)
    assert again.index[:EX] == pytest.approx(before.index, rel=1e-12)
    shop.bars(TRADED)
    assert_same(shop.measure(), on_time)


def test_restated_closes_with_their_actions_change_no_return(
    on_time: tuple[Decimal | None, TrackRecord],
) -> None:
    shop = Shop()
    shop.bars(TRADED, until=EX, adjusted=True)
    shop.open()
    before = shop.measure()[0]
    assert before == Decimal("4996.00")
    shop.bars(ADJUSTED, adjusted=True)
    shop.actions()
    assert_same(shop.measure(), on_time)


def test_actions_that_follow_from_restated_closes_change_no_return(
    on_time: tuple[Decimal | None, TrackRecord],
) -> None:
    shop = Shop()
    importing = ImportMarket(shop.market, lambda: NOW)

    def add(closes: Floats, until: int) -> list[tuple[str, str]]:
        table = np.column_stack([closes[:until], np.full(until, 50.0)])
        history = PriceHistory.of(("A", "B"), DAYS[:until], table)
        told = importing(history, usual=Instruments()).inferred
        return [(one["kind"], one["value"]) for one in told]

    assert add(TRADED, EX) == []
    shop.open()
    assert add(ADJUSTED, 12) == [("dividend", "8"), ("split", "4")]
    assert_same(shop.measure(), on_time)
    importing(None, usual=Instruments(), actions=Actions.of(ACTIONS))
    assert_same(shop.measure(), on_time)


def test_split_and_dividend_recorded_by_hand_come_to_the_same(
    on_time: tuple[Decimal | None, TrackRecord],
) -> None:
    shop = Shop()
    shop.bars(ADJUSTED, adjusted=True)
    shop.open()
    ex: date = DAYS[EX].item()
    own = [
        Entry(UUID(int=8), EntryKind.SPLIT, ex, NOW, Decimal(0), symbol="A", ratio=Decimal(4)),
        Entry(UUID(int=9), EntryKind.DIVIDEND, ex, NOW, Decimal(80), symbol="A"),
    ]
    with shop.work.begin() as tx:
        portfolio = tx.portfolios.get(ID, owner=OWNER)
        ledger = tx.portfolios.ledger(ID)
        tx.portfolios.save(portfolio.book(ledger.extended_by(own), NOW), entries=own)
    assert_same(shop.measure(), on_time)


@pytest.mark.parametrize("late", [True, False])
def test_dividend_that_the_owner_records_replaces_what_was_booked(late: bool) -> None:
    shop = Shop()
    shop.bars(TRADED)
    shop.open()
    if late:
        shop.pay(60, EX + 3)  # on its payment day, after taxes
        shop.actions()
    else:
        shop.actions()
        assert shop.measure()[1].dividends == 80
        shop.pay(60, EX + 3)
    value, record = shop.measure()
    assert value == Decimal("5056.00")
    assert record.dividends == 60
    assert shop.measure()[0] == value


def test_dividend_of_the_owner_replaces_the_latest_one_before_it() -> None:
    shop = Shop()
    shop.bars(TRADED)
    paid = [
        CorporateAction("A", DAYS[row].item(), ActionKind.DIVIDEND, Decimal(1)) for row in (2, 4)
    ]
    shop.market.save_actions(paid, source="test")
    shop.open()
    assert shop.measure()[1].dividends == 20
    shop.pay(9, 5)
    assert shop.measure()[1].dividends == 19
    with shop.work.read() as tx:
        ledger = tx.portfolios.ledger(ID)
    assert [entry.on for entry in ledger.effective if entry.kind is EntryKind.DIVIDEND] == [
        DAYS[2].item(),
        DAYS[5].item(),
    ]
