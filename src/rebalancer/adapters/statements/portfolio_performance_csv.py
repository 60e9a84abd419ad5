"""Portfolio Performance's CSV exports of the transactions of cash and securities accounts.

A purchase is in the export of its cash account and in that of its securities account. Both rows
get the same identifier, so that importing both files books it once; in one file the row of the
cash account is skipped.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import currency_of
from rebalancer.adapters.statements.csv_formats import ISO, DayFormat, decide_numbers, quote
from rebalancer.adapters.statements.csv_reading import CsvReader, Reading
from rebalancer.adapters.statements.csv_table import Header, Record, Table, normalize_title
from rebalancer.adapters.statements.drafts import NOTHING_MOVES, moves_nothing, round_number
from rebalancer.adapters.statements.portfolio_performance_rows import (
    REFUNDS,
    BookedRow,
    price_currency,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.statements import Instrument

_ZERO = Decimal(0)
_DAYS = (ISO, DayFormat("DD.MM.YYYY"))
_TYPES = {
    "BUY": ("Buy", "Kauf"),
    "SELL": ("Sell", "Verkauf"),
    "DEPOSIT": ("Deposit", "Einlage"),
    "REMOVAL": ("Removal", "Entnahme"),
    "DIVIDENDS": ("Dividend", "Dividends", "Dividende"),
    "INTEREST": ("Interest", "Zinsen"),
    "INTEREST_CHARGE": ("Interest Charge", "Zinsbelastung"),
    "FEES": ("Fees", "Gebühren"),
    "FEES_REFUND": ("Fees Refund", "Gebührenerstattung"),
    "TAXES": ("Taxes", "Steuern"),
    "TAX_REFUND": ("Tax Refund", "Steuerrückerstattung"),
    "TRANSFER_IN": ("Transfer (Inbound)", "Umbuchung (Eingang)"),
    "TRANSFER_OUT": ("Transfer (Outbound)", "Umbuchung (Ausgang)"),
    "DELIVERY_INBOUND": ("Delivery (Inbound)", "Einlieferung"),
    "DELIVERY_OUTBOUND": ("Delivery (Outbound)", "Auslieferung"),
}
_TYPE_OF = {normalize_title(word): name for name, words in _TYPES.items() for word in words}
_CREDITS = frozenset({"DEPOSIT", "DIVIDENDS", "INTEREST", "FEES_REFUND", "TAX_REFUND"})
_MONEY = ("value", "gross", "rate", "fees", "taxes", "shares")


class PortfolioPerformanceCsv(CsvReader):
    name: ClassVar[str] = "portfolio_performance_csv"
    title: ClassVar[str] = "Portfolio Performance (CSV)"
    header: ClassVar[Header] = Header(
        {
            "date": ("Date", "Datum"),
            "type": ("Type", "Typ"),
            "value": ("Value", "Wert"),
            "currency": ("Transaction Currency", "Buchungswährung"),
            "gross": ("Gross Amount", "Bruttobetrag"),
            "gross_currency": ("Currency Gross Amount", "Währung Bruttobetrag"),
            "rate": ("Exchange Rate", "Wechselkurs"),
            "fees": ("Fees", "Gebühren"),
            "taxes": ("Taxes", "Steuern"),
            "shares": ("Shares", "Stück"),
            "isin": ("ISIN",),
            "wkn": ("WKN",),
            "symbol": ("Ticker Symbol", "Ticker-Symbol", "Symbol"),
            "name": ("Security Name", "Wertpapiername"),
            "note": ("Note", "Notiz"),
        },
        ("date", "type", "value", "currency", "shares", "isin", "wkn"),
    )

    def prepare(self, table: Table) -> Table:
        texts = [text for _, text in table.cells("date")]
        days = max(_DAYS, key=lambda one: sum(one.fits(text) for text in texts))
        return attrs.evolve(table, numbers=decide_numbers(table.cells(*_MONEY)), days=days)

    def currency_of(self, table: Table) -> str:
        found = {price_currency(text) for _, text in table.cells("currency")}
        return found.pop() if len(found) == 1 else ""

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        rows: list[tuple[Record, BookedRow]] = []
        for record in records:
            with reading.reporting(record):
                rows.append((record, _booked(record)))
        ids = _trade_ids(rows)
        booked: set[str] = set()
        for record, row in sorted(rows, key=lambda pair: _is_cash_side(*pair)):
            id = ids.get(record.line, "")
            with reading.reporting(record):
                if id in booked:
                    reading.skip(
                        record.line,
                        "cash_side",
                        f"the {row.type.lower()} is booked with its row in the securities account",
                    )
                    continue
                transactions = attrs.evolve(row, id=id).transactions
                if all(map(moves_nothing, transactions)):
                    reading.skip(record.line, "zero_amount", NOTHING_MOVES)
                    continue
                reading.add(*transactions)
                if id:
                    booked.add(id)
                _explain(record, row, reading)


def _booked(record: Record) -> BookedRow:
    """Return a row with its type and amounts."""
    kind = _TYPE_OF.get(normalize_title(record.text("type")))
    if kind is None:
        raise record.unknown("type")
    value = round_number(record.amount("value"), "value")
    if kind in _CREDITS and value < 0:
        raise InvalidRequest(
            f"{quote(record.text('value'))} takes money, and the type of the row brings it; enter "
            "the row by hand",
            field=record.title("value"),
            code="opposite_sign",
        )
    return BookedRow(
        record.line,
        kind,
        record.day("date"),
        abs(value),
        currency_of(record.text("currency"), record.title("currency")),
        round_number(abs(record.number("shares") or _ZERO), "shares"),
        round_number(record.number("fees") or _ZERO, "fees"),
        round_number(record.number("taxes") or _ZERO, "taxes"),
        _instrument(record),
        record.text("note"),
    )


def _instrument(record: Record) -> Instrument | None:
    isin, symbol = record.text("isin"), record.text("symbol")
    name = record.text("name") or record.text("wkn")
    if not (isin or symbol or name):
        return None
    quoted = record.text("gross_currency") or record.text("currency")
    return Instrument(symbol, isin, name, price_currency(quoted.upper()))


def _is_cash_side(record: Record, row: BookedRow) -> bool:
    """Return whether a trade is a row of a cash account, in exports that sign both sides."""
    value = record.number("value") or _ZERO
    return (row.type == "BUY" and value < 0) or (row.type == "SELL" and value > 0)


def _trade_ids(rows: Sequence[tuple[Record, BookedRow]]) -> dict[int, str]:
    """Return identifiers of trades by line; both sides of a trade have the same one."""
    counts: dict[bool, Counter[str]] = defaultdict(Counter)
    found = {}
    for record, row in rows:
        if row.type not in ("BUY", "SELL") or row.instrument is None:
            continue
        asset = row.instrument.isin or row.instrument.symbol or row.instrument.name
        stated = (row.type, record.text("date"), row.value, row.currency, row.shares, asset)
        text = "|".join(
            format(one.normalize(), "f") if isinstance(one, Decimal) else one for one in stated
        )
        side = _is_cash_side(record, row)
        digest = hashlib.sha256(f"{text}|{counts[side][text]}".encode()).hexdigest()
        counts[side][text] += 1
        found[record.line] = f"trade:{digest[:24]}"
    return found


def _explain(record: Record, row: BookedRow, reading: Reading) -> None:
    """Report how a row was interpreted."""
    if row.type in REFUNDS:
        reading.note(
            record.line,
            "refund",
            f"the refund of {row.value} {row.currency} is booked as other income, of the kind "
            "interest",
        )
    elif row.type in ("TRANSFER_IN", "TRANSFER_OUT"):
        reading.note(
            record.line,
            "one_sided_transfer",
            "the file has one account, so the transfer is booked as a flow; if you import the "
            "other account into the same portfolio, both cancel each other",
        )


READERS = (PortfolioPerformanceCsv(),)
