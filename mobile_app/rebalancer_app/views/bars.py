"""Bars of shares: against a target with its band, and before against after."""

from __future__ import annotations

import flet as ft

from rebalancer_app import theme
from rebalancer_app.model.portfolio import AllocationBar
from rebalancer_app.model.proposal import BeforeAfter
from rebalancer_app.state import AppState
from rebalancer_app.views.widgets import quiet, words

HEIGHT = 12


def allocation_bars(
    bars: tuple[AllocationBar, ...], scale: float, width: float, app: AppState
) -> ft.Control:
    """Return each asset's share, with its target as a line and its band as an area."""
    return ft.Column([_allocation_bar(bar, scale, width, app) for bar in bars], spacing=12)


def before_after_bars(
    bars: tuple[BeforeAfter, ...], scale: float, width: float, app: AppState, *, moved: bool
) -> ft.Control:
    """Return each asset's share; it moves from before to after once ``moved`` becomes true."""
    return ft.Column([_moving_bar(bar, scale, width, app, moved) for bar in bars], spacing=12)


def _allocation_bar(bar: AllocationBar, scale: float, width: float, app: AppState) -> ft.Control:
    def at(share: float) -> float:
        return max(0.0, share / scale * width)

    fill = app.colors.caution if bar.outside else app.colors.accent
    return ft.Semantics(
        label=bar.spoken,
        exclude_semantics=True,
        content=ft.Column(
            [
                _names(bar.name, bar.shown, app),
                ft.Stack(
                    [
                        _track(app),
                        ft.Container(
                            left=at(bar.low),
                            width=max(2.0, at(bar.high) - at(bar.low)),
                            top=0,
                            height=HEIGHT + 8,
                            bgcolor=app.colors.band,
                            border_radius=4,
                        ),
                        ft.Container(
                            left=0,
                            top=4,
                            width=at(bar.weight),
                            height=HEIGHT,
                            bgcolor=fill,
                            border_radius=HEIGHT / 2,
                            animate=theme.SLOW,
                        ),
                        ft.Container(
                            left=max(0.0, at(bar.target) - 1),
                            top=0,
                            width=2,
                            height=HEIGHT + 8,
                            bgcolor=app.colors.text,
                        ),
                    ],
                    height=HEIGHT + 8,
                ),
            ],
            spacing=4,
        ),
    )


def _moving_bar(
    bar: BeforeAfter, scale: float, width: float, app: AppState, moved: bool
) -> ft.Control:
    share = bar.after if moved else bar.before
    return ft.Semantics(
        label=bar.spoken,
        exclude_semantics=True,
        content=ft.Column(
            [
                _names(bar.name, bar.shown, app),
                ft.Stack(
                    [
                        _track(app),
                        ft.Container(
                            left=0,
                            top=4,
                            width=max(0.0, share / scale * width),
                            height=HEIGHT,
                            bgcolor=app.colors.accent,
                            border_radius=HEIGHT / 2,
                            animate=theme.SLOW,
                        ),
                        ft.Container(
                            left=max(0.0, bar.before / scale * width - 1),
                            top=0,
                            width=2,
                            height=HEIGHT + 8,
                            bgcolor=app.colors.quiet,
                        ),
                    ],
                    height=HEIGHT + 8,
                ),
            ],
            spacing=4,
        ),
    )


def _names(name: str, shown: str, app: AppState) -> ft.Control:
    return ft.Row(
        [words(name, app, strong=True), quiet(shown, app)],
        alignment=ft.MainAxisAlignment.SPACE_BETWEEN,
        wrap=True,
    )


def _track(app: AppState) -> ft.Control:
    return ft.Container(
        left=0,
        right=0,
        top=4,
        height=HEIGHT,
        bgcolor=app.colors.raised,
        border_radius=HEIGHT / 2,
    )
