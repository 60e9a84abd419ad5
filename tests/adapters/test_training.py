"""Training: stored networks act like the trained models; plans and names are validated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rebalancer.adapters.rl.algorithms import find_algorithm
from rebalancer.adapters.rl.algorithms.dqn import MARGIN, Dqn
from rebalancer.adapters.rl.algorithms.ppo import Ppo
from rebalancer.adapters.rl.departures import departures
from rebalancer.adapters.rl.environment import RebalancingVecEnv
from rebalancer.adapters.rl.rewards import REWARDS, make_reward
from rebalancer.adapters.rl.worlds import draw_worlds
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.algorithms import ALGORITHMS
from rebalancer.domain.policy.algorithms import REWARDS as DESCRIPTIONS
from rebalancer.domain.policy.features import INPUTS_1
from rebalancer.domain.policy.training import TrainingPlan, check_name
from tests.builders import prices
from tests.networks import REGIMES, a_network

OBSERVED = np.random.default_rng(4).uniform(-3, 3, (500, len(INPUTS_1.features))).astype(np.float32)


@pytest.fixture(scope="module")
def small_worlds():
    return draw_worlds([prices(5, 420, seed=1)], REGIMES, count=16, seed=1, weeks=20)


@pytest.fixture
def trained(small_worlds):
    """Return a function that trains a model a little from a network."""

    def train(algorithm, steps):
        env = RebalancingVecEnv(
            small_worlds,
            make_reward("mean_variance"),
            256,
            seed=3,
            discrete=algorithm.discrete,
        )
        start = a_network(3, hidden=8)
        model = algorithm.create(env, start, small_worlds, seed=3, device="cpu")
        if steps:
            model.learn(256 * steps)
        return start, model, algorithm.network(model, INPUTS_1)

    return train


def test_network_of_ppo_gives_the_actions_of_its_model(trained):
    start, model, network = trained(Ppo(), 32)
    expected, _ = model.predict(OBSERVED, deterministic=True)
    assert np.abs(network.actions(OBSERVED.astype(np.float64)) - expected).max() < 1e-5
    assert not np.allclose(network.weights[0], start.weights[0], atol=1e-4)  # it has learned
    assert (np.abs(expected) == 1.0).any() and (np.abs(expected) < 1.0).any()


def test_network_of_dqn_gives_the_values_of_its_model(trained):
    start, model, network = trained(Dqn(), 90)
    with torch.no_grad():
        values = model.q_net_target(torch.from_numpy(OBSERVED)).numpy()
    values[:, 1:] -= MARGIN
    observed = OBSERVED.astype(np.float64)
    assert np.abs(network.outputs(observed) - values).max() < 1e-5
    np.testing.assert_array_equal(network.grid, departures(INPUTS_1))
    np.testing.assert_array_equal(network.base.actions(observed), start.actions(observed))


def test_ppo_begins_with_the_network_of_the_warm_start(trained):
    start, _, network = trained(Ppo(), 0)
    observed = OBSERVED.astype(np.float64)
    np.testing.assert_allclose(network.actions(observed), start.actions(observed), atol=1e-5)


def test_every_listed_algorithm_has_a_module():
    for name in ALGORITHMS:
        assert find_algorithm(name).segment > 0


def test_every_listed_reward_has_a_class():
    assert list(DESCRIPTIONS) == list(REWARDS)


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
def test_invalid_plan_names_its_field(change, field):
    with pytest.raises(InvalidRequest) as error:
        TrainingPlan(**({"algorithm": "ppo", "steps": 1, "seeds": (0,)} | change))
    assert error.value.field == field


def test_names_of_policies():
    for name in ("ppo", "my_ppo", "a" * 32):
        check_name(name, "ppo")
    for name in ("a" * 33, "1a", "a-b", "A", "", "trend", "learned", "dqn", "a\n"):
        with pytest.raises(InvalidRequest, match=r"^name: "):
            check_name(name, "ppo")
