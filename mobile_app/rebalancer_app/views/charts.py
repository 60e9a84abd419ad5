"""Charts, each with a description for screen readers."""

from __future__ import annotations

from collections.abc import Sequence

import flet as ft
import flet.canvas as cv
import flet_charts as fc

from rebalancer_app import theme
from rebalancer_app.model.charts import Chart
from rebalancer_app.state import AppState
from rebalancer_app.views.widgets import quiet


def line_chart(
    chart: Chart, app: AppState, *, height: float = 200, colors: Sequence[str] = ()
) -> ft.Control:
    """Return a chart of values over time; a finger or pointer on it shows value and date."""
    chosen = list(colors) or [app.colors.accent, *app.colors.series]
    alone = len(chart.curves) == 1
    style = ft.TextStyle(
        color=app.colors.text, size=theme.SIZES["note"], font_family=theme.STRONG_FONT
    )
    series = [
        fc.LineChartData(
            points=[
                fc.LineChartDataPoint(
                    x, value, tooltip=fc.LineChartDataPointTooltip(text=label, text_style=style)
                )
                for x, (value, label) in enumerate(zip(curve.values, curve.labels, strict=True))
            ],
            color=chosen[at % len(chosen)],
            stroke_width=2.5 if at == 0 else 2,
            rounded_stroke_cap=True,
            below_line_gradient=ft.LinearGradient(
                begin=ft.Alignment.TOP_CENTER,
                end=ft.Alignment.BOTTOM_CENTER,
                colors=[
                    ft.Colors.with_opacity(0.18, chosen[0]),
                    ft.Colors.with_opacity(0.0, chosen[0]),
                ],
            )
            if alone
            else None,
        )
        for at, curve in enumerate(chart.curves)
    ]
    legend: list[ft.Control] = [
        ft.Row(
            [
                ft.Container(width=12, height=4, border_radius=2, bgcolor=chosen[at % len(chosen)]),
                quiet(curve.name, app),
            ],
            spacing=6,
            tight=True,
        )
        for at, curve in enumerate(chart.curves)
        if curve.name
    ]
    return ft.Semantics(
        label=chart.spoken,
        exclude_semantics=True,
        content=ft.Column(
            [
                *([ft.Row(legend, wrap=True, spacing=16)] if legend else []),
                ft.Container(
                    fc.LineChart(
                        data_series=series[::-1],  # the first one is drawn over the others
                        min_y=chart.low,
                        max_y=chart.high,
                        min_x=0,
                        max_x=len(chart.dates) - 1,
                        expand=True,
                        animation=ft.Animation(theme.SLOW),
                        tooltip=fc.LineChartTooltip(
                            bgcolor=app.colors.raised,
                            fit_inside_horizontally=True,
                            fit_inside_vertically=True,
                        ),
                    ),
                    height=height,
                ),
                ft.Row(
                    [quiet(chart.first, app), quiet(chart.last, app)],
                    alignment=ft.MainAxisAlignment.SPACE_BETWEEN,
                ),
            ],
            spacing=theme.GRID / 2,
        ),
    )


def sparkline(
    values: Sequence[float], app: AppState, *, width: float = 64, height: float = 28
) -> ft.Control:
    """Return a small line without words; its meaning is in the words beside it."""
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    step = width / (len(values) - 1)
    places = [
        (at * step, height - 3 - (value - low) / spread * (height - 6))
        for at, value in enumerate(values)
    ]
    elements: list[cv.Path.PathElement] = [cv.Path.MoveTo(*places[0])]
    elements += [cv.Path.LineTo(*place) for place in places[1:]]
    color = app.colors.gain if values[-1] >= values[0] else app.colors.loss
    paint = ft.Paint(
        color=color,
        stroke_width=2,
        style=ft.PaintingStyle.STROKE,
        stroke_cap=ft.StrokeCap.ROUND,
        stroke_join=ft.StrokeJoin.ROUND,
    )
    return ft.Semantics(
        exclude_semantics=True,
        content=cv.Canvas([cv.Path(elements, paint)], width=width, height=height),
    )
