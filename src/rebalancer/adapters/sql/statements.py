"""Statements that the stores of several aggregates share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Row,
    Select,
    Table,
    update,
)
from sqlalchemy import delete as deletion

from rebalancer.domain.errors import NotFound


def require_row(row: Row[Any] | None, what: str, id: UUID) -> Row[Any]:
    """Return the row.

    Raises:
        NotFound: it is None.
    """
    if row is None:
        raise NotFound(f"there is no {what} {id}")
    return row


def replace_row(connection: Connection, table: Table, row: Mapping[str, Any], what: str) -> None:
    """Replace the row with the same id.

    Raises:
        NotFound: no row has this id.
    """
    changed = connection.execute(update(table).where(table.c.id == row["id"]).values(row))
    if changed.rowcount != 1:
        raise NotFound(f"there is no {what} {row['id']}")


def delete_unlocked(table: Table, which: Any, old: Select[Any]) -> Any:
    """Deletes what is old, but for what somebody is at: it goes the next time."""
    return deletion(table).where(which.in_(old.with_for_update(skip_locked=True)))


def lock_rows(query: Select[Any]) -> Select[Any]:
    """Rows that nobody else writes until the transaction ends; what refers to them may be added.

    SQLite, where there is one writer anyway, takes no notice.
    """
    return query.with_for_update(key_share=True)
