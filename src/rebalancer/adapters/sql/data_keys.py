"""Wrapped data keys in a SQL database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import data_keys
from rebalancer.application.ports.encryption import WrappedKey

_TABLE = data_keys.c


class SqlDataKeys(SqlStore):
    def get(self, owner: UUID) -> WrappedKey | None:
        query = select(data_keys).where(_TABLE.owner == owner)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else _key_of(row)

    def add(self, owner: UUID, key: WrappedKey) -> WrappedKey:
        """See `DataKeys.add`; an insert of the same key waits for the transaction that is first."""
        is_sqlite = self.connection.dialect.name == "sqlite"
        insert = sqlite_insert(data_keys) if is_sqlite else postgres_insert(data_keys)
        values = {"owner": owner, "key": key.key, "wrapped": key.ciphertext}
        self.connection.execute(insert.values(values).on_conflict_do_nothing())
        return self.get(owner) or key

    def replace(self, owner: UUID, key: WrappedKey) -> None:
        values = {"key": key.key, "wrapped": key.ciphertext}
        self.connection.execute(update(data_keys).where(_TABLE.owner == owner).values(values))

    def wrapped_by(self, key: str, *, limit: int) -> dict[UUID, WrappedKey]:
        query = select(data_keys).where(_TABLE.key == key).order_by(_TABLE.owner).limit(limit)
        if self.locks:
            query = query.with_for_update()
        return {row.owner: _key_of(row) for row in self.connection.execute(query)}

    def counts(self) -> dict[str, int]:
        query = select(_TABLE.key, func.count()).group_by(_TABLE.key)
        return {row[0]: row[1] for row in self.connection.execute(query)}

    def erase(self, owner: UUID) -> None:
        self.connection.execute(delete(data_keys).where(_TABLE.owner == owner))

    def erase_all(self) -> None:
        self.connection.execute(delete(data_keys))


def _key_of(row: Row[Any]) -> WrappedKey:
    return WrappedKey(row.key, bytes(row.wrapped))
