"""Performance of a portfolio."""

from __future__ import annotations

from datetime import date

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class Line:
    """Performance of the contributions in one way."""

    name: str
    final_value: float
    time_weighted_return: float | None
    time_weighted_return_a_year: float | None
    money_weighted_return: float | None
    volatility: float | None
    max_drawdown: float | None
    values: list[float]


@attrs.frozen
class HoldingContribution:
    """What a holding, cash or fees add to the return."""

    kind: str
    symbol: str | None
    currency: str
    contribution: float


@attrs.frozen
class GroupContribution:
    """What an asset class adds to the return."""

    name: str
    contribution: float


@attrs.frozen
class Attribution:
    """Contributions to the return, the largest first; each list adds up to it."""

    holdings: list[HoldingContribution]
    asset_classes: list[GroupContribution]


@attrs.frozen
class Performance:
    """Performance from the first entry to the last close."""

    currency: str
    first: date
    last: date
    contributed: float
    gain: float
    costs: float
    dividends: float
    interest: float
    taxes: float
    portfolio: Line
    no_rebalancing: Line
    benchmark: Line
    dates: list[date]
    contributions: list[float]
    notes: list[str]
    attribution: Attribution | None = None


READ = Endpoint(
    "GET", "/api/portfolios/{portfolio_id}/performance", Performance, query=("benchmark",)
)
