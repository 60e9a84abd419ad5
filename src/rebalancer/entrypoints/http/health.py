"""`/health`: whether we run, and whether we could serve."""

from __future__ import annotations

from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, get
from litestar.concurrency import sync_to_thread
from litestar.openapi.datastructures import ResponseSpec

from rebalancer.application.health import CheckHealth
from rebalancer.entrypoints.http.wire import View


class LiveView(View, frozen=True, kw_only=True):
    """The process answers."""

    status: str


class ReadyView(View, frozen=True, kw_only=True):
    """The state of each part that we depend on."""

    status: str
    parts: dict[str, str]


@get("/live", summary="Does the process run")
async def live() -> LiveView:
    """Always ok, from a process that answers at all."""
    return LiveView(status="ok")


@get(
    "/ready",
    summary="Could it serve",
    responses={503: ResponseSpec(ReadyView, description="A part is away", generate_examples=False)},
)
@inject
async def ready(use: FromDishka[CheckHealth]) -> Response[ReadyView]:
    """Ok if every part that we depend on answers; 503, and which does not, otherwise."""
    parts = await sync_to_thread(use)
    good = all(state == "ok" for state in parts.values())
    view = ReadyView(status="ok" if good else "unavailable", parts=parts)
    return Response(view, status_code=200 if good else 503)


health = Router("/health", route_handlers=[live, ready], tags=["health"])
