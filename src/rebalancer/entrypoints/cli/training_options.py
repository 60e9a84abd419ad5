"""Options of trainings that several commands share, and the command that trains a policy again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from rebalancer.domain.policy.algorithms import REWARDS, any_of
from rebalancer.entrypoints.cli.options import combine_options

if TYPE_CHECKING:
    from rebalancer.domain.policy.training import TrainingPlan

MOST = 1_000_000_000
"""Most steps, worlds and iterations."""

PLAN = ("steps", "seeds", "reward", "worlds", "warm_start", "features")
"""Names of the options of a training plan."""

Command = Callable[..., Any]


def plan_options(
    *,
    steps: int | None = None,
    seeds: int | None = None,
    reward: str | None = None,
    worlds: int | None = None,
    warm_start: int | None = None,
    features: int | None = None,
    note: str = "",
) -> Callable[[Command], Command]:
    """Return the options of a training plan.

    The arguments are the defaults; None: the command chooses, and the ``note``, which ends each
    help text, describes how.
    """
    end = f" {note}" if note else ""
    return combine_options(
        click.option(
            "--steps",
            type=click.IntRange(1, MOST),
            default=steps,
            help=f"Environment steps per seed, rounded up to a multiple of 131,072.{end}",
        ),
        click.option(
            "--seeds",
            type=click.IntRange(1, 100),
            default=seeds,
            help=f"Number of networks; the policy uses their median.{end}",
        ),
        click.option(
            "--reward",
            default=reward,
            help=f"Weekly reward: {any_of(REWARDS)}.{end}",
        ),
        click.option(
            "--worlds",
            type=click.IntRange(1, MOST),
            default=worlds,
            help="Number of worlds to train in: two-year histories resampled from the prices."
            f"{end}",
        ),
        click.option(
            "--warm-start",
            type=click.IntRange(0, MOST),
            default=warm_start,
            help="Iterations of gradient ascent in a differentiable simulation before training; 0: "
            f"none.{end}",
        ),
        click.option(
            "--features",
            type=click.IntRange(1, 2),
            default=features,
            help="Number of the set of features and sleeves. Only set 2 limits turnover, to 1.5 "
            f"times the monthly rule's.{end}",
        ),
    )


workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes that train seeds in parallel; the result does not depend on it. Default: "
    "$REBALANCER_WORKERS, or one per core.",
)


def training_command(
    plan: TrainingPlan,
    name: str,
    files: Sequence[object],
    until: date | None,
    cash: str | None,
    layout: str | None,
    *,
    fit_regimes: bool,
) -> str:
    """Return the command that trains a policy again, without relying on defaults."""
    words: list[object] = ["rebalancer", "train", "--algorithm", plan.algorithm]
    if files:
        words += ["--prices", *files]
    for option, value in (
        ("--layout", layout),
        ("--until", until),
        ("--cash", cash),
        ("--steps", plan.steps),
        ("--seeds", len(plan.seeds)),
        ("--reward", plan.reward),
        ("--worlds", plan.worlds),
        ("--warm-start", plan.warm_start),
        ("--features", plan.features),
        ("--device", None if plan.device == "cpu" else plan.device),
        ("--name", name),
    ):
        if value is not None:
            words += [option, value]
    return shlex.join(map(str, words)) + (" --fit-regimes" if fit_regimes else "")
