"""A ledger retold without reorganisations."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import uuid4

import attrs
from hypothesis import given
from hypothesis import strategies as st

from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.plain_history import Movement, PlainHistory, retell
from tests.contracts.stores import NOW
from tests.domain.test_checkpoints import entries

ZERO = Decimal(0)


def entry(
    day: int, kind: str, amount: object = 0, symbol: str | None = None, **more: object
) -> Entry:
    numbers = {
        name: Decimal(str(value)) if name in ("quantity", "price", "cost", "ratio") else value
        for name, value in more.items()
    }
    return Entry(
        uuid4(),
        EntryKind(kind),
        date(2022, 1, day),
        NOW,
        Decimal(str(amount)),
        symbol,
        **numbers,  # type: ignore[arg-type]
    )


def told(*entries: Entry) -> list[tuple[int, str, str | None, str, str]]:
    return [
        (one.on.day, one.kind.value, one.symbol, f"{one.quantity:f}", f"{one.amount:f}")
        for one in retell(Ledger(entries), "USD").movements
    ]


MONEY = entry(1, "deposit", 10_000)
BOUGHT = entry(3, "buy", 1000, "OLD", quantity=10, price=100, cost=1)


def test_split_multiplies_the_units_before_it() -> None:
    split = entry(5, "split", symbol="OLD", ratio=3)
    sold = entry(7, "sell", 200, "OLD", quantity=6, price="33.33")
    assert told(MONEY, BOUGHT, split, sold) == [
        (1, "deposit", None, "0", "10000"),
        (3, "buy", "OLD", "30", "1000"),
        (7, "sell", "OLD", "6", "200"),
    ]


def test_new_symbol_holds_from_the_beginning() -> None:
    renamed = entry(5, "rename", symbol="OLD", other="NEW")
    split = entry(6, "split", symbol="NEW", ratio=2)
    assert told(MONEY, BOUGHT, renamed, split)[1] == (3, "buy", "NEW", "20", "1000")


def test_spin_off_is_a_transfer_of_the_new_units() -> None:
    spun = entry(5, "spin_off", symbol="OLD", other="CHILD", ratio="0.5")
    assert told(MONEY, BOUGHT, spun)[2:] == [(5, "deposit", "CHILD", "5.0", "0")]


def test_merger_for_money_is_a_sale_and_a_transfer() -> None:
    merged = entry(5, "merger", 50, "OLD", other="NEW", ratio="2")
    assert told(MONEY, BOUGHT, merged)[2:] == [
        (5, "sell", "OLD", "10", "50"),
        (5, "deposit", "NEW", "20", "0"),
    ]


def test_void_entries_are_left_out() -> None:
    assert told(MONEY, BOUGHT, BOUGHT.reversal(recorded=NOW)) == [
        (1, "deposit", None, "0", "10000")
    ]


def sums(history: PlainHistory) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    cash: dict[str, Decimal] = {}
    units: dict[str, Decimal] = {}

    def add(movement: Movement) -> None:
        for code, change in movement.cash_changes:
            cash[code] = cash.get(code, ZERO) + change
        if movement.symbol is not None:
            units[movement.symbol] = units.get(movement.symbol, ZERO) + movement.units

    for movement in history.movements:
        add(movement)
    return (
        {code: amount for code, amount in cash.items() if amount},
        {symbol: held for symbol, held in units.items() if held},
    )


@given(st.data())
def test_retold_history_sums_to_the_positions_of_the_ledger(data: st.DataObject) -> None:
    ledger = Ledger((attrs.evolve(MONEY, currency="EUR"), MONEY))
    for number in range(data.draw(st.integers(1, 15))):
        batch = data.draw(entries(number, ledger.entries, number + 1))
        if {one.id for one in batch} & {one.id for one in ledger.entries}:
            continue
        try:
            longer = ledger.extended_by(batch)
            positions = longer.positions
        except RebalancerError:
            continue
        ledger = longer
    positions = ledger.positions
    cash, units = sums(retell(ledger, "USD"))
    expected = {"USD": positions.cash, **positions.foreign_cash}
    assert cash == {code: amount for code, amount in expected.items() if amount}
    assert units == dict(positions.holdings)
