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
from rebalancer.domain.portfolio.ledger import EMPTY, Entry, EntryKind, Ledger, Overdrawn
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from tests.builders import USD

NOW = datetime(2022, 1, 31, 12, tzinfo=UTC)
FIRST = date(2022, 1, 3)
PROPOSAL = UUID(int=1)
laws = settings(deadline=None, derandomize=True)


def entry(kind: str, amount: object, day: int = 0, **others: Any) -> Entry:
    """An entry on the given day after the first; amounts and quantities as text or numbers."""
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


def test_cash_and_holdings_follow() -> None:
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


def test_an_empty_ledger_amounts_to_nothing() -> None:
    assert ledger().positions == EMPTY


def test_what_moves_in_kind_moves_no_money() -> None:
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


def test_what_is_sold_out_is_held_no_more() -> None:
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
def test_a_trade_that_makes_no_sense_is_refused(field: str, change: dict[str, Any]) -> None:
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
def test_money_that_makes_no_sense_is_refused(
    kind: str, field: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        entry(kind, **{"amount": 10, **change})
    assert refused.value.field == field


@pytest.mark.parametrize("kind", ["deposit", "withdrawal"])
@pytest.mark.parametrize(
    ("field", "change"),
    [("quantity", {"quantity": 0}), ("price", {"price": 0}), ("cost", {"cost": 1})],
)
def test_a_move_in_kind_that_makes_no_sense_is_refused(
    kind: str, field: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        entry(kind, **{"amount": 10, "symbol": "A", "quantity": 1, "price": 10, **change})
    assert refused.value.field == field


def test_what_counts_is_the_end_of_the_day() -> None:
    # Written down backwards: sold before it was bought, bought before it was paid for.
    positions = ledger(sell(1, "A", 20), buy(2, "A", 10), deposit(20)).positions
    assert positions.cash == 20
    assert positions.holdings == {"A": 1}


def test_more_than_there_is_cannot_leave() -> None:
    funded = ledger(deposit(100), buy(1, "A", 60))
    with pytest.raises(Overdrawn, match=r"cash would be -10 .* 2022-01-04; deposit 10 more"):
        funded.followed_by([withdrawal(50, day=1)])
    with pytest.raises(Overdrawn, match=r"holdings\.A: would be -1 .* 2022-01-05"):
        funded.followed_by([sell(2, "A", 60, day=2)])
    with pytest.raises(Overdrawn, match=r"holdings\.B"):
        funded.followed_by([in_kind("withdrawal", 1, "B")])
    # What was refused has left no trace.
    assert funded.positions.cash == 40
    assert funded.followed_by([withdrawal(40, day=1)]).positions.cash == 0


def test_an_entry_may_be_written_down_late() -> None:
    today = ledger(deposit(100, day=5))
    late = today.followed_by([deposit(50, day=2), entry("fee", 5, day=3)])

    assert late.positions.cash == 145
    assert late.positions.last_entry == FIRST + timedelta(days=5)
    assert [day.day for day, _ in late.by_day()] == [5, 6, 8]


def test_a_late_entry_cannot_take_what_was_not_there_yet() -> None:
    # Enough in the end, but not on the day.
    with pytest.raises(Overdrawn, match="2022-01-05"):
        ledger(deposit(100, day=5)).followed_by([withdrawal(50, day=2)])
    # It cannot take what a later entry has used either.
    spent = ledger(deposit(100), withdrawal(80, day=5))
    with pytest.raises(Overdrawn, match="2022-01-08"):
        spent.followed_by([withdrawal(50, day=2)])
    # The mistake is mended by an entry of the same day.
    mended = spent.followed_by([withdrawal(50, day=2), deposit(50, day=2)])
    assert mended.positions.cash == 20


def test_deposits_wait_for_a_rebalance() -> None:
    waiting = ledger(deposit(100), deposit(20, day=1))
    assert waiting.positions.uninvested == 120

    dealt_with = waiting.followed_by([buy(1, "A", 90, day=2, proposal=PROPOSAL)]).positions
    assert dealt_with.uninvested == 0  # what it left in cash, it meant to leave
    assert dealt_with.cash == 30
    assert dealt_with.last_rebalance == FIRST + timedelta(days=2)


def test_the_flow_that_a_proposal_planned_is_dealt_with_by_it() -> None:
    planned = entry("deposit", 100, proposal=PROPOSAL)
    assert ledger(planned).positions.uninvested == 100
    carried_out = ledger(planned, buy(1, "A", 60, proposal=PROPOSAL)).positions
    assert carried_out.uninvested == 0
    assert carried_out.cash == 40


def test_a_deposit_after_the_rebalance_waits_for_the_next() -> None:
    rebalanced = ledger(deposit(100), buy(1, "A", 60, proposal=PROPOSAL))
    for day in (0, 1):
        assert rebalanced.followed_by([deposit(25, day)]).positions.uninvested == 25


def test_a_withdrawal_takes_what_waits_first() -> None:
    assert ledger(deposit(100), withdrawal(30)).positions.uninvested == 70
    # 40 were dealt with already: of the 50, only the 25 that wait are taken from what waits.
    rebalanced = ledger(
        deposit(100), buy(1, "A", 60, proposal=PROPOSAL), deposit(25, day=1), withdrawal(50, day=2)
    )
    assert rebalanced.positions.uninvested == 0
    assert rebalanced.positions.cash == 15
    assert rebalanced.followed_by([deposit(5, day=3)]).positions.uninvested == 5


def test_what_is_bought_by_hand_uses_what_waits() -> None:
    bought = ledger(deposit(100), buy(1, "A", 60, day=1, cost=1))
    assert bought.positions.uninvested == 39
    assert bought.positions.last_rebalance is None


def test_proceeds_and_dividends_do_not_wait() -> None:
    held = ledger(in_kind("deposit", 5, "A"), deposit(10))
    after = held.followed_by([sell(2, "A", 10, day=1), entry("dividend", 7, day=1, symbol="A")])
    assert after.positions.cash == 37
    assert after.positions.uninvested == 10


def test_no_more_waits_than_there_is() -> None:
    assert ledger(deposit(100), entry("fee", 30, day=1)).positions.uninvested == 70


def test_a_policy_is_handed_what_waits_as_cash_flow() -> None:
    kept = ManagedPortfolio.opened(
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


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Entries over five days and two assets; deposits are the most frequent."""
    kind = draw(st.sampled_from([*EntryKind, EntryKind.DEPOSIT, EntryKind.DEPOSIT]))
    others: dict[str, Any] = {}
    if kind in (EntryKind.BUY, EntryKind.SELL) or draw(st.booleans()):
        others["symbol"] = draw(st.sampled_from("AB"))
        if kind not in (EntryKind.FEE, EntryKind.DIVIDEND):
            others |= {"quantity": draw(st.one_of(small, amounts)), "price": draw(small)}
    if kind in (EntryKind.BUY, EntryKind.SELL):
        others["proposal"] = draw(st.sampled_from([None, PROPOSAL]))
        others["cost"] = draw(st.sampled_from([Decimal(0), Decimal("0.01")]))
    return entry(kind, draw(st.one_of(small, amounts)), draw(st.integers(0, 4)), **others)


def end_of_day(booked: Sequence[Entry], last: date) -> tuple[Decimal, dict[str, Decimal]]:
    """Cash and units at the end of a day, summed anew."""
    until = [one for one in booked if one.on <= last]
    with localcontext(prec=100):
        cash = sum((one.cash for one in until), Decimal(0))
        units = {
            symbol: sum((one.units for one in until if one.symbol == symbol), Decimal(0))
            for symbol in "AB"
        }
    return cash, units


def overdrawn(booked: Sequence[Entry]) -> bool:
    """Whether anything is below zero at the end of any day, by definition."""
    ends = [end_of_day(booked, one.on) for one in booked]
    return any(cash < 0 or min(units.values()) < 0 for cash, units in ends)


@laws
@given(st.lists(entries(), max_size=8))
def test_nothing_is_lost_and_nothing_is_overdrawn(booked: list[Entry]) -> None:
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
def test_the_order_of_writing_does_not_matter(orders: tuple[list[Entry], list[Entry]]) -> None:
    booked, shuffled = (Ledger(tuple(order)) for order in orders)
    if overdrawn(booked.entries):
        with pytest.raises(Overdrawn):
            _ = shuffled.positions
        return
    # But for what a rebalance had already dealt with, which depends on what came first that day.
    one, other = (
        attrs.evolve(each.positions, uninvested=Decimal(0)) for each in (booked, shuffled)
    )
    assert one == other


@laws
@given(st.lists(entries(), max_size=8))
def test_a_ledger_grows_entry_by_entry_as_at_once(booked: list[Entry]) -> None:
    assume(not overdrawn(booked))
    grown = ledger()
    by_day = [one for _, of_day in Ledger(tuple(booked)).by_day() for one in of_day]
    for day in sorted({one.on for one in booked}):
        grown = grown.followed_by(one for one in by_day if one.on == day)
    assert grown.positions == Ledger(tuple(booked)).positions
