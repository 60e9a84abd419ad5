"""`/api/portfolios/{id}/performance`: measure the performance of a portfolio."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

import numpy as np
from dishka.integrations.litestar import FromDishka
from litestar import get
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath, QueryParameter

from rebalancer.application.portfolios import MeasurePerformance
from rebalancer.domain.backtest.lines import Line
from rebalancer.domain.market.symbols import normalize_symbol
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.schemas.wire import LONGEST_SYMBOL, View, about


class LineView(View, frozen=True, kw_only=True):
    """Performance of the contributions under one policy."""

    name: str
    final_value: float
    time_weighted_return: float | None
    time_weighted_return_a_year: Annotated[
        float | None, about("Over the time in which money was invested; null under a year.")
    ]
    money_weighted_return: Annotated[
        float | None, about("XIRR: annual; depends on the dates of cash flows.")
    ]
    volatility: float | None
    max_drawdown: float | None
    values: Annotated[list[float], about("Value on each date.")]


class PerformanceView(View, frozen=True, kw_only=True):
    """Performance of a portfolio from its first entry to the last close."""

    portfolio_id: UUID
    currency: str
    first: Annotated[date, about("First day: of the first entry, or of the first close.")]
    last: date
    contributed: Annotated[float, about("Deposits minus withdrawals.")]
    gain: Annotated[float, about("Value at the last close minus contributions.")]
    costs: float
    dividends: float
    periods_per_year: Annotated[float, about("Closes that count as a year.")]
    frequency: Annotated[str, about("What they are, such as trading days or weeks.")]
    portfolio: LineView
    no_rebalancing: LineView
    benchmark: LineView
    dates: list[date]
    contributions: Annotated[list[float], about("Contributions up to each date.")]
    notes: Annotated[
        list[str], about("How entries before the first close and missing prices are measured.")
    ]


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

    Closes are adjusted for dividends: do not record a dividend that the prices already include.
    """
    benchmark = benchmark and normalize_symbol(benchmark)
    portfolio, record = await sync_to_thread(use, portfolio_id, owner=owner, benchmark=benchmark)
    digits = portfolio.mandate.currency.digits
    days: list[date] = record.dates.astype("datetime64[D]").tolist()
    return PerformanceView(
        portfolio_id=portfolio.id,
        currency=portfolio.mandate.currency.code,
        first=days[0],
        last=days[-1],
        contributed=round(float(record.contributions[-1]), digits),
        gain=round(record.gain, digits),
        costs=round(record.costs, digits),
        dividends=round(record.dividends, digits),
        periods_per_year=record.frequency.periods_per_year,
        frequency=record.frequency.name,
        portfolio=_line_view(record.portfolio, digits),
        no_rebalancing=_line_view(record.no_rebalancing, digits),
        benchmark=_line_view(record.benchmark, digits),
        dates=days,
        contributions=np.round(record.contributions, digits).tolist(),
        notes=list(record.notes),
    )


def _line_view(line: Line, digits: int) -> LineView:
    return LineView(
        name=line.name,
        final_value=round(float(line.values[-1]), digits),
        time_weighted_return=line.twr,
        time_weighted_return_a_year=line.twr_annual,
        money_weighted_return=line.xirr,
        volatility=line.volatility,
        max_drawdown=line.max_drawdown,
        values=np.round(line.values, digits).tolist(),
    )


router = owner_router("/portfolios", [measure_performance], tag="portfolios")
