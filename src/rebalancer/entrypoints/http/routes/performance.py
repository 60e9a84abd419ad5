"""`/api/portfolios/{id}/performance`: measure the performance of a portfolio."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.params import FromPath, QueryParameter

from rebalancer.application.portfolios import MeasurePerformance
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.performance import PerformanceView, performance_view
from rebalancer.entrypoints.schemas.wire import LONGEST_SYMBOL


@get(
    "/{portfolio_id:uuid}/performance",
    summary="Measure performance",
    responses=problem_responses(422),
)
async def measure_performance(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[MeasurePerformance],
    benchmark: Annotated[
        str | None,
        QueryParameter(
            max_length=LONGEST_SYMBOL,
            description="Symbol of an asset. Default: the targets, rebalanced monthly at 10 bps.",
        ),
    ] = None,
) -> PerformanceView:
    """Compare a portfolio with holding it unchanged and with a benchmark.

    The portfolio counts at prices as traded, with the income of its ledger; the other two reinvest
    distributions. All amounts are in the portfolio's base currency.
    """
    benchmark = benchmark and normalize_symbol(benchmark)
    portfolio, record = await run_in(READS, use, portfolio_id, actor=owner, benchmark=benchmark)
    return performance_view(portfolio, record)


router = owner_router("/portfolios", [measure_performance], tag="portfolios")
