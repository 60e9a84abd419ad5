"""CSV files as tables of text: read, unzipped, split into cells; errors name their place."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol


@attrs.frozen
class Table:
    """A CSV file as text.

    Attributes:
        name: Name of the file in messages.
        field: Use of the file, see `InvalidRequest.field`.
        header: Column names, stripped, distinct, none empty.
        lines: First line of each row, counted from 1.
        rows: Cells as written, as many as the header has; at least one row.
    """

    name: str
    field: str
    header: list[str]
    lines: list[int]
    rows: list[list[str]]

    def column(self, name: str) -> int | None:
        """Return the position of the column called ``name`` in any case, or None."""
        found = [at for at, title in enumerate(self.header) if title.casefold() == name]
        if len(found) > 1:
            raise self.wrong(
                f"columns {found[0] + 1} and {found[1] + 1} are both called {name}; keep one",
                line=1,
            )
        return found[0] if found else None

    def required(self, name: str) -> int:
        """Return the position of the column called ``name`` in any case."""
        found = self.column(name)
        if found is None:
            alone = len(self.header) == 1 and any(mark in self.header[0] for mark in ";\t|")
            hint = ", and separate cells with commas" if alone else ""
            raise self.wrong(
                f"the header {quote(','.join(self.header))} has no column {name}; add it{hint}",
                line=1,
            )
        return found

    def wrong(
        self, what: str, *, line: int | None = None, column: int | None = None
    ) -> InvalidRequest:
        """Return an error with the place, the problem and the remedy."""
        place = self.name if line is None else f"{self.name}, line {line}"
        if column is not None:
            place += f", column {column + 1} ({quote(self.header[column])})"
        return InvalidRequest(f"{place}: {what}", field=self.field, code="malformed_csv")


def read_content(path: Path, field: str) -> bytes:
    """Read a file, unzipped."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except FileNotFoundError:
        what = "this file does not exist; check the path"
    except IsADirectoryError:
        what = "this is a folder; name a file in it"
    except PermissionError:
        what = "not allowed to read this file; change its permissions"
    except gzip.BadGzipFile:
        what = "this is not gzip, although its name ends in .gz; rename it, or compress it again"
    except (EOFError, zlib.error):
        what = "the gzip data are truncated or damaged; copy or download the file again"
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        what = f"cannot be read ({error}); check the path"
    raise InvalidRequest(f"{path}: {what}", field=field, code="file_unreadable")


def parse_table(content: bytes, name: str, field: str, *, key: str, example: str) -> Table:
    """Split a file into cells and check its shape."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        zipped = content.startswith(b"\x1f\x8b")
        remedy = "it is gzip: let its name end in .gz" if zipped else "save it as CSV in UTF-8"
        raise InvalidRequest(
            f"{name}, line {line}: not UTF-8 text; {remedy}", field=field, code="malformed_csv"
        ) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    lines: list[int] = []
    rows: list[list[str]] = []
    line = 1
    try:
        for row in reader:
            lines.append(line)
            rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidRequest(
            f"{name}, line {line}: not CSV ({error}); look for an unclosed quote, and for a file "
            "that is not a table of cells separated by commas",
            field=field,
            code="malformed_csv",
        ) from None
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
        lines.pop()
    if not rows:
        raise InvalidRequest(
            f"{name}: the file is empty; begin with a header such as {example}",
            field=field,
            code="malformed_csv",
        )
    table = Table(name, field, [normalize_symbol(cell) for cell in rows[0]], lines[1:], rows[1:])
    _check_header(table, example)
    table.required(key)  # before the rows, for tables separated by semicolons
    _check_rows(table)
    return table


def _check_header(table: Table, example: str) -> None:
    if not any(table.header):
        raise table.wrong(f"the line is blank; begin with a header such as {example}", line=1)
    seen: dict[str, int] = {}
    for at, title in enumerate(table.header):
        if not title:
            raise table.wrong(
                f"column {at + 1} has no name; name it (a header reads, for example, {example}), "
                "or remove it",
                line=1,
            )
        if title in seen:
            raise table.wrong(
                f"columns {seen[title] + 1} and {at + 1} are both called {quote(title)}; keep one",
                line=1,
            )
        seen[title] = at


def _check_rows(table: Table) -> None:
    wide = len(table.header)
    if not table.rows:
        raise table.wrong("a header and no rows; add at least one row", line=1)
    for line, row in zip(table.lines, table.rows, strict=True):
        if not any(cell.strip() for cell in row):
            raise table.wrong("a blank line with rows after it; remove it", line=line)
        if len(row) != wide:
            what = (
                f"the cells end before column {len(row) + 1} ({quote(table.header[len(row)])})"
                if len(row) < wide
                else f"{quote(row[wide])} is in column {wide + 1}, and the header has {wide}"
            )
            raise table.wrong(
                f"{what}; give each column one cell, blank where nothing is known, in quotes "
                "where it has commas",
                line=line,
            )


def quote(text: str) -> str:
    """Quote a cell for a message: on one line, and shortened."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
