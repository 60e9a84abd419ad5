"""Portfolios."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class Position:
    """A holding at the last close."""

    quantity: Decimal
    price: Decimal | None
    currency: str | None
    price_date: date | None
    stale: bool
    value: Decimal | None
    weight: float | None


@attrs.frozen
class Preferences:
    """What proposals respect, as far as the app shows it."""

    whole_shares: bool
    do_not_sell: list[str]
    do_not_buy: list[str]
    band: float | None
    lot_method: str = "fifo"
    max_realised_gain: Decimal | None = None
    max_realised_gain_year: Decimal | None = None


@attrs.frozen
class Following:
    """The model that a portfolio follows."""

    model_id: UUID
    version: int
    pinned: bool


@attrs.frozen
class Portfolio:
    """A portfolio at the last close; ``target_groups`` is the tree as the server states it."""

    id: UUID
    version: int
    name: str
    currency: str
    targets: dict[str, float]
    risk_profile: str | None
    preferences: Preferences
    as_of: date | None
    value: Decimal | None
    cash: Decimal
    uninvested: Decimal
    holdings: dict[str, Position]
    notes: list[str]
    last_rebalance: date | None
    created: datetime
    changed: datetime
    target_groups: dict[str, Any] | None = None
    following: Following | None = None


LIST = Endpoint("GET", "/api/portfolios", Page[Portfolio], query=("limit", "after"))
READ = Endpoint("GET", "/api/portfolios/{portfolio_id}", Portfolio)


@attrs.frozen
class Opening:
    """A new portfolio."""

    name: str
    currency: str
    targets: dict[str, float]
    cash: Decimal
    holdings: dict[str, Decimal]
    acknowledge_limits: bool = False


@attrs.frozen
class Revision:
    """What changes in a portfolio; a preference of None becomes its default."""

    name: str | None = None
    targets: dict[str, float] | None = None
    acknowledge_limits: bool | None = None
    target_groups: dict[str, Any] | None = None
    preferences: dict[str, str | None] | None = None


OPEN = Endpoint("POST", "/api/portfolios", Portfolio, Opening)
REVISE = Endpoint("PATCH", "/api/portfolios/{portfolio_id}", Portfolio, Revision)
CLOSE: Endpoint[None] = Endpoint("DELETE", "/api/portfolios/{portfolio_id}")
