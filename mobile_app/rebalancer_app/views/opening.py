"""Open a portfolio by hand or from a file, and edit its targets."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import cast

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import portfolios, users
from rebalancer_app.gateway.market import Asset
from rebalancer_app.gateway.portfolios import Opening, Portfolio, Revision
from rebalancer_app.gateway.users import Limits, User
from rebalancer_app.model.holdings_file import HoldingsFile, read_holdings
from rebalancer_app.model.numbers import read_number
from rebalancer_app.model.targets import TargetSum, add_targets, suggest_targets
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.groups import GroupsForm
from rebalancer_app.views.preferences import CURRENCIES
from rebalancer_app.views.resources import Action, use_action, use_resource
from rebalancer_app.views.search import AssetSearch
from rebalancer_app.views.widgets import (
    card,
    drop_down,
    icon_button,
    notice,
    primary_button,
    quiet,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)


@attrs.frozen
class Line:
    """An asset in the form.

    Attributes:
        units: As typed.
        target: Percent, as typed.
    """

    symbol: str
    asset_class: str | None = None
    units: str = ""
    target: str = ""


@ft.component
def NewPortfolio() -> ft.View:
    """Let the person enter what is held and what it should become."""
    app = use_app()
    text = app.texts
    name, set_name = ft.use_state("")
    currency, set_currency = ft.use_state("USD")
    cash, set_cash = ft.use_state("")
    lines, set_lines = ft.use_state(cast("tuple[Line, ...]", ()))
    told, tell = ft.use_state("")
    wrong, set_wrong = ft.use_state("")
    acknowledged, acknowledge = ft.use_state(False)
    profile = use_resource(lambda: app.client.call(users.PROFILE))
    state = add_targets({one.symbol: one.target for one in lines}, app.formats, text)

    async def open_it(key: str) -> None:
        opening, mistake = _opening(name, currency, cash, lines, state, acknowledged, app)
        set_wrong(mistake)
        if opening is None:
            return
        answer = await app.client.call(portfolios.OPEN, opening, key=key)
        app.touch()
        go(f"/portfolios/{answer.data.id}")

    action = use_action(open_it)

    def read(data: bytes) -> None:
        found = read_holdings(data, app.formats)
        set_lines(_merge(lines, found, app))
        if found.cash:
            set_cash(app.formats.plain(found.cash))
        tell(_summary(found, app))

    controls: list[ft.Control] = [
        text_field(text("opening.name"), name, set_name, app, max_length=100, autofocus=True),
        drop_down(
            text("opening.currency"),
            [(code, code) for code in CURRENCIES],
            currency,
            set_currency,
            app,
        ),
        text_field(
            text("opening.cash", currency=currency),
            cash,
            set_cash,
            app,
            keyboard_type=ft.KeyboardType.NUMBER,
        ),
        _file_button(read, app),
        *([notice(told, app)] if told else []),
        AssetSearch(
            lambda asset: set_lines((*lines, _line(asset))),
            text("opening.search"),
            taken=tuple(one.symbol for one in lines),
        ),
        *[_line_card(one, lines, set_lines, app) for one in lines],
        *_targets_summary(lines, set_lines, state, profile.data, app),
    ]
    if acknowledged or _exceeds_limits(action):
        controls.append(_acknowledgement(acknowledged, acknowledge, app))
    message = wrong or action.message
    if message:
        controls.append(notice(message, app))
    controls.append(
        primary_button(text("home.open"), lambda _: action.run(), app, disabled=action.running)
    )
    return detail_view("/portfolios/new", text("home.open"), controls, app)


@ft.component
def EditTargets() -> ft.View:
    """Let the person change the targets of a portfolio."""
    app = use_app()
    id = ft.use_route_params().get("portfolio", "")
    found = use_resource(lambda: app.client.call(portfolios.READ, portfolio_id=id), (id,))

    def content(one: Portfolio) -> list[ft.Control]:
        if one.target_groups is not None:
            return [
                GroupsForm(one, found.etag or "", key=str(one.version))  # type: ignore[call-arg]  # of the decorator
            ]
        return [
            TargetsForm(one, found.etag or "", key=str(one.version))  # type: ignore[call-arg]  # of the decorator
        ]

    return detail_view(
        f"/portfolios/{id}/targets",
        app.texts("portfolio.targets"),
        shown(found, content, [skeleton(72, app), skeleton(72, app), skeleton(48, app)]),
        app,
    )


@ft.component
def TargetsForm(one: Portfolio, etag: str) -> ft.Control:
    """Show the targets as fields; they are based on the version that was shown."""
    app = use_app()
    text = app.texts
    names = sorted({*one.targets, *one.holdings})
    lines, set_lines = ft.use_state(
        tuple(
            Line(
                name,
                target=app.formats.plain(Decimal(str(round(one.targets.get(name, 0.0) * 100, 4)))),
            )
            for name in names
        )
    )
    acknowledged, acknowledge = ft.use_state(False)
    profile = use_resource(lambda: app.client.call(users.PROFILE))
    state = add_targets({line.symbol: line.target for line in lines}, app.formats, text)

    async def save(_: str) -> None:
        revision = Revision(targets=state.shares, acknowledge_limits=acknowledged or None)
        await app.client.call(portfolios.REVISE, revision, etag=etag, portfolio_id=str(one.id))
        app.touch()
        go(f"/portfolios/{one.id}")

    action = use_action(save)
    controls: list[ft.Control] = [
        AssetSearch(
            lambda asset: set_lines((*lines, _line(asset))),
            text("opening.search"),
            taken=tuple(line.symbol for line in lines),
        ),
        *[_line_card(line, lines, set_lines, app, units=False) for line in lines],
        *_targets_summary(lines, set_lines, state, profile.data, app),
    ]
    if acknowledged or _exceeds_limits(action):
        controls.append(_acknowledgement(acknowledged, acknowledge, app))
    if action.problem is not None and action.problem.status == 412:
        controls.append(notice(text("problem.changed_elsewhere"), app))
        controls.append(secondary_button(text("app.reload"), lambda _: app.touch(), app))
    elif action.message:
        controls.append(notice(action.message, app))
    controls.append(
        primary_button(
            text("targets.save"),
            lambda _: action.run(),
            app,
            disabled=action.running or not state.is_valid,
        )
    )
    return ft.Column(controls, spacing=theme.GRID * 2)


def _line(asset: Asset) -> Line:
    return Line(asset.symbol, asset.asset_class)


def _line_card(
    one: Line,
    lines: tuple[Line, ...],
    set_lines: Callable[[tuple[Line, ...]], None],
    app: AppState,
    *,
    units: bool = True,
) -> ft.Control:
    text = app.texts

    def change(**values: str) -> None:
        set_lines(tuple(attrs.evolve(each, **values) if each is one else each for each in lines))

    fields: list[ft.Control] = []
    if units:
        fields.append(
            text_field(
                text("opening.units"),
                one.units,
                lambda value: change(units=value),
                app,
                expand=True,
                keyboard_type=ft.KeyboardType.NUMBER,
            )
        )
    fields.append(
        text_field(
            text("opening.target"),
            one.target,
            lambda value: change(target=value),
            app,
            expand=True,
            suffix="%",
            keyboard_type=ft.KeyboardType.NUMBER,
        )
    )
    return card(
        ft.Column(
            [
                ft.Row(
                    [
                        words(one.symbol, app, "lead", strong=True, expand=True),
                        icon_button(
                            ft.Icons.CLOSE,
                            text("opening.remove", symbol=one.symbol),
                            lambda _: set_lines(tuple(each for each in lines if each is not one)),
                            app,
                        ),
                    ]
                ),
                ft.Row(fields),
            ],
            spacing=theme.GRID,
        ),
        app,
    )


def _targets_summary(
    lines: tuple[Line, ...],
    set_lines: Callable[[tuple[Line, ...]], None],
    state: TargetSum,
    user: User | None,
    app: AppState,
) -> list[ft.Control]:
    """Return the live sum and a button that suggests targets."""
    if not lines:
        return []
    limits: Limits | None = user.assessment.profile if user and user.assessment else None

    def suggest(_: object) -> None:
        found = suggest_targets({one.symbol: one.asset_class for one in lines}, limits)
        set_lines(
            tuple(
                attrs.evolve(one, target=app.formats.plain(found[one.symbol] * 100))
                for one in lines
            )
        )

    text = app.texts
    color = app.colors.text if state.is_valid else app.colors.loss
    name = text.find(f"profile.{limits.name}") if limits else None
    label = text("targets.suggest_for", profile=name) if name else text("targets.suggest")
    controls: list[ft.Control] = [
        ft.Semantics(
            live_region=True, content=words(state.text, app, "lead", strong=True, color=color)
        ),
        secondary_button(label, suggest, app),
    ]
    if limits is not None:
        controls.append(
            quiet(
                text(
                    "targets.limits",
                    equities=app.formats.percent(limits.equity_ceiling, 0),
                    largest=app.formats.percent(limits.max_weight, 0),
                    cash=app.formats.percent(limits.cash_floor, 0),
                ),
                app,
            )
        )
    return controls


def _file_button(read: Callable[[bytes], None], app: AppState) -> ft.Control:
    async def pick(_: object) -> None:
        files = await ft.FilePicker().pick_files(
            file_type=ft.FilePickerFileType.CUSTOM,
            allowed_extensions=["csv", "txt", "tsv"],
            with_data=True,
            cancel_upload_on_window_blur=False,
        )
        if files and files[0].bytes is not None:
            read(bytes(files[0].bytes))

    return ft.Column(
        [
            secondary_button(app.texts("opening.file"), pick, app, icon=ft.Icons.UPLOAD_FILE),
            quiet(app.texts("opening.file_hint"), app),
        ],
        spacing=4,
    )


def _merge(lines: tuple[Line, ...], found: HoldingsFile, app: AppState) -> tuple[Line, ...]:
    kept = {one.symbol: one for one in lines}
    for symbol, units in found.holdings.items():
        target = found.targets.get(symbol)
        kept[symbol] = attrs.evolve(
            kept.get(symbol, Line(symbol)),
            units=app.formats.plain(units),
            target="" if target is None else app.formats.plain(target * 100),
        )
    return tuple(kept.values())


def _summary(found: HoldingsFile, app: AppState) -> str:
    text = app.texts("opening.file_read", count=len(found.holdings))
    if found.mistakes:
        number, line = found.mistakes[0]
        text += " " + app.texts("opening.file_mistakes", number=number, line=line)
    return text


def _opening(
    name: str,
    currency: str,
    cash: str,
    lines: tuple[Line, ...],
    state: TargetSum,
    acknowledged: bool,
    app: AppState,
) -> tuple[Opening | None, str]:
    """Return the portfolio that was typed, or what is wrong with it."""
    text = app.texts
    if not name.strip():
        return None, text("opening.name_missing")
    money = Decimal(0) if not cash.strip() else read_number(cash, app.formats)
    if money is None or money < 0:
        return None, text("money.amount_wrong")
    holdings = {}
    for one in lines:
        units = Decimal(0) if not one.units.strip() else read_number(one.units, app.formats)
        if units is None or units < 0:
            return None, text("money.fill_wrong", symbol=one.symbol)
        if units:
            holdings[one.symbol] = units
    if not state.is_valid:
        return None, state.text
    return Opening(name.strip(), currency, state.shares, money, holdings, acknowledged), ""


def _exceeds_limits(action: Action) -> bool:
    return action.problem is not None and "limit" in action.problem.code


def _acknowledgement(value: bool, change: Callable[[bool], None], app: AppState) -> ft.Control:
    return ft.Checkbox(
        label=app.texts("targets.acknowledge"),
        value=value,
        on_change=lambda event: change(bool(event.control.value)),
    )
