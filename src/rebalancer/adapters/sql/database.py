"""Administration of the database: migrations, backups and checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
from sqlalchemy import Engine

from rebalancer.adapters.sql import backup, migrations, rotation
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.encryption import NoEncryption
from rebalancer.application.ports.encryption import Encryption, KeyRotation
from rebalancer.domain.errors import Conflict


@attrs.frozen
class SqlDatabase:
    engine: Engine
    encryption: Encryption = attrs.field(factory=NoEncryption)
    sizes: backup.BatchSizes = backup.DEFAULT_SIZES
    migration: migrations.Options = migrations.DEFAULT_OPTIONS

    def revision(self) -> str | None:
        return migrations.current(self.engine)

    def newest(self) -> str:
        return migrations.head()

    def upgrade(self, revision: str | None = None) -> None:
        migrations.upgrade(self.engine, revision or "head", self.migration)

    def downgrade(self, revision: str | None = None) -> None:
        migrations.downgrade(self.engine, revision or "-1", self.migration)

    def backup(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, int]:
        if outdated := self._outdated():
            raise Conflict(outdated, code="schema_outdated")
        return backup.backup(self.engine, path, progress, self.sizes, self.encryption)

    def restore(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, int]:
        return backup.restore(self.engine, path, progress, self.sizes, self.encryption)

    def rotate_keys(
        self, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> KeyRotation:
        if outdated := self._outdated():
            raise Conflict(outdated, code="schema_outdated")
        return rotation.rotate_keys(self.engine, self.encryption, progress)

    def findings(self) -> list[str]:
        if outdated := self._outdated():
            return [outdated]
        different = [
            f"the tables differ from revision {self.newest()}: {difference}"
            for difference in migrations.differences(self.engine)
        ]
        return different or SqlWork(self.engine).check()

    def _outdated(self) -> str | None:
        """Describe how the revision of the tables differs from the expected one."""
        at, newest = self.revision(), self.newest()
        if at == newest:
            return None
        there = "the database has no tables" if at is None else f"the tables are at revision {at}"
        return f"{there}; this version of rebalancer needs revision {newest}; upgrade the database"
