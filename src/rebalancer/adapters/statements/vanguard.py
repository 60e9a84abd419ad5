"""Statements of Vanguard: the CSV file of holdings and transactions of one account."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import in_kind, price_of, rounded
from rebalancer.adapters.statements.csv_formats import DayFormat, decide_days, quote
from rebalancer.adapters.statements.csv_pairs import add_with_taxes, is_charge, without_cancelled
from rebalancer.adapters.statements.csv_reading import (
    AddedUnits,
    CsvReader,
    Reading,
    check_one_account,
    takes_back,
)
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
SETTLEMENT = frozenset({"VMFXX"})
"""Money-market fund that holds the cash of an account."""

_BUYS = {
    "buy",
    "buy (exchange)",
    "reinvestment",
    "reinvestment (lt gain)",
    "reinvestment (st gain)",
}
_SALES = {"sell", "sell (exchange)", "corp action (redemption)"}
_DIVIDENDS = {
    "dividend",
    "dividend received",
    "capital gain (lt)",
    "capital gain (st)",
    "capital gain",
}
_TAXES = {"withholding", "foreign tax", "foreign tax paid", "tax withheld"}
_FEES = {"fee", "advisory fee", "account fee", "service fee", "margin interest"}
_FLOWS = {
    "funds received",
    "withdrawal",
    "contribution",
    "distribution",
    "rollover (incoming)",
    "rollover (outgoing)",
    "transfer (incoming)",
    "transfer (outgoing)",
    "conversion (incoming)",
    "conversion (outgoing)",
    "wire in",
    "wire out",
}
_SWEEPS = {"sweep in", "sweep out"}


@attrs.frozen(slots=False)
class Vanguard(CsvReader):
    name: ClassVar[str] = "vanguard"
    title: ClassVar[str] = "Vanguard (CSV)"
    currency: ClassVar[str] = "USD"
    header: ClassVar[Header] = Header(
        {
            "account": ("Account Number",),
            "day": ("Trade Date",),
            "settled": ("Settlement Date",),
            "kind": ("Transaction Type",),
            "description": ("Transaction Description",),
            "name": ("Investment Name",),
            "symbol": ("Symbol",),
            "shares": ("Shares",),
            "price": ("Share Price",),
            "principal": ("Principal Amount",),
            "fees": ("Commissions and Fees", "Commission Fees", "Commission*"),
            "amount": ("Net Amount",),
            "accrued": ("Accrued Interest",),
            "type": ("Account Type",),
        },
        ("account", "day", "kind", "name", "symbol", "shares", "price", "principal", "amount"),
    )

    def prepare(self, table: Table) -> Table:
        cells = [(line, text) for line, text in table.cells("day") if text]
        formats = (DayFormat("MM/DD/YYYY"), DayFormat("YYYY-MM-DD"))
        return attrs.evolve(table, days=decide_days(cells, formats) if cells else formats[0])

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        check_one_account(records, "account")
        rest = without_cancelled(records, reading, _trade_key, lambda one: one.number("amount"))
        incomes = [record for record in rest if _kind(record) in {*_DIVIDENDS, "interest"}]
        taxes = [record for record in rest if _kind(record) in _TAXES and is_charge(record)]
        add_with_taxes(
            rest,
            reading,
            incomes=incomes,
            taxes=taxes,
            key=lambda record: (record.text("day"), record.text("symbol")),
            add_income=_add_income,
            add=_add,
        )


def _kind(record: Record) -> str:
    """Return the kind of a row, of which a cancellation has the same."""
    text = record.text("kind").casefold()
    for word in (" (cancelled)", " (cancel)", " cancel", "cancel "):
        text = text.replace(word, "")
    return text.strip()


def _trade_key(record: Record) -> tuple[str, ...] | None:
    """Return what a row and its cancellation have in common; None for other rows."""
    kind = _kind(record)
    if kind not in _BUYS | _SALES | _DIVIDENDS:
        return None
    shares = record.text("shares").lstrip("-").strip("()")
    return (kind, record.text("symbol"), record.text("name"), shares, record.text("price"))


def _instrument(record: Record) -> Instrument:
    return Instrument(record.text("symbol"), "", record.text("name"), "USD")


def _is_settlement(record: Record) -> bool:
    return record.text("symbol").upper() in SETTLEMENT


def _note(record: Record) -> str:
    kind, text = record.text("kind"), record.text("description")
    return kind if text.casefold() in ("", kind.casefold()) else f"{kind}: {text}"


def _add_income(record: Record, taxes: Sequence[Record], reading: Reading) -> None:
    amount = record.amount("amount")
    if amount < 0:
        raise takes_back(record, "kind")
    named = (record.text("symbol") or record.text("name")) and not _is_settlement(record)
    pays_interest = _kind(record) == "interest" or _is_settlement(record)
    reading.add(
        Transaction(
            record.line,
            EntryKind.INTEREST if pays_interest else EntryKind.DIVIDEND,
            record.day("day"),
            amount,
            "USD",
            _instrument(record) if named else None,
            withheld=-sum((tax.amount("amount") for tax in taxes), _ZERO),
            note=_note(record),
        ),
        parts=taxes,
    )


def _add(record: Record, reading: Reading) -> None:
    kind = _kind(record)
    if kind in _SWEEPS or (kind in _BUYS | _SALES and _is_settlement(record)):
        reading.skip(record.line, "cash_sweep", "the row moves cash to or from the settlement fund")
    elif kind in _BUYS | _SALES:
        _add_trade(record, reading, EntryKind.BUY if kind in _BUYS else EntryKind.SELL)
    elif kind == "stock split":
        added = record.amount("shares")
        reading.split_later(AddedUnits(record.line, record.day("day"), _instrument(record), added))
    elif kind in _FEES | _TAXES:
        amount = record.amount("amount")
        charge = EntryKind.FEE if kind in _FEES else EntryKind.TAX
        reading.add(
            Transaction(
                record.line,
                reading.charge_kind(record, charge, amount),
                record.day("day"),
                abs(amount),
                "USD",
                _instrument(record) if record.text("symbol") else None,
                note=_note(record),
            )
        )
    elif kind == "return of capital":
        reading.add(
            Transaction(
                record.line,
                EntryKind.RETURN_OF_CAPITAL,
                record.day("day"),
                record.amount("amount"),
                "USD",
                _instrument(record),
                note=_note(record),
            )
        )
    elif kind in _FLOWS:
        _add_flow(record, reading)
    else:
        raise record.unknown("kind")


def _add_trade(record: Record, reading: Reading, kind: EntryKind) -> None:
    amount, buys = record.amount("amount"), kind is EntryKind.BUY
    if (amount < 0) != buys:
        raise InvalidRequest(
            f"{quote(record.text('amount'))} has the wrong sign for {quote(record.text('kind'))}; "
            "correct the row",
            field=record.title("amount"),
            code="contradictory_amounts",
        )
    costs = abs(record.number("fees") or _ZERO)
    gross = abs(amount) - costs if buys else abs(amount) + costs
    shares = abs(rounded(record.amount("shares")))
    reading.add(
        Transaction(
            record.line,
            kind,
            record.day("day"),
            gross,
            "USD",
            _instrument(record),
            shares,
            rounded(record.number("price") or price_of(gross, shares)),
            costs,
            note=record.text("kind") if "reinvest" in _kind(record) else "",
        )
    )


def _add_flow(record: Record, reading: Reading) -> None:
    """Add a deposit or withdrawal, of money or of units."""
    shares, amount = record.number("shares"), record.amount("amount")
    if shares and not _is_settlement(record):
        outgoing = "(outgoing)" in _kind(record)
        price = record.number("price") or (price_of(abs(amount), abs(shares)) if amount else None)
        reading.add(
            in_kind(
                record,
                rounded(-abs(shares) if outgoing else shares),
                price,
                on=record.day("day"),
                currency="USD",
                instrument=_instrument(record),
                note=_note(record),
            )
        )
        return
    if not amount:
        raise record.missing("amount")
    reading.add(
        Transaction(
            record.line,
            EntryKind.DEPOSIT if amount > 0 else EntryKind.WITHDRAWAL,
            record.day("day"),
            abs(amount),
            "USD",
            note=_note(record),
        )
    )


READERS = (Vanguard(),)
