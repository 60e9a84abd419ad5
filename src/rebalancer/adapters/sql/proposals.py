"""Proposals in a SQL database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, insert, select, update

from rebalancer.adapters.sql.copying import copy_rows
from rebalancer.adapters.sql.rows import PROPOSALS
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.shares import check_shared_right, is_shared
from rebalancer.adapters.sql.statements import (
    SqlStore,
    delete_unlocked,
    lock_rows,
    select_latest,
)
from rebalancer.adapters.sql.tables import portfolios, proposals
from rebalancer.application.not_found import NOT_FOUND, require
from rebalancer.domain.accounts.shares import Right, only_the_owner
from rebalancer.domain.rebalancing.lifecycle import (
    UNACCEPTED,
    ProposalClosed,
    ProposalRecord,
    Stage,
)

_UNACCEPTED = sorted(stage.value for stage in UNACCEPTED)

_MIN_COPY = 32
"""Rows from which on COPY is faster than INSERT in Postgres."""


class SqlProposals(SqlStore):
    def add(self, records: Sequence[ProposalRecord]) -> None:
        rows = [self._row_of(record) for record in records]
        if len(rows) >= _MIN_COPY and self.connection.dialect.name == "postgresql":
            copy_rows(self.connection, proposals, rows)
        elif rows:
            self.connection.execute(insert(proposals), rows)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        """See `Proposals.get`.

        Locks the portfolio, as writers of the portfolio do: one order of locks, so no deadlock.
        """
        found = self._get(id)
        if owner is not None and found.owner != owner:
            if is_shared(self.connection, found.portfolio_id, owner):
                raise only_the_owner()
            raise NOT_FOUND["proposal"](id)
        return found

    def get_for(self, id: UUID, actor: UUID, right: Right = Right.READ) -> ProposalRecord:
        found = self._get(id)
        if found.owner != actor:
            if not is_shared(self.connection, found.portfolio_id, actor):
                raise NOT_FOUND["proposal"](id)
            check_shared_right(self.connection, found.portfolio_id, actor, right)
        return found

    def _get(self, id: UUID) -> ProposalRecord:
        if self.locks and self.connection.dialect.name != "sqlite":
            its = select(proposals.c.portfolio).where(proposals.c.id == id).scalar_subquery()
            portfolio = select(portfolios.c.id).where(portfolios.c.id == its)
            self.connection.execute(lock_rows(portfolio))
        query = _open_proposals().where(proposals.c.id == id)
        row = self.connection.execute(query).one_or_none()
        return self._record_of(require(row, "proposal", id))

    def save(self, record: ProposalRecord, *, expected: Stage) -> None:
        table = proposals.c
        is_open = (portfolios.c.id == table.portfolio) & portfolios.c.closed.is_(None)
        change = update(proposals).where(
            table.id == record.id,
            table.owner == record.owner,
            table.stage == expected.value,
            select(portfolios.c.id).where(is_open).exists(),
        )
        if self.connection.execute(change.values(self._row_of(record))).rowcount != 1:
            stage = self.get(record.id, owner=record.owner).stage
            raise ProposalClosed(f"proposal {record.id} is already {stage}")

    def count_undecided(self, owner: UUID) -> int:
        mine = (proposals.c.owner == owner) & proposals.c.stage.in_(_UNACCEPTED)
        return self.connection.scalar(select(func.count()).where(mine)) or 0

    def delete_expired(self, before: datetime, *, limit: int) -> int:
        table = proposals.c
        open = (table.stage == Stage.PROPOSED.value) & (table.expires > before)
        old = (
            select(table.id)
            .where(table.stage.in_(_UNACCEPTED), table.proposed < before, ~open)
            .limit(limit)
        )
        return self.connection.execute(delete_unlocked(proposals, table.id, old)).rowcount

    def waiting(
        self, portfolios: Collection[UUID], now: datetime
    ) -> dict[UUID, list[ProposalRecord]]:
        table = proposals.c
        query = (
            select(proposals)
            .where(
                table.portfolio.in_(portfolios),
                table.stage == Stage.PROPOSED.value,
                table.expires > now,
            )
            .order_by(table.proposed, table.id)
        )
        found: dict[UUID, list[ProposalRecord]] = {}
        for row in self.connection.execute(query):
            found.setdefault(row.portfolio, []).append(self._record_of(row))
        return found

    def page(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[ProposalRecord]:
        query, same = _open_proposals(), {"owner": owner, "portfolio": portfolio_id}
        page = select_latest(query, proposals, "proposed", before=before, limit=limit, **same)
        return [self._record_of(row) for row in self.connection.execute(page)]

    def _row_of(self, record: ProposalRecord) -> dict[str, Any]:
        row = PROPOSALS.to_row(record)
        return seal_row(self.cipher, proposals, row) if record.remark else row

    def _record_of(self, row: Row[Any]) -> ProposalRecord:
        return PROPOSALS.from_row(open_row(self.cipher, proposals, row))

    def of_owner(
        self, owner: UUID, *, before: UUID | None = None, limit: int
    ) -> list[ProposalRecord]:
        query = select(proposals)
        page = select_latest(query, proposals, "proposed", before=before, limit=limit, owner=owner)
        return [self._record_of(row) for row in self.connection.execute(page)]


def _open_proposals() -> Select[Any]:
    """Select the proposals of open portfolios."""
    joined = proposals.join(portfolios, proposals.c.portfolio == portfolios.c.id)
    return select(proposals).select_from(joined).where(portfolios.c.closed.is_(None))
