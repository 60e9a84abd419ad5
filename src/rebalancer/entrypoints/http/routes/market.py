"""`/api/market`: search assets, read prices and the market regime."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import get
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath, FromQuery, QueryParameter

from rebalancer.application.market_data import (
    DescribeRegime,
    PriceInterval,
    ReadCloses,
    SearchAssets,
)
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.parameters import Limit
from rebalancer.entrypoints.schemas.wire import Page, View, about, paginate


class AssetView(View, frozen=True, kw_only=True):
    """An asset with known prices."""

    symbol: str
    name: str
    asset_class: str | None
    as_of: date
    price: float | None


class CloseView(View, frozen=True, kw_only=True):
    """A close, adjusted for splits and dividends."""

    date: date
    close: float


class ClosesView(View, frozen=True, kw_only=True):
    """Closes of one asset, oldest first."""

    symbol: str
    interval: PriceInterval
    closes: list[CloseView]


class RegimeWeekView(View, frozen=True, kw_only=True):
    """Five trading days and the most probable regime at their end."""

    first: date
    last: date
    regime: str
    probability: float


class RegimeView(View, frozen=True, kw_only=True):
    """The current regime of a market, compared with its last year."""

    as_of: date
    symbols: list[str]
    probabilities: Annotated[
        dict[str, float], about("Probability of each regime, calmest first; they sum to 1.")
    ]
    regime: Annotated[str, about("The most probable regime.")]
    since: Annotated[date, about("First day of the latest unbroken weeks in this regime.")]
    sentence: Annotated[str, about("The same in words.")]
    weeks: Annotated[list[RegimeWeekView], about("At most 50, oldest first.")]


@get("/assets", summary="Search assets")
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
    """Search assets with known prices, sorted by symbol."""
    found = await sync_to_thread(use, wanted, after=after, limit=limit + 1)
    return paginate(found, limit, show=AssetView.of, cursor=lambda asset: asset.symbol)


@get("/data/{symbol:str}", summary="Get closes", responses=problem_responses(422))
async def read_closes(
    symbol: FromPath[str],
    use: FromDishka[ReadCloses],
    start: FromQuery[date | None] = None,
    end: FromQuery[date | None] = None,
    interval: FromQuery[PriceInterval] = PriceInterval.DAY,
) -> ClosesView:
    """Get adjusted closes of an asset; of a week or a month, the last close in it."""
    closes = await sync_to_thread(use, symbol, start=start, end=end, interval=interval)
    return ClosesView(
        symbol=symbol,
        interval=interval,
        closes=[CloseView(date=day, close=close) for day, close in closes],
    )


@get("/regime", summary="Get the market regime", responses=problem_responses(422))
async def tell_regime(
    use: FromDishka[DescribeRegime],
    symbols: Annotated[
        str | None,
        QueryParameter(
            max_length=2_000,  # near the longest URL that clients and proxies accept
            description="Assets to weight equally, such as KO,PG. Default: all assets.",
        ),
    ] = None,
    as_of: FromQuery[date | None] = None,
) -> RegimeView:
    """Estimate whether the market is calm or stressed, with a hidden Markov model.

    The model uses no data after the given day.
    """
    wanted = None if symbols is None else [one.strip() for one in symbols.split(",") if one.strip()]
    return RegimeView.of(await sync_to_thread(use, wanted, as_of=as_of))


router = DishkaRouter(
    "/market", route_handlers=[find_assets, read_closes, tell_regime], tags=["market"]
)
