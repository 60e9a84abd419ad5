"""`/api/portfolios/{id}/cash-flows` and `/transactions`: record, void and list transactions."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import attrs
from dishka.integrations.litestar import FromDishka
from litestar import Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath, JSONBody
from msgspec import Meta, field

from rebalancer.application.corrections import VoidEntry
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.transactions import (
    CashFlow,
    ReadTransactions,
    RecordCashFlow,
    RecordTrades,
    Trade,
)
from rebalancer.domain.portfolio.ledger import Entry, EntryKind, void_id
from rebalancer.entrypoints.http.auth import Owner, owner_router
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.http.etags import (
    IfMatch,
    IfNoneMatch,
    accepted_versions,
    etag,
)
from rebalancer.entrypoints.http.idempotency import Key, replay_headers
from rebalancer.entrypoints.http.parameters import Cursor, Limit
from rebalancer.entrypoints.schemas.portfolio import PortfolioView, portfolio_view
from rebalancer.entrypoints.schemas.wire import (
    MOST_ASSETS,
    Body,
    DecimalText,
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
    """A cash flow of a portfolio."""

    kind: Literal["deposit", "withdrawal", "fee", "dividend"]
    amount: NonNegative
    on: Annotated[date | None, about("The market day; default: the day of the last close.")] = None
    symbol: Annotated[Symbol | None, about("The asset that paid the dividend.")] = None
    note: Line = ""


class TradeBody(Body, frozen=True, kw_only=True):
    """A trade executed outside this service."""

    side: Literal["buy", "sell"]
    symbol: Symbol
    quantity: NonNegative
    price: NonNegative
    amount: Annotated[
        NonNegative | None,
        about("The broker's total without costs. Default: quantity times price, rounded."),
    ] = None
    cost: Annotated[NonNegative, documented_default("0")] = field(default_factory=NonNegative)
    on: Annotated[date | None, about("The market day; default: the day of the last close.")] = None
    note: Line = ""
    confirm_price: Annotated[
        bool,
        about("The price is right, although it is far from the adjusted close of the day."),
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


class EntryView(View, frozen=True, kw_only=True):
    """An entry of the ledger."""

    id: UUID
    kind: EntryKind
    on: Annotated[date, about("The market day on which it takes effect.")]
    recorded: Annotated[datetime, about("When it was recorded.")]
    amount: DecimalText
    cash: Annotated[DecimalText, about("Change of cash.")]
    symbol: str | None
    quantity: DecimalText | None
    price: DecimalText | None
    cost: DecimalText
    proposal_id: UUID | None
    note: str
    voids: Annotated[UUID | None, about("The entry that this one voids; neither counts.")]
    voided_by: Annotated[UUID | None, about("The entry that voids this one; neither counts.")]


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
    """Record a deposit, a withdrawal, a fee or a dividend in the ledger.

    The next proposal invests a deposit, regardless of the policy's schedule.
    """
    flow = CashFlow(
        EntryKind(data.kind), Decimal(data.amount), data.on, data.symbol, note=data.note
    )
    entry, valued, replayed = await sync_to_thread(
        use,
        flow,
        portfolio_id=portfolio_id,
        owner=owner,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        id=ids(),
        now=clock(),
    )
    view = CashFlowView(entry=entry_view(entry), portfolio=portfolio_view(valued))
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
            None if one.amount is None else Decimal(one.amount),
            one.confirm_price or data.confirm_price,
        )
        for one in data.trades
    ]
    entries, valued, replayed = await sync_to_thread(
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
        entries=[entry_view(entry) for entry in entries], portfolio=portfolio_view(valued)
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
    entry, valued, replayed = await sync_to_thread(
        use,
        entry_id,
        portfolio_id=portfolio_id,
        owner=owner,
        note=data.note,
        accepted=accepted_versions(if_match, if_none_match, required=False),
        key=key,
        now=clock(),
    )
    view = CashFlowView(entry=entry_view(entry), portfolio=portfolio_view(valued))
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
    found, void = await sync_to_thread(
        use, portfolio_id, owner=owner, before=before, limit=limit + 1
    )
    show = partial(entry_view, void=void)
    return paginate(found, limit, show=show, cursor=lambda entry: entry.id)


def entry_view(entry: Entry, void: frozenset[UUID] = frozenset()) -> EntryView:
    """Show an entry of a ledger; ``void`` has the ids of entries that are void."""
    values = attrs.asdict(entry, recurse=False) | {
        "cash": entry.cash,
        "quantity": entry.quantity or None,
        "proposal_id": entry.proposal,
        "voided_by": void_id(entry.id) if entry.id in void else None,
    }
    return EntryView.of(values)


router = owner_router(
    "/portfolios",
    [record_cash_flow, record_trades, void_entry, list_transactions],
    tag="portfolios",
)
