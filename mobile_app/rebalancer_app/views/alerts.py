"""Alerts and automatic proposals of a portfolio, and the kill switch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import attrs
import flet as ft

from rebalancer_app.gateway import alerts
from rebalancer_app.gateway.alerts import Alerts, Automation, Stop
from rebalancer_app.model.alerts import (
    COUNTS,
    FREQUENCIES,
    LIMITS,
    PERCENT,
    Typed,
    firing_lines,
    outcome_line,
    read_typed,
    stop_line,
    typed_of,
)
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    confirmation,
    drop_down,
    failure,
    field_problem,
    notice,
    primary_button,
    question,
    quiet,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)


@attrs.frozen
class _Both:
    """Alerts and automation, read together."""

    alerts: Alerts
    automation: Automation


@ft.component
def PortfolioAlerts() -> ft.View:
    """Show and change the alerts and the automatic proposals of a portfolio."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    wanted = use_resource(lambda: app.client.call(alerts.ALERTS, portfolio_id=id), (id,))
    automatic = use_resource(lambda: app.client.call(alerts.AUTOMATION, portfolio_id=id), (id,))
    edited, edit = ft.use_state(cast("Typed | None", None))
    wrong, set_wrong = ft.use_state(cast("dict[str, str]", {}))
    saved, set_saved = ft.use_state(False)

    async def save(_: str) -> None:
        known = both()
        if known is None:
            return
        typed = edited or typed_of(known.alerts, known.automation, app.formats)
        read, mistakes = read_typed(typed, known.alerts, known.automation, app.formats, text)
        set_wrong(mistakes)
        if read is None:
            return
        settings, request = read
        await app.client.call(alerts.CHOOSE, settings, portfolio_id=id)
        await app.client.call(alerts.AUTOMATE, request, portfolio_id=id)
        edit(None)
        set_saved(True)
        app.touch()

    action = use_action(save, proof=f"/portfolios/{id}/alerts")

    def both() -> _Both | None:
        if wanted.data is None or automatic.data is None:
            return None
        return _Both(wanted.data, automatic.data)

    def content(_: object) -> Sequence[ft.Control]:
        known = both()
        if known is None:
            return [skeleton(96, app)]
        typed = edited or typed_of(known.alerts, known.automation, app.formats)

        def change(**values: Any) -> None:
            set_saved(False)
            edit(attrs.evolve(typed, **values))

        def error(name: str) -> str | None:
            return wrong.get(name) or field_problem(action, name, app)

        controls: list[ft.Control] = [
            notice(line, app, icon=ft.Icons.NOTIFICATIONS_ACTIVE_OUTLINED)
            for line in firing_lines(known.alerts, app.formats, text)
        ]
        controls.append(quiet(text("alerts.hint"), app, "body"))
        controls += _alert_fields(typed, change, error, app)
        controls.append(words(text("alerts.automatic"), app, "lead", strong=True))
        controls += _automation_fields(typed, known.automation, change, error, app)
        controls += failure(action, app, *PERCENT, *COUNTS, *LIMITS, "frequency")
        if saved:
            controls.append(confirmation(text("alerts.saved"), app))
        controls.append(
            primary_button(
                text("alerts.save"), lambda _: action.run(), app, disabled=action.running
            )
        )
        return controls

    def reload() -> None:
        wanted.reload()
        automatic.reload()

    return detail_view(
        f"/portfolios/{id}/alerts",
        text("portfolio.alerts"),
        shown(wanted, content, [skeleton(96, app), skeleton(72, app), skeleton(72, app)]),
        app,
        reload=reload,
    )


def _alert_fields(
    typed: Typed,
    change: Callable[..., None],
    error: Callable[[str], str | None],
    app: AppState,
) -> list[ft.Control]:
    text = app.texts

    def limit(name: str) -> ft.Control:
        return text_field(
            text(f"alerts.field_{name}"),
            typed.limits[name],
            lambda value: change(limits={**typed.limits, name: value}),
            app,
            error=error(name),
        )

    return [
        ft.Checkbox(
            label=text("alerts.kind_band"),
            value=typed.band,
            on_change=lambda event: change(band=bool(event.control.value)),
        ),
        *(limit(name) for name in (*PERCENT, *COUNTS)),
        ft.Checkbox(
            label=text("alerts.live"),
            value=typed.live,
            on_change=lambda event: change(live=bool(event.control.value)),
        ),
    ]


def _automation_fields(
    typed: Typed,
    automation: Automation,
    change: Callable[..., None],
    error: Callable[[str], str | None],
    app: AppState,
) -> list[ft.Control]:
    text = app.texts
    controls: list[ft.Control] = [quiet(text("alerts.automatic_hint"), app, "body")]
    if automation.stop.stopped:
        line = stop_line(automation.stop, app.formats, text)
        controls.append(notice(line, app, icon=ft.Icons.PAUSE_CIRCLE_OUTLINE))
    controls += [
        drop_down(
            text("alerts.frequency"),
            [(name, text(f"alerts.frequency_{name}")) for name in FREQUENCIES],
            typed.frequency,
            lambda value: change(frequency=value),
            app,
        ),
        ft.Checkbox(
            label=text("alerts.on_alert"),
            value=typed.on_alert,
            on_change=lambda event: change(on_alert=bool(event.control.value)),
        ),
        ft.Checkbox(
            label=text("alerts.accept"),
            value=typed.accepts,
            on_change=lambda event: change(accepts=bool(event.control.value)),
        ),
    ]
    if missing := error("frequency"):
        controls.append(notice(missing, app, icon=ft.Icons.ERROR_OUTLINE))
    if typed.accepts:
        controls.append(quiet(text("alerts.accept_hint"), app, "body"))
        controls += [_limit_field(name, typed, change, error, app) for name in LIMITS]
    if last := outcome_line(automation, app.formats, text):
        controls.append(quiet(last, app))
    return controls


def _limit_field(
    name: str,
    typed: Typed,
    change: Callable[..., None],
    error: Callable[[str], str | None],
    app: AppState,
) -> ft.Control:
    def set_limit(value: str) -> None:
        change(accept_limits={**typed.accept_limits, name: value})

    label = app.texts(f"alerts.{name}")
    return text_field(label, typed.accept_limits[name], set_limit, app, error=error(name))


@ft.component
def AutomationSwitch() -> ft.View:
    """Show the kill switch, and let the person stop or resume automation."""
    app = use_app()
    text = app.texts
    found = use_resource(lambda: app.client.call(alerts.STOPPED))
    asked, ask = ft.use_state("")
    chosen = ft.use_ref("")

    async def act(_: str) -> None:
        endpoint = alerts.STOP if chosen.current == "stop" else alerts.RESUME
        await app.client.call(endpoint)
        found.reload()
        app.touch()

    action = use_action(act, proof="/settings/automation")

    def run() -> None:
        chosen.current = asked
        ask("")
        action.run()

    ft.use_dialog(
        question(
            text(f"automation.{asked}"),
            words(text(f"automation.{asked}_question"), app),
            text(f"automation.{asked}"),
            run,
            lambda: ask(""),
            app,
        )
        if asked
        else None
    )

    def content(stop: Stop) -> Sequence[ft.Control]:
        name = "resume" if stop.stopped else "stop"
        button = secondary_button if stop.stopped else primary_button
        controls: list[ft.Control] = [
            card(words(stop_line(stop, app.formats, text), app, "lead", strong=True), app),
            quiet(text("automation.hint"), app, "body"),
            *failure(action, app),
        ]
        if stop.by != "operator":
            controls.append(
                button(
                    text(f"automation.{name}"),
                    lambda _: ask(name),
                    app,
                    disabled=action.running,
                )
            )
        return controls

    return detail_view(
        "/settings/automation",
        text("settings.automation"),
        shown(found, content, [skeleton(72, app)]),
        app,
        reload=found.reload,
    )
