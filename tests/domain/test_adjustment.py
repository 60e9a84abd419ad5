"""Prices as traded and total-return closes: laws of their adjustment for corporate actions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.adjustment import adjust_backwards, undo_adjustment
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory

DAYS = np.datetime64("2022-01-03") + np.arange(30)
laws = settings(deadline=None, max_examples=60)


def day(row: int) -> date:
    found: date = DAYS[row].item()
    return found


def action(kind: str, row: int, value: object, **others: str) -> CorporateAction:
    return CorporateAction("A", day(row), ActionKind(kind), Decimal(str(value)), **others)


def history(
    closes: Floats, actions: tuple[CorporateAction, ...] = (), *, adjusted: bool = False
) -> PriceHistory:
    bars = [Bars("A", DAYS, closes, adjusted=adjusted), Bars("B", DAYS, np.full(len(DAYS), 7.0))]
    found = MarketSnapshot.of(bars, Actions.of(actions)).history()
    assert found is not None
    return found


def as_traded(moves: list[float], actions: tuple[CorporateAction, ...]) -> Floats:
    """Return closes, (T,), that move, pay and split: each move is that of the total return."""
    closes, at = np.empty(len(moves)), 100.0
    for row, move in enumerate(moves):
        paid = sum(float(a.value) for a in actions if a.ex_day == day(row) and a.kind != "split")
        split = np.prod(
            [float(a.value) for a in actions if a.ex_day == day(row) and a.kind == "split"]
        )
        at = (at * move - paid) / split
        closes[row] = at
    return closes


moves = st.lists(st.floats(0.97, 1.04), min_size=len(DAYS), max_size=len(DAYS))
splits = st.tuples(
    st.just("split"), st.integers(1, 29), st.sampled_from(["2", "4", "0.1", "1.5", "20"])
)
payments = st.tuples(
    st.sampled_from(["dividend", "capital_gain", "return_of_capital"]),
    st.integers(1, 29),
    st.sampled_from(["0.01", "0.1", "0.25"]),
)
plans = st.lists(st.one_of(splits, payments), max_size=5, unique_by=lambda one: one[:2]).map(
    lambda many: tuple(action(*one) for one in many)
)


def holding_that_reinvests(closes: Floats, actions: tuple[CorporateAction, ...]) -> Floats:
    """Return the value on each day, (T,), of a holding that begins with one share."""
    values, units = np.empty(len(closes)), 1.0
    for row, close in enumerate(closes):
        held = units
        for one in actions:
            if one.ex_day == day(row) and one.kind is ActionKind.SPLIT:
                units *= float(one.value)
        for one in actions:
            if one.ex_day == day(row) and one.kind is not ActionKind.SPLIT:
                units += held * float(one.value) / close
        values[row] = units * close
    return values


@laws
@given(moves, plans)
def test_total_returns_are_those_of_a_holding_that_reinvests(
    moved: list[float], actions: tuple[CorporateAction, ...]
) -> None:
    closes = as_traded(moved, actions)
    if closes.min() <= 0.001:
        return
    found = history(closes, actions)
    held = holding_that_reinvests(closes, actions)
    total = found.closes[:, found.column("A")]
    assert total / total[0] == pytest.approx(held / held[0], rel=1e-12)
    np.testing.assert_array_equal(found.traded[:, found.column("A")], closes)


@laws
@given(moves, plans)
def test_restated_closes_with_their_actions_equal_closes_as_traded(
    moved: list[float], actions: tuple[CorporateAction, ...]
) -> None:
    closes = as_traded(moved, actions)
    if closes.min() <= 0.001:
        return
    known = Actions.of(actions).by_symbol.get("A", ())
    restated = adjust_backwards(DAYS, closes, known, lambda one, _: float(one.value))
    if restated.min() <= 0.001:
        return
    raw, found = history(closes, actions), history(restated, actions, adjusted=True)
    assert found.traded == pytest.approx(raw.traded, rel=1e-12)
    assert found.closes == pytest.approx(raw.closes, rel=1e-12)


@laws
@given(moves, plans, st.integers(0, 29))
def test_no_price_depends_on_a_later_action(
    moved: list[float], actions: tuple[CorporateAction, ...], row: int
) -> None:
    closes = as_traded(moved, actions)
    if closes.min() <= 0.001:
        return
    every = history(closes, actions).until(row)
    earlier = tuple(one for one in actions if one.ex_day <= day(row))
    known = history(closes, earlier).until(row)
    np.testing.assert_array_equal(every.closes, known.closes)
    np.testing.assert_array_equal(every.traded, known.traded)


def test_distribution_without_currency_is_in_the_quote_unit_of_its_asset() -> None:
    pence = Instruments({"A": Instrument("A", currency="GBX")})
    closes = np.array([500.0] * 10 + [490.0] * 20)
    bars = [Bars("A", DAYS, closes, adjusted=False)]
    paid = action("dividend", 10, 10)
    found = MarketSnapshot.of(bars, Actions((paid,))).history(PricingTerms("EUR", pence))
    assert found is not None
    assert found.quotes is not None
    assert [one.currency for one in found.quotes.actions] == ["GBX"]
    assert found.last_traded.tolist() == [4.9]
    assert found.closes[-1, 0] / found.closes[0, 0] == pytest.approx(1.0)


def test_quotes_state_which_closes_come_adjusted() -> None:
    closes = np.full(len(DAYS), 5.0)
    for adjusted, expected in ((True, {"A", "B"}), (False, {"B"})):
        quotes = history(closes, adjusted=adjusted).quotes
        assert quotes is not None
        assert quotes.adjusted == expected


def test_undone_adjustment_gives_the_digits_that_were_traded() -> None:
    closes = np.array([50.63, 49.55, 50.88, 11.57, 11.79, 0.00001234])
    actions = [action("dividend", 2, 0.37), action("split", 3, 4), action("dividend", 4, 0.25)]

    def value(one: CorporateAction, _: int) -> float:
        return float(one.value) if one.kind is ActionKind.DIVIDEND else float("nan")

    adjusted = adjust_backwards(DAYS[:6], closes, actions, value)
    assert adjusted[0] != closes[0]
    assert undo_adjustment(DAYS[:6], adjusted, actions, value).tolist() == closes.tolist()
