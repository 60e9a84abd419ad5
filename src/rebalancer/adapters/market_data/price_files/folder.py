"""A price file, or a folder of price files as one table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from rebalancer.adapters.market_data.price_files.layouts import read_table
from rebalancer.adapters.market_data.price_files.options import LayoutOptions
from rebalancer.adapters.market_data.price_files.parquet import SUFFIX, is_parquet, read_as_csv
from rebalancer.adapters.market_data.price_files.sheet import read_content as read_text
from rebalancer.adapters.market_data.price_files.table import PriceTable, has_header
from rebalancer.domain.arrays import Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol

_ENDINGS = (".csv", ".txt", ".tsv", SUFFIX)


def read_content(path: Path, field: str) -> bytes:
    """Read a file as text in bytes, unzipped; Parquet as CSV."""
    return read_as_csv(path, field) if is_parquet(path) else read_text(path, field)


def read_path(path: Path, options: LayoutOptions) -> PriceTable:
    """Read a price file, or each price file of a folder.

    Raises:
        InvalidRequest: a file cannot be read or is malformed, or two files have the same symbol.
    """
    if os.path.isdir(path):  # noqa: PTH112  # False for a path that cannot be one
        return _read_folder(path, options)
    content = read_content(path, "prices")
    return read_table(content, str(path), options, symbol=_symbol_of(path))


def _read_folder(folder: Path, options: LayoutOptions) -> PriceTable:
    entries = sorted(it for it in folder.iterdir() if not it.name.startswith("."))
    files = [it for it in entries if _is_price_file(it)]
    others = [it.name for it in entries if it not in files]
    if not files:
        raise InvalidRequest(
            f"{folder}: the folder has no price files; add one for each asset, such as SPY.csv",
            field="prices",
            code="no_prices",
        )
    if options.symbol is not None and len(files) > 1:
        raise InvalidRequest(
            f"{folder}: {len(files)} files cannot all have the symbol {options.symbol}; name each "
            "file after its asset",
            field="layout",
            code="invalid_layout",
        )
    table = _join(folder, files, [_read_file_of_folder(file, options) for file in files])
    if not others:
        return table
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    note = f"Not price files, and left out: {', '.join(others[:3])}{more}."
    return attrs.evolve(table, notes=(*table.notes, note))


def _read_file_of_folder(path: Path, options: LayoutOptions) -> PriceTable:
    """Read a file; one without rows, as downloads of delisted assets are, has no prices."""
    content = read_content(path, "prices")
    if sum(bool(line.strip()) for line in content.splitlines()) > 1 or not has_header(content):
        return read_path(path, options)
    nothing = np.empty((0, 1))
    return PriceTable("", [_symbol_of(path)], [], nothing, {}, notes=("No rows of prices.",))


def _is_price_file(path: Path) -> bool:
    """Whether a file of a folder has prices; a text without a header of a table has not."""
    name = path.name.casefold().removesuffix(".gz")
    if not path.is_file() or not name.endswith(_ENDINGS):
        return False
    return name.endswith(".csv") or has_header(read_content(path, "prices"))


def _symbol_of(path: Path) -> str:
    """Return the name of a file without its endings."""
    name = path.name
    for ending in (".gz", *_ENDINGS):
        if name.casefold().endswith(ending):
            name = name[: -len(ending)]
    return normalize_symbol(name)


def _join(folder: Path, files: Sequence[Path], tables: Sequence[PriceTable]) -> PriceTable:
    """Return the tables side by side, on every day that one of them has."""
    file_of: dict[str, Path] = {}
    for file, table in zip(files, tables, strict=True):
        for symbol in (*table.symbols, *table.yields):
            if symbol in file_of:
                raise InvalidRequest(
                    f"{folder}: {file_of[symbol].name} and {file.name} both have prices of "
                    f"{symbol}; keep one",
                    field="prices",
                    code="duplicate_symbol",
                )
            file_of[symbol] = file
    own = [np.array(table.days, dtype="datetime64[D]") for table in tables]
    days = np.unique(np.concatenate(own))
    rows = [np.searchsorted(days, each) for each in own]
    closes = np.full((len(days), sum(len(table.symbols) for table in tables)), np.nan)
    first = 0
    for table, at in zip(tables, rows, strict=True):
        closes[at, first : first + len(table.symbols)] = table.closes
        first += len(table.symbols)

    def spread(values: Floats, at: Rows) -> Floats:
        whole = np.full(len(days), np.nan)
        whole[at] = values
        return whole

    notes: dict[str, list[str]] = {}
    for file, table in zip(files, tables, strict=True):
        for note in table.notes:
            notes.setdefault(note, []).append(file.name)
    return PriceTable(
        " and ".join(dict.fromkeys(table.layout for table in tables if table.layout)),
        [symbol for table in tables for symbol in table.symbols],
        days.tolist(),
        closes,
        {
            name: spread(values, at)
            for table, at in zip(tables, rows, strict=True)
            for name, values in table.yields.items()
        },
        notes=tuple(_in_files(note, names, len(files)) for note, names in notes.items()),
    )


def _in_files(note: str, names: Sequence[str], count: int) -> str:
    """Return a note with the files that it is about."""
    if len(names) == count:
        return note
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}: {note}"
