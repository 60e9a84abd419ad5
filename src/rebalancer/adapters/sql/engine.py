"""Connections to the database, and what its errors mean to us."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, TimeoutError
from sqlalchemy.schema import PrimaryKeyConstraint, UniqueConstraint

from rebalancer.adapters.sql.tables import metadata
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError, Unavailable
from rebalancer.domain.portfolio.owner import EmailTaken

_READ_ONLY = "rebalancer_read_only"
"""Execution option of connections that may not write."""

PATIENCE = 5.0
"""Seconds that a transaction waits for another writer, or for a free connection."""

_MEANING: dict[str, RebalancerError] = {
    "uq_users_email": EmailTaken("this address is registered already; log in instead"),
    "uq_ledger_entries_portfolio_id": Conflict("this is in the ledger already"),
    "pk_idempotency_keys": Conflict(
        "a request with this Idempotency-Key is being carried out; try again"
    ),
}
"""What it means that a constraint is broken; of all others, that it is a contradiction."""

_UNIQUE = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): constraint.name
    for table in metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
}
"""SQLite names the columns of a broken constraint; this is what they are called together."""


def connect(url: str) -> Engine:
    """A pool of connections to ``sqlite:///path``, for any number of threads; it opens none yet.

    Raises:
        InvalidRequest: the URL is malformed, or of another kind.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidRequest(_EXPECTED, field="database") from None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise InvalidRequest(_EXPECTED, field="database")
    engine = create_engine(
        parsed,
        connect_args={"timeout": PATIENCE},
        pool_size=8,
        max_overflow=56,
        pool_timeout=PATIENCE,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=str,  # stores decode documents to what they stand for
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _translated)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is kept if the block ends well.

    Raises:
        Unavailable: the database does not answer, or is busy for too long.
    """
    with connected(engine) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment, waits for no writer, and cannot write.

    Raises:
        Unavailable: the database does not answer.
    """
    with connected(engine) as connection:
        connection.execution_options(**{_READ_ONLY: True})
        with connection.begin():
            yield connection


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection of the pool, in no transaction yet.

    Raises:
        Unavailable: none is free, or the database does not answer.
    """
    try:
        connection = engine.connect()
    except TimeoutError:
        raise Unavailable("the database is busy: no connection is free; try again") from None
    with connection:
        yield connection


_EXPECTED = "expected the path of a file, such as sqlite:///rebalancer.db"


def _set_up(connection: Any, _: object) -> None:
    """Each new connection: we say when a transaction begins, and SQLite checks foreign keys.

    In WAL mode readers see one moment and wait for nobody; only writers wait for each other. With
    synchronous=NORMAL a crash of the machine may lose the last transactions but never half of one.
    """
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    """A writer takes its turn at once, so that what it reads cannot change under its hands."""
    reads = connection.get_execution_options().get(_READ_ONLY, False)
    if connection.info.get(_READ_ONLY, False) != reads:
        connection.exec_driver_sql(f"PRAGMA query_only = {reads:d}")
        connection.info[_READ_ONLY] = reads
    if reads:  # which cannot fail, and is what most requests do: straight to the driver
        connection.connection.cursor().execute("BEGIN").close()
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _translated(context: ExceptionContext) -> RebalancerError | None:
    """What an error of the database means to us; None for what is no error of the database."""
    if not isinstance(context.sqlalchemy_exception, DBAPIError):
        return None
    said = str(context.original_exception).partition("\n")[0]
    if isinstance(context.sqlalchemy_exception, IntegrityError):
        broken = str(_UNIQUE.get(said.partition("failed: ")[2]))
        meaning = _MEANING.get(broken) or Conflict(f"the database refuses it ({said})")
        return type(meaning)(*meaning.args)
    if re.match("no such (table|column)|table .* has no column", said):
        return Unavailable("the database lacks a table or a column: run `rebalancer db upgrade`")
    if "locked" in said or "busy" in said:
        return Unavailable("the database is busy; try again")
    return Unavailable(f"the database did not answer: {said}")
