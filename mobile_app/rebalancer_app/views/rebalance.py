"""Choose how to rebalance, and ask for a proposal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import live as live_gateway
from rebalancer_app.gateway import policies, rebalance
from rebalancer_app.gateway.live import LivePortfolio
from rebalancer_app.gateway.policies import Policy
from rebalancer_app.model.proposal import offers_quotes, policy_name
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.live import use_live
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    notice,
    primary_button,
    quiet,
    secondary_button,
    shown,
    skeleton,
    words,
)

RECOMMENDED = "band"


@ft.component
def Rebalance() -> ft.View:
    """Let the person choose a policy; the recommended one needs no choice."""
    app = use_app()
    id = ft.use_route_params().get("portfolio", "")
    policy, choose = ft.use_state(RECOMMENDED)
    comparing, compare = ft.use_state(False)
    found = use_resource(lambda: app.client.call(policies.LIST))
    text = app.texts
    live = use_live(live_gateway.PORTFOLIO, live_gateway.PORTFOLIO_EVENTS, key=id, portfolio_id=id)

    async def work_out(key: str, prices: str = "close") -> None:
        asked = rebalance.Request(UUID(id), policy, prices=prices)
        answer = await app.client.call(rebalance.PREDICT, asked, key=key)
        go(f"/portfolios/{id}/proposals/{answer.data.id}")

    async def work_out_at_quotes(key: str) -> None:
        await work_out(key, "live")

    action, at_quotes = use_action(work_out), use_action(work_out_at_quotes)
    running, message = action.running or at_quotes.running, action.message or at_quotes.message

    def content(every: list[Policy]) -> Sequence[ft.Control]:
        offered = [one for one in every if one.name == RECOMMENDED or comparing]
        return [
            *[_policy(one, one.name == policy, choose, app) for one in offered],
            *(
                []
                if comparing
                else [secondary_button(text("proposal.compare"), lambda _: compare(True), app)]
            ),
            *([notice(message, app)] if message else []),
            primary_button(
                text("proposal.working" if running else "proposal.work_out"),
                lambda _: action.run(),
                app,
                disabled=running,
            ),
            *(
                [
                    secondary_button(
                        text("proposal.work_out_live"),
                        lambda _: at_quotes.run(),
                        app,
                        disabled=running,
                    ),
                    quiet(text("proposal.live_hint"), app),
                ]
                if offers_quotes(live.found.get(LivePortfolio))
                else []
            ),
        ]

    waiting = [skeleton(120, app), skeleton(48, app)]
    return detail_view(
        f"/portfolios/{id}/rebalance",
        text("proposal.choose"),
        shown(found, content, waiting),
        app,
    )


def _policy(
    one: Policy, is_chosen: bool, choose: Callable[[str], None], app: AppState
) -> ft.Control:
    recommended = one.name == RECOMMENDED
    name = policy_name(one.name, app.texts)
    summary = app.texts("proposal.recommended") if recommended else one.summary
    state = ft.Icons.RADIO_BUTTON_CHECKED if is_chosen else ft.Icons.RADIO_BUTTON_UNCHECKED
    return card(
        ft.Row(
            [
                ft.Icon(state, color=app.colors.accent),
                ft.Column(
                    [words(name, app, "lead", strong=True), quiet(summary, app, "body")],
                    spacing=4,
                    expand=True,
                ),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
        on_click=lambda _: choose(one.name),
        label=f"{name}. {summary}",
    )
