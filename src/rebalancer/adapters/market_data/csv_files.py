"""Prices and instruments from CSV files, plain or gzipped; errors name their place."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Sequence
from datetime import date
from functools import cached_property, partial
from pathlib import Path

import attrs
import numpy as np

from rebalancer.application.history_provider import HistoryProvider
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import GAP_RULE, fill_gaps
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)([T ]00:00(:00(\.0+)?)?(Z|[+-]\d\d:?\d\d)?)?", flags=re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
_OF_NUMBERS = b"0123456789.eE+- "  # float() takes nan, inf and 1_000 too: not prices
_PACKAGED_INSTRUMENTS = Path(__file__).with_name("instruments.csv")
_CELL = "write a plain number such as 101.25, or leave the cell blank if the price is missing"


@attrs.frozen(slots=False)
class CsvPrices(HistoryProvider):
    """Adjusted closes from ``FILE.csv`` or ``FILE.csv.gz``, read at first use, once.

    The column ``date`` (in any case) has ISO days, oldest first; each other column has the adjusted
    closes of the symbol in its header. A blank cell is a missing price: a gap of at most 5 rows
    repeats the last close, also at the end of the file; a longer gap is rejected. Before its first
    close an asset has NaN.

    Attributes:
        path: The file; gzipped when its name ends in ``.gz``.
        without: Symbols to leave out.
        since: The first day to take; the file's first when None.
    """

    path: Path = attrs.field(converter=Path)
    without: Collection[str] = ()
    since: date | None = None

    def read(self) -> PriceHistory:
        history = _read_prices(self.path)
        if self.without:
            history = history.select([name for name in history.symbols if name not in self.without])
        if self.since is not None:
            first = int(np.searchsorted(history.dates, np.datetime64(self.since, "D")))
            if first == len(history):
                raise InvalidRequest(
                    f"{self.path}: no prices since {self.since}, the last are of "
                    f"{history.last_date}; choose an earlier start",
                    field="prices",
                    code="no_prices",
                )
            history = history.since(first)
        return history


@attrs.frozen(slots=False)
class CsvInstruments:
    """Instruments from a CSV file, read at first use, once.

    Columns: ``symbol`` (required), ``name``, ``asset_class``, ``daily_volume``; others are
    ignored. A blank or unknown asset class counts as equity.
    """

    path: Path = attrs.field(converter=Path)

    def instruments(self) -> Instruments:
        return self._instruments

    @cached_property
    def _instruments(self) -> Instruments:
        return _instruments_in(_content(self.path, "assets"), name=str(self.path))


@attrs.frozen(slots=False)
class PackagedInstruments(CsvInstruments):
    """Packaged list of widely held funds and of the sample's assets, in USD.

    Daily volumes are orders of magnitude, to one digit, and blank if unknown.
    """

    path: Path = _PACKAGED_INSTRUMENTS


@attrs.frozen
class _Table:
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
                f"the header {_quote(','.join(self.header))} has no column {name}; add it{hint}",
                line=1,
            )
        return found

    def wrong(
        self, what: str, *, line: int | None = None, column: int | None = None
    ) -> InvalidRequest:
        """Return an error with the place, the problem and the remedy."""
        place = self.name if line is None else f"{self.name}, line {line}"
        if column is not None:
            place += f", column {column + 1} ({_quote(self.header[column])})"
        return InvalidRequest(f"{place}: {what}", field=self.field, code="malformed_csv")


def _instruments_in(content: bytes, *, name: str) -> Instruments:
    """Parse the instruments of a CSV file.

    Raises:
        InvalidRequest: the content is malformed; the message names the place and the remedy.
    """
    example = "symbol,name,asset_class,daily_volume"
    table = _table(content, name, "assets", key="symbol", example=example)
    symbol = table.required("symbol")
    title, kind, volume = (table.column(it) for it in ("name", "asset_class", "daily_volume"))
    found: dict[str, Instrument] = {}
    seen: dict[str, int] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        wrong = partial(table.wrong, line=line, column=symbol)
        ticker = row[symbol].strip()
        if not ticker:
            raise wrong("no symbol; give one, or remove the line")
        if ticker in seen:
            raise wrong(f"{_quote(ticker)} is also on line {seen[ticker]}; keep one line a symbol")
        seen[ticker] = line
        found[ticker] = Instrument(
            ticker,
            name="" if title is None else row[title].strip(),
            asset_class=None if kind is None else _asset_class(row[kind]),
            daily_volume=None if volume is None else _volume(table, line, row, volume),
        )
    return Instruments(found)


def _asset_class(text: str) -> AssetClass | None:
    known: dict[str, AssetClass] = {it.value: it for it in AssetClass}
    return known.get(re.sub(r"[\s\-]+", "_", text.strip().casefold()))


def _volume(table: _Table, line: int, row: list[str], column: int) -> float | None:
    text = row[column].strip()
    if not text:
        return None
    value = float(text) if _NUMBER.fullmatch(text) else np.nan
    if not 0 < value < np.inf:
        raise table.wrong(
            f"{_quote(text)} is not a volume; write the value traded in a day as a plain "
            "positive number such as 2500000, or leave the cell blank",
            line=line,
            column=column,
        )
    return value


def _read_prices(path: Path) -> PriceHistory:
    content = _content(path, "prices")
    table = _table(content, str(path), "prices", key="date", example="date,SPY,AGG")
    dated = table.required("date")
    columns = [at for at in range(len(table.header)) if at != dated]
    if not columns:
        raise table.wrong(
            "no symbols: the only column is date; add a column of closes for each asset", line=1
        )
    days = _days(table, dated)
    numbers = [
        _numbers(table, line, row[:dated] + row[dated + 1 :], columns)
        for line, row in zip(table.lines, table.rows, strict=True)
    ]
    closes = np.array(numbers, dtype=np.float64)
    wrong = ~np.isnan(closes) & ~((closes > 0) & np.isfinite(closes))
    if wrong.any():
        at, column = (int(i) for i in np.argwhere(wrong)[0])
        raise table.wrong(
            f"{_quote(table.rows[at][columns[column]].strip())} is not a price; prices are "
            "positive and finite: correct it, or leave the cell blank if the price is missing",
            line=table.lines[at],
            column=columns[column],
        )
    return PriceHistory.of(
        [table.header[at] for at in columns], days, _without_gaps(table, columns, days, closes)
    )


def _days(table: _Table, column: int) -> list[date]:
    """Parse the day of each row; days must increase."""
    days: list[date] = []
    line_of: dict[date, int] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        wrong = partial(table.wrong, line=line, column=column)
        text = row[column].strip()
        match = _DATE.fullmatch(text)
        if match is None:
            raise wrong(
                f"{_quote(text)} is not a date; write days as YYYY-MM-DD, such as 2024-01-31"
            )
        try:
            day = date.fromisoformat(match[1])
        except ValueError:
            raise wrong(
                f"{_quote(text)} is not a day of the calendar; correct it (YYYY-MM-DD)"
            ) from None
        if day in line_of:
            raise wrong(f"the date {day} is also on line {line_of[day]}; keep one row a day")
        if days and day < days[-1]:
            raise wrong(
                f"the date {day} comes after {days[-1]}; sort the rows by date, oldest first"
            )
        days.append(day)
        line_of[day] = line
    return days


def _numbers(table: _Table, line: int, cells: list[str], columns: list[int]) -> list[float]:
    """Parse the numbers of a row, NaN for blanks."""
    if not "".join(cells).encode().translate(None, _OF_NUMBERS):
        try:
            return [float(cell) if cell else np.nan for cell in cells]
        except ValueError:
            pass  # such as "1-2", or a cell of spaces: parse cell by cell
    numbers = []
    for column, cell in zip(columns, cells, strict=True):
        text = cell.strip()
        if text and not _NUMBER.fullmatch(text):
            raise table.wrong(f"{_quote(text)} is not a price; {_CELL}", line=line, column=column)
        numbers.append(float(text) if text else np.nan)
    return numbers


def _without_gaps(
    table: _Table, columns: list[int], days: Sequence[date], closes: Floats
) -> Floats:
    """Return closes, shape (T, N), with gaps of at most `STALE_AFTER` rows filled."""
    empty = np.flatnonzero(np.isnan(closes).all(axis=0))
    if empty.size:
        raise table.wrong(
            "not one price; fill the column in, or remove it", line=1, column=columns[empty[0]]
        )
    filled, gaps = fill_gaps(closes)
    for column, gap in gaps.items():
        raise table.wrong(
            f"{len(gap)} rows without a price, {days[gap.first]} to {days[gap.last]}; {GAP_RULE}: "
            "fill this one in, take rows before or after it only, or remove the column",
            line=table.lines[gap.first],
            column=columns[column],
        )
    return filled


def _content(path: Path, field: str) -> bytes:
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


def _table(content: bytes, name: str, field: str, *, key: str, example: str) -> _Table:
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
    table = _Table(name, field, [cell.strip() for cell in rows[0]], lines[1:], rows[1:])
    _check_header(table, example)
    table.required(key)  # before the rows, for tables separated by semicolons
    _check_rows(table)
    return table


def _check_header(table: _Table, example: str) -> None:
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
                f"columns {seen[title] + 1} and {at + 1} are both called {_quote(title)}; keep one",
                line=1,
            )
        seen[title] = at


def _check_rows(table: _Table) -> None:
    wide = len(table.header)
    if not table.rows:
        raise table.wrong("a header and no rows; add at least one row", line=1)
    for line, row in zip(table.lines, table.rows, strict=True):
        if not any(cell.strip() for cell in row):
            raise table.wrong("a blank line with rows after it; remove it", line=line)
        if len(row) != wide:
            what = (
                f"the cells end before column {len(row) + 1} ({_quote(table.header[len(row)])})"
                if len(row) < wide
                else f"{_quote(row[wide])} is in column {wide + 1}, and the header has {wide}"
            )
            raise table.wrong(
                f"{what}; give each column one cell, blank where nothing is known, in quotes "
                "where it has commas",
                line=line,
            )


def _quote(text: str) -> str:
    """Quote a cell for a message: on one line, and shortened."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
