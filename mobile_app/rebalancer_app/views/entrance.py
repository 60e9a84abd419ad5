"""The sign-in on a device, and the fresh proof of identity; a browser has pages for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import flet as ft

from rebalancer_app import theme
from rebalancer_app.device import Device, WrongAddress
from rebalancer_app.gateway import users
from rebalancer_app.gateway.client import Client
from rebalancer_app.gateway.problems import Offline, Problem
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import describe, use_action
from rebalancer_app.views.widgets import (
    failure,
    notice,
    primary_button,
    quiet,
    secondary_button,
    text_field,
    words,
)


@ft.component
def SignIn(device: Device) -> ft.View:
    """Let the person unlock an earlier sign-in, or sign in with address and password."""
    app = use_app()
    text, page = app.texts, ft.context.page
    address, set_address = ft.use_state(device.address)
    email, set_email = ft.use_state("")
    password, set_password = ft.use_state("")
    code, set_code = ft.use_state("")
    ticket, set_ticket = ft.use_state("")
    message, set_message = ft.use_state("")
    locked, set_locked = ft.use_state(False)
    busy, set_busy = ft.use_state(False)

    def enter(client: Client | None) -> None:
        if client is not None:
            app.client, app.signed_in = client, True

    async def unlock() -> None:
        enter(await device.restore(text("entrance.reason")))

    async def begin() -> None:
        set_locked(await device.is_locked())
        await unlock()

    ft.use_effect(begin, [])

    async def attempt(step: Callable[[], Awaitable[Client]]) -> None:
        set_message("")
        set_busy(True)
        try:
            client = await step()
        except WrongAddress:
            set_message(text("entrance.address_wrong"))
        except Problem as problem:
            if problem.code == "second_factor_required":
                set_ticket(str(problem.members.get("ticket", "")))
            else:
                set_message(describe(problem, text))
        except Offline:
            set_message(text("app.unreachable"))
        else:
            set_password("")
            enter(client)
        finally:
            set_busy(False)

    def send(_: object = None) -> None:
        if ticket:
            page.run_task(attempt, lambda: device.confirm(ticket, code))
        else:
            page.run_task(attempt, lambda: device.sign_in(address, email.strip(), password))

    controls: list[ft.Control] = [
        words(text("app.name"), app, "figure", strong=True),
        quiet(text("entrance.promise"), app, "body"),
    ]
    if locked and not ticket:
        controls.append(
            primary_button(text("entrance.unlock"), lambda _: page.run_task(unlock), app)
        )
    if ticket:
        controls.append(text_field(text("entrance.code"), code, set_code, app, on_submit=send))
    else:
        controls += [
            text_field(
                text("entrance.address"),
                address,
                set_address,
                app,
                keyboard_type=ft.KeyboardType.URL,
            ),
            text_field(
                text("entrance.email"),
                email,
                set_email,
                app,
                keyboard_type=ft.KeyboardType.EMAIL,
                autofill_hints=[ft.AutofillHint.USERNAME],
            ),
            _password_field(password, set_password, send, app),
        ]
    if message:
        controls.append(notice(message, app, icon=ft.Icons.ERROR_OUTLINE))
    label = text("entrance.continue" if ticket else "entrance.sign_in")
    controls.append(primary_button(label, send, app, disabled=busy))
    if ticket:
        controls.append(secondary_button(text("dialog.cancel"), lambda _: set_ticket(""), app))
    return ft.View(
        route="/",
        bgcolor=app.colors.ground,
        padding=theme.GRID * 2,
        scroll=ft.ScrollMode.AUTO,
        controls=[ft.SafeArea(ft.Column(controls, spacing=theme.GRID * 2))],
    )


@ft.component
def Confirm() -> ft.View:
    """Ask for the password, and for a code, before a change that needs a fresh proof."""
    app = use_app()
    text = app.texts
    password, set_password = ft.use_state("")
    code, set_code = ft.use_state("")
    wanted = parse_qs(urlsplit(ft.context.page.route).query).get("next", ["/settings"])[0]

    async def confirm(_: str) -> None:
        proof = {"password": password} | ({"code": code.strip()} if code.strip() else {})
        await app.client.call(users.REAUTHENTICATE, proof)
        go(wanted)

    action = use_action(confirm)
    controls: list[ft.Control] = [
        quiet(text("entrance.proof"), app, "body"),
        _password_field(password, set_password, lambda _: action.run(), app),
        text_field(text("entrance.code_optional"), code, set_code, app),
    ]
    controls += failure(action, app)
    controls.append(
        primary_button(
            text("settings.totp_confirm"), lambda _: action.run(), app, disabled=action.running
        )
    )
    return detail_view("/confirm", text("entrance.proof_title"), controls, app)


def _password_field(
    value: str, set_value: Callable[[str], None], send: Callable[[object], None], app: AppState
) -> ft.Control:
    return text_field(
        app.texts("settings.password"),
        value,
        set_value,
        app,
        password=True,
        can_reveal_password=True,
        autofill_hints=[ft.AutofillHint.PASSWORD],
        on_submit=send,
    )
