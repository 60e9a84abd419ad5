"""`/api/market/fundamentals` and `/api/market/series`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from dishka.integrations.litestar import FromDishka
from litestar import Request, get
from litestar.params import FromPath, QueryParameter

from rebalancer.application.reference_data import ReadFacts, ReadSeries
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.parameters import rest_of_path
from rebalancer.entrypoints.http.threads import READS, run_in
from rebalancer.entrypoints.schemas.wire import View, about

Day = date

Note = Annotated[str, about("Why older figures are shown; empty if they are not old.")]
Fetched = Annotated[datetime, about("Time of the provider's answer.")]


class FundamentalsView(View, frozen=True, kw_only=True):
    """Fundamentals of a company or fund."""

    symbol: str
    figures: Annotated[dict[str, float], about("Such as price_to_earnings.")]
    texts: Annotated[dict[str, str], about("Such as sector.")]
    as_of: Annotated[date | None, about("Day of the figures; null if that is not stated.")]
    provider: str
    fetched: Fetched
    note: Note


class ObservationView(View, frozen=True, kw_only=True):
    """A figure of an economic series."""

    date: Annotated[date, about("Day, or first day of the period.")]
    value: float
    known: Annotated[
        Day | None, about("Day on which the figure was published; null if that is not known.")
    ]


class EconomicSeriesView(View, frozen=True, kw_only=True):
    """An economic series, oldest figure first."""

    id: str
    title: str
    unit: str
    observations: list[ObservationView]
    provider: str
    fetched: Fetched
    note: Note


@get("/fundamentals/{symbol:path}", summary="Get fundamentals")
async def read_fundamentals(
    symbol: FromPath[str],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[ReadFacts],
) -> FundamentalsView:
    """Get fundamentals of a company or fund; they are fetched again when older than a week."""
    symbol = rest_of_path(request, "/market/fundamentals/", symbol)
    stored, note = await run_in(READS, use, symbol)
    facts = stored.facts
    return FundamentalsView(
        symbol=facts.symbol,
        figures=dict(facts.figures),
        texts=dict(facts.texts),
        as_of=facts.as_of,
        provider=stored.provider,
        fetched=stored.fetched,
        note=note,
    )


@get("/series/{series:path}", summary="Get an economic series")
async def read_series(
    series: FromPath[str],
    request: Request[Any, Any, Any],
    owner: Owner,
    use: FromDishka[ReadSeries],
    since: Annotated[date | None, QueryParameter(description="First day of the figures.")] = None,
    known_by: Annotated[
        date | None,
        QueryParameter(description="Figures as they were published by this day. Default: today."),
    ] = None,
) -> EconomicSeriesView:
    """Get an economic series, such as `DGS10`; it is fetched again when older than a day.

    Of each day, the figure that was published last is returned.
    """
    stored, note = await run_in(READS, use, rest_of_path(request, "/market/series/", series))
    found = stored.series
    return EconomicSeriesView(
        id=found.id,
        title=found.title,
        unit=found.unit,
        observations=[
            ObservationView(date=one.day, value=one.value, known=one.known)
            for one in found.published(known_by=known_by, since=since)
        ],
        provider=stored.provider,
        fetched=stored.fetched,
        note=note,
    )


router = owner_router("/market", [read_fundamentals, read_series], tag="market")
