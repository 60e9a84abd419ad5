"""Statements of a period, computed by hand, and the laws by which they add up."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.backtest.period_statement import PeriodStatement, state_period
from rebalancer.domain.backtest.track_record import measure_track_record
from rebalancer.domain.errors import InvalidRequest, RebalancerError
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from tests import builders
from tests.builders import EUR, USD, quoted_prices
from tests.contracts.stores import NOW
from tests.contracts.test_account_file import MARKET, histories
from tests.domain.test_checkpoints import entries

# Days 2022-01-03 to 2022-01-07.
PRICES = quoted_prices(
    {
        "A": [100, 110, 120, 120, 130],
        "B": [50, 50, 40, 40, 45],
        "EURUSD": [1.25, 1.25, 1.2, 1.2, 1.0],
    }
)


def entry(day: int, kind: str, amount: object, symbol: str | None = None, **more: Any) -> Entry:
    numbers = {
        name: value if name in ("currency", "counter_currency", "other") else Decimal(str(value))
        for name, value in more.items()
    }
    return Entry(
        uuid4(), EntryKind(kind), date(2022, 1, day), NOW, Decimal(str(amount)), symbol, **numbers
    )


LEDGER = Ledger(
    (
        entry(3, "deposit", "1000.00"),
        entry(3, "buy", "400.00", "A", quantity=4, price=100, cost="1.00"),
        entry(5, "deposit", "200.00"),
        entry(5, "sell", "240.00", "A", quantity=2, price=120, cost="0.50"),
        entry(6, "dividend", "10.00", "A", withheld="1.50"),
        entry(6, "fee", "2.00"),
        entry(6, "exchange", "120.00", counter_amount="100.00", counter_currency="EUR"),
        entry(7, "withdrawal", "50.00"),
    )
)


def stated(
    since: int | None = None, until: int | None = None, ledger: Ledger = LEDGER
) -> PeriodStatement:
    return state_period(
        ledger,
        PRICES,
        since=None if since is None else date(2022, 1, since),
        until=None if until is None else date(2022, 1, until),
        currency=USD,
    )


def money(text: str) -> list[Decimal]:
    return [Decimal(one) for one in text.split()]


def test_period_adds_up_line_by_line() -> None:
    found = stated(since=5, until=7)
    # Opening on January 4: 599 in cash and 4 A at 110.
    assert (found.opened, found.closed) == (date(2022, 1, 4), date(2022, 1, 7))
    assert [found.opening, found.closing] == money("1039.00 1235.00")
    # Closing: cash 599 + 200 + 239.50 + 8.50 - 2 - 120 - 50 = 875, 2 A at 130, 100 EUR at 1.
    assert [one.closing for one in (*found.holdings, *found.cash)] == money("260.00 875.00 100.00")
    assert [found.deposits, found.withdrawals] == money("200.00 50.00")
    assert [found.income, found.taxes, found.costs, found.fees] == money("10.00 1.50 0.50 2.00")
    # A: 260 - 440 + 240 = 60; 100 euros bought for 120 are worth 100: -20.
    assert [found.gains, found.exchange] == money("60.00 -20.00")
    assert found.opening + 150 + 10 - Decimal("1.5") - Decimal("0.5") - 2 + 60 - 20 == found.closing
    (line,) = found.holdings
    assert (line.quantity, line.price) == (2, 130)
    assert [one.kind.value for one in found.activities] == [
        *("deposit", "sell", "dividend", "fee", "exchange", "withdrawal")
    ]


def test_first_period_begins_with_nothing() -> None:
    found = stated(until=4)
    assert (found.opened, found.opening, found.closing) == (None, 0, Decimal("1039.00"))
    # 999 after the cost of 1; then A rises by 10 a share: 1039 / 1000.
    assert found.return_ == pytest.approx(0.039)


def test_return_is_that_of_the_performance() -> None:
    record = measure_track_record(LEDGER, {}, PRICES, since=date(2022, 1, 5))
    assert stated(since=5).return_ == pytest.approx(record.portfolio.twr)


def test_foreign_assets_are_stated_in_the_base_currency() -> None:
    ledger = Ledger(
        (entry(3, "deposit", "1000.00"), entry(4, "buy", "500.00", "A", quantity=5, price=100))
    )
    found = state_period(ledger, builders.flat_prices({"A": 100.0}), currency=USD)
    assert found.closing == Decimal("1000.00")
    euros = Ledger(
        (
            entry(3, "deposit", "1000.00"),
            entry(3, "deposit", "440.00", "A", quantity=4, price=110, currency="USD"),
        )
    )
    found = state_period(euros, PRICES, since=date(2022, 1, 4), currency=EUR)
    (line,) = found.holdings
    # 4 A at 100 USD were 320 EUR at 0.80; at the end 4 A at 130 USD are 520 EUR.
    assert [line.opening, line.closing, line.gain] == money("320.00 520.00 200.00")
    assert (line.price, line.currency) == (130, "USD")
    assert [found.opening, found.closing] == money("1320.00 1520.00")


def test_transfers_in_kind_count_at_the_close() -> None:
    moved = entry(4, "deposit", "999.00", "B", quantity=2, price="499.50")
    found = stated(ledger=Ledger((*LEDGER.entries, moved)))
    assert [one.added for one in found.holdings if one.symbol == "B"] == money("100.00")


def test_splits_and_spin_offs_change_units_alone() -> None:
    ledger = Ledger(
        (
            entry(3, "deposit", "1000.00"),
            entry(3, "buy", "400.00", "A", quantity=4, price=100),
            entry(5, "spin_off", 0, "A", other="B", ratio="0.5"),
        )
    )
    found = stated(since=5, ledger=ledger)
    gains = {one.symbol: one.gain for one in found.holdings}
    # 4 A from 110 to 130; 2 B that came without money, at 45.
    assert gains == {"A": Decimal("80.00"), "B": Decimal("90.00")}
    assert found.closing - found.opening == found.gains


def test_period_outside_the_record_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="choose an earlier day"):
        stated(since=6, until=4)
    with pytest.raises(InvalidRequest, match="ledger is empty"):
        stated(ledger=Ledger())


@settings(max_examples=25, deadline=None)
@given(histories(), st.data())
def test_statements_add_up_and_follow_each_other(history: list[Entry], data: st.DataObject) -> None:
    ledger, market = Ledger(tuple(history)), MARKET
    days = [day.item() for day in market.dates[-55:]]
    middle = data.draw(st.sampled_from(days))
    whole = state_period(ledger, market, currency=USD)
    first = state_period(ledger, market, until=middle, currency=USD)
    after = market.dates[market.dates > market.dates.dtype.type(middle)]
    if len(after):
        second = state_period(ledger, market, since=after[0].item(), currency=USD)
        assert (second.opened, second.opening) == (first.closed, first.closing)
        assert second.closing == whole.closing
        for name in ("deposits", "withdrawals", "income", "taxes", "costs", "fees", "gains"):
            assert getattr(first, name) + getattr(second, name) == getattr(whole, name), name
    record = measure_track_record(ledger, {}, market)
    assert float(whole.closing) == pytest.approx(record.portfolio.values[-1], abs=0.05)
    assert float(whole.flows) == pytest.approx(record.contributions[-1], abs=0.01)
    assert whole.return_ == pytest.approx(record.portfolio.twr, abs=1e-9)


MONTH = quoted_prices(
    {
        "A": [100 + 3 * (day % 5) for day in range(28)],
        "B": [50 - day for day in range(28)],
        "C": [None] * 9 + [7.5 + day / 8 for day in range(19)],
        "EURUSD": [1.1 + (day % 3) / 100 for day in range(28)],
    },
    start=date(2022, 1, 1),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_statements_with_every_kind_of_entry_add_up(data: st.DataObject) -> None:
    """The sum is checked within `state_period`, for two currencies and all reorganisations."""
    money = Decimal(10_000)
    ledger = Ledger(
        (
            Entry(uuid4(), EntryKind.DEPOSIT, date(2022, 1, 1), NOW, money),
            Entry(uuid4(), EntryKind.DEPOSIT, date(2022, 1, 1), NOW, money, currency="EUR"),
        )
    )
    for number in range(data.draw(st.integers(1, 12))):
        batch = data.draw(entries(number, ledger.entries, 2 * number + 1))
        if {one.id for one in batch} & {one.id for one in ledger.entries}:
            continue
        with suppress(RebalancerError):
            ledger = ledger.extended_by(batch)
    middle = data.draw(st.integers(2, 27))
    whole = state_period(ledger, MONTH, currency=USD)
    first = state_period(ledger, MONTH, until=date(2022, 1, middle), currency=USD)
    second = state_period(ledger, MONTH, since=date(2022, 1, middle + 1), currency=USD)
    assert first.closing == second.opening
    assert second.closing == whole.closing
    for name in ("deposits", "withdrawals", "income", "taxes", "costs", "fees", "gains"):
        assert getattr(first, name) + getattr(second, name) == getattr(whole, name), name
    record = measure_track_record(ledger, {}, MONTH)
    assert float(whole.closing) == pytest.approx(record.portfolio.values[-1], abs=0.05)
    assert float(whole.flows) == pytest.approx(record.contributions[-1], abs=0.05)
    assert float(whole.income) == pytest.approx(
        record.dividends + record.interest + record.returned_capital, abs=0.05
    )
    assert float(whole.taxes) == pytest.approx(record.taxes, abs=0.05)
