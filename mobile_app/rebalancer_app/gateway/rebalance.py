"""Proposals: what to trade, why, why not, and what became of it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class Order:
    """One trade to make."""

    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    value: Decimal
    cost: Decimal
    reason: str
    currency: str
    amount: Decimal
    gain: Decimal | None = None
    long_term_gain: Decimal | None = None
    lot_method: str | None = None


@attrs.frozen
class Conversion:
    """A conversion of money that the orders need."""

    from_currency: str
    to_currency: str
    from_amount: Decimal
    to_amount: Decimal
    automatic: bool


@attrs.frozen
class NotTraded:
    """An asset that is not traded, and why."""

    symbol: str
    reason: str


@attrs.frozen
class Other:
    """What a simple rule would trade."""

    policy: str
    status: str
    orders: int
    turnover: float
    cost: Decimal
    drift_after: float


@attrs.frozen
class Fill:
    """How much of an order is filled."""

    symbol: str
    side: str
    ordered: Decimal
    filled: Decimal
    open: Decimal


@attrs.frozen
class UsedQuote:
    """A quote at which an asset is valued and traded."""

    symbol: str
    traded: datetime


@attrs.frozen
class LivePrices:
    """Quotes of a proposal at live prices."""

    at: datetime
    quotes: list[UsedQuote]


@attrs.frozen
class Proposal:
    """A proposal and its current stage."""

    id: UUID
    portfolio_id: UUID
    stage: str
    stale: str | None
    proposed: datetime
    expires: datetime
    decided: datetime | None
    open_until: datetime | None
    remark: str
    policy: str
    as_of: date
    currency: str
    orders: list[Order]
    conversions: list[Conversion]
    fills: list[Fill]
    not_traded: list[NotTraded]
    weights_before: dict[str, float]
    weights_after: dict[str, float]
    cash_after: Decimal
    turnover: float
    cost: Decimal
    drift_before: float
    drift_after: float
    volatility_before: float | None
    volatility_after: float | None
    notes: list[str]
    others: list[Other]
    disclaimer: str
    live: LivePrices | None = None


@attrs.frozen
class Request:
    """A request for a proposal."""

    portfolio_id: UUID
    policy: str
    compare: bool = True
    prices: str = "close"


@attrs.frozen
class Acceptance:
    """How the orders are executed: ``paper`` or ``worksheet``."""

    mode: str


@attrs.frozen
class Remark:
    """Why a proposal is rejected or cancelled."""

    remark: str


PREDICT = Endpoint("POST", "/api/rebalance/predict", Proposal, Request)
LIST = Endpoint("GET", "/api/rebalance", Page[Proposal], query=("portfolio_id", "limit", "before"))
READ = Endpoint("GET", "/api/rebalance/{proposal_id}", Proposal)
ACCEPT = Endpoint("POST", "/api/rebalance/{proposal_id}/accept", Proposal, Acceptance)
REJECT = Endpoint("POST", "/api/rebalance/{proposal_id}/reject", Proposal, Remark)
CANCEL = Endpoint("POST", "/api/rebalance/{proposal_id}/cancel", Proposal, Remark)
WORKSHEET: Endpoint[None] = Endpoint("GET", "/api/rebalance/{proposal_id}/worksheet")
