"""Loading of what a screen shows, with its five states."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote
from uuid import uuid4

import attrs
import flet as ft

from rebalancer_app.gateway.client import Answer
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut
from rebalancer_app.state import AppState, use_app
from rebalancer_app.texts import Texts

T = TypeVar("T")

log = logging.getLogger("rebalancer_app")


class Phase(StrEnum):
    """What a screen can show; empty is a matter of its content."""

    LOADING = "loading"
    CONTENT = "content"
    FAILED = "failed"
    OFFLINE = "offline"


@attrs.frozen
class Resource(Generic[T]):
    """Something that is loaded from the server.

    Attributes:
        phase: LOADING only without content; OFFLINE only without content, too.
        data: The content; None before.
        etag: Its version.
        received: When the server sent it.
        is_old: Whether the server cannot be reached now.
        problem: Why it failed.
        reload: Loads it again.
    """

    phase: Phase
    reload: Callable[[], None]
    data: T | None = None
    etag: str | None = None
    received: datetime | None = None
    is_old: bool = False
    problem: Problem | None = None


def use_resource(
    load: Callable[[], Awaitable[Answer[T]]], dependencies: tuple[Any, ...] = ()
) -> Resource[T]:
    """Load something when a component appears, its dependencies change, or a write has succeeded.

    What was loaded before stays visible while it is loaded again.
    """
    app = use_app()
    count, set_count = ft.use_state(0)
    held, set_held = ft.use_state(cast("dict[str, Any] | None", None))
    latest = ft.use_ref(0)

    async def run() -> None:
        mine = (latest.current or 0) + 1
        latest.current = mine
        try:
            answer = await load()
            found: Any = attrs.asdict(answer, recurse=False) | {"phase": Phase.CONTENT}
        except SignedOut:
            app.user = None
            leave(app)
            return
        except Problem as problem:
            found = {"phase": Phase.FAILED, "problem": problem}
        except Offline:
            found = {"phase": Phase.OFFLINE}
        except Exception:
            log.exception("an answer of the server cannot be shown")
            found = {"phase": Phase.FAILED, "problem": Problem(0, "not_understood", "")}
        if mine == latest.current:
            set_held(found)

    ft.use_effect(run, [*dependencies, count, app.changes])

    def reload() -> None:
        set_count(count + 1)

    if held is None:
        return Resource(Phase.LOADING, reload)
    return Resource(
        held["phase"],
        reload,
        held.get("data"),
        held.get("etag"),
        held.get("received"),
        held.get("is_old", False),
        held.get("problem"),
    )


@attrs.frozen
class Action:
    """A write that the person can start.

    Attributes:
        run: Starts it; a second start while it runs has no effect.
        running: Whether it runs.
        message: Why the last one failed, for the person; empty otherwise.
        problem: The same as the server describes it; None without one.
    """

    run: Callable[[], None]
    running: bool = False
    message: str = ""
    problem: Problem | None = None


def use_action(perform: Callable[[str], Awaitable[None]], *, proof: str | None = None) -> Action:
    """Return a write; ``perform`` gets the key that identifies it.

    After a failure without an answer, the next start repeats the same key, so that the write has
    its effect once. After an answer, a start is a new write. If the server wants a fresh proof of
    identity, the person gives it and comes back to the route ``proof``.
    """
    app = use_app()
    page = ft.context.page
    running, set_running = ft.use_state(False)
    message, set_message = ft.use_state("")
    problem, set_problem = ft.use_state(cast("Problem | None", None))
    busy = ft.use_ref(False)
    key = ft.use_ref("")

    async def attempt() -> None:
        key.current = key.current or str(uuid4())
        set_message("")
        set_problem(None)
        set_running(True)
        try:
            await perform(key.current)
            key.current = ""
        except SignedOut:
            app.user = None
            leave(app)
        except Problem as refused:
            key.current = ""
            if refused.code == "reauthentication_required" and proof is not None:
                open_page(f"/confirm?next={quote(proof)}")
                return
            set_problem(refused)
            set_message(describe(refused, app.texts))
        except Offline:
            set_message(app.texts("app.offline_write"))
        except Exception:
            log.exception("an answer of the server cannot be understood")
            set_message(app.texts("problem.not_understood"))
        finally:
            busy.current = False
            set_running(False)

    def run() -> None:
        if not busy.current:
            busy.current = True
            page.run_task(attempt)

    return Action(run, running, message, problem)


def describe(problem: Problem, texts: Texts) -> str:
    """Return why the server refused something, as a sentence for the person."""
    known = texts.describe(problem.code, problem.only_field, problem.retry_after)
    if known is not None:
        return known
    detail = problem.detail[:1].upper() + problem.detail[1:]
    return detail if detail.endswith((".", "!", "?")) else f"{detail}."


def leave(app: AppState) -> None:
    """Lead to the sign-in after the session has ended."""
    if app.device is not None:
        app.signed_in = False
    else:
        open_page("/sign-in")


def open_page(route: str) -> None:
    """Leave for a page outside the app's window; on a device, for a screen of its own."""
    page = ft.context.page
    if page.web:
        page.run_task(ft.UrlLauncher().launch_url, route, web_only_window_name="_self")
    else:
        page.run_task(page.push_route, route)
