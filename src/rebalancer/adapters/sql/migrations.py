"""From one version of the tables to the next, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from rebalancer.adapters.sql.engine import Busy, connected, reading
from rebalancer.adapters.sql.tables import metadata
from rebalancer.domain.errors import Conflict, InvalidRequest

_INSTALLED = Path(__file__).parent / "alembic"
_CHECKOUT = Path(__file__).parents[4] / "alembic"


def head() -> str:
    """The revision of this version's tables."""
    return str(_scripts(_config()).get_current_head())


def current(engine: Engine) -> str | None:
    """The revision that the database is at; None before the first.

    Raises:
        Unavailable: the database does not answer.
    """
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database forward: each step wholly or not at all, and in a file all of them.

    Raises:
        InvalidRequest: there is no way to this revision.
        Conflict: it is at a revision that this version does not know; says what to do.
        Unavailable: the database does not answer, or others never let go of a table.
    """
    _migrate(engine, lambda config: command.upgrade(config, revision))


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the database back, ``base`` being without tables; what does not fit there is lost.

    Raises:
        As `upgrade`.
    """
    # Not more than once: a step back from where the first try has come to would be another one.
    _migrate(engine, lambda config: command.downgrade(config, revision), tries=1)


def differences(engine: Engine) -> list[str]:
    """What distinguishes the database from `tables`; empty when they agree.

    Raises:
        Unavailable: the database does not answer.
    """
    with reading(engine) as connection:
        ours = MigrationContext.configure(connection, opts={"include_object": _is_ours})
        found = compare_metadata(ours, metadata)
    return [str(difference) for difference in found]


def _is_ours(_: object, name: str | None, kind: str, reflected: bool, known: object) -> bool:
    """Not the tables of others that share the database."""
    return not (kind == "table" and reflected and known is None)


def _migrate(engine: Engine, change: Callable[[Config], None], tries: int = 10) -> None:
    """Have alembic change the database, and nobody else at the same time.

    A change of a table waits for those who use it, and everybody else behind it: so it waits for a
    second only, and then lets them pass before it is tried again.
    """
    for left in reversed(range(tries)):
        try:
            with migrating(engine) as connection:
                config = _config()
                config.attributes["connection"] = connection
                change(config)
            return
        except CommandError as error:
            raise InvalidRequest(str(error), field="revision") from None
        except Busy:
            if not left or engine.dialect.name == "sqlite":
                raise
            time.sleep(_PAUSE)


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """A connection for alembic to work on, while nobody else does at the same database.

    Raises:
        Conflict: it is at a revision that this version does not know; says what to do.
        Unavailable: the database does not answer.
    """
    alone = _alone_in_sqlite if engine.dialect.name == "sqlite" else _alone_in_postgres
    with connected(engine) as connection, alone(connection):
        yield connection


@contextmanager
def _alone_in_sqlite(connection: Connection) -> Iterator[None]:
    """A writer is alone.

    SQLite changes a table by making another in its place, for which foreign keys must not be
    enforced; that they hold is checked at the end instead.
    """
    _enforce_foreign_keys(connection, False)
    try:
        with connection.begin():
            _check_known(connection)
            yield
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise RuntimeError(
                    f"the migration leaves rows without what they refer to: {broken[:3]}"
                )
    finally:
        _enforce_foreign_keys(connection, True)


@contextmanager
def _alone_in_postgres(connection: Connection) -> Iterator[None]:
    """A second migration waits for the first; each step is a transaction of its own.

    The lock, and how long statements may take, are the connection's: it is given up at the end.
    """
    try:
        with connection.begin():
            for statement in (
                "SET statement_timeout = 0",  # large tables take a while, and so do others
                "SET lock_timeout = 0",
                f"SELECT pg_advisory_lock({_OURS})",
                f"SET lock_timeout = {round(_LOCKED * 1000)}",
            ):
                connection.exec_driver_sql(statement)
            _check_known(connection)
        yield
    finally:
        connection.invalidate()


_OURS = int.from_bytes(b"rebalanc", "big") >> 1
"""What migrations agree to lock, among all who use the database."""

_LOCKED, _PAUSE = 1.0, 1.0
"""Seconds that a change of a table waits for those who use it, and leaves to them after that."""


def _enforce_foreign_keys(connection: Connection, on: bool) -> None:
    """Outside of a transaction, where SQLite listens; SQLAlchemy would begin one."""
    raw: Any = connection.connection.dbapi_connection
    raw.execute(f"PRAGMA foreign_keys = {on:d}").close()


def _check_known(connection: Connection) -> None:
    known = {script.revision for script in _scripts(_config()).walk_revisions()}
    at = MigrationContext.configure(connection).get_current_revision()
    if at is not None and at not in known:
        raise Conflict(
            f"the database is at revision {at}, which this version of rebalancer does not know: "
            "use the version that wrote it, or a newer one"
        )


def _config() -> Config:
    config = Config()
    folder = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _scripts(config: Config) -> ScriptDirectory:
    return ScriptDirectory.from_config(config)
