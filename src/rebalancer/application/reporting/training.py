"""Trainings as documents of JSON values."""

from __future__ import annotations

from typing import Any

import attrs

from rebalancer.domain.backtest.selection import RuleChoice
from rebalancer.domain.policy.training import TrainedPolicy, TrainingPlan


@attrs.frozen(eq=False)
class TrainingResult:
    """Result of a training: a new version in the catalogue.

    Attributes:
        version: Exact name of the version, such as ``my_ppo@1``.
        location: Folder of the version; None if it exists in memory only.
        choice: The best rule on the same prices.
        counted: How the training counts as a trial, in a sentence.
        cautions: Limitations that a reader must know.
    """

    version: str
    location: str | None
    plan: TrainingPlan
    trained: TrainedPolicy
    choice: RuleChoice
    counted: str
    cautions: tuple[str, ...] = ()


def training_document(made: TrainingResult) -> dict[str, Any]:
    """Return the result of a training as JSON values."""
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


def describe_choice(choice: RuleChoice) -> str:
    """Return a sentence on the rule that the policy has to beat."""
    return (
        f"The best rule on the same prices, which a learned policy has to beat: {choice.rule} "
        f"(Sharpe ratio {choice.gains[0][1]:+.2f} over monthly, the median of "
        f"{choice.panels} panel{'' if choice.panels == 1 else 's'})."
    )
