"""Proximal policy optimisation: small updates of the warm start's network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import torch
from stable_baselines3 import PPO

from rebalancer.adapters.rl.algorithms import extract_network, linear_layers
from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.policy.features import InputSet
from rebalancer.domain.policy.model_card import TrainingStage
from rebalancer.domain.policy.network import Network

ROLLOUT = 32
"""Weeks of experience between two updates."""


@attrs.frozen
class Ppo:
    """See `Algorithm`; the network outputs the actions themselves."""

    discrete: bool = False
    environments: int = 1_024
    segment: int = 4 * ROLLOUT * 1_024
    revision: int = 1
    preparation: tuple[TrainingStage, ...] = ()

    def create(self, env: Any, start: Network, worlds: Worlds, *, seed: int, device: str) -> PPO:
        hidden = [weight.shape[1] for weight in start.weights[:-1]]
        model = PPO(
            "MlpPolicy",
            env,
            n_steps=ROLLOUT,
            batch_size=8_192,
            n_epochs=4,
            learning_rate=5e-5,
            gamma=0.95,
            gae_lambda=0.9,
            clip_range=0.15,
            ent_coef=0.0,
            vf_coef=0.5,
            seed=seed,
            device=device,
            policy_kwargs={
                "net_arch": {"pi": hidden, "vf": [64, 64]},
                "activation_fn": torch.nn.Tanh,
                "log_std_init": -2.0,
            },
        )
        with torch.no_grad():
            for layer, weight, bias in zip(
                _layers(model), start.weights, start.biases, strict=True
            ):
                layer.weight.copy_(torch.tensor(weight.T))
                layer.bias.copy_(torch.tensor(bias))
        return model

    def load(self, path: Path, env: Any, *, device: str) -> PPO:
        return PPO.load(path, env=env, device=device)

    def unchanged(self, start: Network, inputs: InputSet) -> Network | None:
        """Return None: its updates are small, and are kept whether they help or not."""
        return None

    def network(self, model: PPO, inputs: InputSet) -> Network:
        return extract_network(_layers(model))


def _layers(model: PPO) -> list[Any]:
    policy: Any = model.policy
    return [*linear_layers(policy.mlp_extractor.policy_net), policy.action_net]


ALGORITHM = Ppo()
