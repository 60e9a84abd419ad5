"""Train with SB3's PPO in our environment and in SB3's, and compare the inference of both.

PPO is SB3's own in both cases, with the same network and settings. Only the environments differ,
and with them the number of steps in a rollout.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.environment import FEW, PORTFOLIOS, REWARD, random_worlds, several
from benchmarks.figures import Figure, best_of
from rebalancer.adapters.rl.algorithms.ppo import ALGORITHM, ROLLOUT
from rebalancer.adapters.rl.environment import RebalancingVecEnv
from rebalancer.adapters.rl.rewards import make_reward
from rebalancer.domain.policy.features import INPUTS_1

ROLLOUTS = 3
"""Timed rollouts, after one for warming up."""

EPOCHS, BATCH, HIDDEN = 4, 8_192, 64
OBSERVATIONS = (1, 4_096)


def figures() -> Iterator[Figure]:
    torch.set_num_threads(1)
    made = random_worlds()
    ours, trained = _speed(RebalancingVecEnv(made, make_reward(REWARD), PORTFOLIOS, seed=0))
    peer, _ = _speed(several(made, FEW))
    yield Figure(
        subject="training",
        what=f"PPO, {PORTFOLIOS:,} portfolios, {EPOCHS} epochs",
        unit="/s",
        ours=ours,
        peer_name=f"PPO on SB3's DummyVecEnv of {FEW}",
        peer=peer,
        aim=4e4,
        note=f"Steps of the environment, learning included, torch on one thread; {HIDDEN} x "
        f"{HIDDEN} tanh, {ROLLOUT} steps of each portfolio a rollout.",
    )
    yield from _inference(trained)


def _speed(env: VecEnv) -> tuple[float, PPO]:
    """Return steps a second, and the trained model."""
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=ROLLOUT,
        batch_size=min(BATCH, ROLLOUT * env.num_envs),
        n_epochs=EPOCHS,
        policy_kwargs={"net_arch": [HIDDEN, HIDDEN], "activation_fn": torch.nn.Tanh},
        seed=0,
        device="cpu",
    )
    rollout = ROLLOUT * env.num_envs
    model.learn(rollout)
    begin = time.perf_counter()
    model.learn(ROLLOUTS * rollout, reset_num_timesteps=False)
    return ROLLOUTS * rollout / (time.perf_counter() - begin), model


def _inference(model: PPO) -> Iterator[Figure]:
    """Evaluate the same network in numpy, as it is served, and through SB3."""
    network = ALGORITHM.network(model, INPUTS_1)
    for count in OBSERVATIONS:
        observed = np.random.default_rng(5).normal(0.0, 1.0, (count, len(INPUTS_1.features)))
        single = observed.astype(np.float32)
        ours, answers = best_of(lambda: network.actions(observed), least=20)  # noqa: B023
        peer, others = best_of(
            lambda: model.predict(single, deterministic=True)[0],  # noqa: B023
            least=20,
        )
        apart = float(np.abs(answers - others).max())
        yield Figure(
            subject="training",
            what=f"inference of a trained policy, {count:,} observation{'s' if count > 1 else ''}",
            unit="s",
            ours=ours,
            peer_name="SB3's predict",
            peer=peer,
            agrees=apart < 1e-5,
            how_close=f"actions to {apart:.0e}",
            note="Ours in double precision without torch, the peer in single precision.",
        )
