"""Leases in a SQL database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from rebalancer.adapters.sql.statements import SqlStore
from rebalancer.adapters.sql.tables import leases

_TABLE = leases.c


class SqlLeases(SqlStore):
    def take(self, name: str, holder: str, *, now: datetime, until: datetime) -> bool:
        insert = sqlite_insert if self.connection.dialect.name == "sqlite" else postgres_insert
        statement = insert(leases).values(name=name, holder=holder, expires=until)
        taken = statement.on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": holder, "expires": until},
            where=(_TABLE.holder == holder) | (_TABLE.expires <= now),
        )
        return self.connection.scalar(taken.returning(_TABLE.name)) is not None

    def give_back(self, name: str, holder: str) -> None:
        mine = (_TABLE.name == name) & (_TABLE.holder == holder)
        self.connection.execute(delete(leases).where(mine))

    def holder(self, name: str, now: datetime) -> str | None:
        taken = (_TABLE.name == name) & (_TABLE.expires > now)
        return self.connection.scalar(select(_TABLE.holder).where(taken))
