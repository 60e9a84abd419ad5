"""How a portfolio has done: against the benchmark, without rebalancing, and by month."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import performance as gateway
from rebalancer_app.gateway.performance import Performance
from rebalancer_app.model.performance import (
    PERIODS,
    ContributionRow,
    Figure,
    MonthCell,
    PerformanceScreen,
    performance_screen,
)
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.charts import line_chart
from rebalancer_app.views.frame import detail_view
from rebalancer_app.views.resources import use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
    quiet,
    remark,
    shown,
    skeleton,
    words,
)


@ft.component
def PortfolioPerformance() -> ft.View:
    """Show the performance of one portfolio."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    period, choose = ft.use_state("1Y")
    explained, explain = ft.use_state(cast("Figure | None", None))
    found = use_resource(lambda: app.client.call(gateway.READ, portfolio_id=id), (id,))
    ft.use_dialog(None if explained is None else _explanation(explained, explain, app))

    def content(one: Performance) -> Sequence[ft.Control]:
        screen = performance_screen(one, period, app.formats, text, hidden=app.amounts_hidden)
        colors = [app.colors.accent, *app.colors.series[:2], app.colors.quiet]
        return [
            ft.Column(
                [
                    words(screen.gain, app, "figure", strong=True),
                    quiet(screen.contributed, app, "body"),
                ],
                spacing=4,
            ),
            *([line_chart(screen.chart, app, height=220, colors=colors)] if screen.chart else []),
            choices(
                [(one, text(f"period.{one}")) for one in PERIODS],
                period,
                choose,
                app,
                label=text("home.period"),
            ),
            words(screen.since, app, "lead", strong=True),
            _figures(screen, explain, app),
            _comparisons(screen, app),
            *_contributions("performance.by_holding", screen.holdings, app),
            *_contributions("performance.by_class", screen.classes, app),
            *_drawdowns(screen, app),
            words(text("performance.months"), app, "lead", strong=True),
            *[_year(year, months, app) for year, months in screen.months],
            *[remark(note, app) for note in screen.notes],
        ]

    waiting = [skeleton(64, app, 200), skeleton(220, app), skeleton(44, app), skeleton(200, app)]
    return detail_view(
        f"/portfolios/{id}/performance",
        text("portfolio.performance"),
        shown(found, content, waiting),
        app,
        reload=found.reload,
    )


def _figures(
    screen: PerformanceScreen, explain: Callable[[Figure | None], None], app: AppState
) -> ft.Control:
    """Return the figures; each explains itself when it is tapped."""
    return card(
        ft.Column(
            [
                ft.MergeSemantics(
                    ft.Semantics(
                        button=True,
                        label=f"{figure.name}: {figure.value}",
                        content=ft.Container(
                            ft.Semantics(exclude_semantics=True, content=_figure_line(figure, app)),
                            height=theme.TOUCH_TARGET,
                            on_click=lambda _, figure=figure: explain(figure),
                            ink=True,
                        ),
                    )
                )
                for figure in screen.figures
            ],
            spacing=0,
        ),
        app,
    )


def _figure_line(figure: Figure, app: AppState) -> ft.Control:
    return ft.Row(
        [
            quiet(figure.name, app, "body", expand=True),
            words(figure.value, app, strong=True),
            ft.Icon(ft.Icons.INFO_OUTLINE, size=16, color=app.colors.quiet),
        ]
    )


def _comparisons(screen: PerformanceScreen, app: AppState) -> ft.Control:
    text = app.texts
    rows = [
        ft.Row(
            [
                quiet("", app, expand=3),
                quiet(text("performance.return"), app, expand=1, text_align=ft.TextAlign.END),
                quiet(text("performance.loss"), app, expand=1, text_align=ft.TextAlign.END),
            ]
        )
    ]
    rows += [
        ft.Row(
            [
                words(name, app, expand=3),
                words(gained, app, strong=True, expand=1, text_align=ft.TextAlign.END),
                words(lost, app, expand=1, text_align=ft.TextAlign.END),
            ]
        )
        for name, gained, lost in screen.comparisons
    ]
    return card(ft.Column(list[ft.Control](rows), spacing=theme.GRID), app)


def _contributions(title: str, rows: Sequence[ContributionRow], app: AppState) -> list[ft.Control]:
    """Return what each part adds to the return; together they are the return."""
    if not rows:
        return []
    lines = [
        ft.Semantics(
            label=row.spoken,
            exclude_semantics=True,
            content=ft.Row(
                [
                    words(row.name, app, expand=True),
                    words(
                        row.text,
                        app,
                        strong=True,
                        color=app.colors.gain if row.strength >= 0 else app.colors.loss,
                    ),
                ]
            ),
        )
        for row in rows
    ]
    return [
        words(app.texts(title), app, "lead", strong=True),
        card(
            ft.Column([quiet(app.texts("performance.adds_up"), app), *lines], spacing=theme.GRID),
            app,
        ),
    ]


def _drawdowns(screen: PerformanceScreen, app: AppState) -> list[ft.Control]:
    if screen.drawdowns is None:
        return []
    return [
        words(app.texts("performance.drawdown"), app, "lead", strong=True),
        line_chart(screen.drawdowns, app, height=140, colors=[app.colors.loss]),
    ]


def _year(year: str, months: tuple[MonthCell, ...], app: AppState) -> ft.Control:
    """Return the months of a year; darker is further from zero, and the sign is written."""
    return ft.Column(
        [
            words(year, app, strong=True),
            ft.Row([_month(month, app) for month in months], wrap=True, spacing=4, run_spacing=4),
        ],
        spacing=4,
    )


def _month(month: MonthCell, app: AppState) -> ft.Control:
    color = app.colors.gain if month.strength >= 0 else app.colors.loss
    return ft.Semantics(
        label=month.spoken,
        exclude_semantics=True,
        content=ft.Container(
            ft.Column(
                [quiet(month.name, app), words(month.text, app, "note", strong=True)],
                spacing=0,
                horizontal_alignment=ft.CrossAxisAlignment.CENTER,
            ),
            bgcolor=ft.Colors.with_opacity(0.06 + 0.16 * abs(month.strength), color),
            border_radius=theme.GRID,
            padding=6,
            width=54,
        ),
    )


def _explanation(
    figure: Figure, explain: Callable[[Figure | None], None], app: AppState
) -> ft.AlertDialog:
    return ft.AlertDialog(
        title=words(f"{figure.name}: {figure.value}", app, "title", strong=True),
        content=words(figure.meaning, app),
        actions=[
            ft.TextButton(
                app.texts("dialog.close"),
                on_click=lambda _: explain(None),
                height=theme.TOUCH_TARGET,
                autofocus=True,
            )
        ],
        on_dismiss=lambda _: explain(None),
    )
