"""Assets, their prices, and the state of the market."""

from __future__ import annotations

from datetime import date
from typing import Any

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class Asset:
    """An asset that was found."""

    symbol: str
    name: str
    asset_class: str | None
    as_of: date | None
    price: float | None
    currency: str | None
    withheld: str | None
    known: bool
    exchange: str


@attrs.frozen
class Close:
    """A close, adjusted for later splits and dividends."""

    date: date
    close: float


@attrs.frozen
class Closes:
    """Closes of one asset."""

    symbol: str
    closes: list[Close]
    currency: str | None
    indicators: dict[str, list[float | None]] | None


@attrs.frozen
class Facts:
    """Fundamentals of an asset."""

    symbol: str
    numbers: dict[str, Any]
    texts: dict[str, Any]
    as_of: date | None


@attrs.frozen
class Issue:
    """A finding about the data of an asset."""

    symbol: str
    rule: str
    severity: str
    day: date


@attrs.frozen
class Regime:
    """State of the market."""

    as_of: date
    probabilities: dict[str, float]
    regime: str
    since: date
    sentence: str


SEARCH = Endpoint("GET", "/api/market/assets", Page[Asset], query=("query", "limit", "everywhere"))
CLOSES = Endpoint(
    "GET",
    "/api/market/data/{symbol}",
    Closes,
    query=("start", "end", "interval", "indicators"),
)
REGIME = Endpoint("GET", "/api/market/regime", Regime)
ISSUES = Endpoint("GET", "/api/market/issues", Page[Issue], query=("symbol", "limit"))
