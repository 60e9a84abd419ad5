"""`/health`: liveness and readiness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated

import attrs
from litestar import Response, Router, get
from litestar.datastructures import State as AppState

from rebalancer.application.health import Health, State
from rebalancer.entrypoints.http.errors import RETRY_AFTER, response_spec
from rebalancer.entrypoints.http.threads import HEALTH, run_in
from rebalancer.entrypoints.schemas.wire import View, about


@attrs.define(eq=False)
class Readiness:
    """Caches the readiness, and runs one check at a time.

    The routes are public and a check takes time and threads. While a check runs, other requests get
    the last result; if that is too old, they wait for the check without holding a thread.

    Args:
        max_age: Seconds for which a result is returned without a new check.
        max_age_while_checking: The same while a check runs, which may take long if many
            dependencies are down.
    """

    _check: Callable[[], Health]
    _max_age: float = attrs.field(default=1.0, kw_only=True)
    _max_age_while_checking: float = attrs.field(default=10.0, kw_only=True)
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True)
    _last: Health | None = attrs.field(default=None, init=False)
    _checked: float = attrs.field(default=float("-inf"), init=False)
    _task: asyncio.Task[Health] | None = attrs.field(default=None, init=False)

    async def __call__(self) -> Health:
        """Return a recent result."""
        max_age = self._max_age if self._task is None else self._max_age_while_checking
        if self._last is not None and self._clock() - self._checked < max_age:
            return self._last
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(self._task)  # the check goes on if the client disconnects

    async def _run(self) -> Health:
        try:
            self._last = await run_in(HEALTH, self._check)
            self._checked = self._clock()
            return self._last
        finally:
            self._task = None


class LiveView(View, frozen=True, kw_only=True):
    """The process is alive."""

    status: str


class ReadyView(View, frozen=True, kw_only=True):
    """Readiness of the server, and the state of each dependency."""

    status: Annotated[
        State,
        about(
            "ok; degraded: an optional dependency is down, and `parts` names the effect; "
            "unavailable: a required dependency is down."
        ),
    ]
    parts: Annotated[dict[str, str], about("By dependency: ok, or the fault and its effect.")]
    notes: Annotated[
        dict[str, str],
        about("By dependency: what deserves attention although it works, such as old prices."),
    ]


@get("/live", summary="Liveness")
async def live() -> LiveView:
    """Return ok from every process that can respond."""
    return LiveView(status="ok")


@get(
    "/ready",
    summary="Readiness",
    responses={503: response_spec(ReadyView, description="A required dependency is down")},
)
async def ready(state: AppState) -> Response[ReadyView]:
    """Check each dependency; 503 if a required one is down. The result may be a second old."""
    health = await state.readiness()
    view = ReadyView(status=health.state, parts=dict(health.parts), notes=dict(health.notes))
    if health.state is State.UNAVAILABLE:
        return Response(view, status_code=503, headers={"Retry-After": str(RETRY_AFTER)})
    return Response(view)


health = Router("/health", route_handlers=[live, ready], tags=["health"])
