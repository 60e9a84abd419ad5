"""Backups: the whole database in one file that any other database can restore.

The file is gzip of JSON lines. A header states the format, the revision of the tables, the time,
and the columns of each table. Then each table has a line with its name and one line per row, with
tables before those that refer to them. A trailer has the number of rows per table and a SHA-256 of
all lines before it, which detects damage, not forgery.

Exact numbers are text, times are in UTC, documents are stored as they are, and bytes are base64.
The header states the kind of each column, so that a file of an older version can be restored into
tables of that version. With encryption keys the whole file is encrypted, too.
"""

from __future__ import annotations

import gzip
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import IO, Any
from uuid import UUID

import attrs
import msgspec
from alembic.migration import MigrationContext
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Date,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    Uuid,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.types import TypeEngine

from rebalancer.adapters.sql.copying import copy_rows
from rebalancer.adapters.sql.engine import reading, writing
from rebalancer.adapters.sql.tables import Exact, Moment, metadata
from rebalancer.application.ports.encryption import Encryption
from rebalancer.domain.errors import Conflict, InvalidRequest

FORMAT = 1

_LONGEST_HEADER = 1_000_000
"""Bytes; a file with a longer first line is not a backup."""

_LONG_ROWS = 20
"""Rows per fetch of tables with long series."""

Progress = Callable[[int, int], None]
"""Called with the number of finished rows and their total."""


@attrs.frozen
class BatchSizes:
    """Rows that are handled together.

    Attributes:
        fetched: Rows per fetch of most tables.
        inserted: Most rows per insert.
        inserted_bytes: Most bytes per insert, as in the file; a longer row is alone.
    """

    fetched: int = 1000
    inserted: int = 5000
    inserted_bytes: int = 8_000_000


DEFAULT_SIZES = BatchSizes()


@attrs.frozen
class _Header:
    """The first line.

    Attributes:
        taken: Time of the backup, in UTC.
        tables: Kind of each column of each table, see `_KINDS`; in the order of the rows.
    """

    format: int
    revision: str
    taken: str
    tables: dict[str, dict[str, str]]


@attrs.frozen
class _Begin:
    """Table of the rows that follow."""

    table: str


@attrs.frozen
class _Trailer:
    """The last line."""

    rows: dict[str, int]
    sha256: str


@attrs.frozen
class _Kind:
    """Representation of non-null values in the file.

    Attributes:
        written: Converts a value of the database for the file.
        read: Converts it back.
    """

    type: TypeEngine[Any]
    written: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _itself(value: Any) -> Any:
    return value


_KINDS = {
    "decimal": _Kind(Exact(), lambda value: format(value, "f"), Decimal),
    "moment": _Kind(Moment(), datetime.isoformat, datetime.fromisoformat),
    "day": _Kind(Date(), date.isoformat, date.fromisoformat),
    "uuid": _Kind(Uuid(), str, UUID),
    "document": _Kind(
        JSON(none_as_null=True),
        lambda value: value if isinstance(value, str) else bytes(value).decode(),
        lambda document: msgspec.Raw(document.encode()),
    ),
    "bytes": _Kind(
        LargeBinary(),
        lambda value: b64encode(value).decode(),
        lambda value: b64decode(value, validate=True),
    ),
    "flag": _Kind(Boolean(), _itself, _itself),
    "number": _Kind(Float(), _itself, _itself),
    "integer": _Kind(Integer(), _itself, _itself),
    "text": _Kind(Text(), _itself, _itself),
}


def backup(
    engine: Engine, path: Path, progress: Progress, sizes: BatchSizes, encryption: Encryption
) -> dict[str, int]:
    """See `Database.backup`; the caller has checked the revision of the tables."""
    if os.path.lexists(path):
        raise _file_exists(path)
    with _create_atomically(path) as file, reading(engine) as connection:
        written = encryption.encrypt_file(file)
        _disable_timeout(connection)
        tables = {str(table.name): table for table in metadata.sorted_tables}
        total = sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.values()
        )
        header = _Header(
            FORMAT,
            str(_revision(connection)),
            datetime.now(UTC).isoformat(),
            {name: _kinds_of(table) for name, table in tables.items()},
        )
        rows, digest = dict.fromkeys(tables, 0), sha256()
        with gzip.GzipFile(filename="", mode="wb", compresslevel=5, fileobj=written) as packed:

            def write(line: object) -> None:
                encoded = msgspec.json.encode(line) + b"\n"
                digest.update(encoded)
                packed.write(encoded)

            write(header)
            for name, table in tables.items():
                write(_Begin(name))
                columns = [_KINDS[kind].written for kind in header.tables[name].values()]
                for chunk in _fetch(connection, table, sizes.fetched):
                    for row in chunk:
                        write([_or_null(to, value) for to, value in zip(columns, row, strict=True)])
                    rows[name] += len(chunk)
                    progress(sum(rows.values()), total)
            write(_Trailer(rows, digest.hexdigest()))
        if written is not file:
            written.close()  # which writes the end
    return rows


def restore(
    engine: Engine, path: Path, progress: Progress, sizes: BatchSizes, encryption: Encryption
) -> dict[str, int]:
    """See `Database.restore`."""
    try:
        with path.open("rb") as file:
            archive = _Archive(encryption.decrypt_file(file), path)
            total = sum(1 for _ in archive.rows())  # the file is complete: lock the tables only now
            with writing(engine) as connection:
                _disable_timeout(connection)
                _check_fits(connection, archive.header())
                return _fill(connection, archive, lambda done: progress(done, total), sizes)
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {path}: {error.strerror}", field="file", code="file_unreadable"
        ) from None


def _check_fits(connection: Connection, header: _Header) -> None:
    """Lock the tables; raise Conflict unless they are empty and of the file's revision."""
    at, needed = _revision(connection), header.revision
    if at is None:
        raise Conflict(
            f"the database has no tables yet; upgrade it to revision {needed} of the backup first",
            code="tables_missing",
        )
    if at != needed:
        raise Conflict(
            f"the backup is of revision {needed}, but the database is at {at}; move the database "
            f"to revision {needed}, restore, then upgrade it again",
            code="backup_revision_differs",
        )
    tables = [_table_of(name, kinds) for name, kinds in header.tables.items()]
    if _is_postgres(connection):
        named = _quote(connection, tables)
        connection.execute(text(f"LOCK TABLE {named} IN SHARE ROW EXCLUSIVE MODE"))
    for table in tables:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise Conflict(
                f"the table {table.name} is not empty; restore into a new database at revision "
                f"{needed}",
                code="database_not_empty",
            )


def _fill(
    connection: Connection,
    archive: _Archive,
    progress: Callable[[int], None],
    sizes: BatchSizes,
) -> dict[str, int]:
    """Insert all rows; return their number by table."""
    header = archive.header()
    tables = {name: _table_of(name, kinds) for name, kinds in header.tables.items()}
    insert_all = copy_rows if _is_postgres(connection) else _insert_rows
    done = dict.fromkeys(tables, 0)
    for name, rows in _batches(archive.rows(), sizes):
        try:
            insert_all(connection, tables[name], rows)
        except (Conflict, InvalidRequest, IntegrityError, DataError) as error:
            reason = str(error.__cause__).partition("\n")[0]
            raise InvalidRequest(
                f"{archive.path} has rows that the table {name} rejects: {reason}; nothing was "
                "restored",
                field="file",
                code="backup_rejected",
            ) from error
        done[name] += len(rows)
        progress(sum(done.values()))
    if _is_postgres(connection):
        for name, kinds in header.tables.items():
            for column in [column for column, kind in kinds.items() if kind == "integer"]:
                _advance_sequence(connection, tables[name], column)
        connection.execute(text(f"ANALYZE {_quote(connection, tables.values())}"))
    return done


def _quote(connection: Connection, tables: Iterable[Table]) -> str:
    """Return quoted names for a statement."""
    return ", ".join(map(connection.dialect.identifier_preparer.format_table, tables))


def _batches(
    rows: Iterator[tuple[str, dict[str, Any], int]], sizes: BatchSizes
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield tables and rows that are inserted together."""
    current, batch, size = "", list[dict[str, Any]](), 0
    for table, row, length in rows:
        is_full = len(batch) == sizes.inserted or size + length > sizes.inserted_bytes
        if batch and (table != current or is_full):
            yield current, batch
            batch, size = [], 0
        current = table
        batch.append(row)
        size += length
    if batch:
        yield current, batch


def _insert_rows(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(table), rows)


def _advance_sequence(connection: Connection, table: Table, column: str) -> None:
    """Let the sequence of Postgres continue after the restored numbers; SQLite does by itself."""
    sequence = connection.execute(
        select(func.pg_get_serial_sequence(f'"{table.name}"', column))
    ).scalar_one()
    last = None if sequence is None else connection.scalar(select(func.max(table.c[column])))
    if last is not None:
        connection.execute(select(func.setval(sequence, last)))


@attrs.frozen
class _Archive:
    """A file that `backup` wrote, open for reading."""

    file: IO[bytes]
    path: Path

    def header(self) -> _Header:
        """Return the first line; raise InvalidRequest unless it is one of this format."""
        with self._unpack() as lines:
            return self._read_header(lines)[0]

    def rows(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """Yield the table, the converted row and its length in the file, for each row.

        Raises:
            InvalidRequest: the file is not a backup, or, at the end, is damaged.
        """
        digest, rows, trailer = sha256(), dict[str, int](), None
        with self._unpack() as lines:
            header, first = self._read_header(lines)
            rows = dict.fromkeys(header.tables, 0)
            digest.update(first)
            table, columns = "", list[tuple[str, Callable[[Any], Any]]]()
            for line in lines:
                if trailer is not None:
                    raise ValueError("lines after the trailer")
                if line.startswith(b"["):
                    values = zip(columns, msgspec.json.decode(line), strict=True)
                    yield (
                        table,
                        {name: _or_null(of, value) for (name, of), value in values},
                        len(line),
                    )
                    rows[table] += 1
                elif line.startswith(b'{"table"'):
                    table = msgspec.json.decode(line, type=_Begin).table
                    columns = [
                        (name, _KINDS[kind].read) for name, kind in header.tables[table].items()
                    ]
                else:
                    trailer = msgspec.json.decode(line, type=_Trailer)
                    continue
                digest.update(line)
            if trailer != _Trailer(rows, digest.hexdigest()):
                raise ValueError("the digest differs")

    @contextmanager
    def _unpack(self) -> Iterator[gzip.GzipFile]:
        """Yield the lines from the first one on."""
        self.file.seek(0)
        try:
            with gzip.GzipFile(fileobj=self.file) as lines:
                yield lines
        except (EOFError, gzip.BadGzipFile, zlib.error, *_CONVERSION_ERRORS):
            raise InvalidRequest(
                f"{self.path} is damaged; nothing was restored",
                field="file",
                code="backup_damaged",
            ) from None

    def _read_header(self, lines: gzip.GzipFile) -> tuple[_Header, bytes]:
        """Return the first line, decoded and as it is."""
        try:
            line = lines.readline(_LONGEST_HEADER)
            header = msgspec.json.decode(line, type=_Header)
        except (EOFError, gzip.BadGzipFile, zlib.error, ValueError):
            raise InvalidRequest(
                f"{self.path} is not a valid backup file", field="file", code="invalid_backup"
            ) from None
        if header.format != FORMAT:
            raise InvalidRequest(
                f"{self.path} has format {header.format}; this version of rebalancer reads format "
                f"{FORMAT}, so use the version that wrote it",
                field="file",
                code="backup_format_unknown",
            )
        return header, line


_CONVERSION_ERRORS = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError)
"""Errors of the conversions in `_KINDS` for values of another kind."""


def _or_null(change: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else change(value)


def _kinds_of(table: Table) -> dict[str, str]:
    """Return the kind of each column."""
    return {
        str(column.name): next(
            name for name, kind in _KINDS.items() if isinstance(column.type, type(kind.type))
        )
        for column in table.columns
    }


def _table_of(name: str, kinds: Mapping[str, str]) -> Table:
    """Return a table as a file describes it."""
    return Table(
        name, MetaData(), *(Column(column, _KINDS[kind].type) for column, kind in kinds.items())
    )


def _fetch(connection: Connection, table: Table, size: int) -> Iterator[Sequence[Row[Any]]]:
    """Yield all rows in batches through a server-side cursor, so that memory stays small."""
    is_long = any(isinstance(column.type, LargeBinary) for column in table.columns)
    at_once = _LONG_ROWS if is_long else size
    with connection.execute(select(table), execution_options={"yield_per": at_once}) as rows:
        yield from rows.partitions()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _disable_timeout(connection: Connection) -> None:
    """Lift the statement time-out for this transaction."""
    if _is_postgres(connection):
        connection.execute(text("SET LOCAL statement_timeout = 0"))


@contextmanager
def _create_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that gets its name only once it is complete on the disk.

    Only its owner may read it: it holds the data of all users. An existing file is not replaced.
    """
    try:
        handle, name = mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(handle)
            _rename(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise _file_exists(path) from None
    except OSError as error:
        raise InvalidRequest(
            f"cannot write {path}: {error.strerror}", field="file", code="file_unwritable"
        ) from None


def _rename(partial: Path, path: Path) -> None:
    """Rename a file; raise FileExistsError if the name is taken."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError from None
        partial.rename(path)


def _file_exists(path: Path) -> InvalidRequest:
    return InvalidRequest(
        f"{path} exists already; choose another name", field="file", code="file_exists"
    )
