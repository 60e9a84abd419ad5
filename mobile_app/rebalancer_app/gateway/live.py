"""Live quotes, as events of streams."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class Hours:
    """Whether a market trades now."""

    open: bool
    since: datetime | None
    until: datetime | None


@attrs.frozen
class LivePosition:
    """A holding at its quote, or at its last close."""

    symbol: str
    price: Decimal | None
    currency: str
    value: Decimal | None
    priced_by: str | None
    price_date: date | None
    traded: datetime | None
    fault: str | None
    hours: Hours | None


@attrs.frozen
class LivePortfolio:
    """A portfolio at quotes where they are known, and at closes elsewhere."""

    portfolio_id: UUID
    version: int
    live: bool
    as_of: date | None
    value: Decimal | None
    change: Decimal | None
    change_fraction: float | None
    positions: list[LivePosition]


@attrs.frozen
class WatchedAsset:
    """An asset at its last close."""

    symbol: str
    close: float | None
    close_date: date | None
    currency: str | None
    hours: Hours | None


@attrs.frozen
class Assets:
    """The assets of a stream."""

    live: bool
    assets: list[WatchedAsset]


@attrs.frozen
class Quote:
    """The last trade of an asset."""

    symbol: str
    price: float
    currency: str
    traded: datetime
    change: float | None


PORTFOLIO: Endpoint[Any] = Endpoint("GET", "/api/portfolios/{portfolio_id}/stream")
MARKET: Endpoint[Any] = Endpoint("GET", "/api/market/stream", query=("symbols",))

PORTFOLIO_EVENTS = {"portfolio": LivePortfolio}
MARKET_EVENTS = {"assets": Assets, "quote": Quote}
"""Classes of the data of events, by their names."""
