"""Backtests: choose policies and a period, watch the progress, read the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import cast

import attrs
import flet as ft

from rebalancer_app import theme
from rebalancer_app.gateway import backtests as gateway
from rebalancer_app.gateway import home, policies, portfolios
from rebalancer_app.gateway.backtests import Backtest, Job, Request, Series
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.policies import Policy
from rebalancer_app.gateway.problems import Offline, Problem
from rebalancer_app.model.backtest import (
    RUNNING,
    BacktestScreen,
    FigureTable,
    backtest_screen,
    job_line,
    job_title,
)
from rebalancer_app.model.charts import POINTS
from rebalancer_app.model.proposal import policy_name
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.charts import line_chart
from rebalancer_app.views.frame import detail_view, go
from rebalancer_app.views.resources import Resource, use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    choices,
    notice,
    primary_button,
    quiet,
    secondary_button,
    shown,
    skeleton,
    words,
)

YEARS = {"3": 3, "5": 5, "10": 10, "all": None}
MOST_POLICIES = 6


@ft.component
def Backtests() -> ft.View:
    """Let the person test policies on history, and find earlier tests."""
    app = use_app()
    text = app.texts
    chosen, choose = ft.use_state(cast("tuple[str, ...]", ("monthly", "band")))
    years, set_years = ft.use_state("5")
    whose, set_whose = ft.use_state("")
    offered = use_resource(lambda: app.client.call(policies.LIST))
    owned = use_resource(lambda: app.client.call(home.READ))
    earlier = use_resource(lambda: app.client.call(gateway.JOBS, query={"limit": 10}))

    async def start(key: str) -> None:
        targets = None
        if whose:
            answer = await app.client.call(portfolios.READ, portfolio_id=whose)
            targets = answer.data.targets or None
        back = YEARS[years]
        as_of = owned.data.as_of if owned.data is not None else None
        last = as_of or date.today()
        first = None if back is None else last.replace(year=last.year - back, day=1)
        asked = Request(list(chosen), targets, first)
        started = await app.client.call(gateway.START, asked, key=key)
        app.touch()
        go(f"/backtests/{started.data.id}")

    action = use_action(start)

    def content(every: list[Policy]) -> Sequence[ft.Control]:
        return [
            words(text("backtest.policies"), app, "lead", strong=True),
            ft.Row([_policy_chip(one, chosen, choose, app) for one in every], wrap=True, spacing=8),
            *_targets_choice(owned, whose, set_whose, app),
            choices(
                [(name, text(f"backtest.years_{name}")) for name in YEARS],
                years,
                set_years,
                app,
                label=text("backtest.how_long"),
            ),
            *([notice(action.message, app)] if action.message else []),
            primary_button(
                text("backtest.start"),
                lambda _: action.run(),
                app,
                disabled=action.running or not chosen,
            ),
            quiet(text("backtest.honest"), app),
            *_earlier(earlier.data, app),
        ]

    waiting = [skeleton(120, app), skeleton(44, app), skeleton(48, app)]
    return detail_view("/backtests", text("backtest.title"), shown(offered, content, waiting), app)


@ft.component
def BacktestDetail() -> ft.View:
    """Follow a backtest while it runs, then show its figures."""
    app = use_app()
    text = app.texts
    id = ft.use_route_params().get("job", "")
    live, set_live = ft.use_state(cast("Job | None", None))
    found = use_resource(lambda: app.client.call(gateway.STATUS, job_id=id), (id,))
    ended = found.data is not None and found.data.state == "succeeded"
    series = use_resource(
        lambda: app.client.call(gateway.SERIES, query={"points": POINTS}, job_id=id), (id, ended)
    )

    async def follow() -> None:
        if found.data is None or found.data.state not in RUNNING:
            return
        try:
            async for job in app.client.follow(gateway.EVENTS, job_id=id):
                set_live(job)
        except (Problem, Offline):
            pass
        found.reload()

    ft.use_effect(follow, [id, found.data is not None])

    async def cancel(_: str) -> None:
        await app.client.call(gateway.CANCEL, job_id=id)

    action = use_action(cancel)

    def content(one: Backtest) -> Sequence[ft.Control]:
        if live is not None and one.state in RUNNING:
            state = live.state if live.state in RUNNING else "running"
            one = attrs.evolve(one, state=state, progress=live.progress)
        data: Series | None = series.data if ended else None
        screen = backtest_screen(one, data, app.formats, text)
        if screen.is_running:
            return _progress(screen, action.run, action.running, app)
        controls: list[ft.Control] = [
            words(screen.title, app, "title", strong=True),
            quiet(screen.period or screen.state, app, "body"),
        ]
        if screen.chart is not None:
            controls.append(line_chart(screen.chart, app, height=240, colors=app.colors.series))
        elif ended:
            controls.append(skeleton(240, app))
        if screen.table is not None:
            controls.append(_table(screen.table, app))
        controls += [notice(caution, app) for caution in screen.cautions]
        return controls

    waiting = [skeleton(32, app, 240), skeleton(240, app), skeleton(240, app)]
    return detail_view(
        f"/backtests/{id}", text("backtest.one"), shown(found, content, waiting), app
    )


def _policy_chip(
    one: Policy,
    chosen: tuple[str, ...],
    choose: Callable[[tuple[str, ...]], None],
    app: AppState,
) -> ft.Control:
    is_chosen = one.name in chosen

    def toggle(_: object) -> None:
        if is_chosen:
            choose(tuple(name for name in chosen if name != one.name))
        elif len(chosen) < MOST_POLICIES:
            choose((*chosen, one.name))

    return ft.Chip(
        label=words(
            policy_name(one.name, app.texts),
            app,
            color=app.colors.on_accent if is_chosen else app.colors.text,
        ),
        selected=is_chosen,
        on_select=toggle,
        bgcolor=app.colors.raised,
        selected_color=app.colors.accent,
        check_color=app.colors.on_accent,
        tooltip=one.summary,
    )


def _targets_choice(
    owned: Resource[home.Home], whose: str, set_whose: Callable[[str], None], app: AppState
) -> list[ft.Control]:
    """Return the choice of the targets, if the person has portfolios."""
    if owned.data is None or not owned.data.portfolios:
        return []
    options = [("", app.texts("backtest.equal"))]
    options += [(str(one.id), one.name) for one in owned.data.portfolios[:3]]
    return [choices(options, whose, set_whose, app, label=app.texts("backtest.targets"))]


def _earlier(page: Page[Job] | None, app: AppState) -> list[ft.Control]:
    jobs = [job for job in (page.items if page else []) if job.kind == "backtest"]
    if not jobs:
        return []
    text = app.texts
    return [
        words(text("backtest.earlier"), app, "lead", strong=True),
        *[
            card(
                ft.Column(
                    [
                        words(job_title(job.request, text), app, strong=True),
                        quiet(job_line(job, app.formats, text), app),
                    ],
                    spacing=2,
                ),
                app,
                on_click=lambda _, id=job.id: go(f"/backtests/{id}"),
                label=job_title(job.request, text),
            )
            for job in jobs
        ],
    ]


def _progress(
    screen: BacktestScreen, cancel: Callable[[], None], cancelling: bool, app: AppState
) -> list[ft.Control]:
    shown_share = app.formats.percent(screen.progress, 0)
    return [
        words(screen.title, app, "title", strong=True),
        ft.Semantics(
            label=f"{screen.state} {shown_share}",
            live_region=True,
            content=ft.Column(
                [
                    ft.ProgressBar(
                        value=screen.progress,
                        color=app.colors.accent,
                        bgcolor=app.colors.raised,
                        bar_height=8,
                    ),
                    quiet(f"{screen.state} {shown_share}", app, "body"),
                ],
                spacing=theme.GRID,
            ),
        ),
        secondary_button(app.texts("dialog.cancel"), lambda _: cancel(), app, disabled=cancelling),
    ]


def _table(table: FigureTable, app: AppState) -> ft.Control:
    def cell(value: str, strong: bool = False) -> ft.DataCell:
        return ft.DataCell(words(value, app, strong=strong))

    return ft.Row(
        [
            ft.DataTable(
                columns=[
                    ft.DataColumn(label=quiet("", app)),
                    *[
                        ft.DataColumn(label=words(name, app, strong=True), numeric=True)
                        for name in table.policies
                    ],
                ],
                rows=[
                    ft.DataRow(cells=[cell(name), *[cell(value, True) for value in values]])
                    for name, values in table.rows
                ],
                column_spacing=theme.GRID * 2,
                horizontal_margin=0,
                divider_thickness=0.5,
            )
        ],
        scroll=ft.ScrollMode.AUTO,
    )
