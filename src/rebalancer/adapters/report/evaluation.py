"""An evaluation as one HTML file: tables, plots and verdicts, nothing loaded from anywhere.

Tables are the terminal's; plots are drawn here as SVG, so that the page works without scripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from rebalancer.adapters.report import drawing
from rebalancer.adapters.report.drawing import STYLE, Line, Whisker
from rebalancer.adapters.report.page import breakable, drawdown, many, palette, part, swatch
from rebalancer.application.reporting import tables
from rebalancer.application.reporting.tables import Table
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.evaluation import EQUAL_EXPOSURE, PanelEvaluation
from rebalancer.domain.backtest.findings import Findings

Curves = dict[str, Floats]

POINTS = 700
"""At most about this many points a line; a screen shows no more."""

_STYLE = (
    STYLE
    + """
.drawing .strong text { fill: var(--ink); font-weight: 650; }
.drawing .strong .line { stroke-width: 3; }
.verdicts p { margin: 6px 0; }
h3 { margin: 18px 0 2px; font-size: 14px; }
td.text, thead th.text { text-align: left; }
.pass { color: var(--best-ink); background: var(--best); border-radius: 4px; padding: 1px 6px; }
.fail { border: 1px solid var(--caution-rule); border-radius: 4px; padding: 0 5px; }
</style>"""
)


class HtmlEvaluations:
    """Evaluations as self-contained HTML pages."""

    def render(self, findings: Findings) -> str:
        """See `EvaluationReports.render`."""
        first = next(iter(findings.panels.values()))
        policies = [evaluation.policy for evaluation in first.policies]
        title = (
            f"Evidence: {many(len(policies), 'policy', 'policies')}, "
            f"{many(len(findings.panels), 'panel', 'panels')}"
        )
        several = len(findings.panels) > 1
        return "\n".join(
            [
                part("page.html")
                .replace("/*palette*/", palette())
                .replace("</style>", _STYLE)
                .replace("<!--title-->", title),
                _masthead(title, findings, first),
                *(_together(findings) if several else ()),
                _intervals(findings),
                _gate(findings),
                *(_panel(name, done) for name, done in findings.panels.items()),
                "</main></body></html>\n",
            ]
        )


def _masthead(title: str, findings: Findings, first: PanelEvaluation) -> str:
    facts = (
        ("Trading costs", first.cost_label),
        ("Panels", ", ".join(findings.panels)),
        ("Trials", f"{findings.trials:,}"),
    )
    shown = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    cautions = "".join(f"<li>{escape(caution.text)}</li>" for caution in findings.cautions)
    box = (
        '<aside class="cautions" aria-labelledby="cautions"><h2 id="cautions">Before you rely on '
        f"this</h2><ul>{cautions}</ul></aside>"
    )
    return (
        f'<header><h1>{title}</h1><dl class="facts">{shown}</dl>'
        f'<p class="caption">{escape(findings.counted)} {escape(findings.chosen)}</p></header>'
        f"{box if cautions else ''}"
    )


def _together(findings: Findings) -> Iterator[str]:
    sentences = [tables.pooled_verdict(each) for each in findings.pooled]
    sentences += [f"{policy}: {sentence}" for policy, sentence in findings.summaries]
    table = tables.pooled(findings)
    yield _section(table.title, _table(table), _sentences(sentences))


def _intervals(findings: Findings) -> str:
    """Gains on each sceptic, a line a panel and one for all together."""
    plots = []
    first = next(iter(findings.panels.values()))
    for place, evaluation in enumerate(first.policies):
        for at, comparison in tables.shown(evaluation):
            every = []
            for panel, done in findings.panels.items():
                gain = done.policies[place].strictest.comparisons[at].gain
                if gain is not None:
                    every.append(Whisker(panel, place, gain.estimate, gain.low, gain.high))
            gain = findings.pooled[place].strictest[at].gain
            if len(findings.panels) > 1 and gain is not None:
                every.append(
                    Whisker("all together", place, gain.estimate, gain.low, gain.high, strong=True)
                )
            if every:
                heading = f"{evaluation.policy} on {tables.baseline_label(comparison, 'it')}"
                drawn = drawing.whiskers(every, title=f"Gain of Sharpe ratio, {heading}")
                plots.append(f"<h3>{escape(heading)}</h3>{drawn}")
    if not plots:
        plots.append('<p class="caption">No panel is long enough to tell.</p>')
    return _section(
        "How sure the gains are",
        '<p class="caption">Difference of Sharpe ratios a year and its 95% interval. Where that '
        "reaches 0, chance may do it.</p>",
        *plots,
    )


def _gate(findings: Findings) -> str:
    parts = []
    for promotion in findings.promotions:
        head, *_ = promotion.lines
        rows = "".join(
            f'<tr><td class="text"><span class="{"pass" if each.passed else "fail"}">'
            f"{'pass' if each.passed else 'fail'}</span></td>"
            f'<td class="text">{escape(each.sentence)}</td></tr>'
            for each in promotion.criteria
        )
        table = f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>' if rows else ""
        parts.append(f"<p>{escape(head)}</p>{table}")
    return _section("Promotion", *parts)


def _panel(name: str, done: PanelEvaluation) -> str:
    curves = _curves(done)
    legend = "".join(
        f"<li>{swatch(at)}<span>{breakable(label)}</span></li>" for at, label in enumerate(curves)
    )
    days = done.dates.astype("datetime64[D]").astype(np.int64).astype(np.float64)
    rows = _drawn_rows(list(curves.values()))
    figures, gains = tables.figures(name, done), tables.gains(done)
    return _section(
        figures.title,
        _table(figures),
        f"<h3>{gains.title}</h3>",
        _table(gains),
        _sentences(tables.verdicts(done)),
        "<h3>Growth of 1 invested</h3>",
        '<p class="caption">After costs; equal heights are equal percentage changes.</p>',
        f'<ul class="legend">{legend}</ul>',
        drawing.lines(
            [
                Line(label, at, days[rows], values[rows])
                for at, (label, values) in enumerate(curves.items())
            ],
            title=f"Growth of 1 invested, {name}",
            across=drawing.calendar_ticks,
            up="{:.3g}".format,
            log=True,
            height=360.0,
        ),
        "<h3>Drawdown</h3>",
        '<p class="caption">Distance from the highest value so far.</p>',
        drawing.lines(
            [
                Line(label, at, days[rows], drawdown(values)[rows])
                for at, (label, values) in enumerate(curves.items())
            ],
            title=f"Drawdown, {name}",
            across=drawing.calendar_ticks,
            up=lambda value: f"{value:.0%}",
            zero=True,
            height=240.0,
        ),
        '<div class="pair">',
        _sweep(name, done),
        _thirds(done),
        "</div>",
    )


def _sweep(name: str, done: PanelEvaluation) -> str:
    drawn = drawing.lines(
        [
            Line(
                evaluation.policy,
                at,
                np.array([each.bps for each in evaluation.strictest.sweep]),
                np.array([each.gain for each in evaluation.strictest.sweep]),
            )
            for at, evaluation in enumerate(done.policies)
        ],
        title=f"Gain on monthly by cost of trading, {name}",
        across=lambda low, high: [(bps, f"{bps:g}") for bps in drawing.round_ticks(low, high)],
        up=drawing.signed,
        zero=True,
        height=380.0,
    )
    return (
        '<div><h3>Gain on monthly by cost of trading</h3><p class="caption">Difference of Sharpe '
        f"ratios a year, both paying so many basis points of traded value.</p>{drawn}</div>"
    )


def _thirds(done: PanelEvaluation) -> str:
    parts = done.policies[0].strictest.subperiods
    if not parts:
        return ""
    table = Table(
        "",
        ("policy",),
        tuple(f"{each.first} to {each.last}" for each in parts),
        (
            tuple(
                (
                    evaluation.policy,
                    *(f"{each.gain:+.2f}" for each in evaluation.strictest.subperiods),
                )
                for evaluation in done.policies
            ),
        ),
        "Gain of Sharpe ratio on monthly. One third that carries all of it is one event, no rule.",
    )
    return f"<div><h3>Thirds of the window</h3>{_table(table)}{_seeds(done)}</div>"


def _seeds(done: PanelEvaluation) -> str:
    every = [evaluation for evaluation in done.policies if evaluation.strictest.seeds]
    rows = tuple(
        (evaluation.policy, *(f"{gain:+.2f}" for gain in sorted(evaluation.strictest.seeds)))
        for evaluation in every
    )
    if not rows:
        return ""
    most = max(len(row) for row in rows) - 1
    table = Table(
        "",
        ("policy",),
        tuple(f"{at + 1}" for at in range(most)),
        (rows,),
        "Gain of Sharpe ratio on monthly of each seed alone, the least first.",
    )
    return f"<h3>Seeds</h3>{_table(table)}"


def _curves(done: PanelEvaluation) -> Curves:
    """Wealth of policies, then of their sceptics, each once."""
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


def _drawn_rows(curves: Sequence[Floats]) -> NDArray[np.intp]:
    """Rows to draw: all, or evenly spaced with every deepest drawdown."""
    count = len(curves[0])
    if count <= POINTS:
        return np.arange(count)
    extremes = []
    for values in curves:
        trough = int(np.argmin(drawdown(values)))
        extremes += [int(np.argmax(values[: trough + 1])), trough]
    even = np.linspace(0, count - 1, POINTS).round().astype(np.intp)
    return np.union1d(even, np.array(extremes, dtype=np.intp))


_TEXT = ' class="text"'


def _table(table: Table) -> str:
    """A table of text, with its caption below."""
    words = len(table.texts)
    columns = words + len(table.figures)
    headings = "".join(
        f'<th scope="col"{_TEXT if at < words else ""}>{escape(each)}</th>'
        for at, each in enumerate((*table.texts, *table.figures))
    )
    body = []
    for section in table.sections:
        for row in section:
            cells = [*row, *[""] * (columns - len(row))]
            shown = "".join(
                f'<td class="text">{breakable(cell)}</td>'
                if at < words
                else f"<td>{escape(cell).replace('-', chr(0x2212))}</td>"
                for at, cell in enumerate(cells[1:], start=1)
            )
            body.append(f'<tr><th scope="row">{breakable(cells[0])}</th>{shown}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr>{headings}</tr></thead><tbody>{"".join(body)}'
        f'</tbody></table></div><p class="caption">{escape(table.caption)}</p>'
    )


def _sentences(every: Sequence[str]) -> str:
    return f'<div class="verdicts">{"".join(f"<p>{escape(each)}</p>" for each in every)}</div>'


def _section(heading: str, *parts: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{''.join(parts)}</section>"
