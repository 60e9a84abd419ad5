"""Migrations: move the tables from one revision to another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from rebalancer.adapters.sql.engine import is_pooled, open_connection, reading
from rebalancer.adapters.sql.errors import Busy
from rebalancer.adapters.sql.tables import metadata
from rebalancer.domain.errors import Conflict, InvalidRequest

INSTALLED = Path(__file__).parent / "alembic"
"""Scripts in an installed package."""

CHECKOUT = Path(__file__).parents[4] / "alembic"
"""Scripts in a checkout of the repository."""


@attrs.frozen
class Options:
    """Where the scripts are, and how to wait for tables that are in use in Postgres.

    Attributes:
        scripts: Folder of the migrations.
        table: Seconds that a change waits for a table.
        pause: Seconds between two attempts.
        attempts: Most attempts.
    """

    scripts: Path = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    table: float = 1.0
    pause: float = 1.0
    attempts: int = 10

    def config(self) -> Config:
        """Return the configuration of alembic."""
        config = Config()
        config.set_main_option("script_location", str(self.scripts).replace("%", "%%"))
        return config


DEFAULT_OPTIONS = Options()


def head() -> str:
    """Return the newest revision."""
    return str(ScriptDirectory.from_config(DEFAULT_OPTIONS.config()).get_current_head())


def current(engine: Engine) -> str | None:
    """Return the revision of the database; None before the first.

    Raises:
        Unavailable: the database does not answer.
    """
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, revision: str = "head", options: Options = DEFAULT_OPTIONS) -> None:
    """Upgrade the database; each step is atomic, and in SQLite all steps together are.

    Through a pooler, only a database at the revision already is accepted.

    Raises:
        InvalidRequest: the revision is unknown or older.
        Conflict: the database is at a revision that this version does not know.
        Unavailable: the database does not answer, or a table stays locked.
    """
    if is_pooled(engine) and revision in ("head", head()) and current(engine) == head():
        return
    _migrate(engine, lambda config: command.upgrade(config, revision), options)


def downgrade(engine: Engine, revision: str, options: Options = DEFAULT_OPTIONS) -> None:
    """Downgrade the database, to no tables for ``base``; data that do not fit are lost.

    Raises:
        As `upgrade`.
    """
    # Once only: a second try would go back one more step than the first one did.
    once = attrs.evolve(options, attempts=1)
    _migrate(engine, lambda config: command.downgrade(config, revision), once)


def differences(engine: Engine) -> list[str]:
    """Return how the database differs from `tables`; empty when they agree.

    Raises:
        Unavailable: the database does not answer.
    """
    with reading(engine) as connection:
        ours = MigrationContext.configure(connection, opts={"include_object": _is_ours})
        found = compare_metadata(ours, metadata)
    return [str(difference) for difference in found]


def _is_ours(_: object, name: str | None, kind: str, reflected: bool, known: object) -> bool:
    """Ignore tables of other applications in the same database."""
    return not (kind == "table" and reflected and known is None)


def _migrate(engine: Engine, change: Callable[[Config], None], options: Options) -> None:
    """Run one alembic command, with at most one migration at a time.

    Changing a table waits for its users, and all later users wait behind it. So a change gives up
    after a second, lets them pass, and is tried again.
    """
    for left in reversed(range(options.attempts)):
        try:
            with migrating(engine, options) as connection:
                config = options.config()
                config.attributes["connection"] = connection
                change(config)
            return
        except CommandError as error:
            raise InvalidRequest(str(error), field="revision", code="unknown_revision") from None
        except Busy:
            if not left or engine.dialect.name == "sqlite":
                raise
            time.sleep(options.pause)


@contextmanager
def migrating(engine: Engine, options: Options = DEFAULT_OPTIONS) -> Iterator[Connection]:
    """Yield a connection for alembic; other migrations of this database wait.

    Raises:
        Conflict: the database is at a revision that this version does not know, or a pooler gives
            no session that could hold the lock.
        Unavailable: the database does not answer.
    """
    if is_pooled(engine):
        raise Conflict(
            "migrations need a session of the database, which a pooler does not give; use the URL "
            "of the server itself, with REBALANCER_DATABASE_POOLED=0",
            code="migration_through_pooler",
        )
    lock = _lock_sqlite if engine.dialect.name == "sqlite" else _lock_postgres
    with open_connection(engine) as connection, lock(connection, options):
        yield connection


@contextmanager
def _lock_sqlite(connection: Connection, options: Options) -> Iterator[None]:
    """Migrate in one write transaction.

    SQLite changes a table by replacing it, for which foreign keys must not be enforced; they are
    checked at the end instead.
    """
    _enforce_foreign_keys(connection, False)
    try:
        with connection.begin():
            _check_known(connection, options)
            yield
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise RuntimeError(f"the migration breaks foreign keys: {broken[:3]}")
    finally:
        _enforce_foreign_keys(connection, True)


@contextmanager
def _lock_postgres(connection: Connection, options: Options) -> Iterator[None]:
    """Hold an advisory lock; each step is a transaction of its own.

    The lock and the time-outs belong to the connection, which is closed at the end.
    """
    try:
        with connection.begin():
            for statement in (
                "SET statement_timeout = 0",  # large tables take a while
                "SET lock_timeout = 0",
                f"SELECT pg_advisory_lock({LOCK_KEY})",
                f"SET lock_timeout = {round(options.table * 1000)}",
            ):
                connection.exec_driver_sql(statement)
            _check_known(connection, options)
        yield
    finally:
        connection.invalidate()


LOCK_KEY = int.from_bytes(b"rebalanc", "big") >> 1
"""Key of the advisory lock of migrations."""


def _enforce_foreign_keys(connection: Connection, on: bool) -> None:
    """Set the pragma outside a transaction, where SQLite accepts it."""
    raw: Any = connection.connection.dbapi_connection
    raw.execute(f"PRAGMA foreign_keys = {on:d}").close()


def _check_known(connection: Connection, options: Options) -> None:
    scripts = ScriptDirectory.from_config(options.config())
    known = {script.revision for script in scripts.walk_revisions()}
    at = MigrationContext.configure(connection).get_current_revision()
    if at is not None and at not in known:
        raise Conflict(
            f"the database is at revision {at}, which this version of rebalancer does not know; "
            "use the version that wrote it or a newer one",
            code="schema_too_new",
        )
