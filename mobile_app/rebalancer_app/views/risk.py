"""The risk questionnaire and its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import flet as ft
import flet.canvas as cv

from rebalancer_app import theme
from rebalancer_app.gateway import risk, users
from rebalancer_app.gateway.risk import Answers, Questionnaire
from rebalancer_app.gateway.users import User
from rebalancer_app.model.risk import ProfileScreen, profile_screen, question_screen
from rebalancer_app.state import AppState, use_app
from rebalancer_app.views.frame import detail_view, go, tab_view
from rebalancer_app.views.resources import use_action, use_resource
from rebalancer_app.views.widgets import (
    card,
    empty,
    notice,
    quiet,
    secondary_button,
    shown,
    skeleton,
    words,
)


@ft.component
def Risk() -> ft.View:
    """Show the person's risk profile, or lead to the questions."""
    app = use_app()
    found = use_resource(lambda: app.client.call(users.PROFILE))

    def content(user: User) -> Sequence[ft.Control]:
        text = app.texts
        if user.assessment is None:
            return [
                empty(
                    text("risk.empty_title"),
                    text("risk.empty"),
                    text("risk.begin"),
                    lambda _: go("/risk/questions"),
                    app,
                )
            ]
        screen = profile_screen(user.assessment, app.formats, text)
        return [
            _dial(screen, app),
            *([notice(screen.lowered, app)] if screen.lowered else []),
            card(ft.Column([words(line, app) for line in screen.limits], spacing=theme.GRID), app),
            words(text("risk.why"), app, "lead", strong=True),
            *[words(reason, app) for reason in screen.reasons],
            quiet(screen.assessed, app),
            secondary_button(text("risk.again"), lambda _: go("/risk/questions"), app),
        ]

    return tab_view("risk", shown(found, content, [skeleton(180, app), skeleton(160, app)]), app)


@ft.component
def Questions() -> ft.View:
    """Ask one question after the other."""
    app = use_app()
    text = app.texts
    at, move = ft.use_state(0)
    answers, set_answers = ft.use_state(cast("dict[str, str]", {}))
    found = use_resource(lambda: app.client.call(risk.QUESTIONS))

    async def send(key: str) -> None:
        await app.client.call(risk.ASSESS, Answers(answers), key=key)
        app.touch()
        go("/risk")

    action = use_action(send)

    def content(data: Questionnaire) -> Sequence[ft.Control]:
        screen = question_screen(data, at, answers, text)

        def answer(id: str) -> None:
            answers[screen.question.id] = id
            set_answers(dict(answers))
            if screen.is_last:
                action.run()
            else:
                move(at + 1)

        controls: list[ft.Control] = [
            ft.ProgressBar(
                value=screen.share,
                color=app.colors.accent,
                bgcolor=app.colors.raised,
                bar_height=6,
                border_radius=3,
            ),
            quiet(screen.position, app),
            ft.Semantics(
                header=True, content=words(screen.question.text, app, "title", strong=True)
            ),
            quiet(screen.question.help, app, "body"),
            *[
                _answer(one.text, one.id == screen.chosen, partial(answer, one.id), app)
                for one in screen.question.answers
            ],
        ]
        if action.message:
            controls.append(notice(action.message, app))
            controls.append(secondary_button(text("app.retry"), lambda _: action.run(), app))
        if at:
            controls.append(secondary_button(text("risk.previous"), lambda _: move(at - 1), app))
        return controls

    waiting = [skeleton(12, app), skeleton(64, app), skeleton(56, app), skeleton(56, app)]
    return detail_view("/risk/questions", text("risk.title"), shown(found, content, waiting), app)


def _answer(text: str, is_chosen: bool, choose: Callable[[], None], app: AppState) -> ft.Control:
    icon = ft.Icons.RADIO_BUTTON_CHECKED if is_chosen else ft.Icons.RADIO_BUTTON_UNCHECKED
    return card(
        ft.Row([ft.Icon(icon, color=app.colors.accent), words(text, app, "lead", expand=True)]),
        app,
        on_click=lambda _: choose(),
        label=text,
    )


def _dial(screen: ProfileScreen, app: AppState) -> ft.Control:
    """Return a half circle with a mark at the person's profile."""
    width, radius, line = 260.0, 110.0, 16.0
    box = (width / 2 - radius, line, 2 * radius, 2 * radius)

    def arc(start: float, sweep: float, color: str) -> cv.Arc:
        paint = ft.Paint(
            color=color,
            stroke_width=line,
            style=ft.PaintingStyle.STROKE,
            stroke_cap=ft.StrokeCap.ROUND,
        )
        x, y, w, h = box
        return cv.Arc(x, y, w, h, start, sweep, paint=paint)

    angle = math.pi * (1 - screen.level)
    mark = cv.Circle(
        width / 2 + radius * math.cos(angle),
        line + radius - radius * math.sin(angle),
        line * 0.9,
        paint=ft.Paint(color=app.colors.text),
    )
    return ft.Semantics(
        label=app.texts("risk.dial", profile=screen.title),
        exclude_semantics=True,
        content=ft.Container(
            ft.Stack(
                [
                    cv.Canvas(
                        [
                            arc(math.pi, math.pi, app.colors.raised),
                            arc(math.pi, math.pi * max(screen.level, 0.001), app.colors.accent),
                            mark,
                        ],
                        width=width,
                        height=radius + 2 * line,
                    ),
                    ft.Container(
                        words(screen.title, app, "figure", strong=True),
                        alignment=ft.Alignment.BOTTOM_CENTER,
                        width=width,
                        height=radius + line,
                    ),
                ],
                width=width,
                height=radius + 2 * line,
            ),
            alignment=ft.Alignment.CENTER,
        ),
    )
