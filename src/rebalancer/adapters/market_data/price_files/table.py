"""Prices of a file in order of time, and the parts that all layouts share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from operator import itemgetter

import attrs
import numpy as np

from rebalancer.adapters.market_data.price_files.days import Days, looks_like_date, read_days
from rebalancer.adapters.market_data.price_files.numbers import Cells, read_numbers
from rebalancer.adapters.market_data.price_files.options import LayoutOptions
from rebalancer.adapters.market_data.price_files.sheet import EXAMPLE, Sheet, quote, read_sheet
from rebalancer.adapters.market_data.price_files.titles import (
    Field,
    field_of,
    is_date_title,
    is_index_title,
)
from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol

_SEARCHED = 40
"""Rows in which a header is looked for below lines of text."""

YIELDS = frozenset(
    {
        *("^IRX", "^FVX", "^TNX", "^TYX", "DTB3", "DTB4WK", "DTB6", "DTB1YR", "TB3MS", "FEDFUNDS"),
        *("DGS1MO", "DGS3MO", "DGS6MO", "DGS1", "DGS2", "DGS3", "DGS5", "DGS7", "DGS10", "DGS20"),
        "DGS30",
    }
)
"""Symbols of yields in percent a year: Yahoo's indices of Treasuries, and series of FRED."""

_HIGHEST_YIELD = 25.0
"""Percent a year; a column of such a name with higher values holds prices."""

_LONG_COUNT = 20
"""Rows from which on a count is not a price, whatever its title."""

_CHANGES, _FEWEST = 0.1, 10
"""Share of values of 0 or less above which a column holds no prices, given so many values."""


@attrs.frozen
class PriceTable:
    """Prices of a file.

    Attributes:
        layout: Name of the layout.
        symbols: N distinct symbols.
        days: T days, increasing.
        closes: Shape (T, N), NaN where a price is missing.
        yields: By column, percent a year, shape (T,), NaN where missing.
        notes: What was assumed, as sentences.
    """

    layout: str
    symbols: list[str]
    days: list[date]
    closes: Floats
    yields: dict[str, Floats] = attrs.field(factory=dict)
    notes: tuple[str, ...] = ()


@attrs.frozen
class Columns:
    """Columns with one header line.

    Attributes:
        sheet: Rows below the header.
        titles: Every title of the header.
        line: Line of the header.
        date: Position of the column of days.
        others: Positions of the other columns, without those that number the rows.
        notes: What was assumed, as sentences.
    """

    sheet: Sheet
    titles: list[str]
    line: int
    date: int
    others: list[int]
    notes: tuple[str, ...]

    @property
    def other_titles(self) -> list[str]:
        """Titles of the other columns."""
        return [self.titles[at] for at in self.others]

    @property
    def fields(self) -> dict[int, Field | None]:
        """Meaning of the titles of the other columns."""
        return {at: field_of(self.titles[at]) for at in self.others}

    def order(self, days: Days) -> tuple[Rows, list[str]]:
        """Return the order of the rows; see `order_by_day`."""
        return order_by_day(self.sheet, self.date, self.titles[self.date], days.days)

    def cells(self, columns: Sequence[int]) -> Cells:
        """Return the cells of some columns."""
        return pick_cells(self.sheet, columns, [self.titles[at] for at in columns])

    def days(self, options: LayoutOptions) -> Days:
        """Parse the column of days."""
        texts = [row[self.date] for row in self.sheet.rows]
        return read_days(self.sheet, self.date, self.titles[self.date], texts, order=options.dates)


def pick_cells(sheet: Sheet, columns: Sequence[int], titles: Sequence[str]) -> Cells:
    """Return the cells of some columns of a sheet."""
    rows: Sequence[Sequence[str]]
    if len(columns) == 1:
        rows = [(row[columns[0]],) for row in sheet.rows]
    elif len(columns) > 1 and columns[-1] - columns[0] == len(columns) - 1:
        rows = [row[columns[0] : columns[-1] + 1] for row in sheet.rows]
    else:
        rows = list(map(itemgetter(*columns), sheet.rows)) if columns else [()] * len(sheet.rows)
    return Cells(sheet, columns, titles, rows)


def read_columns(sheet: Sheet) -> Columns:
    """Read a header of one line, and find the column of days.

    Raises:
        InvalidRequest: the column of days is missing, a title is missing or repeated, or a row has
            another number of cells.
    """
    titles = [normalize_symbol(cell) for cell in sheet.rows[0]]
    while titles and not titles[-1] and _is_blank(sheet, len(titles) - 1):
        titles.pop()
    top = sheet.lines[0]
    dated = _find_date(sheet, titles)
    body = sheet.body(1, len(titles), titles)
    numbering = [
        at
        for at, title in enumerate(titles)
        if at != dated
        and (is_index_title(title) or len(body.rows) >= _LONG_COUNT)
        and _is_numbering(body.rows, at)
    ]
    seen: dict[str, int] = {}
    for at, title in enumerate(titles):
        if at in numbering or (at == dated and not title):
            continue
        if not title:
            raise sheet.wrong(
                f"column {at + 1} has no name; name it (a header reads, for example, {EXAMPLE}), "
                "or remove it",
                line=top,
            )
        if title in seen:
            raise sheet.wrong(
                f"columns {seen[title] + 1} and {at + 1} are both called {quote(title)}; keep one",
                line=top,
            )
        seen[title] = at
    others = [at for at in range(len(titles)) if at != dated and at not in numbering]
    if not others:
        raise sheet.wrong(
            "no symbols: the only column is date; add a column of closes for each asset", line=top
        )
    notes = ("A column that numbers the rows is left out.",) if numbering else ()
    return Columns(body, titles, top, dated, others, notes)


def has_header(content: bytes) -> bool:
    """Whether a text begins with the header of a table of prices."""
    try:
        sheet = read_sheet(content, "")
    except InvalidRequest:
        return False
    return len(sheet.rows[0]) > 1 and any(map(is_date_title, sheet.rows[0]))


def _find_date(sheet: Sheet, titles: Sequence[str]) -> int:
    """Return the position of the column of days."""
    exact = [at for at, title in enumerate(titles) if title.casefold() == "date"]
    if len(exact) > 1:
        raise sheet.wrong(
            f"columns {exact[0] + 1} and {exact[1] + 1} are both called date; keep one",
            line=sheet.lines[0],
        )
    if exact:
        return exact[0]
    if not any(map(looks_like_date, titles)):
        named = [at for at, title in enumerate(titles) if is_date_title(title)]
        places: list[int] = [*named, *range(len(titles))]
        for at in places:
            cells = [row[at] for row in sheet.rows[1:] if at < len(row)]
            if cells and all(map(looks_like_date, cells)):
                return at
        if named:
            return named[0]
    if sum(map(looks_like_date, titles)) > 1:
        raise sheet.wrong(
            "the header has days in its columns, so the table is transposed; write a row for each "
            f"day, with a header such as {EXAMPLE}",
            line=sheet.lines[0],
        )
    later: int | None = next(
        (
            line
            for line, row in zip(sheet.lines[1:_SEARCHED], sheet.rows[1:_SEARCHED], strict=True)
            if any(cell.strip().casefold() in ("date", "datum", "timestamp") for cell in row)
        ),
        None,
    )
    hint = f"; line {later} looks like a header: remove the lines above it" if later else ""
    raise sheet.wrong(
        f"the header {quote(','.join(titles))} has no column date; add it{hint}",
        line=sheet.lines[0],
    )


def _is_blank(sheet: Sheet, column: int) -> bool:
    return all(not row[column].strip() for row in sheet.rows if len(row) > column)


def _is_numbering(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether the cells of a column count up or down, from or to 0 or 1."""
    if not {rows[0][column].strip(), rows[-1][column].strip()} & {"0", "1"}:
        return False
    stripped = [row[column].strip() for row in rows]
    if not all(cell.isascii() and cell.isdigit() for cell in stripped):
        return False
    numbers = [int(cell) for cell in stripped]
    if numbers[0] > numbers[-1]:
        numbers.reverse()
    return numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def order_by_day(
    sheet: Sheet, column: int, title: str, days: Sequence[date]
) -> tuple[Rows, list[str]]:
    """Return the order of the rows from the oldest day on, and what was assumed.

    Raises:
        InvalidRequest: a day occurs twice, or the days neither increase nor decrease.
    """
    line_of: dict[date, int] = {}
    for line, day in zip(sheet.lines, days, strict=True):
        if day in line_of:
            raise sheet.wrong(
                f"the date {day} is also on line {line_of[day]}; keep one row a day",
                line=line,
                column=column,
                title=title,
            )
        line_of[day] = line
    rows = np.arange(len(days))
    if len(days) > 1 and all(later < day for day, later in pairwise(days)):
        return rows[::-1], ["The rows are newest first."]
    for at, (day, later) in enumerate(pairwise(days)):
        if later < day:
            raise sheet.wrong(
                f"the date {later} comes after {day}; sort the rows by date, oldest first",
                line=sheet.lines[at + 1],
                column=column,
                title=title,
            )
    return rows, []


@attrs.frozen
class Numbers:
    """Numbers of a file, and which of them are yields.

    Attributes:
        names: Symbol of each column; in a layout of one column, of each row.
        values: Shape (rows, columns), NaN where blank; prices are positive and finite.
        yields: Names whose numbers are yields.
        notes: What was assumed, as sentences.
    """

    names: Sequence[str]
    values: Floats
    yields: frozenset[str]
    notes: tuple[str, ...]

    def table(self, layout: str, days: Days, order: Rows, *, notes: Sequence[str]) -> PriceTable:
        """Return the columns as a table, the rows in the given order."""
        in_order = bool(len(order) < 2 or order[0] < order[1])
        values = self.values if in_order else self.values[order]
        return self._split(
            layout,
            list(self.names),
            days.days if in_order else days.days[::-1],
            values,
            notes,
        )

    def long_table(
        self,
        layout: str,
        symbols: list[str],
        columns: Rows,
        days: Days,
        *,
        notes: Sequence[str],
    ) -> PriceTable:
        """Return the rows of a single column as a table with a column for each symbol.

        Args:
            layout: Name of the layout.
            symbols: Symbols of the table.
            columns: Place of each row's symbol among them.
            days: Day of each row.
            notes: What was assumed before.
        """
        unique, rows = np.unique(np.array(days.days, dtype="datetime64[D]"), return_inverse=True)
        values = np.full((len(unique), len(symbols)), np.nan)
        values[rows, columns] = self.values[:, 0]
        return self._split(layout, symbols, unique.tolist(), values, notes)

    def _split(
        self,
        layout: str,
        names: list[str],
        days: list[date],
        values: Floats,
        notes: Sequence[str],
    ) -> PriceTable:
        """Return prices and yields apart."""
        if not self.yields:
            return PriceTable(layout, names, days, values, notes=(*notes, *self.notes))
        rates = [at for at, name in enumerate(names) if name in self.yields]
        prices = [at for at, name in enumerate(names) if name not in self.yields]
        listed = ", ".join(names[at] for at in rates)
        return PriceTable(
            layout,
            [names[at] for at in prices],
            days,
            values[:, prices],
            {names[at]: values[:, at] for at in rates},
            notes=(f"Yields in percent a year, not prices: {listed}.", *notes, *self.notes),
        )


def read_prices(
    cells: Cells,
    names: Sequence[str],
    options: LayoutOptions,
    days: Days,
    *,
    evidence: Cells | None = None,
) -> Numbers:
    """Return the numbers of some cells; prices are positive and finite, others are missing.

    Args:
        cells: Columns of prices or yields.
        names: Symbol of each column; of each row if there is one column and several rows.
        options: What the user has stated.
        days: Days of the rows.
        evidence: Cells that decide on the format of numbers; by default those to read.

    Raises:
        InvalidRequest: a cell is not a price.
    """
    values, notes = read_numbers(
        cells, evidence=evidence, decimal=options.decimal, european=days.european
    )
    by_row = len(names) != len(cells.columns)
    yields = frozenset(
        name
        for name in (YIELDS | options.yields) & set(names)
        if _holds_yields(name, names, values, options, by_row=by_row)
    )
    free = np.array([name in yields for name in names])
    shown = np.where(free[:, None] if by_row else free, np.nan, values) if yields else values
    low = ~np.isnan(shown) & ~((shown > 0) & np.isfinite(shown))
    if low.any():
        values, more = _without_low(cells, names, values, low, by_row=by_row)
        notes = [*notes, *more]
    return Numbers(names, values, yields, tuple(notes))


def _holds_yields(
    name: str, names: Sequence[str], values: Floats, options: LayoutOptions, *, by_row: bool
) -> bool:
    """Whether the numbers of a name that may be a yield are not too high for one."""
    if name in options.yields:
        return True
    own = np.array([each == name for each in names])
    known = values[own] if by_row else values[:, own]
    known = known[~np.isnan(known)]
    return not known.size or bool(known.max() <= _HIGHEST_YIELD)


def _without_low(
    cells: Cells, names: Sequence[str], values: Floats, low: Bools, *, by_row: bool
) -> tuple[Floats, list[str]]:
    """Take numbers that are no prices for missing, and a name with many of them for no prices.

    Vendors write 0 for a missing price, and a price below 0, as oil had in 2020, cannot be
    invested in. Neither prevents the use of other assets.

    Args:
        cells: The cells.
        names: Symbol of each column, or of each row.
        values: Their numbers.
        low: Which numbers are 0 or less, or not finite.
        by_row: Whether names are those of the rows.

    Raises:
        InvalidRequest: nothing else is left; the message names the first place.
    """
    left, notes = values.copy(), []
    all_names = np.array(names, dtype=object)
    for name in dict.fromkeys(all_names[low.any(axis=1 if by_row else 0)]):
        own = all_names == name
        cut = own if by_row else (slice(None), own)
        count, known = int(low[cut].sum()), int((~np.isnan(values[cut])).sum())
        if known >= _FEWEST and count > _CHANGES * known:
            left[cut] = np.nan
            notes.append(
                f"{name} has no prices: {count} of its {known} values are 0 or less, as changes, "
                "returns and yields are."
            )
            continue
        left[cut] = np.where(low[cut], np.nan, values[cut])
        row, column = (int(i) for i in np.argwhere(low & (own[:, None] if by_row else own))[0])
        notes.append(
            f"{name} has {count} {'value' if count == 1 else 'values'} that cannot be a price, "
            f"{'' if count == 1 else 'first '}{quote(cells.rows[row][column].strip())} on line "
            f"{cells.sheet.lines[row]}: taken as missing."
        )
    if np.isnan(left).all():
        row, column = (int(i) for i in np.argwhere(low)[0])
        raise cells.wrong(
            f"{quote(cells.rows[row][column].strip())} is not a price, and no other value of the "
            "file is; prices are positive and finite: give prices, not changes or returns, or "
            f"state that the column holds yields: yields={cells.titles[column]}",
            row,
            column,
        )
    return left, notes
