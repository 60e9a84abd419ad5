"""From one version of the tables to the next, and back."""

from __future__ import annotations

from collections.abc import Iterator
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

from rebalancer.adapters.sql.engine import connected, reading
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
    """Bring the database forward, all the way or not at all.

    Raises:
        InvalidRequest: there is no way to this revision.
        Conflict: it is at a revision that this version does not know; says what to do.
        Unavailable: the database does not answer.
    """
    with _migrating(engine) as config:
        command.upgrade(config, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the database back, ``base`` being without tables; what does not fit there is lost.

    Raises:
        InvalidRequest: there is no way to this revision.
        Conflict: it is at a revision that this version does not know; says what to do.
        Unavailable: the database does not answer.
    """
    with _migrating(engine) as config:
        command.downgrade(config, revision)


def differences(engine: Engine) -> list[str]:
    """What distinguishes the database from `tables`; empty when they agree.

    Raises:
        Unavailable: the database does not answer.
    """
    with reading(engine) as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    return [str(difference) for difference in found]


@contextmanager
def _migrating(engine: Engine) -> Iterator[Config]:
    """Alembic at work in one transaction, at a known revision, and nobody else at the same."""
    config = _config()
    alone = _alone_in_sqlite if engine.dialect.name == "sqlite" else _alone_in_postgres
    with connected(engine) as connection, alone(connection):
        _check_known(config, connection)
        config.attributes["connection"] = connection
        try:
            yield config
        except CommandError as error:
            raise InvalidRequest(str(error), field="revision") from None


@contextmanager
def _alone_in_sqlite(connection: Connection) -> Iterator[None]:
    """A writer is alone.

    SQLite changes a table by making another in its place, for which foreign keys must not be
    enforced; that they hold is checked at the end instead.
    """
    _enforce_foreign_keys(connection, False)
    try:
        with connection.begin():
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
    """A second migration waits for the first.

    Servers may be at work meanwhile. A change of a table waits for them as briefly as any statement
    does, see `connect`: who waits for long for a lock makes everybody else wait behind.
    """
    with connection.begin():
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # large tables take a while
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_OURS})")
        yield


_OURS = int.from_bytes(b"rebalanc", "big") >> 1
"""What migrations agree to lock, among all who use the database."""


def _enforce_foreign_keys(connection: Connection, on: bool) -> None:
    """Outside of a transaction, where SQLite listens; SQLAlchemy would begin one."""
    raw: Any = connection.connection.dbapi_connection
    raw.execute(f"PRAGMA foreign_keys = {on:d}").close()


def _check_known(config: Config, connection: Connection) -> None:
    known = {script.revision for script in _scripts(config).walk_revisions()}
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
