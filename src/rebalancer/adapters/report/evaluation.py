"""Evaluations as self-contained HTML pages: tables, verdicts, and plots drawn as SVG.

The tables are those of the terminal. The pages work without scripts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from markupsafe import Markup

from rebalancer.adapters.report import drawing
from rebalancer.adapters.report.drawing import Line, Whisker
from rebalancer.adapters.report.page import drawdown, pluralize, render_page, thin_rows
from rebalancer.application.reporting import tables
from rebalancer.application.reporting.tables import Table
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.evaluation import EQUAL_EXPOSURE, PanelEvaluation
from rebalancer.domain.backtest.findings import Findings

POINTS = 700


class HtmlEvaluations:
    """Renders evaluations as self-contained HTML pages."""

    def render(self, findings: Findings) -> str:
        first = next(iter(findings.panels.values()))
        conclusions = [tables.pooled_verdict(each) for each in findings.pooled]
        conclusions += [f"{policy}: {sentence}" for policy, sentence in findings.summaries]
        return render_page(
            "evaluation.html.j2",
            title=f"Evidence: {pluralize(len(first.policies), 'policy', 'policies')}, "
            f"{pluralize(len(findings.panels), 'panel', 'panels')}",
            facts=(
                ("Trading costs", first.cost_label),
                *([("Currency", first.currency)] if first.currency else ()),
                ("Panels", ", ".join(findings.panels)),
                ("Trials", f"{findings.trials:,}"),
            ),
            lead=f"{findings.counted} {findings.chosen}",
            cautions=[caution.text for caution in findings.cautions],
            pooled=tables.pooled(findings) if len(findings.panels) > 1 else None,
            conclusions=conclusions,
            intervals=list(_draw_intervals(findings)),
            promotions=findings.promotions,
            panels=[_panel_values(name, done) for name, done in findings.panels.items()],
        )


def _draw_intervals(findings: Findings) -> Iterator[tuple[str, Markup]]:
    """Yield a plot of gains for each policy and baseline: a line a panel, and a pooled one."""
    first = next(iter(findings.panels.values()))
    for place, evaluation in enumerate(first.policies):
        for at, comparison in tables.shown(evaluation):
            whiskers = []
            for panel, done in findings.panels.items():
                gain = done.policies[place].strictest.comparisons[at].gain
                if gain is not None:
                    whiskers.append(Whisker(panel, place, gain.estimate, gain.low, gain.high))
            gain = findings.pooled[place].strictest[at].gain
            if len(findings.panels) > 1 and gain is not None:
                whiskers.append(
                    Whisker("all together", place, gain.estimate, gain.low, gain.high, strong=True)
                )
            if whiskers:
                heading = f"{evaluation.policy} over {tables.baseline_label(comparison, 'it')}"
                title = f"Gain of Sharpe ratio, {heading}"
                yield heading, drawing.draw_whiskers(whiskers, title=title)


def _panel_values(name: str, done: PanelEvaluation) -> dict[str, Any]:
    curves = _curves(done)
    days = done.dates.astype("datetime64[D]").astype(np.int64).astype(np.float64)
    rows = thin_rows(list(curves.values()), POINTS)
    labelled = list(enumerate(curves.items()))
    return {
        "figures": tables.figures(name, done),
        "gains": tables.gains(done),
        "verdicts": tables.verdicts(done),
        "labels": list(curves),
        "growth": drawing.draw_lines(
            [Line(label, at, days[rows], values[rows]) for at, (label, values) in labelled],
            title=f"Growth of 1 invested, {name}",
            across=drawing.calendar_ticks,
            up="{:.3g}".format,
            log=True,
            height=360.0,
        ),
        "drawdown": drawing.draw_lines(
            [
                Line(label, at, days[rows], drawdown(values)[rows])
                for at, (label, values) in labelled
            ],
            title=f"Drawdown, {name}",
            across=drawing.calendar_ticks,
            up="{:.0%}".format,
            zero=True,
            height=240.0,
        ),
        "sweep": drawing.draw_lines(
            [
                Line(
                    evaluation.policy,
                    at,
                    np.array([each.bps for each in evaluation.strictest.sweep]),
                    np.array([each.gain for each in evaluation.strictest.sweep]),
                )
                for at, evaluation in enumerate(done.policies)
            ],
            title=f"Gain over monthly by trading cost, {name}",
            across=lambda low, high: [(bps, f"{bps:g}") for bps in drawing.round_ticks(low, high)],
            up=drawing.signed,
            zero=True,
            height=380.0,
        ),
        "thirds": _thirds(done),
        "seeds": _seeds(done),
    }


def _thirds(done: PanelEvaluation) -> Table | None:
    thirds = done.policies[0].strictest.subperiods
    if not thirds:
        return None
    rows = tuple(
        (evaluation.policy, *(f"{each.gain:+.2f}" for each in evaluation.strictest.subperiods))
        for evaluation in done.policies
    )
    return Table(
        "",
        ("policy",),
        tuple(f"{each.first} to {each.last}" for each in thirds),
        (rows,),
        "Gain of Sharpe ratio over monthly. If one third has all of the gain, it is one event and "
        "not a pattern.",
    )


def _seeds(done: PanelEvaluation) -> Table | None:
    rows = tuple(
        (evaluation.policy, *(f"{gain:+.2f}" for gain in sorted(evaluation.strictest.seeds)))
        for evaluation in done.policies
        if evaluation.strictest.seeds
    )
    if not rows:
        return None
    return Table(
        "",
        ("policy",),
        tuple(f"{at}" for at in range(1, max(map(len, rows)))),
        (rows,),
        "Gain of Sharpe ratio over monthly of each seed alone, in ascending order.",
    )


def _curves(done: PanelEvaluation) -> dict[str, Floats]:
    """Return the wealth of policies, then of their baselines, each once, by label."""
    curves = {evaluation.policy: evaluation.strictest.values for evaluation in done.policies}
    for evaluation in done.policies:
        for _, comparison in tables.shown(evaluation):
            if comparison.against != EQUAL_EXPOSURE:
                curves.setdefault(comparison.against, comparison.values)
    for evaluation in done.policies:
        for _, comparison in tables.shown(evaluation):
            label = tables.baseline_label(comparison, evaluation.policy)
            curves.setdefault(label, comparison.values)
    return curves
