from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import CHARGES
from rebalancer.domain.portfolio.ledger import (
    EMPTY,
    FLOWS,
    TRADES,
    Entry,
    EntryKind,
    Ledger,
    Overdrawn,
)
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from tests.builders import USD

NOW = datetime(2022, 1, 31, 12, tzinfo=UTC)
FIRST = date(2022, 1, 3)
PROPOSAL = UUID(int=1)
laws = settings(deadline=None)


def entry(kind: str, amount: object, day: int = 0, **others: Any) -> Entry:
    """Build an entry on a day after the first; amounts and quantities as text or numbers."""
    for name in ("quantity", "price", "cost"):
        if name in others:
            others[name] = Decimal(str(others[name]))
    return Entry(
        id=uuid4(),
        kind=EntryKind(kind),
        on=FIRST + timedelta(days=day),
        recorded=NOW,
        amount=Decimal(str(amount)),
        **others,
    )


def deposit(amount: object, day: int = 0) -> Entry:
    return entry("deposit", amount, day)


def withdrawal(amount: object, day: int = 0) -> Entry:
    return entry("withdrawal", amount, day)


def buy(quantity: object, symbol: str, price: object, day: int = 0, **others: Any) -> Entry:
    amount = Decimal(str(quantity)) * Decimal(str(price))
    return entry("buy", amount, day, symbol=symbol, quantity=quantity, price=price, **others)


def sell(quantity: object, symbol: str, price: object, day: int = 0, **others: Any) -> Entry:
    amount = Decimal(str(quantity)) * Decimal(str(price))
    return entry("sell", amount, day, symbol=symbol, quantity=quantity, price=price, **others)


def in_kind(kind: str, quantity: object, symbol: str, day: int = 0) -> Entry:
    return entry(kind, quantity, day, symbol=symbol, quantity=quantity, price=1)


def ledger(*entries: Entry) -> Ledger:
    return Ledger(entries)


def test_cash_and_holdings_are_summed_from_entries() -> None:
    positions = ledger(
        deposit(1000),
        buy(10, "B", "50.10", day=1, cost="1.25"),
        buy("2.5", "A", 40, day=1),
        sell(4, "B", 55, day=2, cost=1),
        entry("dividend", "3.20", day=3, symbol="B"),
        entry("fee", "0.45", day=4),
        withdrawal(100, day=5),
    ).positions

    # 1000 - 501 - 1.25 - 100 + 220 - 1 + 3.20 - 0.45 - 100
    assert positions.cash == Decimal("519.50")
    assert positions.holdings == {"A": Decimal("2.5"), "B": Decimal(6)}
    assert list(positions.holdings) == ["A", "B"]
    assert positions.last_entry == FIRST + timedelta(days=5)
    assert positions.last_rebalance is None


def test_empty_ledger_has_no_cash_and_no_holdings() -> None:
    assert ledger().positions == EMPTY


def test_transfer_in_kind_does_not_change_cash() -> None:
    arrived = in_kind("deposit", 5, "A")
    assert (arrived.cash, arrived.units, arrived.flow) == (0, 5, 5)
    left = in_kind("withdrawal", 2, "A")
    assert (left.cash, left.units, left.flow) == (0, -2, -2)

    positions = ledger(arrived, left).positions
    assert (positions.cash, positions.uninvested) == (0, 0)
    assert positions.holdings == {"A": 3}


def test_only_deposits_and_withdrawals_are_flows() -> None:
    assert deposit(7).flow == 7
    assert withdrawal(7).flow == -7
    for other in (buy(1, "A", 7), sell(1, "A", 7), entry("fee", 7), entry("dividend", 7)):
        assert other.flow == 0


def test_closed_position_is_not_listed() -> None:
    sold = ledger(deposit(10), buy(1, "A", 10), sell(1, "A", 12, day=1)).positions
    assert sold.holdings == {}
    assert sold.cash == 12


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("amount", {"amount": Decimal(-1)}),
        ("amount", {"amount": Decimal("NaN")}),
        ("amount", {"amount": Decimal("Infinity")}),
        ("amount", {"amount": Decimal("1e15")}),
        ("quantity", {"quantity": Decimal(-1)}),
        ("quantity", {"quantity": Decimal("NaN")}),
        ("quantity", {"quantity": Decimal("1e15")}),
        ("quantity", {"quantity": Decimal(0)}),
        ("price", {"price": None}),
        ("price", {"price": Decimal(0)}),
        ("price", {"price": Decimal(-3)}),
        ("symbol", {"symbol": None}),
        ("symbol", {"symbol": ""}),
        ("cost", {"cost": Decimal("-0.01")}),
        ("cost", {"cost": Decimal("NaN")}),
        ("cost", {"cost": Decimal("1e15")}),
        ("recorded", {"recorded": NOW.replace(tzinfo=None)}),
    ],
)
def test_invalid_trade_is_rejected(field: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        attrs.evolve(buy(1, "A", 10), **change)
    assert refused.value.field == field


@pytest.mark.parametrize("kind", ["deposit", "withdrawal", "fee", "dividend"])
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("amount", {"amount": 0}),
        ("amount", {"amount": -5}),
        ("quantity", {"quantity": 1}),
        ("cost", {"cost": 1}),
    ],
)
def test_invalid_cash_entry_is_rejected(kind: str, field: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        entry(kind, **{"amount": 10, **change})
    assert refused.value.field == field


@pytest.mark.parametrize("kind", ["deposit", "withdrawal"])
@pytest.mark.parametrize(
    ("field", "change"),
    [("quantity", {"quantity": 0}), ("price", {"price": 0}), ("cost", {"cost": 1})],
)
def test_invalid_transfer_in_kind_is_rejected(
    kind: str, field: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        entry(kind, **{"amount": 10, "symbol": "A", "quantity": 1, "price": 10, **change})
    assert refused.value.field == field


def test_only_the_balance_at_the_end_of_the_day_is_checked() -> None:
    # In reverse order: sold before it was bought, bought before the deposit.
    positions = ledger(sell(1, "A", 20), buy(2, "A", 10), deposit(20)).positions
    assert positions.cash == 20
    assert positions.holdings == {"A": 1}


def test_overdraft_is_rejected() -> None:
    funded = ledger(deposit(100), buy(1, "A", 60))
    with pytest.raises(Overdrawn, match=r"cash would be -10 .* 2022-01-04; deposit 10 more"):
        funded.extended_by([withdrawal(50, day=1)])
    with pytest.raises(Overdrawn, match=r"holding of A would be -1 .* 2022-01-05"):
        funded.extended_by([sell(2, "A", 60, day=2)])
    with pytest.raises(Overdrawn, match="holding of B"):
        funded.extended_by([in_kind("withdrawal", 1, "B")])
    # The rejected entry left no trace.
    assert funded.positions.cash == 40
    assert funded.extended_by([withdrawal(40, day=1)]).positions.cash == 0


def test_backdated_entry_is_accepted() -> None:
    today = ledger(deposit(100, day=5))
    late = today.extended_by([deposit(50, day=2), entry("fee", 5, day=3)])

    assert late.positions.cash == 145
    assert late.positions.last_entry == FIRST + timedelta(days=5)
    assert [day.day for day, _ in late.by_day()] == [5, 6, 8]


def test_backdated_entry_cannot_overdraw_the_past() -> None:
    # There is enough cash in the end, but not on that day.
    with pytest.raises(Overdrawn, match="2022-01-05"):
        ledger(deposit(100, day=5)).extended_by([withdrawal(50, day=2)])
    # Nor can it use cash that a later entry has spent.
    spent = ledger(deposit(100), withdrawal(80, day=5))
    with pytest.raises(Overdrawn, match="2022-01-08"):
        spent.extended_by([withdrawal(50, day=2)])
    # An entry of the same day corrects the mistake.
    mended = spent.extended_by([withdrawal(50, day=2), deposit(50, day=2)])
    assert mended.positions.cash == 20


def test_deposits_are_uninvested_until_a_rebalance() -> None:
    waiting = ledger(deposit(100), deposit(20, day=1))
    assert waiting.positions.uninvested == 120

    dealt_with = waiting.extended_by([buy(1, "A", 90, day=2, proposal=PROPOSAL)]).positions
    assert dealt_with.uninvested == 0  # the rebalance left that cash on purpose
    assert dealt_with.cash == 30
    assert dealt_with.last_rebalance == FIRST + timedelta(days=2)


def test_planned_cash_flow_is_invested_by_its_proposal() -> None:
    planned = entry("deposit", 100, proposal=PROPOSAL)
    assert ledger(planned).positions.uninvested == 100
    carried_out = ledger(planned, buy(1, "A", 60, proposal=PROPOSAL)).positions
    assert carried_out.uninvested == 0
    assert carried_out.cash == 40


def test_deposit_after_rebalance_is_uninvested() -> None:
    rebalanced = ledger(deposit(100), buy(1, "A", 60, proposal=PROPOSAL))
    for day in (0, 1):
        assert rebalanced.extended_by([deposit(25, day)]).positions.uninvested == 25


def test_withdrawal_uses_uninvested_cash_first() -> None:
    assert ledger(deposit(100), withdrawal(30)).positions.uninvested == 70
    # 40 were invested already: of the 50, 25 come from the uninvested cash.
    rebalanced = ledger(
        deposit(100), buy(1, "A", 60, proposal=PROPOSAL), deposit(25, day=1), withdrawal(50, day=2)
    )
    assert rebalanced.positions.uninvested == 0
    assert rebalanced.positions.cash == 15
    assert rebalanced.extended_by([deposit(5, day=3)]).positions.uninvested == 5


def test_manual_purchase_uses_uninvested_cash() -> None:
    bought = ledger(deposit(100), buy(1, "A", 60, day=1, cost=1))
    assert bought.positions.uninvested == 39
    assert bought.positions.last_rebalance is None


def test_proceeds_and_dividends_are_not_uninvested() -> None:
    held = ledger(in_kind("deposit", 5, "A"), deposit(10))
    after = held.extended_by([sell(2, "A", 10, day=1), entry("dividend", 7, day=1, symbol="A")])
    assert after.positions.cash == 37
    assert after.positions.uninvested == 10


def test_uninvested_cash_never_exceeds_cash() -> None:
    assert ledger(deposit(100), entry("fee", 30, day=1)).positions.uninvested == 70


def test_uninvested_cash_reaches_policy_as_cash_flow() -> None:
    kept = ManagedPortfolio.open(
        Mandate("Savings", USD, {"A": 1.0}),
        id=PROPOSAL,
        owner=PROPOSAL,
        entries=[
            deposit(100),
            buy(1, "A", 60, proposal=PROPOSAL),
            deposit(25, day=1),
        ],
        now=NOW,
    )
    seen = kept.snapshot(cash_flow=Decimal(-5))
    assert (seen.cash, seen.cash_flow) == (40, 20)
    assert seen.holdings == {"A": 1}
    assert seen.last_rebalance == FIRST


amounts = st.one_of(
    st.integers(1, 200).map(Decimal),
    st.decimals("0.01", 50, places=2),
    st.decimals("0.000000000001", "99999999999999", places=12),
)
small = st.integers(1, 5).map(Decimal)
KNOWN = FLOWS | TRADES | CHARGES | {EntryKind.DIVIDEND, EntryKind.INTEREST}
PLAIN = [kind for kind in EntryKind if kind in KNOWN]


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Draw entries over five days and two assets, mostly deposits."""
    kind = draw(st.sampled_from([*PLAIN, *[EntryKind.DEPOSIT] * 4]))
    others: dict[str, Any] = {}
    if kind in (EntryKind.BUY, EntryKind.SELL) or draw(st.booleans()):
        others["symbol"] = draw(st.sampled_from("AB"))
        if kind in FLOWS | TRADES:
            others |= {"quantity": draw(st.one_of(small, amounts)), "price": draw(small)}
    if kind in (EntryKind.BUY, EntryKind.SELL):
        others["proposal"] = draw(st.sampled_from([None, PROPOSAL]))
        others["cost"] = draw(st.sampled_from([Decimal(0), Decimal("0.01")]))
    return entry(kind, draw(st.one_of(small, amounts)), draw(st.integers(0, 4)), **others)


def end_of_day(booked: Sequence[Entry], last: date) -> tuple[Decimal, dict[str, Decimal]]:
    """Return cash and units at the end of a day, summed independently."""
    until = [one for one in booked if one.on <= last]
    with localcontext(prec=100):
        cash = sum((one.cash for one in until), Decimal(0))
        units = {
            symbol: sum((one.units for one in until if one.symbol == symbol), Decimal(0))
            for symbol in "AB"
        }
    return cash, units


def overdrawn(booked: Sequence[Entry]) -> bool:
    """Return whether cash or a holding is negative at the end of any day, by definition."""
    ends = [end_of_day(booked, one.on) for one in booked]
    return any(cash < 0 or min(units.values()) < 0 for cash, units in ends)


@laws
@given(st.lists(entries(), max_size=8))
def test_positions_equal_sum_of_entries_and_are_never_negative(booked: list[Entry]) -> None:
    if overdrawn(booked):
        with pytest.raises(Overdrawn):
            _ = Ledger(tuple(booked)).positions
        return
    positions = Ledger(tuple(booked)).positions
    cash, units = end_of_day(booked, date.max)
    assert positions.cash == cash
    assert positions.holdings == {symbol: held for symbol, held in units.items() if held}
    assert 0 <= positions.uninvested <= positions.cash
    assert positions.last_entry == max((one.on for one in booked), default=None)
    rebalances = [one.on for one in booked if one.proposal]
    assert positions.last_rebalance == max(rebalances, default=None)


@laws
@given(st.lists(entries(), max_size=8).flatmap(lambda b: st.tuples(st.just(b), st.permutations(b))))
def test_order_of_writing_does_not_change_positions(
    orders: tuple[list[Entry], list[Entry]],
) -> None:
    booked, shuffled = (Ledger(tuple(order)) for order in orders)
    if overdrawn(booked.entries):
        with pytest.raises(Overdrawn):
            _ = shuffled.positions
        return
    # Except for uninvested cash, which depends on the order of entries within a day.
    one, other = (
        attrs.evolve(each.positions, uninvested=Decimal(0)) for each in (booked, shuffled)
    )
    assert one == other


@laws
@given(st.lists(entries(), max_size=8))
def test_adding_entries_one_by_one_equals_adding_all(booked: list[Entry]) -> None:
    assume(not overdrawn(booked))
    grown = ledger()
    by_day = [one for _, of_day in Ledger(tuple(booked)).by_day() for one in of_day]
    for day in sorted({one.on for one in booked}):
        grown = grown.extended_by(one for one in by_day if one.on == day)
    assert grown.positions == Ledger(tuple(booked)).positions
