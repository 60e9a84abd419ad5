"""Use of daily quotas in a SQL database."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import account_usage

_TABLE = account_usage.c


class SqlUsage(SqlStore):
    def take(self, owner: UUID, quota: str, day: date, amount: int, *, limit: int) -> bool:
        if amount > limit:
            return False
        insert = sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert
        statement = insert(account_usage).values(owner=owner, quota=quota, day=day, used=amount)
        used = _TABLE.used + amount
        taken = statement.on_conflict_do_update(
            index_elements=["owner", "quota", "day"], set_={"used": used}, where=used <= limit
        )
        return self.connection.scalar(taken.returning(_TABLE.used)) is not None

    def used(self, owner: UUID, quota: str, day: date) -> int:
        query = select(_TABLE.used).where(
            _TABLE.owner == owner, _TABLE.quota == quota, _TABLE.day == day
        )
        return self.connection.scalar(query) or 0

    def delete_before(self, day: date) -> int:
        return self.connection.execute(delete(account_usage).where(_TABLE.day < day)).rowcount
