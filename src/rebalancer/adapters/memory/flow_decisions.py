"""Decisions about planned flows in memory."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import attrs

from rebalancer.domain.portfolio.planned_flows import FlowDecision


@attrs.frozen
class MemoryFlowDecisions:
    rows: dict[UUID, tuple[FlowDecision, ...]]
    """By portfolio."""

    def put(self, decision: FlowDecision) -> None:
        others = [
            one
            for one in self.rows.get(decision.portfolio, ())
            if (one.flow, one.scheduled) != (decision.flow, decision.scheduled)
        ]
        found = sorted([*others, decision], key=lambda one: (one.scheduled, one.flow))
        self.rows[decision.portfolio] = tuple(found)

    def of_portfolios(self, ids: Collection[UUID]) -> dict[UUID, list[FlowDecision]]:
        return {id: list(self.rows.get(id, ())) for id in ids}
