"""`/api/backtest`: whether a policy was any good."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, field

from rebalancer.application.backtests import BacktestRequest, ReadSeries, StartBacktest
from rebalancer.application.jobs import ReadJob
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.parameters import Key, replay_headers
from rebalancer.entrypoints.schemas.parameters import (
    CostBps,
    CostPreset,
    PolicyName,
    ProfileName,
    Weights,
)
from rebalancer.entrypoints.schemas.wire import (
    Body,
    Capital,
    Fraction,
    Symbol,
    View,
    documented_default,
)


class BacktestBody(Body, frozen=True, kw_only=True):
    """What to try, and under which conditions."""

    policies: Annotated[
        list[PolicyName], Meta(min_length=1, max_length=20, examples=[["monthly", "band"]])
    ]
    targets: Annotated[
        Weights | None, Meta(description="Left out: equal weights of all assets.")
    ] = None
    first: Annotated[date | None, Meta(description="The window begins here.")] = field(
        default=None, name="from"
    )
    last: Annotated[date | None, Meta(description="The window ends here.")] = field(
        default=None, name="to"
    )
    cost_bps: CostBps = None
    costs: CostPreset = None
    risk_free: Annotated[
        Fraction,
        Meta(description="What cash earns, a year.", extra_json_schema={"default": 0}),
    ] = field(default_factory=Fraction)
    risk_free_symbol: Annotated[
        Symbol | None,
        Meta(description="Instead of a rate: a price column, which then leaves the universe."),
    ] = None
    capital: Annotated[Capital, documented_default(100_000)] = field(
        default_factory=lambda: Capital(100_000)
    )
    whole_shares: bool = False
    max_departure: Annotated[
        Fraction,
        Meta(
            description="How far a policy may go from the targets, one-way.",
            extra_json_schema={"default": 1},
        ),
    ] = field(default_factory=lambda: Fraction(1))
    risk_profile: Annotated[
        ProfileName, Meta(description="Whose portfolio it is: learned policies mind risk aversion.")
    ] = "balanced"
    keep_limits: Annotated[
        bool, Meta(description="Hold every policy to the profile's limits, as proposals are.")
    ] = False


class BacktestView(View, frozen=True, kw_only=True):
    """A backtest: how far it is, then what came of it."""

    id: UUID
    state: JobState
    progress: Annotated[float, Meta(ge=0, le=1)]
    created: datetime
    finished: datetime | None
    request: dict[str, Any]
    result: Annotated[
        dict[str, Any] | None,
        Meta(description="Figures by policy, as `rebalancer backtest --json` prints them."),
    ]
    error: str | None


@post(
    "/",
    status_code=202,
    summary="Start a backtest",
    responses=problem_responses(401, 409, 413, 415, 422),
)
@inject
async def start(
    data: JSONBody[BacktestBody],
    owner: Owner,
    use: FromDishka[StartBacktest],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[BacktestView]:
    """Try policies on the store's prices, in the background; ask for its status then."""
    if data.risk_free and data.risk_free_symbol is not None:
        raise InvalidRequest("give either a rate or a symbol, not both", field="risk_free_symbol")
    request = BacktestRequest(
        policies=tuple(data.policies),
        cost_bps=None if data.cost_bps is None else float(data.cost_bps),
        costs=data.costs,
        targets=None if data.targets is None else {s: float(w) for s, w in data.targets.items()},
        first=data.first,
        last=data.last,
        risk_free=data.risk_free_symbol or float(data.risk_free),
        capital=float(data.capital),
        as_live=data.whole_shares,
        max_departure=float(data.max_departure),
        risk_profile=data.risk_profile,
        keep_limits=data.keep_limits,
    )
    try:
        job, before = await sync_to_thread(
            use, request, key=key, id=ids(), owner=owner, now=clock()
        )
    except InvalidRequest as error:
        if error.field == "risk_free" and data.risk_free_symbol is not None:  # as it was sent
            raise InvalidRequest(error.message, field="risk_free_symbol") from None
        raise
    headers = replay_headers(before) | {"Location": f"/api/backtest/{job.id}/status"}
    return Response(_view(job), headers=headers)


@get("/{job_id:uuid}/status", summary="How a backtest goes", responses=problem_responses(401, 404))
@inject
async def status(
    job_id: FromPath[UUID], owner: Owner, state: State, use: FromDishka[ReadJob]
) -> BacktestView:
    """How far it is; its results when it has succeeded."""
    return _view(await state.read_row(use, job_id, owner=owner))


class SeriesView(View, frozen=True, kw_only=True):
    """How policies did over time."""

    id: UUID
    dates: list[date]
    values: Annotated[
        dict[str, list[float]],
        Meta(description="By policy: what the capital had become on each of the dates."),
    ]


@get(
    "/{job_id:uuid}/series",
    summary="How policies did over time",
    responses=problem_responses(401, 404, 409),
)
@inject
async def series(
    job_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadSeries],
    policy: Annotated[
        str | None, QueryParameter(max_length=100, description="Only this one.")
    ] = None,
    points: Annotated[
        int | None,
        QueryParameter(
            ge=2, le=10_000, description="So many dates at most, evenly apart, for a chart."
        ),
    ] = None,
) -> SeriesView:
    """Of a backtest that has succeeded."""
    dates, values = await sync_to_thread(use, job_id, owner=owner, policy=policy, points=points)
    return SeriesView(id=job_id, dates=dates, values=values)


def _view(job: Job) -> BacktestView:
    return BacktestView(
        id=job.id,
        state=job.state,
        progress=job.progress,
        created=job.created,
        finished=job.finished,
        request=dict(job.request),
        result=None if job.result is None else dict(job.result),
        error=job.error,
    )


backtests = Router(
    "/backtest",
    route_handlers=[start, status, series],
    dependencies=OWNER,
    security=[{BEARER: []}],
    tags=["backtest"],
)
