"""A file as rows of cells; errors name their place."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import attrs

from rebalancer.domain.errors import InvalidRequest

EXAMPLE = "date,SPY,AGG"
"""Header in messages."""

_SEPARATORS = ",;\t|"
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_STATED = re.compile(r'^"?sep=(.)"?[,;\t|]*$', flags=re.IGNORECASE)
_SAMPLE = 20
"""Rows that decide between separators."""

_HEAD = 200_000
"""Characters in which they are looked for."""


@attrs.frozen
class Sheet:
    """Rows of cells as written, without wholly blank ones.

    Attributes:
        name: Name of the file in messages.
        separator: Character between cells.
        lines: First line of each row, counted from 1.
        rows: At least one row; not all have the same length.
        field: Use of the file, see `InvalidRequest.field`.
    """

    name: str
    separator: str
    lines: list[int]
    rows: list[list[str]]
    field: str = "prices"

    def wrong(
        self,
        what: str,
        *,
        line: int | None = None,
        column: int | None = None,
        title: str | None = None,
    ) -> InvalidRequest:
        """Return an error with the place, the problem and the remedy."""
        place = self._place(line, column, title)
        return InvalidRequest(f"{place}: {what}", field=self.field, code="malformed_csv")

    def unclear(
        self,
        what: str,
        *,
        line: int | None = None,
        column: int | None = None,
        title: str | None = None,
    ) -> InvalidRequest:
        """Return an error about what the user may state with a layout."""
        place = self._place(line, column, title)
        return InvalidRequest(f"{place}: {what}", field=self.field, code="layout_unclear")

    def _place(self, line: int | None, column: int | None, title: str | None) -> str:
        place = self.name if line is None else f"{self.name}, line {line}"
        if column is None:
            return place
        return f"{place}, column {column + 1}" + ("" if title is None else f" ({quote(title)})")

    def body(self, first: int, width: int, titles: Sequence[str]) -> Sheet:
        """Return the rows from ``first`` on, each with exactly ``width`` cells.

        Raises:
            InvalidRequest: rows are missing, or a row has fewer cells, or more that are not blank.
        """
        lines, rows = self.lines[first:], self.rows[first:]
        if not rows:
            raise self.wrong("a header and no rows; add at least one row", line=self.lines[0])
        for at, row in enumerate(rows):
            if len(row) == width:
                continue
            rest = next((cell for cell in row[width:] if cell.strip()), None)
            if len(row) < width or rest is not None:
                what = (
                    f"the cells end before column {len(row) + 1} ({quote(titles[len(row)])})"
                    if len(row) < width
                    else f"{quote(rest or '')} is in column {row.index(rest or '', width) + 1}, "
                    f"and the header has {width}"
                )
                raise self.wrong(
                    f"{what}; give each column one cell, blank where nothing is known, in quotes "
                    f"where it has {_SEPARATOR_NAMES.get(self.separator, 'the separator')}",
                    line=lines[at],
                )
            rows[at] = row[:width]
        return attrs.evolve(self, lines=lines, rows=rows)


def read_sheet(
    content: bytes, name: str, *, field: str = "prices", example: str = EXAMPLE
) -> Sheet:
    """Split a file into cells.

    The separator is that of a first line ``sep=;``, else the one that splits the header and the
    rows into equally many cells, at least two.

    Raises:
        InvalidRequest: the file is empty, or is not a table of text.
    """
    text = _decode(content, name, field)
    stated = _STATED.match(text[: text.find("\n")].rstrip("\r") if "\n" in text else text)
    skipped = 0
    if stated:
        text = text.split("\n", 1)[1] if "\n" in text else ""
        skipped = 1
    separator = stated[1] if stated else _find_separator(text)
    lines, rows = _split(text, separator, name, skipped, field)
    if not rows:
        raise InvalidRequest(
            f"{name}: the file is empty; begin with a header such as {example}",
            field=field,
            code="malformed_csv",
        )
    return Sheet(name, separator, lines, rows, field)


def _split(
    text: str, separator: str, name: str, skipped: int, field: str
) -> tuple[list[int], list[list[str]]]:
    """Return the first line of each row, and the rows, without blank ones."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    lines: list[int] = []
    rows: list[list[str]] = []
    line = 1
    try:
        for row in reader:
            if any(cell and not cell.isspace() for cell in row):
                lines.append(line + skipped)
                rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidRequest(
            f"{name}, line {line + skipped}: not CSV ({error}); look for an unclosed quote, and "
            "for a file that is not a table of cells",
            field=field,
            code="malformed_csv",
        ) from None
    return lines, rows


def _find_separator(text: str) -> str:
    """Return the character that most probably separates the cells."""
    head = text[:20_000].lstrip()
    header = re.split(r"\r\n|\r|\n", head, maxsplit=1)[0]
    present = [mark for mark in _SEPARATORS if mark in header]
    if len(present) < 2:
        return present[0] if present else ","
    best, most = ",", (False, False, -1)
    for mark in present:
        widths, titles = _widths(text, mark)
        regular = len(set(widths)) == 1 and widths[0] > 1
        dated = any(title.strip().casefold() in ("date", "datum") for title in titles)
        score = (regular, dated, -_SEPARATORS.index(mark))
        if score > most:
            best, most = mark, score
    return best


def _widths(text: str, separator: str) -> tuple[list[int], list[str]]:
    """Return the numbers of cells of the first rows, and the cells of the first one."""
    reader = csv.reader(
        io.StringIO(text[:_HEAD], newline=""), delimiter=separator, skipinitialspace=True
    )
    try:
        rows = [row for row in islice(reader, _SAMPLE) if any(cell.strip() for cell in row)]
    except csv.Error:
        return [0], []
    whole = rows[:-1] if len(text) > _HEAD and len(rows) > 1 else rows  # the last one may be cut
    return [len(row) for row in whole], rows[0] if rows else []


def _decode(content: bytes, name: str, field: str) -> str:
    """Decode UTF-8, or UTF-16 with a byte-order mark, as spreadsheets write it."""
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        zipped = content.startswith(b"\x1f\x8b")
        remedy = "it is gzip: let its name end in .gz" if zipped else "save it as CSV in UTF-8"
        raise InvalidRequest(
            f"{name}, line {line}: not UTF-8 text; {remedy}", field=field, code="malformed_csv"
        ) from None


def read_content(path: Path, field: str) -> bytes:
    """Read a file, unzipped."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: a path with a NUL
        raise unreadable(path, field, error) from None


def unreadable(path: Path, field: str, error: Exception) -> InvalidRequest:
    """Return the error about a file that cannot be read, for the reason that reading it gave."""
    match error:
        case FileNotFoundError():
            what = "this file does not exist; check the path"
        case IsADirectoryError():
            what = "this is a folder; name a file in it"
        case PermissionError():
            what = "not allowed to read this file; change its permissions"
        case gzip.BadGzipFile():
            what = (
                "this is not gzip, although its name ends in .gz; rename it, or compress it again"
            )
        case EOFError() | zlib.error():
            what = "the gzip data are truncated or damaged; copy or download the file again"
        case _:
            what = f"cannot be read ({error}); check the path"
    return InvalidRequest(f"{path}: {what}", field=field, code="file_unreadable")


def quote(text: str) -> str:
    """Quote a cell for a message: on one line, and shortened."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
