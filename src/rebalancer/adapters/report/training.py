"""Trainings as self-contained HTML pages: learning curves, data, and the command to repeat it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from rebalancer.adapters.report import drawing
from rebalancer.adapters.report.drawing import Line
from rebalancer.adapters.report.page import pluralize, render_page
from rebalancer.application.reporting.training import TrainingResult, describe_choice


class HtmlTrainings:
    """Renders trainings as self-contained HTML pages."""

    def render(self, result: TrainingResult) -> str:
        plan, trained, training = result.plan, result.trained, result.trained.training
        return render_page(
            "training.html.j2",
            title=f"Training of {result.version}",
            facts=(
                ("Algorithm", plan.algorithm.upper()),
                ("Reward", plan.reward),
                ("Networks", pluralize(len(plan.seeds), "seed", "seeds")),
                ("Worlds", f"{plan.worlds:,}"),
                ("Trained until", str(training.trained_until)),
                ("Device", plan.device),
            ),
            lead=f"{describe_choice(result.choice)} {result.counted}",
            cautions=result.cautions,
            labels=[f"seed {seed}" for seed in plan.seeds],
            curves=list(_draw_curves(result)),
            algorithm=plan.algorithm.upper(),
            seeds=[
                (
                    str(seed),
                    f"{trained.before[seed]:+.5f}",
                    f"{trained.after[seed]:+.5f}",
                    f"{trained.after[seed] - trained.before[seed]:+.5f}",
                )
                for seed in plan.seeds
            ],
            stages=[(one.stage, f"{one.steps:,}", one.note) for one in training.stages],
            data=[
                (one.name, str(one.symbols), str(one.first), str(one.last), one.sha256)
                for one in training.data
            ],
            command=training.command,
        )


def _draw_curves(result: TrainingResult) -> Iterator[tuple[str, bool, Markup]]:
    """Yield for each stage its heading, whether it is pretraining, and a plot of all seeds."""
    plan, trained = result.plan, result.trained
    for stage in dict.fromkeys(point.stage for point in trained.curve):
        pretraining = stage != plan.algorithm
        lines = []
        for at, seed in enumerate(plan.seeds):
            points = [each for each in trained.curve if (each.seed, each.stage) == (seed, stage)]
            x, y = [float(each.at) for each in points], [each.mean_reward for each in points]
            if not pretraining:  # the algorithm starts from here
                x, y = [0.0, *x], [trained.before[seed], *y]
            if points:
                lines.append(Line(f"seed {seed}", at, np.array(x), np.array(y)))
        heading = stage if pretraining else stage.upper()
        drawn = drawing.draw_lines(
            lines,
            title=f"Mean reward a week, {heading}",
            across=lambda low, high: [
                (value, f"{value:,.0f}") for value in drawing.round_ticks(low, high)
            ],
            up=drawing.signed,
            height=300.0,
        )
        yield heading, pretraining, drawn
