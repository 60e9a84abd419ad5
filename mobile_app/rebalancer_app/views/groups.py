"""Targets by groups: the allocation with what is inside of each group, and their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import portfolios
from rebalancer_app.gateway import targets as gateway
from rebalancer_app.gateway.portfolios import Portfolio, Revision
from rebalancer_app.gateway.targets import TargetsNow
from rebalancer_app.model.groups import (
    GroupField,
    GroupLine,
    GroupsScreen,
    check_sums,
    edited_tree,
    group_fields,
    groups_screen,
)
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.bars import allocation_bars
from rebalancer_app.views.frame import go
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    content_width,
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


@ft.component
def GroupAllocation(id: str, profile: str) -> ft.Control:
    """Show the allocation by group; a tap on a group shows what is inside."""
    app = use_app()
    text = app.texts
    path, show = ft.use_state(cast("tuple[str, ...]", ()))
    found = use_resource(lambda: app.client.call(gateway.READ, portfolio_id=id), (id,))

    def content(now: TargetsNow) -> list[ft.Control]:
        screen = groups_screen(now, path, app.formats, text)
        return [_line(one, screen, show, app) for one in screen.lines]

    heading: list[ft.Control] = [
        words(
            path[-1] if path else text("groups.allocation"), app, "lead", strong=True, expand=True
        ),
        ft.TextButton(
            text("portfolio.targets"), on_click=lambda _: go(f"/portfolios/{id}/targets")
        ),
    ]
    if path:
        back = icon_button(ft.Icons.ARROW_BACK, text("groups.back"), lambda _: show(path[:-1]), app)
        heading.insert(0, back)
    return card(
        ft.Column(
            [
                ft.Row(heading),
                quiet(text("portfolio.profile", profile=profile), app),
                *shown(found, content, [skeleton(40, app), skeleton(40, app)]),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
    )


def _line(
    one: GroupLine, screen: GroupsScreen, show: Callable[[tuple[str, ...]], None], app: AppState
) -> ft.Control:
    width = content_width(app) - (72 if one.path else 36)
    bar = allocation_bars((one.bar,), screen.scale, width, app)
    if not one.path:
        return bar
    parts: list[ft.Control] = [bar]
    if one.note:
        color = app.colors.caution if one.bar.outside else app.colors.quiet
        parts.append(words(one.note, app, "note", color=color))
    opens = app.texts("groups.open", name=one.bar.name)
    return ft.Semantics(
        button=True,
        label=f"{one.bar.spoken}. {opens}",
        exclude_semantics=True,
        content=ft.Container(
            ft.Row(
                [
                    ft.Column(parts, spacing=4, expand=True),
                    ft.Icon(ft.Icons.CHEVRON_RIGHT, color=app.colors.quiet),
                ]
            ),
            on_click=lambda _: show(one.path),
            ink=True,
            border_radius=12,
        ),
    )


@ft.component
def GroupsForm(one: Portfolio, etag: str) -> ft.Control:
    """Show the weights of groups and members as fields, with the sum inside each group."""
    app = use_app()
    text = app.texts
    tree = one.target_groups or {}
    fields, set_fields = ft.use_state(group_fields(tree, app.formats))
    sums = check_sums(fields, app.formats, text)

    async def save(_: str) -> None:
        revision = Revision(target_groups=edited_tree(tree, fields, app.formats))
        await app.client.call(portfolios.REVISE, revision, etag=etag, portfolio_id=str(one.id))
        app.touch()
        go(f"/portfolios/{one.id}")

    action = use_action(save)

    def change(field: GroupField, typed: str) -> None:
        set_fields(
            tuple(attrs.evolve(each, typed=typed) if each is field else each for each in fields)
        )

    def state(key: str) -> ft.Control:
        color = app.colors.loss if key in sums.wrong else app.colors.quiet
        return ft.Semantics(
            live_region=True, content=words(sums.texts[key], app, "note", color=color)
        )

    def rows(parent: str) -> list[ft.Control]:
        found: list[ft.Control] = []
        for field in fields:
            if field.parent == parent:
                found.append(_field(field, change, app))
                if field.is_group:
                    found += rows(field.key)
        if parent in sums.texts:
            found.append(state(parent))
        return found

    controls: list[ft.Control] = [quiet(text("groups.hint"), app)]
    for field in fields:
        if not field.parent:
            inside = rows(field.key) if field.is_group else []
            controls.append(
                card(ft.Column([_field(field, change, app), *inside], spacing=theme.GRID), app)
            )
    controls.append(state(""))
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
            disabled=action.running or not sums.is_valid,
        )
    )
    return ft.Column(controls, spacing=theme.GRID * 2)


def _field(
    field: GroupField, change: Callable[[GroupField, str], None], app: AppState
) -> ft.Control:
    """Return the field of a group or an asset, indented; its label is the name."""
    lines: list[ft.Control] = [
        ft.Row(
            [
                text_field(
                    field.name,
                    field.typed,
                    lambda typed: change(field, typed),
                    app,
                    expand=True,
                    suffix="%",
                    keyboard_type=ft.KeyboardType.NUMBER,
                    filled=field.is_group,
                )
            ]
        )
    ]
    if field.by_value:
        lines.append(quiet(app.texts("groups.by_value"), app))
    return ft.Container(
        ft.Column(lines, spacing=4), padding=ft.Padding.only(left=theme.GRID * 2 * field.depth)
    )
