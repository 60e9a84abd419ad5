"""Statements of Fidelity: the CSV file of the activity of one account."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import in_kind, price_of, rounded, simple_ratio
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
CORE = frozenset({"SPAXX", "FDRXX", "FZFXX", "FCASH", "QPIKQ", "FDLXX", "FZDXX"})
"""Money-market funds and bank deposits that hold the cash of an account."""

_OPTION = re.compile(r"-?[A-Z]{1,6}\d{6}[CP][\d.]+")
_CANCELLED = re.compile(r"\b(?:cancell?ed|cancel|cxl)\b", re.IGNORECASE)
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sweep", ("purchase into core", "redemption from core", "core account")),
    ("buy", ("you bought", "reinvestment", "reinvest ")),
    ("sell", ("you sold", "redemption payout")),
    ("capital", ("return of capital", "in lieu of frx share", "in lieu of frac")),
    ("tax", ("foreign tax paid", "non-resident tax", "tax withheld", "foreign tax")),
    ("fee", ("fee charged", "advisory fee", "adr ", "service charge", "margin interest")),
    (
        "dividend",
        ("dividend received", "long-term cap gain", "short-term cap gain", "dividend"),
    ),
    ("interest", ("interest earned", "interest")),
    ("reverse_split", ("reverse split",)),
    ("split", ("stock split",)),
    ("in_kind", ("transfer of assets", "transferred", "journaled", "distribution")),
    (
        "flow",
        (
            "electronic funds transfer",
            "direct deposit",
            "direct debit",
            "check received",
            "check paid",
            "wire transfer",
            "cash contribution",
            "contribution",
            "partic contr",
            "co contr",
            "rollover",
            "normal distr",
            "bill payment",
            "debit card",
            "cash advance",
            "deposit",
        ),
    ),
)
"""Kinds with the words with which actions begin; the first one that fits counts."""


@attrs.frozen(slots=False)
class Fidelity(CsvReader):
    name: ClassVar[str] = "fidelity"
    title: ClassVar[str] = "Fidelity (CSV)"
    currency: ClassVar[str] = "USD"
    header: ClassVar[Header] = Header(
        {
            "day": ("Run Date",),
            "account": ("Account Number", "Account"),
            "action": ("Action",),
            "symbol": ("Symbol",),
            "description": ("Description", "Security Description"),
            "type": ("Type", "Security Type"),
            "quantity": ("Quantity",),
            "currency": ("Currency",),
            "price": ("Price ($)", "Price"),
            "commission": ("Commission ($)", "Commission"),
            "fees": ("Fees ($)", "Fees"),
            "accrued": ("Accrued Interest ($)", "Accrued Interest"),
            "amount": ("Amount ($)", "Amount"),
            "settled": ("Settlement Date",),
        },
        ("day", "action", "symbol", "description", "quantity", "price", "commission", "amount"),
    )

    def prepare(self, table: Table) -> Table:
        cells = [
            (row.line, row.cells[table.columns["day"]])
            for row in table.rows
            if not self.is_footer(row.cells) and len(row.cells) > table.columns["day"]
        ]
        formats = (DayFormat("MM/DD/YYYY"), DayFormat("MM-DD-YYYY"), DayFormat("MMM-DD-YYYY"))
        return attrs.evolve(table, days=decide_days(cells, formats) if cells else formats[0])

    def is_footer(self, cells: tuple[str, ...]) -> bool:
        words = cells[0].split()
        return len(words) > 2 and words[0][:1].isalpha() and not any(cells[2:])

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        check_one_account(records, "account")
        rest = without_cancelled(records, reading, _trade_key, lambda one: one.number("amount"))
        rest = _without_reverse_splits(rest, reading)
        incomes = [record for record in rest if _kind(record) in ("dividend", "interest")]
        taxes = [record for record in rest if _kind(record) == "tax" and is_charge(record)]
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
    text = _CANCELLED.sub(" ", record.text("action")).strip().casefold()
    text = re.sub(r"\s+", " ", text)
    for kind, words in _KINDS:
        if text.startswith(words):
            return kind
    return ""


def _trade_key(record: Record) -> tuple[str, ...] | None:
    """Return what a trade and its cancellation have in common; None for other rows."""
    kind = _kind(record)
    if kind not in ("buy", "sell", "dividend"):
        return None
    return (kind, record.text("symbol"), record.text("quantity").lstrip("-"), record.text("price"))


def _is_core(record: Record) -> bool:
    return record.text("symbol").rstrip("*").upper() in CORE


def _instrument(record: Record) -> Instrument:
    symbol = record.text("symbol")
    if _OPTION.fullmatch(symbol):
        raise InvalidRequest(
            f"{symbol} is an option, which a ledger does not have; enter its cash by hand",
            field=record.title("symbol"),
            code="unsupported_asset",
        )
    name = record.text("description")
    return Instrument(symbol, "", "" if name.casefold() == "no description" else name, "USD")


def _check_currency(record: Record) -> None:
    if record.text("currency").upper() not in ("", "USD"):
        raise InvalidRequest(
            f"{quote(record.text('currency'))} is not USD, the currency of the account; enter the "
            "row by hand",
            field=record.title("currency"),
            code="invalid_currency",
        )


def _without_reverse_splits(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Add reverse splits, which are two rows: the old units leave, and the new ones arrive."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if _kind(record) == "reverse_split":
            groups.setdefault(record.text("day"), []).append(record)
    out: set[int] = set()
    for group in groups.values():
        out.update(record.line for record in group)
        with reading.reporting(*group):
            signed = sorted(group, key=lambda record: record.amount("quantity"))
            old, new = signed[0], signed[-1]
            if len(signed) != 2 or not old.amount("quantity") < 0 < new.amount("quantity"):
                raise InvalidRequest(
                    "the reverse split does not have one row with the old and one with the new "
                    "units; enter it by hand",
                    code="incomplete_split",
                )
            ratio = simple_ratio(-old.amount("quantity"), new.amount("quantity"))
            if ratio is None:
                raise InvalidRequest(
                    f"{quote(new.text('quantity'))} for {quote(old.text('quantity'))} units is not "
                    "a simple ratio; enter the split by hand",
                    code="unknown_ratio",
                )
            reading.add(
                Transaction(
                    new.line,
                    EntryKind.SPLIT,
                    new.day("day"),
                    instrument=_instrument(new),
                    ratio=ratio,
                ),
                parts=(old,),
            )
    return [record for record in records if record.line not in out]


def _add_income(record: Record, taxes: Sequence[Record], reading: Reading) -> None:
    _check_currency(record)
    amount = record.amount("amount")
    if amount < 0 and _kind(record) == "dividend":
        raise takes_back(record)
    kind = EntryKind.DIVIDEND if _kind(record) == "dividend" else EntryKind.INTEREST
    if _is_core(record):
        kind = EntryKind.INTEREST
    if amount < 0:
        kind = EntryKind.FEE
    named = record.text("symbol") and not _is_core(record)
    reading.add(
        Transaction(
            record.line,
            kind,
            record.day("day"),
            abs(amount),
            "USD",
            _instrument(record) if named else None,
            withheld=-sum((tax.amount("amount") for tax in taxes), _ZERO),
            note=record.text("action"),
        ),
        parts=taxes,
    )


def _add(record: Record, reading: Reading) -> None:
    _check_currency(record)
    kind = _kind(record)
    if _CANCELLED.search(record.text("action")):
        raise takes_back(record)
    if kind == "sweep" or (kind in ("buy", "sell") and _is_core(record)):
        reading.skip(
            record.line,
            "cash_sweep",
            "the row moves cash to or from the money-market fund of the account",
        )
    elif kind in ("buy", "sell"):
        _add_trade(record, reading, EntryKind(kind))
    elif kind == "capital":
        _add_money(record, reading, EntryKind.RETURN_OF_CAPITAL)
        if "in lieu" in record.text("action").casefold():
            reading.note_cash_in_lieu(record)
    elif kind in ("fee", "tax"):
        _add_money(record, reading, EntryKind(kind))
    elif kind == "split":
        added = record.amount("quantity")
        reading.split_later(AddedUnits(record.line, record.day("day"), _instrument(record), added))
    elif kind in ("in_kind", "flow"):
        _add_flow(record, reading)
    else:
        raise record.unknown("action")


def _add_money(record: Record, reading: Reading, kind: EntryKind) -> None:
    instrument = _instrument(record) if record.text("symbol") else None
    reading.add_money(
        record, kind, on=record.day("day"), instrument=instrument, note=record.text("action")
    )


def _add_trade(record: Record, reading: Reading, kind: EntryKind) -> None:
    amount, buys = record.amount("amount"), kind is EntryKind.BUY
    quantity = rounded(record.amount("quantity"))
    if (amount < 0) != buys or (quantity > 0) != buys:
        raise InvalidRequest(
            f"{quote(record.text('amount'))} or {quote(record.text('quantity'))} has the wrong "
            f"sign for {quote(record.text('action'))}; correct the row",
            field=record.title("amount"),
            code="contradictory_amounts",
        )
    costs = abs(record.number("commission") or _ZERO) + abs(record.number("fees") or _ZERO)
    gross = abs(amount) - costs if buys else abs(amount) + costs
    price = record.number("price") or price_of(gross, abs(quantity))
    reading.add(
        Transaction(
            record.line,
            kind,
            record.day("day"),
            gross,
            "USD",
            _instrument(record),
            abs(quantity),
            rounded(price),
            costs,
            note="Reinvestment" if "reinvest" in record.text("action").casefold() else "",
        )
    )


def _add_flow(record: Record, reading: Reading) -> None:
    """Add a deposit or withdrawal, of money or of units."""
    quantity, amount = record.number("quantity"), record.number("amount") or _ZERO
    if quantity and not _is_core(record):
        price = record.number("price")
        reading.add(
            in_kind(
                record,
                rounded(quantity),
                price or (price_of(abs(amount), abs(quantity)) if amount else None),
                on=record.day("day"),
                currency="USD",
                instrument=_instrument(record),
                note=record.text("action"),
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
            note=record.text("action"),
        )
    )


READERS = (Fidelity(),)
