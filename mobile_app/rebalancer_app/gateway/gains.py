"""Gains of a portfolio: realised by year and sale, unrealised by lot."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class YearOfGains:
    """Realised gains and income of a tax year."""

    year: str
    gain: Decimal
    short_term: Decimal
    long_term: Decimal
    undetermined: Decimal
    unknown: int
    dividends: Decimal | None
    interest: Decimal | None
    withheld: Decimal | None
    fees: Decimal | None


@attrs.frozen
class Disposal:
    """A sale, or another event that realises a gain or loss."""

    symbol: str
    on: date
    quantity: Decimal
    gain: Decimal | None


@attrs.frozen
class OpenLot:
    """A lot that is held, at the last close."""

    symbol: str
    quantity: Decimal
    acquired: date | None
    days: int | None
    term: str | None
    cost: Decimal | None
    gain: Decimal | None


@attrs.frozen
class Unrealised:
    """Sums over the lots whose gain is known."""

    gain: Decimal
    unknown: int


@attrs.frozen
class Gains:
    """Gains and income of a portfolio in its base currency."""

    currency: str
    method: str
    as_of: date
    years: list[YearOfGains]
    disposals: list[Disposal]
    open_lots: list[OpenLot]
    unrealised: Unrealised
    notes: list[str]


READ = Endpoint("GET", "/api/portfolios/{portfolio_id}/gains", Gains, query=("method",))
TABLE: Endpoint[None] = Endpoint(
    "GET", "/api/portfolios/{portfolio_id}/gains", query=("method", "format")
)
"""The sales as a file."""
