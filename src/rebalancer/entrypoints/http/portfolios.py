"""`/api/portfolios`: opened, funded, revised, measured."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

import numpy as np
from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, delete, get, post, put
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType, field

from rebalancer.application.portfolios import (
    CashFlow,
    ClosePortfolio,
    MeasurePerformance,
    OpenPortfolio,
    ReadPortfolio,
    ReadTransactions,
    RecordCashFlow,
    RecordTrades,
    RevisePortfolio,
    Trade,
    Valued,
)
from rebalancer.application.ports import Clock, Ids
from rebalancer.domain.backtest.track_record import Line as TrackLine
from rebalancer.domain.backtest.track_record import TrackRecord
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.domain.portfolio.mandate import LONGEST_NAME, ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.portfolio import NO_PREFERENCES, Preferences
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import Precondition, answers
from rebalancer.entrypoints.http.wire import (
    CURRENCY,
    MOST_ASSETS,
    Body,
    Fraction,
    Line,
    Malformed,
    NotNegative,
    OneLine,
    Page,
    Symbol,
    View,
    default,
)
from rebalancer.entrypoints.records import plain

Profile = Literal["conservative", "cautious", "balanced", "growth", "aggressive"]
Weights = Annotated[
    dict[Symbol, Fraction],
    Meta(
        max_length=MOST_ASSETS,
        description="Fractions of portfolio value by symbol, summing to at most 1; the rest is "
        "cash.",
        examples=[{"AAPL": 0.3, "KO": 0.3, "PG": 0.3}],
    ),
]
Symbols = Annotated[list[Symbol], Meta(max_length=MOST_ASSETS)]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most.")]
_TAG = r'^(W/)?"?(?P<version>[0-9]{1,9})(\.[0-9-]{10})?"?$'
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The ETag of what you saw.",
        schema_extra={"pattern": _TAG.replace("?P<version>", "")},
    ),
]
Cursor = Annotated[
    UUID | None, QueryParameter(description="Go on from here: the `next` of the page before.")
]
Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Any text of your own, new for each request: the same request sent again with "
        "the same key takes effect once, and is answered alike.",
    ),
]


class PreferencesBody(Body, frozen=True, kw_only=True):
    """What the owner insists on; see docs/rebalancing.md."""

    whole_shares: bool = NO_PREFERENCES.whole_shares
    quantity_step: Annotated[NotNegative, default("0.0001")] = field(
        default_factory=lambda: NotNegative("0.0001")
    )
    min_trade: Annotated[NotNegative, default("0")] = field(default_factory=NotNegative)
    do_not_sell: Symbols = field(default_factory=list)
    do_not_buy: Symbols = field(default_factory=list)
    max_turnover: Fraction | None = None
    cash_reserve: Annotated[NotNegative, default("0")] = field(default_factory=NotNegative)
    max_weight: Fraction | None = None
    band: Fraction | None = None
    max_departure: Annotated[Fraction, default(NO_PREFERENCES.max_departure)] = field(
        default_factory=lambda: Fraction(NO_PREFERENCES.max_departure)
    )
    skip_unprofitable: bool = NO_PREFERENCES.skip_unprofitable

    def preferences(self) -> Preferences:
        """As the domain has them."""
        return Preferences(
            whole_shares=self.whole_shares,
            quantity_step=Decimal(self.quantity_step),
            min_trade=Decimal(self.min_trade),
            do_not_sell=frozenset(self.do_not_sell),
            do_not_buy=frozenset(self.do_not_buy),
            max_turnover=_float(self.max_turnover),
            cash_reserve=Decimal(self.cash_reserve),
            max_weight=_float(self.max_weight),
            band=_float(self.band),
            max_departure=float(self.max_departure),
            skip_unprofitable=self.skip_unprofitable,
        )


class MandateBody(Body, frozen=True, kw_only=True):
    """What the owner wants of a portfolio."""

    name: Annotated[OneLine, Meta(min_length=1, max_length=LONGEST_NAME, examples=["Retirement"])]
    targets: Weights
    currency: Annotated[str, Meta(pattern=CURRENCY, examples=["USD"])] = "USD"
    risk_profile: Annotated[
        Profile | UnsetType | None,
        Meta(description="Left out, a new portfolio takes the assessed one; null means none."),
    ] = UNSET
    preferences: PreferencesBody = field(default_factory=PreferencesBody)
    acknowledge_limits: Annotated[
        bool, Meta(description="I know that the targets exceed the profile's limits.")
    ] = False

    def mandate(self) -> Mandate:
        """As the domain has it."""
        profile = self.risk_profile
        return Mandate(
            name=self.name,
            currency=Currency(self.currency),
            targets={symbol: float(weight) for symbol, weight in self.targets.items()},
            risk_profile=RISK_PROFILES[profile] if isinstance(profile, str) else None,
            preferences=self.preferences.preferences(),
            acknowledge_limits=self.acknowledge_limits,
        )


class OpeningBody(MandateBody, frozen=True, kw_only=True):
    """A new portfolio, and what it begins with."""

    cash: Annotated[NotNegative, default("0")] = field(default_factory=NotNegative)
    holdings: Annotated[
        dict[Symbol, NotNegative],
        Meta(
            max_length=MOST_ASSETS,
            description="Quantities that are brought along, by symbol.",
            examples=[{"AAPL": "12", "KO": "40.5"}],
        ),
    ] = field(default_factory=dict)
    on: Annotated[
        date | None,
        Meta(description="The market day on which it begins; left out, that of the last close."),
    ] = None


class CashFlowBody(Body, frozen=True, kw_only=True):
    """Money that came or went."""

    kind: Literal["deposit", "withdrawal", "fee", "dividend"]
    amount: NotNegative
    on: Annotated[
        date | None, Meta(description="The market day; left out, that of the last close.")
    ] = None
    symbol: Annotated[Symbol | None, Meta(description="What paid the dividend.")] = None
    note: Line = ""


class TradeBody(Body, frozen=True, kw_only=True):
    """A trade that was made elsewhere."""

    side: Literal["buy", "sell"]
    symbol: Symbol
    quantity: NotNegative
    price: NotNegative
    cost: Annotated[NotNegative, default("0")] = field(default_factory=NotNegative)
    on: date | None = None
    note: Line = ""


class TradesBody(Body, frozen=True, kw_only=True):
    """Trades that were made elsewhere, from a worksheet or on one's own."""

    trades: Annotated[list[TradeBody], Meta(min_length=1, max_length=MOST_ASSETS)]
    proposal_id: Annotated[
        UUID | None, Meta(description="The accepted proposal that they carry out.")
    ] = None


class PositionView(View, frozen=True, kw_only=True):
    """One asset that is held."""

    quantity: str
    price: str
    value: str
    weight: float


class PreferencesView(View, frozen=True, kw_only=True):
    """See `PreferencesBody`."""

    whole_shares: bool
    quantity_step: str
    min_trade: str
    do_not_sell: list[str]
    do_not_buy: list[str]
    max_turnover: float | None
    cash_reserve: str
    max_weight: float | None
    band: float | None
    max_departure: float
    skip_unprofitable: bool


class PortfolioView(View, frozen=True, kw_only=True):
    """A portfolio at the last close."""

    id: UUID
    version: Annotated[int, Meta(description="Counts its changes; the ETag begins with it.")]
    name: str
    currency: str
    targets: dict[str, float]
    risk_profile: str | None
    preferences: PreferencesView
    acknowledge_limits: bool
    as_of: date
    value: str
    cash: str
    uninvested: Annotated[
        str, Meta(description="Paid in, and not dealt with by any rebalance yet; part of cash.")
    ]
    holdings: dict[str, PositionView]
    last_rebalance: date | None
    created: datetime
    changed: datetime


class EntryView(View, frozen=True, kw_only=True):
    """One line of a ledger."""

    id: UUID
    kind: EntryKind
    on: Annotated[date, Meta(description="The market day on which it counts.")]
    recorded: Annotated[datetime, Meta(description="When it was written down.")]
    amount: str
    cash: Annotated[str, Meta(description="What it adds to cash.")]
    symbol: str | None
    quantity: str | None
    price: str | None
    cost: str
    proposal_id: UUID | None
    note: str


class CashFlowView(View, frozen=True, kw_only=True):
    """What was written down, and the portfolio with it."""

    entry: EntryView
    portfolio: PortfolioView


class TradesView(View, frozen=True, kw_only=True):
    """What was written down, and the portfolio with it."""

    entries: list[EntryView]
    portfolio: PortfolioView


class LineView(View, frozen=True, kw_only=True):
    """One way that the same contributions went, or could have gone."""

    name: str
    final_value: float
    time_weighted_return: float | None
    time_weighted_return_a_year: float | None
    money_weighted_return: Annotated[
        float | None, Meta(description="XIRR: a year, and it counts when money came and went.")
    ]
    volatility: float | None
    max_drawdown: float | None
    values: Annotated[list[float], Meta(description="Worth at each of the dates.")]


class PerformanceView(View, frozen=True, kw_only=True):
    """How a portfolio did, from its first entry to the last close."""

    portfolio_id: UUID
    currency: str
    first: date
    last: date
    contributed: Annotated[float, Meta(description="Paid in less taken out.")]
    gain: Annotated[float, Meta(description="Worth at the last close, less contributed.")]
    costs: float
    dividends: float
    portfolio: LineView
    no_rebalancing: LineView
    benchmark: LineView
    dates: list[date]
    contributions: Annotated[list[float], Meta(description="Contributed until each date.")]


@post("/", summary="Open a portfolio", responses=answers(401, 413, 415, 422))
@inject
async def open_portfolio(
    data: JSONBody[OpeningBody],
    owner: Owner,
    use: FromDishka[OpenPortfolio],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
) -> Response[PortfolioView]:
    """Take a portfolio into keeping, with cash and holdings that it begins with."""
    valued = await sync_to_thread(
        use,
        data.mandate(),
        cash=Decimal(data.cash),
        holdings={symbol: Decimal(units) for symbol, units in data.holdings.items()},
        on=data.on,
        assessed_profile=data.risk_profile is UNSET,
        id=ids(),
        owner=owner,
        now=clock(),
    )
    answer = _tagged(valued)
    answer.headers["Location"] = f"/api/portfolios/{valued.portfolio.id}"
    return answer


@get("/", summary="My portfolios", responses=answers(401))
@inject
async def list_portfolios(
    owner: Owner, use: FromDishka[ReadPortfolio], limit: Limit = 50, after: Cursor = None
) -> Page[PortfolioView]:
    """Portfolios of whoever asks, the oldest first."""
    found = await sync_to_thread(use.all, owner, after=after, limit=limit + 1)
    following = str(found[limit - 1].portfolio.id) if len(found) > limit else None
    return Page(items=[portfolio_view(one) for one in found[:limit]], next=following)


@get(
    "/{portfolio_id:uuid}",
    summary="A portfolio",
    responses=answers(401, 404)
    | {304: ResponseSpec(None, description="Not modified", generate_examples=False)},
)
@inject
async def read_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    state: State,
    use: FromDishka[ReadPortfolio],
    if_none_match: Annotated[str | None, HeaderParameter(name="If-None-Match")] = None,
) -> Response[PortfolioView]:
    """A portfolio, valued at the last close."""
    valued = await state.one_row(use, portfolio_id, owner=owner)
    tag = _etag(valued)
    if if_none_match is not None and (tag in if_none_match or if_none_match == "*"):
        return Response(None, status_code=304, headers={"ETag": tag})  # type: ignore[arg-type]  # 304 has no body
    return _tagged(valued)


@put(
    "/{portfolio_id:uuid}",
    summary="Revise a portfolio",
    responses=answers(401, 404, 412, 413, 415, 422, 428),
)
@inject
async def revise_portfolio(
    portfolio_id: FromPath[UUID],
    data: JSONBody[MandateBody],
    owner: Owner,
    use: FromDishka[RevisePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
) -> Response[PortfolioView]:
    """Replace what is wanted of a portfolio. What is left out takes its default."""
    if if_match is None:
        raise Precondition(
            "send the header If-Match with the ETag that GET gave you, so that no change of "
            "somebody else is lost"
        )
    valued = await sync_to_thread(
        use, data.mandate(), id=portfolio_id, owner=owner, version=_version(if_match), now=clock()
    )
    return _tagged(valued)


@delete("/{portfolio_id:uuid}", summary="Close a portfolio", responses=answers(401, 404, 412))
@inject
async def close_portfolio(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ClosePortfolio],
    clock: FromDishka[Clock],
    if_match: IfMatch = None,
) -> None:
    """Put a portfolio away. It is found no more; its ledger is kept for the record."""
    version = None if if_match is None else _version(if_match)
    await sync_to_thread(use, portfolio_id, owner=owner, version=version, now=clock())


@post(
    "/{portfolio_id:uuid}/cash-flows",
    summary="Record money that came or went",
    responses=answers(401, 404, 409, 412, 413, 415, 422),
)
@inject
async def record_cash_flow(
    portfolio_id: FromPath[UUID],
    data: JSONBody[CashFlowBody],
    owner: Owner,
    use: FromDishka[RecordCashFlow],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[CashFlowView]:
    """Write a deposit, a withdrawal, a fee or a dividend into the ledger.

    A deposit waits to be invested by the next proposal, whatever the policy's schedule.
    """
    flow = CashFlow(
        EntryKind(data.kind), Decimal(data.amount), data.on, data.symbol, note=data.note
    )
    entry, valued, before = await sync_to_thread(
        use, flow, portfolio_id=portfolio_id, owner=owner, key=key, id=ids(), now=clock()
    )
    view = CashFlowView(entry=entry_view(entry), portfolio=portfolio_view(valued))
    return Response(view, status_code=201, headers=repeated(before) | {"ETag": _etag(valued)})


@post(
    "/{portfolio_id:uuid}/transactions",
    summary="Record trades made elsewhere",
    responses=answers(401, 404, 409, 412, 413, 415, 422),
)
@inject
async def record_trades(
    portfolio_id: FromPath[UUID],
    data: JSONBody[TradesBody],
    owner: Owner,
    use: FromDishka[RecordTrades],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
) -> Response[TradesView]:
    """Write trades into the ledger, all or none; with a proposal's id they carry it out."""
    trades = [
        Trade(
            EntryKind(one.side),
            one.symbol,
            Decimal(one.quantity),
            Decimal(one.price),
            Decimal(one.cost),
            one.on,
            one.note,
        )
        for one in data.trades
    ]
    entries, valued, before = await sync_to_thread(
        use,
        trades,
        portfolio_id=portfolio_id,
        owner=owner,
        proposal_id=data.proposal_id,
        key=key,
        id=ids(),
        now=clock(),
    )
    view = TradesView(
        entries=[entry_view(entry) for entry in entries], portfolio=portfolio_view(valued)
    )
    return Response(view, status_code=201, headers=repeated(before) | {"ETag": _etag(valued)})


@get(
    "/{portfolio_id:uuid}/transactions",
    summary="A portfolio's ledger",
    responses=answers(401, 404),
)
@inject
async def list_transactions(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadTransactions],
    limit: Limit = 50,
    before: Cursor = None,
) -> Page[EntryView]:
    """Entries of the ledger, the latest written first."""
    found = await sync_to_thread(use, portfolio_id, owner=owner, before=before, limit=limit + 1)
    following = str(found[limit - 1].id) if len(found) > limit else None
    return Page(items=[entry_view(entry) for entry in found[:limit]], next=following)


@get(
    "/{portfolio_id:uuid}/performance",
    summary="How a portfolio did",
    responses=answers(401, 404, 422),
)
@inject
async def measure_performance(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[MeasurePerformance],
    benchmark: Annotated[
        str | None,
        QueryParameter(
            max_length=32,
            description="A symbol; left out, the targets, rebalanced monthly, net of 10 bps.",
        ),
    ] = None,
) -> PerformanceView:
    """What it became, beside what the same contributions would have become otherwise.

    Closes are adjusted for dividends, so that a dividend which the prices hold already must not be
    recorded.
    """
    portfolio, record = await sync_to_thread(use, portfolio_id, owner=owner, benchmark=benchmark)
    return _performance_view(portfolio, record)


def portfolio_view(valued: Valued) -> PortfolioView:
    """A portfolio as its owner sees it."""
    kept = valued.portfolio
    mandate, positions = kept.mandate, kept.positions
    currency, value = mandate.currency, valued.value
    total = float(value)
    holdings = {}
    for symbol, units in positions.holdings.items():
        price = valued.prices[symbol]
        worth = currency.round(units * price)
        holdings[symbol] = PositionView(
            quantity=plain(units),
            price=plain(price),
            value=plain(worth),
            weight=round(float(worth) / total, 10) if total else 0.0,
        )
    profile = mandate.risk_profile
    return PortfolioView(
        id=kept.id,
        version=kept.version,
        name=mandate.name,
        currency=currency.code,
        targets=dict(mandate.targets),
        risk_profile=profile.name if profile else None,
        preferences=_preferences_view(mandate.preferences),
        acknowledge_limits=mandate.acknowledge_limits,
        as_of=valued.as_of,
        value=plain(value),
        cash=plain(currency.round(positions.cash)),
        uninvested=plain(currency.round(positions.uninvested)),
        holdings=holdings,
        last_rebalance=positions.last_rebalance,
        created=kept.created,
        changed=kept.changed,
    )


def entry_view(entry: Entry) -> EntryView:
    """A line of a ledger."""
    return EntryView(
        id=entry.id,
        kind=entry.kind,
        on=entry.on,
        recorded=entry.recorded,
        amount=plain(entry.amount),
        cash=plain(entry.cash),
        symbol=entry.symbol,
        quantity=plain(entry.quantity) if entry.quantity else None,
        price=None if entry.price is None else plain(entry.price),
        cost=plain(entry.cost),
        proposal_id=entry.proposal,
        note=entry.note,
    )


def repeated(before: bool) -> dict[str, str]:
    """The header that tells a repeated request from the first."""
    return {"Idempotent-Replayed": "true"} if before else {}


def _preferences_view(wishes: Preferences) -> PreferencesView:
    return PreferencesView(
        whole_shares=wishes.whole_shares,
        quantity_step=plain(wishes.quantity_step),
        min_trade=plain(wishes.min_trade),
        do_not_sell=sorted(wishes.do_not_sell),
        do_not_buy=sorted(wishes.do_not_buy),
        max_turnover=wishes.max_turnover,
        cash_reserve=plain(wishes.cash_reserve),
        max_weight=wishes.max_weight,
        band=wishes.band,
        max_departure=wishes.max_departure,
        skip_unprofitable=wishes.skip_unprofitable,
    )


def _performance_view(portfolio: ManagedPortfolio, record: TrackRecord) -> PerformanceView:
    days: list[date] = record.dates.astype("datetime64[D]").tolist()
    return PerformanceView(
        portfolio_id=portfolio.id,
        currency=portfolio.mandate.currency.code,
        first=days[0],
        last=days[-1],
        contributed=round(float(record.contributions[-1]), 2),
        gain=round(record.gain, 2),
        costs=round(record.costs, 2),
        dividends=round(record.dividends, 2),
        portfolio=_line_view(record.portfolio),
        no_rebalancing=_line_view(record.no_rebalancing),
        benchmark=_line_view(record.benchmark),
        dates=days,
        contributions=np.round(record.contributions, 2).tolist(),
    )


def _line_view(line: TrackLine) -> LineView:
    return LineView(
        name=line.name,
        final_value=round(float(line.values[-1]), 2),
        time_weighted_return=line.twr,
        time_weighted_return_a_year=line.twr_annual,
        money_weighted_return=line.xirr,
        volatility=line.volatility,
        max_drawdown=line.max_drawdown,
        values=np.round(line.values, 2).tolist(),
    )


def _etag(valued: Valued) -> str:
    return f'"{valued.portfolio.version}.{valued.as_of}"'


def _tagged(valued: Valued) -> Response[PortfolioView]:
    return Response(portfolio_view(valued), headers={"ETag": _etag(valued)})


def _version(if_match: str) -> int:
    """The version that an ETag begins with.

    Raises:
        Malformed: it is none of ours.
    """
    found = re.fullmatch(_TAG, if_match)
    if found is None:
        raise Malformed('is no ETag of ours, such as "3.2022-12-28"', field="If-Match")
    return int(found["version"])


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


portfolios = Router(
    "/portfolios",
    route_handlers=[
        open_portfolio,
        list_portfolios,
        read_portfolio,
        revise_portfolio,
        close_portfolio,
        record_cash_flow,
        record_trades,
        list_transactions,
        measure_performance,
    ],
    dependencies=OWNER,
    security=[{BEARER: []}],
    tags=["portfolios"],
)
