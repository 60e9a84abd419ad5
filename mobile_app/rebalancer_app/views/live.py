"""Following a stream of quotes while a screen is shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import attrs
import flet as ft

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.problems import Offline, Problem, SignedOut
from rebalancer_app.model.live import Link
from rebalancer_app.state import use_app

log = logging.getLogger("rebalancer_app")

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds between two connections, which grow after failures."""

LOOK = 2.0
"""Seconds between two looks whether the window still exists."""


@attrs.frozen
class Live:
    """What a stream has told so far.

    Attributes:
        link: State of the connection.
        found: The last data of each class.
        at: When the last of them came; times are shown relative to it.
    """

    link: Link = Link.NONE
    found: Mapping[type[Any], Any] = attrs.field(factory=dict)
    at: datetime = attrs.field(factory=lambda: datetime.now(UTC))


def use_live(
    endpoint: Endpoint[Any],
    kinds: Mapping[str, type[Any]],
    *,
    key: str,
    query: Mapping[str, str] | None = None,
    **path: Any,
) -> Live:
    """Return what a stream tells while the component is shown; it connects again by itself.

    Args:
        endpoint: The stream.
        kinds: Classes of the data, by names of events.
        key: Another stream is followed when it changes; empty: none.
        query: Query parameters.
        path: Values for the names in the path.
    """
    app = use_app()
    page = ft.context.page
    live, set_live = ft.use_state(Live())
    running = ft.use_ref(cast("Any", None))

    async def follow() -> None:
        found: dict[type[Any], Any] = {}
        after, wait = "", FIRST_WAIT
        while True:
            try:
                async for id, data in app.client.watch(
                    endpoint, kinds, query=query, after=after, **path
                ):
                    after, wait = id, FIRST_WAIT
                    found = {**found, type(data): data}
                    set_live(Live(Link.LIVE, found))
            except SignedOut:
                return  # other requests lead to the sign-in
            except Problem as problem:
                if problem.status not in (429, 503):
                    return
            except Offline:
                pass
            except Exception:
                log.exception("a stream of quotes cannot be followed")
            set_live(Live(Link.BROKEN, found))
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def run() -> None:
        """Follow the stream while the window is connected, and end when it is gone."""
        task: asyncio.Task[None] | None = None
        try:
            while True:
                expires = page.session.expires_at
                if expires is None and task is None:
                    task = asyncio.create_task(follow())
                elif expires is not None:
                    if task is not None:
                        task.cancel()
                        task = None
                    if datetime.now(UTC) >= expires:
                        return
                await asyncio.sleep(LOOK)
        finally:
            if task is not None:
                task.cancel()

    def begin() -> None:
        if key:
            running.current = page.run_task(run)

    def end() -> None:
        if running.current is not None:
            running.current.cancel()
            running.current = None

    ft.use_effect(begin, [key], cleanup=end)
    return live
