"""Building blocks of all screens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import flet as ft

from rebalancer_app import theme
from rebalancer_app.model.formats import HIDDEN, Change
from rebalancer_app.state import AppState, now, use_app
from rebalancer_app.views.fields import TypedField
from rebalancer_app.views.resources import Action, Phase, Resource, describe

PHONE_WIDTH = 480
"""Largest width of a main button."""


def content_width(app: AppState) -> float:
    """Return the width of the content of a screen, without its margins, in logical pixels."""
    if has_two_panes(app):
        free = (app.width - theme.LABELLED_RAIL_WIDTH) / 2 - theme.GRID * 2
        return min(free, theme.PANE_WIDTH) - theme.GRID * 4
    rail = 0.0 if app.width < theme.RAIL_FROM else theme.RAIL_WIDTH
    return min(app.width - rail, theme.CONTENT_WIDTH) - theme.GRID * 4


def has_two_panes(app: AppState) -> bool:
    """Return whether the window has room for two columns."""
    return app.width >= theme.TWO_PANES_FROM


def words(
    text: str,
    app: AppState,
    size: str = "body",
    *,
    strong: bool = False,
    color: str | None = None,
    **more: Any,
) -> ft.Text:
    """Return a text in one of the sizes of the theme."""
    return ft.Text(
        text,
        size=theme.SIZES[size],
        weight=ft.FontWeight.W_600 if strong else ft.FontWeight.W_400,
        color=color or app.colors.text,
        font_family=theme.STRONG_FONT if strong else theme.FONT,
        style=ft.TextStyle(letter_spacing=theme.TRACKING.get(size, 0)),
        **more,
    )


def quiet(text: str, app: AppState, size: str = "note", **more: Any) -> ft.Text:
    """Return a secondary text."""
    return words(text, app, size, color=app.colors.quiet, **more)


def money(amount: Decimal | None, currency: str, app: AppState) -> str:
    """Return an amount as the person wants it: shown or hidden."""
    return HIDDEN if app.amounts_hidden else app.formats.money(amount, currency)


def change_words(change: Change | None, app: AppState, size: str = "body") -> ft.Control:
    """Return a gain or loss with arrow, sign and colour."""
    if change is None:
        return quiet("–", app, size)
    color = {1: app.colors.gain, 0: app.colors.quiet, -1: app.colors.loss}[change.direction]
    return ft.Semantics(
        label=change.spoken,
        exclude_semantics=True,
        content=words(change.text, app, size, strong=True, color=color),
    )


def card(
    content: ft.Control,
    app: AppState,
    *,
    on_click: Any = None,
    label: str = "",
    padding: float = theme.GRID * 2,
) -> ft.Control:
    """Return a card; one that can be clicked is a button, whose name is its label."""
    if on_click is not None:
        content = ft.Semantics(exclude_semantics=True, content=content)
    box = ft.Container(
        content,
        bgcolor=app.colors.surface,
        border=ft.Border.all(1, app.colors.line),
        border_radius=16,
        padding=padding,
        on_click=on_click,
        ink=on_click is not None,
    )
    if on_click is None:
        return box
    return ft.MergeSemantics(ft.Semantics(label=label, button=True, content=box))


def icon_button(icon: Any, label: str, on_click: Any, app: AppState, **more: Any) -> ft.Control:
    """Return a button that shows an icon; its label is its name and its tooltip."""
    button = ft.IconButton(
        icon,
        icon_color=app.colors.quiet,
        on_click=on_click,
        width=theme.TOUCH_TARGET,
        height=theme.TOUCH_TARGET,
        tooltip=label,
        **more,
    )
    return ft.MergeSemantics(button)


def skeleton(height: float, app: AppState, width: float | None = None) -> ft.Control:
    """Return a placeholder of the size of what is being loaded."""
    return ft.Container(
        height=height, width=width, bgcolor=app.colors.raised, border_radius=theme.GRID
    )


def notice(text: str, app: AppState, *, icon: Any = ft.Icons.INFO_OUTLINE) -> ft.Control:
    """Return a line that needs attention."""
    return _line(text, icon, app.colors.caution, app)


def confirmation(text: str, app: AppState) -> ft.Control:
    """Return a line that states what was done."""
    return _line(text, ft.Icons.CHECK_CIRCLE_OUTLINE, app.colors.gain, app)


def _line(text: str, icon: Any, color: str, app: AppState) -> ft.Control:
    return ft.Container(
        ft.Row(
            [
                ft.Icon(icon, color=color, size=20),
                words(text, app, expand=True, color=color),
            ]
        ),
        bgcolor=app.colors.raised,
        border_radius=12,
        padding=theme.GRID * 1.5,
    )


def remark(text: str, app: AppState) -> ft.Control:
    """Return what is good to know, and needs nothing done."""
    return ft.Row(
        [
            ft.Icon(ft.Icons.INFO_OUTLINE, color=app.colors.quiet, size=20),
            quiet(text, app, expand=True),
        ],
        vertical_alignment=ft.CrossAxisAlignment.START,
    )


def empty(title: str, text: str, action: str, on_click: Any, app: AppState) -> ft.Control:
    """Return what to do where nothing is yet."""
    return ft.Container(
        ft.Column(
            [
                words(title, app, "title", strong=True, text_align=ft.TextAlign.CENTER),
                quiet(text, app, "body", text_align=ft.TextAlign.CENTER),
                primary_button(action, on_click, app),
            ],
            horizontal_alignment=ft.CrossAxisAlignment.CENTER,
            spacing=theme.GRID * 2,
        ),
        padding=theme.GRID * 4,
        alignment=ft.Alignment.CENTER,
    )


def primary_button(text: str, on_click: Any, app: AppState, **more: Any) -> ft.Control:
    """Return the button of the main action of a screen, as wide as a phone."""
    more.setdefault("width", min(content_width(app), PHONE_WIDTH))
    return ft.FilledButton(
        text,
        on_click=on_click,
        height=48,
        style=ft.ButtonStyle(
            bgcolor={
                ft.ControlState.DEFAULT: app.colors.accent,
                ft.ControlState.DISABLED: app.colors.raised,
            },
            color={
                ft.ControlState.DEFAULT: app.colors.on_accent,
                ft.ControlState.DISABLED: app.colors.quiet,
            },
            text_style=_button_style("lead"),
        ),
        **more,
    )


def _button_style(size: str) -> ft.TextStyle:
    return ft.TextStyle(size=theme.SIZES[size], font_family=theme.STRONG_FONT, letter_spacing=0)


def secondary_button(text: str, on_click: Any, app: AppState, **more: Any) -> ft.Control:
    """Return the button of another action, as wide as its words unless it expands in a row."""
    button = ft.OutlinedButton(
        text,
        on_click=on_click,
        height=theme.TOUCH_TARGET,
        style=ft.ButtonStyle(
            color=app.colors.accent,
            side=ft.BorderSide(1, app.colors.line),
            text_style=_button_style("body"),
        ),
        **more,
    )
    return button if more.get("expand") else ft.Row([button], wrap=True)


def text_field(
    label: str, value: str, set_value: Callable[[str], None], app: AppState, **more: Any
) -> ft.Control:
    """Return a field for a line of text, whose label is its name for screen readers.

    It is as wide as the content, unless it expands in a row.
    """
    if not more.get("expand"):
        more.setdefault("width", content_width(app))
    return TypedField(
        label=label,
        value=value,
        on_change=lambda event: set_value(event.control.read_change(event)),
        text_size=theme.SIZES["lead"],
        color=app.colors.text,
        label_style=ft.TextStyle(color=app.colors.quiet, font_family=theme.FONT),
        text_style=ft.TextStyle(font_family=theme.FONT),
        border_color=app.colors.quiet,
        focused_border_color=app.colors.accent,
        bgcolor=app.colors.surface,
        border_radius=12,
        **more,
    )


def field_problem(action: Action, name: str, app: AppState) -> str | None:
    """Return what the server found wrong with a field of the form."""
    problem = action.problem
    if problem is None:
        return None
    for field, message in problem.fields.items():
        if field == name or field.endswith(f".{name}"):
            if problem.only_field and (known := app.texts.describe(problem.code, field)):
                return known
            return message[:1].upper() + message[1:]
    return None


def failure(action: Action, app: AppState, *fields: str) -> list[ft.Control]:
    """Return why a write failed, unless fields of the form show it.

    Args:
        action: The write.
        app: State of the app.
        fields: Names of the fields that show their own problems.
    """
    if not action.message:
        return []
    if action.problem is not None and action.problem.fields:
        named = {field.rpartition(".")[2] for field in action.problem.fields}
        if named <= set(fields):
            return []
    return [notice(action.message, app, icon=ft.Icons.ERROR_OUTLINE)]


def question(
    title: str,
    content: ft.Control,
    action: str,
    run: Callable[[], None],
    close: Callable[[], None],
    app: AppState,
) -> ft.AlertDialog:
    """Return a dialog that asks before something is done; the focus is on the way back."""
    return ft.AlertDialog(
        title=words(title, app, "title", strong=True),
        content=content,
        actions=[
            ft.TextButton(
                app.texts("dialog.cancel"),
                on_click=lambda _: close(),
                height=theme.TOUCH_TARGET,
                autofocus=True,
            ),
            ft.FilledButton(action, on_click=lambda _: run(), height=theme.TOUCH_TARGET),
        ],
        on_dismiss=lambda _: close(),
    )


def drop_down(
    label: str,
    options: Sequence[tuple[str, str]],
    chosen: str,
    choose: Callable[[str], None],
    app: AppState,
) -> ft.Control:
    """Return a list to choose from, for more options than fit in a row."""
    return ft.Dropdown(
        label=label,
        value=chosen,
        options=[ft.DropdownOption(name, text=text) for name, text in options],
        on_select=lambda event: choose(str(event.control.value)),
        border_color=app.colors.quiet,
        focused_border_color=app.colors.accent,
        border_radius=12,
        width=content_width(app),
    )


def choices(
    options: Sequence[tuple[str, str]],
    chosen: str,
    choose: Callable[[str], None],
    app: AppState,
    *,
    label: str,
) -> ft.Control:
    """Return a row of options, of which one is chosen.

    Args:
        options: Name and words of each.
        chosen: Name of the chosen one.
        choose: Called with the name of another one.
        app: State of the app.
        label: What is chosen, for screen readers.
    """

    def option(name: str, text: str) -> ft.Control:
        is_chosen = name == chosen
        button = ft.TextButton(
            words(
                text,
                app,
                "note",
                strong=is_chosen,
                color=app.colors.on_accent if is_chosen else app.colors.quiet,
                no_wrap=True,
            ),
            on_click=lambda _: choose(name),
            height=theme.TOUCH_TARGET,
            style=ft.ButtonStyle(
                bgcolor=app.colors.accent if is_chosen else None,
                overlay_color=ft.Colors.with_opacity(0.16, app.colors.text),
                shape=ft.RoundedRectangleBorder(radius=theme.TOUCH_TARGET / 2),
                padding=ft.Padding.symmetric(horizontal=theme.GRID),
            ),
            expand=True,
        )
        return ft.MergeSemantics(
            ft.Semantics(selected=is_chosen, content=ft.Row([button])), expand=True
        )

    return ft.Semantics(
        label=label,
        content=ft.Container(
            ft.Row([option(name, text) for name, text in options], spacing=4),
            bgcolor=app.colors.raised,
            border_radius=theme.TOUCH_TARGET / 2 + 2,
            padding=2,
        ),
    )


def missing(app: AppState) -> list[ft.Control]:
    """Return what to show where something does not exist, or no longer does."""
    page = ft.context.page
    return [
        empty(
            app.texts("missing.title"),
            app.texts("missing.text"),
            app.texts("missing.home"),
            lambda _: page.run_task(page.push_route, "/"),
            app,
        )
    ]


def shown(
    resource: Resource[Any],
    content: Callable[[Any], Sequence[ft.Control]],
    waiting: Sequence[ft.Control],
) -> list[ft.Control]:
    """Return the controls for the state of a resource.

    Args:
        resource: What is shown.
        content: Controls of the content, also of an empty one.
        waiting: Skeletons of the final layout.
    """
    app = use_app()
    text = app.texts
    if resource.phase is Phase.LOADING:
        return [
            ft.Semantics(label=text("app.loading"), content=ft.Column(list(waiting), spacing=16))
        ]
    if resource.phase is Phase.CONTENT:
        found = list(content(resource.data))
        if resource.is_old and resource.received is not None:
            age = app.formats.age(resource.received, now(app))
            return [notice(text("app.offline", age=age), app, icon=ft.Icons.CLOUD_OFF), *found]
        return found
    if resource.phase is Phase.OFFLINE:
        icon, message = ft.Icons.CLOUD_OFF, text("app.unreachable")
    elif resource.problem is not None and resource.problem.status == 404:
        return missing(app)
    else:
        assert resource.problem is not None
        message = describe(resource.problem, text)
        icon = ft.Icons.ERROR_OUTLINE
    return [
        ft.Container(
            ft.Column(
                [
                    ft.Icon(icon, color=app.colors.quiet, size=40),
                    words(text("app.failed"), app, "title", strong=True),
                    quiet(message, app, "body", text_align=ft.TextAlign.CENTER),
                    secondary_button(text("app.retry"), lambda _: resource.reload(), app),
                ],
                horizontal_alignment=ft.CrossAxisAlignment.CENTER,
                spacing=theme.GRID * 2,
            ),
            padding=theme.GRID * 4,
            alignment=ft.Alignment.CENTER,
        )
    ]


def moving(content: ft.Control, value: str) -> ft.Control:
    """Return a control that fades to its new value; systems with reduced motion show no fade."""
    return ft.AnimatedSwitcher(
        ft.Container(content, key=value),
        duration=theme.FAST,
        reverse_duration=0,
        transition=ft.AnimatedSwitcherTransition.FADE,
    )
