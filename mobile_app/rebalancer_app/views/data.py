"""The person's data: download everything, or delete the account."""

from __future__ import annotations

from typing import cast

import flet as ft

from rebalancer_app.gateway import account
from rebalancer_app.gateway.account import Deletion
from rebalancer_app.state import use_app
from rebalancer_app.views.files import SaveButton
from rebalancer_app.views.frame import detail_view
from rebalancer_app.views.resources import use_action
from rebalancer_app.views.settings import sign_out
from rebalancer_app.views.widgets import (
    failure,
    primary_button,
    question,
    quiet,
    secondary_button,
    words,
)

ROUTE = "/settings/data"


@ft.component
def YourData() -> ft.View:
    """Let the person save all data, or have the account deleted."""
    app = use_app()
    text = app.texts
    asking, ask = ft.use_state(False)
    deletion, set_deletion = ft.use_state(cast("Deletion | None", None))

    async def delete(_: str) -> None:
        ask(False)
        set_deletion((await app.client.call(account.DELETE)).data)

    action = use_action(delete, proof=ROUTE)
    content = words(text("data.question_text"), app)
    dialog = question(
        text("data.question"), content, text("data.delete"), action.run, lambda: ask(False), app
    )
    ft.use_dialog(dialog if asking else None)
    if deletion is not None:
        day = app.formats.day(deletion.erased_after.date())
        controls: list[ft.Control] = [
            words(text("data.scheduled", day=day), app, "lead"),
            primary_button(text("settings.sign_out"), lambda _: sign_out(app), app),
        ]
        return detail_view(ROUTE, text("settings.data"), controls, app)
    controls = [
        words(text("data.download_title"), app, "lead", strong=True),
        quiet(text("data.download_hint"), app, "body"),
        SaveButton(
            text("data.download"),
            "/session/own/export",
            lambda: app.client.download(account.EXPORT),
            ROUTE,
        ),
        words(text("data.delete_title"), app, "lead", strong=True),
        quiet(text("data.delete_hint"), app, "body"),
        secondary_button(text("data.delete"), lambda _: ask(True), app, disabled=action.running),
    ]
    controls += failure(action, app)
    return detail_view(ROUTE, text("settings.data"), controls, app)
