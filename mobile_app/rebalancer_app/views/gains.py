"""Gains of a portfolio: years, assets and lots; and the rules for gains that proposals respect."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import gains as gateway
from rebalancer_app.gateway import portfolios
from rebalancer_app.gateway.gains import Gains
from rebalancer_app.gateway.portfolios import Portfolio, Revision
from rebalancer_app.model.gains import (
    METHODS,
    AssetCard,
    GainFigure,
    GainRules,
    YearCard,
    gains_screen,
)
from rebalancer_app.state import AppState, use_app
from rebalancer_app.texts import Texts
from rebalancer_app.views.files import SaveButton
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    drop_down,
    failure,
    field_problem,
    notice,
    primary_button,
    quiet,
    remark,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)


@ft.component
def PortfolioGains() -> ft.View:
    """Show the gains of one portfolio by a lot method."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    chosen, choose = ft.use_state("")
    found = use_resource(
        lambda: app.client.call(gateway.READ, portfolio_id=id, method=chosen or None),
        (id, chosen),
    )

    def content(one: Gains) -> Sequence[ft.Control]:
        screen = gains_screen(one, app.formats, text, hidden=app.amounts_hidden)
        return [
            ft.Column(
                [
                    quiet(text("gains.unrealised"), app, "body"),
                    _figure(screen.unrealised, app, "figure"),
                    *([quiet(screen.unknown, app)] if screen.unknown else []),
                    quiet(screen.as_of, app),
                ],
                spacing=4,
            ),
            drop_down(text("gains.method"), _methods(text, one.method), one.method, choose, app),
            words(text("gains.realised_by_year"), app, "lead", strong=True),
            *[_year(year, app) for year in screen.years],
            *([] if screen.years else [quiet(text("gains.no_years"), app, "body")]),
            secondary_button(
                text("gains.rules"),
                lambda _: go(f"/portfolios/{id}/gains/rules"),
                app,
                icon=ft.Icons.TUNE,
            ),
            SaveButton(
                text("gains.save"),
                f"/session/own/gains/{id}/{one.method}.csv",
                lambda: app.client.download(
                    gateway.TABLE, portfolio_id=id, method=one.method, format="csv"
                ),
            ),
            *[remark(note, app) for note in screen.notes],
            quiet(text("gains.no_advice"), app),
        ]

    def aside(one: Gains) -> Sequence[ft.Control]:
        screen = gains_screen(one, app.formats, text, hidden=app.amounts_hidden)
        if not screen.assets:
            return []
        return [
            words(text("gains.by_asset"), app, "lead", strong=True),
            *[_asset(asset, app) for asset in screen.assets],
        ]

    waiting = [skeleton(72, app, 240), skeleton(48, app), skeleton(120, app), skeleton(160, app)]
    return detail_view(
        f"/portfolios/{id}/gains",
        text("portfolio.gains"),
        shown(found, content, waiting),
        app,
        aside=aside(found.data) if found.data is not None else (),
        reload=found.reload,
    )


@ft.component
def EditGainRules() -> ft.View:
    """Let the person choose the lot method, and limit what sales may gain."""
    app = use_app()
    id = ft.use_route_params().get("portfolio", "")
    found = use_resource(lambda: app.client.call(portfolios.READ, portfolio_id=id), (id,))

    def content(one: Portfolio) -> list[ft.Control]:
        return [
            GainRulesForm(one, found.etag or "", key=str(one.version))  # type: ignore[call-arg]  # of the decorator
        ]

    return detail_view(
        f"/portfolios/{id}/gains/rules",
        app.texts("gains.rules"),
        shown(found, content, [skeleton(72, app), skeleton(72, app), skeleton(48, app)]),
        app,
    )


@ft.component
def GainRulesForm(one: Portfolio, etag: str) -> ft.Control:
    """Show the rules as fields; they are based on the version that was shown."""
    app = use_app()
    text = app.texts
    rules, set_rules = ft.use_state(GainRules.of(one.preferences, app.formats))
    changes = rules.changes(app.formats)

    async def save(_: str) -> None:
        revision = Revision(preferences=changes)
        await app.client.call(portfolios.REVISE, revision, etag=etag, portfolio_id=str(one.id))
        app.touch()
        go(f"/portfolios/{one.id}/gains")

    action = use_action(save)

    def change(**values: str) -> None:
        set_rules(attrs.evolve(rules, **values))

    controls: list[ft.Control] = [
        drop_down(
            text("gains.method"),
            _methods(text, rules.method),
            rules.method,
            lambda method: change(method=method),
            app,
        ),
        quiet(text("gains.method_hint"), app, "body"),
        text_field(
            text("gains.limit_each", currency=one.currency),
            rules.each,
            lambda value: change(each=value),
            app,
            keyboard_type=ft.KeyboardType.NUMBER,
            error=field_problem(action, "max_realised_gain", app),
        ),
        text_field(
            text("gains.limit_year", currency=one.currency),
            rules.year,
            lambda value: change(year=value),
            app,
            keyboard_type=ft.KeyboardType.NUMBER,
            error=field_problem(action, "max_realised_gain_year", app),
        ),
        quiet(text("gains.limit_hint"), app, "body"),
    ]
    if changes is None:
        controls.append(notice(text("gains.limit_invalid"), app))
    if action.problem is not None and action.problem.status == 412:
        controls.append(notice(text("problem.changed_elsewhere"), app))
        controls.append(secondary_button(text("app.reload"), lambda _: app.touch(), app))
    else:
        controls += failure(action, app, "max_realised_gain", "max_realised_gain_year")
    controls.append(
        primary_button(
            text("gains.save_rules"),
            lambda _: action.run(),
            app,
            disabled=action.running or changes is None,
        )
    )
    return ft.Column(controls, spacing=theme.GRID * 2)


def _methods(text: Texts, used: str) -> list[tuple[str, str]]:
    """Return the methods to choose from, and the used one."""
    names = METHODS if used in METHODS else (*METHODS, used)
    return [(name, text.find(f"gains.method_{name}") or name) for name in names]


def _figure(figure: GainFigure, app: AppState, size: str = "body") -> ft.Text:
    colors = {1: app.colors.gain, 0: app.colors.text, -1: app.colors.loss}
    return words(figure.text, app, size, strong=True, color=colors[figure.direction])


def _line(name: str, value: ft.Control, app: AppState) -> ft.Control:
    return ft.Row([quiet(name, app, "body", expand=True), value])


def _year(year: YearCard, app: AppState) -> ft.Control:
    return card(
        ft.Column(
            [
                ft.Row(
                    [
                        words(year.name, app, "lead", strong=True, expand=True),
                        _figure(year.gain, app, "lead"),
                    ]
                ),
                *[_line(name, words(value, app), app) for name, value in year.parts],
            ],
            spacing=theme.GRID,
        ),
        app,
    )


def _asset(asset: AssetCard, app: AppState) -> ft.Control:
    """Return an asset with its lots; its figures are read as one sentence."""
    text = app.texts
    figures = ft.Semantics(
        label=asset.spoken,
        exclude_semantics=True,
        content=ft.Column(
            [
                words(asset.symbol, app, "lead", strong=True),
                _line(text("gains.realised"), _figure(asset.realised, app), app),
                _line(text("gains.unrealised"), _figure(asset.unrealised, app), app),
            ],
            spacing=4,
        ),
    )
    lots = [
        ft.Row(
            [
                ft.Column(
                    [
                        words(lot.units, app, "note"),
                        *([quiet(lot.held, app)] if lot.held else []),
                    ],
                    spacing=0,
                    expand=True,
                ),
                _figure(lot.gain, app, "note"),
            ]
        )
        for lot in asset.lots
    ]
    parts: list[ft.Control] = [figures]
    if lots:
        parts += [ft.Divider(height=1, color=app.colors.line), *lots]
    return card(ft.Column(parts, spacing=theme.GRID), app)
