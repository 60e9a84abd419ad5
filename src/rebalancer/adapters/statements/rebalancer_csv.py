"""The project's own layout: one entry of a ledger a row, with the names of `EntryKind`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation

import attrs

from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Remark, Statement, Transaction

REQUIRED = ("date", "kind", "symbol", "quantity", "price", "amount")
OPTIONAL = (
    *("cost", "currency", "note", "id", "isin", "name", "withheld", "ratio", "other"),
    *("cost_share", "cost_basis", "counter_amount", "counter_currency"),
)
"""Further columns, which may be missing."""


@attrs.frozen
class RebalancerCsv:
    """Reads the project's own CSV of ledger entries."""

    name: str = "rebalancer_csv"
    title: str = "Rebalancer ledger (CSV)"

    def recognises(self, head: bytes, file_name: str) -> bool:
        """Return whether the first line names the columns of this layout, and no others."""
        first = head.decode("utf-8-sig", "replace").splitlines()[:1]
        columns = _columns(next(csv.reader(first), [])) if first else []
        return set(REQUIRED) <= set(columns) <= {*REQUIRED, *OPTIONAL}

    def read(self, data: bytes) -> Statement:
        """Return the entries of a file, with an error for each row that is not one."""
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise InvalidRequest(
                f"line {line} is not UTF-8 text; save the file as CSV in UTF-8",
                field="file",
                code="not_utf8",
            ) from None
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        found: list[Transaction] = []
        remarks: list[Remark] = []
        line = 1
        try:
            columns = _columns(next(rows, []))
            _check_columns(columns)
            line = rows.line_num + 1
            for row in rows:
                if any(cell.strip() for cell in row):
                    try:
                        found.append(_transaction(line, _cells(columns, row)))
                    except InvalidRequest as error:
                        remarks.append(Remark(line, error.code, error.message, is_error=True))
                line = rows.line_num + 1
        except csv.Error as error:
            raise InvalidRequest(
                f"line {line} is not CSV ({error}); look for an unclosed quote",
                field="file",
                code="malformed_csv",
            ) from None
        return Statement(self.name, tuple(found), tuple(remarks))


READERS: tuple[StatementReader, ...] = (RebalancerCsv(),)


def _columns(row: list[str]) -> list[str]:
    return [title.strip().lower() for title in row]


def _check_columns(columns: list[str]) -> None:
    """Check that a header has the required columns; a layout may be named for another file.

    Raises:
        InvalidRequest: it lacks one.
    """
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InvalidRequest(
            f"the header lacks {', '.join(missing)}; choose the layout of the file, or add the "
            "columns",
            field="file",
            code="missing_header",
        )


def _cells(columns: list[str], row: list[str]) -> Mapping[str, str]:
    """Return the cells of a row by column.

    Raises:
        InvalidRequest: it has more or fewer cells than the header.
    """
    if len(row) != len(columns):
        raise InvalidRequest(
            f"the row has {len(row)} cells and the header has {len(columns)}; give each column "
            "one cell, in quotes if it has a comma",
            field="file",
            code="wrong_number_of_cells",
        )
    return {column: cell.strip() for column, cell in zip(columns, row, strict=True)}


def _transaction(line: int, cells: Mapping[str, str]) -> Transaction:
    kind = cells["kind"].lower()
    if kind not in set(EntryKind):
        raise InvalidRequest(
            f"{cells['kind']!r} is not a kind of entry; choose one of {', '.join(EntryKind)}",
            field="kind",
            code="unknown_kind",
        )
    try:
        day = date.fromisoformat(cells["date"])
    except ValueError:
        raise InvalidRequest(
            f"{cells['date']!r} is not a date; write it as 2026-01-31",
            field="date",
            code="unreadable_date",
        ) from None
    instrument = Instrument(cells["symbol"], cells.get("isin", ""), cells.get("name", ""))
    other = cells.get("other", "")
    return Transaction(
        line=line,
        kind=EntryKind(kind),
        on=day,
        amount=_number(cells, "amount") or Decimal(0),
        currency=cells.get("currency", "").upper(),
        instrument=instrument if instrument != Instrument() else None,
        quantity=_number(cells, "quantity") or Decimal(0),
        price=_number(cells, "price"),
        cost=_number(cells, "cost") or Decimal(0),
        withheld=_number(cells, "withheld") or Decimal(0),
        ratio=_number(cells, "ratio"),
        other=Instrument(other) if other else None,
        cost_share=_number(cells, "cost_share"),
        cost_basis=_number(cells, "cost_basis"),
        counter_amount=_number(cells, "counter_amount"),
        counter_currency=cells.get("counter_currency", "").upper(),
        external_id=cells.get("id", ""),
        note=cells.get("note", ""),
    )


def _number(cells: Mapping[str, str], column: str) -> Decimal | None:
    """Return the number in a cell; None if it is blank or the column is missing."""
    text = cells.get(column, "")
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not text.isascii() or "_" in text or not number.is_finite():
        raise InvalidRequest(
            f"{column}: {text!r} is not a number; write it with a decimal point and without "
            "thousands separators, such as 1234.56",
            field=column,
            code="unreadable_number",
        )
    if number < 0:
        raise InvalidRequest(
            f"{column}: {text} is negative; write it without a sign, as the kind states the "
            "direction",
            field=column,
            code="negative_number",
        )
    return number
