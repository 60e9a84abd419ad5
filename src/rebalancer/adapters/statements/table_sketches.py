"""Sketch tables whose titles no layout knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import localcontext

from rebalancer.adapters.statements.csv_formats import COMMON_DAYS, decide_days, decide_numbers
from rebalancer.adapters.statements.csv_table import (
    DELIMITERS,
    Header,
    Row,
    Table,
    Text,
    decode,
    normalize_title,
    split_rows,
)
from rebalancer.adapters.statements.csv_words import TITLES, WORDS
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.mapping_profiles import (
    Column,
    MappingProfile,
    SignConvention,
    fold_word,
)
from rebalancer.domain.portfolio.table_sketches import TableSketch

FIRST_ROWS = 10
MOST_WORDS = 100
"""Most words for kinds that a sketch lists."""

MOST_TITLES = 60
_LOOKED_AT = 200
"""Rows whose cells are looked at to guess what a column states."""

_DIGITS = 60
_MONEY = (Column.AMOUNT, Column.PRICE, Column.QUANTITY, Column.COST)


def sketch_table(data: bytes) -> TableSketch:
    """Return the beginning of a table, and guesses for a mapping profile.

    The header is the first row that is as wide as most rows and has no number.

    Raises:
        InvalidRequest: the file is not text, or has no table of two columns.
    """
    text = decode(data)
    delimiter, above, header, rows = _find_rows(text)
    known = Header(TITLES, (), prefixes=False).positions(header.cells) or {}
    known |= _guess_by_content(known, header, rows)
    table = Table(header.cells, known, tuple(above), header.line, tuple(rows))
    columns = {Column(name): header.cells[at] for name, at in known.items()}
    places = [at for at, title in enumerate(header.cells) if title][:MOST_TITLES]
    counted = Counter(folded for _, cell in table.cells(Column.KIND) if (folded := fold_word(cell)))
    words = {word: WORDS.get(word, "") for word, _ in counted.most_common(MOST_WORDS)}
    days, mark, signs = "", "", SignConvention.UNSIGNED
    with localcontext(prec=_DIGITS):
        with suppress(InvalidRequest):
            if rows and Column.DATE in columns:
                days = decide_days(table.cells(Column.DATE)).pattern
        with suppress(InvalidRequest):
            cells = table.cells(*_MONEY)
            if any(cell for _, cell in cells):
                numbers = decide_numbers(cells)
                mark = numbers.decimal
                signs = _signs(table, columns)
    return TableSketch(
        tuple(header.cells[at] for at in places),
        tuple(
            tuple(row.cells[at] if at < len(row.cells) else "" for at in places)
            for row in rows[:FIRST_ROWS]
        ),
        len(rows),
        delimiter,
        columns,
        words,
        days,
        mark,
        signs,
    )


def propose_from(sketch: TableSketch, name: str) -> MappingProfile | None:
    """Return the profile of a sketch; None if a column that a profile needs is unknown."""
    with suppress(InvalidRequest):
        return MappingProfile(
            name,
            sketch.columns,
            {word: meaning for word, meaning in sketch.words.items() if meaning},
            signs=sketch.signs,
        )
    return None


def _guess_by_content(known: Mapping[str, int], header: Row, rows: Sequence[Row]) -> dict[str, int]:
    """Return columns of dates and of words for kinds that their titles do not show."""
    found: dict[str, int] = {}
    taken = set(known.values())
    some = rows[:_LOOKED_AT]
    for at, title in enumerate(header.cells):
        cells = [row.cells[at] for row in some if at < len(row.cells) and row.cells[at]]
        if at in taken or not title or not cells:
            continue
        dated = all(any(one.fits(cell) for one in COMMON_DAYS) for cell in cells)
        if dated and Column.DATE not in {*known, *found}:
            found[Column.DATE] = at
        elif Column.KIND not in {*known, *found} and any(fold_word(one) in WORDS for one in cells):
            found[Column.KIND] = at
    return found


def _find_rows(text: Text) -> tuple[str, list[Row], Row, list[Row]]:
    """Return delimiter, rows above the header, header, and rows below it."""
    best: tuple[int, str, list[Row], int] | None = None
    for mark in DELIMITERS:
        with suppress(InvalidRequest):
            rows, _ = split_rows(text.text, mark)
            widths = Counter(len(row.cells) for row in rows if len(row.cells) > 1)
            if widths:
                width, count = widths.most_common(1)[0]
                if best is None or width * count > best[0]:
                    best = (width * count, mark, rows, width)
    if best is None:
        raise InvalidRequest(
            "the file is not a table: no delimiter gives rows of several cells; export it as CSV "
            "with a header",
            field="file",
            code="missing_header",
        )
    _, mark, rows, width = best
    for at, row in enumerate(rows):
        titles = [normalize_title(cell) for cell in row.cells if cell]
        wide = len(row.cells) >= width and len(titles) >= 2
        if wide and not any(title[0].isdigit() for title in titles):
            return mark, rows[:at], row, rows[at + 1 :]
    raise InvalidRequest(
        "the table has no header with titles; add one as its first row",
        field="file",
        code="missing_header",
    )


def _signs(table: Table, columns: Mapping[Column, str]) -> SignConvention:
    def is_signed(column: Column) -> bool:
        texts = (text.strip() for _, text in table.cells(column))
        return column in columns and any(text.startswith(("-", "(", "\u2212")) for text in texts)

    if is_signed(Column.AMOUNT):
        return SignConvention.CASH
    return SignConvention.QUANTITY if is_signed(Column.QUANTITY) else SignConvention.UNSIGNED
