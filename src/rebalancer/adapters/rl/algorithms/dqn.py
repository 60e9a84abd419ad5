"""Double deep Q-learning of departures from the warm start.

Values of whole actions cannot be learned from weekly rewards: see docs/ml_models.md for what was
measured. So the network values a few departures from the warm start's action, in the weekly reward
that they gain over it, and departs only where the gain is clear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer
from torch.nn import functional

from rebalancer.adapters.rl.algorithms import extract_network, linear_layers
from rebalancer.adapters.rl.departures import CHANGES, DepartingVecEnv, departures
from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.policy.features import InputSet
from rebalancer.domain.policy.model_card import TrainingStage
from rebalancer.domain.policy.network import Network

MARGIN = 0.05
"""Least value, in weekly rewards, by which a departure must exceed no departure.

About the largest deviation of a departure's learned values. The baseline stays where the data do
not show a gain, as in Laroche, Trichelair and Tachet des Combes 2019, Safe Policy Improvement with
Baseline Bootstrapping.
"""

WEEKS = 8
"""Weeks of rewards in a return, and weeks for which an explored departure is held."""

GAMMA = 0.97
"""Discount of a week: a trade costs as much as a better mix gains in about eight weeks."""

FEWEST = 20_000
"""Weeks in the memory before the first update."""


def double_targets(
    rewards: torch.Tensor,
    discounts: torch.Tensor | float,
    ended: torch.Tensor,
    online: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """Compute the targets of double Q-learning, (B, 1).

    The online network chooses the next action and the target network values it, because the
    largest of several noisy values is too large on average.

    Args:
        rewards: (B, 1) discounted sums of rewards.
        discounts: (B, 1) or one discount of the next value.
        ended: (B, 1) 1 where the episode ended, 0 elsewhere.
        online: (B, N) next values of the online network.
        target: (B, N) next values of the target network.

    References:
        van Hasselt, H., Guez, A. and Silver, D. (2016). Deep reinforcement learning with double
        Q-learning. AAAI 30, 2094-2100.
    """
    chosen = online.argmax(dim=1, keepdim=True)
    return rewards + (1.0 - ended) * discounts * target.gather(1, chosen)


class DoubleDqn(DQN):
    """DQN of Stable-Baselines3 with double targets, and exploration that lasts.

    Each portfolio explores on its own, and holds a departure for `WEEKS` weeks (Dabney, Ostrovski
    and Barreto 2021, Temporally-Extended Epsilon-Greedy Exploration): a departure of a single week
    costs two trades and shows nothing else. The base class would explore with all portfolios in the
    same weeks.

    Attributes:
        base: Network of the warm start.
    """

    base: Network

    def _setup_model(self) -> None:
        super()._setup_model()
        self._held = torch.zeros(self.n_envs, dtype=torch.long)
        self._explored = torch.zeros(self.n_envs, dtype=torch.long)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_held", "_explored"]

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take gradient steps toward the double targets, once there are enough weeks."""
        replay: Any = self.replay_buffer
        if replay.size() * self.n_envs < FEWEST:
            return
        self.policy.set_training_mode(True)
        for _ in range(gradient_steps):
            batch = replay.sample(batch_size)
            with torch.no_grad():
                targets = double_targets(
                    batch.rewards,
                    batch.discounts,
                    batch.dones,
                    self.q_net(batch.next_observations),
                    self.q_net_target(batch.next_observations),
                )
            values = self.q_net(batch.observations).gather(1, batch.actions.long())
            loss = functional.mse_loss(values, targets)
            self.policy.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
        self._n_updates += gradient_steps

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Choose the best departures, or explore."""
        best, state = self.policy.predict(observation, state, episode_start, deterministic=True)
        if deterministic:
            return best, state
        count, space = self.n_envs, self.action_space
        assert isinstance(space, spaces.Discrete)
        begins = (self._held == 0) & (torch.rand(count) < self.exploration_rate / WEEKS)
        anything = torch.randint(int(space.n), (count,))
        self._explored = torch.where(begins, anything, self._explored)
        self._held = torch.where(begins, WEEKS, self._held)
        chosen = torch.where(self._held > 0, self._explored, torch.from_numpy(np.asarray(best)))
        self._held = (self._held - 1).clamp(min=0)
        return chosen.numpy(), state


@attrs.frozen
class Dqn:
    """See `Algorithm`; the network outputs the value of each departure from the warm start."""

    discrete: bool = False
    environments: int = 256
    segment: int = 512 * 256
    revision: int = 2
    preparation: tuple[TrainingStage, ...] = (
        TrainingStage(
            "departures",
            len(CHANGES),
            "changes of the warm start's action; none if no checkpoint is better",
        ),
    )

    def create(
        self, env: Any, start: Network, worlds: Worlds, *, seed: int, device: str
    ) -> DoubleDqn:
        model = DoubleDqn(
            "MlpPolicy",
            DepartingVecEnv(env, start),
            learning_rate=3e-4,
            # Every segment begins with an empty memory, so none is larger than a segment.
            buffer_size=self.segment,
            learning_starts=0,
            batch_size=2_048,
            gamma=GAMMA,
            replay_buffer_class=NStepReplayBuffer,
            replay_buffer_kwargs={"n_steps": WEEKS, "gamma": GAMMA},
            train_freq=1,
            gradient_steps=2,
            target_update_interval=env.num_envs,
            tau=0.01,
            exploration_initial_eps=0.5,
            exploration_final_eps=0.5,
            seed=seed,
            device=device,
            policy_kwargs={"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
        )
        model.base = start
        with torch.no_grad():
            for network in (model.q_net, model.q_net_target):
                last = linear_layers(network.q_net)[-1]
                last.weight.zero_()
                last.bias.zero_()
        return model

    def load(self, path: Path, env: Any, *, device: str) -> DoubleDqn:
        model = DoubleDqn.load(path, device=device)
        model.set_env(DepartingVecEnv(env, model.base))
        return model

    def unchanged(self, start: Network, inputs: InputSet) -> Network | None:
        """Return a network that never departs."""
        grid = departures(inputs)
        biases = np.where(np.arange(len(grid)) > 0, -MARGIN, 0.0)
        return Network([np.zeros((start.inputs, len(grid)))], [biases], grid, start)

    def network(self, model: DoubleDqn, inputs: InputSet) -> Network:
        """Return the averaged network, whose departures cost `MARGIN`."""
        layers = linear_layers(model.q_net_target.q_net)
        grid = departures(inputs)
        values = extract_network(layers, grid)
        cost = np.where(np.arange(len(grid)) > 0, MARGIN, 0.0)
        biases = (*values.biases[:-1], values.biases[-1] - cost)
        return Network(values.weights, biases, grid, model.base)


ALGORITHM = Dqn()
