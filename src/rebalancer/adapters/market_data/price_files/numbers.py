"""Numbers as spreadsheets and vendors write them; their format is that of the whole file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

import attrs
import numpy as np

from rebalancer.adapters.market_data.price_files.sheet import Sheet, quote
from rebalancer.adapters.market_data.price_files.titles import CURRENCIES
from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest

MISSING = frozenset(
    {
        *(
            "",
            "null",
            "nan",
            "n/a",
            "na",
            "#n/a",
            "#na",
            "#nv",
            "#n/a n/a",
            "#value!",
            "#ref!",
            "#div/0!",
            "#num!",
            "#name?",
            "none",
            "nd",
            "nil",
        ),
        *("-", "--", "---", "\u2013", "\u2014", "."),
    }
)
"""Words for a missing price, in small letters."""

_PLAIN = b"0123456789.eE+- "  # float() takes nan, inf and 1_000 too: not prices
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
_GAPS = "'\u2019 \u00a0\u202f\u2009"
"""Apostrophes and spaces that separate thousands."""

_CURRENCY = rf"US\$|[$€£¥₹₩₽₺₫฿]|{'|'.join(sorted(CURRENCIES))}"
_DECORATED = re.compile(
    rf"([+-]?)\s*({_CURRENCY})?\s*([+-]?[\d.,{_GAPS}]+?(?:[eE][+-]?\d+)?)"
    rf"\s*({_CURRENCY})?",
    flags=re.ASCII,
)
_GROUPED = re.compile(r"[+-]?\d{1,3}((?P<mark>[.,])(?:\d{2,3}(?P=mark))*\d{3})", flags=re.ASCII)
"""Thousands in groups of three, or of two as in India."""

_SPACED = re.compile(rf"[+-]?\d{{1,3}}([{_GAPS}])\d{{3}}(\1\d{{3}})*([.,]\d*)?", flags=re.ASCII)
_CELL = "write a plain number such as 101.25, or leave the cell blank if the price is missing"
_STATE = (
    "write one price with another number of decimals, or state the mark: decimal=point or "
    "decimal=comma"
)


@attrs.frozen
class Cells:
    """Cells of prices, with their places.

    Attributes:
        sheet: Where they are from.
        columns: Position of each column in the file.
        titles: Title of each column.
        rows: Cells by row and column.
    """

    sheet: Sheet
    columns: Sequence[int]
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]

    def wrong(self, what: str, row: int, column: int) -> InvalidRequest:
        """Return an error about a cell."""
        return self.sheet.wrong(what, **self._place(row, column))

    def unclear(self, what: str, row: int, column: int) -> InvalidRequest:
        """Return an error about a cell that may be read in two ways."""
        return self.sheet.unclear(what, **self._place(row, column))

    def _place(self, row: int, column: int) -> _Place:
        return {
            "line": self.sheet.lines[row],
            "column": self.columns[column],
            "title": self.titles[column],
        }


class _Place(TypedDict):
    line: int
    column: int
    title: str


def read_numbers(
    cells: Cells,
    *,
    evidence: Cells | None = None,
    decimal: str | None = None,
    european: bool = False,
) -> tuple[Floats, list[str]]:
    """Return the numbers, shape (rows, columns), NaN where blank, and what was assumed.

    Args:
        cells: What to read.
        evidence: Cells that decide on the format; by default those to read.
        decimal: The decimal mark, if the user has stated it.
        european: Whether dates are written day.month.year, so that a point may separate thousands
            even where commas separate cells.

    Raises:
        InvalidRequest: a cell is not a number, or the decimal mark is ambiguous.
    """
    found = np.empty((len(cells.rows), len(cells.columns)))
    odd = []
    for at, row in enumerate(cells.rows):
        if not _read_plain(row, found[at]):
            odd.append(at)
    odd = [at for at in odd if not _read_plain(_without_words(cells.rows[at]), found[at])]
    trusted = cells.sheet.separator == "," and not european
    if not odd and decimal in (None, "."):
        commas = evidence is not None and _have(",", evidence.rows)
        if decimal or not _have(".", cells.rows) or (trusted and not commas):
            return found, []
    style = _find_style(evidence or cells, decimal, trusted=trusted)
    if style.decimal != "." or style.thousands == ".":
        odd = list(range(len(cells.rows)))
    for at in odd:
        for column, cell in enumerate(cells.rows[at]):
            found[at, column] = style.read(cell, _refusing(cells, at, column))
    return found, style.notes


def _read_plain(row: Sequence[str], into: Floats) -> bool:
    """Read a row of plain numbers and blanks; return whether it is one."""
    if "".join(row).encode().translate(None, _PLAIN):
        return False
    try:
        into[:] = [float(cell) if cell else np.nan for cell in row]
    except ValueError:
        return False  # such as "1-2", or a cell of spaces
    return True


def _without_words(row: Sequence[str]) -> list[str]:
    """Return the cells without space around them, blank instead of a word for a missing price."""
    cells = [cell.strip() for cell in row]
    return ["" if cell.casefold() in MISSING else cell for cell in cells]


def _have(mark: str, rows: Iterable[Sequence[str]]) -> bool:
    return any(mark in "".join(row) for row in rows)


@attrs.frozen
class _Style:
    """How the numbers of a file are written.

    Attributes:
        decimal: Decimal mark.
        thousands: Mark between thousands, besides spaces and apostrophes; empty without any.
        notes: What a reader should know.
    """

    decimal: str
    thousands: str
    notes: list[str]

    def read(self, cell: str, wrong: Callable[[str], InvalidRequest]) -> float:
        """Return the number in a cell; NaN for a missing one."""
        text = cell.strip()
        if text.casefold() in MISSING:
            return np.nan
        body = _undecorated(text)
        if body is None:
            raise wrong(_complaint(text))
        plain = body
        for mark in (self.thousands, *_GAPS):
            plain = plain.replace(mark, "") if mark else plain
        plain = plain.replace(self.decimal, ".")
        if not _NUMBER.fullmatch(plain) or not self._is_grouped(body):
            raise wrong(_complaint(text))
        return float(plain)

    def _is_grouped(self, body: str) -> bool:
        """Whether thousands are separated in groups, and only before the decimal mark."""
        whole, _, rest = body.partition(self.decimal)
        marks = [mark for mark in (self.thousands, *_GAPS) if mark]
        if any(mark in rest for mark in marks):
            return False
        if not any(mark in whole for mark in marks):
            return True
        return bool(_SPACED.fullmatch(whole) or _GROUPED.fullmatch(whole))


def _undecorated(text: str) -> str | None:
    """Return a number without a currency sign; None if the text is not a number at all."""
    match = _DECORATED.fullmatch(text)
    if match is None or (match[2] and match[4]):
        return None
    return (match[1] + match[3]).strip()


def _complaint(text: str) -> str:
    if text.endswith("%"):
        return f"{quote(text)} is not a price but a percentage; give prices, or remove the column"
    return f"{quote(text)} is not a price; {_CELL}"


def _refusing(cells: Cells, row: int, column: int) -> Callable[[str], InvalidRequest]:
    return lambda what: cells.wrong(what, row, column)


@attrs.define
class _Evidence:
    """First cell that shows each use of a mark."""

    decimal: dict[str, tuple[str, int, int]] = attrs.field(factory=dict)
    thousands: dict[str, tuple[str, int, int]] = attrs.field(factory=dict)
    either: dict[str, tuple[str, int, int]] = attrs.field(factory=dict)

    def add(self, text: str, row: int, column: int) -> None:
        """Take what a cell shows about the marks."""
        body = _undecorated(text)
        if body is None:
            return
        place = (text, row, column)
        mantissa = re.split("[eE]", body)[0]
        points, commas = mantissa.count("."), mantissa.count(",")
        if not points and not commas:
            return
        if points and commas:
            last = "." if mantissa.rindex(".") > mantissa.rindex(",") else ","
            self.decimal.setdefault(last, place)
            self.thousands.setdefault("," if last == "." else ".", place)
            return
        mark = "." if points else ","
        spaced = any(gap in mantissa for gap in _GAPS)
        if points + commas > 1:
            self.thousands.setdefault(mark, place)
        elif not spaced and mantissa == body and _may_be_thousands(mantissa):
            self.either.setdefault(mark, place)
        else:
            self.decimal.setdefault(mark, place)


def _may_be_thousands(mantissa: str) -> bool:
    return bool(_GROUPED.fullmatch(mantissa)) and mantissa.lstrip("+-")[0] != "0"


def _find_style(cells: Cells, decimal: str | None, *, trusted: bool) -> _Style:
    """Infer the marks of decimals and thousands from all cells.

    Args:
        cells: The cells.
        decimal: The decimal mark, if stated.
        trusted: Whether a point is a decimal mark unless something speaks against it.
    """
    seen = _Evidence()
    currencies: dict[str, tuple[int, int]] = {}
    for at, cells_of in enumerate(cells.rows):
        for column, cell in enumerate(cells_of):
            text = cell.strip()
            if "." in text or "," in text:
                seen.add(text, at, column)
            if text and not (text[0].isdecimal() and text[-1].isdecimal()):
                match = _DECORATED.fullmatch(text)
                if match and (match[2] or match[4]):
                    currencies.setdefault(match[2] or match[4], (at, column))
    if len(currencies) > 1:
        one, other = list(currencies)[:2]
        raise cells.wrong(
            f"prices are in {one} and in {other}; give prices in one currency",
            *currencies[other],
        )
    if decimal is None:
        decimal = _decide(cells, seen, trusted=trusted)
    other = "," if decimal == "." else "."
    thousands = other if other in seen.thousands or other in seen.either else ""
    if other in seen.decimal:
        text, row, column = seen.decimal[other]
        raise cells.wrong(
            f"{quote(text)} has a decimal {_name(other)}, and other numbers of the file have a "
            f"decimal {_name(decimal)}; write all of them in one way",
            row,
            column,
        )
    if decimal in seen.thousands:
        text, row, column = seen.thousands[decimal]
        raise cells.wrong(
            f"{quote(text)} has thousands separated by a {_name(decimal)}, which is the decimal "
            "mark of other numbers of the file; write all of them in one way",
            row,
            column,
        )
    notes = [f"Prices are in {sign}." for sign in currencies]
    if decimal == ",":
        notes.append("The decimal mark is a comma.")
    if thousands:
        notes.append(f"A {_name(thousands)} separates thousands.")
    return _Style(decimal, thousands, notes)


def _decide(cells: Cells, seen: _Evidence, *, trusted: bool) -> str:
    """Return the decimal mark that the cells show."""
    for decimal, other in ((".", ","), (",", ".")):
        if decimal in seen.decimal or other in seen.thousands:
            return decimal
    if "," in seen.either or ("." in seen.either and not trusted):
        mark, (text, row, column) = next(iter(seen.either.items()))
        raise cells.unclear(
            f"{quote(text)} may be read with a decimal {_name(mark)} or with separated "
            f"thousands, and no other number of the file decides; {_STATE}",
            row,
            column,
        )
    return "."


def _name(mark: str) -> str:
    return "comma" if mark == "," else "point"
