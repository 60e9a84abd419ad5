"""Reading of holdings from a file or from pasted lines."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import attrs

from rebalancer_app.model.formats import Formats
from rebalancer_app.model.numbers import read_number

MOST_LINES = 500
MOST_BYTES = 1_000_000

_SYMBOLS = {"symbol", "ticker", "wertpapier", "kürzel", "instrument", "asset"}
_QUANTITIES = {"quantity", "shares", "units", "stück", "stückzahl", "anzahl", "bestand", "qty"}
_TARGETS = {"target", "weight", "ziel", "gewicht", "target %", "ziel %"}
_CASH = {"cash", "bargeld", "barbestand", "$cash", "guthaben"}


@attrs.frozen
class HoldingsFile:
    """What a file of holdings holds.

    Attributes:
        holdings: Units by symbol.
        targets: Target shares by symbol, as fractions; empty without that column.
        cash: Money that a line for cash states.
        mistakes: Number of the line and its text, for each line that cannot be read.
    """

    holdings: dict[str, Decimal]
    targets: dict[str, Decimal]
    cash: Decimal
    mistakes: tuple[tuple[int, str], ...]


def read_holdings(data: bytes, formats: Formats) -> HoldingsFile:
    """Read holdings: a symbol and a quantity a line, perhaps with a header and a target.

    Columns are separated by commas, semicolons or tabs. Units of a symbol in several lines add up.
    """
    text = _decode(data[:MOST_BYTES])
    dialect = _delimiter(text)
    lines = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=dialect), start=1)
        if any(cell.strip() for cell in row)
    ]
    columns = (0, 1, 2 if lines and len(lines[0][1]) > 2 else None)
    if lines and (found := _header(lines[0][1])) is not None:
        columns, lines = found, lines[1:]
    holdings: dict[str, Decimal] = {}
    targets: dict[str, Decimal] = {}
    cash, mistakes = Decimal(0), []
    for number, row in lines[:MOST_LINES]:
        symbol = _cell(row, columns[0]).upper()
        quantity = read_number(_cell(row, columns[1]), formats)
        target = read_number(_cell(row, columns[2]).rstrip("% "), formats)
        if not symbol or quantity is None or quantity < 0:
            mistakes.append((number, " ".join(row)[:80]))
        elif symbol.casefold() in _CASH:
            cash += quantity
        else:
            holdings[symbol] = holdings.get(symbol, Decimal(0)) + quantity
            if target is not None and target >= 0:
                targets[symbol] = targets.get(symbol, Decimal(0)) + target
    mistakes += [(number, " ".join(row)[:80]) for number, row in lines[MOST_LINES:]]
    if sum(targets.values()) > Decimal("1.5"):  # percent
        targets = {symbol: target / 100 for symbol, target in targets.items()}
    return HoldingsFile(holdings, targets, cash, tuple(mistakes))


def _decode(data: bytes) -> str:
    for encoding in ("utf-8-sig", "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    counts = {mark: first.count(mark) for mark in ("\t", ";", ",")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ("," if "," in first else " ")


def _header(row: list[str]) -> tuple[int, int, int | None] | None:
    names = [cell.casefold() for cell in row]

    def find(known: set[str]) -> int | None:
        return next((at for at, name in enumerate(names) if name in known), None)

    symbol, quantity = find(_SYMBOLS), find(_QUANTITIES)
    return None if symbol is None or quantity is None else (symbol, quantity, find(_TARGETS))


def _cell(row: list[str], at: int | None) -> str:
    return row[at] if at is not None and at < len(row) else ""
