"""The account: password, e-mail address, and what happened in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import flet as ft

from rebalancer_app.gateway import account, users
from rebalancer_app.gateway.account import Address, Event, PasswordChange
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.users import User
from rebalancer_app.model.account import EventRow, event_days
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    confirmation,
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

PAGE = 50


@ft.component
def Password() -> ft.View:
    """Let the person choose another password."""
    app = use_app()
    text = app.texts
    current, set_current = ft.use_state("")
    fresh, set_fresh = ft.use_state("")
    done, set_done = ft.use_state(False)

    async def change(_: str) -> None:
        await app.client.call(account.CHANGE_PASSWORD, PasswordChange(current, fresh))
        set_current("")
        set_fresh("")
        set_done(True)

    action = use_action(change, proof="/settings/password")

    def secret(label: str, value: str, name: str, hint: ft.AutofillHint) -> ft.Control:
        return text_field(
            text(label),
            value,
            set_current if name == "current_password" else set_fresh,
            app,
            password=True,
            can_reveal_password=True,
            autofill_hints=[hint],
            autofocus=name == "current_password",
            error=field_problem(action, name, app),
            on_submit=lambda _: action.run(),
        )

    controls: list[ft.Control] = [
        quiet(text("account.password_hint"), app, "body"),
        secret("account.current", current, "current_password", ft.AutofillHint.PASSWORD),
        secret("account.new", fresh, "new_password", ft.AutofillHint.NEW_PASSWORD),
    ]
    controls += failure(action, app, "current_password", "new_password")
    if done and not action.message:
        controls.append(confirmation(text("account.password_done"), app))
    controls.append(
        primary_button(
            text("account.password_change"),
            lambda _: action.run(),
            app,
            disabled=action.running or not current or not fresh,
        )
    )
    return detail_view("/settings/password", text("settings.password"), controls, app)


@ft.component
def EmailAddress() -> ft.View:
    """Show the e-mail address and whether it is confirmed; let the person choose another one."""
    app = use_app()
    text = app.texts
    email, set_email = ft.use_state("")
    done, set_done = ft.use_state("")
    found = use_resource(lambda: app.client.call(users.PROFILE))

    async def change(_: str) -> None:
        answer = await app.client.call(account.CHANGE_EMAIL, Address(email.strip()))
        if answer.data.get("status") == "check_mail":
            set_done(text("account.email_mailed", email=email.strip()))
            return
        set_done(text("account.email_done"))
        app.touch()

    action = use_action(change, proof="/settings/email")

    def content(user: User) -> Sequence[ft.Control]:
        state = "settings.verified" if user.email_verified else "settings.unverified"
        controls: list[ft.Control] = [
            words(text(state, email=user.email), app),
            text_field(
                text("account.email_new"),
                email,
                set_email,
                app,
                keyboard_type=ft.KeyboardType.EMAIL,
                autofill_hints=[ft.AutofillHint.EMAIL],
                autofocus=True,
                error=field_problem(action, "email", app),
                on_submit=lambda _: action.run(),
            ),
            quiet(text("account.email_hint"), app),
        ]
        controls += failure(action, app, "email")
        if done and not action.message:
            controls.append(confirmation(done, app))
        controls.append(
            primary_button(
                text("account.email_change"),
                lambda _: action.run(),
                app,
                disabled=action.running or not email.strip(),
            )
        )
        return controls

    waiting = [skeleton(24, app, 240), skeleton(56, app), skeleton(48, app)]
    return detail_view(
        "/settings/email", text("settings.email"), shown(found, content, waiting), app
    )


@ft.component
def Events() -> ft.View:
    """Show what happened in the account: sign-ins, changes, and refused attempts."""
    app = use_app()
    text = app.texts
    more, set_more = ft.use_state(cast("list[Event]", []))
    following, set_following = ft.use_state(cast("str | None", None))
    found = use_resource(lambda: app.client.call(account.EVENTS, query={"limit": PAGE}))

    async def load_more(_: str) -> None:
        assert found.data is not None
        query = {"limit": PAGE, "before": following or found.data.next}
        answer = await app.client.call(account.EVENTS, query=query)
        set_more([*more, *answer.data.items])
        set_following(answer.data.next or "")

    loading = use_action(load_more)

    def content(page: Page[Event]) -> Sequence[ft.Control]:
        controls: list[ft.Control] = [
            quiet(text("account.events_hint"), app, "body"),
            secondary_button(text("settings.sessions"), lambda _: go("/settings/sessions"), app),
        ]
        for day in event_days([*page.items, *more], app.formats, text):
            controls.append(quiet(day.day, app, "body"))
            controls += [_event(row, app) for row in day.rows]
        if loading.message:
            controls.append(notice(loading.message, app))
        if page.next and following != "":
            controls.append(
                secondary_button(
                    text("activity.more"), lambda _: loading.run(), app, disabled=loading.running
                )
            )
        return controls

    waiting = [skeleton(40, app), skeleton(64, app), skeleton(64, app), skeleton(64, app)]
    return detail_view(
        "/settings/events",
        text("settings.events"),
        shown(found, content, waiting),
        app,
        reload=found.reload,
    )


def _event(row: EventRow, app: AppState) -> ft.Control:
    color = app.colors.caution if row.is_refused else app.colors.text
    return card(
        ft.Column(
            [words(row.title, app, strong=True, color=color), quiet(row.details, app)], spacing=2
        ),
        app,
    )
