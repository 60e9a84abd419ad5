"""Proposals work around assets without a current price, and name them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.rebalancing.limits import find_breaches
from rebalancer.domain.rebalancing.model import Failure, Proposal, ReasonCode
from rebalancer.domain.rebalancing.proposal import propose, propose_book
from tests.builders import CLASSES, a_context, a_portfolio, portfolios, varied_prices

NAN = np.nan
DAYS = np.busday_offset(np.datetime64("2024-01-01"), np.arange(30), roll="forward")


def market(**columns: object) -> PriceHistory:
    table = np.column_stack([np.broadcast_to(each, len(DAYS)) for each in columns.values()])
    return history_of(list(columns), DAYS, np.array(table, dtype=np.float64))


def until(row: int, price: float) -> np.ndarray:
    """A constant price whose last close is in a row."""
    closes = np.full(len(DAYS), price)
    closes[row + 1 :] = NAN
    return closes


MARKET = market(A=10.0, B=20.0, OLD=until(5, 50.0), NEVER=NAN)


def ask(holdings: dict[str, object], targets: dict[str, float], **fields: object) -> Proposal:
    rule = str(fields.pop("rule", "monthly"))
    prices = fields.pop("market", MARKET)
    assert isinstance(prices, PriceHistory)
    context = a_context(prices, rule, costs=0.0)
    return propose(a_portfolio(holdings, targets, **fields), context)  # type: ignore[arg-type]


def orders(proposal: Proposal) -> dict[str, Decimal]:
    signs = {"buy": 1, "sell": -1}
    return {one.symbol: signs[one.side.value] * one.quantity for one in proposal.orders}


def test_portfolio_without_a_withheld_asset_knows_nothing_of_it() -> None:
    proposal = ask({}, {"A": 0.5, "B": 0.5}, cash=1000)
    assert orders(proposal) == {"A": 50, "B": 25}
    assert proposal.notes == ()


def test_holding_of_a_withheld_asset_stays_and_the_targets_share_the_rest() -> None:
    # 10 OLD at 50 are half of 1,000; A and B get a quarter each.
    proposal = ask({"OLD": 10}, {"A": 0.5, "B": 0.5}, cash=500)
    assert orders(proposal) == {"A": 25, "B": 12}
    (kept,) = proposal.not_traded
    assert (kept.symbol, kept.reason_code) == ("OLD", ReasonCode.WITHHELD)
    assert kept.reason == "Not tradable: no close since 2024-01-08."
    assert proposal.weights_before["OLD"] == pytest.approx(0.5)
    assert proposal.notes == (
        "OLD is not tradable (no close since 2024-01-08): its holding stays, at its last price of "
        "2024-01-08.",
    )


def test_missing_part_of_a_withheld_target_stays_in_cash() -> None:
    # OLD is 20% of 1,000 and its target 60%; B has its 40%.
    proposal = ask({"OLD": 4}, {"OLD": 0.6, "B": 0.4}, cash=800)
    assert orders(proposal) == {"B": 20}
    assert proposal.cash_after == 400
    assert "what its target lacks stays in cash" in proposal.notes[0]


def test_target_that_has_never_had_a_price_is_not_bought() -> None:
    proposal = ask({}, {"NEVER": 0.5, "A": 0.5}, cash=1000)
    assert orders(proposal) == {"A": 50}
    assert proposal.not_traded[0].reason == "Not tradable: no close yet."
    assert proposal.notes == (
        "NEVER is not tradable (no close yet): what its target lacks stays in cash.",
    )


def test_holding_that_has_never_had_a_price_cannot_be_valued() -> None:
    with pytest.raises(InvalidRequest) as failed:
        ask({"NEVER": 1, "A": 1}, {"A": 1.0})
    assert (failed.value.field, failed.value.code) == ("holdings.NEVER", "no_price_yet")
    assert "add its prices, or choose a day that has them" in str(failed.value)
    assert orders(ask({"NEVER": 0}, {"A": 1.0}, cash=10)) == {"A": 1}


@pytest.mark.parametrize("rule", ["band", "inverse_volatility:window=5", "trend:window=5"])
def test_every_policy_decides_on_the_other_assets(rule: str) -> None:
    walk = np.cumsum(np.tile([1.0, -1.0], 15))
    moving = market(A=10 + walk, B=20 + walk, OLD=until(5, 50.0))
    proposal = ask(
        {"OLD": 10}, {"A": 0.4, "B": 0.3, "OLD": 0.3}, cash=500, rule=rule, market=moving
    )
    assert {one.symbol for one in proposal.orders} <= {"A", "B"}
    assert not any("closes of every targeted asset" in note for note in proposal.notes)
    assert proposal.weights_after["OLD"] == proposal.weights_before["OLD"]
    assert sum(proposal.weights_after.values()) <= 1 + 1e-9


def test_withdrawal_is_not_paid_by_selling_what_is_withheld() -> None:
    proposal = ask({"OLD": 10, "A": 50}, {"A": 1.0}, flow=-400)
    assert orders(proposal) == {"A": -40}
    with pytest.raises(
        InvalidRequest, match=r"selling what is not tradable \(OLD\); withdraw at least that"
    ):
        ask({"OLD": 10, "A": 50}, {"A": 1.0}, flow=-600)
    with pytest.raises(InvalidRequest, match=r"paid out after costs; withdraw at least that"):
        propose(a_portfolio({"A": 50}, {"A": 1.0}, flow=-500), a_context(MARKET, costs=10.0))


def test_unit_that_changed_moves_no_orders() -> None:
    closes = np.where(np.arange(30) < 27, 500.0, 5.0)
    pence = market(P=closes, Q=900.0)
    proposal = ask({"P": 90, "Q": 50}, {"P": 0.5, "Q": 0.5}, market=pence)
    assert proposal.orders == ()
    assert proposal.not_traded[0].reason.startswith("Not tradable: fell from 500.0 to 5.0 on")
    accepted = history_of(
        ["P", "Q"], DAYS, np.column_stack([closes, np.full(30, 900.0)]), accepted="P"
    )
    assert orders(ask({"P": 90, "Q": 50}, {"P": 0.5, "Q": 0.5}, market=accepted))["P"] > 4000


def test_old_and_doubtful_closes_are_named() -> None:
    halted = market(
        A=10.0,
        B=until(25, 20.0),
        C=until(25, 20.0),
        D=until(27, 20.0),
        S=np.where(np.arange(30) < 20, 30.0, 10.0),
    )
    targets = {"A": 0.4, "B": 0.1, "C": 0.1, "D": 0.1, "S": 0.3}
    proposal = ask({}, targets, cash=1000, market=halted)
    assert orders(proposal) == {"A": 40, "B": 5, "C": 5, "D": 5, "S": 30}
    assert proposal.notes == (
        "S fell from 30.0 to 10.0 on 2024-01-29, a factor near 3: a split may not be adjusted.",
        "B, C have no close on 2024-02-09; their closes of 2024-02-05 are used.",
        "D has no close on 2024-02-09; its close of 2024-02-07 is used.",
    )
    assert ask({}, {"A": 1.0}, cash=100, market=halted).notes == ()


def test_age_of_the_last_close_is_noted_from_six_weekdays_on() -> None:
    last = DAYS[-1].item()  # Friday, 2024-02-09

    def notes(asked: date | None) -> tuple[str, ...]:
        context = attrs.evolve(a_context(MARKET), asked=asked)
        return propose(a_portfolio({}, {"A": 1.0}, cash=100), context).notes

    assert notes(None) == notes(last) == notes(date(2024, 2, 16)) == ()
    assert notes(date(2024, 2, 20)) == (
        "The last close before 2024-02-20 is of 2024-02-09, 7 weekdays earlier.",
    )
    contexts = [attrs.evolve(a_context(MARKET), asked=day) for day in (last, date(2024, 2, 20))]
    assert contexts[0].digest == a_context(MARKET).digest != contexts[1].digest


def test_limits_of_a_profile_are_those_of_the_given_targets() -> None:
    mandate = a_portfolio({}, {"OLD": 0.9, "A": 0.1}, profile="balanced")
    assert "maximum weight" in find_breaches(mandate, MARKET, CLASSES)


VARIED = varied_prices()
ENDED = history_of(
    VARIED.symbols,
    VARIED.dates,
    np.where((np.arange(300) >= 270)[:, None] & (np.arange(10) % 3 == 0), NAN, VARIED.closes),
)
"""A, D, G and J have ended."""


@given(st.lists(portfolios(VARIED), min_size=1, max_size=4), st.sampled_from(["band", "monthly"]))
@settings(deadline=None, max_examples=80)
def test_withheld_assets_are_never_traded_and_change_no_other_portfolio(
    book: list[object], rule: str
) -> None:
    context = a_context(ENDED, rule)
    made = propose_book(book, context)  # type: ignore[arg-type]
    for portfolio, one in zip(book, made, strict=True):
        alone = propose_book([portfolio], context)[0]  # type: ignore[list-item]
        assert repr(alone) == repr(one)
        if isinstance(one, Failure):
            continue
        assert not {order.symbol for order in one.orders} & set(ENDED.withheld)
        assert one.cash_after >= 0
        for symbol in set(portfolio.symbols) & set(ENDED.withheld):  # type: ignore[attr-defined]
            assert any(note.startswith(f"{symbol} is not tradable") for note in one.notes)
