"""Layouts of price files: each recognises its files and reads them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import attrs
import numpy as np

from rebalancer.adapters.market_data.price_files.bars import find_bars
from rebalancer.adapters.market_data.price_files.days import looks_like_date, read_days
from rebalancer.adapters.market_data.price_files.numbers import Cells
from rebalancer.adapters.market_data.price_files.options import AUTO, LayoutOptions
from rebalancer.adapters.market_data.price_files.sheet import Sheet, quote, read_sheet
from rebalancer.adapters.market_data.price_files.table import (
    Columns,
    PriceTable,
    order_by_day,
    pick_cells,
    read_columns,
    read_prices,
)
from rebalancer.adapters.market_data.price_files.titles import (
    BAR,
    CURRENCIES,
    Field,
    close_rank,
    field_of,
    is_date_title,
    joins_symbols,
    may_be_ticker,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol

_CLOSING = frozenset({Field.CLOSE, Field.ADJUSTED})
_LABELS = frozenset({"", "price", "ticker", "tickers", "symbol", "symbols", "attributes", "field"})


class Layout(ABC):
    """An arrangement of prices in a file.

    Attributes:
        name: How users name it.
        description: What its files look like, for people.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def recognises(self, sheet: Sheet) -> bool:
        """Whether the header is that of this layout."""

    @abstractmethod
    def read(self, sheet: Sheet, options: LayoutOptions, *, symbol: str) -> PriceTable:
        """Read the prices.

        Args:
            sheet: The file.
            options: What the user has stated.
            symbol: Symbol of a file with one asset that does not name it.

        Raises:
            InvalidRequest: the file is malformed, or has another layout.
        """


class TwoHeaders(Layout):
    """Fields and symbols in header lines of their own, as yfinance and pandas write them."""

    name = "yfinance"
    description = "two or three header lines: fields, symbols, and the word Date"

    def recognises(self, sheet: Sheet) -> bool:
        return _header_lines(sheet) is not None

    def read(self, sheet: Sheet, options: LayoutOptions, *, symbol: str) -> PriceTable:
        found = _header_lines(sheet)
        if found is None:
            raise _not_of(self, sheet, "the first two lines do not name a field and a symbol each")
        fields, symbols, dated, first = found
        titles = [f"{field} {name}".strip() for field, name in zip(fields, symbols, strict=True)]
        columns: dict[str, int] = {}
        for at, (field, name) in enumerate(zip(fields, symbols, strict=True)):
            if at == dated or field_of(field) not in _CLOSING:
                continue
            name = name or symbol
            before = columns.get(name)
            if before is not None and _rank(fields[before]) == _rank(field):
                raise sheet.wrong(
                    f"columns {before + 1} and {at + 1} are both {quote(field)} of {quote(name)}; "
                    "keep one",
                    line=sheet.lines[0],
                )
            if before is None or _rank(field) < _rank(fields[before]):
                columns[name] = at
        if not columns:
            raise _not_of(self, sheet, "it has no closes; add the field Close")
        body = sheet.body(first, len(titles), titles)
        days = read_days(
            body, dated, "Date", [row[dated] for row in body.rows], order=options.dates
        )
        wanted = list(columns.values())
        cells = pick_cells(body, wanted, [titles[at] for at in wanted])
        prices = read_prices(cells, list(columns), options, days)
        order, reversed_ = order_by_day(body, dated, "Date", days.days)
        return prices.table(
            self.name, days, order, notes=(*_used(fields, wanted), *days.notes, *reversed_)
        )


def _rank(title: str) -> tuple[bool, int]:
    """Return the rank of a column of closes, adjusted ones first."""
    return field_of(title) is not Field.ADJUSTED, close_rank(title)


def _find_closes(columns: Columns) -> list[int]:
    """Return the columns of closes, the preferred one first."""
    closing = [at for at, field in columns.fields.items() if field in _CLOSING]
    return sorted(closing, key=lambda at: _rank(columns.titles[at]))


def _find_evidence(columns: Columns, price: int) -> Cells:
    """Return the columns of prices, whose numbers have one format."""
    bars = [at for at, field in columns.fields.items() if field in BAR | _CLOSING]
    return columns.cells(bars or [price])


def _used(titles: Sequence[str], columns: Sequence[int]) -> tuple[str, ...]:
    """Return which of several fields were taken."""
    names = dict.fromkeys(titles[at] for at in columns)
    return (f"Prices are those of {' and '.join(map(quote, names))}.",)


def _header_lines(sheet: Sheet) -> tuple[list[str], list[str], int, int] | None:
    """Return fields, symbols, the position of the days and the first row of prices; or None."""
    if len(sheet.rows) < 3:
        return None
    width = max(len(row) for row in sheet.rows[:2])
    head = [
        [normalize_symbol(cell) for cell in row] + [""] * (width - len(row))
        for row in sheet.rows[:3]
    ]
    dated = next((at for at, title in enumerate(head[0]) if title.casefold() == "date"), 0)
    labels = head[0][: dated + 1], head[1][: dated + 1]
    if any(looks_like_date(cell) for cell in labels[1]) or not all(
        cell.casefold() in _LABELS or is_date_title(cell) for cell in (*labels[0], *labels[1])
    ):
        return None
    rows = [_filled(row, dated) for row in head[:2]]
    named = [_all_fields(row[dated + 1 :]) for row in rows]
    below = head[2]
    if named[0] and not any(head[1][dated + 1 :]) and is_date_title(head[1][dated]):
        return head[0], [""] * width, dated, 2  # no symbols: one asset
    if named == [True, False]:
        fields, symbols = rows
    elif named == [False, True]:
        symbols, fields = rows
    else:
        return None
    if not any(symbols[dated + 1 :]):
        return None
    has_third = is_date_title(below[dated]) and not any(below[dated + 1 :])
    return fields, symbols, dated, 3 if has_third else 2


def _filled(row: Sequence[str], dated: int) -> list[str]:
    """Return a header line with blank cells, as merged ones have them, filled from the left."""
    filled = list(row)
    for at in range(dated + 2, len(filled)):
        filled[at] = filled[at] or filled[at - 1]
    return filled


def _all_fields(titles: Sequence[str]) -> bool:
    named = [title for title in titles if title]
    return bool(named) and all(field_of(title) not in (None, Field.SYMBOL) for title in named)


_OF_ACTIONS = frozenset({"ex_date", "kind", "value"})
"""Columns of files of corporate actions, whose values are no prices."""


class Long(Layout):
    """A row for each asset and day: ``date,symbol,close``, with any other columns."""

    name = "long"
    description = "a row for each asset and day: date, symbol, close, and any other columns"

    def recognises(self, sheet: Sheet) -> bool:
        fields = list(map(field_of, sheet.rows[0]))
        if Field.SYMBOL not in fields:
            return False
        if not (_CLOSING & set(fields) or sum(field is None for field in fields) <= 2):
            return False
        at = fields.index(Field.SYMBOL)
        cells = [row[at].strip() for row in sheet.rows[1:50] if at < len(row)]
        return bool(cells) and not all(re.fullmatch(r"[\d.,\s]*", cell) for cell in cells)

    def read(self, sheet: Sheet, options: LayoutOptions, *, symbol: str) -> PriceTable:
        columns = read_columns(sheet)
        fields = columns.fields
        named = [at for at, field in fields.items() if field is Field.SYMBOL]
        titles = {title.strip().casefold() for title in sheet.rows[0]}
        if titles >= _OF_ACTIONS:
            raise sheet.wrong(
                "the columns are those of corporate actions, not of prices; import the file as "
                "actions",
                line=sheet.lines[0],
            )
        if not named:
            raise _not_of(self, sheet, "it has no column symbol; add it")
        closing = _find_closes(columns)
        rest = [at for at, field in fields.items() if field is None]
        if not closing and len(rest) != 1:
            raise _not_of(self, sheet, "it has no column close; add it")
        price = closing[0] if closing else rest[0]
        _check_currency(columns)
        days = columns.days(options)
        symbols: dict[str, int] = {}
        line_of: dict[tuple[int, object], int] = {}
        body, at = columns.sheet, _symbol_column(columns, named)
        column_of = np.empty(len(body.rows), dtype=np.int64)
        for row, (line, cells_of, day) in enumerate(
            zip(body.lines, body.rows, days.days, strict=True)
        ):
            name = normalize_symbol(cells_of[at])
            if not name:
                raise body.wrong(
                    "no symbol; give one, or remove the line",
                    line=line,
                    column=at,
                    title=columns.titles[at],
                )
            column = column_of[row] = symbols.setdefault(name, len(symbols))
            if (column, day) in line_of:
                raise body.wrong(
                    f"{quote(name)} on {day} is also on line {line_of[column, day]}; keep one row "
                    "for each asset and day",
                    line=line,
                )
            line_of[column, day] = line
        names = list(symbols)
        prices = read_prices(
            columns.cells([price]),
            [names[at] for at in column_of],
            options,
            days,
            evidence=_find_evidence(columns, price),
        )
        used = _used(columns.titles, [price]) if len(columns.others) > 2 else ()
        return prices.long_table(
            self.name, names, column_of, days, notes=(*columns.notes, *used, *days.notes)
        )


def _symbol_column(columns: Columns, named: Sequence[int]) -> int:
    """Return the column of symbols: a ticker rather than a name or a code."""
    ranks = ("symbol", "ticker", "act symbol", "stock symbol", "ticker symbol")
    titles = {at: columns.titles[at].strip("<>").replace("_", " ").casefold() for at in named}
    return min(named, key=lambda at: (titles[at] not in ranks, at))


def _check_currency(columns: Columns) -> None:
    """Check that all prices are in one currency."""
    for at, field in columns.fields.items():
        if field is not Field.CURRENCY:
            continue
        first = columns.sheet.rows[0][at].strip()
        for line, row in zip(columns.sheet.lines, columns.sheet.rows, strict=True):
            if row[at].strip() != first:
                raise columns.sheet.wrong(
                    f"prices are in {first} and in {row[at].strip()}; give prices in one currency",
                    line=line,
                    column=at,
                    title=columns.titles[at],
                )


class Bars(Layout):
    """Open, high, low, close, volume and the like of one asset."""

    name = "ohlcv"
    description = "one asset: Open, High, Low, Close, Adj Close, Volume, Change % and the like"

    def recognises(self, sheet: Sheet) -> bool:
        titles = [cell.strip() for cell in sheet.rows[0]]
        named = [title for title in titles if title and not is_date_title(title)]
        kinds = {field_of(title) for title in named}
        if None not in kinds:
            return bool(kinds & _CLOSING)
        sure = {field_of(title) for title in named if not may_be_ticker(title)}
        return bool(sure & _CLOSING) and len(sure & BAR) >= 2

    def read(self, sheet: Sheet, options: LayoutOptions, *, symbol: str) -> PriceTable:
        columns = read_columns(sheet)
        closing = _find_closes(columns)[:1]
        if not closing:
            raise _not_of(self, sheet, "it has no column Close; add it")
        _check_currency(columns)
        days = columns.days(options)
        evidence = _find_evidence(columns, closing[0])
        prices = read_prices(columns.cells(closing), [symbol], options, days, evidence=evidence)
        order, reversed_ = columns.order(days)
        used = _used(columns.titles, closing)
        return prices.table(
            self.name, days, order, notes=(*columns.notes, *used, *days.notes, *reversed_)
        )


class Flat(Layout):
    """Several fields of several assets, each column called after both: ``AAPL_Close``."""

    name = "flat"
    description = "titles of a field and a symbol, such as Close_AAPL, AAPL Close"

    def recognises(self, sheet: Sheet) -> bool:
        titles = [cell.strip() for cell in sheet.rows[0]]
        named = [title for title in titles if title and not is_date_title(title)]
        parts = [_field_and_symbol(title) for title in named]
        return bool(parts) and all(part is not None for part in parts)

    def read(self, sheet: Sheet, options: LayoutOptions, *, symbol: str) -> PriceTable:
        columns = read_columns(sheet)
        chosen: dict[str, int] = {}
        fields: dict[int, str] = {}
        for at in columns.others:
            part = _field_and_symbol(columns.titles[at])
            if part is None or field_of(part[0]) not in _CLOSING:
                continue
            fields[at], name = part
            if name not in chosen or _rank(fields[at]) < _rank(fields[chosen[name]]):
                chosen[name] = at
        if not chosen:
            raise _not_of(self, sheet, "no title has the field Close and a symbol")
        table = _read_wide(self.name, columns, list(chosen.values()), list(chosen), options)
        used = _used([fields.get(at, "") for at in range(len(columns.titles))], [*fields])
        return attrs.evolve(table, notes=(*used, *table.notes))


_JOINT = re.compile(r"[_.\-:|/ ]+")
_PAIR = re.compile(r"""\(\s*['"](.+?)['"]\s*,\s*['"](.+?)['"]\s*\)""")


def _field_and_symbol(title: str) -> tuple[str, str] | None:
    """Split a title into field and symbol, in either order; None if it has no field."""
    title = normalize_symbol(title)
    if pair := _PAIR.fullmatch(title):
        one, other = pair[1], pair[2]
        return (one, other) if joins_symbols(one) else (other, one)
    best: tuple[str, str] | None = None
    for joint in _JOINT.finditer(title):
        left, right = title[: joint.start()], title[joint.end() :]
        for field, name in ((left, right), (right, left)):
            longer = best is None or len(field) > len(best[0])
            if name and longer and joins_symbols(field) and name not in CURRENCIES:
                best = field, name
    return best


class Wide(Layout):
    """A column of days, and a column of closes for each asset, called by its symbol."""

    name = "wide"
    description = "date, and a column of closes for each symbol"

    def recognises(self, sheet: Sheet) -> bool:
        return True

    def read(self, sheet: Sheet, options: LayoutOptions, *, symbol: str) -> PriceTable:
        columns = read_columns(sheet)
        wanted, left_out = columns.others, list[int]()
        if options.name == AUTO:
            wanted, left_out = _assets_among(columns)
        titles = [columns.titles[at] for at in wanted]
        table = _read_wide(self.name, columns, wanted, titles, options)
        bars = find_bars(table.closes) if options.name == AUTO else None
        if bars is not None:
            names = ", ".join(quote(table.symbols[at]) for at in bars)
            raise columns.sheet.unclear(
                f"{names} have the shape of highs, lows, opens and closes of one asset; call them "
                "High, Low, Open and Close, or state the layout wide if they are assets",
                line=columns.line,
            )
        if not left_out:
            return table
        names = ", ".join(quote(columns.titles[at]) for at in left_out)
        note = f"Columns that are not prices of assets are left out: {names}."
        return attrs.evolve(table, notes=(note, *table.notes))


def _assets_among(columns: Columns) -> tuple[list[int], list[int]]:
    """Return the columns of assets, and the columns of volumes, changes and the like.

    Raises:
        InvalidRequest: some columns are fields of one asset, and others are assets.
    """
    titles = set(columns.other_titles)
    fields = {at: _meaning(columns.titles[at], titles) for at in columns.others}
    assets = [
        at for at, field in fields.items() if field is None or may_be_ticker(columns.titles[at])
    ]
    _check_currency(columns)
    beside = (Field.OTHER, Field.CURRENCY)
    left_out = [at for at in fields if at not in assets and fields[at] in beside]
    doubtful = [at for at in fields if at not in assets and at not in left_out]
    if doubtful or not assets:
        names = " and ".join(quote(columns.titles[at]) for at in (doubtful or left_out)[:3])
        known = f"; another column is {quote(columns.titles[assets[0]])}" if assets else ""
        raise columns.sheet.unclear(
            f"{names} may name fields of one asset (layout ohlcv) or symbols of assets "
            f"(layout wide){known}; "
            "state the layout, or remove what is not a price",
            line=columns.line,
        )
    return assets, left_out


def _meaning(title: str, titles: Collection[str]) -> Field | None:
    """Return what a title means; ``AAA Volume`` is a field if AAA has a column."""
    part = _field_and_symbol(title)
    return field_of(part[0]) if part is not None and part[1] in titles else field_of(title)


def _read_wide(
    layout: str,
    columns: Columns,
    wanted: Sequence[int],
    symbols: Sequence[str],
    options: LayoutOptions,
) -> PriceTable:
    """Read columns of closes, and of yields."""
    days = columns.days(options)
    prices = read_prices(columns.cells(wanted), symbols, options, days)
    order, reversed_ = columns.order(days)
    return prices.table(layout, days, order, notes=(*columns.notes, *days.notes, *reversed_))


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (TwoHeaders(), Long(), Bars(), Flat(), Wide())
}
"""Layouts by name, in the order in which they are tried."""


def _not_of(layout: Layout, sheet: Sheet, why: str) -> InvalidRequest:
    """Return the error about a file that has another layout than the stated one."""
    return sheet.unclear(
        f"this file does not have the layout {layout.name} ({layout.description}): {why}",
        line=sheet.lines[0],
    )


def read_table(content: bytes, name: str, options: LayoutOptions, *, symbol: str) -> PriceTable:
    """Read the prices of a file.

    Args:
        content: The file, unzipped.
        name: Its name in messages.
        options: What the user has stated.
        symbol: Symbol of a file with one asset that does not name it.

    Raises:
        InvalidRequest: the file is malformed, or ambiguous; the message names the place.
    """
    sheet = read_sheet(content, name)
    if options.name == AUTO:
        layout = next(each for each in LAYOUTS.values() if each.recognises(sheet))
    else:
        layout = LAYOUTS[options.name]
    return layout.read(sheet, options, symbol=options.symbol or symbol)
