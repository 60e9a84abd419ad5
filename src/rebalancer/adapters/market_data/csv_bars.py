"""Bars as traded from CSV and Parquet files; errors name their place.

Files are read in blocks of rows, so that millions of rows need little more memory than their
figures.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

import attrs
import numpy as np

from rebalancer.adapters.market_data.price_files.numbers import MISSING
from rebalancer.adapters.market_data.price_files.parquet import is_parquet, read_as_csv
from rebalancer.adapters.market_data.price_files.sheet import quote, unreadable
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.bar_rows import BarRows
from rebalancer.domain.market.symbols import normalize_symbol

_EXAMPLE = "date,symbol,open,high,low,close,volume"
_FIELDS = ("close", "open", "high", "low", "volume")
_REQUIRED = ("date", "symbol", "close")
_BLOCK = 100_000
"""Rows that are converted at once."""

_STOOQ = {
    "<ticker>": "symbol",
    "<date>": "date",
    "<open>": "open",
    "<high>": "high",
    "<low>": "low",
    "<close>": "close",
    "<vol>": "volume",
}
"""Usual titles by those of Stooq's files."""

_PERIOD, _DAILY = "<per>", "d"
"""Title of the period in files of Stooq, and the period of daily bars."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d([T ]00:00(:00(\.0+)?)?)?(Z|\+00:00)?|\d{8}", flags=re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
_NAN = float("nan")


@attrs.frozen
class CsvBars:
    """Bars from a file with a row for each asset and day, in any order.

    The file is CSV, plain or gzipped, or Parquet, by its name.

    Columns: ``date`` (YYYY-MM-DD), ``symbol`` and ``close`` are required, ``open``, ``high``,
    ``low`` and ``volume`` may be absent or blank; others are ignored. The titles of Stooq, such as
    ``<TICKER>``, and its days (YYYYMMDD) are understood as well. Prices are as traded, not
    adjusted, in the quote unit of the asset.
    """

    path: Path = attrs.field(converter=Path)

    def rows(self) -> BarRows:
        """Read the file.

        Raises:
            InvalidRequest: the file is missing or malformed; the message names place and remedy.
        """
        try:
            with _open(self.path) as file:
                return _Reader(str(self.path), file).read()
        except UnicodeDecodeError:
            raise _wrong(
                str(self.path), "not UTF-8 text; save it as CSV in UTF-8 (gzip: as .csv.gz)"
            ) from None
        except (OSError, EOFError, zlib.error, ValueError) as error:
            if isinstance(error, InvalidRequest):
                raise
            raise unreadable(self.path, "bars", error) from None


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """Open a file as text; gzip and Parquet by its name."""
    if is_parquet(path):
        yield io.StringIO(read_as_csv(path, "bars").decode(), newline="")
    elif path.suffix.lower() == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file


class _Reader:
    """Converts the rows of a file, block by block."""

    def __init__(self, name: str, file: TextIO) -> None:
        self.name = name
        self.numbers: dict[str, int] = {}
        """Position of each symbol, by its spelling in the file."""
        self.symbols: dict[str, int] = {}
        header = file.readline()
        while header and not header.strip():
            header = file.readline()
        if not header:
            raise _wrong(name, f"the file is empty; begin with a header such as {_EXAMPLE}")
        mark = max(",;\t|", key=header.count)
        titles = [_simple(cell) for cell in next(csv.reader([header], delimiter=mark), [])]
        self.columns = {
            title: at for at, title in enumerate(titles) if title in (*_REQUIRED, *_FIELDS)
        }
        for title in self.columns:
            if titles.count(title) > 1:
                raise _wrong(name, f"two columns are called {title}; keep one", line=1)
        for title in _REQUIRED:
            if title not in self.columns:
                shown = quote(header.strip())
                raise _wrong(name, f"the header {shown} has no column {title}; add it", line=1)
        self.width = len(titles)
        self.period = titles.index(_PERIOD) if _PERIOD in titles else None
        self.reader = csv.reader(file, delimiter=mark, strict=True)

    def read(self) -> BarRows:
        """Return all rows that have a figure."""
        parts = [self._convert(first, rows) for first, rows in self._blocks()]
        if not parts:
            raise _wrong(self.name, "a header and no rows; add at least one row", line=1)
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
        assets, days, *figures = joined
        fields = dict(zip(_FIELDS, figures, strict=True))
        known = ~np.logical_and.reduce([np.isnan(values) for values in figures])
        rows = BarRows(tuple(self.symbols), assets, days, **fields)
        return rows if known.all() else rows.at(known)

    def _blocks(self) -> Iterator[tuple[int, list[list[str]]]]:
        """Yield blocks of rows, and the line of the row before each."""
        while True:
            before = self.reader.line_num + 1
            try:
                rows = list(islice(self.reader, _BLOCK))
            except csv.Error as error:
                raise _wrong(
                    self.name,
                    f"not CSV ({error}); look for an unclosed quote",
                    line=self.reader.line_num + 1,
                ) from None
            if not rows:
                return
            yield before, rows

    def _convert(self, before: int, rows: list[list[str]]) -> list[np.ndarray]:
        """Return positions of symbols, days, and the figures of `_FIELDS`."""
        lengths = set(map(len, rows))
        lines: Sequence[int] = range(before + 1, before + 1 + len(rows))
        if lengths != {self.width}:
            numbered = [
                (line, row)
                for line, row in zip(lines, rows, strict=True)
                if any(map(str.strip, row))
            ]
            lines, rows = [line for line, _ in numbered], [row for _, row in numbered]
            self._check_widths(lines, rows)
        columns: list[tuple[str, ...]] = list(zip(*rows, strict=True)) or [()] * self.width
        if self.period is not None:
            self._check_periods(columns[self.period], lines)
        found: list[np.ndarray] = [
            self._assets(columns[self.columns["symbol"]], lines),
            self._days(columns[self.columns["date"]], lines),
        ]
        for field in _FIELDS:
            at = self.columns.get(field)
            found.append(
                np.full(len(rows), np.nan) if at is None else self._figures(columns[at], at, lines)
            )
        return found

    def _check_widths(self, lines: Sequence[int], rows: list[list[str]]) -> None:
        for at, (line, row) in enumerate(zip(lines, rows, strict=True)):
            if len(row) > self.width and not any(map(str.strip, row[self.width :])):
                rows[at] = row[: self.width]
            elif len(row) != self.width:
                raise _wrong(
                    self.name,
                    f"{len(row)} cells, and the header has {self.width}; give each column one "
                    "cell, blank where nothing is known",
                    line=line,
                )

    def _check_periods(self, cells: tuple[str, ...], lines: Sequence[int]) -> None:
        for at, cell in enumerate(cells):
            if cell.strip().casefold() != _DAILY:
                raise _wrong(
                    self.name,
                    f"the period {quote(cell)} is not that of daily bars (D); give daily bars",
                    line=lines[at],
                )

    def _assets(self, cells: tuple[str, ...], lines: Sequence[int]) -> np.ndarray:
        numbers = self.numbers
        for spelling in dict.fromkeys(cells):
            if spelling not in numbers:
                symbol = normalize_symbol(spelling)
                if not symbol:
                    raise self._wrong_cell(
                        "no symbol; give one, or remove the line",
                        lines[cells.index(spelling)],
                        self.columns["symbol"],
                    )
                numbers[spelling] = self.symbols.setdefault(symbol, len(self.symbols))
        return np.fromiter(map(numbers.__getitem__, cells), dtype=np.int32, count=len(cells))

    def _days(self, cells: tuple[str, ...], lines: Sequence[int]) -> np.ndarray:
        days: dict[str, int] = {}
        for text in dict.fromkeys(cells):
            plain = text.strip()
            try:
                if not _DAY.fullmatch(plain):
                    raise ValueError
                if plain.isdigit():
                    plain = f"{plain[:4]}-{plain[4:6]}-{plain[6:]}"
                days[text] = int(np.datetime64(plain[:10], "D").astype(np.int64))
            except ValueError:
                raise self._wrong_cell(
                    f"{quote(plain)} is not a date; write days as YYYY-MM-DD, such as 2024-01-31",
                    lines[cells.index(text)],
                    self.columns["date"],
                ) from None
        numbers = np.fromiter(map(days.__getitem__, cells), dtype=np.int64, count=len(cells))
        return numbers.astype("datetime64[D]")

    def _figures(self, cells: tuple[str, ...], column: int, lines: Sequence[int]) -> Floats:
        try:
            values = np.fromiter(
                (float(cell) if cell else _NAN for cell in cells), np.float64, len(cells)
            )
        except ValueError:
            return self._odd_figures(cells, column, lines)
        odd = ~np.isfinite(values)
        if (odd.any() and any(cells[at] for at in np.flatnonzero(odd).tolist())) or any(
            "_" in cell for cell in cells
        ):
            return self._odd_figures(cells, column, lines)
        return values

    def _odd_figures(self, cells: tuple[str, ...], column: int, lines: Sequence[int]) -> Floats:
        """Convert cells one by one: words for missing figures are blank."""

        def convert(at: int, cell: str) -> float:
            text = cell.strip()
            if text.casefold() in MISSING:
                return _NAN
            value = float(text) if _NUMBER.fullmatch(text) else _NAN
            if not np.isfinite(value):
                raise self._wrong_cell(
                    f"{quote(text)} is not a number; write a plain number such as 101.25, or leave "
                    "the cell blank if it is missing",
                    lines[at],
                    column,
                )
            return value

        return np.array([convert(at, cell) for at, cell in enumerate(cells)], dtype=np.float64)

    def _wrong_cell(self, what: str, line: int, column: int) -> InvalidRequest:
        title = next(title for title, at in self.columns.items() if at == column)
        return _wrong(self.name, what, line=line, place=f", column {column + 1} ({quote(title)})")


def _simple(title: str) -> str:
    """Return a title in small letters, and the usual one for a title of Stooq."""
    plain = title.strip().casefold()
    return _STOOQ.get(plain, plain)


def _wrong(name: str, what: str, *, line: int | None = None, place: str = "") -> InvalidRequest:
    """Return an error with the place, the problem and the remedy."""
    where = name if line is None else f"{name}, line {line}{place}"
    return InvalidRequest(f"{where}: {what}", field="bars", code="malformed_csv")
