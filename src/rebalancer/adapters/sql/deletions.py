"""Deletions of accounts in a SQL database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import ColumnElement, Table, delete, or_, select, update

from rebalancer.adapters.sql.engine import upsert
from rebalancer.adapters.sql.rows import DELETIONS, user_row
from rebalancer.adapters.sql.sealed import has_text
from rebalancer.adapters.sql.statements import SqlStore, lock_rows
from rebalancer.adapters.sql.tables import (
    account_deletions,
    batch_failures,
    flow_decisions,
    history_snapshots,
    imported_entries,
    ledger_checkpoints,
    ledger_entries,
    metadata,
    outbox,
    portfolio_shares,
    portfolios,
    proposals,
    users,
)
from rebalancer.application.encryption import PLAIN_TEXT
from rebalancer.application.ports.encryption import FieldCipher
from rebalancer.domain.accounts.deletion import Deletion
from rebalancer.domain.portfolio.owner import ANONYMOUS_PORTFOLIO, User, anonymous
from rebalancer.domain.portfolio.planned_flows import NO_PLAN

_RECORDS = (users, portfolios, ledger_entries, proposals, batch_failures)
"""Tables that stay, without names, where the law demands it."""

_OF_PORTFOLIOS = (
    ledger_entries,
    ledger_checkpoints,
    history_snapshots,
    batch_failures,
    imported_entries,
    flow_decisions,
)
"""Tables whose rows belong to the owner of their portfolio."""


@attrs.frozen
class SqlDeletions(SqlStore):
    """See `Deletions`.

    Attributes:
        after_erasure: Called once an erasure has been committed.
        after_commit: Collects what is called after the transaction.
    """

    after_erasure: Callable[[], None] = lambda: None
    after_commit: list[Callable[[], None]] = attrs.field(factory=list)

    def save(self, deletion: Deletion) -> None:
        upsert(self.connection, account_deletions, [DELETIONS.to_row(deletion)])

    def find(self, owner: UUID) -> Deletion | None:
        query = select(account_deletions).where(account_deletions.c.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return None if row is None else DELETIONS.from_row(row)

    def remove(self, owner: UUID) -> bool:
        mine = account_deletions.c.owner == owner
        return self.connection.execute(delete(account_deletions).where(mine)).rowcount == 1

    def due(self, now: datetime, *, limit: int) -> list[Deletion]:
        table = account_deletions.c
        query = select(account_deletions).where(table.due <= now)
        rows = self.connection.execute(query.order_by(table.due, table.owner).limit(limit))
        return [DELETIONS.from_row(row) for row in rows]

    def erase(self, user: User, *, keep_records: bool, now: datetime) -> None:
        for table in reversed(metadata.sorted_tables):
            rows = personal_rows(table, user, self.cipher)
            if rows is not None and not (keep_records and table in _RECORDS):
                self.connection.execute(delete(table).where(rows))
        if keep_records:
            self._anonymize(user, now)
        self.after_commit.append(self.after_erasure)

    def _anonymize(self, user: User, now: datetime) -> None:
        row = user_row(anonymous(user, now)) | {"email_index": None}
        changes: tuple[tuple[Table, dict[str, Any]], ...] = (
            (users, row),
            (
                portfolios,
                {
                    "name": ANONYMOUS_PORTFOLIO,
                    "flow_plan": NO_PLAN,
                    "model": None,
                    "following": None,
                    "goals": (),
                },
            ),
            (ledger_entries, {"note": ""}),
            (proposals, {"remark": ""}),
        )
        for table, values in changes:
            rows = personal_rows(table, user, self.cipher)
            assert rows is not None  # each is personal
            self.connection.execute(update(table).where(rows).values(values))


def personal_rows(
    table: Table, user: User, cipher: FieldCipher = PLAIN_TEXT
) -> ColumnElement[bool] | None:
    """Return the condition of a table's rows about a user; None if it holds nothing personal.

    The audit trail is left out: it holds ids, and is append-only.
    """
    if table is users:
        return table.c.id == user.id
    if table in _OF_PORTFOLIOS:
        owned = select(portfolios.c.id).where(portfolios.c.owner == user.id)
        return table.c.portfolio.in_(owned)
    if table is portfolio_shares:
        columns = table.c
        invited = has_text(cipher, table, user.email)
        return or_(columns.owner == user.id, columns.recipient == user.id, invited)
    if table is outbox:
        return has_text(cipher, table, user.email)
    return table.c.owner == user.id if "owner" in table.c else None
