"""Results of requests with an idempotency key, in a SQL database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, tuple_, update

from rebalancer.adapters.sql.rows import KEYS
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore, delete_unlocked
from rebalancer.adapters.sql.tables import idempotency_keys
from rebalancer.domain.idempotency import IdempotencyKey


class SqlIdempotencyKeys(SqlStore):
    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        table = idempotency_keys
        query = select(table).where(table.c.owner == owner, table.c.key == key)
        row = self.connection.execute(query).one_or_none()
        if row is None:
            return None
        return KEYS.from_row(open_row(self.cipher, idempotency_keys, row))

    def add(self, key: IdempotencyKey) -> None:
        row = seal_row(self.cipher, idempotency_keys, KEYS.to_row(key))
        self.connection.execute(insert(idempotency_keys), row)

    def save_answer(self, owner: UUID, key: str, answer: str) -> None:
        table = idempotency_keys.c
        mine = (table.owner == owner) & (table.key == key) & table.answer.is_(None)
        row = {"owner": owner, "key": key, "answer": answer}
        sealed = seal_row(self.cipher, idempotency_keys, row)["answer"]
        self.connection.execute(update(idempotency_keys).where(mine).values(answer=sealed))

    def delete_before(self, before: datetime) -> int:
        table = idempotency_keys.c
        key = tuple_(table.owner, table.key)
        old = select(table.owner, table.key).where(table.created < before)
        return self.connection.execute(delete_unlocked(idempotency_keys, key, old)).rowcount
