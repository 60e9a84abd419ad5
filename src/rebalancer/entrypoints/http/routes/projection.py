"""`/api/portfolios/{id}/projection`: what a portfolio may be worth in years."""

from __future__ import annotations

from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.projection import ReadProjection, StartProjection
from rebalancer.domain.jobs.job import Job
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import Key, replay_headers
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.projection import ProjectionBody, ProjectionView

_WHOLE = ProjectionBody()


@post(
    "/{portfolio_id:uuid}/projection",
    status_code=200,
    summary="Project the value of a portfolio",
    responses=problem_responses(409, 422),
)
async def project(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[StartProjection],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    data: JSONBody[ProjectionBody] = _WHOLE,
    key: Key = None,
) -> Response[ProjectionView]:
    """Project what the portfolio may be worth, with its costs, limits, deposits and withdrawals.

    A small projection is answered at once. A larger one becomes a job: the answer has its id and
    status 202; poll `Location` for the result.
    """
    now = clock()
    found, replayed = await run_in(
        WRITES, use, portfolio_id, data.request(), key=key, id=ids(), actor=owner, now=now
    )
    if isinstance(found, Job):
        location = f"/api/portfolios/{portfolio_id}/projection/{found.id}"
        headers = replay_headers(replayed) | {"Location": location}
        return Response(ProjectionView.of_job(found), status_code=202, headers=headers)
    return Response(ProjectionView.of_report(found, now))


@get("/{portfolio_id:uuid}/projection/{job_id:uuid}", summary="Get a projection")
async def read_projection(
    portfolio_id: FromPath[UUID],
    job_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadProjection],
) -> ProjectionView:
    """Get the progress of a projection that runs as a job, and its result once it has succeeded."""
    return ProjectionView.of_job(
        await run_in(READS, use, job_id, portfolio_id=portfolio_id, owner=owner)
    )


router = owner_router(
    "/portfolios", [project, read_projection], tag="portfolios", max_body=LARGE_BODY
)
