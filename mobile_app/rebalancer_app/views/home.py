"""Home: what the person has, and whether anything is off."""

from __future__ import annotations

from collections.abc import Sequence

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import portfolios
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.portfolios import Portfolio
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import go, tab_view
from rebalancer_app.views.resources import use_resource
from rebalancer_app.views.widgets import card, empty, money, quiet, shown, skeleton, words


@ft.component
def Home() -> ft.View:
    """Show all portfolios of the person."""
    app = use_app()
    found = use_resource(lambda: app.client.call(portfolios.LIST))

    def content(page: Page[Portfolio]) -> Sequence[ft.Control]:
        if not page.items:
            text = app.texts
            return [
                empty(
                    text("home.empty_title"),
                    text("home.empty"),
                    text("home.open"),
                    lambda _: go("/portfolios/new"),
                    app,
                )
            ]
        return [_portfolio_card(one, app) for one in page.items]

    waiting = [skeleton(theme.GRID * 6, app, 220), skeleton(96, app), skeleton(96, app)]
    return tab_view("home", shown(found, content, waiting), app)


def _portfolio_card(one: Portfolio, app: AppState) -> ft.Control:
    value = money(one.value, one.currency, app)
    return card(
        ft.Row(
            [
                ft.Column(
                    [
                        words(one.name, app, "lead", strong=True),
                        quiet(app.texts("home.as_of", day=app.formats.day(one.as_of)), app),
                    ],
                    spacing=4,
                    expand=True,
                ),
                words(value, app, "lead", strong=True),
            ]
        ),
        app,
        on_click=lambda _: go(f"/portfolios/{one.id}"),
        label=f"{one.name}, {value}",
    )
