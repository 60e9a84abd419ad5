"""`/api/market`: what is known of the market."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from dishka.integrations.litestar import FromDishka, inject
from litestar import Router, get
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Meta

from rebalancer.application.market_data import (
    DescribeRegime,
    PriceInterval,
    ReadCloses,
    SearchAssets,
)
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.parameters import Limit
from rebalancer.entrypoints.schemas.wire import Page, View


class AssetView(View, frozen=True, kw_only=True):
    """An asset that can be held."""

    symbol: str
    name: str
    asset_class: str | None
    as_of: date
    price: float | None


class CloseView(View, frozen=True, kw_only=True):
    """One close, adjusted for splits and dividends."""

    date: date
    close: float


class ClosesView(View, frozen=True, kw_only=True):
    """Closes of one asset, oldest first."""

    symbol: str
    interval: PriceInterval
    closes: list[CloseView]


class RegimeWeekView(View, frozen=True, kw_only=True):
    """Five trading days, and the regime that they looked like at their end."""

    first: date
    last: date
    regime: str
    probability: float


class RegimeView(View, frozen=True, kw_only=True):
    """How a market stands against its own last year."""

    as_of: date
    symbols: list[str]
    probabilities: Annotated[
        dict[str, float], Meta(description="Of each regime, from the calmest on; they sum to 1.")
    ]
    regime: Annotated[str, Meta(description="The most probable one.")]
    since: Annotated[
        date, Meta(description="First day of the latest weeks in which it was, without a break.")
    ]
    sentence: Annotated[str, Meta(description="The same in words.")]
    weeks: Annotated[list[RegimeWeekView], Meta(description="At most 50, oldest first.")]


@get("/assets", summary="Find assets", responses=problem_responses())
@inject
async def find_assets(
    use: FromDishka[SearchAssets],
    wanted: Annotated[
        str,
        QueryParameter(
            name="query", max_length=100, description="Start of a symbol, or part of a name."
        ),
    ] = "",
    limit: Limit = 50,
    after: Annotated[str | None, QueryParameter(max_length=32)] = None,
) -> Page[AssetView]:
    """Assets whose prices are known, by symbol."""
    found = await sync_to_thread(use, wanted, after=after, limit=limit + 1)
    return Page(
        items=[
            AssetView(
                symbol=one.symbol,
                name=one.name,
                asset_class=one.asset_class,
                as_of=one.as_of,
                price=one.price,
            )
            for one in found[:limit]
        ],
        next=found[limit - 1].symbol if len(found) > limit else None,
    )


@get("/data/{symbol:str}", summary="Closes of an asset", responses=problem_responses(404, 422))
@inject
async def read_closes(
    symbol: FromPath[str],
    use: FromDishka[ReadCloses],
    start: FromQuery[date | None] = None,
    end: FromQuery[date | None] = None,
    interval: FromQuery[PriceInterval] = PriceInterval.DAY,
) -> ClosesView:
    """Adjusted closes from start to end; of a week or a month, the last one in it."""
    closes = await sync_to_thread(use, symbol, start=start, end=end, interval=interval)
    return ClosesView(
        symbol=symbol,
        interval=interval,
        closes=[CloseView(date=day, close=close) for day, close in closes],
    )


@get("/regime", summary="Whether the market is calm or stressed", responses=problem_responses(422))
@inject
async def tell_regime(
    use: FromDishka[DescribeRegime],
    symbols: Annotated[
        str | None,
        QueryParameter(
            max_length=2_000,  # about as long as addresses may be
            description="Of an equal mix of these, such as KO,PG; left out, of all assets.",
        ),
    ] = None,
    as_of: FromQuery[date | None] = None,
) -> RegimeView:
    """Probabilities of a hidden Markov model that knows nothing later than this day."""
    wanted = None if symbols is None else [one.strip() for one in symbols.split(",") if one.strip()]
    told = await sync_to_thread(use, wanted, as_of=as_of)
    return RegimeView(
        as_of=told.as_of,
        symbols=list(told.symbols),
        probabilities=told.probabilities,
        regime=told.regime,
        since=told.since,
        sentence=told.sentence,
        weeks=[
            RegimeWeekView(
                first=week.first,
                last=week.last,
                regime=week.regime,
                probability=week.probability,
            )
            for week in told.weeks
        ],
    )


market = Router("/market", route_handlers=[find_assets, read_closes, tell_regime], tags=["market"])
