"""Goals of a portfolio: amounts to have by a year."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import projection as gateway
from rebalancer_app.gateway.projection import Goals, GoalsRequest, SavingsGoal
from rebalancer_app.model.numbers import read_number
from rebalancer_app.state import use_app
from rebalancer_app.views.frame import detail_view
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    failure,
    field_problem,
    icon_button,
    primary_button,
    quiet,
    shown,
    skeleton,
    text_field,
    words,
)


@ft.component
def EditGoals() -> ft.View:
    """Show the goals of a portfolio; add and remove them."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    name, set_name = ft.use_state("")
    amount, set_amount = ft.use_state("")
    year, set_year = ft.use_state("")
    wrong, set_wrong = ft.use_state("")
    found = use_resource(lambda: app.client.call(gateway.GOALS, portfolio_id=id), (id,))

    async def add(_: str) -> None:
        number = read_number(amount, app.formats)
        if not name.strip():
            set_wrong("name")
        elif number is None or number <= 0:
            set_wrong("amount")
        elif not (year.strip().isdigit() and 2000 <= int(year) <= 2200):
            set_wrong("by")
        else:
            set_wrong("")
            known = found.data.goals if found.data is not None else []
            by = date(int(year), 12, 31)
            body = GoalsRequest([*known, SavingsGoal(name.strip(), number, by)])
            await app.client.call(gateway.SET_GOALS, body, portfolio_id=id)
            found.reload()
            for clear in (set_name, set_amount, set_year):
                clear("")

    adding = use_action(add)

    def content(one: Goals) -> Sequence[ft.Control]:
        return [
            quiet(text("goals.about"), app, "body"),
            *[
                GoalCard(id, one, goal, found.reload, key=goal.name)  # type: ignore[call-arg]  # of the decorator
                for goal in one.goals
            ],
            *([] if one.goals else [quiet(text("goals.none"), app, "body")]),
            words(text("goals.new"), app, "lead", strong=True),
            text_field(
                text("goals.name"),
                name,
                set_name,
                app,
                error=text("goals.name_missing")
                if wrong == "name"
                else field_problem(adding, "name", app),
            ),
            text_field(
                text("goals.amount", currency=one.currency),
                amount,
                set_amount,
                app,
                keyboard_type=ft.KeyboardType.NUMBER,
                error=text("future.not_an_amount")
                if wrong == "amount"
                else field_problem(adding, "amount", app),
            ),
            text_field(
                text("goals.year"),
                year,
                set_year,
                app,
                keyboard_type=ft.KeyboardType.NUMBER,
                error=text("goals.not_a_year")
                if wrong == "by"
                else field_problem(adding, "by", app),
            ),
            *failure(adding, app, "name", "amount", "by"),
            primary_button(text("goals.add"), lambda _: adding.run(), app, disabled=adding.running),
        ]

    return detail_view(
        f"/portfolios/{id}/goals",
        text("future.goals"),
        shown(found, content, [skeleton(80, app), skeleton(80, app)]),
        app,
        reload=found.reload,
    )


@ft.component
def GoalCard(id: str, every: Goals, goal: SavingsGoal, reload: Callable[[], None]) -> ft.Control:
    """Show a goal, which can be removed."""
    app = use_app()
    money = app.formats.money(goal.amount, every.currency, whole=True)
    kind = "goals.nominal" if goal.nominal else "goals.real"

    async def remove(_: str) -> None:
        others = [one for one in every.goals if one.name != goal.name]
        await app.client.call(gateway.SET_GOALS, GoalsRequest(others), portfolio_id=id)
        reload()

    action = use_action(remove)
    lines: list[ft.Control] = [
        words(goal.name, app, "lead", strong=True),
        quiet(app.texts(kind, amount=money, day=app.formats.day(goal.by)), app, "body"),
        *failure(action, app),
    ]
    return card(
        ft.Row(
            [
                ft.Column(lines, spacing=theme.GRID / 2, expand=True),
                icon_button(
                    ft.Icons.DELETE_OUTLINE,
                    app.texts("goals.remove", name=goal.name),
                    lambda _: action.run(),
                    app,
                ),
            ]
        ),
        app,
    )
