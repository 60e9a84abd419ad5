"""`/api/market`: search assets, read prices and the market regime."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import Request, get
from litestar.params import FromPath, FromQuery, QueryParameter

from rebalancer.application.asset_search import FoundAsset, SearchAssets, SearchEverywhere
from rebalancer.application.indicators import ReadIndicators
from rebalancer.application.market_data import (
    DescribeRegime,
    MarketRegime,
    PriceInterval,
    ReadCloses,
)
from rebalancer.application.market_issues import ListIssues
from rebalancer.application.market_schedule import ReadSchedule
from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import AssetClass
from rebalancer.domain.market.issues import Issue, IssueState
from rebalancer.domain.market.quality import Severity
from rebalancer.domain.market.symbols import normalize_symbol, split_symbols
from rebalancer.domain.market.synchronization import TaskState
from rebalancer.domain.market.technical import INDICATORS, parse_indicators
from rebalancer.entrypoints.http.auth import authenticate
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.parameters import Limit, rest_of_path
from rebalancer.entrypoints.http.threads import PROVIDERS, READS, run_in
from rebalancer.entrypoints.schemas.wire import (
    CURRENCY,
    LONGEST_SYMBOL,
    Page,
    View,
    about,
    paginate,
)


class AssetView(View, frozen=True, kw_only=True):
    """An asset with known prices."""

    symbol: str
    name: str
    asset_class: str | None
    as_of: Annotated[date | None, about("Day of the price; null unless the asset is known.")]
    price: Annotated[float | None, about("As traded, in the asset's currency.")]
    currency: Annotated[str | None, about("ISO 4217 code of the price.")] = None
    withheld: Annotated[str | None, about("Why the asset is not tradable now; null if it is.")] = (
        None
    )
    known: Annotated[
        bool, about("Whether prices are known; POST /api/market/assets fetches those of others.")
    ] = True
    market: Annotated[str | None, about("ISO 10383 code of its exchange, or 24/7.")] = None
    exchange: Annotated[str, about("Name of its exchange, of assets that are not known.")] = ""
    isin: Annotated[str | None, about("ISO 6166 number, of assets that are not known.")] = None
    figi: Annotated[str | None, about("OpenFIGI number, of assets that are not known.")] = None
    provider: Annotated[str | None, about("Provider of an asset that is not known.")] = None


class AssetPage(Page[AssetView], frozen=True, kw_only=True):
    """One page of assets."""

    notes: Annotated[list[str], about("Which providers did not answer, and why.")]


class CloseView(View, frozen=True, kw_only=True):
    """A close, adjusted for later splits and dividends."""

    date: date
    close: float


class ClosesView(View, frozen=True, kw_only=True):
    """Closes of one asset, oldest first."""

    symbol: str
    interval: PriceInterval
    closes: list[CloseView]
    currency: Annotated[str | None, about("ISO 4217 code of the closes.")] = None
    indicators: Annotated[
        dict[str, list[float | None]] | None,
        about("Values on the days of the closes, by indicator; null where there are too few yet."),
    ] = None


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


class IssueView(View, frozen=True, kw_only=True):
    """A finding of the checks of market data."""

    symbol: str
    rule: Annotated[str, about("Rule that found it, such as unit_change.")]
    severity: Annotated[
        Severity, about("Figures with an error are not used; a warning is a caution.")
    ]
    day: date
    state: Annotated[
        IssueState,
        about("Open, decided by an operator, or resolved by a later close or import."),
    ]
    text: str
    decided: Annotated[
        datetime | None, about("Time of the decision; null if the state follows from the prices.")
    ] = None


@get("/issues", summary="List findings about market data", responses=problem_responses(404))
async def list_issues(
    use: FromDishka[ListIssues],
    symbol: Annotated[str | None, QueryParameter(max_length=LONGEST_SYMBOL)] = None,
    severity: FromQuery[Severity | None] = None,
    every_state: Annotated[
        bool,
        QueryParameter(name="all", description="Also accepted, rejected and resolved findings."),
    ] = False,
    limit: Limit = 50,
    after: Annotated[str | None, QueryParameter(max_length=LONGEST_SYMBOL + 60)] = None,
) -> Page[IssueView]:
    """List findings of the checks of prices, sorted by symbol, day and rule.

    Operators decide on them with `rebalancer market issues accept` and `reject`.
    """
    symbol = None if symbol is None else normalize_symbol(symbol)
    found = await run_in(READS, use, symbol=symbol, severity=severity, everything=every_state)
    found.sort(key=_cursor)
    if after is not None:
        found = [issue for issue in found if _cursor(issue) > after]
    return paginate(found[: limit + 1], limit, show=IssueView.of, cursor=_cursor)


def _cursor(issue: Issue) -> str:
    return f"{issue.symbol} {issue.day} {issue.rule}"


@get("/assets", summary="Search assets", responses=problem_responses(401))
async def find_assets(
    request: Request[Any, Any, Any],
    use: FromDishka[SearchAssets],
    use_everywhere: FromDishka[SearchEverywhere],
    wanted: Annotated[
        str,
        QueryParameter(
            name="query",
            max_length=100,
            description="Start of a symbol, or part of a name; with everywhere, also an ISIN or a "
            "FIGI.",
        ),
    ] = "",
    asset_class: FromQuery[AssetClass | None] = None,
    currency: Annotated[
        str | None, QueryParameter(pattern=CURRENCY, description="ISO 4217 code of the price.")
    ] = None,
    everywhere: Annotated[
        bool,
        QueryParameter(
            description="On the first page, also assets of providers, whose prices are not known; "
            "needs an access token."
        ),
    ] = False,
    limit: Limit = 50,
    after: Annotated[str | None, QueryParameter(max_length=LONGEST_SYMBOL)] = None,
    number: Annotated[
        int,
        QueryParameter(
            name="page", ge=1, le=1_000, description="Number of the page, counted from after."
        ),
    ] = 1,
) -> AssetPage:
    """Search assets with known prices, sorted by symbol."""
    wanted, after = normalize_symbol(wanted), after and normalize_symbol(after)
    skipped = (number - 1) * limit
    if everywhere:
        await authenticate(request)
    new: tuple[FoundAsset, ...] = ()
    notes: tuple[str, ...] = ()
    if everywhere and after is None and number == 1:
        search = await run_in(
            PROVIDERS,
            use_everywhere,
            wanted,
            asset_class=asset_class,
            currency=currency,
            limit=limit + 1,
        )
        found = [asset for asset in search.assets if asset.known]
        new, notes = search.assets[len(found) :], search.notes
    else:
        found = await run_in(
            READS,
            use,
            wanted,
            asset_class=asset_class,
            currency=currency,
            after=after,
            limit=skipped + limit + 1,
        )
        found = found[skipped:]
    page = paginate(found, limit, show=AssetView.of, cursor=lambda asset: asset.symbol)
    return AssetPage(
        items=[*page.items, *map(AssetView.of, new)], next=page.next, notes=list(notes)
    )


@get("/data/{symbol:path}", summary="Get closes", responses=problem_responses(422))
async def read_closes(
    symbol: FromPath[str],
    request: Request[Any, Any, Any],
    use: FromDishka[ReadCloses],
    read_indicators: FromDishka[ReadIndicators],
    start: FromQuery[date | None] = None,
    end: FromQuery[date | None] = None,
    interval: FromQuery[PriceInterval] = PriceInterval.DAY,
    indicators: Annotated[
        str | None,
        QueryParameter(
            max_length=500,
            description="Indicators of daily closes, such as rsi:14,macd,bollinger:20:2. "
            f"One or more of {', '.join(INDICATORS)}, with their parameters.",
        ),
    ] = None,
) -> ClosesView:
    """Get adjusted closes of an asset; of a week or a month, the last close in it.

    The last close is the price as traded; splits and dividends up to then are in the earlier ones.

    Special characters of the symbol are percent-encoded, such as `BTC%2FUSDT`.
    """
    symbol = normalize_symbol(rest_of_path(request, "/market/data/", symbol))
    wanted = None if indicators is None else parse_indicators(indicators)
    if wanted is not None and interval is not PriceInterval.DAY:
        raise InvalidRequest(
            f"indicators are of daily closes, not of {interval.value}; leave out one of them",
            field="indicators",
            code="indicators_need_days",
        )
    found = await run_in(READS, use, symbol, start=start, end=end, interval=interval)
    columns = None
    if wanted is not None:
        computed = await run_in(READS, read_indicators, symbol, wanted, start=start, end=end)
        columns = computed.columns
    return ClosesView(
        symbol=symbol,
        interval=interval,
        closes=[CloseView(date=day, close=close) for day, close in found.closes],
        currency=found.currency,
        indicators=columns,
    )


@get("/regime", summary="Get the market regime", responses=problem_responses(422))
async def tell_regime(
    use: FromDishka[DescribeRegime],
    prices: FromDishka[PriceSource],
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

    def describe() -> MarketRegime:
        wanted = None if symbols is None else split_symbols(symbols, prices.symbols())
        return use(wanted, as_of=as_of)

    return RegimeView.of(await run_in(READS, describe))


class ScheduledTaskView(View, frozen=True, kw_only=True):
    """A task that keeps market data up to date."""

    name: Annotated[str, about("Such as bars:XNYS, for the assets of a market, or rates.")]
    due: Annotated[datetime, about("Time of the next run.")]
    state: Annotated[TaskState, about("Of the current or the last run.")]
    started: datetime | None
    finished: datetime | None
    detail: Annotated[str, about("What the last run did, or what went wrong.")]


@get("/schedule", summary="Get the schedule of market data")
async def read_schedule(use: FromDishka[ReadSchedule]) -> list[ScheduledTaskView]:
    """List the tasks that fetch prices, those that are due first at the top.

    It is empty until assets are synchronized with providers.
    """
    return [ScheduledTaskView.of(task) for task in await run_in(READS, use)]


router = DishkaRouter(
    "/market",
    route_handlers=[find_assets, read_closes, read_schedule, tell_regime, list_issues],
    tags=["market"],
)
