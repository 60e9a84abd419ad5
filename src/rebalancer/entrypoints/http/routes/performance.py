"""`/api/portfolios/{id}/performance`, `/api/performance`: measure one portfolio, or all."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.params import FromPath, QueryParameter

from rebalancer.application.combined_performance import MeasureAllPerformance
from rebalancer.application.performance import MeasurePerformance, PeriodRequest
from rebalancer.domain.backtest.periods import Interval
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.performance import (
    CombinedPerformanceView,
    PerformanceView,
    combined_performance_view,
    performance_view,
)

LONGEST_BENCHMARK = 500

Since = Annotated[
    date | None,
    QueryParameter(
        name="from",
        description=(
            "First day of the period, which is measured from the close before it. Default: the "
            "day of the first entry."
        ),
    ),
]
Until = Annotated[
    date | None,
    QueryParameter(
        name="to", description="Last day of the period. Default: the day of the last close."
    ),
]
Points = Annotated[
    Interval,
    QueryParameter(
        description="Distance of the points of series: the last close of each day, week or month."
    ),
]
_MIX = "Symbol of an asset, or a mix that is rebalanced monthly, such as VTI:0.6,BND:0.4."


@get(
    "/portfolios/{portfolio_id:uuid}/performance",
    summary="Measure performance",
    responses=problem_responses(422),
)
async def measure_performance(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[MeasurePerformance],
    since: Since = None,
    until: Until = None,
    interval: Points = Interval.DAY,
    benchmark: Annotated[
        str | None,
        QueryParameter(
            max_length=LONGEST_BENCHMARK,
            description=f"{_MIX} Default: the targets, rebalanced monthly at 10 bps.",
        ),
    ] = None,
) -> PerformanceView:
    """Compare a portfolio with holding it unchanged and with a benchmark.

    The portfolio counts at prices as traded, with the income of its ledger; the other two reinvest
    distributions. All amounts are in the portfolio's base currency. The attribution states what
    each holding, asset class and currency adds to the time-weighted return.
    """
    request = PeriodRequest(since, until, benchmark)
    found = await run_in(READS, use, portfolio_id, actor=owner, request=request)
    return performance_view(found, interval)


@get(
    "/performance",
    summary="Measure all portfolios together",
    responses=problem_responses(422),
)
async def measure_all_performance(
    owner: Owner,
    use: FromDishka[MeasureAllPerformance],
    currency: Annotated[
        str | None,
        QueryParameter(
            pattern="^[A-Z]{3}$",
            description="ISO 4217 code of all amounts. Default: the one that most portfolios have.",
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    interval: Points = Interval.DAY,
    benchmark: Annotated[
        str | None,
        QueryParameter(max_length=LONGEST_BENCHMARK, description=f"{_MIX} Default: none."),
    ] = None,
) -> CombinedPerformanceView:
    """Measure your portfolios as if one account held them, in one currency.

    The return of a day is the mean of the portfolios' returns, weighted by their values at the
    close before.
    """
    chosen = None if currency is None else Currency(currency)
    request = PeriodRequest(since, until, benchmark)
    found = await run_in(READS, use, owner, currency=chosen, request=request)
    return combined_performance_view(found, interval)


router = owner_router("/", [measure_performance, measure_all_performance], tag="portfolios")
