"""`/api/jobs`: work in the background, and how it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Request, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage

from rebalancer.application.jobs import CancelJob, ListJobs, ReadJob, RequeueJob
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import NotAuthenticated, RebalancerError, Unavailable
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner, bearer
from rebalancer.entrypoints.http.errors import TooManyRequests, problem_responses
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.schemas.job import JobEvent, JobView, job_view
from rebalancer.entrypoints.schemas.wire import Page

LOOK = 0.5
"""Seconds from one look at a job to the next, while somebody watches it."""

HEARTBEAT = 15.0
"""Seconds after which something is said even if nothing has changed."""

MOST = 10
"""Jobs that somebody may watch at a time, in one process of the server."""


@get("/", summary="My jobs", responses=problem_responses(401))
@inject
async def list_jobs(
    owner: Owner,
    use: FromDishka[ListJobs],
    wanted: Annotated[
        JobState | None, QueryParameter(name="state", description="Only those that stand here.")
    ] = None,
    limit: Limit = 20,
    before: Cursor = None,
) -> Page[JobView]:
    """Of whoever asks, the latest first; only those in one state if it is given."""
    states = None if wanted is None else frozenset({wanted})
    found = await sync_to_thread(use, owner, states=states, before=before, limit=limit + 1)
    following = str(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[job_view(job) for job in found[:limit]], next=following)


@get("/{job_id:uuid}", summary="A job", responses=problem_responses(401, 404))
@inject
async def read_job(
    job_id: FromPath[UUID], owner: Owner, state: State, use: FromDishka[ReadJob]
) -> JobView:
    """How far it is; its results when it has succeeded."""
    return job_view(await state.read_row(use, job_id, owner=owner))


@post(
    "/{job_id:uuid}/cancel",
    status_code=200,
    summary="Stop a job",
    responses=problem_responses(401, 404, 409),
)
@inject
async def cancel_job(
    job_id: FromPath[UUID], owner: Owner, use: FromDishka[CancelJob], clock: FromDishka[Clock]
) -> JobView:
    """One that waits ends at once; one that is being done, in a moment."""
    return job_view(await sync_to_thread(use, job_id, owner=owner, now=clock()))


@post(
    "/{job_id:uuid}/requeue",
    status_code=200,
    summary="Try a job again",
    responses=problem_responses(401, 404, 409),
)
@inject
async def requeue_job(
    job_id: FromPath[UUID], owner: Owner, use: FromDishka[RequeueJob], clock: FromDishka[Clock]
) -> JobView:
    """One that failed, is dead or was cancelled: from the start."""
    return job_view(await sync_to_thread(use, job_id, owner=owner, now=clock()))


@get(
    "/{job_id:uuid}/events",
    summary="Watch a job",
    media_type="text/event-stream",
    responses=problem_responses(401, 404)
    | {
        200: ResponseSpec(
            JobEvent,
            description="Server-sent events: `progress` with the job whenever it has changed, "
            "then `end` with what became of it.",
            media_type="text/event-stream",
            generate_examples=False,
        )
    },
)
@inject
async def watch_job(
    job_id: FromPath[UUID],
    owner: Owner,
    state: State,
    request: Request[Any, Any, Any],
    use: FromDishka[ReadJob],
) -> ServerSentEvent:
    """Told as it goes, until it ends; a comment every quarter of a minute keeps the line open.

    The line ends without `end` when the login does, or when the server stops: connect again then.
    """

    async def look() -> Job:
        job: Job = await state.read_row(use, job_id, owner=owner)
        return job

    async def still() -> bool:
        try:
            return await bearer(request) == owner
        except NotAuthenticated:
            return False

    job, watching = await look(), state.watching
    if watching[owner] >= MOST:
        raise TooManyRequests(
            f"you watch {MOST} jobs already; close one first", retry_after=round(HEARTBEAT)
        )

    async def told() -> AsyncIterator[ServerSentEventMessage]:
        watching[owner] += 1
        try:
            async for message in _told(job, look, still, state.stopping):
                yield message
        finally:
            watching[owner] -= 1
            if not watching[owner]:
                del watching[owner]

    return ServerSentEvent(told())


async def _told(
    job: Job,
    look: Callable[[], Awaitable[Job]],
    still: Callable[[], Awaitable[bool]],
    stopping: asyncio.Event,
) -> AsyncIterator[ServerSentEventMessage]:
    """What to say of a job, from now on.

    Args:
        job: As it is.
        look: Gives it as it is then.
        still: Whether whoever watches may do so still.
        stopping: Set when the server is about to end.
    """
    view = job_view(job)
    while not job.state.is_final:
        yield _event("progress", view)
        said = time.monotonic()
        while job_view(job) == view:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK)
                return
            if time.monotonic() - said >= HEARTBEAT:
                if not await still():
                    return
                yield ServerSentEventMessage(data=None, comment="still here")
                said = time.monotonic()
            try:
                with suppress(Unavailable):  # the store may come back while somebody watches
                    job = await look()
            except RebalancerError:  # it has been forgotten meanwhile
                return
        view = job_view(job)
    yield _event("end", view)


def _event(name: str, view: JobView) -> ServerSentEventMessage:
    return ServerSentEventMessage(event=name, data=msgspec.json.encode(view))


jobs = Router(
    "/jobs",
    route_handlers=[list_jobs, read_job, cancel_job, requeue_job, watch_job],
    dependencies=OWNER,
    security=[{BEARER: []}],
    tags=["jobs"],
)
