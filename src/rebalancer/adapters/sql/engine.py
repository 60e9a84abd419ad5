"""Connections to SQLite or Postgres, and the translation of their errors."""

from __future__ import annotations

import logging
import os
import re
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
from sqlalchemy.schema import PrimaryKeyConstraint, UniqueConstraint

from rebalancer.adapters.sql.probe import damaged, note_damage, note_file
from rebalancer.adapters.sql.tables import metadata
from rebalancer.application.secure_connections import describe_certificate_fault
from rebalancer.domain.accounts.factors import PasskeyTaken
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError, Unavailable
from rebalancer.domain.portfolio.ledger import Overdrawn
from rebalancer.domain.portfolio.owner import EmailTaken

log = logging.getLogger("rebalancer.database")

_READ_ONLY = "rebalancer_read_only"
"""Execution option of read-only connections."""

LOCK_TIMEOUT = 5.0
"""Seconds that a transaction waits for another writer, or for a free connection."""

POOL_SIZE = 10
"""Most connections to a server per process."""

BEGIN_WRITER = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
"""Postgres's statement that begins a transaction that writes."""

STATEMENT_TIMEOUT = 30.0
"""Seconds that a server may take for one statement."""


class Busy(Unavailable):
    """Another transaction holds what this one needs; a retry may succeed at once."""

    default_code = "database_busy"


_ERRORS: Mapping[str, Callable[[], RebalancerError]] = {
    "away": lambda: Unavailable(
        "the database did not answer; try again", code="database_unavailable"
    ),
    "busy": lambda: Busy("the database is busy; try again"),
    "damaged": damaged,
    "duplicate": lambda: Conflict("this exists already", code="already_exists"),
    "foreign tables": lambda: Conflict(
        "the database contains tables with these names from another application; use a separate "
        "database",
        code="foreign_tables",
    ),
    "full": lambda: Unavailable(
        "the database is full; free some space, then try again", code="disk_full"
    ),
    "invalid text": lambda: InvalidRequest(
        "text must not contain the character U+0000", code="invalid_text"
    ),
    "no connection": lambda: Unavailable(
        "the database has no free connection; try again", code="database_connections_exhausted"
    ),
    "no parent": lambda: Conflict(
        "the object that this belongs to no longer exists", code="parent_missing"
    ),
    "outdated": lambda: Unavailable(
        "the database lacks a table or a column; upgrade the database", code="schema_outdated"
    ),
    "no privilege": lambda: Unavailable(
        "the database role lacks a privilege for this; use the role that owns the tables",
        code="database_privilege_missing",
    ),
    "read-only": lambda: Unavailable(
        "the database is read-only at present; try again", code="database_read_only"
    ),
    "slow": lambda: Unavailable("the database took too long; try again", code="database_timeout"),
    "uq_users_email": lambda: EmailTaken("this e-mail address is already registered; log in"),
    "uq_passkeys_credential": lambda: PasskeyTaken(
        "this passkey is registered already; sign in with it"
    ),
    "uq_users_email_index": lambda: EmailTaken("this e-mail address is already registered; log in"),
    "uq_ledger_entries_portfolio_id": lambda: Conflict(
        "the entry is in the ledger already", code="duplicate_entry"
    ),
    "pk_idempotency_keys": lambda: Conflict(
        "a request with this idempotency key is running; try again", code="request_running"
    ),
    # Databases and Python may differ in the lower case of a letter.
    "ck_users_lower_case": lambda: InvalidRequest(
        "invalid e-mail address; write it in lower case", field="email", code="invalid_email"
    ),
    "ck_portfolios_cash": lambda: Overdrawn("cash would be negative; deposit more first"),
}
"""Errors that callers understand, by kind or by the constraint that a correct client can violate.

Other unique and foreign keys mean that a row exists already, or that its parent is missing. A
violated check means that the domain let an invalid value through, which is a bug.
"""

_UNIQUE = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): constraint.name
    for table in metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
}
"""Names of unique constraints by their columns, which is all that SQLite reports."""

_SQLSTATES = {
    "40001": "busy",  # serialization_failure
    "40P01": "busy",  # deadlock_detected
    "55P03": "busy",  # lock_not_available
    "57014": "slow",  # query_canceled
    "53100": "full",  # disk_full
    "53300": "no connection",  # too_many_connections
    "42P01": "outdated",  # undefined_table
    "42703": "outdated",  # undefined_column
    "25006": "read-only",  # read_only_sql_transaction
    "42501": "no privilege",  # insufficient_privilege
    "42P07": "foreign tables",  # duplicate_table
    "22021": "invalid text",  # character_not_in_repertoire
    "22P05": "invalid text",  # untranslatable_character
    "23503": "no parent",  # foreign_key_violation
    "XX001": "damaged",  # data_corrupted
    "XX002": "damaged",  # index_corrupted
}
"""Meaning of Postgres's error codes; see its documentation, appendix A."""

_SQLSTATE_CLASSES = {
    "08": "away",  # connection exceptions
    "28": "away",  # the login is invalid
    "3D": "away",  # the database does not exist
    "53": "busy",  # insufficient resources
    "57": "away",  # operator intervention, or a crash
    "58": "away",  # system errors, such as of a disk
}
"""Meaning of all other codes of a class."""

_SQLITE = {
    **dict.fromkeys(("BUSY", "LOCKED", "PROTOCOL"), "busy"),
    **dict.fromkeys(("IOERR", "CANTOPEN", "NOTADB"), "away"),
    "CORRUPT": "damaged",
    "FULL": "full",
    "READONLY": "read-only",
}
"""Meaning of SQLite's primary codes; see https://www.sqlite.org/rescode.html."""


def connect(
    url: str,
    *,
    pool: int = POOL_SIZE,
    statement_timeout: float = STATEMENT_TIMEOUT,
    lock_timeout: float = LOCK_TIMEOUT,
    begin_writer: str = BEGIN_WRITER,
) -> Engine:
    """Return a thread-safe connection pool; it connects at first use.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user@host/name``.
        pool: Most connections to a server; a SQLite file has up to 64.
        statement_timeout: Seconds that a server may take for one statement.
        lock_timeout: Seconds to wait for a lock, a free connection, or the server's answer.
        begin_writer: Statement that begins a transaction that writes in Postgres.

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
        return _connect_postgres(server, pool, statement_timeout, lock_timeout, begin_writer)
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
    url: URL, pool: int, statement_timeout: float, lock_timeout: float, begin_writer: str
) -> Engine:
    """Connect with time-outs that the server enforces.

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
    try:
        engine = create_engine(
            url,
            # Keepalives detect a dead server within seconds.
            connect_args={
                "connect_timeout": max(1, round(lock_timeout)),
                "options": f"{options} {given}".strip(),
                "application_name": "rebalancer",
                "keepalives_idle": 30,
                "tcp_user_timeout": 30_000,
            },
            isolation_level="AUTOCOMMIT",  # `_begin_postgres` starts transactions
            pool_size=pool,
            max_overflow=0,
            pool_timeout=lock_timeout,
            pool_recycle=1800,
            **_OPTIONS,
        )
    except (ImportError, NoSuchModuleError):
        raise Unavailable(
            "the client of Postgres is not installed; install rebalancer[servers]",
            code="package_missing",
        ) from None
    writer = begin_writer.encode()
    event.listen(engine, "begin", lambda connection: _begin_postgres(connection, writer))
    event.listen(engine, "handle_error", _translate)
    return engine


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
        raise _ERRORS["no connection"]() from None


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
    raise _ERRORS["read-only"]()


_READER = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_DONE = 1
"""libpq's PGRES_COMMAND_OK."""


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


def translate_error(original: Any) -> RebalancerError | None:
    """Translate an error of the driver; None if it is a bug.

    The driver's text is logged for operators only: it names servers and quotes stored values.
    """
    is_sqlite = hasattr(original, "sqlite_errorname")
    kind = _kind_in_sqlite(original) if is_sqlite else _kind_in_postgres(original)
    error = None if kind is None else _ERRORS[kind]()
    fault = describe_certificate_fault(str(original)) if kind == "away" else None
    if fault is not None:
        error = Unavailable(
            f"the certificate of the database server {fault}", code="database_certificate_invalid"
        )
    if isinstance(error, Unavailable):
        level = logging.ERROR if error.code == "database_damaged" else logging.WARNING
        log.log(level, "%s: %s", error, str(original).partition("\n")[0])
    return error


def _kind_in_postgres(original: Any) -> str | None:
    state = getattr(original, "sqlstate", None)
    if state is None:  # an error of the client, which has no codes
        text = str(original)
        if "too many c" in text or "connection slots" in text:
            return "no connection"
        if type(original).__name__ == "DataError" and "NUL" in text:
            return "invalid text"
        return "away" if type(original).__name__ in ("OperationalError", "InterfaceError") else None
    if state in ("23505", "23514"):  # unique_violation, check_violation
        name = str(original.diag.constraint_name)
        return name if name in _ERRORS else "duplicate" if state == "23505" else None
    return _SQLSTATES.get(state) or _SQLSTATE_CLASSES.get(state[:2])


def _kind_in_sqlite(original: Any) -> str | None:
    kind, text = original.sqlite_errorname.split("_"), str(original)
    constraint = text.partition("failed: ")[2]
    match kind[1:]:
        case ["CONSTRAINT", "UNIQUE" | "PRIMARYKEY"]:
            name = str(_UNIQUE.get(constraint))
            return name if name in _ERRORS else "duplicate"
        case ["CONSTRAINT", "FOREIGNKEY"]:
            return "no parent"
        case ["CONSTRAINT", "CHECK"] if constraint in _ERRORS:
            return constraint
        case ["ERROR"] if text.endswith(" already exists"):
            return "foreign tables"
        case ["ERROR"] if re.match("no such (table|column)", text) or "has no column" in text:
            return "outdated"
    return _SQLITE.get(kind[1])
