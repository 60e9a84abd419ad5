"""Trainings as documents of JSON values."""

from __future__ import annotations

from typing import Any

import attrs

from rebalancer.domain.backtest.selection import RuleChoice
from rebalancer.domain.policy.training import TrainedPolicy, TrainingPlan


@attrs.frozen(eq=False)
class TrainingResult:
    """A learned policy that was trained, and is in the catalogue.

    Attributes:
        version: Its exact name, such as ``my_ppo@1``.
        location: Where it lies, for people; None where it ends with the process.
        plan: What was trained.
        trained: What it came to.
        choice: The best rule on the same prices.
        counted: What the record of trials made of it, in a sentence.
        cautions: What a reader must know.
    """

    version: str
    location: str | None
    plan: TrainingPlan
    trained: TrainedPolicy
    choice: RuleChoice
    counted: str
    cautions: tuple[str, ...] = ()


def training_document(made: TrainingResult) -> dict[str, Any]:
    """What was made as JSON values."""
    trained, plan = made.trained, made.plan
    training = trained.training
    return {
        "policy": made.version,
        "place": made.location,
        "algorithm": plan.algorithm,
        "reward": plan.reward,
        "steps": plan.steps,
        "worlds": plan.worlds,
        "warm_start": plan.warm_start,
        "device": plan.device,
        "chosen_rule": made.choice.rule,
        "trained_until": str(training.trained_until),
        "command": training.command,
        "data": [
            {
                "name": one.name,
                "sha256": one.sha256,
                "from": str(one.first),
                "to": str(one.last),
                "assets": one.symbols,
            }
            for one in training.data
        ],
        "stages": [attrs.asdict(stage) for stage in training.stages],
        "seeds": [
            {"seed": seed, "before": trained.before[seed], "after": trained.after[seed]}
            for seed in plan.seeds
        ],
        "curve": [
            {
                "seed": point.seed,
                "stage": point.stage,
                "at": point.at,
                "of": point.of,
                "worth": point.mean_reward,
            }
            for point in trained.curve
        ],
        "counted": made.counted,
        "cautions": list(made.cautions),
    }
