"""Lists in CSV files with one header line; errors name their place."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from rebalancer.adapters.market_data.price_files.sheet import (
    Sheet,
    quote,
    read_content,
    read_sheet,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)
"""A plain number."""


@attrs.frozen
class Table:
    """A file with one header line.

    Attributes:
        sheet: Rows below the header, with as many cells as it has.
        header: Column names, stripped, distinct, none empty.
        example: Header in messages.
    """

    sheet: Sheet
    header: list[str]
    example: str

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


def read_table(path: Path, *, field: str, example: str, required: tuple[str, ...]) -> Table:
    """Split a file, plain or gzipped, into cells and check its shape.

    Raises:
        InvalidRequest: the file is missing or malformed; the message names place and remedy.
    """
    sheet = read_sheet(read_content(path, field), str(path), field=field, example=example)
    header = [normalize_symbol(cell) for cell in sheet.rows[0]]
    table = Table(sheet, header, example)
    _check_header(table)
    for name in required:  # before the rows, whose shape follows from the header
        table.required(name)
    return attrs.evolve(table, sheet=sheet.body(1, len(header), header))


def _check_header(table: Table) -> None:
    seen: dict[str, int] = {}
    for at, title in enumerate(table.header):
        if not title:
            raise table.wrong(
                f"column {at + 1} has no name; name it (a header reads, for example, "
                f"{table.example}), or remove it",
                line=1,
            )
        if title in seen:
            raise table.wrong(
                f"columns {seen[title] + 1} and {at + 1} are both called {quote(title)}; keep one",
                line=1,
            )
        seen[title] = at
