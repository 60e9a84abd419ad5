"""Statements that the stores of several aggregates share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attrs
from sqlalchemy import Connection, Delete, Select, Table, delete, select, tuple_, update

from rebalancer.application.encryption import PLAIN_TEXT
from rebalancer.application.not_found import NOT_FOUND
from rebalancer.application.ports.encryption import FieldCipher


@attrs.frozen
class SqlStore:
    """Store over a connection.

    Attributes:
        connection: In a transaction.
        locks: Whether rows that are read by id stay locked until the transaction ends.
        cipher: Seals and opens personal texts.
    """

    connection: Connection
    locks: bool = False
    cipher: FieldCipher = PLAIN_TEXT


def without_key(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its id, for an update.

    When SQLite updates a column that others refer to, it looks at every row that refers to it, even
    if the value stays.
    """
    return {name: value for name, value in row.items() if name != "id"}


def replace_row(connection: Connection, table: Table, row: Mapping[str, Any], kind: str) -> None:
    """Replace the row with the same id; raise NotFound if there is none."""
    changed = connection.execute(
        update(table).where(table.c.id == row["id"]).values(without_key(row))
    )
    if changed.rowcount != 1:
        raise NOT_FOUND[kind](row["id"])


def select_latest(
    query: Select[Any], table: Table, time: str, *, before: UUID | None, limit: int, **same: Any
) -> Select[Any]:
    """Select a page of a query by a column with the time, latest first, after the row ``before``.

    All rows have the ``same`` values, of which None stands for any. If the row ``before`` has
    others, the page is empty.
    """
    cursor = table.alias("cursor")
    start = select(cursor.c[time], cursor.c.id).where(cursor.c.id == before)
    for name, value in same.items():
        if value is not None:
            query = query.where(table.c[name] == value)
            start = start.where(cursor.c[name] == value)
    if before is not None:
        query = query.where(tuple_(table.c[time], table.c.id) < start.scalar_subquery())
    return query.order_by(table.c[time].desc(), table.c.id.desc()).limit(limit)


def delete_unlocked(table: Table, key: Any, old: Select[Any]) -> Delete:
    """Delete old rows by key; rows that another transaction locks stay for the next time."""
    return delete(table).where(key.in_(old.with_for_update(skip_locked=True)))


def lock_rows(query: Select[Any]) -> Select[Any]:
    """Lock the selected rows against other writers until the transaction ends.

    Rows that refer to them can still be added. SQLite ignores it: it has one writer.
    """
    return query.with_for_update(key_share=True)
