"""Home: what the person has, whether anything is off, and the one thing to do now."""

from __future__ import annotations

from collections.abc import Sequence

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import home as gateway
from rebalancer_app.model.home import PERIODS, HomeScreen, NextStep, PortfolioCard, home_screen
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.charts import line_chart, sparkline
from rebalancer_app.views.frame import go, tab_view
from rebalancer_app.views.resources import use_resource
from rebalancer_app.views.widgets import (
    card,
    change_words,
    choices,
    empty,
    icon_button,
    primary_button,
    quiet,
    remark,
    secondary_button,
    shown,
    skeleton,
    words,
)


@ft.component
def Home() -> ft.View:
    """Show all portfolios of the person."""
    app = use_app()
    period, choose = ft.use_state("1Y")
    query = {"period": period, "currency": app.currency or None}
    found = use_resource(lambda: app.client.call(gateway.READ, query=query), (period, app.currency))

    screen = None  # once for both columns: its chart has many words
    if found.data is not None:
        screen = home_screen(found.data, app.formats, app.texts, hidden=app.amounts_hidden)

    def content(_: gateway.Home) -> Sequence[ft.Control]:
        assert screen is not None  # the content is there
        if screen.is_empty:
            return [
                empty(
                    app.texts("home.empty_title"),
                    app.texts("home.empty"),
                    app.texts("home.open"),
                    lambda _: go("/portfolios/new"),
                    app,
                )
            ]
        return [
            *([_next_step(screen.next_step, app)] if screen.next_step else []),
            _total(screen, app),
            *([line_chart(screen.chart, app)] if screen.chart else []),
            choices(
                [(one, app.texts(f"period.{one}")) for one in PERIODS],
                period,
                choose,
                app,
                label=app.texts("home.period"),
            ),
        ]

    def aside() -> Sequence[ft.Control]:
        if screen is None or screen.is_empty:
            return []
        return [
            words(app.texts("home.portfolios"), app, "lead", strong=True),
            *[_card(one, app) for one in screen.cards],
            *[remark(note, app) for note in screen.notes],
            secondary_button(app.texts("home.open"), lambda _: go("/portfolios/new"), app),
        ]

    waiting = [
        skeleton(56, app, 240),
        skeleton(200, app),
        skeleton(40, app),
        skeleton(88, app),
        skeleton(88, app),
    ]
    return tab_view(
        "home",
        shown(found, content, waiting),
        app,
        aside=aside(),
        reload=found.reload,
    )


def _next_step(step: NextStep, app: AppState) -> ft.Control:
    """Return the one thing to do now, and how many more wait."""
    below = []
    if step.others:
        below = [quiet(app.texts("home.others", count=step.others), app)]
    return card(
        ft.Column(
            [
                words(step.title, app, "lead", strong=True),
                primary_button(step.action, lambda _: go(step.route), app),
                *below,
            ],
            spacing=theme.GRID,
            horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
        ),
        app,
    )


def _total(screen: HomeScreen, app: AppState) -> ft.Control:
    def toggle(_: object) -> None:
        app.amounts_hidden = not app.amounts_hidden

    hint = app.texts("home.show" if app.amounts_hidden else "home.hide")
    return ft.Column(
        [
            quiet(app.texts("home.total"), app, "body"),
            ft.Row(
                [
                    words(screen.total, app, "hero", strong=True),
                    icon_button(
                        ft.Icons.VISIBILITY_OFF if app.amounts_hidden else ft.Icons.VISIBILITY,
                        hint,
                        toggle,
                        app,
                    ),
                ],
                wrap=True,
                vertical_alignment=ft.CrossAxisAlignment.CENTER,
            ),
            ft.Row(
                [change_words(screen.change, app), quiet(screen.gain, app, "body")],
                wrap=True,
                spacing=theme.GRID,
            ),
            quiet(f"{screen.since} · {screen.as_of}", app),
        ],
        spacing=4,
    )


def _card(one: PortfolioCard, app: AppState) -> ft.Control:
    color = app.colors.quiet if one.in_band else app.colors.caution
    return card(
        ft.Row(
            [
                ft.Column(
                    [
                        words(one.name, app, "lead", strong=True),
                        words(one.badge, app, "note", color=color),
                    ],
                    spacing=4,
                    expand=True,
                ),
                *([sparkline(one.sparkline, app)] if len(one.sparkline) > 1 else []),
                ft.Column(
                    [words(one.value, app, "lead", strong=True), change_words(one.change, app)],
                    spacing=4,
                    horizontal_alignment=ft.CrossAxisAlignment.END,
                ),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
        on_click=lambda _: go(one.route),
        label=one.spoken,
    )
