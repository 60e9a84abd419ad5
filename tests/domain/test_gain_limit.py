"""Limits on realised gains, and sales that prefer losses: examples by hand, then laws."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.lots.sellable import SellableLot, UnitCosts
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.portfolio.target_groups import TargetGroup, TargetTree
from rebalancer.domain.rebalancing.model import Failure, Proposal, ReasonCode, Side
from rebalancer.domain.rebalancing.proposal import propose, propose_book
from tests.builders import a_context, a_portfolio, flat_prices, portfolios, varied_prices
from tests.domain.test_proposals import Audit
from tests.reasons import swinging

FLAT = flat_prices({"A": 10.0, "B": 10.0, "C": 10.0})
HALVES = {"A": 0.5, "C": 0.5}


def proposal(portfolio: Portfolio, rule: str = "monthly", costs: float = 0.0) -> Proposal:
    return propose(portfolio, a_context(FLAT, rule, costs=costs))


def sold(made: Proposal) -> dict[str, Decimal]:
    return {one.symbol: one.quantity for one in made.orders if one.side is Side.SELL}


def bought(made: Proposal) -> dict[str, Decimal]:
    return {one.symbol: one.quantity for one in made.orders if one.side is Side.BUY}


def net_gain(made: Proposal) -> Decimal:
    return sum((one.gain for one in made.sale_gains if one.gain is not None), Decimal(0))


def test_sale_stops_where_the_limit_is_reached() -> None:
    # 100 A at 10 that cost 4 each: 50 are to be sold, and each gains 6. A limit of 100 allows 16.
    one = a_portfolio({"A": 100}, HALVES, lots={"A": [(100, 400)]}, max_realised_gain=100)
    made = proposal(one)
    assert sold(made) == {"A": 16}
    assert bought(made) == {"C": 16}
    assert [(one.symbol, one.gain) for one in made.sale_gains] == [("A", Decimal("96.00"))]
    (sale,) = (order for order in made.orders if order.side is Side.SELL)
    assert "Selling 34 more A would realise 204.00 USD; the limit is 100.00 USD." in sale.reason
    assert "The sales realise 96.00 USD net of losses; the limit is 100.00 USD." in made.notes


def test_gain_of_exactly_the_limit_is_allowed() -> None:
    one = a_portfolio({"A": 100}, HALVES, lots={"A": [(100, 400)]}, max_realised_gain=96)
    assert sold(proposal(one)) == {"A": 16}
    one = attrs.evolve(
        one, preferences=attrs.evolve(one.preferences, max_realised_gain=Decimal("95.99"))
    )
    assert sold(proposal(one)) == {"A": 15}


def test_costs_of_trading_reduce_the_gain() -> None:
    # At 1%, a share brings 9.90 and gains 5.90: 17 of them gain 100.30, and 16 gain 94.40.
    one = a_portfolio({"A": 100}, HALVES, lots={"A": [(100, 400)]}, max_realised_gain="100.30")
    made = proposal(one, costs=100)
    assert sold(made) == {"A": 17}
    assert net_gain(made) == Decimal("100.30")


def test_limit_of_zero_leaves_gains_unrealised_and_names_the_reason() -> None:
    one = a_portfolio({"A": 100}, HALVES, lots={"A": [(100, 400)]}, max_realised_gain=0)
    made = proposal(one)
    assert not made.orders
    reasons = {left.symbol: (left.reason_code, left.reason) for left in made.not_traded}
    assert reasons == {
        "A": (
            ReasonCode.GAIN_LIMIT,
            "At 100.0%, aiming at 50.0%; selling 50 A would realise 300.00 USD; the limit is "
            "0.00 USD.",
        ),
        "C": (
            ReasonCode.GAIN_LIMIT,
            "At 0.0%, aiming at 50.0%; the limit of 0.00 USD on realised gains leaves too little "
            "money for it.",
        ),
    }


def test_losses_of_the_same_proposal_offset_gains() -> None:
    # 25 A gain 6 each, 25 B lose 4 each: 150 - 100 = 50.
    lots = {"A": [(50, 200)], "B": [(50, 700)]}
    one = a_portfolio(
        {"A": 50, "B": 50}, {"A": 0.25, "B": 0.25, "C": 0.5}, lots=lots, max_realised_gain=50
    )
    made = proposal(one)
    assert sold(made) == {"A": 25, "B": 25}
    assert net_gain(made) == 50
    one = attrs.evolve(one, preferences=attrs.evolve(one.preferences, max_realised_gain=Decimal(0)))
    made = proposal(one)  # 16 A gain 96, which the losses of B offset
    assert sold(made) == {"A": 16, "B": 25}
    assert net_gain(made) == -4


def test_sales_with_the_largest_gain_for_their_money_give_way_first() -> None:
    # 25 A would gain 6 each, 25 B 2 each. 60 allow all of B, and 1 of A.
    lots = {"A": [(50, 200)], "B": [(50, 400)]}
    one = a_portfolio(
        {"A": 50, "B": 50}, {"A": 0.25, "B": 0.25, "C": 0.5}, lots=lots, max_realised_gain=60
    )
    assert sold(proposal(one)) == {"A": 1, "B": 25}


def test_lots_are_used_in_their_order() -> None:
    # The first 20 gain 8 each, the next 30 lose 5 each: 50 sold gain 160 - 150 = 10.
    lots = {"A": [(20, 40), (80, 1200)]}
    one = a_portfolio({"A": 100}, HALVES, lots=lots, max_realised_gain=10)
    assert sold(proposal(one)) == {"A": 50}
    # With a limit of 9, any fewer units gain more, up to where the first lot alone gains 8.
    one = a_portfolio({"A": 100}, HALVES, lots=lots, max_realised_gain=9)
    assert sold(proposal(one)) == {"A": 1}


def test_withdrawal_comes_before_the_limit_with_a_reason() -> None:
    one = a_portfolio(
        {"A": 100}, {"A": 1.0}, flow=-200, lots={"A": [(100, 400)]}, max_realised_gain=50
    )
    made = proposal(one)
    assert sold(made) == {"A": 20}
    assert net_gain(made) == 120
    assert (
        "Realises 120.00 USD: the withdrawal comes before the limit of 50.00 USD on realised gains."
        in made.orders[0].reason
    )
    assert made.notes[-1] == (
        "The sales realise 120.00 USD net of losses; the limit is 50.00 USD, because the "
        "withdrawal comes first."
    )


def test_everything_can_be_withdrawn_whatever_the_limit() -> None:
    one = a_portfolio(
        {"A": 100}, {"A": 1.0}, flow=-1000, lots={"A": [(100, 400)]}, max_realised_gain=0
    )
    assert sold(proposal(one)) == {"A": 100}


def test_maximum_weight_comes_before_the_limit() -> None:
    # 50 A are above the target, 30 of them above the maximum weight of 70%.
    one = a_portfolio(
        {"A": 100}, HALVES, max_weight=0.7, lots={"A": [(100, 400)]}, max_realised_gain=0
    )
    made = proposal(one)
    assert sold(made) == {"A": 30}
    (sale,) = (order for order in made.orders if order.side is Side.SELL)
    assert sale.reason.endswith(
        "Selling 20 more A would realise 120.00 USD; the limit is 0.00 USD."
    )
    assert made.notes[-1].endswith(
        "the limit is 0.00 USD, because a debit, the cash reserve or a limit on weights comes "
        "first."
    )


def test_maximum_of_a_group_comes_before_the_limit() -> None:
    # 100 A are all of it; the group may have 60%, and the target is half.
    groups = (
        TargetGroup("Growth", 0.5, assets={"A": 1.0}, max_weight=0.6),
        TargetGroup("Rest", 0.5, assets={"C": 1.0}),
    )
    one = a_portfolio({"A": 100}, HALVES, lots={"A": [(100, 400)]}, max_realised_gain=0)
    made = proposal(attrs.evolve(one, target_groups=TargetTree(groups)))
    assert sold(made) == {"A": 40}
    assert any("a limit on weights comes first" in note for note in made.notes)


def test_reserve_comes_before_the_limit() -> None:
    one = a_portfolio(
        {"A": 100}, HALVES, cash_reserve=100, lots={"A": [(100, 400)]}, max_realised_gain=0
    )
    made = proposal(one)
    assert sold(made) == {"A": 10}
    assert made.cash_after == 100


def test_withdrawal_prefers_losses_within_the_band() -> None:
    # 200 of 1,000 are withdrawn: each aims at 400, and the band of 5% of 800 lets B fall to 360.
    lots = {"A": [(50, 200)], "B": [(50, 700)]}
    both = {"A": 0.5, "B": 0.5}
    plain = a_portfolio({"A": 50, "B": 50}, both, flow=-200, band=0.05)
    assert sold(proposal(plain, "band")) == {"A": 10, "B": 10}
    asking = attrs.evolve(
        a_portfolio({"A": 50, "B": 50}, both, flow=-200, band=0.05, lots=lots),
        preferences=plain.preferences,
    )
    assert sold(proposal(asking, "band")) == {"A": 6, "B": 14}


def test_sales_without_a_band_prefer_the_smaller_gain_among_excesses() -> None:
    # Not due: only the withdrawal is raised. A is 200 above its aim, B 100; the gain of B is less.
    lots = {"A": [(60, 120)], "B": [(40, 360)]}
    one = a_portfolio(
        {"A": 60, "B": 40, "C": 20},
        {"A": 0.4, "B": 0.3, "C": 0.3},
        flow=-100,
        lots={**lots, "C": [(20, 200)]},
        last_rebalance=FLAT.last_date,
    )
    # V is 1,100: A aims at 440, B at 330. The withdrawal takes all of B's excess of 70, then A.
    assert sold(proposal(one)) == {"A": 3, "B": 7}


def test_year_counts_what_is_realised_already() -> None:
    one = a_portfolio(
        {"A": 100},
        HALVES,
        lots={"A": [(100, 400)]},
        gain_this_year=400,
        max_realised_gain=100,
        max_realised_gain_year=430,
    )
    made = proposal(one)
    assert sold(made) == {"A": 5}
    assert made.notes[-1] == (
        "The sales realise 30.00 USD net of losses; the limit is 430.00 USD for 2022, of which "
        "30.00 USD are left."
    )
    assert not proposal(attrs.evolve(one, gain_this_year=Decimal(500))).orders
    losses = attrs.evolve(one, gain_this_year=Decimal(-100))
    assert sold(proposal(losses)) == {"A": 16}


def test_unknown_cost_counts_as_zero_and_is_stated() -> None:
    one = a_portfolio({"A": 100}, HALVES, lots={"A": [(100, None)]}, max_realised_gain=35)
    made = proposal(one)
    assert sold(made) == {"A": 3}
    assert made.sale_gains[0].gain is None
    assert made.notes[-1] == (
        "The cost of some units of A is unknown; for the limit on realised gains it counts as 0."
    )


def test_minimum_trade_holds_for_sales_that_are_reduced() -> None:
    one = a_portfolio(
        {"A": 100}, HALVES, lots={"A": [(100, 400)]}, max_realised_gain=100, min_trade=200
    )
    assert not proposal(one).orders


def test_limit_without_lots_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"100\.00 USD on realised gains needs the cost") as at:
        proposal(a_portfolio({"A": 100}, HALVES, max_realised_gain=100))
    assert (at.value.field, at.value.code) == ("preferences.max_realised_gain", "lots_needed")
    made = proposal(a_portfolio({}, HALVES, cash=100, max_realised_gain=100))
    assert bought(made) == {"A": 5, "C": 5}


@pytest.mark.parametrize("units", [99, 101])
def test_lots_must_be_those_of_the_holdings(units: int) -> None:
    with pytest.raises(InvalidRequest) as at:
        a_portfolio({"A": 100}, lots={"A": [(units, 400)]})
    assert (at.value.field, at.value.code) == ("lots.A", "lots_differ_from_holding")


def test_deposit_is_invested_whatever_the_limit() -> None:
    one = a_portfolio({"A": 100}, HALVES, flow=100, lots={"A": [(100, 400)]}, max_realised_gain=0)
    made = proposal(one)
    assert not sold(made)
    assert bought(made) == {"C": 10}


def test_risk_comes_before_the_limit() -> None:
    # B swings by 2% a day, more than the profile tolerates.
    one = a_portfolio(
        {"A": 50, "B": 100},
        {"A": 0.1, "B": 0.9},
        profile="conservative",
        lots={"A": [(50, 5000)], "B": [(100, 1000)]},
        max_realised_gain=10,
    )
    made = propose(one, a_context(swinging(), costs=10))
    assert sold(made)["B"] > 10
    (sale,) = (order for order in made.orders if order.symbol == "B")
    assert "the profile's limit on risk comes before the limit of 10.00 USD" in sale.reason


MARKET = varied_prices()
PRICES = dict(zip(MARKET.symbols, MARKET.exact_closes(), strict=True))


@st.composite
def with_lots(draw: st.DrawFn) -> Portfolio:
    """Portfolios whose holdings have up to three lots, some of unknown cost."""
    portfolio = draw(portfolios(MARKET))
    lots = {}
    for symbol, units in portfolio.holdings.items():
        if units and PRICES[symbol].is_finite():
            parts = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
            sizes = [(units * part / sum(parts)).quantize(Decimal("1e-8")) for part in parts[1:]]
            sizes = [units - sum(sizes, Decimal(0)), *sizes]
            rates = draw(st.lists(st.integers(0, 20), min_size=len(parts), max_size=len(parts)))
            lots[symbol] = tuple(
                SellableLot(size, None if rate == 20 else size * PRICES[symbol] * rate / 10)
                for size, rate in zip(sizes, rates, strict=True)
                if size > 0
            )
    return attrs.evolve(portfolio, lots=lots)


def limited(portfolio: Portfolio, limit: object) -> Portfolio:
    wishes = attrs.evolve(portfolio.preferences, max_realised_gain=Decimal(str(limit)))
    return attrs.evolve(portfolio, preferences=wishes)


def counted(portfolio: Portfolio, made: Proposal) -> Decimal:
    """Net gain; unknown costs count as 0."""
    assert portfolio.lots is not None
    return sum(
        (
            one.value
            - one.cost
            - portfolio.currency.round(UnitCosts(portfolio.lots[one.symbol])(one.quantity))
            for one in made.orders
            if one.side is Side.SELL
        ),
        Decimal(0),
    )


def proposal_with(portfolio: Portfolio, rule: str) -> Proposal | Failure:
    (made,) = propose_book([portfolio], a_context(MARKET, rule, costs=10))
    return made


@pytest.mark.parametrize("rule", ["monthly", "band"])
@given(portfolio=with_lots(), shares=st.tuples(st.integers(0, 9), st.integers(0, 9)))
@settings(max_examples=25)
def test_lower_limit_never_realises_more(
    rule: str, portfolio: Portfolio, shares: tuple[int, int]
) -> None:
    free = proposal_with(portfolio, rule)
    if isinstance(free, Failure):
        return
    most = max(counted(portfolio, free), Decimal(0))
    gains = []
    for share in sorted(shares):
        limit = (most * share / 10).quantize(Decimal("0.01"))
        asked = limited(portfolio, limit)
        made = proposal_with(asked, rule)
        assert isinstance(made, Proposal)
        assert not list(Audit(asked, made, MARKET, 10))
        gains.append(counted(portfolio, made))
        if gains[-1] > limit:
            assert any("comes first" in note for note in made.notes)
    assert gains[0] <= gains[1]
