"""Entries of a portfolio's ledger: what is there, and new ones."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page
from rebalancer_app.gateway.portfolios import Portfolio


@attrs.frozen
class Entry:
    """An entry."""

    id: UUID
    kind: str
    on: date
    recorded: datetime
    amount: Decimal
    currency: str
    cash: Decimal
    symbol: str | None
    quantity: Decimal | None
    price: Decimal | None
    cost: Decimal
    proposal_id: UUID | None
    note: str
    voids: UUID | None
    voided_by: UUID | None
    withheld: Decimal
    other: str | None


@attrs.frozen
class CashFlow:
    """Money that comes or goes."""

    kind: str
    amount: Decimal
    on: date | None = None
    symbol: str | None = None
    withheld: Decimal | None = None
    note: str = ""


@attrs.frozen
class Recorded:
    """The entry and the portfolio afterwards."""

    entry: Entry
    portfolio: Portfolio


@attrs.frozen
class Trade:
    """A trade that was made elsewhere."""

    side: str
    symbol: str
    quantity: Decimal
    price: Decimal
    cost: Decimal = Decimal(0)
    on: date | None = None
    note: str = ""


@attrs.frozen
class Trades:
    """Trades that were made elsewhere, perhaps those of a proposal."""

    trades: list[Trade]
    proposal_id: UUID | None = None
    confirm_price: bool = False


@attrs.frozen
class RecordedTrades:
    """The entries and the portfolio afterwards."""

    entries: list[Entry]
    portfolio: Portfolio


@attrs.frozen
class Note:
    """Why an entry is void."""

    note: str


LIST = Endpoint(
    "GET", "/api/portfolios/{portfolio_id}/transactions", Page[Entry], query=("limit", "before")
)
PAY = Endpoint("POST", "/api/portfolios/{portfolio_id}/cash-flows", Recorded, CashFlow)
TRADE = Endpoint("POST", "/api/portfolios/{portfolio_id}/transactions", RecordedTrades, Trades)
VOID = Endpoint(
    "POST", "/api/portfolios/{portfolio_id}/transactions/{entry_id}/void", Recorded, Note
)
