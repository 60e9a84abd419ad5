"""`/api/portfolios/{id}/cash-flows` and `/transactions`: record, void and list transactions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from dishka.integrations.litestar import FromDishka
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, field

from rebalancer.application.corrections import VoidEntry
from rebalancer.application.owner_entries import CashFlow, Trade
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.transactions import (
    ReadTransactions,
    RecordCashFlow,
    RecordTrades,
)
from rebalancer.application.valuation import ValuedPortfolio
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.bodies import LARGE_BODY
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import (
    IfMatch,
    IfNoneMatch,
    accepted_versions,
    etag,
)
from rebalancer.entrypoints.http.idempotency import Key, replay_headers
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.http.threads import READS, WRITES, run_in
from rebalancer.entrypoints.schemas.ledger import EntryView, entry_view
from rebalancer.entrypoints.schemas.portfolio import PortfolioView, portfolio_view
from rebalancer.entrypoints.schemas.wire import (
    MOST_ASSETS,
    Body,
    CurrencyCode,
    Line,
    NonNegative,
    Page,
    Symbol,
    View,
    about,
    documented_default,
    paginate,
)


class CashFlowBody(Body, frozen=True, kw_only=True):
    """A cash flow of a portfolio, a transfer in kind, or an exchange of money."""

    kind: Literal[
        "deposit",
        "withdrawal",
        "fee",
        "dividend",
        "interest",
        "tax",
        "return_of_capital",
        "exchange",
    ]
    amount: Annotated[
        NonNegative,
        about("In currency; income before tax. 0 gives a transfer in kind its value at the price."),
    ]
    currency: Annotated[
        CurrencyCode | None,
        about("Default: the base currency, or that of the asset that is transferred."),
    ] = None
    on: Annotated[date | None, about("The market day; default: the day of the last close.")] = None
    symbol: Annotated[
        Symbol | None, about("The asset that pays the income or the tax, or is transferred.")
    ] = None
    withheld: Annotated[
        NonNegative,
        about("Tax withheld from a dividend or interest."),
        documented_default("0", as_example=True),
    ] = field(default_factory=NonNegative)
    quantity: Annotated[
        NonNegative,
        about("Units of the asset that a deposit or withdrawal in kind transfers; 0 for money."),
        documented_default("0", as_example=True),
    ] = field(default_factory=NonNegative)
    price: Annotated[
        NonNegative | None, about("Price of a transferred unit. Default: the close of the day.")
    ] = None
    cost_basis: Annotated[
        NonNegative | None, about("What the transferred units cost when they were bought.")
    ] = None
    counter_amount: Annotated[
        NonNegative | None, about("Money in counter_currency that an exchange brings.")
    ] = None
    counter_currency: Annotated[CurrencyCode | None, about("Default: the base currency.")] = None
    note: Line = ""


class TradeBody(Body, frozen=True, kw_only=True):
    """A trade executed outside this service."""

    side: Literal["buy", "sell"]
    symbol: Symbol
    quantity: NonNegative
    price: Annotated[NonNegative, about("As traded, in currency.")]
    currency: Annotated[
        CurrencyCode | None,
        about("Currency of price, amount and cost. Default: that of the asset."),
    ] = None
    amount: Annotated[
        NonNegative | None,
        about("The broker's total without costs. Default: quantity times price, rounded."),
    ] = None
    cost: Annotated[NonNegative, documented_default("0")] = field(default_factory=NonNegative)
    on: Annotated[date | None, about("The market day; default: the day of the last close.")] = None
    note: Line = ""
    confirm_price: Annotated[
        bool,
        about("The price is right, although it is far from the close of the day."),
    ] = False


_TRADE = {"side": "buy", "symbol": "KO", "quantity": "3", "price": "62.70", "cost": "1.00"}


class TradesBody(Body, frozen=True, kw_only=True):
    """Trades executed outside this service, from a worksheet or independently."""

    trades: Annotated[
        list[TradeBody], Meta(min_length=1, max_length=MOST_ASSETS, examples=[[_TRADE]])
    ]
    proposal_id: Annotated[
        UUID | None,
        about(
            "The accepted proposal whose orders these trades fill, in part or completely; other "
            "trades among them are recorded as trades of their own."
        ),
    ] = None
    confirm_price: Annotated[bool, about("The same for all trades.")] = False


class VoidBody(Body, frozen=True, kw_only=True):
    """Why an entry is void."""

    note: Annotated[Line, Meta(examples=["The price was mistyped."])] = ""


_NO_NOTE = VoidBody()


class CashFlowView(View, frozen=True, kw_only=True):
    """The recorded entry and the updated portfolio."""

    entry: EntryView
    portfolio: PortfolioView


class TradesView(View, frozen=True, kw_only=True):
    """The recorded entries and the updated portfolio."""

    entries: list[EntryView]
    portfolio: PortfolioView


@post(
    "/{portfolio_id:uuid}/cash-flows",
    summary="Record a cash flow",
    responses=problem_responses(409, 412, 422),
)
async def record_cash_flow(
    portfolio_id: FromPath[UUID],
    data: JSONBody[CashFlowBody],
    owner: Owner,
    use: FromDishka[RecordCashFlow],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[CashFlowView]:
    """Record a deposit, a withdrawal, income, a charge or an exchange in the ledger.

    Dividends of corporate actions are booked by themselves, see the actions of the portfolio. A
    deposit or withdrawal with a quantity transfers an asset in kind. The next proposal invests a
    deposit, regardless of the policy's schedule.
    """
    flow = CashFlow(
        EntryKind(data.kind),
        Decimal(data.amount) if data.amount or not data.quantity else None,
        data.on,
        data.symbol,
        note=data.note,
        currency=data.currency,
        withheld=Decimal(data.withheld),
        quantity=Decimal(data.quantity),
        price=_decimal(data.price),
        cost_basis=_decimal(data.cost_basis),
        counter_amount=_decimal(data.counter_amount),
        counter_currency=data.counter_currency,
    )
    entry, valued, replayed = await run_in(
        WRITES,
        use,
        flow,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        id=ids(),
        now=clock(),
    )
    view = CashFlowView(entry=_show(entry, valued), portfolio=portfolio_view(valued))
    return Response(view, headers=replay_headers(replayed) | {"ETag": etag(valued)})


@post(
    "/{portfolio_id:uuid}/transactions",
    summary="Record trades",
    responses=problem_responses(409, 412, 422),
)
async def record_trades(
    portfolio_id: FromPath[UUID],
    data: JSONBody[TradesBody],
    owner: Owner,
    use: FromDishka[RecordTrades],
    clock: FromDishka[Clock],
    ids: FromDishka[Ids],
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[TradesView]:
    """Record trades executed elsewhere, all or none; a proposal's id marks it as executed."""
    trades = [
        Trade(
            EntryKind(one.side),
            one.symbol,
            Decimal(one.quantity),
            Decimal(one.price),
            Decimal(one.cost),
            one.on,
            one.note,
            _decimal(one.amount),
            one.confirm_price or data.confirm_price,
            one.currency,
        )
        for one in data.trades
    ]
    entries, valued, replayed = await run_in(
        WRITES,
        use,
        trades,
        portfolio_id=portfolio_id,
        owner=owner,
        proposal_id=data.proposal_id,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        id=ids(),
        now=clock(),
    )
    view = TradesView(
        entries=[_show(entry, valued) for entry in entries],
        portfolio=portfolio_view(valued),
    )
    return Response(view, headers=replay_headers(replayed) | {"ETag": etag(valued)})


@post(
    "/{portfolio_id:uuid}/transactions/{entry_id:uuid}/void",
    summary="Void an entry",
    responses=problem_responses(409, 412),
)
async def void_entry(
    portfolio_id: FromPath[UUID],
    entry_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[VoidEntry],
    clock: FromDishka[Clock],
    data: JSONBody[VoidBody] = _NO_NOTE,
    key: Key = None,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Response[CashFlowView]:
    """Void an entry that was a mistake: a linked entry reverses it, with its costs.

    Both stay in the list, and neither counts in positions or performance. An entry whose cash or
    shares later entries need cannot be voided before those.
    """
    entry, valued, replayed = await run_in(
        WRITES,
        use,
        entry_id,
        portfolio_id=portfolio_id,
        owner=owner,
        note=data.note,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        now=clock(),
    )
    view = CashFlowView(entry=_show(entry, valued), portfolio=portfolio_view(valued))
    return Response(view, headers=replay_headers(replayed) | {"ETag": etag(valued)})


@get("/{portfolio_id:uuid}/transactions", summary="List transactions")
async def list_transactions(
    portfolio_id: FromPath[UUID],
    owner: Owner,
    use: FromDishka[ReadTransactions],
    limit: Limit = 50,
    before: Cursor = None,
) -> Page[EntryView]:
    """List the entries of the ledger, latest recorded first."""
    found, void, base = await run_in(
        READS, use, portfolio_id, actor=owner, before=before, limit=limit + 1
    )
    show = partial(entry_view, void=void, base=base)
    return paginate(found, limit, show=show, cursor=lambda entry: entry.id)


def _decimal(amount: NonNegative | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def _show(entry: Entry, valued: ValuedPortfolio) -> EntryView:
    return entry_view(entry, base=valued.portfolio.mandate.currency)


router = owner_router(
    "/portfolios",
    [record_cash_flow, record_trades, void_entry, list_transactions],
    tag="portfolios",
    max_body=LARGE_BODY,
)
