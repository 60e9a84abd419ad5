"""A backtest as one HTML file: every policy side by side, nothing loaded from anywhere.

The table quotes ``PolicyResult.performance`` and computes nothing. The plots are drawn in the
browser from one block of JSON: all policies share one set of rows, so that a point in time can be
compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rebalancer.adapters.report.page import (
    DASHES,
    POLICY_COLORS,
    breakable,
    drawdown,
    many,
    palette,
    part,
    swatch,
)
from rebalancer.domain.arrays import Floats, Rows
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.indicators import TRADING_DAYS

if TYPE_CHECKING:
    from rebalancer.domain.backtest.result import Backtest, PolicyResult


POINTS = 1_500
"""At most about this many points a line; a screen shows no more."""

MOST_ASSETS = 20
"""Up to here every asset has its own area; beyond, the `LARGEST` have, and the others share one."""

LARGEST = 15

STILL = 1e-4
"""A daily deviation below this is interest on cash: its Sharpe ratio would dwarf all others."""


class HtmlReports:
    """Reports as self-contained HTML pages."""

    def render(self, backtest: Backtest) -> str:
        """See `BacktestReports.render`."""
        return render_backtest(backtest)


def render_backtest(report: Backtest) -> str:
    """One self-contained page: table, plots and glossary; the same input gives the same text.

    Raises:
        Unavailable: plotly is not installed; says how to.
    """
    library = _plotly()
    rows = _drawn_rows(report)
    return "\n".join(
        [
            part("page.html")
            .replace("/*palette*/", palette())
            .replace("<!--title-->", _title(report)),
            _masthead(report),
            _table(report),
            _plots(report, rows),
            _glossary(),
            "</main>",
            f'<script type="application/json" id="data">{_data(report, rows)}</script>',
            f"<script>{library}</script>",
            f"<script>{part('page.js')}</script>",
            "</body></html>\n",
        ]
    )


def _plotly() -> str:
    """The source of plotly.js."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as missing:
        raise Unavailable(
            "HTML reports are drawn by plotly, which is not installed: "
            "pip install 'rebalancer[report]'"
        ) from missing
    return str(get_plotlyjs())


# The table: what each figure is called, how it reads, which way is better


def _ratio(value: float) -> str:
    return f"{value:,.2f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _whole_percent(value: float) -> str:
    return f"{value:.0%}"


def _fine_percent(value: float) -> str:
    return f"{value:.2%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


@attrs.frozen
class _Column:
    """One column of the table.

    Attributes:
        figure: Attribute of ``Performance``.
        heading: What it is called.
        unit: Said under the heading.
        show: Number to text.
        better: 1 when more is better, -1 when less is, 0 when neither.
        meaning: A sentence for the glossary.
    """

    figure: str
    heading: str
    unit: str
    show: Callable[[float], str]
    better: int
    meaning: str


_GAIN = "gain"
"""The one figure that stands beside ``performance``."""

_GROUPS: tuple[tuple[str, tuple[_Column, ...]], ...] = (
    (
        "Return",
        (
            _Column(
                "final_value",
                "Final value",
                "per 1 invested",
                _ratio,
                1,
                "What 1 invested at the start was worth at the last close, after all costs.",
            ),
            _Column(
                "cagr",
                "CAGR",
                "a year",
                _percent,
                1,
                "Compound annual growth rate: the steady yearly return that leads to the same "
                "final value.",
            ),
        ),
    ),
    (
        "Risk",
        (
            _Column(
                "volatility",
                "Volatility",
                "a year",
                _percent,
                -1,
                "Standard deviation of daily returns, annualised.",
            ),
            _Column(
                "max_drawdown",
                "Max drawdown",
                "peak to trough",
                _percent,
                -1,
                "The deepest fall from an earlier peak.",
            ),
            _Column(
                "longest_drawdown",
                "Longest drawdown",
                "trading days",
                _count,
                -1,
                "The longest wait from a peak until it was reached again, or until the end.",
            ),
            _Column(
                "value_at_risk",
                "Value at risk",
                "a day",
                _fine_percent,
                -1,
                "The loss that was not exceeded on 95 days of 100.",
            ),
            _Column(
                "expected_shortfall",
                "Expected shortfall",
                "a day",
                _fine_percent,
                -1,
                "The average loss on the worst 5 days of 100; also called CVaR.",
            ),
        ),
    ),
    (
        "Return for risk",
        (
            _Column(
                "sharpe",
                "Sharpe",
                "ratio",
                _ratio,
                1,
                "Average return in excess of cash over its deviation, annualised. Differences of a "
                "tenth or two are within chance, even over decades.",
            ),
            _Column(
                "sortino",
                "Sortino",
                "ratio",
                _ratio,
                1,
                "Like Sharpe, but only losses count as risk.",
            ),
            _Column(
                "calmar",
                "Calmar",
                "ratio",
                _ratio,
                1,
                "CAGR over the deepest drawdown.",
            ),
        ),
    ),
    (
        "Trading",
        (
            _Column(
                "turnover_per_year",
                "Turnover",
                "a year",
                _percent,
                -1,
                "Share of the portfolio that changes hands, one way: selling everything to buy "
                "something else is 100%. Without the first close.",
            ),
            _Column(
                "orders",
                "Orders",
                "in all",
                _count,
                -1,
                "How many orders were executed after the first close.",
            ),
            _Column(
                "orders_per_year",
                "Orders",
                "a year",
                _count,
                -1,
                "How many orders were executed in an average year.",
            ),
            _Column(
                "cost_paid",
                "Cost paid",
                "of 1 invested",
                _fine_percent,
                -1,
                "All trading costs added up, the first close included, as a share of what was "
                "invested at the start: who has grown more pays more for the same trade.",
            ),
            _Column(
                "average_exposure",
                "Exposure",
                "average",
                _whole_percent,
                0,
                "Share of the portfolio that is invested; the rest is cash.",
            ),
        ),
    ),
    (
        "Against monthly",
        (
            _Column(
                "tracking_error",
                "Tracking error",
                "a year",
                _percent,
                0,
                "Volatility of the difference to the monthly rule's return.",
            ),
            _Column(
                "information_ratio",
                "Information ratio",
                "ratio",
                _ratio,
                1,
                "Average of that difference over the tracking error, annualised.",
            ),
            _Column(
                _GAIN,
                "Sharpe gain",
                "\u00b1 95%",
                _ratio,
                0,
                "Sharpe ratio minus that of the monthly rule, give or take what holds the true "
                "difference in 95 of 100 cases (Ledoit and Wolf 2008). Where that reaches 0, "
                "chance would do.",
            ),
        ),
    ),
)
_COLUMNS = tuple(column for _, columns in _GROUPS for column in columns)


def _shown(column: _Column, value: float) -> str:
    """A figure as text: a true minus sign, no negative zero, a dash where there is none."""
    if not math.isfinite(value):
        return "\u2013"
    text = column.show(value)
    if text.startswith("-"):
        text = text[1:] if not text.strip("-0.,%") else "\u2212" + text[1:]
    return text


def _best(column: _Column, values: Sequence[float]) -> str | None:
    """How the best figure reads, when there is one and it stands out."""
    finite = [value for value in values if math.isfinite(value)]
    if not column.better or len({_shown(column, value) for value in finite}) < 2:
        return None
    best = max(finite) if column.better > 0 else min(finite)
    return _shown(column, best)


def _figure(result: PolicyResult, column: _Column) -> float:
    if column.figure == _GAIN:
        return math.nan if result.gain is None else result.gain.estimate
    return float(getattr(result.performance, column.figure))


def _table(report: Backtest) -> str:
    groups = "".join(
        f'<th scope="colgroup" colspan="{len(columns)}">{name}</th>' for name, columns in _GROUPS
    )
    starts = {columns[0].figure for _, columns in _GROUPS}
    headings = "".join(
        f'<th scope="col"{_starts(column.figure in starts)}>'
        f'<button type="button" data-column="{at}" data-better="{column.better}" '
        f'title="{escape(column.meaning)}">{column.heading}<small>{column.unit}</small></button>'
        "</th>"
        for at, column in enumerate(_COLUMNS)
    )
    figures = {
        column.figure: [_figure(result, column) for result in report.results] for column in _COLUMNS
    }
    best = {column.figure: _best(column, figures[column.figure]) for column in _COLUMNS}
    body = []
    for at, result in enumerate(report.results):
        cells = []
        for column in _COLUMNS:
            value = figures[column.figure][at]
            text = _shown(column, value)
            sortable = repr(value) if math.isfinite(value) else ""
            mark = f"<b>{text}</b>" if text == best[column.figure] else text
            if column.figure == _GAIN and result.gain is not None:
                mark += (
                    f"<br><small>\u00b1{_ratio(result.gain.high - result.gain.estimate)}</small>"
                )
            start = _starts(column.figure in starts)
            cells.append(f'<td data-value="{sortable}"{start}>{mark}</td>')
        name = f"{swatch(at)}<span>{breakable(result.policy)}</span>"
        body.append(f'<tr><th scope="row"><div>{name}</div></th>{"".join(cells)}</tr>')
    tinted = "<b>Tinted</b>: best of its column. " if any(best.values()) else ""
    return "\n".join(
        [
            f'<section><h2>Side by side</h2><p class="caption">After costs. {tinted}'
            "Select a heading to sort.</p>",
            '<div class="scroll"><table id="figures"><thead>',
            f'<tr class="groups"><td></td>{groups}</tr>',
            f'<tr><th scope="col">Policy</th>{headings}</tr></thead><tbody>',
            *body,
            "</tbody></table></div></section>",
        ]
    )


def _starts(first: bool) -> str:
    return ' class="start"' if first else ""


def _glossary() -> str:
    terms = "".join(
        f"<dt>{column.heading}, {column.unit}</dt><dd>{column.meaning}</dd>" for column in _COLUMNS
    )
    return (
        f'<section class="glossary"><details><summary>What the figures mean</summary><dl>{terms}'
        "</dl></details></section>"
    )


# Around the table


def _title(report: Backtest) -> str:
    return (
        f"Backtest: {many(len(report.results), 'policy', 'policies')}, "
        f"{many(len(report.symbols), 'asset', 'assets')}"
    )


def _masthead(report: Backtest) -> str:
    first, last = report.dates[0], report.dates[-1]
    years = float((last - first) / np.timedelta64(1, "D")) / 365.25
    facts = (
        ("Period", f"{first} to {last}"),
        ("Length", f"{years:.1f} years, {many(len(report.dates), 'close', 'closes')}"),
        ("Assets", f"{len(report.symbols):,}"),
        ("Trading costs", escape(report.cost_label)),
    )
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    cautions = "".join(f"<li>{escape(caution.text)}</li>" for caution in report.cautions)
    box = (
        '<aside class="cautions" aria-labelledby="cautions"><h2 id="cautions">Before you rely on '
        f"this</h2><ul>{cautions}</ul></aside>"
    )
    return (
        f'<header><h1>{_title(report)}</h1><dl class="facts">{shown}</dl></header>'
        f"{box if cautions else ''}"
    )


def _plots(report: Backtest, rows: Rows) -> str:
    chips = "".join(
        f'<button type="button" class="chip" aria-pressed="true" data-policy="{at}">'
        f"{swatch(at)}<span>{escape(result.policy)}</span></button>"
        for at, result in enumerate(report.results)
    )
    options = "".join(
        f'<option value="{at}">{escape(result.policy)}</option>'
        for at, result in enumerate(report.results)
    )
    drawn = ""
    if len(rows) < len(report.dates):
        drawn = (
            f"The plots draw {len(report.dates):,} closes as {len(rows):,} points; each policy's "
            "deepest drawdown is among them, and the figures above use every close. "
        )
    areas = "After each close; cash is hatched."
    if len(report.symbols) > MOST_ASSETS:
        areas = (
            f"After each close. The {LARGEST} assets with the highest average weight in any "
            "policy; the others share one area, and cash is hatched."
        )
    sharpe = (
        _plot(
            "sharpe",
            "Rolling Sharpe ratio",
            f"Of the last {TRADING_DAYS} daily returns, annualised; interest on cash is not "
            "deducted. A gap: next to nothing was at risk.",
        )
        if _has_rolling(report)
        else ""
    )
    scale = (
        '<span class="toggle" role="group" aria-label="Scale">'
        '<button type="button" data-scale="log" aria-pressed="true">Log</button>'
        '<button type="button" data-scale="linear" aria-pressed="false">Linear</button></span>'
    )
    return "\n".join(
        [
            '<noscript><p class="caption">The plots need JavaScript; the table does not.</p>'
            "</noscript>",
            f'<nav class="chips" aria-label="Policies drawn">{chips}</nav>',
            f'<p class="caption">{drawn}Select a policy to hide or show it, twice to see it alone; '
            "drag across a plot to zoom into a period, double-click to return.</p>",
            _plot(
                "wealth",
                "Growth of 1 invested",
                "After costs. On the log scale equal heights are equal percentage changes.",
                scale,
            ),
            _plot("drawdown", "Drawdown", "Distance from the highest value so far."),
            f'<div class="pair">{sharpe}',
            _plot("cost", "Cumulative trading cost", "In percent of what was invested at first."),
            "</div>",
            _plot(
                "weights",
                "Weights over time",
                areas,
                f'<label>Policy <select id="policy" autocomplete="off">{options}</select></label>',
            ),
        ]
    )


def _plot(name: str, heading: str, caption: str, control: str = "") -> str:
    return (
        f'<section><div class="heading"><h2>{heading}</h2>{control}</div>'
        f'<p class="caption">{caption}</p><div class="plot" id="{name}"></div></section>'
    )


# What the plots are drawn from


def _drawn_rows(report: Backtest) -> Rows:
    """Rows to draw, shared by all policies: all, or evenly spaced with every deepest drawdown."""
    count = len(report.dates)
    if count <= POINTS:
        return np.arange(count)
    extremes = []
    for result in report.results:
        trough = int(np.argmin(drawdown(result.path.values)))
        extremes += [int(np.argmax(result.path.values[: trough + 1])), trough]
    even = np.linspace(0, count - 1, max(POINTS - len(extremes), POINTS // 2)).round()
    return np.union1d(even.astype(np.intp), np.array(extremes, dtype=np.intp))


def _has_rolling(report: Backtest) -> bool:
    """Whether a year fits, and a month of it can be seen rolling."""
    return len(report.dates) > TRADING_DAYS + TRADING_DAYS // 12


def _rolling_sharpe(values: Floats) -> Floats:
    """Annualised mean over deviation of a year of returns, shape (R,); NaN where unknown."""
    before = values[:-1]
    returns = np.divide(values[1:], before, out=np.ones_like(before), where=before > 0) - 1.0
    windows = np.lib.stride_tricks.sliding_window_view(returns, TRADING_DAYS)
    means, deviations = windows.mean(axis=1), windows.std(axis=1, ddof=1)
    sharpes = np.full(len(values), np.nan)
    still = deviations < STILL
    sharpes[TRADING_DAYS:][~still] = means[~still] / deviations[~still] * math.sqrt(TRADING_DAYS)
    return sharpes


def _data(report: Backtest, rows: Rows) -> str:
    """JSON that is safe inside a script element; texts are escaped for plotly's own markup."""
    chosen = _own_area(report)
    shared = len(chosen) < len(report.symbols)
    labels = [escape(report.symbols[at], quote=False) for at in chosen]
    data = {
        "dates": [str(day) for day in report.dates[rows]],
        "assets": labels + ["others"] * shared,
        "shared": shared,
        "policies": [
            _policy_data(report, result, at, rows, chosen)
            for at, result in enumerate(report.results)
        ],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy_data(
    report: Backtest, result: PolicyResult, at: int, rows: Rows, chosen: list[int]
) -> dict[str, object]:
    held = np.clip(result.path.weights[rows], 0.0, None)
    areas = [held[:, column] for column in chosen]
    if len(chosen) < len(report.symbols):
        others = np.ones(len(report.symbols), dtype=bool)
        others[chosen] = False
        areas.append(held[:, others].sum(axis=1))
    cash = np.clip(1.0 - held.sum(axis=1), 0.0, None)
    lines: dict[str, object] = {
        "label": escape(result.policy, quote=False),
        "color": at % len(POLICY_COLORS),
        "dash": DASHES[at // len(POLICY_COLORS) % len(DASHES)][0],
        "wealth": [
            float(f"{value:.5g}") if value > 0 else None for value in result.path.values[rows]
        ],
        "drawdown": _numbers(drawdown(result.path.values)[rows] * 100, 2),
        "cost": _numbers(np.cumsum(result.path.costs)[rows] * 100, 4),
        "weights": [_basis_points(area) for area in areas],
        "cash": _basis_points(cash),
    }
    if _has_rolling(report):
        lines["sharpe"] = _numbers(_rolling_sharpe(result.path.values)[rows], 3)
    return lines


def _own_area(report: Backtest) -> list[int]:
    """Columns with an area of their own, largest first by the highest average of any policy."""
    if not report.results:
        return []
    averages = np.array([result.path.weights.mean(axis=0) for result in report.results]).max(axis=0)
    order = [int(at) for at in np.argsort(-averages.round(4), kind="stable")]
    return order if len(order) <= MOST_ASSETS else order[:LARGEST]


def _numbers(values: Floats, decimals: int) -> list[float | None]:
    rounded = (values.round(decimals) + 0.0).tolist()
    return [value if math.isfinite(value) else None for value in rounded]


def _basis_points(weights: Floats) -> list[int]:
    """Integers are a third shorter than fractions, and weights are most of the data."""
    shown: list[int] = (weights * 10_000).round().astype(np.int64).tolist()
    return shown
