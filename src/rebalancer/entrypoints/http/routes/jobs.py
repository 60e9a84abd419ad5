"""`/api/jobs`: list, read, watch, cancel and retry background jobs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter
from litestar.response import ServerSentEvent

from rebalancer.application.idempotency import repeat_if_running
from rebalancer.application.jobs import CancelJob, ListJobs, ReadJob, RequeueJob
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.entrypoints.http.auth import Owner, owner_router, still_authenticated
from rebalancer.entrypoints.http.errors import problem_responses, response_spec
from rebalancer.entrypoints.http.idempotency import Key, client_request, replay_headers
from rebalancer.entrypoints.http.job_streams import JobStreams
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.job import JobEvent, JobView
from rebalancer.entrypoints.schemas.wire import Page, paginate


@get("/", summary="List jobs")
async def list_jobs(
    owner: Owner,
    use: FromDishka[ListJobs],
    wanted: Annotated[
        JobState | None, QueryParameter(name="state", description="Return jobs in this state only.")
    ] = None,
    limit: Limit = 20,
    before: Cursor = None,
) -> Page[JobView]:
    """List your jobs, latest first."""
    states = None if wanted is None else frozenset({wanted})
    found = await run_in(READS, use, owner, states=states, before=before, limit=limit + 1)
    return paginate(found, limit, show=JobView.of, cursor=lambda job: job.id)


@get("/{job_id:uuid}", summary="Get a job")
async def read_job(
    job_id: FromPath[UUID], owner: Owner, state: State, use: FromDishka[ReadJob]
) -> JobView:
    """Get the progress of a job, and its result once it has succeeded."""
    return JobView.of(await state.read_row(use, job_id, owner=owner))


@post(
    "/{job_id:uuid}/cancel",
    status_code=200,
    summary="Cancel a job",
    responses=problem_responses(409),
)
async def cancel_job(
    job_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[CancelJob],
    clock: FromDishka[Clock],
    key: Key = None,
) -> Response[JobView]:
    """Cancel a job. A queued job ends at once, a running one shortly after."""
    asked = client_request(request, key)
    job, replayed = await run_in(
        WRITES, repeat_if_running, use.once, job_id, owner=owner, request=asked, now=clock()
    )
    return Response(JobView.of(job), headers=replay_headers(replayed))


@post(
    "/{job_id:uuid}/requeue",
    status_code=200,
    summary="Retry a job",
    responses=problem_responses(409),
)
async def requeue_job(
    job_id: FromPath[UUID],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[RequeueJob],
    clock: FromDishka[Clock],
    key: Key = None,
) -> Response[JobView]:
    """Run a failed, dead or cancelled job again from the start."""
    asked = client_request(request, key)
    job, replayed = await run_in(
        WRITES, repeat_if_running, use.once, job_id, owner=owner, request=asked, now=clock()
    )
    return Response(JobView.of(job), headers=replay_headers(replayed))


@get(
    "/{job_id:uuid}/events",
    summary="Watch a job",
    media_type="text/event-stream",
    responses={
        200: response_spec(
            JobEvent,
            description="Server-sent events: `progress` with the job whenever it changes, "
            "then `end` with its final state.",
            media_type="text/event-stream",
        )
    },
)
async def watch_job(
    job_id: FromPath[UUID],
    owner: Owner,
    state: State,
    request: Request[Any, Any, Any],
    use: FromDishka[ReadJob],
) -> ServerSentEvent:
    """Stream a job whenever it changes, until it ends; a comment every 15 seconds keeps it open.

    The stream ends without `end` if you log out or the server stops. Connect again in that case.
    """
    streams: JobStreams = state.job_streams

    async def read() -> Job:
        job: Job = await state.read_row(use, job_id, owner=owner)
        return job

    place = streams.reserve(owner)
    try:
        job = await read()
    except BaseException:
        place.free()
        raise
    is_authorized = partial(still_authenticated, request, owner)
    return ServerSentEvent(streams.stream(job, place=place, read=read, is_authorized=is_authorized))


router = owner_router(
    "/jobs", [list_jobs, read_job, cancel_job, requeue_job, watch_job], tag="jobs"
)
