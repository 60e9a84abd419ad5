"""Projections of a portfolio, and its goals."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs

from rebalancer_app.gateway.client import Endpoint


@attrs.frozen
class Flow:
    """A deposit a month, or a withdrawal if negative."""

    amount: float


@attrs.frozen
class WantedGoal:
    """An amount to have in the end, in money of today."""

    amount: float


@attrs.frozen
class Request:
    """What to project."""

    months: int
    flows: list[Flow]
    goal: WantedGoal | None = None
    extra: float = 100.0
    paths: int = 1_000


@attrs.frozen
class Chance:
    """A probability that is estimated from paths."""

    probability: float
    standard_error: float


@attrs.frozen
class OwnGoal:
    """The chance of reaching a goal of the portfolio."""

    name: str
    amount: float
    by: date
    probability: float


@attrs.frozen
class Extra:
    """What a further deposit a month would change."""

    amount: float
    median_gain_real: float
    goal_before: float | None
    goal_after: float | None


@attrs.frozen
class Result:
    """Distribution of what the portfolio may be worth."""

    currency: str
    months: int
    paths: int
    dates: list[date]
    real_fan: dict[str, list[float]]
    paid_in: list[float]
    prices: list[float]
    worst_decile_real: float
    goal: Chance | None
    goals: list[OwnGoal]
    exhausted: Chance
    exhausted_year: float | None
    extra: Extra | None
    notes: list[str]


@attrs.frozen
class Projection:
    """A projection, which is answered at once or runs as a job.

    Attributes:
        id: Of the job; None if it was answered at once.
    """

    id: str | None
    state: str
    progress: float
    result: Result | None
    error: str | None


@attrs.frozen
class SavingsGoal:
    """An amount to have by a day."""

    name: str
    amount: Decimal
    by: date
    nominal: bool = False


@attrs.frozen
class Goals:
    """The goals of a portfolio."""

    currency: str
    goals: list[SavingsGoal]


@attrs.frozen
class GoalsRequest:
    """All goals of a portfolio."""

    goals: list[SavingsGoal]


PROJECT = Endpoint("POST", "/api/portfolios/{portfolio_id}/projection", Projection, Request)
STATUS = Endpoint("GET", "/api/portfolios/{portfolio_id}/projection/{job_id}", Projection)
GOALS = Endpoint("GET", "/api/portfolios/{portfolio_id}/goals", Goals)
SET_GOALS = Endpoint("PUT", "/api/portfolios/{portfolio_id}/goals", Goals, GoalsRequest)
