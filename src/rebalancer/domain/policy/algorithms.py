"""Learning algorithms and rewards by name; ``--help`` lists them, so numpy stays out."""

from __future__ import annotations

from collections.abc import Iterable

ALGORITHMS = {
    "ppo": "Schulman et al. 2017, Proximal Policy Optimization Algorithms",
    "dqn": "Mnih et al. 2015, Human-level Control through Deep Reinforcement Learning",
}
"""Sources of the learning algorithms, by name; `adapters.rl.algorithms` holds a module for each."""

SHIPPED_STEPS = {"ppo": 524_288, "dqn": 131_072}
"""Environment steps for each seed of the shipped policies."""

SHIPPED_SEEDS = 5
SHIPPED_WORLDS = 3_000
SHIPPED_WARM_START = 120
SHIPPED_REWARD = "drawdown_beyond_exposure"
"""Other parts of the plan of the shipped policies, see `TrainingPlan`."""

FEATURES = 2
"""Set of features that new policies are trained with, see `features.INPUT_SETS`."""

REWARDS = {
    "mean_variance": "the week's gain on the monthly rule under mean-variance preferences",
    "differential_sharpe": "what the week does to a moving Sharpe ratio, less the monthly rule's",
    "drawdown": "mean_variance, less a price on drawdown beyond the monthly rule's",
    "drawdown_beyond_exposure": "mean_variance, less prices on drawdown beyond exposure and on "
    "orders",
}
"""Descriptions of the rewards, by name; `adapters.rl.rewards` holds a class for each."""


def any_of(names: Iterable[str]) -> str:
    """Join names to ``a, b or c``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
