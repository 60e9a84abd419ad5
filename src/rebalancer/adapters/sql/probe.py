"""Whether a database can be written and read, and whether it is damaged or full."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from weakref import WeakSet

import attrs
from sqlalchemy import Connection, Pool, select

from rebalancer.adapters.sql.tables import metadata
from rebalancer.domain.errors import Unavailable

SMALLEST_SPACE = 4_000_000
"""Bytes that must be free beside a SQLite file; a checkpoint of its log takes about as many."""

_FILE = "rebalancer.file"
"""Key of the identity of a connection's file."""

_damaged: WeakSet[Pool] = WeakSet()
"""Connection pools that have met a damaged page; a damaged file does not heal."""


def note_damage(pool: Pool) -> None:
    """Remember that the database of a pool is damaged, until the process ends."""
    _damaged.add(pool)


def note_file(record: Any, path: Path) -> None:
    """Remember which file a new connection has opened."""
    record.info[_FILE] = _identity(path)


@attrs.frozen
class SqlProbe:
    """See `StoreProbe`.

    Attributes:
        space: Bytes that must be free beside a SQLite file.
    """

    connection: Connection
    space: int = SMALLEST_SPACE

    def write(self) -> None:
        connection = self.connection
        if connection.dialect.name != "sqlite":
            connection.exec_driver_sql("SELECT txid_current()")  # writes at commit
            return
        database = connection.engine.url.database or ""
        if not database.startswith("file:"):
            path = Path(database)
            if connection.info.get(_FILE) != _identity(path):
                raise Unavailable(
                    "the database file was removed or replaced; restart the process",
                    code="database_replaced",
                )
            if shutil.disk_usage(path.absolute().parent).free < self.space:
                raise Unavailable(
                    "the disk of the database is full; free some space", code="disk_full"
                )
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")  # writes the first page

    def read(self) -> None:
        if self.connection.engine.pool in _damaged:
            raise damaged()
        for table in metadata.sorted_tables:
            self.connection.execute(select(table).limit(1)).all()


def damaged() -> Unavailable:
    """Return the error of a damaged database."""
    return Unavailable(
        "the database is damaged; stop the service and restore a backup", code="database_damaged"
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
