"""`/api/backtest`: test policies on history."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter

from rebalancer.application.backtests import ReadSeries, StartBacktest
from rebalancer.application.jobs import ReadJob
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.idempotency import Key, replay_headers
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.backtest import (
    BacktestBody,
    BacktestView,
    SeriesView,
)


@post("/", status_code=202, summary="Start a backtest", responses=problem_responses(409, 422))
async def start(
    data: JSONBody[BacktestBody],
    owner: Owner,
    use: FromDishka[StartBacktest],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[BacktestView]:
    """Start a backtest of policies in the background; poll its status for the results."""
    try:
        job, replayed = await run_in(
            WRITES, use, data.request(), key=key, id=ids(), owner=owner, now=clock()
        )
    except InvalidRequest as error:
        if error.field == "risk_free" and data.risk_free_symbol is not None:
            raise InvalidRequest(error.message, field="risk_free_symbol", code=error.code) from None
        raise
    headers = replay_headers(replayed) | {"Location": f"/api/backtest/{job.id}/status"}
    return Response(BacktestView.of(job), headers=headers)


@get("/{job_id:uuid}/status", summary="Get the status of a backtest")
async def status(
    job_id: FromPath[UUID], owner: Owner, state: State, use: FromDishka[ReadJob]
) -> BacktestView:
    """Get the progress of a backtest, and its results once it has succeeded."""
    return BacktestView.of(await state.read_row(use, job_id, owner=owner))


@get("/{job_id:uuid}/series", summary="Get the values over time", responses=problem_responses(409))
async def series(
    job_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadSeries],
    policy: Annotated[
        str | None, QueryParameter(max_length=100, description="Return this policy only.")
    ] = None,
    points: Annotated[
        int | None,
        QueryParameter(ge=2, le=10_000, description="Most dates, evenly spaced, for a chart."),
    ] = None,
) -> SeriesView:
    """Get the value of each policy over time, once the backtest has succeeded."""
    dates, values = await run_in(READS, use, job_id, owner=owner, policy=policy, points=points)
    return SeriesView(id=job_id, dates=dates, values=values)


router = owner_router("/backtest", [start, status, series], tag="backtest", max_body=LARGE_BODY)
