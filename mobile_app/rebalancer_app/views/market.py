"""The market: search, an asset's price and data, and the state of the market."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import home, market, rebalance
from rebalancer_app.gateway import live as live_gateway
from rebalancer_app.gateway.live import Assets, Quote
from rebalancer_app.gateway.market import Asset, Closes, Regime
from rebalancer_app.model.live import live_price
from rebalancer_app.model.market import (
    INDICATORS,
    PERIODS,
    Gauge,
    asset_screen,
    first_day,
    gauge,
)
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.charts import line_chart
from rebalancer_app.views.frame import detail_view, go, tab_view
from rebalancer_app.views.live import use_live
from rebalancer_app.views.resources import Phase, use_resource
from rebalancer_app.views.search import AssetSearch
from rebalancer_app.views.widgets import (
    card,
    change_words,
    choices,
    moving,
    quiet,
    secondary_button,
    shown,
    skeleton,
    words,
)


@ft.component
def Market() -> ft.View:
    """Let the person find assets, and show the state of the market."""
    app = use_app()
    text = app.texts
    found = use_resource(lambda: app.client.call(market.REGIME))

    def choose(asset: Asset) -> None:
        go(f"/market/{asset.symbol}")

    controls: list[ft.Control] = [
        AssetSearch(choose, text("market.search")),
        quiet(text("market.recent"), app),
        words(text("market.regime"), app, "lead", strong=True),
    ]

    def content(regime: Regime) -> Sequence[ft.Control]:
        return [_gauge(gauge(regime, app.formats, text), app)]

    if found.phase is Phase.FAILED and found.problem is not None and found.problem.status != 0:
        controls.append(quiet(found.problem.detail, app, "body"))
    else:
        controls += shown(found, content, [skeleton(140, app)])
    controls.append(
        secondary_button(
            text("backtest.title"), lambda _: go("/backtests"), app, icon=ft.Icons.HISTORY
        )
    )
    return tab_view("market", controls, app)


@ft.component
def AssetDetail() -> ft.View:
    """Show the price of an asset over time, and what is known about its data."""
    app = use_app()
    symbol = ft.use_route_params().get("symbol", "")
    return detail_view(f"/market/{symbol}", symbol, [AssetPrice(symbol)], app)


@ft.component
def HoldingDetail() -> ft.View:
    """Show a holding: its price, and what the last proposals advised."""
    app = use_app()
    text = app.texts
    parameters = ft.use_route_params()
    id, symbol = parameters.get("portfolio", ""), parameters.get("symbol", "")
    found = use_resource(
        lambda: app.client.call(rebalance.LIST, query={"portfolio_id": id, "limit": 10}),
        (id,),
    )
    said = [
        (one, reason)
        for one in (found.data.items if found.data else [])
        for reason in (
            *(order.reason for order in one.orders if order.symbol == symbol),
            *(each.reason for each in one.not_traded if each.symbol == symbol),
        )
    ]
    controls: list[ft.Control] = [
        AssetPrice(symbol),
        words(text("holding.proposals"), app, "lead", strong=True),
    ]
    if found.data is not None and not said:
        controls.append(quiet(text("holding.never"), app, "body"))
    controls += [
        card(
            ft.Column([words(reason, app), quiet(app.formats.day(one.as_of), app)], spacing=4),
            app,
            on_click=lambda _, proposal=one.id: go(f"/portfolios/{id}/proposals/{proposal}"),
            label=reason,
        )
        for one, reason in said
    ]
    return detail_view(f"/portfolios/{id}/holdings/{symbol}", symbol, controls, app)


@ft.component
def AssetPrice(symbol: str) -> ft.Control:
    """Show price, chart, moving averages and findings about the data."""
    app = use_app()
    text = app.texts
    period, choose = ft.use_state("1Y")
    summary = use_resource(lambda: app.client.call(home.READ))
    as_of = summary.data.as_of if summary.data is not None else None
    today = as_of or date.today()
    closes = use_resource(
        lambda: app.client.call(
            market.CLOSES,
            query={"start": first_day(period, today), "indicators": INDICATORS},
            symbol=symbol,
        ),
        (symbol, period, str(today)),
    )
    issues = use_resource(
        lambda: app.client.call(market.ISSUES, query={"symbol": symbol, "limit": 20}), (symbol,)
    )

    live = use_live(
        live_gateway.MARKET, live_gateway.MARKET_EVENTS, key=symbol, query={"symbols": symbol}
    )

    def content(data: Closes) -> Sequence[ft.Control]:
        found = issues.data.items if issues.data is not None else []
        screen = asset_screen(data, found, app.formats, text)
        quoted = live_price(
            live.found.get(Assets), live.found.get(Quote), live.link, app.formats, text, live.at
        )
        if quoted is not None:
            screen = attrs.evolve(
                screen, price=quoted.price, change=quoted.change, as_of=quoted.status
            )
        colors = [app.colors.accent, *app.colors.series]
        return [
            ft.Column(
                [
                    moving(words(screen.price, app, "figure", strong=True), screen.price),
                    ft.Row([change_words(screen.change, app), quiet(screen.as_of, app)]),
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
            words(text("market.issues"), app, "lead", strong=True),
            *(
                [words(line, app) for line in screen.issues]
                or [quiet(text("market.no_issues"), app, "body")]
            ),
        ]

    waiting = [skeleton(64, app, 200), skeleton(220, app), skeleton(44, app)]
    return ft.Column(list[ft.Control](shown(closes, content, waiting)), spacing=theme.GRID * 2)


def _gauge(shown_gauge: Gauge, app: AppState) -> ft.Control:
    """Return the probabilities of the states as a bar of parts, and in words."""
    colors = app.colors.series
    parts = [
        ft.Container(expand=max(1, round(share * 100)), height=12, bgcolor=colors[at % len(colors)])
        for at, (_, share) in enumerate(shown_gauge.shares)
        if share >= 0.005
    ]
    legend: list[ft.Control] = [
        quiet(f"{name} {app.formats.percent(share, 0)}", app) for name, share in shown_gauge.shares
    ]
    return card(
        ft.Column(
            [
                words(shown_gauge.title, app, "title", strong=True),
                words(shown_gauge.sentence, app),
                ft.Semantics(
                    exclude_semantics=True,
                    content=ft.Container(
                        ft.Row(list[ft.Control](parts), spacing=2),
                        border_radius=6,
                        clip_behavior=ft.ClipBehavior.ANTI_ALIAS,
                    ),
                ),
                ft.Row(legend, wrap=True, spacing=theme.GRID * 2),
                quiet(shown_gauge.since, app),
            ],
            spacing=theme.GRID,
        ),
        app,
    )
