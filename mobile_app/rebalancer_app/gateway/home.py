"""The summary of all portfolios."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class Change:
    """Change over a period."""

    period: str
    since: date
    gain: Decimal
    change: float | None


@attrs.frozen
class History:
    """Value over time."""

    dates: list[date]
    values: list[float]
    contributions: list[float]


@attrs.frozen
class Summary:
    """One portfolio, in brief."""

    id: UUID
    name: str
    currency: str
    value: Decimal | None
    changes: list[Change]
    sparkline: list[float]
    drift: float | None
    band: float
    outside: list[str]
    uninvested: Decimal


@attrs.frozen
class ToDo:
    """Something to do."""

    task: str
    portfolio_id: UUID | None
    proposal_id: UUID | None
    symbols: list[str]
    days: int | None


@attrs.frozen
class Home:
    """All portfolios."""

    currency: str
    value: Decimal | None
    as_of: date | None
    period: str
    history: History | None
    changes: list[Change]
    portfolios: list[Summary]
    to_do: list[ToDo]
    notes: list[str]


READ = Endpoint("GET", "/api/home", Home, query=("period", "currency"))
