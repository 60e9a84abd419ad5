"""Notices: the bell, the list, and what is sent where and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import notices
from rebalancer_app.gateway.notices import (
    Choices,
    Message,
    NewChoices,
    Notice,
    Notices,
    Switch,
    Target,
)
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut
from rebalancer_app.state import AppState, now, use_app
from rebalancer_app.texts import LANGUAGES
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import Action, use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
    drop_down,
    failure,
    field_problem,
    notice,
    primary_button,
    quiet,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)

INTERVAL = 30.0
"""Seconds between two looks at the number of unread notices; an unchanged one costs nothing."""

SHOWN, MOST = 50, 200
"""Notices on the screen at first, and after asking for older ones."""

DIGESTS = ("immediately", "hourly", "daily")
HOURS = tuple(f"{hour:02}:00" for hour in range(24))
ZONES = (
    *("UTC", "Europe/London", "Europe/Berlin", "Europe/Zurich", "Europe/Helsinki"),
    *("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"),
    *("America/Sao_Paulo", "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo"),
    *("Australia/Sydney", "Pacific/Auckland"),
)


def use_unread_count(app: AppState) -> None:
    """Keep the number of unread notices up to date while the person is signed in."""
    task = ft.use_ref(cast("asyncio.Task[Any] | None", None))

    async def watch() -> None:
        task.current = asyncio.current_task()
        while app.signed_in:
            with suppress(Offline, Problem):
                try:
                    found = await app.client.call(notices.UNREAD)
                except SignedOut:  # the screen leads to the sign-in
                    return
                if found.data.unread != app.unread:
                    app.unread = found.data.unread
            await asyncio.sleep(INTERVAL)

    def stop() -> None:
        if task.current is not None:
            task.current.cancel()

    ft.use_effect(watch, [app.signed_in, app.changes], cleanup=stop)


@ft.component
def NoticeList() -> ft.View:
    """Show the latest notices."""
    app = use_app()
    text = app.texts
    limit, show = ft.use_state(SHOWN)
    marked = ft.use_ref(notices.Read())
    query = {"limit": limit, "language": app.language}
    found = use_resource(lambda: app.client.call(notices.LIST, query=query), (limit, app.language))

    async def mark(_: str) -> None:
        answer = await app.client.call(notices.READ, marked.current)
        app.unread = answer.data.unread
        app.touch()

    action = use_action(mark)

    def open_notice(one: Notice) -> None:
        if one.read is None:
            marked.current = notices.Read(id=str(one.id))
            action.run()
        go(one.link)

    def read_all(newest: Notice) -> None:
        marked.current = notices.Read(through=str(newest.id))
        action.run()

    def content(data: Notices) -> Sequence[ft.Control]:
        controls: list[ft.Control] = [*failure(action, app)]
        if not data.items:
            controls += [
                words(text("notices.empty_title"), app, "title", strong=True),
                quiet(text("notices.empty"), app, "body"),
            ]
        if data.unread and data.items:
            controls.append(
                secondary_button(
                    text("notices.read_all", count=data.unread),
                    lambda _: read_all(data.items[0]),
                    app,
                    disabled=action.running,
                )
            )
        controls += [_row(one, partial(open_notice, one), app) for one in data.items]
        if data.next and limit < MOST:
            controls.append(secondary_button(text("notices.older"), lambda _: show(MOST), app))
        controls.append(
            secondary_button(text("notices.choose"), lambda _: go("/settings/notices"), app)
        )
        return controls

    return detail_view(
        "/notices",
        text("notices.title"),
        shown(found, content, [skeleton(88, app)] * 3),
        app,
        reload=found.reload,
    )


def _row(one: Notice, open_it: Any, app: AppState) -> ft.Control:
    text = app.texts
    is_new = one.read is None
    icon = {"info": ft.Icons.INFO_OUTLINE, "warning": ft.Icons.WARNING_AMBER}.get(
        one.severity, ft.Icons.ERROR_OUTLINE
    )
    color = app.colors.quiet if one.severity == "info" else app.colors.caution
    state = text("notices.unread") if is_new else text("notices.read")
    if one.resolved is not None:
        state = text("notices.resolved")
    line = f"{app.formats.age(one.created, now(app))} · {state}"
    return card(
        ft.Row(
            [
                ft.Icon(icon, color=color, size=24),
                ft.Column(
                    [
                        words(one.title, app, "lead", strong=is_new),
                        words(one.text, app),
                        quiet(line, app),
                    ],
                    spacing=2,
                    expand=True,
                ),
                ft.Container(
                    width=10,
                    height=10,
                    border_radius=5,
                    bgcolor=app.colors.accent if is_new else None,
                ),
            ],
            spacing=theme.GRID * 1.5,
            vertical_alignment=ft.CrossAxisAlignment.START,
        ),
        app,
        on_click=lambda _: open_it(),
        label=f"{one.title}. {one.text} {line}",
    )


@ft.component
def NoticeSettings() -> ft.View:
    """Show what is sent where and when, and let the person change it."""
    app = use_app()
    text = app.texts
    wanted = ft.use_ref(cast("NewChoices | None", None))
    found = use_resource(lambda: app.client.call(notices.CHOICES))
    targets = use_resource(lambda: app.client.call(notices.TARGETS))
    failed = use_resource(
        lambda: app.client.call(notices.FAILED, query={"state": "failed", "limit": 20})
    )

    async def save(_: str) -> None:
        try:
            while (sent := wanted.current) is not None:
                await app.client.call(notices.CHOOSE, sent)
                if wanted.current is sent:  # nothing else was chosen meanwhile
                    wanted.current = None
        except BaseException:
            wanted.current = None
            raise
        app.touch()

    saving = use_action(save)

    def choose(change: Callable[[NewChoices], NewChoices]) -> None:
        if wanted.current is None and found.data is None:
            return
        base = wanted.current or NewChoices.of(cast("Choices", found.data))
        wanted.current = change(base)
        saving.run()

    def content(data: Choices) -> Sequence[ft.Control]:
        held: Page[Target] | None = targets.data
        listed = held.items if held else []
        lost: Page[Message] | None = failed.data
        return [
            *failure(saving, app),
            *_timing(NewChoices.of(data), choose, app),
            words(text("notices.kinds"), app, "lead", strong=True),
            quiet(text("notices.kinds_hint"), app, "body"),
            *_kinds(data, listed, choose, app),
            words(text("notices.targets"), app, "lead", strong=True),
            quiet(text("notices.targets_hint"), app, "body"),
            *[_TargetCard(one) for one in listed],
            _AddTarget(),
            *_failed(lost.items if lost else [], listed, app),
        ]

    return detail_view(
        "/settings/notices",
        text("settings.notices"),
        shown(found, content, [skeleton(56, app), skeleton(200, app), skeleton(88, app)]),
        app,
        reload=found.reload,
    )


def _timing(chosen: NewChoices, choose: Any, app: AppState) -> list[ft.Control]:
    """Return the controls for language, digest, quiet hours and pause."""
    text = app.texts

    def change(**others: Any) -> None:
        choose(lambda held: attrs.evolve(held, **others))

    def hour(name: str, value: str, run: Any) -> ft.Control:
        listed = HOURS if value in HOURS else (value, *HOURS)
        return drop_down(text(f"notices.{name}"), [(one, one) for one in listed], value, run, app)

    zones = ZONES if chosen.zone in ZONES else (chosen.zone, *ZONES)
    controls: list[ft.Control] = [
        _switch(text("notices.pause"), chosen.paused, lambda on: change(paused=on), app),
        quiet(text("notices.language"), app),
        choices(
            list(LANGUAGES.items()),
            chosen.language,
            lambda name: change(language=name),
            app,
            label=text("notices.language"),
        ),
        quiet(text("notices.digest"), app),
        choices(
            [(one, text(f"notices.{one}")) for one in DIGESTS],
            chosen.digest,
            lambda name: change(digest=name),
            app,
            label=text("notices.digest"),
        ),
        drop_down(
            text("notices.zone"),
            [(one, one.replace("_", " ")) for one in zones],
            chosen.zone,
            lambda name: change(zone=name),
            app,
        ),
    ]
    if chosen.digest == "daily":
        controls.append(hour("digest_at", chosen.digest_at, lambda value: change(digest_at=value)))
    hours = chosen.quiet
    begins = notices.QuietHours("22:00", "07:00")
    controls.append(
        _switch(
            text("notices.quiet"),
            hours is not None,
            lambda on: change(quiet=begins if on else None),
            app,
        )
    )
    if hours is not None:
        controls += [
            hour("from", hours.start, lambda one: change(quiet=attrs.evolve(hours, start=one))),
            hour("until", hours.end, lambda one: change(quiet=attrs.evolve(hours, end=one))),
            quiet(text("notices.quiet_hint"), app),
        ]
    return controls


def _kinds(
    data: Choices, targets: Sequence[Target], choose: Any, app: AppState
) -> list[ft.Control]:
    """Return a card for each kind, with a switch for each channel."""
    text = app.texts
    names = {str(one.id): one.name for one in targets}
    names |= {one: text(f"notices.channel_{one}") for one in ("app", "email")}
    kinds: dict[str, list[Switch]] = {}
    for one in data.channels:
        if one.channel in names and text.find(f"notices.kind_{one.kind}"):
            kinds.setdefault(one.kind, []).append(one)

    def switch(one: Switch) -> ft.Control:
        return _switch(
            names[one.channel],
            one.on,
            lambda on: choose(lambda held: held.switched(attrs.evolve(one, on=on))),
            app,
            spoken=text(f"notices.kind_{one.kind}"),
        )

    return [
        card(
            ft.Column(
                [
                    words(text(f"notices.kind_{kind}"), app, strong=True),
                    ft.Row([switch(one) for one in found], wrap=True, spacing=theme.GRID * 2),
                ],
                spacing=0,
            ),
            app,
        )
        for kind, found in kinds.items()
    ]


@ft.component
def _TargetCard(target: Target) -> ft.Control:
    """Show a webhook or push service, to be tested or removed."""
    app = use_app()
    text = app.texts
    step = ft.use_ref("")
    answer, set_answer = ft.use_state(cast("notices.Tested | None", None))

    async def act(_: str) -> None:
        if step.current == "test":
            set_answer((await app.client.call(notices.TEST, target_id=str(target.id))).data)
        else:
            await app.client.call(notices.REMOVE, target_id=str(target.id))
            app.touch()

    action = use_action(act)

    def run(what: str) -> None:
        step.current = what
        action.run()

    lines: list[ft.Control] = [
        words(target.name, app, "lead", strong=True),
        quiet(f"{text(f'notices.{target.kind}')} · {target.host}", app),
    ]
    if answer is None and target.fault:
        lines.append(notice(text("notices.fault", reason=target.fault), app))
    elif answer is not None and answer.delivered:
        lines.append(quiet(text("notices.test_sent"), app, "body"))
    elif answer is not None:
        lines.append(notice(text("notices.fault", reason=answer.fault), app))
    lines += failure(action, app)
    lines.append(
        ft.Row(
            [
                secondary_button(text("notices.test"), lambda _: run("test"), app),
                secondary_button(text("notices.remove"), lambda _: run("remove"), app),
            ],
            wrap=True,
        )
    )
    return card(ft.Column(lines, spacing=theme.GRID), app)


@ft.component
def _AddTarget() -> ft.Control:
    """Let the person add a webhook or push service."""
    app = use_app()
    text = app.texts
    kind, set_kind = ft.use_state("webhook")
    name, set_name = ft.use_state("")
    address, set_address = ft.use_state("")
    secret, set_secret = ft.use_state("")

    async def add(_: str) -> None:
        body = notices.NewTarget(kind, name.strip(), address.strip())
        answer = await app.client.call(notices.ADD, body)
        set_secret(answer.data.secret or "")
        set_name("")
        set_address("")
        app.touch()

    action = use_action(add, proof="/settings/notices")
    controls: list[ft.Control] = []
    if secret:
        controls += [
            words(text("notices.secret"), app, strong=True),
            ft.Text(secret, selectable=True, color=app.colors.text),
        ]
    controls += [
        choices(
            [(one, text(f"notices.{one}")) for one in ("webhook", "push")],
            kind,
            set_kind,
            app,
            label=text("notices.kind"),
        ),
        text_field(
            text("notices.name"), name, set_name, app, error=field_problem(action, "name", app)
        ),
        text_field(
            text(f"notices.address_{kind}"),
            address,
            set_address,
            app,
            error=field_problem(action, "address", app),
        ),
        *_other_failure(action, app),
        primary_button(
            text("notices.add"),
            lambda _: action.run(),
            app,
            disabled=action.running or not name.strip() or not address.strip(),
        ),
    ]
    return ft.Column(controls, spacing=theme.GRID * 1.5)


def _other_failure(action: Action, app: AppState) -> list[ft.Control]:
    return failure(action, app, "name", "address")


def _failed(
    messages: Sequence[Message], targets: Sequence[Target], app: AppState
) -> list[ft.Control]:
    """Return the messages that could not be delivered."""
    if not messages:
        return []
    names = {str(one.id): one.name for one in targets}
    title = words(app.texts("notices.failed"), app, "lead", strong=True)
    return [title, *[_FailedMessage(one, names.get(one.channel, "")) for one in messages]]


@ft.component
def _FailedMessage(message: Message, target: str) -> ft.Control:
    """Show a message that could not be delivered, to be sent again."""
    app = use_app()
    text = app.texts

    async def retry(_: str) -> None:
        await app.client.call(notices.RETRY, message_id=str(message.id))
        app.touch()

    action = use_action(retry)
    place = target or text("notices.channel_email")
    age = app.formats.age(message.created, now(app))
    return card(
        ft.Column(
            [
                words(f"{place} · {age}", app, strong=True),
                quiet(text("notices.fault", reason=message.fault), app, "body"),
                *failure(action, app),
                secondary_button(text("notices.retry"), lambda _: action.run(), app),
            ],
            spacing=theme.GRID,
        ),
        app,
    )


def _switch(label: str, value: bool, change: Any, app: AppState, *, spoken: str = "") -> ft.Control:
    """Return a switch with its name; ``spoken`` precedes it for screen readers."""
    control = ft.Switch(
        label=label,
        value=value,
        on_change=lambda event: change(bool(event.control.value)),
        active_color=app.colors.on_accent,
        active_track_color=app.colors.accent,
        inactive_thumb_color=app.colors.quiet,
        inactive_track_color=app.colors.surface,
        track_outline_color=app.colors.quiet,
        label_text_style=ft.TextStyle(color=app.colors.text, font_family=theme.FONT),
    )
    return ft.Semantics(label=spoken, content=control) if spoken else control
