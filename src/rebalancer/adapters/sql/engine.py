"""Connections to SQLite or Postgres, and the translation of their errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Engine, RootTransaction, Table, create_engine, event
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, TimeoutError

from rebalancer.adapters.sql.errors import ERRORS, translate_error
from rebalancer.adapters.sql.probe import note_damage, note_file
from rebalancer.domain.errors import InvalidRequest, RebalancerError, Unavailable

_READ_ONLY = "rebalancer_read_only"
"""Execution option of read-only connections."""

_POOLED = "rebalancer_pooled"
"""Execution option of engines without sessions of their own."""

LOCK_TIMEOUT = 5.0
"""Seconds that a transaction waits for another writer, or for a free connection."""

POOL_SIZE = 10
"""Most connections to a server per process."""

BEGIN_WRITER = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
"""Postgres's statement that begins a transaction that writes."""

STATEMENT_TIMEOUT = 30.0
"""Seconds that a server may take for one statement."""

_NETWORK_TIMEOUT = 4
"""Seconds in which a server must accept a connection, and its system must acknowledge packets.

A request that finds a dead connection waits for both, as it connects again once.
"""


def connect(
    url: str,
    *,
    pool: int = POOL_SIZE,
    statement_timeout: float = STATEMENT_TIMEOUT,
    lock_timeout: float = LOCK_TIMEOUT,
    begin_writer: str = BEGIN_WRITER,
    pooled: bool = False,
) -> Engine:
    """Return a thread-safe connection pool; it connects at first use.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user@host/name``.
        pool: Most connections to a server; a SQLite file has up to 64.
        statement_timeout: Seconds that a server may take for one statement.
        lock_timeout: Seconds to wait for a lock, a free connection, or the server's answer.
        begin_writer: Statement that begins a transaction that writes in Postgres.
        pooled: Whether the URL leads to a pooler that may give each transaction another session of
            the server. No session options are sent, so the time-outs are those of the role.

    Raises:
        InvalidRequest: the URL is malformed, or of an unknown kind.
        Unavailable: the client of the server is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _invalid_url() from None
    kind = parsed.get_backend_name()
    if kind == "postgresql" and parsed.database:
        server = parsed.set(drivername="postgresql+psycopg")
        timeouts = None if pooled else (statement_timeout, lock_timeout)
        return _connect_postgres(server, pool, lock_timeout, begin_writer, timeouts)
    if kind != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise _invalid_url()
    return _connect_sqlite(parsed, lock_timeout)


def _connect_sqlite(url: URL, lock_timeout: float) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": lock_timeout},
        pool_size=8,
        max_overflow=56,
        pool_timeout=lock_timeout,
        **_OPTIONS,
    )
    database = url.database or ""
    if not database.startswith("file:"):
        path = Path(database)
        event.listen(engine, "do_connect", lambda *_: _create_private(path))
        event.listen(engine, "connect", lambda _, record: note_file(record, path))
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _translate)
    return engine


def _connect_postgres(
    url: URL,
    pool: int,
    patience: float,
    begin_writer: str,
    timeouts: tuple[float, float] | None,
) -> Engine:
    """Connect with time-outs that the server enforces.

    ``timeouts`` are those of a statement and of a lock, in seconds; None: a pooler keeps no session
    to set them in. ``patience`` is the time to wait for a free connection.
    """
    try:
        engine = create_engine(
            url,
            connect_args={
                "connect_timeout": max(1, min(_NETWORK_TIMEOUT, round(patience))),
                "application_name": "rebalancer",
                # A server that answers no packets is noticed within seconds, also while a statement
                # runs, which leaves its system free to answer.
                "tcp_user_timeout": _NETWORK_TIMEOUT * 1000,
                "keepalives_idle": _NETWORK_TIMEOUT,
                "keepalives_interval": 2,
                **(_pooled_session() if timeouts is None else _own_session(url, *timeouts)),
            },
            isolation_level="AUTOCOMMIT",  # `_begin_postgres` starts transactions
            pool_size=pool,
            max_overflow=0,
            pool_timeout=patience,
            pool_recycle=1800,
            execution_options={_POOLED: True} if timeouts is None else {},
            **_OPTIONS,
        )
    except (ImportError, NoSuchModuleError):
        raise Unavailable(
            "the client of Postgres is not installed; install rebalancer[servers]",
            code="package_missing",
        ) from None
    writer = begin_writer.encode()
    event.listen(engine, "connect", _check_encoding, insert=True)  # before SQLAlchemy reads text
    event.listen(engine, "begin", lambda connection: _begin_postgres(connection, writer))
    event.listen(engine, "handle_error", _translate)
    return engine


def _own_session(url: URL, statement_timeout: float, lock_timeout: float) -> dict[str, Any]:
    """Return the arguments of a connection with a session of the server.

    A transaction whose process died ends after a minute, so that its locks do not stay.
    """
    limits = {
        "statement_timeout": round(statement_timeout * 1000),
        "lock_timeout": round(lock_timeout * 1000),
        "idle_in_transaction_session_timeout": 60_000,
        "timezone": "UTC",
    }
    given = url.query.get("options", "")
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    return {"options": f"{options} {given}".strip()}


def _pooled_session() -> dict[str, Any]:
    """Return the arguments of a connection whose transactions may have different sessions."""
    return {"prepare_threshold": None}


def is_pooled(engine: Engine) -> bool:
    """Return whether a pooler may give each transaction another session."""
    return _POOLED in engine.get_execution_options()


_OPTIONS: dict[str, Any] = {
    "hide_parameters": True,  # errors are logged, and parameters hold hashes and addresses
    "json_serializer": lambda value: msgspec.json.encode(value).decode(),
    "json_deserializer": lambda document: document,  # `rows` decodes them
}


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Run a block in a transaction; commit unless it raises.

    Raises:
        Unavailable: the database does not answer, or is busy for too long.
    """
    connection, transaction = _begin(engine, read_only=False)
    with connection, transaction:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Run a block in a read-only transaction over one snapshot; it waits for no writer.

    Raises:
        Unavailable: the database does not answer.
    """
    connection, transaction = _begin(engine, read_only=True)
    with connection, transaction:
        yield connection


def open_connection(engine: Engine) -> Connection:
    """Return a connection of the pool, outside a transaction; close it after use.

    Raises:
        Unavailable: no connection is free, or the database does not answer.
    """
    try:
        return engine.connect()
    except TimeoutError:
        raise ERRORS["no connection"]() from None


def watch_pool(engine: Engine, note: Callable[[int], None]) -> int:
    """Call ``note`` with the number of connections in use, now and whenever it changes.

    Returns:
        The most connections that there may be.
    """
    pool: Any = engine.pool  # of a kind that counts, see `connect`
    note(pool.checkedout())
    event.listen(engine, "checkout", lambda *_: note(pool.checkedout()))
    # The connection that comes back still counts as one in use.
    event.listen(engine, "checkin", lambda *_: note(pool.checkedout() - 1))
    return int(pool.size() + pool._max_overflow)


def clear_log(engine: Engine) -> None:
    """Empty SQLite's write-ahead log, which keeps deleted rows until they are overwritten.

    Other processes that are reading or writing delay it until the log is next copied.
    """
    if engine.dialect.name == "sqlite":
        with suppress(RebalancerError), open_connection(engine) as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, at least one and all with the same columns; replace those with the same key."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest), rows)


def add_missing(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same key exists; return whether it was inserted."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = insert(table).values(row).on_conflict_do_nothing()
    options = {"preserve_rowcount": True}
    return connection.execute(statement, execution_options=options).rowcount == 1


def _begin(engine: Engine, *, read_only: bool) -> tuple[Connection, RootTransaction]:
    """Begin a transaction.

    A pooled connection may have died with its server. That is found here, before any work was
    done, so a new connection can replace it.
    """
    for last in (False, True):
        connection = open_connection(engine)
        connection.execution_options(**{_READ_ONLY: read_only})
        try:
            return connection, connection.begin()
        except BaseException as error:
            dead = connection.invalidated
            connection.close()
            if last or not (dead and isinstance(error, Unavailable)):
                raise
    raise AssertionError("the second attempt returns or raises")


def _invalid_url() -> InvalidRequest:
    return InvalidRequest(
        "the URL names no database; write a file, such as sqlite:///rebalancer.db, or a server, "
        "such as postgresql://user:password@host/rebalancer",
        field="database",
        code="invalid_database_url",
    )


def _create_private(path: Path) -> None:
    """Create a missing SQLite file such that only its owner can read it.

    SQLite gives the files beside it the same permissions. An existing file must not be opened here:
    closing any descriptor of it releases all locks that SQLite holds in this process, see
    https://www.sqlite.org/howtocorrupt.html, section 2.2.
    """
    with suppress(OSError):  # it exists, or SQLite reports it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _set_pragmas(connection: Any, _: object) -> None:
    """Prepare a new connection: explicit transactions, and enforced foreign keys.

    In WAL mode readers see one snapshot and never wait; only writers wait for each other. With
    synchronous=FULL a transaction that was answered survives a crash of the machine. Deleted rows
    are overwritten, which only some builds of SQLite do by default.
    """
    connection.isolation_level = None
    pragmas = "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin; a writer takes the write lock at once, so that its reads stay valid."""
    reads = connection.get_execution_options().get(_READ_ONLY, False)
    if connection.info.get(_READ_ONLY, False) != reads:
        connection.exec_driver_sql(f"PRAGMA query_only = {reads:d}")
        connection.info[_READ_ONLY] = reads
    if reads:  # the most frequent case, which cannot fail: straight to the driver
        connection.connection.cursor().execute("BEGIN").close()
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_postgres(connection: Connection, writer: bytes) -> None:
    """Begin; a reader sees one snapshot, a writer sees committed rows and locks them."""
    reads = connection.get_execution_options().get(_READ_ONLY, False)
    driver: Any = connection.connection.driver_connection
    # Straight to libpq, as every request does it.
    if not driver.closed and driver.pgconn.exec_(_READER if reads else writer).status == _DONE:
        return
    connection.exec_driver_sql("SELECT 1")  # raises the translated error if the connection is dead
    # The server answers but rejects writes, as after it became a standby. A new connection may lead
    # to the new primary.
    connection.invalidate()
    raise ERRORS["read-only"]()


_READER = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_DONE = 1
"""libpq's PGRES_COMMAND_OK."""


def _check_encoding(connection: Any, _: object) -> None:
    """Reject a database whose text the driver returns as bytes.

    Raises:
        Unavailable: the database has the encoding SQL_ASCII.
    """
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        connection.close()
        raise ERRORS["encoding"]()


def _translate(context: ExceptionContext) -> RebalancerError | None:
    """Translate an error of the database; None keeps an unknown one, which is a bug."""
    if not isinstance(context.sqlalchemy_exception, DBAPIError):
        return None
    original: Any = context.original_exception
    error = translate_error(original)
    if error is not None and error.code == "database_damaged" and context.engine is not None:
        note_damage(context.engine.pool)
    if getattr(original, "diag", None) is not None and original.diag.message_detail:
        _conceal_row(original, context.sqlalchemy_exception)
    return error


def _conceal_row(original: Any, wrapper: DBAPIError) -> None:
    """Remove the row that Postgres quotes in the detail of an error, which is logged."""
    text = str(original.diag.message_primary or original).partition("\n")[0]
    original.args = (text,)
    wrapper.args = (f"({type(original).__name__}) {text}",)
