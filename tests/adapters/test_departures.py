"""DQN values departures from a base network, in rewards gained over it."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import set_random_seed

from rebalancer.adapters.rl.algorithms.dqn import MARGIN, WEEKS, Dqn, double_targets
from rebalancer.adapters.rl.catalog import load_version, save_version
from rebalancer.adapters.rl.departures import DepartingVecEnv, departures
from rebalancer.adapters.rl.environment import RebalancingVecEnv
from rebalancer.adapters.rl.rewards import make_reward
from rebalancer.adapters.rl.simulation import Simulation
from rebalancer.adapters.rl.worlds import draw_worlds
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.actions import change_actions
from rebalancer.domain.policy.features import INPUTS_1
from rebalancer.domain.policy.network import Network
from tests.builders import prices
from tests.networks import REGIMES, TRAINING, a_learned, a_network

CHANGES = departures(INPUTS_1)
NAMES = [action.name for action in INPUTS_1.actions]
COUNT = 32
OBSERVED = np.random.default_rng(6).uniform(-3, 3, (200, len(INPUTS_1.features)))


@pytest.fixture(scope="module")
def small_worlds():
    return draw_worlds([prices(5, 420, seed=1)], REGIMES, count=16, seed=1, weeks=20)


@pytest.fixture(params=["mean_variance", "differential_sharpe"])
def env(small_worlds, request):
    inner = RebalancingVecEnv(small_worlds, make_reward(request.param), COUNT, seed=5)
    return DepartingVecEnv(inner, a_network(3, hidden=8))


def departing_network(seed: int, *, size: float = 0.4) -> Network:
    values = a_network(seed, grid=CHANGES, size=size)
    return attrs.evolve(values, base=a_network(seed + 50, hidden=8))


def test_double_targets_by_hand():
    # The online network prefers actions 1 and 0; the target network values these at 4 and 5,
    # although its own highest values are 7 and 5. The second episode has ended.
    targets = double_targets(
        rewards=torch.tensor([[1.0], [2.0]]),
        discounts=torch.tensor([[0.5], [0.25]]),
        ended=torch.tensor([[0.0], [1.0]]),
        online=torch.tensor([[0.1, 0.3, 0.2], [0.9, 0.0, 0.0]]),
        target=torch.tensor([[7.0, 4.0, 1.0], [5.0, 3.0, 2.0]]),
    )
    assert targets.tolist() == [[1.0 + 0.5 * 4.0], [2.0]]


def test_change_starts_where_actions_have_an_effect():
    actions = np.tile([0.6, -0.3, 0.2, -0.4, -0.1, -0.5, 0.8, 0.9], (2, 1))
    changes = np.zeros((2, len(NAMES)))
    for name, change in (("risk", -0.25), ("risk parity", 0.25), ("momentum", 0.5)):
        changes[1, NAMES.index(name)] = change
    for name, change in (("pace", 0.4), ("band", 0.4)):
        changes[1, NAMES.index(name)] = change
    changed = change_actions(actions, changes)
    np.testing.assert_array_equal(changed[0], actions[0])
    np.testing.assert_allclose(changed[1], [-0.25, -0.3, 0.45, 0.5, -0.1, 0.4, 1.0, 0.9])


def test_reward_without_departure_is_zero(env):
    env.reset()
    for _ in range(45):  # two worlds, and into the third
        _, rewards, _, _ = env.step(np.zeros(COUNT, dtype=int))
        np.testing.assert_allclose(rewards, 0.0, atol=1e-6)


def test_reward_is_the_gain_on_the_twin(small_worlds):
    base = a_network(3, hidden=8)
    inner = RebalancingVecEnv(small_worlds, make_reward("mean_variance"), COUNT, seed=5)
    env = DepartingVecEnv(inner, base)
    seen = env.reset()
    ours, twins = (
        Simulation(small_worlds, range(5, 5 + COUNT), reward=make_reward("mean_variance"))
        for _ in range(2)
    )
    dice = np.random.default_rng(2)
    for week in range(1, 46):
        np.testing.assert_array_equal(seen, ours.observed)
        chosen = dice.integers(0, len(CHANGES), COUNT)
        seen, rewards, done, _ = env.step(chosen)
        actions = base.actions(ours.observed.astype(np.float64))
        gained, _, _ = ours.step(change_actions(actions, CHANGES[chosen]))
        of_twin, _, _ = twins.step(base.actions(twins.observed.astype(np.float64)))
        np.testing.assert_allclose(rewards, gained - of_twin, atol=1e-6)
        np.testing.assert_array_equal(ours.world, twins.world)
        assert done.all() == (week % 20 == 0)
        if done.all():
            for each in (ours, twins):
                each.restart(np.arange(COUNT))


def test_network_adds_its_best_departure_to_the_base():
    network = departing_network(1)
    best = network.outputs(OBSERVED).argmax(axis=1)
    assert network.base is not None and len(set(best.tolist())) > 3
    expected = change_actions(network.base.actions(OBSERVED), CHANGES[best])
    np.testing.assert_array_equal(network.actions(OBSERVED), expected)
    # The same for each row alone.
    alone = np.concatenate([network.actions(row[None]) for row in OBSERVED[:20]])
    np.testing.assert_array_equal(alone, expected[:20])


def test_loaded_version_has_the_base(tmp_path):
    networks = (departing_network(1), departing_network(2))
    training = attrs.evolve(TRAINING, algorithm="dqn")
    learned = a_learned(name="dqn", networks=networks)
    served, _ = load_version(save_version(tmp_path, learned, training, version=1))
    for made, again in zip(networks, served.networks, strict=True):
        assert np.abs(again.actions(OBSERVED) - made.actions(OBSERVED)).max() < 1e-5


def test_base_that_does_not_fit_is_rejected():
    values = a_network(1, grid=CHANGES)
    base = a_network(2)
    narrow = Network(
        [weight[:-1] if not place else weight for place, weight in enumerate(base.weights)],
        base.biases,
    )
    with pytest.raises(InvalidRequest, match="needs a grid of changes"):
        attrs.evolve(a_network(1), base=base)
    with pytest.raises(InvalidRequest, match="must not have a grid"):
        attrs.evolve(values, base=values)
    with pytest.raises(InvalidRequest, match="the base has 25 inputs"):
        attrs.evolve(values, base=narrow)


def test_continued_learning_gives_the_same_network(small_worlds, tmp_path):
    algorithm, path = Dqn(), tmp_path / "model.zip"

    def second_segment() -> Network:
        inner = RebalancingVecEnv(small_worlds, make_reward("mean_variance"), 256, seed=8)
        set_random_seed(1)
        model = algorithm.load(path, inner, device="cpu")
        set_random_seed(2)
        model.learn(256 * 90, reset_num_timesteps=True)
        return algorithm.network(model, INPUTS_1)

    inner = RebalancingVecEnv(small_worlds, make_reward("mean_variance"), 256, seed=7)
    model = algorithm.create(inner, a_network(3, hidden=8), small_worlds, seed=3, device="cpu")
    model.learn(256 * 90)
    model.save(path)
    first, second, again = algorithm.network(model, INPUTS_1), second_segment(), second_segment()
    assert (first.weights[0] != second.weights[0]).any()
    for one, other in zip(
        (*second.weights, *second.biases), (*again.weights, *again.biases), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert again.base is not None
    np.testing.assert_array_equal(again.base.weights[0], a_network(3, hidden=8).weights[0])


def test_dqn_begins_without_departures(small_worlds):
    start = a_network(3, hidden=8)
    inner = RebalancingVecEnv(small_worlds, make_reward("mean_variance"), COUNT, seed=5)
    model = Dqn().create(inner, start, small_worlds, seed=3, device="cpu")
    network = Dqn().network(model, INPUTS_1)
    np.testing.assert_array_equal(network.actions(OBSERVED), start.actions(OBSERVED))
    values = network.outputs(OBSERVED)
    np.testing.assert_allclose(values[:, 1:] - values[:, :1], -MARGIN)


def test_exploration_holds_a_departure(small_worlds):
    inner = RebalancingVecEnv(small_worlds, make_reward("mean_variance"), COUNT, seed=5)
    model = Dqn().create(inner, a_network(3, hidden=8), small_worlds, seed=3, device="cpu")
    model.exploration_rate = 0.5
    torch.manual_seed(1)
    seen = OBSERVED[:COUNT].astype(np.float32)
    chosen = np.stack([model.predict(seen)[0] for _ in range(400)])
    # About a third explore: half of the weeks that are free begin an exploration within WEEKS.
    share = (chosen > 0).mean()
    assert 0.2 < share < 0.4
    changed = np.diff(chosen, axis=0) != 0
    runs = (chosen > 0).sum() / (changed & (chosen[1:] > 0)).sum()
    assert WEEKS - 1 < runs < WEEKS + 2
    # Portfolios explore on their own.
    assert 0.05 < (chosen[200] > 0).mean() < 0.8
