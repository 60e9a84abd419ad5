"""What owners decided about the dates of planned flows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from rebalancer.domain.portfolio.planned_flows import FlowDecision


class FlowDecisions(Protocol):
    """Decisions about the dates of planned flows, one a date."""

    def put(self, decision: FlowDecision) -> None:
        """Add a decision, in place of an earlier one about the same date of the same flow.

        Its entry, if any, is in the ledger of its portfolio.
        """

    def of_portfolios(self, ids: Collection[UUID]) -> dict[UUID, list[FlowDecision]]:
        """Return the decisions of each portfolio, by scheduled date and flow."""
