"""All that is kept, in one file that belongs to no database: there, and back again.

The file is gzip of JSON lines. First a header: what format it has, at which revision the tables
were, when, and the columns of each table. Then for each table a line with its name and a line for
each row, tables before those that refer to them. Last a trailer with the rows of each table and a
SHA-256 of all lines before it, so that damage is noticed; it is no signature.

Numbers are text where the database counts exactly, moments are in UTC, documents stand as they are
kept, and bytes are base64. Columns say what they hold, so that a file of an older version can be
restored into tables of that version.
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
from rebalancer.domain.errors import Conflict, InvalidRequest

FORMAT = 1

_LONGEST_HEADER = 1_000_000
"""Bytes; what has a longer first line is no backup."""

_FETCHED, _FETCHED_LONG = 1000, 20
"""Rows that are fetched at once: of most tables, and of those that keep long series."""

_WRITTEN, _WRITTEN_BYTES = 5000, 8_000_000
"""Rows that are written at once at most, and bytes of them in the file, but for a longer one."""

Progress = Callable[[int, int], None]
"""Told how many rows are done by now, of how many."""


@attrs.frozen
class _Header:
    """The first line.

    Attributes:
        format: Of the file.
        revision: Of the tables.
        taken: When, in UTC.
        tables: What each column of each table holds, see `_KINDS`; in the order of the rows.
    """

    format: int
    revision: str
    taken: str
    tables: dict[str, dict[str, str]]


@attrs.frozen
class _Begin:
    """Says whose rows follow."""

    table: str


@attrs.frozen
class _Trailer:
    """The last line."""

    rows: dict[str, int]
    sha256: str


@attrs.frozen
class _Kind:
    """How a value that is not null stands in the file.

    Attributes:
        type: Of the column.
        written: From what the database gives.
        read: To what the database takes.
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


def backup(engine: Engine, path: Path, progress: Progress) -> dict[str, int]:
    """See `Database.backup`, but for the revision of the tables, which the caller has checked."""
    if os.path.lexists(path):
        raise _taken(path)
    with _whole(path) as file, reading(engine) as connection:
        _take_time(connection)
        tables = {str(table.name): table for table in metadata.sorted_tables}
        total = sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.values()
        )
        header = _Header(
            FORMAT,
            str(_revision(connection)),
            datetime.now(UTC).isoformat(),
            {name: _kinds(table) for name, table in tables.items()},
        )
        rows, told = dict.fromkeys(tables, 0), sha256()
        with gzip.GzipFile(filename="", mode="wb", compresslevel=5, fileobj=file) as packed:

            def write(line: object) -> None:
                encoded = msgspec.json.encode(line) + b"\n"
                told.update(encoded)
                packed.write(encoded)

            write(header)
            for name, table in tables.items():
                write(_Begin(name))
                columns = [_KINDS[kind].written for kind in header.tables[name].values()]
                for chunk in _chunks(connection, table):
                    for row in chunk:
                        write([_or_null(to, value) for to, value in zip(columns, row, strict=True)])
                    rows[name] += len(chunk)
                    progress(sum(rows.values()), total)
            write(_Trailer(rows, told.hexdigest()))
    return rows


def restore(engine: Engine, path: Path, progress: Progress) -> dict[str, int]:
    """See `Database.restore`."""
    try:
        with path.open("rb") as file:
            archive = _Archive(file, path)
            total = sum(1 for _ in archive.rows())  # it is whole: only now others have to wait
            with writing(engine) as connection:
                _take_time(connection)
                _check_fits(connection, archive.header())
                return _filled(connection, archive, lambda done: progress(done, total))
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", field="file") from None


def _check_fits(connection: Connection, header: _Header) -> None:
    """Raise unless there are tables of the file's revision, and nothing in them.

    Nobody writes into them from now on.
    """
    at, needed = _revision(connection), header.revision
    if at is None:
        raise Conflict(
            f"the database has no tables yet: run `rebalancer db upgrade {needed}` first, which "
            "makes those that the backup was taken of"
        )
    if at != needed:
        raise Conflict(
            f"the backup was taken at revision {needed}, and the database is at {at}: bring it "
            f"there first, with `rebalancer db upgrade {needed}`, or `downgrade` if it is newer; "
            "after the restore, `rebalancer db upgrade` brings all of it forward"
        )
    tables = [_table(name, kinds) for name, kinds in header.tables.items()]
    if _many_at_once(connection):
        named = _named(connection, tables)
        connection.execute(text(f"LOCK TABLE {named} IN SHARE ROW EXCLUSIVE MODE"))
    for table in tables:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise Conflict(
                f"the table {table.name} is not empty: restore into a new database, whose tables "
                f"`rebalancer db upgrade {needed}` makes"
            )


def _filled(
    connection: Connection, archive: _Archive, progress: Callable[[int], None]
) -> dict[str, int]:
    """Rows by table."""
    header = archive.header()
    tables = {name: _table(name, kinds) for name, kinds in header.tables.items()}
    insert_all = copy_rows if _many_at_once(connection) else _inserted
    done = dict.fromkeys(tables, 0)
    for name, rows in _bundles(archive.rows()):
        try:
            insert_all(connection, tables[name], rows)
        except (Conflict, InvalidRequest, IntegrityError, DataError) as error:
            why = str(error.__cause__).partition("\n")[0]
            raise InvalidRequest(
                f"{archive.path} holds what the table {name} cannot: {why}; nothing was kept",
                field="file",
            ) from error
        done[name] += len(rows)
        progress(sum(done.values()))
    if _many_at_once(connection):
        for name, kinds in header.tables.items():
            for column in [column for column, kind in kinds.items() if kind == "integer"]:
                _count_on(connection, tables[name], column)
        connection.execute(text(f"ANALYZE {_named(connection, tables.values())}"))
    return done


def _named(connection: Connection, tables: Iterable[Table]) -> str:
    """Tables as a statement lists them."""
    return ", ".join(map(connection.dialect.identifier_preparer.format_table, tables))


def _bundles(
    rows: Iterator[tuple[str, dict[str, Any], int]],
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows of one table each, as many as may be written at once."""
    whose, bundle, size = "", list[dict[str, Any]](), 0
    for table, row, length in rows:
        if bundle and (table != whose or len(bundle) == _WRITTEN or size + length > _WRITTEN_BYTES):
            yield whose, bundle
            bundle, size = [], 0
        whose = table
        bundle.append(row)
        size += length
    if bundle:
        yield whose, bundle


def _inserted(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(table), rows)


def _count_on(connection: Connection, table: Table, column: str) -> None:
    """Have numbers that Postgres gives begin after those that are there; SQLite does by itself."""
    sequence = connection.execute(
        select(func.pg_get_serial_sequence(f'"{table.name}"', column))
    ).scalar_one()
    last = None if sequence is None else connection.scalar(select(func.max(table.c[column])))
    if last is not None:
        connection.execute(select(func.setval(sequence, last)))


@attrs.frozen
class _Archive:
    """A file that `backup` wrote.

    Attributes:
        file: Open to be read.
        path: How to call it.
    """

    file: IO[bytes]
    path: Path

    def header(self) -> _Header:
        """The first line.

        Raises:
            InvalidRequest: it is no backup, or of a later format.
        """
        with self._unpacked() as lines:
            return self._begun(lines)[0]

    def rows(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """Each row, as the database takes it, with its table and its length in the file.

        Raises:
            InvalidRequest: it is no backup, or at the end, that it is damaged.
        """
        told, rows, trailer = sha256(), dict[str, int](), None
        with self._unpacked() as lines:
            header, first = self._begun(lines)
            rows = dict.fromkeys(header.tables, 0)
            told.update(first)
            table, columns = "", list[tuple[str, Callable[[Any], Any]]]()
            for line in lines:
                if trailer is not None:
                    raise ValueError("goes on after its end")
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
                told.update(line)
            if trailer != _Trailer(rows, told.hexdigest()):
                raise ValueError("is not what was written")

    @contextmanager
    def _unpacked(self) -> Iterator[gzip.GzipFile]:
        """Its lines, from the first one on."""
        self.file.seek(0)
        try:
            with gzip.GzipFile(fileobj=self.file) as lines:
                yield lines
        except (EOFError, gzip.BadGzipFile, zlib.error, *_NOT_AS_WRITTEN):
            raise InvalidRequest(
                f"{self.path} is damaged: not all of it is as it was written; nothing was kept",
                field="file",
            ) from None

    def _begun(self, lines: gzip.GzipFile) -> tuple[_Header, bytes]:
        """The first line, and how it stands there."""
        try:
            line = lines.readline(_LONGEST_HEADER)
            header = msgspec.json.decode(line, type=_Header)
        except (EOFError, gzip.BadGzipFile, zlib.error, ValueError):
            raise InvalidRequest(
                f"{self.path} is no backup, or a damaged one", field="file"
            ) from None
        if header.format != FORMAT:
            raise InvalidRequest(
                f"{self.path} is of format {header.format}, and this version of rebalancer reads "
                f"{FORMAT}: use the version that wrote it",
                field="file",
            )
        return header, line


_NOT_AS_WRITTEN = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError)
"""What the conversions in `_KINDS` raise when a value is of another kind."""


def _or_null(change: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else change(value)


def _kinds(table: Table) -> dict[str, str]:
    """What each column holds."""
    return {
        str(column.name): next(
            name for name, kind in _KINDS.items() if isinstance(column.type, type(kind.type))
        )
        for column in table.columns
    }


def _table(name: str, kinds: Mapping[str, str]) -> Table:
    """A table as a file describes it."""
    return Table(
        name, MetaData(), *(Column(column, _KINDS[kind].type) for column, kind in kinds.items())
    )


def _chunks(connection: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
    """All rows, without having many of them in memory: a server keeps the others for us."""
    long = any(isinstance(column.type, LargeBinary) for column in table.columns)
    at_once = _FETCHED_LONG if long else _FETCHED
    with connection.execute(select(table), execution_options={"yield_per": at_once}) as rows:
        yield from rows.partitions()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _many_at_once(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _take_time(connection: Connection) -> None:
    """In this transaction a statement may take as long as it takes."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which has its name only once all of it is on the disk.

    Only its owner may read it: it holds what everybody keeps here.
    """
    try:
        handle, name = mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(handle)
            _name(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {error.strerror}", field="file") from None


def _name(partial: Path, path: Path) -> None:
    """Rename a file, unless there is one of that name."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:  # a file system that has no links
        if os.path.lexists(path):
            raise FileExistsError from None
        partial.rename(path)


def _taken(path: Path) -> InvalidRequest:
    return InvalidRequest(f"{path} is there already; choose another name", field="file")
