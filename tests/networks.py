"""Small learned policies with random weights, which make arbitrary decisions."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rebalancer.adapters.rl.catalog import load_version, save_version
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.features import INPUTS_1, InputSet
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import (
    PolicyCard,
    TrainingData,
    TrainingRecord,
    TrainingStage,
)
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.versions import VersionedPolicy

REGIMES = RegimeModel(
    names=("calm", "normal", "stressed"),
    start=(0.5, 0.3, 0.2),
    transition=((0.90, 0.08, 0.02), (0.10, 0.85, 0.05), (0.02, 0.18, 0.80)),
    means=((0.2, -0.5), (0.1, -0.1), (-0.3, 0.4)),
    covariances=(np.eye(2) * 0.5, np.eye(2) * 0.7, np.eye(2)),
)

GRID = np.random.default_rng(5).uniform(-1, 1, (7, len(INPUTS_1.actions)))
"""Discrete actions."""

TRAINING = TrainingRecord(
    algorithm="ppo",
    created=date(2026, 11, 2),
    stages=(
        TrainingStage("imitation", 600, "iterations against the simulation"),
        TrainingStage("ppo", 6_000_000, "environment steps"),
    ),
    data=(TrainingData("etfs", "ab" * 32, date(2007, 1, 3), date(2015, 12, 31), 13),),
    trained_until=date(2015, 12, 31),
    reward="relative",
    seeds=(11, 12),
    libraries={"numpy": "2.4.0", "torch": "2.13.0"},
    command="rebalancer train --algorithm ppo --prices etfs.csv",
)

WALK_FORWARD: dict[str, Any] = {
    "policy": "ppo",
    "passed": True,
    "criteria": [
        {
            "name": "drawdown",
            "figure": -0.15,
            "threshold": -0.1,
            "passed": True,
            "sentence": "drawdown beyond what exposure explains: -15%.",
        },
        {
            "name": "orders",
            "figure": 0.3,
            "threshold": 0.6,
            "passed": True,
            "sentence": "orders as a multiple of monthly's: 0.30.",
        },
    ],
}
"""A passed walk-forward."""

FAILED_WALK_FORWARD: dict[str, Any] = {
    **WALK_FORWARD,
    "passed": False,
    "criteria": [
        WALK_FORWARD["criteria"][0],
        {
            "name": "orders",
            "figure": 0.8,
            "threshold": 0.6,
            "passed": False,
            "sentence": "orders as a multiple of monthly's: 0.80; at most 0.60 is allowed.",
        },
    ],
}

GATE: dict[str, Any] = {
    "policy": "ppo@1",
    "best_rule": "trend",
    "passed": True,
    "criteria": [
        {
            "name": "gain",
            "figure": 0.91,
            "threshold": 0.8,
            "passed": True,
            "sentence": "probability of a higher Sharpe ratio than trend's: 0.91.",
        },
        {
            "name": "turnover",
            "figure": 1.2,
            "threshold": 1.5,
            "passed": True,
            "sentence": "turnover as a multiple of monthly's: 1.20.",
        },
    ],
}
"""Criteria of a proven gain, all met."""

FAILED_GATE: dict[str, Any] = {
    **GATE,
    "passed": False,
    "criteria": [
        GATE["criteria"][0],
        {
            "name": "turnover",
            "figure": 2.5,
            "threshold": 1.5,
            "passed": False,
            "sentence": "turnover as a multiple of monthly's: 2.50, at most 1.50 is allowed.",
        },
    ],
}


def a_network(
    seed: int, *, grid: Any = None, hidden: int = 6, size: float = 0.4, inputs: InputSet = INPUTS_1
) -> Network:
    dice = np.random.default_rng(seed)
    outputs = len(inputs.actions) if grid is None else len(grid)
    layers = list(pairwise((len(inputs.features), hidden, hidden, outputs)))
    return Network(
        weights=tuple(dice.normal(0, size, shape) for shape in layers),
        biases=tuple(dice.normal(0, size, outputs) for _, outputs in layers),
        grid=grid,
    )


def a_learned(
    seed: int = 0,
    *,
    name: str = "ppo",
    grid: Any = None,
    size: float = 0.4,
    inputs: InputSet = INPUTS_1,
    **changes: Any,
) -> Any:
    """Build a policy of two networks that may disagree, trusted within 4 deviations."""
    learned = LearnedPolicy(
        name=name,
        networks=tuple(
            a_network(each, grid=grid, size=size, inputs=inputs) for each in (seed, seed + 1000)
        ),
        regimes=REGIMES,
        rule=parse_rule("band:frequency=weekly"),
        lowest=np.full(len(inputs.features), -4.0),
        highest=np.full(len(inputs.features), 4.0),
        most_spread=0.9,
        chosen_rule="trend",
        inputs=inputs,
    )
    return attrs.evolve(learned, **changes)


def keep(folder: Path, *, version: int = 1, seed: int = 0, name: str = "ppo", **more: Any) -> Path:
    """Save a version in a folder."""
    algorithm = more.pop("algorithm", name)
    evidence = more.pop("evidence", None)
    grid = GRID if algorithm == "dqn" else None
    learned = a_learned(seed, name=name, grid=grid, **more)
    training = attrs.evolve(TRAINING, algorithm=algorithm)
    return save_version(folder, learned, training, version=version, evidence=evidence)


def kept(
    tmp_path: Path, *, shipped: bool = False, **more: Any
) -> tuple[VersionedPolicy, PolicyCard]:
    """Save a version and load it again."""
    return load_version(keep(tmp_path, **more), shipped=shipped)
