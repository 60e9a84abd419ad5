"""Proposals for targets by groups: bands, limits, reasons, and the cheapest way to add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.portfolio.costs import CostModel, Rates
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.portfolio.target_groups import Inside, TargetGroup, TargetTree
from rebalancer.domain.rebalancing.group_outcomes import GroupOutcome, GroupState
from rebalancer.domain.rebalancing.model import Proposal, ReasonCode, RebalanceContext
from rebalancer.domain.rebalancing.proposal import propose
from tests.builders import a_context, a_portfolio, flat_prices

MARKET = flat_prices({"AGG": 10.0, "BND": 10.0, "MIX": 10.0, "VTI": 10.0, "VXUS": 10.0})
CLASSES = Instruments.of(
    [
        Instrument("AGG", asset_class=AssetClass.BOND),
        Instrument("BND", asset_class=AssetClass.BOND),
        Instrument("VTI", asset_class=AssetClass.EQUITY),
        Instrument("VXUS", asset_class=AssetClass.EQUITY),
    ]
)
EQUITIES = TargetGroup("Equities", 0.6, assets={"VTI": 0.5, "VXUS": 0.5})
BONDS = TargetGroup("Bonds", 0.4, assets={"BND": 0.5, "AGG": 0.5})
BND_CHEAPER = CostModel("x", Rates(commission_bps=10), {"BND": Rates(commission_bps=5)})


def context(rule: str = "monthly", costs: CostModel | float = 0.0) -> RebalanceContext:
    return a_context(MARKET, rule, costs=costs, instruments=CLASSES)


def grouped(
    holdings: Mapping[str, object],
    *groups: TargetGroup,
    assets: Mapping[str, float] | None = None,
    look_through: Mapping[str, Mapping[AssetClass, float]] | None = None,
    **others: Any,
) -> Portfolio:
    portfolio = a_portfolio(holdings, **others)
    return attrs.evolve(
        portfolio,
        target_groups=TargetTree(groups, assets or {}),
        targets={},
        look_through=look_through or {},
    )


def traded(proposal: Proposal) -> dict[str, int]:
    """Return what is bought (+) and sold (-)."""
    return {
        one.symbol: int(one.quantity) * (1 if one.side == "buy" else -1) for one in proposal.orders
    }


def outcome(proposal: Proposal, name: str) -> GroupOutcome:
    (found,) = [one for one in proposal.groups if one.name == name]
    return found


def test_single_level_of_groups_proposes_what_targets_by_symbol_do() -> None:
    flat = a_portfolio({"VTI": 70, "BND": 20}, {"VTI": 0.6, "BND": 0.3}, cash=103.5)
    tree = attrs.evolve(flat, targets={}, target_groups=TargetTree((), {"VTI": 0.6, "BND": 0.3}))
    one, other = (propose(each, context("band", 10)) for each in (flat, tree))
    assert attrs.evolve(other, input_hash=one.input_hash) == one
    assert one.input_hash != other.input_hash


def test_group_below_target_names_the_cheapest_way_to_add() -> None:
    # Bonds: 338 of 1,000; 6.2 points under 40%.
    proposal = propose(
        grouped({"VTI": 33, "VXUS": 33, "BND": 17, "AGG": 17}, EQUITIES, BONDS, cash=0),
        context(costs=BND_CHEAPER),
    )
    bonds = outcome(proposal, "Bonds")
    assert bonds.drift_points == pytest.approx(-6.0)
    assert (bonds.weight_before, bonds.target) == pytest.approx((0.34, 0.4))
    assert bonds.weight_after == pytest.approx(0.4, abs=0.011)
    assert bonds.reason == "Bonds are 6.0 points under target; BND is the cheapest way to add."
    assert (bonds.cheapest, bonds.cheapest_cost) == ("BND", pytest.approx(0.0005))
    assert bonds.targets == pytest.approx({"AGG": 0.2, "BND": 0.2})
    (buy,) = [one for one in proposal.orders if one.symbol == "AGG"]
    assert buy.reason.endswith(bonds.reason)
    assert buy.reason_code is ReasonCode.UNDERWEIGHT


def test_equal_costs_are_stated_as_such() -> None:
    proposal = propose(
        grouped({"VTI": 33, "VXUS": 33, "BND": 17, "AGG": 17}, EQUITIES, BONDS), context()
    )
    assert outcome(proposal, "Bonds").reason == (
        "Bonds are 6.0 points under target; its assets cost the same to buy."
    )


def test_asset_on_the_do_not_buy_list_is_not_the_cheapest() -> None:
    portfolio = grouped(
        {"VTI": 33, "VXUS": 33, "BND": 17, "AGG": 17}, EQUITIES, BONDS, do_not_buy=["BND"]
    )
    proposal = propose(portfolio, context(costs=BND_CHEAPER))
    assert outcome(proposal, "Bonds").cheapest == "AGG"
    assert "BND" not in traded(proposal)


def test_band_of_a_group_leads_to_a_review_within_the_bands_of_its_members() -> None:
    # Each bond is 3 points under target, within the rule's 5; bonds together are 6 under.
    held = {"VTI": 33, "VXUS": 33, "BND": 17, "AGG": 17}
    assert not propose(grouped(held, EQUITIES, BONDS), context("band:band=0.05")).orders
    banded = attrs.evolve(BONDS, band=0.05)
    proposal = propose(grouped(held, EQUITIES, banded), context("band:band=0.05"))
    assert traded(proposal) == {"VTI": -3, "VXUS": -3, "BND": 3, "AGG": 3}
    codes = {one.symbol: one.reason_code for one in proposal.orders}
    assert codes["BND"] is codes["AGG"] is ReasonCode.GROUP_UNDERWEIGHT
    assert outcome(proposal, "Bonds").state is GroupState.UNDER_TARGET


def test_band_of_a_group_makes_a_policy_due() -> None:
    held = {"VTI": 33, "VXUS": 33, "BND": 17, "AGG": 17}
    early = {"last_rebalance": MARKET.last_date}
    assert not propose(grouped(held, EQUITIES, BONDS, **early), context()).orders
    banded = attrs.evolve(BONDS, band=0.05)
    assert propose(grouped(held, EQUITIES, banded, **early), context()).orders


def test_members_within_the_band_of_a_current_group_do_not_trade() -> None:
    # The group is 6 points over its target, within its band of 8; BND is 6 over its own.
    bonds = TargetGroup("Bonds", 0.4, assets={"BND": 1.0}, inside=Inside.CURRENT, band=0.08)
    held = {"VTI": 27, "VXUS": 27, "BND": 46}
    proposal = propose(grouped(held, EQUITIES, bonds), context("band:band=0.05"))
    assert not proposal.orders
    (bond,) = [one for one in proposal.not_traded if one.symbol == "BND"]
    assert bond.reason_code is ReasonCode.WITHIN_GROUP_BAND
    assert "within the band of 8.0%" in bond.reason


def test_current_group_at_its_target_is_not_traded_inside() -> None:
    bonds = TargetGroup("Bonds", 0.4, asset_class=AssetClass.BOND, inside=Inside.CURRENT)
    held = {"VTI": 40, "VXUS": 20, "BND": 37, "AGG": 3}
    assert traded(propose(grouped(held, EQUITIES, bonds), context())) == {"VTI": -10, "VXUS": 10}


def test_group_above_its_maximum_is_rebalanced_whatever_the_schedule() -> None:
    limited = attrs.evolve(EQUITIES, max_weight=0.65)
    held = {"VTI": 33, "VXUS": 33, "BND": 17, "AGG": 17}
    proposal = propose(grouped(held, limited, BONDS, last_rebalance=MARKET.last_date), context())
    equities = outcome(proposal, "Equities")
    assert equities.state is GroupState.ABOVE_MAXIMUM
    assert "above the maximum of 65.0%" in equities.reason
    assert equities.weight_after <= 0.65


def test_maximum_holds_around_an_asset_that_is_not_sold() -> None:
    # VTI stays at 60%; VXUS gives way so that equities have at most 65%.
    limited = attrs.evolve(EQUITIES, max_weight=0.65)
    portfolio = grouped(
        {"VTI": 60, "VXUS": 20, "BND": 10, "AGG": 10}, limited, BONDS, do_not_sell=["VTI"]
    )
    proposal = propose(portfolio, context())
    assert outcome(proposal, "Equities").weight_after <= 0.65
    assert "VTI" not in traded(proposal)


def test_minimum_holds_although_one_member_is_not_bought() -> None:
    limited = attrs.evolve(BONDS, min_weight=0.35)
    portfolio = grouped({"VTI": 50, "VXUS": 50}, EQUITIES, limited, do_not_buy=["AGG"])
    proposal = propose(portfolio, context())
    assert outcome(proposal, "Bonds").weight_after == pytest.approx(0.4)
    assert traded(proposal)["BND"] == 40


def test_class_that_cannot_be_met_is_noted() -> None:
    portfolio = grouped(
        {"MIX": 80, "BND": 20},
        TargetGroup("Shares", 0.9, asset_class=AssetClass.EQUITY, inside=Inside.CURRENT),
        TargetGroup("Bonds", 0.1, asset_class=AssetClass.BOND, inside=Inside.CURRENT),
        look_through={"MIX": {AssetClass.EQUITY: 0.6, AssetClass.BOND: 0.4}},
    )
    proposal = propose(portfolio, context())
    assert traded(proposal) == {"MIX": 20, "BND": -20}
    assert outcome(proposal, "Shares").missing_points == pytest.approx(30)
    assert any("30.0 points below its target" in note for note in proposal.notes)


def test_class_without_assets_fails_with_the_place() -> None:
    portfolio = grouped(
        {"VTI": 10},
        TargetGroup("Bonds", 0.4, asset_class=AssetClass.BOND, inside=Inside.CURRENT),
    )
    with pytest.raises(InvalidRequest, match="holds none of the class bond"):
        propose(portfolio, context())


def test_proposal_replays_from_its_inputs() -> None:
    portfolio = grouped({"VTI": 33, "BND": 67}, EQUITIES, BONDS)
    proposal = propose(portfolio, context())
    found = context().replaying(portfolio, proposal.input_hash)
    assert found is not None
    assert propose(portfolio, found) == proposal


@given(
    held=st.fixed_dictionaries({one: st.integers(0, 60) for one in ("VTI", "VXUS", "BND", "AGG")}),
    cash=st.integers(0, 500),
    flow=st.integers(0, 300),
    least=st.sampled_from([0.0, 0.3, 0.4]),
    most=st.sampled_from([0.4, 0.45, 1.0]),
    rule=st.sampled_from(["monthly", "band", "volatility_target", "buy_and_hold"]),
    due=st.booleans(),
)
@settings(max_examples=40)
def test_groups_stay_within_their_limits(
    held: dict[str, int], cash: int, flow: int, least: float, most: float, rule: str, due: bool
) -> None:
    bonds = attrs.evolve(BONDS, min_weight=least, max_weight=most)
    last = None if due else MARKET.last_date
    portfolio = grouped(
        held,
        EQUITIES,
        bonds,
        cash=cash,
        flow=flow,
        last_rebalance=last,
        whole_shares=False,
        quantity_step="0.0001",
    )
    proposal = propose(portfolio, context(rule, 10.0))
    total = sum(10 * units for units in held.values()) + cash + flow
    if not total:
        return
    after = outcome(proposal, "Bonds").weight_after
    step = 0.05 / total + 1e-8  # steps, and cents of costs
    assert least - step <= after <= most + step


def test_other_members_give_way_around_an_asset_that_is_not_sold() -> None:
    # BND stays at 30%; AGG takes the rest of the 40% of bonds, and equities keep their 60%.
    portfolio = grouped(
        {"VTI": 30, "VXUS": 20, "BND": 30, "AGG": 20}, EQUITIES, BONDS, do_not_sell=["BND"]
    )
    proposal = propose(portfolio, context())
    assert proposal.weights_after == pytest.approx(
        {"VTI": 0.3, "VXUS": 0.3, "BND": 0.3, "AGG": 0.1}
    )


def test_other_members_fill_a_group_of_which_one_is_not_bought() -> None:
    # AGG stays at 10%, half of its target; BND has 30% instead of 20%.
    portfolio = grouped({"VTI": 45, "VXUS": 45, "AGG": 10}, EQUITIES, BONDS, do_not_buy=["AGG"])
    proposal = propose(portfolio, context())
    assert proposal.weights_after == pytest.approx(
        {"VTI": 0.3, "VXUS": 0.3, "BND": 0.3, "AGG": 0.1}
    )


def test_member_that_may_not_be_traded_keeps_its_current_group_in_place() -> None:
    bonds = TargetGroup("Bonds", 0.4, asset_class=AssetClass.BOND, inside=Inside.CURRENT)
    portfolio = grouped(
        {"VTI": 25, "VXUS": 25, "BND": 40, "AGG": 10},
        EQUITIES,
        bonds,
        do_not_sell=["BND"],
        do_not_buy=["BND"],
    )
    proposal = propose(portfolio, context())
    assert outcome(proposal, "Bonds").weight_after == pytest.approx(0.4)
    assert traded(proposal) == {"VTI": 5, "VXUS": 5, "AGG": -10}
