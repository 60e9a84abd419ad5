"""Deep Q-learning: values of the discrete actions of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from stable_baselines3 import DQN

from rebalancer.adapters.rl.algorithms import extract_network, linear_layers
from rebalancer.adapters.rl.environment import discrete_actions
from rebalancer.adapters.rl.simulation import observed_along
from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.policy.actions import MIX, RISK
from rebalancer.domain.policy.features import InputSet
from rebalancer.domain.policy.model_card import TrainingStage
from rebalancer.domain.policy.network import Network

IMITATIONS = 4_000
"""Updates that fit the values to the warm start."""

PREFERENCE = 0.2
"""Initial loss of value for each squared unit of distance from the warm start's action.

Larger than the true loss, so that the noise of weekly rewards does not undo the imitation at once.
"""


@attrs.frozen
class Dqn:
    """See `Algorithm`; the network outputs the value of each action of the grid."""

    discrete: bool = True
    environments: int = 256
    segment: int = 512 * 256
    imitations: int = IMITATIONS

    @property
    def preparation(self) -> tuple[TrainingStage, ...]:
        return (
            TrainingStage("imitation", self.imitations, "values near the warm start's actions"),
        )

    def create(self, env: Any, start: Network, worlds: Worlds, *, seed: int, device: str) -> DQN:
        model = DQN(
            "MlpPolicy",
            env,
            learning_rate=5e-6,
            buffer_size=400_000,
            learning_starts=20_000,
            batch_size=2_048,
            gamma=0.9,
            train_freq=1,
            gradient_steps=2,
            target_update_interval=8_192,
            exploration_initial_eps=0.05,
            exploration_final_eps=0.05,
            seed=seed,
            device=device,
            policy_kwargs={"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
        )
        self._imitate(model, start, worlds, seed)
        return model

    def load(self, path: Path, env: Any, *, device: str) -> DQN:
        return DQN.load(path, env=env, device=device)

    def network(self, model: DQN, inputs: InputSet) -> Network:
        policy: Any = model.policy
        return extract_network(linear_layers(policy.q_net.q_net), discrete_actions(inputs))

    def _imitate(self, model: DQN, start: Network, worlds: Worlds, seed: int) -> None:
        """Fit the values of actions to their distance from the warm start's action."""
        # Pace, band and patience are the same for all actions of the grid.
        columns = slice(RISK, MIX.stop)
        grid = torch.tensor(discrete_actions(worlds.inputs)[:, columns], dtype=torch.float32)
        seen = observed_along(start, worlds, seed)
        wanted = torch.tensor(start.actions(seen)[:, columns], dtype=torch.float32)
        observed = torch.tensor(seen, dtype=torch.float32)
        distance = (wanted[:, None] - grid[None]).square().sum(2)
        values = -PREFERENCE * distance
        optimiser = torch.optim.Adam(model.q_net.parameters(), lr=1e-3)
        random = np.random.default_rng([seed, 3])
        for _ in range(self.imitations):
            rows = torch.from_numpy(random.integers(0, len(observed), 512))
            loss = (model.q_net(observed[rows]) - values[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        model.q_net_target.load_state_dict(model.q_net.state_dict())


ALGORITHM = Dqn()
