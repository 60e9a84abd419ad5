"""A training as one HTML file: learning curves, what was trained, on what, and by which command."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from rebalancer.adapters.report import drawing
from rebalancer.adapters.report.drawing import STYLE, Line
from rebalancer.adapters.report.page import many, palette, part, swatch
from rebalancer.application.reporting.training import TrainingResult
from rebalancer.application.training import describe_choice

_STYLE = (
    STYLE
    + """
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; margin: 8px 0 0; }
</style>"""
)


class HtmlTrainings:
    """Trainings as self-contained HTML pages."""

    def render(self, made: TrainingResult) -> str:
        """See `TrainingReports.render`."""
        title = f"Training of {escape(made.version)}"
        return "\n".join(
            [
                part("page.html")
                .replace("/*palette*/", palette())
                .replace("</style>", _STYLE)
                .replace("<!--title-->", title),
                _masthead(title, made),
                _curves(made),
                _seeds(made),
                _section("Stages", _table(("stage", "steps", "note"), _stages(made))),
                _section("Data", _table(("name", "assets", "from", "to", "sha256"), _data(made))),
                _section("Made again by", f"<pre>{escape(made.trained.training.command)}</pre>"),
                "</main></body></html>\n",
            ]
        )


def _masthead(title: str, made: TrainingResult) -> str:
    plan, training = made.plan, made.trained.training
    facts = (
        ("Algorithm", plan.algorithm.upper()),
        ("Reward", plan.reward),
        ("Networks", many(len(plan.seeds), "seed", "seeds")),
        ("Worlds", f"{plan.worlds:,}"),
        ("Saw nothing after", str(training.trained_until)),
        ("Device", plan.device),
    )
    shown = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    sentences = (describe_choice(made.choice), made.counted)
    cautions = "".join(f"<li>{escape(caution)}</li>" for caution in made.cautions)
    box = (
        '<aside class="cautions" aria-labelledby="cautions"><h2 id="cautions">Before you rely on '
        f"this</h2><ul>{cautions}</ul></aside>"
    )
    return (
        f'<header><h1>{title}</h1><dl class="facts">{shown}</dl>'
        f'<p class="caption">{escape(" ".join(sentences))}</p></header>{box if cautions else ""}'
    )


def _curves(made: TrainingResult) -> str:
    """A plot a stage, a line a seed."""
    plan, trained = made.plan, made.trained
    legend = "".join(
        f"<li>{swatch(at)}<span>seed {seed}</span></li>" for at, seed in enumerate(plan.seeds)
    )
    parts = [
        '<p class="caption">Mean reward a week: above 0 the policy does better, by its reward, '
        "than the monthly rule.</p>",
        f'<ul class="legend">{legend}</ul>',
    ]
    for stage in dict.fromkeys(point.stage for point in trained.curve):
        learning = stage != plan.algorithm
        every = []
        for at, seed in enumerate(plan.seeds):
            points = [each for each in trained.curve if (each.seed, each.stage) == (seed, stage)]
            x, y = [float(each.at) for each in points], [each.worth for each in points]
            if not learning:  # where the algorithm began
                x, y = [0.0, *x], [trained.before[seed], *y]
            if points:
                every.append(Line(f"seed {seed}", at, np.array(x), np.array(y)))
        heading = stage if learning else stage.upper()
        parts += [
            f"<h3>{escape(heading)}</h3>",
            '<p class="caption">'
            + (
                "By iteration, in the worlds of each: a new draw every time, so it is noisy."
                if learning
                else "By steps of the environment, in worlds held out, without exploration. Of the "
                "later half the best is kept."
            )
            + "</p>",
            drawing.lines(
                every,
                title=f"Mean reward a week, {heading}",
                across=lambda low, high: [
                    (value, f"{value:,.0f}") for value in drawing.round_ticks(low, high)
                ],
                up=drawing.signed,
                height=300.0,
            ),
        ]
    return _section("Learning curves", *parts)


def _seeds(made: TrainingResult) -> str:
    trained, algorithm = made.trained, made.plan.algorithm.upper()
    rows = [
        (
            str(seed),
            _figure(trained.before[seed]),
            _figure(trained.after[seed]),
            _figure(trained.after[seed] - trained.before[seed]),
        )
        for seed in made.plan.seeds
    ]
    headings = ("seed", f"before {algorithm}", f"after {algorithm}", "change")
    note = '<p class="caption">Mean reward a week in worlds held out.</p>'
    return _section(f"What {algorithm} changed", note, _table(headings, rows))


def _figure(value: float) -> str:
    return f"{value:+.5f}".replace("-", "\u2212")


def _stages(made: TrainingResult) -> list[tuple[str, ...]]:
    return [(one.stage, f"{one.steps:,}", one.note) for one in made.trained.training.stages]


def _data(made: TrainingResult) -> list[tuple[str, ...]]:
    return [
        (one.name, str(one.symbols), str(one.first), str(one.last), one.sha256)
        for one in made.trained.training.data
    ]


_WORDS = {"note", "sha256"}


def _table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    shown = "".join(f'<th scope="col">{escape(each)}</th>' for each in headings)
    body = []
    for row in rows:
        cells = "".join(
            f'<td class="text">{escape(cell)}</td>'
            if heading in _WORDS
            else f"<td>{escape(cell)}</td>"
            for heading, cell in zip(headings[1:], row[1:], strict=True)
        )
        body.append(f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr>{shown}</tr></thead><tbody>{"".join(body)}'
        "</tbody></table></div>"
    )


def _section(heading: str, *parts: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{''.join(parts)}</section>"
