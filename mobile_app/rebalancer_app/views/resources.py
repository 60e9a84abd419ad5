"""Loading of what a screen shows, with its five states."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast

import attrs
import flet as ft

from rebalancer_app.gateway.client import Answer
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut
from rebalancer_app.state import use_app

T = TypeVar("T")


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
            leave()
            return
        except Problem as problem:
            found = {"phase": Phase.FAILED, "problem": problem}
        except Offline:
            found = {"phase": Phase.OFFLINE}
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


def leave() -> None:
    """Lead to the sign-in after the session has ended."""
    page = ft.context.page
    page.run_task(page.push_route, "/sign-in")
