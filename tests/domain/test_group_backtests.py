"""Backtests of targets by groups: the weights are resolved at each review, as in proposals."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from rebalancer.application.backtests import BacktestRequest
from rebalancer.domain.backtest.engine import BacktestSettings, simulate
from rebalancer.domain.backtest.group_targets import GroupTargets, depends_on_holdings
from rebalancer.domain.market.instruments import AssetClass, Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.target_groups import Inside, TargetGroup, TargetTree
from tests.builders import backtest_settings


def doubling() -> PriceHistory:
    """A doubles in the first month and stays, B and C are constant; 45 weekdays."""
    dates = np.busday_offset(np.datetime64("2022-01-03"), np.arange(45))
    a = np.where(np.arange(45) < 10, 10.0, 20.0)
    return PriceHistory.of(
        ("A", "B", "C"), dates, np.column_stack((a, np.full(45, 10.0), np.full(45, 10.0)))
    )


def settings(*groups: TargetGroup) -> BacktestSettings:
    tree = TargetTree(groups)
    targets = [tree.stated_weights.get(symbol, 0.0) for symbol in ("A", "B", "C")]
    found = backtest_settings(doubling(), targets=targets, bps=0.0)
    dynamic = GroupTargets(tree, Instruments()) if depends_on_holdings(tree) else None
    return attrs.evolve(found, groups=dynamic)


PAIR = TargetGroup("Pair", 0.8, assets={"A": 0.5, "B": 0.5})
REST = TargetGroup("Rest", 0.2, assets={"C": 1.0})


def test_current_group_keeps_its_winners() -> None:
    # Start: 0.4, 0.4, 0.2. After A has doubled: 0.8, 0.4, 0.2 of 1.4; the pair has 12/14.
    # The review brings the pair to 0.8 of 1.4 = 1.12, two thirds of it in A.
    kept = simulate(
        parse_rule("monthly"), settings(attrs.evolve(PAIR, inside=Inside.CURRENT), REST)
    )
    assert kept.weights[-1] == pytest.approx([0.8 * 2 / 3, 0.8 / 3, 0.2])


def test_stated_weights_need_no_resolution() -> None:
    stated = settings(PAIR, REST)
    assert stated.groups is None
    assert simulate(parse_rule("monthly"), stated).weights[-1] == pytest.approx([0.4, 0.4, 0.2])


def test_band_of_a_group_leads_to_a_review() -> None:
    # The pair drifts to 12/14 = 0.857; a band of 0.05 is left, one of 0.06 is not.
    rule = parse_rule("band:band=0.5")
    for band, expected in ((0.05, [0.4, 0.4, 0.2]), (0.06, [8 / 14, 4 / 14, 2 / 14])):
        path = simulate(rule, settings(attrs.evolve(PAIR, band=band), REST))
        assert path.weights[-1] == pytest.approx(expected)


def test_request_with_groups_is_stored_as_json() -> None:
    tree = TargetTree((attrs.evolve(PAIR, inside=Inside.CURRENT), REST))
    split = {"A": {AssetClass.EQUITY: 0.5, AssetClass.BOND: 0.5}}
    request = BacktestRequest("monthly", target_groups=tree, look_through=split)
    assert BacktestRequest.from_json(request.to_json()) == request
    assert "target_groups" not in BacktestRequest("monthly").to_json()
