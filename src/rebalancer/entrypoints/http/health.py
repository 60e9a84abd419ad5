"""`/health`: whether we run, and whether we could serve."""

from __future__ import annotations

from typing import Annotated

from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, get
from litestar.concurrency import sync_to_thread
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta

from rebalancer.application.health import CheckHealth, State
from rebalancer.entrypoints.http.errors import answers
from rebalancer.entrypoints.http.wire import View

LIMITED = {429: answers()[429]}


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
@inject
async def ready(use: FromDishka[CheckHealth]) -> Response[ReadyView]:
    """Whether each part that it depends on answers; 503 if one is away that it needs."""
    told = await sync_to_thread(use)
    view = ReadyView(status=told.state, parts=told.parts)
    return Response(view, status_code=503 if told.state is State.UNAVAILABLE else 200)


health = Router("/health", route_handlers=[live, ready], tags=["health"])
