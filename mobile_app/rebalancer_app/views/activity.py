"""The ledger of a portfolio, by day, with corrections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast
from uuid import UUID

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import home, ledger
from rebalancer_app.gateway.ledger import Entry, Note
from rebalancer_app.gateway.pages import Page
from rebalancer_app.model.activity import FILTERS, ActivityRow, activity_days
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go, tab_view
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
    empty,
    icon_button,
    notice,
    question,
    quiet,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)

PAGE = 100


@ft.component
def Activity() -> ft.View:
    """Lead to the ledger of each portfolio."""
    app = use_app()
    found = use_resource(lambda: app.client.call(home.READ))

    def content(data: home.Home) -> Sequence[ft.Control]:
        if not data.portfolios:
            text = app.texts
            return [
                empty(
                    text("home.empty_title"),
                    text("home.empty"),
                    text("home.open"),
                    lambda _: go("/portfolios/new"),
                    app,
                )
            ]
        return [
            card(
                words(one.name, app, "lead", strong=True),
                app,
                on_click=lambda _, id=one.id: go(f"/portfolios/{id}/activity"),
                label=one.name,
            )
            for one in data.portfolios
        ]

    return tab_view("activity", shown(found, content, [skeleton(56, app), skeleton(56, app)]), app)


@ft.component
def PortfolioActivity() -> ft.View:
    """Show the ledger of one portfolio."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    only, choose = ft.use_state("all")
    search, set_search = ft.use_state("")
    more, set_more = ft.use_state(cast("list[Entry]", []))
    following, set_following = ft.use_state(cast("str | None", None))
    correcting, correct = ft.use_state(cast("ActivityRow | None", None))
    found = use_resource(
        lambda: app.client.call(ledger.LIST, query={"limit": PAGE}, portfolio_id=id), (id,)
    )

    async def load_more(_: str) -> None:
        assert found.data is not None
        query = {"limit": PAGE, "before": following or found.data.next}
        answer = await app.client.call(ledger.LIST, query=query, portfolio_id=id)
        set_more([*more, *answer.data.items])
        set_following(answer.data.next or "")

    async def void(key: str) -> None:
        assert correcting is not None
        entry: UUID = correcting.id
        correct(None)
        await app.client.call(ledger.VOID, Note(""), key=key, portfolio_id=id, entry_id=entry)
        set_more([])
        set_following(None)
        app.touch()

    loading, voiding = use_action(load_more), use_action(void)
    ft.use_dialog(
        None if correcting is None else _void_dialog(correcting, voiding.run, correct, app)
    )

    def content(page: Page[Entry]) -> Sequence[ft.Control]:
        entries = [*page.items, *more]
        days = activity_days(
            entries, app.formats, text, only=only, search=search, hidden=app.amounts_hidden
        )
        controls: list[ft.Control] = [
            choices(
                [(one, text(f"activity.{one}")) for one in FILTERS],
                only,
                choose,
                app,
                label=text("activity.filter"),
            ),
            text_field(text("activity.search"), search, set_search, app),
            secondary_button(text("imports.title"), lambda _: go(f"/portfolios/{id}/imports"), app),
        ]
        if voiding.message:
            controls.append(notice(voiding.message, app))
        if not days:
            controls.append(quiet(text("activity.nothing"), app, "body"))
        for day in days:
            controls.append(quiet(day.day, app, "body"))
            controls += [_row(row, correct, app) for row in day.rows]
        if page.next and following != "":
            controls.append(
                secondary_button(
                    text("activity.more"), lambda _: loading.run(), app, disabled=loading.running
                )
            )
        return controls

    waiting = [skeleton(44, app), skeleton(56, app), skeleton(64, app), skeleton(64, app)]
    return detail_view(
        f"/portfolios/{id}/activity",
        text("portfolio.activity"),
        shown(found, content, waiting),
        app,
        reload=found.reload,
    )


def _row(
    row: ActivityRow, correct: Callable[[ActivityRow | None], None], app: AppState
) -> ft.Control:
    color = app.colors.quiet if row.is_void else app.colors.text
    lines: list[ft.Control] = [words(row.title, app, strong=True, color=color)]
    if row.details:
        lines.append(quiet(row.details, app))
    controls: list[ft.Control] = [ft.Column(lines, spacing=2, expand=True)]
    if row.cash:
        controls.append(words(row.cash, app, strong=True, color=color))
    if row.can_void:
        controls.append(
            icon_button(
                ft.Icons.UNDO,
                app.texts("activity.void", title=row.title),
                lambda _: correct(row),
                app,
            )
        )
    return card(ft.Row(controls, spacing=theme.GRID), app)


def _void_dialog(
    row: ActivityRow,
    run: Callable[[], None],
    correct: Callable[[ActivityRow | None], None],
    app: AppState,
) -> ft.AlertDialog:
    text = app.texts
    return question(
        text("activity.void_question"),
        words(text("activity.void_text", title=row.title), app),
        text("activity.void_now"),
        run,
        lambda: correct(None),
        app,
    )
