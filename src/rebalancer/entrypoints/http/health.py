"""`/health`: whether we run, and whether we could serve."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

from litestar import Response, Router, get
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State as AppState
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta

from rebalancer.application.health import Health, State
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.schemas.wire import View

LIMITED = {429: problem_responses()[429]}
KEPT = 1.0
"""Seconds for which an answer serves: strangers may ask, and asking takes time and threads."""

_OLDEST = 10.0
"""Seconds for which one serves while somebody asks: that may take some, where much is away."""


class Readiness:
    """How we are, asked by one for all, and once in a while.

    While somebody asks, others have the last answer; if that is old, they wait, and hold no thread.

    Args:
        check: Asks each part.
        kept: Seconds, see `KEPT`.
        clock: Seconds; only differences matter.
    """

    def __init__(
        self,
        check: Callable[[], Health],
        *,
        kept: float = KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._kept = kept
        self._clock = clock
        self._last: Health | None = None
        self._told = float("-inf")
        self._asking: asyncio.Task[Health] | None = None

    async def __call__(self) -> Health:
        """How we are, or were a moment ago."""
        serves = self._kept if self._asking is None else _OLDEST
        if self._last is not None and self._clock() - self._told < serves:
            return self._last
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)  # which goes on if whoever asked is gone

    async def _ask(self) -> Health:
        try:
            self._last = await sync_to_thread(self._check)
            self._told = self._clock()
            return self._last
        finally:
            self._asking = None


class LiveView(View, frozen=True, kw_only=True):
    """The process answers."""

    status: str


class ReadyView(View, frozen=True, kw_only=True):
    """How well it could serve, and the state of each part that it depends on."""

    status: Annotated[
        State,
        Meta(
            description="ok; degraded: a part is away that it does without, and `parts` says how; "
            "unavailable: a part is away that it needs."
        ),
    ]
    parts: Annotated[
        dict[str, str],
        Meta(
            description="ok, or what is wrong: of the store and the prices, and, where a server is "
            "configured for them, of the cache, the limits, the queue and the reports."
        ),
    ]


@get("/live", summary="Does the process run", responses=LIMITED)
async def live() -> LiveView:
    """Always ok, from a process that answers at all."""
    return LiveView(status="ok")


@get(
    "/ready",
    summary="Could it serve",
    responses={
        **LIMITED,
        503: ResponseSpec(
            ReadyView, description="A part is away that it needs", generate_examples=False
        ),
    },
)
async def ready(state: AppState) -> Response[ReadyView]:
    """Whether each part that it depends on answers; 503 if one is away that it needs.

    The answer may be a moment old.
    """
    told = await state.readiness()
    view = ReadyView(status=told.state, parts=told.parts)
    return Response(view, status_code=503 if told.state is State.UNAVAILABLE else 200)


health = Router("/health", route_handlers=[live, ready], tags=["health"])
