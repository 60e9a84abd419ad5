"""Indicators of an asset as a self-contained HTML page: a plot for each, below the closes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from rebalancer.adapters.report import drawing
from rebalancer.adapters.report.drawing import Line
from rebalancer.adapters.report.page import render_page
from rebalancer.application.indicators import IndicatorPlot

_DRAWN = 1_260
"""Closes that are drawn at most, the last ones: five years."""

_OVER_PRICES = ("sma", "ema", "bollinger")
"""Indicators in the unit of prices, which are drawn over the closes."""


class HtmlIndicators:
    """Renders indicators as self-contained HTML pages."""

    def render(self, plot: IndicatorPlot) -> str:
        days = plot.indicators.days
        return render_page(
            "indicators.html.j2",
            title=f"Indicators of {plot.symbol}",
            facts=(
                ("First close", str(days[0])),
                ("Last close", str(days[-1])),
                ("Closes", f"{len(days):,}"),
                ("Currency", plot.currency or "not stated"),
            ),
            lead="Closes are adjusted for splits and distributions, up to the last one.",
            cautions=(),
            plots=list(_draw(plot)),
        )


def _draw(plot: IndicatorPlot) -> Iterator[tuple[str, list[str], Markup]]:
    """Yield the heading, the legend and the drawing of each plot."""
    columns = plot.indicators.columns
    over = {name: values for name, values in columns.items() if name.startswith(_OVER_PRICES)}
    yield _lines(plot, "Closes", {"close": plot.closes, **over})
    groups: dict[str, dict[str, Sequence[float | None]]] = {}
    for name, values in columns.items():
        if name not in over:
            groups.setdefault(name.partition(".")[0], {})[name.rpartition(".")[2]] = values
    for heading, lines in groups.items():
        yield _lines(plot, heading, lines)


def _lines(
    plot: IndicatorPlot, heading: str, values: dict[str, Sequence[float | None]]
) -> tuple[str, list[str], Markup]:
    days = np.array(plot.indicators.days[-_DRAWN:], dtype="datetime64[D]").astype(np.int64)
    lines = []
    for at, (name, column) in enumerate(values.items()):
        y = np.array(column[-_DRAWN:], dtype=np.float64)
        known = ~np.isnan(y)
        if known.any():
            lines.append(Line(name, at, days[known].astype(np.float64), y[known]))
    drawn = Markup("")
    if lines:
        drawn = drawing.draw_lines(
            lines,
            title=f"{heading} of {plot.symbol}",
            across=drawing.calendar_ticks,
            up=lambda value: f"{value:g}",
            height=300.0,
        )
    return heading, list(values), drawn
