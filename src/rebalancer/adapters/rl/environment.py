"""Environments for learners: one portfolio (gymnasium) or many (Stable-Baselines3).

Both wrap `Simulation`. With equal actions, portfolio ``i`` of a `RebalancingVecEnv` with seed ``s``
has exactly the path of a `RebalancingEnv` with seed ``s + i``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from rebalancer.adapters.rl.rewards import Reward
from rebalancer.adapters.rl.simulation import Simulation
from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.arrays import Bools, Floats, Singles
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.features import FURTHEST, InputSet


@cache
def discrete_actions(inputs: InputSet) -> Floats:
    """Return the discrete actions, (N, A): four invested shares times four mixes.

    All have the same pace and bands: a learner that jumps between few actions needs wide bands more
    than a choice of bands.
    """
    names = [action.name for action in inputs.actions]
    actions = []
    for risk in (0.0, -0.35, -0.7, -1.0):
        for parity, momentum in ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 0.5)):
            action = np.zeros(len(names))
            action[names.index("risk")] = risk
            action[names.index("risk parity")] = parity
            action[names.index("momentum")] = momentum
            action[names.index("pace")] = 0.5
            action[names.index("band")] = 0.25
            action[names.index("patience")] = 0.9
            actions.append(action)
    grid = np.array(actions)
    grid.setflags(write=False)
    return grid


def _spaces(inputs: InputSet, *, discrete: bool) -> tuple[Any, Any]:
    """Return the spaces of observations and actions."""
    observed = spaces.Box(-FURTHEST, FURTHEST, (len(inputs.features),), np.float32)
    if discrete:
        return observed, spaces.Discrete(len(discrete_actions(inputs)))
    return observed, spaces.Box(-1.0, 1.0, (len(inputs.actions),), np.float32)


class RebalancingEnv(gymnasium.Env[Singles, Any]):
    """One portfolio with weekly reviews, in a world drawn at each reset.

    An episode terminates if the portfolio is ruined, and is truncated at the end of its world. If
    ``discrete``, actions are indices of `discrete_actions` rather than vectors.
    """

    def __init__(self, worlds: Worlds, reward: Reward, *, discrete: bool = False) -> None:
        self.metadata = {"render_modes": []}
        self.observation_space, self.action_space = _spaces(worlds.inputs, discrete=discrete)
        self._grid = discrete_actions(worlds.inputs) if discrete else None
        self._simulation = Simulation(worlds, [0], reward=reward)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Singles, dict[str, Any]]:
        """Start in another world; with a seed, in the world of that seed."""
        super().reset(seed=seed)
        if seed is not None:
            self._simulation.reseed([seed])
        else:
            self._simulation.restart(np.arange(1))
        return self._simulation.observed[0].copy(), {}

    def step(self, action: Any) -> tuple[Singles, float, bool, bool, dict[str, Any]]:
        actions = _as_vectors(np.asarray(action)[None], self._grid)
        rewards, ruined, ended = self._simulation.step(actions)
        seen = self._simulation.observed[0].copy()
        return seen, float(rewards[0]), bool(ruined[0]), bool(ended[0]), {}


class RebalancingVecEnv(VecEnv):
    """Many portfolios in numpy, for Stable-Baselines3; see `RebalancingEnv`."""

    def __init__(
        self, worlds: Worlds, reward: Reward, count: int, *, seed: int, discrete: bool = False
    ) -> None:
        super().__init__(count, *_spaces(worlds.inputs, discrete=discrete))
        self._grid = discrete_actions(worlds.inputs) if discrete else None
        self._worlds, self._reward = worlds, reward
        self._world_seeds: Sequence[int] = range(seed, seed + count)
        self._simulation = Simulation(worlds, self._world_seeds, reward=reward)
        self._actions: Floats = np.zeros((count, len(worlds.inputs.actions)))
        self._fresh = True

    def reset(self) -> Singles:
        """Start in other worlds; the first time, in those of the seed."""
        if not self._fresh:
            self._simulation.restart(np.arange(self.num_envs))
        self._fresh = False
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._simulation.observed.copy()

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = _as_vectors(actions, self._grid)

    def step_wait(self) -> tuple[Singles, Singles, Bools, list[dict[str, Any]]]:
        """Simulate a week; finished portfolios start again."""
        rewards, ruined, ended = self._simulation.step(self._actions)
        done = ruined | ended
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        rows = np.flatnonzero(done)
        if rows.size:
            last = self._simulation.observed
            for row in rows:
                infos[row] = {
                    "terminal_observation": last[row].copy(),
                    "TimeLimit.truncated": bool(ended[row]),
                }
            self._simulation.restart(rows)
        return self._simulation.observed.copy(), rewards.astype(np.float32), done, infos

    def close(self) -> None:
        """Do nothing; there are no open resources."""

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Use these seeds at the next reset."""
        if seed is None:
            raise InvalidRequest("a seed is required", field="seed", code="seed_missing")
        self._world_seeds = range(seed, seed + self.num_envs)
        self._simulation.reseed(self._world_seeds)
        self._fresh = True
        return list(self._world_seeds)

    @property
    def inputs(self) -> InputSet:
        """Features and sleeves of the worlds."""
        return self._worlds.inputs

    def twin(self) -> Simulation:
        """Return a simulation of other portfolios in the worlds of the seed."""
        return Simulation(self._worlds, self._world_seeds, reward=copy.deepcopy(self._reward))

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the portfolios of a RebalancingVecEnv have no attributes")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        raise NotImplementedError("the portfolios of a RebalancingVecEnv have no methods")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


def _as_vectors(actions: NDArray[Any], grid: Floats | None) -> Floats:
    return actions.astype(np.float64) if grid is None else grid[actions.astype(np.intp)]
