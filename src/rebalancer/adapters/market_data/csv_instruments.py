"""Instruments from CSV files, plain or gzipped; errors name their place."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path

import attrs
import numpy as np

from rebalancer.adapters.market_data.price_files.sheet import (
    Sheet,
    quote,
    read_content,
    read_sheet,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.instruments import (
    AssetClass,
    Instrument,
    Instruments,
    is_multiple,
)
from rebalancer.domain.market.symbols import normalize_symbol

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
_EXAMPLE = "symbol,name,asset_class,daily_volume"
_PACKAGED_INSTRUMENTS = Path(__file__).with_name("instruments.csv")


@attrs.frozen(slots=False)
class CsvInstruments:
    """Instruments from a CSV file, read at first use, once.

    Columns: ``symbol`` (required), ``name``, ``asset_class``, ``daily_volume``, ``quantity_step``,
    ``lot_size``; others are ignored. A blank or unknown asset class counts as equity.
    """

    path: Path = attrs.field(converter=Path)

    def instruments(self) -> Instruments:
        return self._instruments

    @cached_property
    def _instruments(self) -> Instruments:
        return _instruments_in(read_content(self.path, "assets"), name=str(self.path))


@attrs.frozen(slots=False)
class PackagedInstruments(CsvInstruments):
    """Packaged list of widely held funds and of the sample's assets, in USD.

    Daily volumes are orders of magnitude, to one digit, and blank if unknown.
    """

    path: Path = _PACKAGED_INSTRUMENTS


@attrs.frozen
class _Table:
    """A file with one header line.

    Attributes:
        sheet: Rows below the header, with as many cells as it has.
        header: Column names, stripped, distinct, none empty.
    """

    sheet: Sheet
    header: list[str]

    @property
    def lines(self) -> list[int]:
        """First line of each row."""
        return self.sheet.lines

    @property
    def rows(self) -> list[list[str]]:
        """Cells by row."""
        return self.sheet.rows

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
            raise self.wrong(
                f"the header {quote(','.join(self.header))} has no column {name}; add it",
                line=1,
            )
        return found

    def wrong(
        self, what: str, *, line: int | None = None, column: int | None = None
    ) -> InvalidRequest:
        """Return an error with the place, the problem and the remedy."""
        title = None if column is None else self.header[column]
        return self.sheet.wrong(what, line=line, column=column, title=title)


def _read_table(content: bytes, name: str) -> _Table:
    """Split a file into cells and check its shape."""
    sheet = read_sheet(content, name, field="assets", example=_EXAMPLE)
    header = [normalize_symbol(cell) for cell in sheet.rows[0]]
    table = _Table(sheet, header)
    _check_header(table)
    table.required("symbol")  # before the rows, whose shape follows from the header
    return _Table(sheet.body(1, len(header), header), header)


def _check_header(table: _Table) -> None:
    seen: dict[str, int] = {}
    for at, title in enumerate(table.header):
        if not title:
            raise table.wrong(
                f"column {at + 1} has no name; name it (a header reads, for example, {_EXAMPLE}), "
                "or remove it",
                line=1,
            )
        if title in seen:
            raise table.wrong(
                f"columns {seen[title] + 1} and {at + 1} are both called {quote(title)}; keep one",
                line=1,
            )
        seen[title] = at


def _instruments_in(content: bytes, *, name: str) -> Instruments:
    """Parse the instruments of a CSV file.

    Raises:
        InvalidRequest: the content is malformed; the message names the place and the remedy.
    """
    table = _read_table(content, name)
    symbol = table.required("symbol")
    title, kind, volume, step, lot = (
        table.column(it)
        for it in ("name", "asset_class", "daily_volume", "quantity_step", "lot_size")
    )
    found: dict[str, Instrument] = {}
    seen: dict[str, int] = {}
    for line, row in zip(table.lines, table.rows, strict=True):
        wrong = partial(table.wrong, line=line, column=symbol)
        ticker = normalize_symbol(row[symbol])
        if not ticker:
            raise wrong("no symbol; give one, or remove the line")
        if ticker in seen:
            raise wrong(f"{quote(ticker)} is also on line {seen[ticker]}; keep one line a symbol")
        seen[ticker] = line
        found[ticker] = Instrument(
            ticker,
            name="" if title is None else row[title].strip(),
            asset_class=None if kind is None else _asset_class(row[kind]),
            daily_volume=None if volume is None else _volume(table, line, row, volume),
            quantity_step=None if step is None else _quantity(table, line, row, step),
            lot_size=_lot(table, line, row, lot, step),
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
            f"{quote(text)} is not a volume; write the value traded in a day as a plain "
            "positive number such as 2500000, or leave the cell blank",
            line=line,
            column=column,
        )
    return value


def _quantity(table: _Table, line: int, row: list[str], column: int) -> Decimal | None:
    text = row[column].strip()
    if not text:
        return None
    value = Decimal(text) if _NUMBER.fullmatch(text) else Decimal(0)
    if not 0 < float(value) < np.inf:
        raise table.wrong(
            f"{quote(text)} is not a quantity; write the smallest tradable quantity, such as "
            "0.001, or leave the cell blank",
            line=line,
            column=column,
        )
    return value


def _lot(
    table: _Table, line: int, row: list[str], column: int | None, step: int | None
) -> Decimal | None:
    text = "" if column is None else row[column].strip()
    if not text or column is None:
        return None
    value = Decimal(text) if _NUMBER.fullmatch(text) else Decimal(0)
    if not 1 <= float(value) < np.inf or value != value.to_integral_value():
        raise table.wrong(
            f"{quote(text)} is not a lot size; write the number of shares in a lot, such as 100, "
            "or leave the cell blank",
            line=line,
            column=column,
        )
    smallest = None if step is None else _quantity(table, line, row, step)
    if smallest is not None and not is_multiple(value, smallest):
        raise table.wrong(
            f"a lot of {quote(text)} is not a multiple of the quantity step {smallest}; change one "
            "of them",
            line=line,
            column=column,
        )
    return value
