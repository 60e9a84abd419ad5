"""The database as operators see it: the version of its tables, and whether all is well."""

from __future__ import annotations

import attrs
from sqlalchemy import Engine

from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.store import SqlWork


@attrs.frozen
class SqlDatabase:
    """See `Database`; the engine is one of `connect`."""

    engine: Engine

    def revision(self) -> str | None:
        """See `Database.revision`."""
        return migrations.current(self.engine)

    def newest(self) -> str:
        """See `Database.newest`."""
        return migrations.head()

    def upgrade(self, revision: str | None = None) -> None:
        """See `Database.upgrade`."""
        migrations.upgrade(self.engine, revision or "head")

    def downgrade(self, revision: str | None = None) -> None:
        """See `Database.downgrade`."""
        migrations.downgrade(self.engine, revision or "-1")

    def findings(self) -> list[str]:
        """See `Database.findings`: of ledgers only where the tables are as the stores expect."""
        at, newest = self.revision(), self.newest()
        if at != newest:
            there = "there are no tables" if at is None else f"the tables are at revision {at}"
            return [f"{there}; this version of rebalancer needs {newest}: rebalancer db upgrade"]
        different = [
            f"the tables differ from what revision {at} says: {difference}"
            for difference in migrations.differences(self.engine)
        ]
        return different or SqlWork(self.engine).check()
