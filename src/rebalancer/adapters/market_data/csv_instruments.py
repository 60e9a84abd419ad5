"""Instruments from CSV files, plain or gzipped; errors name their place."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path

import attrs
import numpy as np

from rebalancer.adapters.market_data.csv_tables import NUMBER, Table, read_table
from rebalancer.adapters.market_data.price_files.sheet import quote
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.currencies import quote_unit
from rebalancer.domain.market.instruments import (
    ALWAYS_OPEN,
    AssetClass,
    Instrument,
    Instruments,
    is_market_code,
    is_multiple,
)
from rebalancer.domain.market.symbols import normalize_symbol

_EXAMPLE = "symbol,name,asset_class,currency,market,daily_volume"
_PACKAGED_INSTRUMENTS = Path(__file__).with_name("instruments.csv")


@attrs.frozen(slots=False)
class CsvInstruments:
    """Instruments from a CSV file, read at first use, once.

    Columns: ``symbol`` (required), ``name``, ``asset_class``, ``currency``, ``market``,
    ``daily_volume``, ``quantity_step``, ``lot_size``; others are ignored. A blank or unknown asset
    class counts as equity.
    """

    path: Path = attrs.field(converter=Path)

    def instruments(self) -> Instruments:
        return self._instruments

    @cached_property
    def _instruments(self) -> Instruments:
        return self._read()

    def _read(self) -> Instruments:
        return _instruments_in(
            read_table(self.path, field="assets", example=_EXAMPLE, required=("symbol",))
        )


@attrs.frozen(slots=False)
class PackagedInstruments(CsvInstruments):
    """Packaged list of widely held funds and of the sample's assets, without their currency.

    Daily volumes are orders of magnitude, to one digit, and blank if unknown.
    """

    path: Path = _PACKAGED_INSTRUMENTS


@attrs.frozen(slots=False)
class SampleInstruments(PackagedInstruments):
    """Packaged list for the sample, whose prices are in US dollars."""

    def _read(self) -> Instruments:
        return Instruments.of(attrs.evolve(each, currency="USD") for each in super()._read())


def _instruments_in(table: Table) -> Instruments:
    """Parse the instruments of a file.

    Raises:
        InvalidRequest: a cell is malformed; the message names the place and the remedy.
    """
    symbol = table.required("symbol")
    title, kind, volume, step, lot, currency, market = (
        table.column(it)
        for it in (
            *("name", "asset_class", "daily_volume", "quantity_step", "lot_size"),
            *("currency", "market"),
        )
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
            currency=_currency(table, line, row, currency),
            market=_market(table, line, row, market),
        )
    return Instruments(found)


def _asset_class(text: str) -> AssetClass | None:
    known: dict[str, AssetClass] = {it.value: it for it in AssetClass}
    return known.get(re.sub(r"[\s\-]+", "_", text.strip().casefold()))


def _volume(table: Table, line: int, row: list[str], column: int) -> float | None:
    text = row[column].strip()
    if not text:
        return None
    value = float(text) if NUMBER.fullmatch(text) else np.nan
    if not 0 < value < np.inf:
        raise table.wrong(
            f"{quote(text)} is not a volume; write the value traded in a day as a plain "
            "positive number such as 2500000, or leave the cell blank",
            line=line,
            column=column,
        )
    return value


def _quantity(table: Table, line: int, row: list[str], column: int) -> Decimal | None:
    text = row[column].strip()
    if not text:
        return None
    value = Decimal(text) if NUMBER.fullmatch(text) else Decimal(0)
    if not 0 < float(value) < np.inf:
        raise table.wrong(
            f"{quote(text)} is not a quantity; write the smallest tradable quantity, such as "
            "0.001, or leave the cell blank",
            line=line,
            column=column,
        )
    return value


def _lot(
    table: Table, line: int, row: list[str], column: int | None, step: int | None
) -> Decimal | None:
    text = "" if column is None else row[column].strip()
    if not text or column is None:
        return None
    value = Decimal(text) if NUMBER.fullmatch(text) else Decimal(0)
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


def _currency(table: Table, line: int, row: list[str], column: int | None) -> str | None:
    text = "" if column is None else row[column].strip()
    if not text or column is None:
        return None
    try:
        return quote_unit(text).code
    except InvalidRequest:
        raise table.wrong(
            f"{quote(text)} is not a currency; write the ISO code in which the price is quoted, "
            "such as USD, or a quote unit such as GBX for pence, or leave the cell blank",
            line=line,
            column=column,
        ) from None


def _market(table: Table, line: int, row: list[str], column: int | None) -> str | None:
    text = "" if column is None else row[column].strip().upper()
    if not text or column is None:
        return None
    if text != ALWAYS_OPEN and not is_market_code(text):
        raise table.wrong(
            f"{quote(text)} is not a market; write its ISO 10383 code, such as XNYS, {ALWAYS_OPEN} "
            "for one that never closes, or leave the cell blank",
            line=line,
            column=column,
        )
    return text
