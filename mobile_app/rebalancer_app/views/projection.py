"""A look ahead: what a portfolio may be worth, and whether its goals are in reach."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import projection as gateway
from rebalancer_app.gateway.client import Answer, Client
from rebalancer_app.gateway.problems import Problem
from rebalancer_app.gateway.projection import Flow, Projection, Request, Result, WantedGoal
from rebalancer_app.model.numbers import read_number
from rebalancer_app.model.projection import YEARS, GoalLine, ProjectionScreen, projection_screen
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.charts import line_chart
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
    notice,
    primary_button,
    quiet,
    remark,
    secondary_button,
    shown,
    skeleton,
    text_field,
    words,
)

_PAUSE = 0.7
"""Seconds between two looks at a projection that runs as a job."""


@attrs.frozen
class Asked:
    """What the person asks for.

    Attributes:
        years: One of `YEARS`.
        monthly: Deposit a month, negative for a withdrawal.
        goal: Amount to have in the end; None without one.
    """

    years: str = "20"
    monthly: Decimal = Decimal(0)
    goal: Decimal | None = None

    def request(self) -> Request:
        """Return the request to the server."""
        return Request(
            12 * int(self.years),
            [Flow(float(self.monthly))] if self.monthly else [],
            None if self.goal is None else WantedGoal(float(self.goal)),
        )


@ft.component
def LookAhead() -> ft.View:
    """Show the range of what a portfolio may be worth."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    asked, ask = ft.use_state(Asked())
    monthly, set_monthly = ft.use_state("")
    goal, set_goal = ft.use_state("")
    wrong, set_wrong = ft.use_state("")
    found = use_resource(lambda: _project(app.client, id, asked), (id, asked))

    def apply(_: object) -> None:
        deposit = Decimal(0) if not monthly.strip() else read_number(monthly, app.formats)
        amount = None if not goal.strip() else read_number(goal, app.formats)
        if deposit is None:
            set_wrong("monthly")
        elif goal.strip() and (amount is None or amount <= 0):
            set_wrong("goal")
        else:
            set_wrong("")
            ask(attrs.evolve(asked, monthly=deposit, goal=amount))

    def content(one: Projection) -> Sequence[ft.Control]:
        if one.result is None:
            return [notice(one.error or text("future.failed"), app, icon=ft.Icons.ERROR_OUTLINE)]
        return _result(screen_of(one.result), id, app)

    def basis(one: Projection) -> Sequence[ft.Control]:
        return [] if one.result is None else _basis(screen_of(one.result), app)

    def screen_of(result: Result) -> ProjectionScreen:
        return projection_screen(result, asked.goal, app.formats, text)

    form: list[ft.Control] = [
        choices(
            [(years, text("future.years", years=years)) for years in YEARS],
            asked.years,
            lambda years: ask(attrs.evolve(asked, years=years)),
            app,
            label=text("future.horizon"),
        ),
        text_field(
            text("future.monthly"),
            monthly,
            set_monthly,
            app,
            keyboard_type=ft.KeyboardType.NUMBER,
            helper=text("future.monthly_help"),
            error=text("future.not_a_number") if wrong == "monthly" else None,
        ),
        text_field(
            text("future.goal"),
            goal,
            set_goal,
            app,
            keyboard_type=ft.KeyboardType.NUMBER,
            error=text("future.not_an_amount") if wrong == "goal" else None,
        ),
        primary_button(text("future.look"), apply, app),
    ]
    waiting = [skeleton(56, app, 240), skeleton(240, app), skeleton(120, app)]
    return detail_view(
        f"/portfolios/{id}/future",
        text("future.title"),
        [
            *shown(found, content, waiting),
            *form,
            *([] if found.data is None else basis(found.data)),
        ],
        app,
        reload=found.reload,
    )


async def _project(client: Client, id: str, asked: Asked) -> Answer[Projection]:
    """Ask for a projection; wait for the job if it runs as one.

    Raises:
        Problem, Offline, SignedOut: as `Client.call`.
    """
    answer = await client.call(gateway.PROJECT, asked.request(), portfolio_id=id)
    while answer.data.state in ("queued", "running"):
        await asyncio.sleep(_PAUSE)
        answer = await client.call(gateway.STATUS, portfolio_id=id, job_id=answer.data.id)
    if answer.data.result is None and answer.data.state != "failed":
        raise Problem(0, "not_understood", answer.data.state)
    return answer


def _result(screen: ProjectionScreen, id: str, app: AppState) -> list[ft.Control]:
    text, colors = app.texts, app.colors
    fan = [colors.accent, colors.quiet, *[colors.series[0]] * 2, colors.quiet, colors.series[1]]
    return [
        ft.Column(
            [
                words(screen.middle, app, "figure", strong=True),
                quiet(screen.span, app, "body"),
            ],
            spacing=4,
        ),
        *([line_chart(screen.chart, app, height=240, colors=fan)] if screen.chart else []),
        *[_goal(goal, app) for goal in screen.goals],
        secondary_button(
            text("future.goals"),
            lambda _: go(f"/portfolios/{id}/goals"),
            app,
            icon=ft.Icons.FLAG_OUTLINED,
        ),
    ]


def _basis(screen: ProjectionScreen, app: AppState) -> list[ft.Control]:
    """Return what may go wrong, what more money would do, and what the figures rest on."""
    return [
        card(
            ft.Column([words(one, app) for one in screen.sentences], spacing=theme.GRID),
            app,
        ),
        *[remark(note, app) for note in screen.notes],
    ]


def _goal(goal: GoalLine, app: AppState) -> ft.Control:
    """Return a goal; its icon and words say whether it is in reach, not the colour alone."""
    icon, color = {
        "likely": (ft.Icons.CHECK_CIRCLE_OUTLINE, app.colors.gain),
        "open": (ft.Icons.HELP_OUTLINE, app.colors.caution),
        "unlikely": (ft.Icons.ERROR_OUTLINE, app.colors.loss),
    }[goal.level]
    return card(
        ft.Row(
            [
                ft.Icon(icon, color=color),
                ft.Column(
                    [words(goal.name, app, strong=True), quiet(goal.text, app, "body")],
                    spacing=2,
                    expand=True,
                ),
            ],
            spacing=theme.GRID * 1.5,
        ),
        app,
    )
