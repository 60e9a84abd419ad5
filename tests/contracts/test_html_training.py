import re

import attrs
import pytest
from markupsafe import escape

from rebalancer.adapters.report.training import HtmlTrainings
from rebalancer.application.reporting.training import TrainingResult
from rebalancer.domain.backtest.selection import RuleChoice
from rebalancer.domain.policy.training import CurvePoint, TrainedPolicy, TrainingPlan
from tests.networks import TRAINING, a_learned

PLAN = TrainingPlan(algorithm="ppo", seeds=(11, 12), steps=1_000)


def a_result(**changes):
    curve = tuple(
        CurvePoint(seed, stage, at, 8, 0.01 * at - 0.02)
        for seed in PLAN.seeds
        for stage in ("warm start", "ppo")
        for at in (4, 8)
    )
    trained = TrainedPolicy(
        a_learned(), TRAINING, curve, {11: -0.01, 12: 0.02}, {11: 0.03, 12: 0.01}
    )
    result = TrainingResult(
        version="ppo@1",
        location=None,
        plan=PLAN,
        trained=trained,
        choice=RuleChoice("trend", (("trend", 0.12), ("monthly", 0.0)), 2, "2007", "2015"),
        counted="Trials: 1.",
        cautions=("Beware.",),
    )
    return attrs.evolve(result, **changes)


def test_page_is_self_contained():
    page = HtmlTrainings().render(a_result())
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</main></body></html>\n")
    assert not re.search(r"https?:|src=|href=|@import|<script|url\(", page)
    assert HtmlTrainings().render(a_result()) == page


@pytest.mark.parametrize(
    "expected",
    [
        "Training of ppo@1",
        "has to beat: trend",
        "<li>Beware.</li>",
        "<h3>warm start</h3>",
        "<h3>PPO</h3>",
        '<tr><th scope="row">11</th><td>\u22120.01000</td><td>+0.03000</td><td>+0.04000</td></tr>',
        f'<td class="prose">{"ab" * 32}</td>',
        f"<pre>{TRAINING.command}</pre>",
    ],
)
def test_page_shows_curves_seeds_data_and_command(expected):
    assert expected in HtmlTrainings().render(a_result())


def test_hostile_texts_are_escaped():
    nasty = '<img src="x">&'
    training = attrs.evolve(TRAINING, command=nasty)
    trained = attrs.evolve(a_result().trained, training=training)
    page = HtmlTrainings().render(
        a_result(version=nasty, counted=nasty, cautions=(nasty,), trained=trained)
    )
    assert "<img" not in page
    assert page.count(str(escape(nasty))) >= 5
