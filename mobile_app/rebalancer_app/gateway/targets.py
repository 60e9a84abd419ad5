"""Targets of a portfolio at the last close, by groups."""

from __future__ import annotations

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class GroupNow:
    """A group at the last close; weights are of the portfolio's value."""

    name: str
    path: list[str]
    weight: float | None
    target: float
    drift_points: float | None
    band: float | None
    min_weight: float | None
    max_weight: float | None
    members: dict[str, float]
    missing_points: float


@attrs.frozen
class TargetsNow:
    """Targets of a portfolio at the last close; groups come before those inside."""

    weights: dict[str, float]
    targets: dict[str, float]
    groups: list[GroupNow]


READ = Endpoint("GET", "/api/portfolios/{portfolio_id}/targets", TargetsNow)
