"""Connections to the database, SQLite or Postgres, and what its errors mean to us."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import URL, Connection, Engine, RootTransaction, Table, create_engine, event
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, TimeoutError
from sqlalchemy.schema import PrimaryKeyConstraint, UniqueConstraint

from rebalancer.adapters.sql.tables import metadata
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError, Unavailable
from rebalancer.domain.portfolio.ledger import Overdrawn
from rebalancer.domain.portfolio.owner import EmailTaken

log = logging.getLogger("rebalancer.database")

_READ_ONLY = "rebalancer_read_only"
"""Execution option of connections that may not write."""

PATIENCE = 5.0
"""Seconds that a transaction waits for another writer, or for a free connection."""

POOL = 10
"""Connections to a server that a process may hold."""

STATEMENT_TIMEOUT = 30.0
"""Seconds that a server may take for one statement."""


class Busy(Unavailable):
    """The database is there, but somebody else holds what is needed: again in a moment."""


_MEANING: dict[str, RebalancerError] = {
    "uq_users_email": EmailTaken("this address is registered already; log in instead"),
    "uq_ledger_entries_portfolio_id": Conflict("this is in the ledger already"),
    "pk_idempotency_keys": Conflict(
        "a request with this Idempotency-Key is being carried out; try again"
    ),
    "ck_portfolios_cash": Overdrawn("cash would be less than nothing"),
}
"""What it means that a constraint is broken, of those that somebody may meet who did nothing wrong.

Of others, that a thing is there already, or what it refers to is not. What is no number, or
contradicts itself in another way, the domain has let through: that is a bug.
"""

_UNIQUE = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): constraint.name
    for table in metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
}
"""SQLite names the columns of a broken constraint; this is what they are called together."""

_AWAY = "the database did not answer; try again"
_BUSY = "the database is busy; try again"
_SLOW = "the database took too long to answer; try again"
_TABLES = "the database lacks a table or a column: run `rebalancer db upgrade`"
_TAKEN = "the database has no connection to spare; try again"
_FULL = "the database has no room left; free some, and try again"
_READS = "the database can be read only at present; try again"

_NUL = "text must not contain the character U+0000"

_OTHERS = Conflict("the database has tables of others under our names; use one of our own")
_THERE = Conflict("this is kept already")
_GONE = Conflict("what this belongs to is not there, or not any more")

_SQLSTATES = {
    "40001": _BUSY,  # serialization_failure
    "40P01": _BUSY,  # deadlock_detected
    "55P03": _BUSY,  # lock_not_available
    "57014": _SLOW,  # query_canceled
    "53100": _FULL,  # disk_full
    "53300": _TAKEN,  # too_many_connections
    "42P01": _TABLES,  # undefined_table
    "42703": _TABLES,  # undefined_column
    "25006": _READS,  # read_only_sql_transaction
}
"""What Postgres's codes mean; see its documentation, appendix A."""

_CLASSES = {
    "08": _AWAY,  # connection exceptions
    "28": _AWAY,  # nobody is let in with this name or password
    "3D": _AWAY,  # there is no database of this name
    "53": _BUSY,  # insufficient resources
    "57": _AWAY,  # an operator, or a crash, has intervened
    "58": _AWAY,  # system errors, such as of a disk
}
"""And what all of a class mean, but for those."""

_SQLITE = {
    "BUSY": _BUSY,
    "LOCKED": _BUSY,
    "FULL": _FULL,
    "READONLY": _READS,
    "IOERR": _AWAY,
    "CANTOPEN": _AWAY,
    "NOTADB": _AWAY,
    "CORRUPT": _AWAY,
    "PROTOCOL": _BUSY,
}
"""What SQLite's primary codes mean; see https://www.sqlite.org/rescode.html."""

_NO_SUCH = ("no such table", "no such column")


def connect(url: str, *, pool: int = POOL, statement_timeout: float = STATEMENT_TIMEOUT) -> Engine:
    """A pool of connections to a database, for any number of threads; it opens none yet.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user@host/name``.
        pool: Connections to a server at most; of a file, which nobody else shares, up to 64.
        statement_timeout: Seconds that a server may take for one statement.

    Raises:
        InvalidRequest: the URL is malformed, or of another kind.
        Unavailable: the client of a server is not installed; says how to install it.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidRequest(_EXPECTED, field="database") from None
    kind = parsed.get_backend_name()
    if kind == "postgresql" and parsed.database:
        return _server(parsed.set(drivername="postgresql+psycopg"), pool, statement_timeout)
    if kind != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise InvalidRequest(_EXPECTED, field="database")
    return _file(parsed)


def _file(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": PATIENCE},
        pool_size=8,
        max_overflow=56,
        pool_timeout=PATIENCE,
        **_DOCUMENTS,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _translated)
    return engine


def _server(url: URL, pool: int, statement_timeout: float) -> Engine:
    """Connections that the server itself ends no sooner than we do, and that know their limits.

    A lock is waited for no longer than `PATIENCE`, and a transaction that its process forgot ends
    after a while, so that nobody is kept waiting by somebody who is gone.
    """
    limits = {
        "statement_timeout": round(statement_timeout * 1000),
        "lock_timeout": round(PATIENCE * 1000),
        "idle_in_transaction_session_timeout": 60_000,
        "timezone": "UTC",
    }
    given = url.query.get("options", "")
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    try:
        engine = create_engine(
            url,
            # The client says what it is, and notices within seconds that a server is gone.
            connect_args={
                "connect_timeout": max(1, round(PATIENCE)),
                "options": f"{options} {given}".strip(),
                "application_name": "rebalancer",
                "keepalives_idle": 30,
                "tcp_user_timeout": 30_000,
            },
            isolation_level="AUTOCOMMIT",  # we say when a transaction begins, and of which kind
            pool_size=pool,
            max_overflow=0,
            pool_timeout=PATIENCE,
            pool_recycle=1800,
            **_DOCUMENTS,
        )
    except (ImportError, NoSuchModuleError):
        raise Unavailable(
            "the client of Postgres is not installed: pip install 'rebalancer[servers]'"
        ) from None
    event.listen(engine, "begin", _begin_at_server)
    event.listen(engine, "handle_error", _translated)
    return engine


_DOCUMENTS: dict[str, Any] = {
    "json_serializer": lambda value: msgspec.json.encode(value).decode(),
    "json_deserializer": lambda document: document,  # stores decode them to what they stand for
}


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that is kept if the block ends well.

    Raises:
        Unavailable: the database does not answer, or is busy for too long.
    """
    connection, transaction = _begun(engine, reads=False)
    with connection, transaction:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one moment, waits for no writer, and cannot write.

    Raises:
        Unavailable: the database does not answer.
    """
    connection, transaction = _begun(engine, reads=True)
    with connection, transaction:
        yield connection


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """A connection of the pool, in no transaction yet.

    Raises:
        Unavailable: none is free, or the database does not answer.
    """
    with _connection(engine) as connection:
        yield connection


def upserted(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, each in the place of one with the same key.

    Args:
        connection: In a transaction that writes.
        table: Where to.
        rows: All with the same columns, at least one.
    """
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest), rows)


def _begun(engine: Engine, *, reads: bool) -> tuple[Connection, RootTransaction]:
    """A transaction, and the connection that it is in.

    A connection of the pool may have died with the server that it led to. It is found out here,
    where nothing has been done yet, so that a new one can take its place unnoticed.
    """
    for last in (False, True):
        connection = _connection(engine)
        connection.execution_options(**{_READ_ONLY: reads})
        try:
            return connection, connection.begin()
        except BaseException as error:
            dead = connection.invalidated
            connection.close()
            if last or not (dead and isinstance(error, Unavailable)):
                raise
    raise AssertionError("the second time is the last")


def _connection(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except TimeoutError:
        raise Unavailable("the database is busy: no connection is free; try again") from None


_EXPECTED = (
    "expected the path of a file, such as sqlite:///rebalancer.db, or a server, such as "
    "postgresql://user:password@host/rebalancer"
)


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


def _begin_at_server(connection: Connection) -> None:
    """A reader sees one moment; a writer sees what is committed, and holds what it reads by id."""
    reads = connection.get_execution_options().get(_READ_ONLY, False)
    driver: Any = connection.connection.driver_connection
    # Straight to libpq, as it is said with every request.
    if not driver.closed and driver.pgconn.exec_(_READER if reads else _WRITER).status == _DONE:
        return
    connection.exec_driver_sql("SELECT 1")  # which says in our words what is wrong
    # It answers, and lets nobody write: as one that has become a standby of another. Who asks for
    # a new connection may be led to that one.
    connection.invalidate()
    raise Unavailable(_READS)


_READER = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITER = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_DONE = 1
"""libpq's PGRES_COMMAND_OK."""


def _translated(context: ExceptionContext) -> RebalancerError | None:
    """What an error of the database means to us; None of a bug, which stays what it is."""
    if not isinstance(context.sqlalchemy_exception, DBAPIError):
        return None
    return meaning_of(context.original_exception)


def meaning_of(original: Any) -> RebalancerError | None:
    """What an error of the driver means to us; None if it is a bug.

    What the driver says is for operators, in the log: it names servers and quotes what people keep.
    """
    found = (
        _meaning_of_sqlite(original)
        if hasattr(original, "sqlite_errorname")
        else _meaning_at_server(original)
    )
    if isinstance(found, Unavailable):
        log.warning("%s: %s", found, str(original).partition("\n")[0])
    return found


def _meaning_at_server(original: Any) -> RebalancerError | None:
    state = getattr(original, "sqlstate", None)
    if state is None:  # it comes from the client, which has no codes
        said = str(original)
        if "too many c" in said or "connection slots" in said:
            return Unavailable(_TAKEN)
        if type(original).__name__ == "DataError" and "NUL" in said:
            return InvalidRequest(_NUL)
        lost = type(original).__name__ in ("OperationalError", "InterfaceError")
        return Unavailable(_AWAY) if lost else None
    if state in ("23505", "23514"):  # unique_violation, check_violation
        known = _MEANING.get(original.diag.constraint_name)
        return _again(known) if known else _again(_THERE) if state == "23505" else None
    if state == "42P07":  # duplicate_table
        return _again(_OTHERS)
    if state in ("22021", "22P05"):  # character_not_in_repertoire, untranslatable_character
        return InvalidRequest(_NUL)
    if state == "23503":  # foreign_key_violation
        return _again(_GONE)
    return _unavailable(_SQLSTATES.get(state) or _CLASSES.get(state[:2]))


def _meaning_of_sqlite(original: Any) -> RebalancerError | None:
    kind, said = original.sqlite_errorname.split("_"), str(original)
    broken = said.partition("failed: ")[2]
    match kind[1:]:
        case ["CONSTRAINT", "UNIQUE" | "PRIMARYKEY"]:
            return _again(_MEANING.get(str(_UNIQUE.get(broken)), _THERE))
        case ["CONSTRAINT", "FOREIGNKEY"]:
            return _again(_GONE)
        case ["CONSTRAINT", "CHECK"] if broken in _MEANING:
            return _again(_MEANING[broken])
        case ["ERROR"] if said.endswith(" already exists"):
            return _again(_OTHERS)
        case ["ERROR"] if said.startswith(_NO_SUCH) or "has no column" in said:
            return Unavailable(_TABLES)
    return _unavailable(_SQLITE.get(kind[1]))


def _unavailable(told: str | None) -> Unavailable | None:
    if told is None:
        return None
    return Busy(told) if told == _BUSY else Unavailable(told)


def _again(meaning: RebalancerError) -> RebalancerError:
    """The same error as a new one, since each that is raised remembers where."""
    return copy.copy(meaning)
