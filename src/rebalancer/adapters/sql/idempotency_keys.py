"""Results of requests with an idempotency key, in a SQL database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, tuple_, update

from rebalancer.adapters.sql.rows import KEYS
from rebalancer.adapters.sql.statements import SqlStore, delete_unlocked
from rebalancer.adapters.sql.tables import idempotency_keys
from rebalancer.domain.idempotency import IdempotencyKey


class SqlIdempotencyKeys(SqlStore):
    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        table = idempotency_keys
        query = select(table).where(table.c.owner == owner, table.c.key == key)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else KEYS.from_row(row)

    def add(self, key: IdempotencyKey) -> None:
        self.connection.execute(insert(idempotency_keys), KEYS.to_row(key))

    def save_answer(self, owner: UUID, key: str, answer: str) -> None:
        table = idempotency_keys.c
        mine = (table.owner == owner) & (table.key == key) & table.answer.is_(None)
        self.connection.execute(update(idempotency_keys).where(mine).values(answer=answer))

    def delete_before(self, before: datetime) -> int:
        table = idempotency_keys.c
        key = tuple_(table.owner, table.key)
        old = select(table.owner, table.key).where(table.created < before)
        return self.connection.execute(delete_unlocked(idempotency_keys, key, old)).rowcount
