"""Statements that the stores of several aggregates share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Delete, Row, Select, Table, delete, update

from rebalancer.domain.errors import NotFound


def require_row(row: Row[Any] | None, what: str, id: UUID) -> Row[Any]:
    """Return the row.

    Raises:
        NotFound: the row is None.
    """
    if row is None:
        raise NotFound(f"{what} {id} does not exist", code=f"{what}_not_found")
    return row


def replace_row(connection: Connection, table: Table, row: Mapping[str, Any], what: str) -> None:
    """Replace the row with the same id.

    Raises:
        NotFound: no row has this id.
    """
    changed = connection.execute(update(table).where(table.c.id == row["id"]).values(row))
    if changed.rowcount != 1:
        raise NotFound(f"{what} {row['id']} does not exist", code=f"{what}_not_found")


def delete_unlocked(table: Table, key: Any, old: Select[Any]) -> Delete:
    """Delete old rows by key; rows that another transaction locks stay for the next time."""
    return delete(table).where(key.in_(old.with_for_update(skip_locked=True)))


def lock_rows(query: Select[Any]) -> Select[Any]:
    """Lock the selected rows against other writers until the transaction ends.

    Rows that refer to them can still be added. SQLite ignores it: it has one writer.
    """
    return query.with_for_update(key_share=True)
