"""Planned deposits and withdrawals, and the dates that are due."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.ledger import Entry


@attrs.frozen
class PlannedFlow:
    """A deposit or withdrawal that recurs."""

    id: UUID
    kind: str
    amount: Decimal
    currency: str
    every: str
    day: int
    first: date
    last: date | None
    note: str


@attrs.frozen
class DueFlow:
    """A date of a planned flow."""

    flow_id: UUID
    kind: str
    amount: Decimal
    currency: str
    scheduled: date
    due: date
    note: str


@attrs.frozen
class OpenFlow:
    """A date that waits for a decision, with entries that may be its payment."""

    flow_id: UUID
    kind: str
    amount: Decimal
    currency: str
    scheduled: date
    due: date
    note: str
    matches: list[Entry]


@attrs.frozen
class Plan:
    """The planned flows of a portfolio."""

    flows: list[PlannedFlow]
    horizon: int
    automatic: bool
    due: list[OpenFlow]
    coming: list[DueFlow]


@attrs.frozen
class FlowRequest:
    """A flow to plan."""

    kind: str
    amount: Decimal
    every: str
    day: int | None = None
    first: date | None = None
    last: date | None = None
    currency: str | None = None
    note: str = ""


@attrs.frozen
class Terms:
    """How planned flows count, and how they are booked."""

    horizon: int | None = None
    automatic: bool | None = None


@attrs.frozen
class TermsAnswer:
    """The terms as they are."""

    horizon: int
    automatic: bool


@attrs.frozen
class Confirmation:
    """A date that was paid."""

    scheduled: date
    entry_id: UUID | None = None
    book_anyway: bool = False


@attrs.frozen
class DueDate:
    """A date."""

    scheduled: date


@attrs.frozen
class FlowDecision:
    """What was decided."""

    flow_id: UUID
    scheduled: date
    outcome: str


@attrs.frozen
class Decided:
    """The answer to a decision."""

    decision: FlowDecision


_PATH = "/api/portfolios/{portfolio_id}/flows"
LIST = Endpoint("GET", _PATH, Plan)
ADD = Endpoint("POST", _PATH, PlannedFlow, FlowRequest)
CHANGE = Endpoint("PUT", f"{_PATH}/{{flow_id}}", PlannedFlow, FlowRequest)
REMOVE: Endpoint[None] = Endpoint("DELETE", f"{_PATH}/{{flow_id}}")
TERMS = Endpoint("PATCH", _PATH, TermsAnswer, Terms)
CONFIRM = Endpoint("POST", f"{_PATH}/{{flow_id}}/confirm", Decided, Confirmation)
SKIP = Endpoint("POST", f"{_PATH}/{{flow_id}}/skip", Decided, DueDate)
