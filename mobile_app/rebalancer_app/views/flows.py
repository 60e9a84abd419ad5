"""Planned deposits and withdrawals: confirm due dates, add and change plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import cast

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import flows
from rebalancer_app.gateway.flows import Confirmation, DueDate, Plan, PlannedFlow, Terms
from rebalancer_app.model.flows import EVERY, DueRow, flow_screen, read_flow
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
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

HORIZONS = (0, 7, 14, 30, 90)
"""Days ahead that proposals may count, to choose from."""


@ft.component
def PlannedFlows() -> ft.View:
    """Show planned flows, and let the person confirm what is due."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("portfolio", "")
    found = use_resource(lambda: app.client.call(flows.LIST, portfolio_id=id), (id,))
    chosen = ft.use_ref(cast("tuple[str, DueRow | None, Terms | None]", ("", None, None)))

    async def act(key: str) -> None:
        what, row, terms = chosen.current or ("", None, None)
        if what == "terms" and terms is not None:
            await app.client.call(flows.TERMS, terms, portfolio_id=id)
        elif row is not None:
            day = date.fromisoformat(row.key)
            if what == "skip":
                body: DueDate | Confirmation = DueDate(day)
                await app.client.call(flows.SKIP, body, key=key, portfolio_id=id, flow_id=row.flow)
            else:
                paid = row.match if what == "match" else None
                body = Confirmation(day, paid, book_anyway=what == "anyway")
                await app.client.call(
                    flows.CONFIRM, body, key=key, portfolio_id=id, flow_id=row.flow
                )
        app.touch()

    action = use_action(act)

    def run(what: str, row: DueRow | None = None, terms: Terms | None = None) -> None:
        chosen.current = (what, row, terms)
        action.run()

    def content(plan: Plan) -> Sequence[ft.Control]:
        screen = flow_screen(plan, app.formats, text, hidden=app.amounts_hidden)
        controls: list[ft.Control] = [quiet(text("flows.hint"), app, "body")]
        controls += failure(action, app)
        if screen.due:
            controls.append(words(text("flows.due"), app, "lead", strong=True))
            controls += [_due_card(row, run, app) for row in screen.due]
        controls.append(words(text("flows.plans"), app, "lead", strong=True))
        if not screen.flows:
            controls.append(quiet(text("flows.none"), app, "body"))
        for row in screen.flows:
            controls.append(
                card(
                    ft.Column(
                        [words(row.title, app, "lead", strong=True), quiet(row.rule, app)],
                        spacing=4,
                    ),
                    app,
                    on_click=lambda _, flow=row.id: go(f"/portfolios/{id}/planned/{flow}"),
                    label=f"{row.title}, {row.rule}",
                )
            )
        controls.append(
            secondary_button(
                text("flows.add"),
                lambda _: go(f"/portfolios/{id}/planned/new"),
                app,
                icon=ft.Icons.ADD,
            )
        )
        if plan.flows:
            controls += _terms(plan, run, app)
        if screen.coming:
            controls.append(words(text("flows.coming"), app, "lead", strong=True))
            lines: list[ft.Control] = [quiet(line, app, "body") for line in screen.coming]
            controls.append(card(ft.Column(lines, spacing=4), app))
        return controls

    return detail_view(
        f"/portfolios/{id}/planned",
        text("portfolio.planned"),
        shown(found, content, [skeleton(96, app), skeleton(72, app), skeleton(72, app)]),
        app,
        reload=found.reload,
    )


def _due_card(row: DueRow, run: Callable[..., None], app: AppState) -> ft.Control:
    """Return a date with the ways to decide about it."""
    text = app.texts
    buttons = [("match", "flows.match"), ("anyway", "flows.anyway")]
    if row.match is None:
        buttons = [("confirm", "flows.confirm")]
    named = [(what, text(name)) for what, name in (*buttons, ("skip", "flows.skip"))]
    lines: list[ft.Control] = [
        words(row.title, app, "lead", strong=True),
        quiet(row.details, app),
    ]
    if row.matched:
        lines.append(quiet(row.matched, app))
    (first, title), *others = named
    lines.append(primary_button(title, lambda _: run(first, row), app))
    lines.append(
        ft.Row(
            [
                secondary_button(label, lambda _, what=what: run(what, row), app)
                for what, label in others
            ],
            wrap=True,
            spacing=theme.GRID,
        )
    )
    return card(
        ft.Column(
            lines,
            spacing=theme.GRID,
            horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
        ),
        app,
    )


def _terms(plan: Plan, run: Callable[..., None], app: AppState) -> list[ft.Control]:
    text = app.texts
    days = sorted({*HORIZONS, plan.horizon})
    return [
        words(text("flows.horizon"), app, "lead", strong=True),
        quiet(text("flows.horizon_hint"), app),
        choices(
            [
                (str(one), text("flows.days", count=one) if one else text("flows.never"))
                for one in days
            ],
            str(plan.horizon),
            lambda value: run("terms", None, Terms(horizon=int(value))),
            app,
            label=text("flows.horizon"),
        ),
        ft.Checkbox(
            label=text("flows.automatic"),
            value=plan.automatic,
            on_change=lambda event: run("terms", None, Terms(automatic=bool(event.control.value))),
        ),
        quiet(text("flows.automatic_hint"), app),
    ]


@ft.component
def EditFlow() -> ft.View:
    """Plan a flow, or change one."""
    app = use_app()
    text = app.texts
    parameters = ft.use_route_params()
    id, flow_id = parameters.get("portfolio", ""), parameters.get("flow", "")
    is_new = flow_id == "new"
    found = use_resource(lambda: app.client.call(flows.LIST, portfolio_id=id), (id,))
    typed, set_typed = ft.use_state(cast("dict[str, str]", {}))
    wrong, set_wrong = ft.use_state(cast("dict[str, str]", {}))
    removing = ft.use_ref(False)
    plan = found.data
    known = None
    if plan is not None:
        known = next((one for one in plan.flows if str(one.id) == flow_id), None)

    def value(name: str) -> str:
        return typed.get(name, _prefilled(known, app).get(name, ""))

    def change(name: str) -> Callable[[str], None]:
        return lambda given: set_typed({**typed, name: given})

    async def save(key: str) -> None:
        if removing.current:
            await app.client.call(flows.REMOVE, portfolio_id=id, flow_id=flow_id)
        else:
            fields = [value(name) for name in ("kind", "amount", "every", "day", "note")]
            request, mistakes = read_flow(
                fields[0], fields[1], fields[2], fields[3], fields[4], app.formats, text
            )
            set_wrong(mistakes)
            if request is None:
                return
            if is_new:
                await app.client.call(flows.ADD, request, key=key, portfolio_id=id)
            else:
                request = keep_period(request, known)
                await app.client.call(flows.CHANGE, request, portfolio_id=id, flow_id=flow_id)
        app.touch()
        go(f"/portfolios/{id}/planned")

    action = use_action(save)

    def run(removes: bool) -> None:
        removing.current = removes
        action.run()

    def content(_: Plan) -> Sequence[ft.Control]:
        kinds = ("deposit", "withdrawal")
        controls: list[ft.Control] = [
            choices(
                [(one, text(f"flows.kind_{one}")) for one in kinds],
                value("kind"),
                change("kind"),
                app,
                label=text("flows.kind"),
            ),
            text_field(
                text("flows.amount"),
                value("amount"),
                change("amount"),
                app,
                keyboard_type=ft.KeyboardType.NUMBER,
                error=wrong.get("amount") or field_problem(action, "amount", app),
            ),
            choices(
                [(one, text(f"flows.every_{one}")) for one in EVERY],
                value("every"),
                change("every"),
                app,
                label=text("flows.every"),
            ),
            text_field(
                text("flows.weekday" if value("every") == "week" else "flows.day"),
                value("day"),
                change("day"),
                app,
                keyboard_type=ft.KeyboardType.NUMBER,
                error=wrong.get("day") or field_problem(action, "day", app),
            ),
            text_field(text("money.note"), value("note"), change("note"), app, max_length=200),
            *failure(action, app, "amount", "day"),
            primary_button(text("flows.save"), lambda _: run(False), app, disabled=action.running),
        ]
        if not is_new:
            controls.append(secondary_button(text("flows.remove"), lambda _: run(True), app))
        return controls

    return detail_view(
        f"/portfolios/{id}/planned/{flow_id}",
        text("flows.add" if is_new else "flows.edit"),
        shown(found, content, [skeleton(48, app), skeleton(56, app), skeleton(48, app)]),
        app,
    )


def _prefilled(known: PlannedFlow | None, app: AppState) -> dict[str, str]:
    if known is None:
        return {"kind": "deposit", "every": "month"}
    return {
        "kind": known.kind,
        "amount": app.formats.plain(known.amount),
        "every": known.every,
        "day": str(known.day),
        "note": known.note,
    }


def keep_period(request: flows.FlowRequest, known: PlannedFlow | None) -> flows.FlowRequest:
    """Return a request with what the form does not show: first and last day, and the currency."""
    if known is None:
        return request
    return attrs.evolve(request, first=known.first, last=known.last, currency=known.currency)
