"""Backtests as self-contained HTML pages: a table, and plots drawn by plotly in the browser.

The table quotes ``PolicyResult.performance`` and computes nothing. All plots are drawn from one
block of JSON, in which all policies share one set of rows, so that points in time are comparable.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from functools import cache
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from markupsafe import Markup

from rebalancer.adapters.report.page import (
    POLICY_COLORS,
    dash,
    drawdown,
    pluralize,
    read_template,
    render_page,
    thin_rows,
    with_minus,
)
from rebalancer.domain.arrays import Floats, Rows
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.frequency import TRADING_DAYS, ObservationFrequency

if TYPE_CHECKING:
    from rebalancer.domain.backtest.result import Backtest, PolicyResult

POINTS = 1_500

MOST_ASSETS = 20
"""Up to this number each asset has its own area; beyond, only the `LARGEST` have."""

LARGEST = 15

_FEWEST_ROLLING = 60
"""Fewest returns for a rolling Sharpe ratio."""

_STILL = 1e-4
"""Daily deviations below this are interest on cash, whose Sharpe ratio would dwarf all others."""


@attrs.frozen
class _Column:
    """Column of the table.

    Attributes:
        group: Heading above those of neighbouring columns.
        figure: Attribute of ``Performance``, or `_GAIN`.
        heading: Heading.
        unit: Text under the heading.
        format: Format of its figures.
        better: 1 if more is better, -1 if less is, 0 if neither.
        meaning: Text for the glossary.
    """

    group: str
    figure: str
    heading: str
    unit: str
    format: str
    better: int
    meaning: str

    def show(self, value: float) -> str:
        """Return a figure as text, without a negative zero; a dash if undefined."""
        if not math.isfinite(value):
            return "\u2013"
        text = format(value, self.format)
        return with_minus(text) if text.strip("-0.,%") else text.removeprefix("-")

    def best(self, values: Sequence[float]) -> str | None:
        """Return the text of the best figure; None if no figure stands out."""
        finite = [value for value in values if math.isfinite(value)]
        if not self.better or len({self.show(value) for value in finite}) < 2:
            return None
        return self.show(max(finite) if self.better > 0 else min(finite))


_GAIN = "gain"
"""The one figure that is not an attribute of ``Performance``."""


@cache
def _load_columns() -> tuple[_Column, ...]:
    content = tomllib.loads(read_template("columns.toml"))
    return tuple(_Column(**fields) for fields in content["columns"])


class HtmlBacktests:
    """Renders backtests as self-contained HTML pages."""

    def render(self, backtest: Backtest) -> str:
        plotly = _load_plotly()
        points = thin_rows([result.path.values for result in backtest.results], POINTS)
        first, last = backtest.dates[0], backtest.dates[-1]
        years = float((last - first) / np.timedelta64(1, "D")) / 365.25
        columns = _load_columns()
        groups = [
            (name, list(members))
            for name, members in groupby(columns, key=lambda column: column.group)
        ]
        figures = {
            column: [_figure(result, column) for result in backtest.results] for column in columns
        }
        best = {column: column.best(values) for column, values in figures.items()}
        return render_page(
            "backtest.html.j2",
            title=f"Backtest: {pluralize(len(backtest.results), 'policy', 'policies')}, "
            f"{pluralize(len(backtest.symbols), 'asset', 'assets')}",
            facts=(
                ("Period", f"{first} to {last}"),
                ("Length", f"{years:.1f} years, {len(backtest.dates):,} closes"),
                ("Assets", f"{len(backtest.symbols):,}"),
                ("Trading costs", backtest.cost_label),
                *([("Currency", backtest.currency)] if backtest.currency else ()),
                ("A year", _describe_year(backtest.frequency)),
            ),
            lead="",
            cautions=[caution.text for caution in backtest.cautions],
            groups=groups,
            columns=columns,
            first_columns=[members[0] for _, members in groups],
            rows=[
                (
                    result.policy,
                    [
                        _cell(result, column, figures[column][at], best[column])
                        for column in figures
                    ],
                )
                for at, result in enumerate(backtest.results)
            ],
            any_best=any(best.values()),
            closes=len(backtest.dates),
            points=len(points),
            largest=LARGEST,
            rolling_days=_year_rows(backtest) if _has_rolling_year(backtest) else None,
            data=_plot_data(backtest, points),
            plotly=Markup(plotly),
        )


def _load_plotly() -> str:
    """Return the source of plotly.js; raise Unavailable if plotly is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as missing:
        raise Unavailable(
            "HTML reports of backtests need plotly, which is not installed; run "
            "pip install 'rebalancer[report]'",
            code="plotly_not_installed",
        ) from missing
    return str(get_plotlyjs())


def _figure(result: PolicyResult, column: _Column) -> float:
    if column.figure == _GAIN:
        return math.nan if result.gain is None else result.gain.estimate
    figure: float | None = getattr(result.performance, column.figure)
    return math.nan if figure is None else float(figure)


def _cell(
    result: PolicyResult, column: _Column, value: float, best: str | None
) -> dict[str, object]:
    gain = result.gain if column.figure == _GAIN else None
    text = column.show(value)
    return {
        "column": column,
        "sortable": repr(value) if math.isfinite(value) else "",
        "text": text,
        "best": text == best,
        "reach": None if gain is None else f"\u00b1{gain.high - gain.estimate:,.2f}",
    }


def _has_rolling_year(backtest: Backtest) -> bool:
    """Return whether a rolling year of returns has at least a month of values."""
    year = _year_rows(backtest)
    rows = len(backtest.dates) if backtest.measured is None else len(backtest.measured)
    return rows > max(year + year // 12, _FEWEST_ROLLING)


def _year_rows(backtest: Backtest) -> int:
    """Return the number of returns in a year."""
    return backtest.frequency.rows(TRADING_DAYS)


def _describe_year(frequency: ObservationFrequency) -> str:
    unit = "closes" if frequency.name in ("irregular", "stated") else frequency.name
    return f"{frequency.periods_per_year:.6g} {unit}"


def _rolling_sharpe(backtest: Backtest, values: Floats) -> Floats:
    """Return annualised mean over deviation of a year of returns, shape (R,); NaN if undefined."""
    if backtest.measured is not None and len(backtest.measured) < len(values):
        whole = np.full(len(values), np.nan)
        measured = attrs.evolve(backtest, dates=backtest.dates[backtest.measured], measured=None)
        whole[backtest.measured] = _rolling_sharpe(measured, values[backtest.measured])
        return whole
    year, periods_per_year = _year_rows(backtest), backtest.frequency.periods_per_year
    before = values[:-1]
    returns = np.divide(values[1:], before, out=np.ones_like(before), where=before > 0) - 1.0
    windows = np.lib.stride_tricks.sliding_window_view(returns, year)
    means, deviations = windows.mean(axis=1), windows.std(axis=1, ddof=1)
    sharpes = np.full(len(values), np.nan)
    still = deviations < _STILL
    sharpes[year:][~still] = means[~still] / deviations[~still] * math.sqrt(periods_per_year)
    return sharpes


def _plot_data(backtest: Backtest, rows: Rows) -> dict[str, Any]:
    """Return JSON values for page.js; names are escaped, since plotly renders some tags."""
    chosen = _assets_with_own_area(backtest)
    shared = len(chosen) < len(backtest.symbols)
    labels = [escape(backtest.symbols[at], quote=False) for at in chosen]
    return {
        "dates": [str(day) for day in backtest.dates[rows]],
        "assets": labels + ["others"] * shared,
        "shared": shared,
        "policies": [
            _policy_data(backtest, result, at, rows, chosen)
            for at, result in enumerate(backtest.results)
        ],
    }


def _policy_data(
    backtest: Backtest, result: PolicyResult, at: int, rows: Rows, chosen: list[int]
) -> dict[str, object]:
    path = result.path
    held = np.clip(path.weights[rows], 0.0, None)
    areas = [held[:, column] for column in chosen]
    if len(chosen) < len(backtest.symbols):
        others = np.ones(len(backtest.symbols), dtype=bool)
        others[chosen] = False
        areas.append(held[:, others].sum(axis=1))
    lines: dict[str, object] = {
        "label": escape(result.policy, quote=False),
        "color": at % len(POLICY_COLORS),
        "dash": dash(at)[0],
        "wealth": [float(f"{value:.5g}") if value > 0 else None for value in path.values[rows]],
        "drawdown": _round(drawdown(path.values)[rows] * 100, 2),
        "cost": _round(np.cumsum(path.costs)[rows] * 100, 4),
        "weights": [_basis_points(area) for area in areas],
        "cash": _basis_points(np.clip(1.0 - held.sum(axis=1), 0.0, None)),
    }
    if _has_rolling_year(backtest):
        lines["sharpe"] = _round(_rolling_sharpe(backtest, path.values)[rows], 3)
    return lines


def _assets_with_own_area(backtest: Backtest) -> list[int]:
    """Return columns, largest first by the highest average weight in any policy."""
    averages = [result.path.weights.mean(axis=0) for result in backtest.results]
    order: list[int] = np.argsort(-np.max(averages, axis=0).round(4), kind="stable").tolist()
    return order if len(order) <= MOST_ASSETS else order[:LARGEST]


def _round(values: Floats, decimals: int) -> list[float | None]:
    rounded = (values.round(decimals) + 0.0).tolist()
    return [value if math.isfinite(value) else None for value in rounded]


def _basis_points(weights: Floats) -> list[int]:
    """Return integers, which are a third shorter in JSON; weights are most of the data."""
    points: list[int] = (weights * 10_000).round().astype(np.int64).tolist()
    return points
