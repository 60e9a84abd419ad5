"""Who may see a portfolio, and the portfolios of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import shares
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.shares import Invitation, ReceivedShare, Share
from rebalancer_app.model.account import ShareRow, given_share, received_share
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
    empty,
    failure,
    field_problem,
    primary_button,
    quiet,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)

RIGHTS = ("read", "propose")


@ft.component
def PortfolioShares() -> ft.View:
    """Show who may see a portfolio, and let the owner invite others."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    email, set_email = ft.use_state("")
    right, choose = ft.use_state("read")
    route = f"/portfolios/{id}/shares"
    found = use_resource(lambda: app.client.call(shares.GIVEN, portfolio_id=id), (id,))
    ended = ft.use_ref("")

    async def invite(key: str) -> None:
        invitation = Invitation(email.strip(), right)
        await app.client.call(shares.SHARE, invitation, key=key, portfolio_id=id)
        set_email("")
        app.touch()

    async def withdraw(_: str) -> None:
        await app.client.call(shares.WITHDRAW, portfolio_id=id, share_id=ended.current)
        app.touch()

    inviting, withdrawing = use_action(invite, proof=route), use_action(withdraw, proof=route)

    def end(share: str) -> None:
        ended.current = share
        withdrawing.run()

    def content(page: Page[Share]) -> Sequence[ft.Control]:
        controls: list[ft.Control] = [
            text_field(
                text("shares.email"),
                email,
                set_email,
                app,
                keyboard_type=ft.KeyboardType.EMAIL,
                error=field_problem(inviting, "email", app),
                on_submit=lambda _: inviting.run(),
            ),
            choices(
                [(one, text(f"shares.{one}")) for one in RIGHTS],
                right,
                choose,
                app,
                label=text("shares.right"),
            ),
            quiet(text("shares.hint"), app),
        ]
        controls += failure(inviting, app, "email") or failure(withdrawing, app)
        controls.append(
            primary_button(
                text("shares.invite"),
                lambda _: inviting.run(),
                app,
                disabled=inviting.running or not email.strip(),
            )
        )
        controls.append(words(text("shares.people"), app, "lead", strong=True))
        if not page.items:
            controls.append(quiet(text("shares.alone"), app, "body"))
        for one in page.items:
            row = given_share(one, app.formats, text)
            controls.append(_row(row, [(text("shares.withdraw"), partial(end, str(one.id)))], app))
        return controls

    waiting = [skeleton(56, app), skeleton(48, app), skeleton(72, app)]
    return detail_view(
        route,
        text("portfolio.share"),
        shown(found, content, waiting),
        app,
        reload=found.reload,
    )


@ft.component
def ReceivedShares() -> ft.View:
    """Show the portfolios of others: invitations to accept or decline, and accepted ones."""
    app = use_app()
    text = app.texts
    chosen = ft.use_ref(("", ""))
    found = use_resource(lambda: app.client.call(shares.RECEIVED, query={"limit": 100}))

    async def act(_: str) -> None:
        what, share = chosen.current or ("", "")
        if what == "accept":
            await app.client.call(shares.ACCEPT, share_id=share)
        else:
            await app.client.call(shares.LEAVE, share_id=share)
        app.touch()

    action = use_action(act, proof="/shares")

    def run(what: str, share: str) -> None:
        chosen.current = (what, share)
        action.run()

    def content(page: Page[ReceivedShare]) -> Sequence[ft.Control]:
        if not page.items:
            return [
                empty(
                    text("shares.empty_title"),
                    text("shares.empty"),
                    text("app.reload"),
                    lambda _: found.reload(),
                    app,
                )
            ]
        controls: list[ft.Control] = []
        controls += failure(action, app)
        for one in page.items:
            id, row = str(one.id), received_share(one, app.formats, text)
            buttons: list[tuple[str, Callable[[], None]]] = []
            if row.waits:
                buttons.append((text("shares.accept"), partial(run, "accept", id)))
                buttons.append((text("shares.decline"), partial(run, "leave", id)))
            else:
                buttons.append(
                    (text("shares.open"), partial(go, f"/portfolios/{one.portfolio_id}"))
                )
                buttons.append((text("shares.leave"), partial(run, "leave", id)))
            controls.append(_row(row, buttons, app))
        return controls

    return detail_view(
        "/shares",
        text("settings.shares"),
        shown(found, content, [skeleton(96, app), skeleton(96, app)]),
        app,
        reload=found.reload,
    )


def _row(
    row: ShareRow, buttons: Sequence[tuple[str, Callable[[], None]]], app: AppState
) -> ft.Control:
    return card(
        ft.Column(
            [
                words(row.title, app, "lead", strong=True),
                quiet(row.details, app),
                ft.Row(
                    [
                        secondary_button(name, lambda _, run=run: run(), app)
                        for name, run in buttons
                    ],
                    wrap=True,
                    spacing=theme.GRID,
                ),
            ],
            spacing=theme.GRID,
        ),
        app,
    )
