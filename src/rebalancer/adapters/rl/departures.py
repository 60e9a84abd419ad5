"""Departures from a base network: a few discrete changes of its actions, measured against it.

Nearly all of a week's reward comes from the market, and a change of the actions moves it by a
hundredth of its deviation. So each portfolio has a twin that follows the base network in the same
world, and the reward of a departure is the difference between the two. The twin's reward does not
depend on the learner's actions; subtracting it changes no ranking of policies, only the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnvWrapper

from rebalancer.adapters.rl.environment import RebalancingVecEnv
from rebalancer.domain.arrays import Bools, Floats, Singles
from rebalancer.domain.policy.actions import change_actions
from rebalancer.domain.policy.features import InputSet
from rebalancer.domain.policy.network import Network

CHANGES: tuple[dict[str, float], ...] = (
    {},
    {"risk": -0.25},
    {"risk": 0.25},
    {"risk parity": -0.25},
    {"risk parity": 0.25},
    {"band": 0.4, "patience": 0.4},
    {"band": -0.4, "patience": -0.4},
    {"pace": 0.4},
    {"pace": -0.4},
)
"""Departures by the names of the actions that they change; the first changes nothing."""


@cache
def departures(inputs: InputSet) -> Floats:
    """Return `CHANGES` as rows, (N, A)."""
    names = [action.name for action in inputs.actions]
    rows = np.zeros((len(CHANGES), len(names)))
    for row, change in enumerate(CHANGES):
        for name, value in change.items():
            rows[row, names.index(name)] = value
    rows.setflags(write=False)
    return rows


class DepartingVecEnv(VecEnvWrapper):
    """Portfolios whose actions are rows of `departures` from the actions of a base network."""

    def __init__(self, env: RebalancingVecEnv, base: Network) -> None:
        self._changes = departures(env.inputs)
        super().__init__(env, action_space=spaces.Discrete(len(self._changes)))
        self._base = base
        self._twin = env.twin()
        self._observed: Singles = np.zeros((0, 0), dtype=np.float32)
        self._fresh = True

    def reset(self) -> Singles:
        """Start in other worlds; the first time, in those of the seed."""
        if not self._fresh:
            self._twin.restart(np.arange(self.num_envs))
        self._fresh = False
        self._observed = self._as_singles(self.venv.reset())
        return self._observed

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Use these seeds at the next reset."""
        seeds = list(self.venv.seed(seed))
        self._twin.reseed([each for each in seeds if each is not None])
        self._fresh = True
        return seeds

    def step_async(self, actions: NDArray[Any]) -> None:
        changes = self._changes[actions.astype(np.intp)]
        self.venv.step_async(change_actions(self._base_actions(self._observed), changes))

    def step_wait(self) -> tuple[Singles, Singles, Bools, list[dict[str, Any]]]:
        """Simulate a week of the portfolios and their twins; return the differences of rewards."""
        observed, rewards, done, infos = self.venv.step_wait()
        ours, _, _ = self._twin.step(self._base_actions(self._twin.observed))
        if done.any():
            self._twin.restart(np.flatnonzero(done))
        self._observed = self._as_singles(observed)
        return self._observed, (rewards - ours).astype(np.float32), done, infos

    def _base_actions(self, observed: Singles) -> Floats:
        return self._base.actions(observed.astype(np.float64))

    def _as_singles(self, observed: Any) -> Singles:
        return np.asarray(observed, dtype=np.float32)
