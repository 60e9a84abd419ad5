"""Step the training environment with 1,024 portfolios, and SB3's DummyVecEnv with eight.

Worlds are two years of weeks on 30 assets with random prices. A step is one portfolio's review: the
observation, the decision, its trades and their costs, a week of returns and the reward.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from benchmarks.books import business_days
from benchmarks.figures import Figure, best_of
from rebalancer.adapters.rl.environment import RebalancingEnv, RebalancingVecEnv
from rebalancer.adapters.rl.regimes import StoredRegimes
from rebalancer.adapters.rl.rewards import make_reward
from rebalancer.adapters.rl.worlds import WEEKS, Worlds, draw_worlds
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.features import INPUTS_1

PORTFOLIOS, FEW = 1_024, 8
ASSETS, DAYS, WORLDS = 30, 1_500, 64
REWARD = "mean_variance"

EXPLORING = 0.14
"""Deviation of our PPO's first exploration."""

SPREADS = {0.0: "in the band", EXPLORING: "as PPO explores", 0.5: "at random, so that all trade"}
"""Descriptions by the deviation of actions around the neutral one."""

PROCESSES = 2


@cache
def random_worlds() -> Worlds:
    """Build worlds from a random walk; always the same."""
    moves = np.random.default_rng(1).normal(0.0003, 0.01, (DAYS, ASSETS))
    days = business_days("2003-01-06", DAYS)
    symbols = [f"S{column:02}" for column in range(ASSETS)]
    panel = PriceHistory.of(symbols, days, 100.0 * np.exp(np.cumsum(moves, axis=0)))
    return draw_worlds([panel], StoredRegimes().model(), count=WORLDS, seed=1)


def figures() -> Iterator[Figure]:
    made = random_worlds()
    for spread, meaning in SPREADS.items():
        actions = _actions(spread)
        ours = RebalancingVecEnv(made, make_reward(REWARD), PORTFOLIOS, seed=0)
        ours.reset()
        # The first walk is compared, the later ones are timed.
        rewards = _walk(ours, actions)
        seconds, _ = best_of(partial(_walk, ours, actions))
        peer = several(made, FEW)
        peer.seed(0)
        peer.reset()
        begin = time.perf_counter()
        others = _walk(peer, actions[:, :FEW])
        taken = time.perf_counter() - begin
        apart = float(np.abs(rewards[:, :FEW] - others).max())
        yield Figure(
            subject="environment",
            what=f"environment alone: {PORTFOLIOS:,} portfolios, actions {meaning}",
            unit="/s",
            ours=PORTFOLIOS * WEEKS / seconds,
            peer_name=f"SB3's DummyVecEnv of {FEW}",
            peer=FEW * WEEKS / taken,
            agrees=apart == 0.0,
            how_close=f"rewards of {FEW} portfolios to {apart:.0e}",
            note="Steps of single portfolios on one core, through SB3's VecEnv interface; the peer "
            "steps our gymnasium environment, one portfolio at a time.",
        )
    yield Figure(
        subject="environment",
        what=f"environment alone: {PROCESSES} processes of {PORTFOLIOS:,}, actions "
        f"{SPREADS[EXPLORING]}",
        unit="/s",
        ours=_side_by_side(),
        aim=5e5,
        note="As when two seeds train: all processes together, each on a core.",
    )


def several(made: Worlds, count: int) -> DummyVecEnv:
    """Return SB3's vector of environments of one portfolio each, stepped one after the other."""
    return DummyVecEnv([partial(RebalancingEnv, made, make_reward(REWARD)) for _ in range(count)])


def _side_by_side() -> float:
    """Return steps a second of several processes together."""
    context = get_context("spawn")
    ready = context.Barrier(PROCESSES)
    answers: SimpleQueue[float] = context.SimpleQueue()
    started = [context.Process(target=_alone, args=(ready, answers)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError("a benchmark process failed")
    return sum(answers.get() for _ in started)


def _alone(ready: Barrier, answers: SimpleQueue[float]) -> None:
    """Put the steps a second of this process, which starts when all are ready."""
    env = RebalancingVecEnv(random_worlds(), make_reward(REWARD), PORTFOLIOS, seed=0)
    env.reset()
    actions = _actions(EXPLORING)
    _walk(env, actions)
    ready.wait()
    seconds, _ = best_of(partial(_walk, env, actions), seconds=2.0)
    answers.put(PORTFOLIOS * WEEKS / seconds)


def _actions(spread: float) -> NDArray[np.float32]:
    """Draw actions around the neutral one, shape (L, B, `INPUTS_1.actions`)."""
    random = np.random.default_rng(3)
    drawn = random.normal(0.0, spread, (WEEKS, PORTFOLIOS, len(INPUTS_1.actions)))
    return drawn.clip(-1, 1).astype(np.float32)


def _walk(env: VecEnv, actions: NDArray[Any]) -> NDArray[Any]:
    """Step through a world; return the rewards, shape (L, B)."""
    return np.array([env.step(now)[1] for now in actions])
