"""`/api/portfolios`: opened, looked at, revised, closed."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Response, Router, delete, get, post, put
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody
from msgspec import UNSET, Meta, UnsetType, field

from rebalancer.application.portfolios import (
    ClosePortfolio,
    OpenPortfolio,
    ReadPortfolio,
    RevisePortfolio,
    ValuedPortfolio,
)
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.mandate import LONGEST_NAME, Mandate
from rebalancer.domain.portfolio.portfolio import NO_PREFERENCES, Preferences
from rebalancer.domain.portfolio.risk import RISK_PROFILES
from rebalancer.entrypoints.http.auth import BEARER, OWNER, Owner
from rebalancer.entrypoints.http.errors import VersionRequired, problem_responses
from rebalancer.entrypoints.http.parameters import ETAG, Cursor, IfMatch, Limit
from rebalancer.entrypoints.schemas.parameters import Profile, Symbols, Weights
from rebalancer.entrypoints.schemas.wire import (
    CURRENCY,
    MOST_ASSETS,
    Body,
    Fraction,
    Malformed,
    NotNegative,
    OneLine,
    Page,
    Symbol,
    View,
    documented_default,
    format_decimal,
)


class PreferencesBody(Body, frozen=True, kw_only=True):
    """What the owner insists on; see docs/rebalancing.md."""

    whole_shares: bool = NO_PREFERENCES.whole_shares
    quantity_step: Annotated[NotNegative, documented_default("0.0001")] = field(
        default_factory=lambda: NotNegative("0.0001")
    )
    min_trade: Annotated[NotNegative, documented_default("0")] = field(default_factory=NotNegative)
    do_not_sell: Symbols = field(default_factory=list)
    do_not_buy: Symbols = field(default_factory=list)
    max_turnover: Fraction | None = None
    cash_reserve: Annotated[NotNegative, documented_default("0")] = field(
        default_factory=NotNegative
    )
    max_weight: Fraction | None = None
    band: Fraction | None = None
    max_departure: Annotated[Fraction, documented_default(NO_PREFERENCES.max_departure)] = field(
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

    cash: Annotated[NotNegative, documented_default("0")] = field(default_factory=NotNegative)
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


@post("/", summary="Open a portfolio", responses=problem_responses(401, 413, 415, 422))
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


@get("/", summary="My portfolios", responses=problem_responses(401))
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
    responses=problem_responses(401, 404)
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
    valued = await state.read_row(use, portfolio_id, owner=owner)
    tag = etag(valued)
    if if_none_match is not None and (tag in if_none_match or if_none_match == "*"):
        return Response(None, status_code=304, headers={"ETag": tag})  # type: ignore[arg-type]  # 304 has no body
    return _tagged(valued)


@put(
    "/{portfolio_id:uuid}",
    summary="Revise a portfolio",
    responses=problem_responses(401, 404, 412, 413, 415, 422, 428),
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
        raise VersionRequired(
            "send the header If-Match with the ETag that GET gave you, so that no change of "
            "somebody else is lost"
        )
    valued = await sync_to_thread(
        use, data.mandate(), id=portfolio_id, owner=owner, version=_version(if_match), now=clock()
    )
    return _tagged(valued)


@delete(
    "/{portfolio_id:uuid}", summary="Close a portfolio", responses=problem_responses(401, 404, 412)
)
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


def portfolio_view(valued: ValuedPortfolio) -> PortfolioView:
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
            quantity=format_decimal(units),
            price=format_decimal(price),
            value=format_decimal(worth),
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
        value=format_decimal(value),
        cash=format_decimal(currency.round(positions.cash)),
        uninvested=format_decimal(currency.round(positions.uninvested)),
        holdings=holdings,
        last_rebalance=positions.last_rebalance,
        created=kept.created,
        changed=kept.changed,
    )


def _preferences_view(wishes: Preferences) -> PreferencesView:
    return PreferencesView(
        whole_shares=wishes.whole_shares,
        quantity_step=format_decimal(wishes.quantity_step),
        min_trade=format_decimal(wishes.min_trade),
        do_not_sell=sorted(wishes.do_not_sell),
        do_not_buy=sorted(wishes.do_not_buy),
        max_turnover=wishes.max_turnover,
        cash_reserve=format_decimal(wishes.cash_reserve),
        max_weight=wishes.max_weight,
        band=wishes.band,
        max_departure=wishes.max_departure,
        skip_unprofitable=wishes.skip_unprofitable,
    )


def etag(valued: ValuedPortfolio) -> str:
    """What tells this state of a portfolio from any other."""
    return f'"{valued.portfolio.version}.{valued.as_of}"'


def _tagged(valued: ValuedPortfolio) -> Response[PortfolioView]:
    return Response(portfolio_view(valued), headers={"ETag": etag(valued)})


def _version(if_match: str) -> int:
    """The version that an ETag begins with.

    Raises:
        Malformed: it is none of ours.
    """
    found = re.fullmatch(ETAG, if_match)
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
    ],
    dependencies=OWNER,
    security=[{BEARER: []}],
    tags=["portfolios"],
)
