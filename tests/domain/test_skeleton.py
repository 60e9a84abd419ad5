"""Skeletons: constant actions are their own average, and timing is what differs."""

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.engine import simulate
from rebalancer.domain.backtest.evaluation import SKELETON, CashReturns, evaluate
from rebalancer.domain.policy.actions import MIX, RISK
from rebalancer.domain.policy.features import INPUTS_1
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.observation import MarketViews
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.skeleton import RecordedPolicy, find_skeleton
from tests.builders import backtest_settings, prices
from tests.networks import a_learned

HISTORY = prices(3, 420, seed=3)
SETTINGS = backtest_settings(HISTORY, first=300)


def _constant(actions):
    wide = np.full(len(INPUTS_1.features), 100.0)
    network = Network(
        [np.zeros((len(INPUTS_1.features), len(INPUTS_1.actions)))],
        [np.asarray(actions, dtype=float)],
    )
    return attrs.evolve(a_learned(0, lowest=-wide, highest=wide), networks=(network,))


def _skeleton(policy):
    recorded = RecordedPolicy(policy)
    path = simulate(recorded, SETTINGS)
    return path, find_skeleton(policy, recorded.decisions)


def test_constant_actions_are_their_own_skeleton():
    actions = np.array([-0.4, 0.2, 0.5, 0.0, 0.0, 0.3, 0.5, -0.2])
    policy = _constant(actions)
    path, skeleton = _skeleton(policy)
    assert skeleton is not None
    assert skeleton.invested == pytest.approx(0.8)
    assert skeleton.parts == pytest.approx([0.3, 0.2, 0.5, 0.0, 0.0])
    assert skeleton.differs == 0.0 and skeleton.distance == pytest.approx(0.0)
    again = simulate(skeleton.policy, SETTINGS)
    assert np.allclose(again.values, path.values, rtol=1e-12)
    constant = skeleton.policy.networks[0].biases[0]
    assert constant[RISK] == pytest.approx(-0.4) and constant[MIX] == pytest.approx(actions[MIX])


def test_recording_changes_no_decision():
    policy = a_learned(4)
    path, _ = _skeleton(policy)
    assert np.array_equal(path.values, simulate(policy, SETTINGS).values)


def test_no_skeleton_where_the_fallback_decides_always():
    narrow = np.full(len(INPUTS_1.features), 1e-6)
    policy = a_learned(1, lowest=-narrow, highest=narrow, rule=parse_rule("monthly"))
    _, skeleton = _skeleton(policy)
    assert skeleton is None


def test_evaluation_compares_with_the_skeleton_on_request():
    policy = a_learned(4)
    cash = [CashReturns("0", np.zeros(len(HISTORY)))]
    panel = evaluate([policy], SETTINGS, cash, sweep=False, skeletons=True)
    judgement = panel.policies[0].strictest
    assert judgement.skeleton_comparison is not None
    assert judgement.skeleton_comparison.against == SKELETON
    assert judgement.sweep == () and judgement.break_even_bps is None
    assert len(judgement.seed_drawdowns) == len(judgement.seeds) == len(policy.members)
    plain = evaluate([policy], SETTINGS, cash, sweep=False).policies[0].strictest
    assert plain.skeleton is None and plain.skeleton_comparison is None
    assert np.array_equal(plain.values, judgement.values)


def test_cached_views_change_no_decision():
    policy = a_learned(5)
    cached = attrs.evolve(policy, views=MarketViews())
    first, again = (simulate(cached, SETTINGS) for _ in range(2))
    plain = simulate(policy, SETTINGS)
    assert np.array_equal(first.values, plain.values)
    assert np.array_equal(again.values, plain.values)
