"""The database as operators see it: the version of its tables, and whether all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from sqlalchemy import Engine

from rebalancer.adapters.sql import backup, migrations
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.domain.errors import Conflict


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

    def backup(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, int]:
        """See `Database.backup`."""
        old = self._old()
        if old is not None:
            raise Conflict(old)
        return backup.backup(self.engine, path, progress)

    def restore(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, int]:
        """See `Database.restore`."""
        return backup.restore(self.engine, path, progress)

    def findings(self) -> list[str]:
        """See `Database.findings`: of ledgers only where the tables are as the stores expect."""
        old = self._old()
        if old is not None:
            return [old]
        different = [
            f"the tables differ from what revision {self.newest()} says: {difference}"
            for difference in migrations.differences(self.engine)
        ]
        return different or SqlWork(self.engine).check()

    def _old(self) -> str | None:
        """That the tables are not of the version that the stores expect, and what to do."""
        at, newest = self.revision(), self.newest()
        if at == newest:
            return None
        there = "there are no tables" if at is None else f"the tables are at revision {at}"
        return f"{there}; this version of rebalancer needs {newest}: rebalancer db upgrade"
