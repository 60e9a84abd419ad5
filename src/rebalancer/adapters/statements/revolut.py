"""Statements of Revolut: the CSV file of the account with stocks."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import currency_of, money, rounded
from rebalancer.adapters.statements.csv_formats import (
    DayFormat,
    NumberFormat,
    decide_days,
    decide_numbers,
    quote,
)
from rebalancer.adapters.statements.csv_pairs import without_cancelled
from rebalancer.adapters.statements.csv_reading import AddedUnits, CsvReader, Reading
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_CENT = Decimal("0.01")
_MOST_COST = Decimal("0.1")
"""Largest share of a trade that may be its cost."""

_CASH = {
    "cash top-up": EntryKind.DEPOSIT,
    "cash withdrawal": EntryKind.WITHDRAWAL,
    "custody fee": EntryKind.FEE,
    "robo management fee": EntryKind.FEE,
    "custody fee - reversal": EntryKind.INTEREST,
    "custody fee reversal": EntryKind.INTEREST,
    "interest payment": EntryKind.INTEREST,
}
_DAYS = (DayFormat("YYYY-MM-DD"), DayFormat("DD/MM/YYYY"), DayFormat("MM/DD/YYYY"))


@attrs.frozen(slots=False)
class Revolut(CsvReader):
    name: ClassVar[str] = "revolut_stocks"
    title: ClassVar[str] = "Revolut stocks (CSV)"
    header: ClassVar[Header] = Header(
        {
            "day": ("Date",),
            "ticker": ("Ticker",),
            "type": ("Type",),
            "quantity": ("Quantity",),
            "price": ("Price per share",),
            "total": ("Total Amount",),
            "currency": ("Currency",),
            "rate": ("FX Rate",),
        },
        ("day", "ticker", "type", "quantity", "price", "total", "currency", "rate"),
    )

    def prepare(self, table: Table) -> Table:
        cells = [(line, text) for line, text in table.cells("day") if text]
        days = decide_days(cells, _DAYS) if cells else _DAYS[0]
        return attrs.evolve(table, days=days, numbers=decide_numbers(table.cells("price", "total")))

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        if not records:
            return
        quantities = decide_numbers(records[0].table.cells("quantity"))
        for record in without_cancelled(records, reading, _key, _change):
            with reading.reporting(record):
                _add(record, reading, quantities)


def _type(record: Record) -> str:
    return record.text("type").casefold()


def _key(record: Record) -> tuple[str, ...] | None:
    """Return what a row and its reversal have in common; None for other rows."""
    kind = _type(record)
    if kind.startswith("custody fee"):
        return ("custody fee", record.text("currency"))
    if kind.startswith("dividend"):
        return ("dividend", record.text("ticker"), record.text("currency"))
    return None


def _change(record: Record) -> Decimal | None:
    return record.number("total")


def _add(record: Record, reading: Reading, quantities: NumberFormat) -> None:
    kind = _type(record)
    side = kind.split(" - ")[0]
    if side in ("buy", "sell"):
        _add_trade(record, reading, EntryKind(side), quantities)
    elif kind == "dividend":
        _add_dividend(record, reading)
    elif kind.startswith("dividend tax"):
        _add_tax(record, reading)
    elif kind == "stock split":
        added = quantities.parse(record.text("quantity"))
        if added is None:
            raise record.missing("quantity")
        reading.split_later(
            AddedUnits(record.line, record.day("day"), _instrument(record), rounded(added))
        )
    elif kind.startswith("transfer from revolut"):
        reading.skip(
            record.line,
            "internal_transfer",
            "the row moves the account between companies of Revolut and was skipped",
        )
    elif kind in _CASH:
        amount = record.amount("total")
        found = _CASH[kind]
        if not amount:
            reading.skip(record.line, "zero_amount", "the row moves no money")
            return
        if (amount < 0) and found in (EntryKind.DEPOSIT, EntryKind.INTEREST):
            raise _unmatched(record)
        reading.add(
            Transaction(
                record.line,
                found,
                record.day("day"),
                abs(amount),
                _currency(record),
                note=record.text("type"),
            )
        )
    else:
        raise record.unknown("type")


def _currency(record: Record) -> str:
    return currency_of(record.text("currency"), record.title("currency"))


def _instrument(record: Record) -> Instrument:
    return Instrument(record.text("ticker"), "", "", _currency(record))


def _unmatched(record: Record) -> InvalidRequest:
    return InvalidRequest(
        f"{quote(record.text('type'))} of {record.text('total')} takes back what the file does "
        "not have; void the original by hand",
        field=record.title("total"),
        code="unmatched_reversal",
    )


def _add_dividend(record: Record, reading: Reading) -> None:
    amount = record.amount("total")
    if amount < 0:
        raise _unmatched(record)
    reading.add(
        Transaction(
            record.line,
            EntryKind.DIVIDEND,
            record.day("day"),
            amount,
            _currency(record),
            _instrument(record),
            note="after tax",
        )
    )


def _add_tax(record: Record, reading: Reading) -> None:
    """Add a correction of tax: a charge, or a refund."""
    amount = record.amount("total")
    reading.add(
        Transaction(
            record.line,
            reading.charge_kind(record, EntryKind.TAX, amount),
            record.day("day"),
            abs(amount),
            _currency(record),
            _instrument(record),
            note=record.text("type"),
        )
    )


def _add_trade(record: Record, reading: Reading, kind: EntryKind, quantities: NumberFormat) -> None:
    currency = _currency(record)
    quantity = quantities.parse(record.text("quantity"))
    if quantity is None:
        raise record.missing("quantity")
    quantity, price = abs(rounded(quantity)), record.amount("price")
    total, value = abs(record.amount("total")), money(quantity * price, currency)
    cost = total - value if kind is EntryKind.BUY else value - total
    if abs(cost) <= max(_CENT, value / 1000):
        cost = _ZERO  # the price is rounded
    if cost < 0 or cost > value * _MOST_COST + 1:
        raise InvalidRequest(
            f"the total {record.text('total')} does not follow from {record.text('quantity')} at "
            f"{record.text('price')}; correct the row",
            field=record.title("total"),
            code="contradictory_amounts",
        )
    reading.add(
        Transaction(
            record.line,
            kind,
            record.day("day"),
            total - cost if kind is EntryKind.BUY else total + cost,
            currency,
            _instrument(record),
            quantity,
            rounded(price),
            cost,
        )
    )


READERS = (Revolut(),)
