"""Backtests, which run as jobs."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class Request:
    """What to test.

    Attributes:
        first: First day; the server's name is ``from``.
        last: Last day; the server's name is ``to``.
    """

    policies: list[str]
    targets: dict[str, float] | None = None
    first: date | None = attrs.field(default=None, metadata={"name": "from"})
    last: date | None = attrs.field(default=None, metadata={"name": "to"})
    cost_bps: float | None = None


@attrs.frozen
class Backtest:
    """A backtest: its progress, then its results."""

    id: UUID
    state: str
    progress: float
    created: datetime
    finished: datetime | None
    request: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None


@attrs.frozen
class Series:
    """Values of policies over time."""

    dates: list[date]
    values: dict[str, list[float]]


@attrs.frozen
class Job:
    """A background job."""

    id: UUID
    kind: str
    state: str
    progress: float
    cancelling: bool
    created: datetime
    finished: datetime | None
    request: dict[str, Any]
    error: str | None


START = Endpoint("POST", "/api/backtest", Backtest, Request)
STATUS = Endpoint("GET", "/api/backtest/{job_id}/status", Backtest)
SERIES = Endpoint("GET", "/api/backtest/{job_id}/series", Series, query=("points",))
JOBS = Endpoint("GET", "/api/jobs", Page[Job], query=("limit",))
CANCEL = Endpoint("POST", "/api/jobs/{job_id}/cancel", Job)
EVENTS = Endpoint("GET", "/api/jobs/{job_id}/events", Job)
