"""Settings: language and appearance, sign-in and sessions, data and account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import account, users
from rebalancer_app.gateway.account import Factors, Passkey, Passkeys, Session, Sessions
from rebalancer_app.gateway.users import User
from rebalancer_app.model.formats import Formats
from rebalancer_app.state import AppState, use_app
from rebalancer_app.texts import LANGUAGES
from rebalancer_app.views.frame import detail_view, go, tab_view
from rebalancer_app.views.preferences import APPEARANCES, CURRENCIES, REGIONS, keep, set_appearance
from rebalancer_app.views.resources import open_page, use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
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


@ft.component
def Settings() -> ft.View:
    """Show what the person can choose."""
    app = use_app()
    text = app.texts
    found = use_resource(lambda: app.client.call(users.PROFILE))

    def content(user: User) -> Sequence[ft.Control]:
        return [
            card(
                ft.Column(
                    [
                        words(user.name or user.email, app, "lead", strong=True),
                        quiet(
                            text(
                                "settings.verified"
                                if user.email_verified
                                else "settings.unverified",
                                email=user.email,
                            ),
                            app,
                        ),
                    ],
                    spacing=2,
                ),
                app,
            )
        ]

    controls: list[ft.Control] = [
        *shown(found, content, [skeleton(64, app)]),
        words(text("settings.look"), app, "lead", strong=True),
        *_look(app),
        words(text("settings.security"), app, "lead", strong=True),
        _link("sign_in", "/settings/sign-in", ft.Icons.KEY, app),
        _link("sessions", "/settings/sessions", ft.Icons.DEVICES, app),
        _link("events", "/settings/events", ft.Icons.HISTORY_TOGGLE_OFF, app),
        _link("email", "/settings/email", ft.Icons.ALTERNATE_EMAIL, app),
        _link("password", "/settings/password", ft.Icons.PASSWORD, app),
        words(text("settings.more"), app, "lead", strong=True),
        _link("notices", "/settings/notices", ft.Icons.NOTIFICATIONS_NONE, app),
        _link("automation", "/settings/automation", ft.Icons.PAUSE_CIRCLE_OUTLINE, app),
        _link("backtests", "/backtests", ft.Icons.HISTORY, app),
        _link("models", "/models", ft.Icons.ACCOUNT_TREE_OUTLINED, app),
        _link("shares", "/shares", ft.Icons.GROUP_OUTLINED, app),
        _link("data", "/settings/data", ft.Icons.DOWNLOAD, app),
        secondary_button(text("settings.sign_out"), lambda _: sign_out(app), app),
        quiet(text("settings.about"), app),
    ]
    return tab_view("settings", controls, app)


@ft.component
def SessionList() -> ft.View:
    """Show where the person is signed in."""
    app = use_app()
    text = app.texts
    target, aim = ft.use_state("")
    found = use_resource(lambda: app.client.call(account.SESSIONS))

    async def end(_: str) -> None:
        if target in ("others", "all"):
            await app.client.call(account.END_OTHERS)
            if target == "all":
                sign_out(app)
                return
        else:
            await app.client.call(account.END_SESSION, id=target)
        found.reload()

    action = use_action(end, proof="/settings/sessions")

    def run(what: str) -> None:
        aim(what)
        action.run()

    def content(data: Sessions) -> Sequence[ft.Control]:
        controls: list[ft.Control] = [_session(one, run, app) for one in data.items]
        if action.message:
            controls.append(notice(action.message, app))
        controls.append(
            secondary_button(
                text("settings.end_all"), lambda _: run("all"), app, disabled=action.running
            )
        )
        if len(data.items) > 1:
            controls.append(
                secondary_button(
                    text("settings.end_others"),
                    lambda _: run("others"),
                    app,
                    disabled=action.running,
                )
            )
        return controls

    return detail_view(
        "/settings/sessions",
        text("settings.sessions"),
        shown(found, content, [skeleton(72, app), skeleton(72, app)]),
        app,
        reload=found.reload,
    )


@ft.component
def SignInWays() -> ft.View:
    """Show passkeys, password, authenticator app and recovery codes."""
    app = use_app()
    text = app.texts
    secret, set_secret = ft.use_state(cast("account.Totp | None", None))
    code, set_code = ft.use_state("")
    codes, set_codes = ft.use_state(cast("list[str]", []))
    step, set_step = ft.use_state("")
    removed, remove = ft.use_state("")
    ways = use_resource(lambda: app.client.call(account.FACTORS))
    passkeys = use_resource(lambda: app.client.call(account.PASSKEYS))

    async def act(_: str) -> None:
        if step == "start":
            set_secret((await app.client.call(account.START_TOTP)).data)
            return
        if step == "confirm":
            answer = await app.client.call(account.CONFIRM_TOTP, account.Code(code.strip()))
            set_secret(None)
            set_code("")
            set_codes(answer.data.recovery_codes)
        elif step == "remove":
            await app.client.call(account.REMOVE_TOTP)
        elif step == "codes":
            set_codes((await app.client.call(account.RENEW_CODES)).data.recovery_codes)
        elif step == "passkey":
            await app.client.call(account.REMOVE_PASSKEY, passkey_id=removed)
        app.touch()

    action = use_action(act, proof="/settings/sign-in")

    def run(what: str, passkey: str = "") -> None:
        set_step(what)
        remove(passkey)
        action.run()

    def content(data: Factors) -> Sequence[ft.Control]:
        controls: list[ft.Control] = [quiet(text("settings.passkeys_hint"), app, "body")]
        held: Passkeys | None = passkeys.data
        controls += [_passkey(one, run, app) for one in (held.items if held else [])]
        if app.device is None:  # passkeys need a browser
            controls.append(
                primary_button(text("settings.add_passkey"), lambda _: open_page("/passkey"), app)
            )
        controls.append(words(text("settings.totp"), app, "lead", strong=True))
        if secret is not None:
            controls += _totp_setup(secret, code, set_code, lambda: run("confirm"), app)
        elif data.totp:
            controls.append(
                secondary_button(text("settings.totp_remove"), lambda _: run("remove"), app)
            )
        else:
            controls.append(quiet(text("settings.totp_hint"), app, "body"))
            controls.append(
                secondary_button(text("settings.totp_add"), lambda _: run("start"), app)
            )
        if data.totp or data.passkeys:
            controls.append(words(text("settings.codes"), app, "lead", strong=True))
            controls.append(
                quiet(text("settings.codes_left", count=data.recovery_codes), app, "body")
            )
            controls.append(
                secondary_button(text("settings.codes_new"), lambda _: run("codes"), app)
            )
        if codes:
            controls.append(_codes(codes, app))
        if action.message:
            controls.append(notice(action.message, app))
        return controls

    return detail_view(
        "/settings/sign-in",
        text("settings.sign_in"),
        shown(ways, content, [skeleton(72, app), skeleton(48, app), skeleton(72, app)]),
        app,
        reload=ways.reload,
    )


def sign_out(app: AppState) -> None:
    """End the session of this device or browser."""
    if app.device is None:
        open_page("/sign-out")
        return
    ft.context.page.run_task(app.device.sign_out)
    app.client.forget()
    app.signed_in = False


def _look(app: AppState) -> list[ft.Control]:
    text, page = app.texts, ft.context.page

    def language(name: str) -> None:
        app.language = name
        page.title = app.texts("app.name")
        page.run_task(keep, "language", name)

    def region(name: str) -> None:
        app.region = name
        page.run_task(keep, "region", name)

    def appearance(name: str) -> None:
        set_appearance(page, app, name)
        page.update()
        page.run_task(keep, "appearance", name)

    def currency(name: str) -> None:
        app.currency = name
        page.run_task(keep, "currency", name)

    chosen = app.region if app.region in REGIONS else "en-GB"
    return [
        choices(
            list(LANGUAGES.items()), app.language, language, app, label=text("settings.language")
        ),
        choices(
            [(one, text(f"settings.{one}")) for one in APPEARANCES],
            app.appearance,
            appearance,
            app,
            label=text("settings.appearance"),
        ),
        drop_down(
            text("settings.region"),
            [(one, _region_name(one, app)) for one in REGIONS],
            chosen,
            region,
            app,
        ),
        drop_down(
            text("settings.currency"),
            [("", text("settings.currency_any")), *((code, code) for code in CURRENCIES)],
            app.currency,
            currency,
            app,
        ),
    ]


def _region_name(tag: str, app: AppState) -> str:
    """Return a region with an example of its numbers."""
    formats = Formats.of(tag)
    place = formats.locale.get_territory_name(app.language) or tag
    return f"{place}: {formats.number(Decimal('1234.50'))}"


def _link(name: str, route: str, icon: Any, app: AppState) -> ft.Control:
    label = app.texts(f"settings.{name}")
    return card(
        ft.Row(
            [
                ft.Icon(icon, color=app.colors.accent),
                words(label, app, "lead", expand=True),
                ft.Icon(ft.Icons.CHEVRON_RIGHT, color=app.colors.quiet),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
        on_click=lambda _: go(route),
        label=label,
    )


def _session(one: Session, end: Callable[[str], None], app: AppState) -> ft.Control:
    text, formats = app.texts, app.formats
    lines: list[ft.Control] = [
        words(one.device or text("settings.unknown_device"), app, "lead", strong=True),
        quiet(
            text(
                "settings.session",
                used=formats.day(one.used.date()),
                place=one.address or "–",
            ),
            app,
        ),
    ]
    controls: list[ft.Control] = [ft.Column(lines, spacing=2, expand=True)]
    if one.current:
        controls.append(words(text("settings.this_device"), app, strong=True))
    else:
        controls.append(secondary_button(text("settings.end"), lambda _: end(str(one.id)), app))
    return card(ft.Row(controls), app)


def _passkey(one: Passkey, run: Callable[[str, str], None], app: AppState) -> ft.Control:
    text, formats = app.texts, app.formats
    used = formats.day(one.used.date() if one.used else None)
    return card(
        ft.Row(
            [
                ft.Icon(ft.Icons.FINGERPRINT, color=app.colors.accent),
                ft.Column(
                    [
                        words(one.name, app, "lead", strong=True),
                        quiet(text("settings.passkey_used", used=used), app),
                    ],
                    spacing=2,
                    expand=True,
                ),
                icon_button(
                    ft.Icons.DELETE_OUTLINE,
                    text("settings.passkey_remove", name=one.name),
                    lambda _: run("passkey", str(one.id)),
                    app,
                ),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
    )


def _totp_setup(
    secret: account.Totp,
    code: str,
    set_code: Callable[[str], None],
    confirm: Callable[[], None],
    app: AppState,
) -> list[ft.Control]:
    text = app.texts
    return [
        quiet(text("settings.totp_secret"), app, "body"),
        ft.Text(secret.secret, selectable=True, size=theme.SIZES["lead"], color=app.colors.text),
        text_field(text("settings.totp_code"), code, set_code, app),
        primary_button(text("settings.totp_confirm"), lambda _: confirm(), app),
    ]


def _codes(codes: Sequence[str], app: AppState) -> ft.Control:
    return card(
        ft.Column(
            [
                words(app.texts("settings.codes_keep"), app, strong=True),
                ft.Text(
                    "\n".join(codes),
                    selectable=True,
                    size=theme.SIZES["lead"],
                    color=app.colors.text,
                ),
            ],
            spacing=theme.GRID,
        ),
        app,
    )
