"""Decisions about planned flows in a SQL database."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import insert, select, update

from rebalancer.adapters.sql.rows import FLOW_DECISIONS
from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import flow_decisions
from rebalancer.domain.portfolio.planned_flows import FlowDecision


class SqlFlowDecisions(SqlStore):
    def put(self, decision: FlowDecision) -> None:
        table, row = flow_decisions.c, FLOW_DECISIONS.to_row(decision)
        same = (
            (table.portfolio == decision.portfolio)
            & (table.flow == decision.flow)
            & (table.scheduled == decision.scheduled)
        )
        if self.connection.execute(update(flow_decisions).where(same).values(row)).rowcount != 1:
            self.connection.execute(insert(flow_decisions), row)

    def of_portfolios(self, ids: Collection[UUID]) -> dict[UUID, list[FlowDecision]]:
        found: dict[UUID, list[FlowDecision]] = {id: [] for id in ids}
        if not found:
            return found
        table = flow_decisions.c
        query = select(flow_decisions).where(table.portfolio.in_(found))
        for row in self.connection.execute(query.order_by(table.scheduled, table.flow)):
            found[row.portfolio].append(FLOW_DECISIONS.from_row(row))
        return found
