"""Prices from CSV files, plain or gzipped; errors name their place."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from functools import partial
from pathlib import Path

import attrs
import numpy as np

from rebalancer.adapters.market_data.csv_table import Table, parse_table, quote, read_content
from rebalancer.application.history_provider import HistoryProvider
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)([T ]00:00(:00(\.0+)?)?(Z|[+-]\d\d:?\d\d)?)?", flags=re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
_OF_NUMBERS = b"0123456789.eE+- "  # float() takes nan, inf and 1_000 too: not prices
_CELL = "write a plain number such as 101.25, or leave the cell blank if the price is missing"


@attrs.frozen(slots=False)
class CsvPrices(HistoryProvider):
    """Adjusted closes from ``FILE.csv`` or ``FILE.csv.gz``, read at first use, once.

    The column ``date`` (in any case) has ISO days, oldest first; each other column has the adjusted
    closes of the symbol in its header. A blank cell is a missing price, see
    `rebalancer.domain.market.gaps`; a row of blank cells is left out.

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


def _read_prices(path: Path) -> PriceHistory:
    content = read_content(path, "prices")
    table = parse_table(content, str(path), "prices", key="date", example="date,SPY,AGG")
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
            f"{quote(table.rows[at][columns[column]].strip())} is not a price; prices are "
            "positive and finite: correct it, or leave the cell blank if the price is missing",
            line=table.lines[at],
            column=columns[column],
        )
    if np.isnan(closes).all():
        raise table.wrong("not one price; fill in closes, or leave the file out", line=1)
    return history_of([table.header[at] for at in columns], days, closes)


def _days(table: Table, column: int) -> list[date]:
    """Parse the day of each row; days must increase."""
    days: list[date] = []
    line_of: dict[date, int] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        wrong = partial(table.wrong, line=line, column=column)
        text = row[column].strip()
        match = _DATE.fullmatch(text)
        if match is None:
            raise wrong(
                f"{quote(text)} is not a date; write days as YYYY-MM-DD, such as 2024-01-31"
            )
        try:
            day = date.fromisoformat(match[1])
        except ValueError:
            raise wrong(
                f"{quote(text)} is not a day of the calendar; correct it (YYYY-MM-DD)"
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


def _numbers(table: Table, line: int, cells: list[str], columns: list[int]) -> list[float]:
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
            raise table.wrong(f"{quote(text)} is not a price; {_CELL}", line=line, column=column)
        numbers.append(float(text) if text else np.nan)
    return numbers
