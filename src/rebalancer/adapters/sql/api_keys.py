"""API keys in a SQL database."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, update

from rebalancer.adapters.sql.rows import API_KEYS
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import api_keys
from rebalancer.application.not_found import NOT_FOUND
from rebalancer.domain.accounts.api_keys import ApiKey


class SqlApiKeys(SqlStore):
    def add(self, key: ApiKey) -> None:
        row = seal_row(self.cipher, api_keys, API_KEYS.to_row(key))
        self.connection.execute(insert(api_keys), row)

    def by_digest(self, digest: str) -> ApiKey | None:
        query = select(api_keys).where(api_keys.c.digest == digest)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else self._key_of(row)

    def of_owner(self, owner: UUID) -> list[ApiKey]:
        query = select(api_keys).where(api_keys.c.owner == owner)
        rows = self.connection.execute(query.order_by(api_keys.c.created, api_keys.c.id))
        return [self._key_of(row) for row in rows]

    def note_use(self, id: UUID, now: datetime) -> None:
        self.connection.execute(update(api_keys).where(api_keys.c.id == id).values(used=now))

    def delete(self, id: UUID, *, owner: UUID) -> None:
        mine = (api_keys.c.id == id) & (api_keys.c.owner == owner)
        if self.connection.execute(delete(api_keys).where(mine)).rowcount != 1:
            raise NOT_FOUND["API key"](id)

    def _key_of(self, row: Row[Any]) -> ApiKey:
        return API_KEYS.from_row(open_row(self.cipher, api_keys, row))
