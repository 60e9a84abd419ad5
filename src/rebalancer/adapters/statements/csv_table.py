"""CSV files of brokers as tables: encoding, delimiter, header, and rows with their lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain

import attrs

from rebalancer.adapters.statements.csv_formats import ISO, POINT, DayFormat, NumberFormat, quote
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.statements import Remark

DELIMITERS = ",;\t|"
_TEXT_BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_BINARIES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
}
_HEADER_ROWS = 60
"""Rows among which the header is looked for."""

_HEAD_LINES = 400
"""Physical lines that are split to find the header."""

_RECORD_LINES = 50
"""Most physical lines of one row."""

_MOST_FAULTS = 100
"""Rows that cannot be split, after which the file is refused."""


@attrs.frozen
class Text:
    """A decoded file.

    Attributes:
        text: Its characters.
        remarks: What was interpreted.
    """

    text: str
    remarks: tuple[Remark, ...] = ()


def decode(data: bytes) -> Text:
    """Decode UTF-8, UTF-16 or Windows-1252.

    Raises:
        InvalidRequest: the file is not text.
    """
    for start, kind in _BINARIES.items():
        if data.startswith(start):
            raise _not_text(f"it is {kind}")
    encoding = _encoding_of(data)
    if encoding != "utf-8":
        text = data.decode(encoding, "replace")
        if "\ufffd" in text:
            raise _not_text("it is damaged UTF-16")
        return _checked(text.removeprefix("\ufeff"))
    try:
        return _checked(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if error.end == len(data) and error.reason == "unexpected end of data":
            cut = Remark(
                line=data.count(b"\n") + 1,
                code="truncated_file",
                message="the file ends within a character; download it again",
                is_error=True,
            )
            return _checked(data[: error.start].decode("utf-8-sig"), cut)
    note = Remark(
        line=0,
        code="windows_1252",
        message="the file is not UTF-8 and was read as Windows-1252; check names with accents",
    )
    try:
        return _checked(data.decode("cp1252"), note)
    except UnicodeDecodeError:
        raise _not_text("it is neither UTF-8, UTF-16 nor Windows-1252") from None


def _encoding_of(data: bytes) -> str:
    for mark, encoding in _TEXT_BOMS.items():
        if data.startswith(mark):
            return encoding
    head = data[:512]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = head[first::2].count(0)
        if zeros and zeros * 4 > 3 * len(head[first::2]):
            return encoding
    return "utf-8"


def _checked(text: str, *remarks: Remark) -> Text:
    if "\0" in text:
        raise _not_text("it has NUL characters")
    return Text(text, remarks)


def _not_text(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"the file is not CSV: {what}; export the statement as CSV", code="unreadable_file"
    )


@attrs.frozen
class Row:
    """Cells of a row as written.

    Attributes:
        line: Its first line, from 1.
        cells: At least one is not blank.
    """

    line: int
    cells: tuple[str, ...]


def split_rows(text: str, delimiter: str) -> tuple[list[Row], list[Remark]]:
    """Split a text into rows, and report rows that are not CSV; blank rows are left out.

    Raises:
        InvalidRequest: too many rows are not CSV.
    """
    return _split(list(io.StringIO(text, newline="")), delimiter)


def _split(lines: Sequence[str], delimiter: str) -> tuple[list[Row], list[Remark]]:
    rows: list[Row] = []
    remarks: list[Remark] = []
    at = 0
    while at < len(lines):
        feed = _Feed(lines, at)
        reader = csv.reader(feed, delimiter=delimiter, strict=True, skipinitialspace=True)
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    rows.append(Row(at + 1, tuple(cell.strip() for cell in cells)))
                at = feed.at
                feed.start = at
            break
        except csv.Error as error:
            if len(remarks) >= _MOST_FAULTS:
                raise InvalidRequest(
                    f"more than {_MOST_FAULTS} rows are not CSV, the last in line {at + 1} "
                    f"({error}); export the statement again",
                    code="malformed_csv",
                ) from None
            remarks.append(
                Remark(
                    line=at + 1,
                    code="malformed_row",
                    message=f"the row is not CSV ({error}); look for an unclosed quote, or "
                    "download the file again if it is cut off",
                    is_error=True,
                )
            )
            at += 1
    return rows, remarks


class _Feed(Iterator[str]):
    """Yields lines, and ends within a row that has too many of them."""

    def __init__(self, lines: Sequence[str], at: int) -> None:
        self.lines, self.at, self.start = lines, at, at

    def __next__(self) -> str:
        if self.at >= len(self.lines) or self.at - self.start >= _RECORD_LINES:
            raise StopIteration
        self.at += 1
        return self.lines[self.at - 1]


def normalize_title(title: str) -> str:
    """Return a title in small letters, with single spaces and without quotes."""
    plain = unicodedata.normalize("NFKC", title).casefold().strip("\ufeff \t\r\n\"'")
    return re.sub(r"\s+", " ", plain)


Titles = Mapping[str, Sequence[str]]
"""Titles of columns by the name that a reader gives them; a title that ends with ``*`` is the
beginning of one."""


@attrs.frozen
class Header:
    """The columns of a layout.

    Attributes:
        titles: All columns that the layout may have.
        required: Names of those that it always has; they recognise it.
        prefixes: Whether ``*`` at the end of a title stands for the rest of it.
    """

    titles: Titles
    required: Sequence[str]
    prefixes: bool = True

    def positions(self, cells: Sequence[str]) -> dict[str, int] | None:
        """Return the position of each column in a row of titles; None if one is missing."""
        normal = [normalize_title(cell) for cell in cells]
        found: dict[str, int] = {}
        for name, titles in self.titles.items():
            for title in titles:
                plain = normalize_title(title)
                if self.prefixes and plain.endswith("*"):
                    at = _beginning(plain[:-1], normal, found.values())
                else:
                    at = normal.index(plain) if plain in normal else None
                if at is not None:
                    found[name] = at
                    break
        return found if all(name in found for name in self.required) else None


def _beginning(start: str, normal: Sequence[str], taken: Iterable[int]) -> int | None:
    used = set(taken)
    matches = (at for at, cell in enumerate(normal) if at not in used and cell.startswith(start))
    return next(matches, None)


@attrs.frozen
class Record:
    """A row below the header, with access to its cells by column.

    Attributes:
        line: Its first line, from 1.
        cells: As many as the header has, or fewer.
        table: Where it is from.
    """

    line: int
    cells: tuple[str, ...]
    table: Table = attrs.field(repr=False, eq=False)

    def text(self, name: str) -> str:
        """Return a cell; empty where the column is missing."""
        at = self.table.columns.get(name)
        return "" if at is None or at >= len(self.cells) else self.cells[at]

    def beside(self, name: str) -> str:
        """Return the cell to the right of a column, under a blank title; else empty."""
        at = self.table.columns.get(name)
        if at is None or at + 1 >= len(self.cells):
            return ""
        titles = self.table.titles
        return "" if at + 1 < len(titles) and titles[at + 1] else self.cells[at + 1]

    def number(self, name: str) -> Decimal | None:
        """Return the number in a cell; None if it is blank.

        Raises:
            InvalidRequest: it is not a number.
        """
        return self.number_in(self.text(name), name)

    def number_in(self, text: str, name: str) -> Decimal | None:
        """Return the number in a text of a column, see `number`."""
        try:
            return self.table.numbers.parse(text)
        except InvalidRequest as error:
            raise error.at(self.title(name)) from None

    def amount(self, name: str) -> Decimal:
        """Return the number in a cell that must not be blank.

        Raises:
            InvalidRequest: it is blank, or not a number.
        """
        found = self.number(name)
        if found is None:
            raise self.missing(name)
        return found

    def day(self, name: str) -> date:
        """Return the day in a cell.

        Raises:
            InvalidRequest: it is not a day in the format of the file.
        """
        text = self.text(name)
        if not text:
            raise self.missing(name)
        try:
            return self.table.days.parse(text)
        except InvalidRequest as error:
            raise error.at(self.title(name)) from None

    def missing(self, name: str) -> InvalidRequest:
        """Return the error about a blank cell."""
        return InvalidRequest(
            "the cell is blank; fill it in, or enter the transaction by hand",
            field=self.title(name),
            code="missing_value",
        )

    def unknown(self, name: str) -> InvalidRequest:
        """Return the error about a kind of transaction that the reader does not know."""
        return InvalidRequest(
            f"{quote(self.text(name))} is not a known kind of transaction; enter the row by hand",
            field=self.title(name),
            code="unknown_kind",
        )

    def title(self, name: str) -> str:
        """Return the title of a column as the file has it."""
        at = self.table.columns.get(name)
        return name if at is None else self.table.titles[at]


@attrs.frozen
class Table:
    """The rows of a file below its header.

    Attributes:
        titles: Titles as written.
        columns: Position of each column by its name.
        above: Rows above the header.
        header: Line of the header.
        rows: Rows below the header.
        remarks: What was found while splitting the file.
        numbers: Format of the numbers.
        days: Format of the days.
    """

    titles: tuple[str, ...]
    columns: Mapping[str, int]
    above: tuple[Row, ...]
    header: int
    rows: tuple[Row, ...]
    remarks: tuple[Remark, ...] = ()
    numbers: NumberFormat = POINT
    days: DayFormat = ISO

    @property
    def width(self) -> int:
        """Cells up to the last one with a title."""
        return max(at for at, title in enumerate(self.titles) if title) + 1

    def records(self) -> list[Record]:
        """Return the rows with access to their cells."""
        return [Record(row.line, row.cells, self) for row in self.rows]

    def cells(self, *names: str) -> list[tuple[int, str]]:
        """Return line and text of each cell of some columns."""
        places = [at for name in names if (at := self.columns.get(name)) is not None]
        return [
            (row.line, row.cells[at]) for row in self.rows for at in places if at < len(row.cells)
        ]


def find_table(text: Text, header: Header, *, delimiter: str = "") -> Table:
    """Return the table of a layout.

    Args:
        text: The whole file.
        header: Columns of the layout.
        delimiter: Stated by the user; empty: the one that gives the header.

    Raises:
        InvalidRequest: the header is missing, has a column twice, or too many rows are not CSV.
    """
    for mark in delimiter or DELIMITERS:
        found = _find_header(text.text, header, mark)
        if found is None:
            continue
        line, columns, titles = found
        check_titles(titles, columns, line)
        rows, faults = split_rows(text.text, mark)
        at = next((at for at, row in enumerate(rows) if row.line == line), None)
        if at is None:
            continue
        return Table(
            titles,
            columns,
            tuple(rows[:at]),
            line,
            tuple(rows[at + 1 :]),
            tuple(chain(text.remarks, faults)),
        )
    names = ", ".join(header.titles[name][0] for name in header.required)
    raise InvalidRequest(
        f"the file has no header with the columns {names}; export the statement again, with its "
        "header",
        code="missing_header",
    )


def check_titles(titles: Sequence[str], columns: Mapping[str, int], line: int) -> None:
    """Check that no column that is read occurs twice.

    Raises:
        InvalidRequest: one does.
    """
    normal = [normalize_title(title) for title in titles]
    for at in columns.values():
        if normal.count(normal[at]) > 1:
            raise InvalidRequest(
                f"line {line}: two columns are called {quote(titles[at])}; remove one",
                code="duplicate_column",
            )


def _find_header(
    text: str, header: Header, delimiter: str
) -> tuple[int, dict[str, int], tuple[str, ...]] | None:
    """Return line, positions and titles of the first row that is the header."""
    lines = []
    for line in io.StringIO(text, newline=""):
        lines.append(line)
        if len(lines) >= _HEAD_LINES:
            break
    try:
        rows, _ = _split(lines, delimiter)
    except InvalidRequest:
        return None
    for row in rows[:_HEADER_ROWS]:
        if len(row.cells) >= len(header.required):
            columns = header.positions(row.cells)
            if columns is not None:
                return row.line, columns, row.cells
    return None


def has_header(head: bytes, header: Header) -> bool:
    """Return whether the beginning of a file has the header of a layout."""
    try:
        text = decode_head(head)
    except InvalidRequest:
        return False
    return any(_find_header(text, header, mark) is not None for mark in DELIMITERS)


def decode_head(head: bytes) -> str:
    """Return the text at the beginning of a file, which may end within a character.

    Raises:
        InvalidRequest: it is not text.
    """
    encoding = _encoding_of(head)
    if encoding != "utf-8" and len(head) % 2:
        head = head[:-1]
    return decode(head).text
