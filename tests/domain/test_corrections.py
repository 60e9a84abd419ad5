"""Void entries, and trades that fill proposals in parts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal, localcontext
from uuid import UUID

import attrs
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rebalancer.domain.backtest.track_record import TrackRecord, measure_track_record
from rebalancer.domain.portfolio.ledger import EMPTY, Entry, Ledger, NotVoidable, void_id
from tests.builders import prices
from tests.domain.test_ledger import (
    FIRST,
    NOW,
    PROPOSAL,
    buy,
    deposit,
    entries,
    entry,
    laws,
    ledger,
    overdrawn,
    sell,
    withdrawal,
)

LATER = NOW + timedelta(hours=1)
MARKET = prices(assets=2, days=5, start=FIRST)


def void(booked: Ledger, one: Entry, *, partial: bool = False) -> Ledger:
    booked.check_voidable(one)
    return booked.extended_by([one.reversal(recorded=LATER, partial=partial)])


def test_void_purchase_gives_back_its_cost() -> None:
    mistyped = buy(100, "K", "5.2", cost=9)
    booked = void(ledger(deposit(10_000), mistyped), mistyped)
    booked = booked.extended_by([buy(100, "K", "52", cost=9)])
    assert booked.positions.cash == 10_000 - 5_200 - 9
    assert booked.positions.holdings == {"K": 100}
    assert len(booked.entries) == 4 and len(booked.effective) == 2

    record = measure(
        Ledger(tuple(attrs.evolve(one, symbol=one.symbol and "A") for one in booked.entries))
    )
    assert record.costs == 9


def test_reversal_is_linked_and_has_the_opposite_effect() -> None:
    sold = sell(3, "A", 20, cost=1, proposal=PROPOSAL)
    reversal = sold.reversal(recorded=LATER, note="slip")
    assert (reversal.voids, reversal.id, reversal.note) == (sold.id, void_id(sold.id), "slip")
    assert (reversal.on, reversal.proposal) == (sold.on, PROPOSAL)
    assert (sold.cash, reversal.cash) == (59, -59)
    assert (sold.units, reversal.units) == (-3, 3)
    paid = deposit(7)
    assert (paid.flow, paid.reversal(recorded=LATER).flow) == (7, -7)
    assert paid.reversal(recorded=LATER).cash == -7


def test_only_entry_of_a_wrong_day_leaves_an_empty_ledger() -> None:
    mistyped = deposit(100, day=-700)
    assert void(ledger(mistyped), mistyped).positions == EMPTY


def test_entry_that_others_need_cannot_be_voided_before_them() -> None:
    paid, bought, sold = deposit(100), buy(5, "A", 12, day=1), sell(5, "A", 12, day=2)
    booked = ledger(paid, bought, sold)
    with pytest.raises(NotVoidable) as refused:
        booked.check_voidable(paid)
    assert str(refused.value) == (
        "the deposit of 100 of 2022-01-03 cannot be voided: without it cash would be -60 at the "
        "end of 2022-01-04; void the purchase of 5 A of 2022-01-04 first"
    )
    with pytest.raises(NotVoidable, match=r"holding of A would be -5 .* void the sale of 5 A of"):
        booked.check_voidable(bought)
    for one in (sold, bought, paid):
        booked = void(booked, one)
    assert booked.positions == EMPTY


def test_entry_is_voided_once_and_a_reversal_never() -> None:
    fee = entry("fee", 5)
    booked = void(ledger(deposit(100), fee), fee)
    with pytest.raises(NotVoidable, match="is void already"):
        booked.check_voidable(fee)
    with pytest.raises(NotVoidable, match="voids another one"):
        booked.check_voidable(booked.entries[-1])


def test_trades_of_a_proposal_with_open_orders_spend_the_deposit_as_far_as_they_cost() -> None:
    part = buy(4, "A", 10, day=1, cost=1, proposal=PROPOSAL, partial=True)
    rest = buy(3, "B", 10, day=2, proposal=PROPOSAL)
    open_ = ledger(deposit(100), part)
    assert (open_.positions.uninvested, open_.open_proposals) == (59, {PROPOSAL})
    assert open_.positions.last_rebalance == FIRST + timedelta(days=1)
    assert open_.fills(PROPOSAL) == {"A": 4}
    filled = open_.extended_by([rest])
    assert (filled.positions.uninvested, filled.open_proposals) == (0, frozenset())
    # Void, the last trade leaves an open order; recorded again, it does not.
    reopened = void(filled, rest, partial=True)
    assert reopened.positions == open_.positions
    again = reopened.extended_by([buy(3, "B", 10, day=2, proposal=PROPOSAL)])
    assert again.positions == filled.positions
    assert again.fills(PROPOSAL) == {"A": 4, "B": 3}


def measure(booked: Ledger) -> TrackRecord:
    return measure_track_record(booked, {"A": 0.5, "B": 0.3}, MARKET)


@st.composite
def sequences(draw: st.DrawFn) -> tuple[Ledger, list[Entry]]:
    """Draw a ledger with voids, and the entries that count in it."""
    booked, left = ledger(), list[Entry]()
    for one in draw(st.lists(entries(), min_size=1, max_size=8)):
        if overdrawn([*left, one]):
            continue
        booked, left = booked.extended_by([one]), [*left, one]
        if draw(st.booleans()):
            mistake = draw(st.sampled_from(left))
            others = [other for other in left if other is not mistake]
            if overdrawn(others):
                with pytest.raises(NotVoidable):
                    booked.check_voidable(mistake)
            else:
                booked, left = void(booked, mistake), others
    return booked, left


@laws
@given(sequences())
def test_money_and_shares_are_conserved_over_entries_and_voids(
    drawn: tuple[Ledger, list[Entry]],
) -> None:
    booked, left = drawn
    assert list(booked.effective) == left
    with localcontext(prec=60):
        assert booked.positions.cash == sum((one.cash for one in booked.entries), Decimal(0))
        held = {
            symbol: sum((one.units for one in booked.entries if one.symbol == symbol), Decimal(0))
            for symbol in "AB"
        }
    assert booked.positions.holdings == {symbol: units for symbol, units in held.items() if units}


@laws
@given(st.lists(entries(), min_size=1, max_size=6), entries(), st.data())
def test_void_and_recorded_again_equals_never_having_been_mistaken(
    booked: list[Entry], mistake: Entry, data: st.DataObject
) -> None:
    right = Ledger(tuple(booked))
    at = data.draw(st.integers(0, len(booked) - 1))
    wrong = [*booked[:at], mistake, *booked[at + 1 :]]
    before = [one for one in booked if one is not booked[at]]
    assume(not overdrawn(booked) and not overdrawn(wrong) and not overdrawn(before))
    corrected = void(Ledger(tuple(wrong)), mistake).extended_by([booked[at]])

    expected = Ledger((*before, booked[at]))  # which orders entries of one day as the correction
    assert corrected.positions == expected.positions
    assert attrs.evolve(corrected.positions, uninvested=EMPTY.uninvested) == attrs.evolve(
        right.positions, uninvested=EMPTY.uninvested
    )
    one, other = measure(corrected), measure(expected)
    assert (one.gain, one.costs, one.dividends) == (other.gain, other.costs, other.dividends)
    for line in ("portfolio", "no_rebalancing", "benchmark"):
        found, wanted = getattr(one, line), getattr(other, line)
        np.testing.assert_array_equal(found.values, wanted.values)
        np.testing.assert_array_equal(found.index, wanted.index)
        assert (found.twr, found.xirr, found.volatility) == (
            wanted.twr,
            wanted.xirr,
            wanted.volatility,
        )
    assert one.dates[0] == other.dates[0]


def test_proposal_of_unrelated_entries_is_not_open() -> None:
    other = UUID(int=5)
    booked = ledger(deposit(9, day=0), buy(1, "A", 2, proposal=other), withdrawal(1))
    assert booked.open_proposals == frozenset()
    assert booked.fills(PROPOSAL) == {}
