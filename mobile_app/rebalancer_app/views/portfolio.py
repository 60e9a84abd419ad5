"""One portfolio: value, allocation against targets, holdings, and what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import live as live_gateway
from rebalancer_app.gateway import portfolios as gateway
from rebalancer_app.gateway.live import LivePortfolio
from rebalancer_app.gateway.portfolios import Portfolio
from rebalancer_app.model.live import LiveValue, live_value
from rebalancer_app.model.portfolio import (
    SORTS,
    HoldingRow,
    PortfolioScreen,
    arrange,
    portfolio_screen,
)
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.bars import allocation_bars
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.groups import GroupAllocation
from rebalancer_app.views.live import use_live
from rebalancer_app.views.resources import use_resource
from rebalancer_app.views.widgets import (
    card,
    change_words,
    choices,
    content_width,
    moving,
    primary_button,
    quiet,
    remark,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)

_CENTER = ft.TextAlign.CENTER


@ft.component
def PortfolioDetail() -> ft.View:
    """Show one portfolio."""
    app = use_app()
    id = ft.use_route_params().get("portfolio", "")
    sort, choose_sort = ft.use_state("weight")
    search, set_search = ft.use_state("")
    found = use_resource(lambda: app.client.call(gateway.READ, portfolio_id=id), (id,))
    text = app.texts
    live = use_live(live_gateway.PORTFOLIO, live_gateway.PORTFOLIO_EVENTS, key=id, portfolio_id=id)

    def at_quotes(one: Portfolio) -> tuple[PortfolioScreen, LiveValue]:
        latest = live.found.get(LivePortfolio)
        value = live_value(one, latest, live.link, app.formats, text, live.at)
        screen = portfolio_screen(
            value.portfolio, app.formats, text, hidden=app.amounts_hidden, lines=value.lines
        )
        return attrs.evolve(screen, as_of=value.status), value

    def content(one: Portfolio) -> Sequence[ft.Control]:
        screen, value = at_quotes(one)
        return [
            _value(screen, value, app),
            _actions(id, app),
            *_model_line(one, app),
            *_allocations(one, screen, id, app),
            *[remark(note, app) for note in screen.notes],
        ]

    def aside(one: Portfolio) -> Sequence[ft.Control]:
        screen, _ = at_quotes(one)
        return [
            words(text("portfolio.holdings"), app, "lead", strong=True),
            *_holdings(screen, id, sort, choose_sort, search, set_search, app),
        ]

    waiting = [skeleton(72, app, 240), skeleton(48, app), skeleton(260, app), skeleton(200, app)]
    name = found.data.name if found.data is not None else ""
    return detail_view(
        f"/portfolios/{id}",
        name,
        shown(found, content, waiting),
        app,
        aside=aside(found.data) if found.data is not None else (),
        reload=found.reload,
    )


def _value(screen: PortfolioScreen, value: LiveValue, app: AppState) -> ft.Control:
    color = app.colors.quiet if screen.in_band else app.colors.caution
    lines: list[ft.Control] = [
        moving(words(screen.value, app, "hero", strong=True), screen.value),
        ft.Row(
            [
                *([] if value.change is None else [change_words(value.change, app, "note")]),
                quiet(screen.as_of, app),
            ],
            wrap=True,
        ),
    ]
    if screen.drift_badge:
        lines.append(words(screen.drift_badge, app, strong=True, color=color))
    if screen.uninvested:
        lines.append(quiet(app.texts("portfolio.uninvested", amount=screen.uninvested), app))
    return ft.Column(lines, spacing=4)


def _actions(id: str, app: AppState) -> ft.Control:
    text = app.texts

    def small(name: str, icon: Any, route: str) -> ft.Control:
        label = text(f"portfolio.{name}")
        content = ft.Column(
            [
                ft.Icon(icon, color=app.colors.accent),
                words(label, app, "note", strong=True, color=app.colors.accent, text_align=_CENTER),
            ],
            spacing=4,
            horizontal_alignment=ft.CrossAxisAlignment.CENTER,
        )
        tile = card(content, app, on_click=lambda _: go(route), label=label, padding=theme.GRID)
        return ft.Container(tile, expand=True)

    base = f"/portfolios/{id}"
    same_height: Any = {
        "spacing": theme.GRID,
        "intrinsic_height": True,
        "vertical_alignment": ft.CrossAxisAlignment.STRETCH,
    }
    return ft.Column(
        [
            primary_button(text("portfolio.rebalance"), lambda _: go(f"{base}/rebalance"), app),
            ft.Row(
                [
                    small("deposit", ft.Icons.ADD, f"{base}/deposit"),
                    small("withdraw", ft.Icons.REMOVE, f"{base}/withdraw"),
                    small("trade", ft.Icons.SWAP_HORIZ, f"{base}/trade"),
                ],
                **same_height,
            ),
            ft.Row(
                [
                    small("performance", ft.Icons.SHOW_CHART, f"{base}/performance"),
                    small("activity", ft.Icons.RECEIPT_LONG, f"{base}/activity"),
                    small("share", ft.Icons.GROUP_OUTLINED, f"{base}/shares"),
                ],
                **same_height,
            ),
            ft.Row(
                [
                    small("planned", ft.Icons.EVENT_REPEAT, f"{base}/planned"),
                    small("model", ft.Icons.ACCOUNT_TREE_OUTLINED, f"{base}/model"),
                    small("alerts", ft.Icons.NOTIFICATIONS_NONE, f"{base}/alerts"),
                ],
                **same_height,
            ),
            ft.Row(
                [
                    secondary_button(
                        text("portfolio.future"),
                        lambda _: go(f"{base}/future"),
                        app,
                        icon=ft.Icons.TIMELINE,
                    ),
                    secondary_button(
                        text("portfolio.gains"),
                        lambda _: go(f"{base}/gains"),
                        app,
                        icon=ft.Icons.RECEIPT_OUTLINED,
                    ),
                    secondary_button(
                        text("portfolio.import"),
                        lambda _: go(f"{base}/import"),
                        app,
                        icon=ft.Icons.UPLOAD_FILE,
                    ),
                ],
                wrap=True,
                spacing=theme.GRID,
            ),
        ],
        spacing=theme.GRID,
        horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
    )


def _model_line(one: Portfolio, app: AppState) -> list[ft.Control]:
    """Return which version of a model states the targets, if one does."""
    if one.following is None:
        return []
    return [quiet(app.texts("models.current", number=one.following.version), app)]


def _allocations(
    one: Portfolio, screen: PortfolioScreen, id: str, app: AppState
) -> list[ft.Control]:
    """Return the allocation by group, or by asset; nothing without a value."""
    if not screen.bars:
        return []
    if one.target_groups is not None:
        return [
            GroupAllocation(id, screen.profile, key=str(one.version))  # type: ignore[call-arg]  # of the decorator
        ]
    return [_allocation(screen, id, app)]


def _allocation(screen: PortfolioScreen, id: str, app: AppState) -> ft.Control:
    text = app.texts
    return card(
        ft.Column(
            [
                ft.Row(
                    [
                        words(text("portfolio.allocation"), app, "lead", strong=True, expand=True),
                        ft.TextButton(
                            text("portfolio.targets"),
                            on_click=lambda _: go(f"/portfolios/{id}/targets"),
                        ),
                    ]
                ),
                quiet(text("portfolio.profile", profile=screen.profile), app),
                allocation_bars(screen.bars, screen.scale, content_width(app) - 36, app),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
    )


def _holdings(
    screen: PortfolioScreen,
    id: str,
    sort: str,
    choose_sort: Any,
    search: str,
    set_search: Any,
    app: AppState,
) -> list[ft.Control]:
    text = app.texts
    if not screen.rows:
        return [quiet(text("portfolio.no_holdings"), app, "body")]
    controls: list[ft.Control] = []
    if len(screen.rows) > 6:
        controls.append(text_field(text("portfolio.search"), search, set_search, app))
    if len(screen.rows) > 1:
        controls.append(
            choices(
                [(one, text(f"portfolio.sort_{one}")) for one in SORTS],
                sort,
                choose_sort,
                app,
                label=text("portfolio.sort"),
            )
        )
    return controls + [_holding(row, id, app) for row in arrange(screen.rows, sort, search)]


def _holding(row: HoldingRow, id: str, app: AppState) -> ft.Control:
    text = app.texts
    units = text("portfolio.units", quantity=row.quantity, price=row.price)
    lines: list[ft.Control] = [words(row.symbol, app, "lead", strong=True), quiet(units, app)]
    if row.note:
        lines.append(words(row.note, app, "note", color=app.colors.caution))
    elif row.line:  # always there, so that nothing moves when quotes come
        lines.append(quiet(row.line, app))
    return card(
        ft.Row(
            [
                ft.Column(lines, spacing=2, expand=True),
                ft.Column(
                    [
                        moving(words(row.value, app, "lead", strong=True), row.value),
                        quiet(f"{row.weight} ({row.drift})", app),
                    ],
                    spacing=2,
                    horizontal_alignment=ft.CrossAxisAlignment.END,
                ),
            ]
        ),
        app,
        on_click=lambda _: go(f"/portfolios/{id}/holdings/{row.symbol}"),
        label=f"{row.symbol}, {units}, {row.value}, {row.weight}",
    )
