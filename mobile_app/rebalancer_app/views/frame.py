"""The frame around all screens: navigation and width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flet as ft

from rebalancer_app import theme
from rebalancer_app.state import AppState
from rebalancer_app.views.widgets import content_width, has_two_panes, icon_button, words

TABS = (
    ("home", "/", ft.Icons.HOME_OUTLINED, ft.Icons.HOME),
    ("activity", "/activity", ft.Icons.RECEIPT_LONG_OUTLINED, ft.Icons.RECEIPT_LONG),
    ("market", "/market", ft.Icons.SEARCH, ft.Icons.SEARCH),
    ("risk", "/risk", ft.Icons.SPEED_OUTLINED, ft.Icons.SPEED),
    ("settings", "/settings", ft.Icons.SETTINGS_OUTLINED, ft.Icons.SETTINGS),
)


def go(route: str) -> None:
    """Open another screen."""
    page = ft.context.page
    page.run_task(page.push_route, route)


def tab_view(
    name: str,
    controls: Sequence[ft.Control],
    app: AppState,
    *,
    aside: Sequence[ft.Control] = (),
    reload: Callable[[], None] | None = None,
) -> ft.View:
    """Return a screen of the navigation: a bar below on phones, a rail on larger windows."""
    at = [tab[0] for tab in TABS].index(name)
    route = TABS[at][1]
    content = _panes(
        [
            ft.Row(
                [
                    ft.Semantics(
                        header=True,
                        content=words(app.texts(f"nav.{name}"), app, "title", strong=True),
                        expand=True,
                    ),
                    *([_reload_button(reload, app)] if reload else []),
                    _bell(app),
                ]
            ),
            *controls,
        ],
        aside,
        app,
    )
    if app.width < theme.RAIL_FROM:
        return ft.View(
            route=route,
            bgcolor=app.colors.ground,
            padding=0,
            controls=[ft.SafeArea(content, expand=True)],
            navigation_bar=ft.NavigationBar(
                selected_index=at,
                bgcolor=app.colors.surface,
                on_change=lambda event: go(TABS[int(event.data)][1]),
                destinations=[
                    ft.NavigationBarDestination(
                        icon=icon, selected_icon=chosen, label=app.texts(f"nav.{key}")
                    )
                    for key, _, icon, chosen in TABS
                ],
            ),
        )
    labelled = app.width >= theme.LABELLED_RAIL_FROM
    rail = ft.NavigationRail(
        selected_index=at,
        extended=labelled,
        label_type=ft.NavigationRailLabelType.NONE if labelled else ft.NavigationRailLabelType.ALL,
        bgcolor=app.colors.surface,
        min_width=88,
        min_extended_width=200,
        on_change=lambda event: go(TABS[int(event.data)][1]),
        destinations=[
            ft.NavigationRailDestination(
                icon=icon, selected_icon=chosen, label=app.texts(f"nav.{key}")
            )
            for key, _, icon, chosen in TABS
        ],
    )
    return ft.View(
        route=route,
        bgcolor=app.colors.ground,
        padding=0,
        controls=[
            ft.Row(
                [rail, ft.Container(content, expand=True)],
                expand=True,
                spacing=0,
                vertical_alignment=ft.CrossAxisAlignment.STRETCH,
            )
        ],
    )


def detail_view(
    route: str,
    title: str,
    controls: Sequence[ft.Control],
    app: AppState,
    *,
    actions: Sequence[ft.Control] = (),
    bottom: ft.Control | None = None,
    aside: Sequence[ft.Control] = (),
    reload: Callable[[], None] | None = None,
) -> ft.View:
    """Return a screen that was opened from another one, with a way back."""
    if reload is not None:
        actions = (*actions, _reload_button(reload, app))
    return ft.View(
        route=route,
        bgcolor=app.colors.ground,
        padding=0,
        appbar=ft.AppBar(
            title=words(title, app, "title", strong=True),
            bgcolor=app.colors.ground,
            color=app.colors.text,
            actions=list(actions),
            center_title=False,
        ),
        controls=[
            ft.SafeArea(_panes(controls, aside, app), expand=True),
            *([bottom] if bottom is not None else []),
        ],
    )


def _bell(app: AppState) -> ft.Control:
    """Return the button that opens the notices, with the number of unread ones."""
    label = (
        app.texts("notices.bell", count=app.unread) if app.unread else app.texts("notices.title")
    )
    icon = ft.Icons.NOTIFICATIONS if app.unread else ft.Icons.NOTIFICATIONS_NONE
    shown = "99+" if app.unread > 99 else str(app.unread)
    badge = ft.Badge(
        shown,
        bgcolor=app.colors.accent,
        text_color=app.colors.on_accent,
        offset=ft.Offset(-8, 8),  # within the button, which may be at the edge of the window
    )
    return icon_button(
        icon, label, lambda _: go("/notices"), app, badge=badge if app.unread else None
    )


def _reload_button(reload: Callable[[], None], app: AppState) -> ft.Control:
    return icon_button(ft.Icons.REFRESH, app.texts("app.reload"), lambda _: reload(), app)


def _panes(
    controls: Sequence[ft.Control], aside: Sequence[ft.Control], app: AppState
) -> ft.Control:
    """Return a column that scrolls, at most as wide as text is easy to read.

    In a wide window, what is ``aside`` has a column of its own; elsewhere it follows.
    """
    if aside and has_two_panes(app):
        return ft.Row(
            [_column(controls, app), _column(aside, app)],
            expand=True,
            spacing=theme.GRID * 2,
            alignment=ft.MainAxisAlignment.CENTER,
            vertical_alignment=ft.CrossAxisAlignment.STRETCH,
        )
    return ft.Row(
        [_column([*controls, *aside], app)],
        expand=True,
        alignment=ft.MainAxisAlignment.CENTER,
        vertical_alignment=ft.CrossAxisAlignment.STRETCH,
    )


def _column(controls: Sequence[ft.Control], app: AppState) -> ft.Control:
    return ft.Container(
        ft.Column(
            [
                ft.Container(height=theme.GRID),
                *controls,
                ft.Container(height=theme.GRID),
            ],
            spacing=theme.GRID * 2,
            scroll=ft.ScrollMode.AUTO,
            horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
        ),
        width=content_width(app) + theme.GRID * 4,
        padding=ft.Padding.symmetric(horizontal=theme.GRID * 2),
    )
