"""Training's own promises: what serves is what was trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rebalancer.adapters.rl import training
from rebalancer.adapters.rl.environment import GRID, RebalancingVecEnv
from rebalancer.adapters.rl.simulation import reward
from rebalancer.adapters.rl.training import network_of
from rebalancer.adapters.rl.worlds import worlds
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.features import FEATURES
from rebalancer.domain.policy.training import TrainingPlan, check_name
from tests.builders import prices
from tests.networks import REGIMES, a_network

OBSERVED = np.random.default_rng(4).uniform(-3, 3, (500, len(FEATURES))).astype(np.float32)


@pytest.fixture(scope="module")
def small_worlds():
    return worlds([prices(5, 420, seed=1)], REGIMES, count=16, seed=1, weeks=20)


@pytest.fixture
def model_of(small_worlds, monkeypatch):
    """A model that has learned a little from what it began with."""
    monkeypatch.setattr(training, "_IMITATIONS", 5)

    def of(algorithm):
        plan = TrainingPlan(algorithm, steps=1, seeds=(3,))
        env = RebalancingVecEnv(
            small_worlds, reward(plan.reward), 256, seed=3, discrete=algorithm == "dqn"
        )
        start = a_network(3, hidden=8)
        model = training._new(plan, env, start, small_worlds, 3)
        model.learn(256 * (32 if algorithm == "ppo" else 90))
        return start, model

    return of


def test_numpy_decides_as_ppo_does(model_of):
    start, model = model_of("ppo")
    network = network_of(model)
    expected, _ = model.predict(OBSERVED, deterministic=True)
    assert np.abs(network.actions(OBSERVED.astype(np.float64)) - expected).max() < 1e-5
    assert not np.allclose(network.weights[0], start.weights[0], atol=1e-4)  # it has learned
    assert (np.abs(expected) == 1.0).any() and (np.abs(expected) < 1.0).any()


def test_numpy_decides_as_dqn_does(model_of):
    _, model = model_of("dqn")
    network = network_of(model)
    with torch.no_grad():
        values = model.q_net(torch.from_numpy(OBSERVED)).numpy()
    observed = OBSERVED.astype(np.float64)
    assert np.abs(network.outputs(observed) - values).max() < 1e-5
    chosen, _ = model.predict(OBSERVED, deterministic=True)
    np.testing.assert_array_equal(network.actions(observed), GRID[chosen])
    assert len(set(chosen.tolist())) > 1


def test_ppo_begins_as_the_warm_start_decides(small_worlds):
    env = RebalancingVecEnv(small_worlds, reward("mean_variance"), 256, seed=0)
    start = a_network(1, hidden=8)
    model = training._new(TrainingPlan("ppo", steps=1, seeds=(0,)), env, start, small_worlds, 0)
    began, observed = network_of(model), OBSERVED.astype(np.float64)
    np.testing.assert_allclose(began.actions(observed), start.actions(observed), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algorithm": "sac"}, "algorithm"),
        ({"reward": "luck"}, "reward"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"steps": 0}, "steps"),
        ({"worlds": 13}, "worlds"),
        ({"warm_start": -1}, "warm_start"),
        ({"workers": 0}, "workers"),
    ],
)
def test_plans_that_cannot_be(change, field):
    with pytest.raises(InvalidRequest) as refused:
        TrainingPlan(**({"algorithm": "ppo", "steps": 1, "seeds": (0,)} | change))
    assert refused.value.field == field


def test_names():
    for name in ("ppo", "my_ppo", "a" * 32):
        check_name(name, "ppo")
    for name in ("a" * 33, "1a", "a-b", "A", "", "trend", "learned", "dqn", "a\n"):
        with pytest.raises(InvalidRequest, match=r"^name: "):
            check_name(name, "ppo")
