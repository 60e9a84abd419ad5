"""Splits, new symbols, spin-offs and mergers in a ledger, and cash in several currencies."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import multiply_units
from rebalancer.domain.portfolio.ledger import (
    EMPTY,
    Entry,
    Ledger,
    NotVoidable,
    Overdrawn,
)
from tests.domain.test_ledger import NOW, buy, deposit, entry, in_kind, laws, ledger, sell


def split(ratio: object, symbol: str = "A", day: int = 0) -> Entry:
    return entry("split", 0, day, symbol=symbol, ratio=Decimal(str(ratio)))


def rename(symbol: str, other: str, day: int = 0) -> Entry:
    return entry("rename", 0, day, symbol=symbol, other=other)


def spin_off(symbol: str, other: str, ratio: object, day: int = 0, **more: Any) -> Entry:
    return entry("spin_off", 0, day, symbol=symbol, other=other, ratio=Decimal(str(ratio)), **more)


def exchange(amount: object, currency: str | None, counter: object, into: str | None) -> Entry:
    return entry(
        "exchange",
        amount,
        currency=currency,
        counter_amount=Decimal(str(counter)),
        counter_currency=into,
    )


def test_split_changes_units_at_the_start_of_its_day() -> None:
    booked = ledger(
        in_kind("deposit", "12.5", "A"), sell(40, "A", 100, day=3), split(4, day=3), deposit(1)
    )
    assert booked.positions.holdings == {"A": 10}
    assert booked.positions.cash == 4001


def test_reverse_split_is_exact_for_a_rounded_ratio() -> None:
    assert multiply_units(Decimal(300), Decimal("0.333333")) == 100
    assert multiply_units(Decimal(300), Decimal("0.05")) == 15
    assert multiply_units(Decimal(24), Decimal("1.3333")) == 32
    assert multiply_units(Decimal(12), Decimal("0.083333")) == 1
    assert multiply_units(Decimal(10_000), Decimal("1.0083")) == 10_083
    assert multiply_units(Decimal(1), Decimal("0.125")) == Decimal("0.125")
    assert multiply_units(Decimal(1), Decimal("0.333333")) == Decimal("0.333333333333")


def test_new_symbol_carries_the_position_on() -> None:
    booked = ledger(in_kind("deposit", 5, "A"), rename("A", "B", 2), sell(2, "B", 10, day=2))
    assert booked.positions.holdings == {"B": 3}


def test_trade_recorded_before_the_new_symbol_was_known_counts_for_it() -> None:
    held = in_kind("deposit", 5, "A")
    sold = sell(2, "A", 10, day=3)
    assert ledger(held, sold, rename("A", "B", 2)).positions.holdings == {"B": 3}
    # Recorded afterwards, the old symbol is that of another asset.
    with pytest.raises(Overdrawn, match="holding of A would be -2"):
        _ = ledger(held, rename("A", "B", 2), sold).positions


def test_symbols_that_change_twice_are_followed() -> None:
    booked = ledger(
        in_kind("deposit", 5, "A"),
        sell(1, "A", 10, day=4),
        rename("B", "C", 3),
        rename("A", "B", 1),
    )
    assert booked.positions.holdings == {"C": 4}


def test_spin_off_is_per_unit_before_a_split_of_the_same_day() -> None:
    booked = ledger(in_kind("deposit", 10, "A"), split(2, day=1), spin_off("A", "S", "0.25", 1))
    assert booked.positions.holdings == {"A": 20, "S": Decimal("2.5")}
    assert booked.symbols == {"A", "S"}


def test_merger_pays_units_and_money() -> None:
    merged = entry(
        "merger",
        30,
        1,
        symbol="A",
        other="B",
        ratio=Decimal("0.5"),
        cost_share=Decimal("0.9"),
        currency="USD",
    )
    positions = ledger(in_kind("deposit", 10, "A"), in_kind("deposit", 1, "B"), merged).positions
    assert positions.holdings == {"B": 6}
    assert (positions.cash, positions.foreign_cash) == (0, {"USD": 30})


def test_dividend_is_credited_without_withheld_tax() -> None:
    paid = entry("dividend", 20, symbol="A", currency="USD", withheld=Decimal("3"))
    assert (paid.cash, paid.reversal(recorded=NOW).cash) == (17, -17)
    positions = ledger(paid, entry("interest", 5), entry("tax", 2)).positions
    assert (positions.cash, positions.foreign_cash) == (3, {"USD": 17})


def test_exchange_moves_money_between_currencies() -> None:
    booked = ledger(deposit(1000), exchange(400, None, 440, "USD"), exchange(40, "USD", 36, None))
    assert booked.positions.cash == 636
    assert booked.positions.foreign_cash == {"USD": 400}
    assert booked.positions.uninvested == 600
    bought = booked.extended_by([buy(4, "A", 100, currency="USD")])
    assert (bought.positions.foreign_cash, bought.positions.holdings) == ({}, {"A": 4})


def test_cash_in_each_currency_must_suffice() -> None:
    booked = ledger(deposit(1000), exchange(400, None, 440, "USD"))
    with pytest.raises(Overdrawn, match=r"cash in USD would be -60 at the end of 2022-01-04"):
        booked.extended_by([buy(5, "A", 100, day=1, currency="USD")])
    spent = booked.extended_by([buy(4, "A", 100, day=1, currency="USD")])
    with pytest.raises(NotVoidable, match=r"exchange of 400 .* void the purchase of 4 A"):
        spent.check_voidable(booked.entries[1])


def test_split_that_later_sales_need_cannot_be_voided_before_them() -> None:
    four = split(4, day=1)
    booked = ledger(in_kind("deposit", 5, "A"), four, sell(20, "A", 1, day=2))
    with pytest.raises(NotVoidable, match=r"the split of A of 2022-01-04 .* void the sale of 20 A"):
        booked.check_voidable(four)


def test_reversal_by_its_owner_does_not_book_the_action() -> None:
    booked = attrs.evolve(split(2), action="A 2022-01-03 split")
    assert booked.reversal(recorded=NOW).action is None
    assert booked.reversal(recorded=NOW, corrects=True).action == booked.action


@pytest.mark.parametrize(
    ("field", "kind", "values"),
    [
        ("ratio", "split", {"symbol": "A"}),
        ("ratio", "split", {"symbol": "A", "ratio": Decimal(0)}),
        ("symbol", "split", {"ratio": Decimal(2)}),
        ("amount", "split", {"symbol": "A", "ratio": Decimal(2), "amount": 5}),
        ("quantity", "split", {"symbol": "A", "ratio": Decimal(2), "quantity": 5}),
        ("other", "split", {"symbol": "A", "ratio": Decimal(2), "other": "B"}),
        ("other", "rename", {"symbol": "A"}),
        ("other", "rename", {"symbol": "A", "other": "A"}),
        ("ratio", "rename", {"symbol": "A", "other": "B", "ratio": Decimal(1)}),
        ("other", "merger", {"symbol": "A", "ratio": Decimal(1)}),
        ("cost_share", "split", {"symbol": "A", "ratio": Decimal(2), "cost_share": Decimal(1)}),
        (
            "cost_share",
            "spin_off",
            {"symbol": "A", "other": "B", "ratio": Decimal(2), "cost_share": Decimal("1.1")},
        ),
        ("symbol", "return_of_capital", {"amount": 5}),
        ("withheld", "dividend", {"amount": 5, "withheld": Decimal(6)}),
        ("withheld", "deposit", {"amount": 5, "withheld": Decimal(1)}),
        ("cost_basis", "deposit", {"amount": 5, "cost_basis": Decimal(1)}),
        ("currency", "deposit", {"amount": 5, "currency": "usd"}),
        ("counter_amount", "exchange", {"amount": 5, "counter_currency": "USD"}),
        ("counter_amount", "deposit", {"amount": 5, "counter_amount": Decimal(5)}),
        ("counter_currency", "exchange", {"amount": 5, "counter_amount": Decimal(5)}),
        ("ratio", "deposit", {"amount": 5, "ratio": Decimal(2)}),
        (
            "symbol",
            "exchange",
            {"amount": 5, "symbol": "A", "counter_amount": Decimal(5), "counter_currency": "USD"},
        ),
    ],
)
def test_entry_that_contradicts_its_kind_is_rejected(
    field: str, kind: str, values: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        entry(kind, **{"amount": 0, **values})
    assert refused.value.field == field


money = st.integers(1, 50).map(Decimal)
codes = st.sampled_from([None, "USD", "GBP"])


@st.composite
def changes(draw: st.DrawFn) -> Entry:
    """Draw entries of every kind over three days, three assets and three currencies."""
    kind = draw(
        st.sampled_from(
            ["deposit", "in_kind", "buy", "sell", "split", "spin_off", "dividend", "exchange"]
        )
    )
    day, amount = draw(st.integers(0, 2)), draw(money)
    symbol, currency = draw(st.sampled_from("AB")), draw(codes)
    match kind:
        case "deposit":
            return entry(kind, amount * 10, day, currency=currency)
        case "in_kind":
            return in_kind("deposit", amount, symbol, day)
        case "buy" | "sell":
            return entry(
                kind, amount, day, symbol=symbol, quantity=amount, price=1, currency=currency
            )
        case "split":
            return split(draw(st.sampled_from(["2", "0.5", "1.5", "3"])), symbol, day)
        case "spin_off":
            return spin_off(symbol, "C", draw(st.sampled_from(["1", "0.1"])), day)
        case "dividend":
            return entry(kind, amount, day, symbol=symbol, currency=currency, withheld=Decimal(1))
        case _:
            into = draw(codes.filter(lambda code: code != currency))
            moved = exchange(amount, currency, amount * 2, into)
            return attrs.evolve(moved, on=entry("deposit", 1, day).on)


def outcome(booked: Ledger) -> object:
    """Return the positions without what depends on the order within a day; None if overdrawn."""
    try:
        return attrs.evolve(booked.positions, uninvested=Decimal(0))
    except Overdrawn:
        return None


def end_units(booked: list[Entry]) -> dict[str, Decimal]:
    """Return units after all days, by definition: each lot grows with the splits that follow."""
    units = dict.fromkeys("ABC", Decimal(0))
    for day in sorted({one.on for one in booked}):
        today = [one for one in booked if one.on == day]
        for one in today:
            if one.kind == "spin_off":
                assert one.symbol and one.ratio
                units["C"] += units[one.symbol] * one.ratio
        for one in today:
            if one.kind == "split":
                assert one.symbol and one.ratio
                units[one.symbol] *= one.ratio
        for one in today:
            if one.quantity and one.symbol:
                units[one.symbol] += one.units
    return units


@laws
@given(st.lists(changes(), max_size=8).flatmap(lambda b: st.tuples(st.just(b), st.permutations(b))))
def test_order_of_recording_does_not_matter(orders: tuple[list[Entry], list[Entry]]) -> None:
    one, other = (outcome(Ledger(tuple(order))) for order in orders)
    assert one == other


@laws
@given(st.lists(changes(), max_size=8))
def test_money_and_units_are_conserved_in_each_currency(booked: list[Entry]) -> None:
    assume(outcome(Ledger(tuple(booked))) is not None)
    positions = Ledger(tuple(booked)).positions
    with localcontext(prec=60):
        for code in (None, "USD", "GBP"):
            total = sum(
                (change for one in booked for at, change in one.cash_changes if at == code),
                Decimal(0),
            )
            held = positions.cash if code is None else positions.foreign_cash.get(code, 0)
            assert held == total >= 0
        expected = {symbol: units for symbol, units in end_units(booked).items() if units}
    assert positions.holdings == expected
    assert 0 <= positions.uninvested <= positions.cash


@laws
@given(st.lists(changes(), min_size=1, max_size=8), st.integers(0, 7), st.booleans())
def test_void_entry_counts_as_if_it_had_never_been(
    booked: list[Entry], at: int, corrects: bool
) -> None:
    mistake = booked[at % len(booked)]
    others = Ledger(tuple(one for one in booked if one is not mistake))
    reversal = mistake.reversal(recorded=NOW, corrects=corrects)
    assert outcome(Ledger((*booked, reversal))) == outcome(others)
    with_both = Ledger(tuple(booked))
    assume(outcome(with_both) is not None)
    try:
        with_both.check_voidable(mistake)
    except NotVoidable:
        assert outcome(others) is None
        needed = others.first_overdraft()
        assert needed is not None and needed is not mistake
    else:
        assert outcome(others) is not None


def test_empty_ledger_has_no_foreign_cash() -> None:
    assert EMPTY.foreign_cash == {}
