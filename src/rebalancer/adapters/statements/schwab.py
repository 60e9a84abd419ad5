"""Statements of Charles Schwab: the CSV file of the transaction history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import (
    in_kind,
    money,
    price_of,
    rounded,
    simple_ratio,
)
from rebalancer.adapters.statements.csv_formats import DayFormat, quote
from rebalancer.adapters.statements.csv_pairs import add_with_taxes, is_charge, without_cancelled
from rebalancer.adapters.statements.csv_reading import AddedUnits, CsvReader, Reading, takes_back
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_OPTION = re.compile(r"\S+ \d{2}/\d{2}/\d{4} [\d.]+ [CP]")
_BUYS = {"buy", "reinvest shares"}
_SALES = {"sell"}
_CANCELS = {"cancel buy": "buy", "cancel sell": "sell", "cancel reinvest shares": "reinvest shares"}
_DIVIDENDS = {
    "cash dividend",
    "dividend",
    "qualified dividend",
    "non-qualified div",
    "qual div reinvest",
    "reinvest dividend",
    "special dividend",
    "special qual div",
    "special non qual div",
    "pr yr cash div",
    "pr yr div reinvest",
    "pr yr non qual div",
    "pr yr non-qual div",
    "pr yr special div",
    "long term cap gain",
    "short term cap gain",
    "long term cap gain reinvest",
    "short term cap gain reinvest",
}
_INTEREST = {
    "credit interest",
    "bank interest",
    "bond interest",
    "reinvest interest",
    "promotional award",
    "schwab atm rebate",
}
_CAPITAL = {"return of capital", "non-taxable div", "cash in lieu"}
_TAXES = {
    "nra tax adj",
    "nra withholding",
    "foreign tax paid",
    "foreign tax reclaim",
    "backup withholding",
}
_FEES = {"service fee", "adr mgmt fee", "advisor fee", "management fee", "margin interest"}
_FLOWS = {
    "moneylink transfer",
    "moneylink deposit",
    "wire received",
    "wire sent",
    "wire funds",
    "wire funds received",
    "funds received",
    "funds paid",
    "journal",
    "internal transfer",
    "misc cash entry",
    "misc credits",
    "visa purchase",
    "atm withdrawal",
    "bill pay",
    "electronic funds transfer",
    "check received",
    "check paid",
}
_IN_KIND = {"journaled shares", "security transfer", "stock plan activity", "share transfer"}
_SWEEPS = {"bank sweep", "auto sweep", "sweep to bank", "sweep from bank", "bank transfer sweep"}
_SPLITS = {"stock split", "stock div dist"}


@attrs.frozen(slots=False)
class Schwab(CsvReader):
    name: ClassVar[str] = "schwab"
    title: ClassVar[str] = "Charles Schwab (CSV)"
    currency: ClassVar[str] = "USD"
    header: ClassVar[Header] = Header(
        {
            "day": ("Date",),
            "action": ("Action",),
            "symbol": ("Symbol",),
            "description": ("Description",),
            "quantity": ("Quantity",),
            "price": ("Price",),
            "fees": ("Fees & Comm",),
            "amount": ("Amount",),
        },
        ("day", "action", "symbol", "description", "quantity", "price", "fees", "amount"),
    )

    def prepare(self, table: Table) -> Table:
        return attrs.evolve(table, days=DayFormat("MM/DD/YYYY"))

    def is_footer(self, cells: tuple[str, ...]) -> bool:
        return cells[0].casefold() in ("transactions total", "total", "totals")

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        rest = without_cancelled(records, reading, _trade_key, lambda one: one.number("amount"))
        rest = _without_reverse_splits(rest, reading)
        taxes = [record for record in rest if _action(record) in _TAXES and is_charge(record)]
        incomes = [record for record in rest if _action(record) in _DIVIDENDS | _INTEREST]
        add_with_taxes(
            rest,
            reading,
            incomes=incomes,
            taxes=taxes,
            key=lambda record: (_day_text(record), record.text("symbol")),
            add_income=_add_income,
            add=_add,
        )


def _action(record: Record) -> str:
    return record.text("action").casefold()


def _trade_key(record: Record) -> tuple[str, ...] | None:
    """Return what a trade and its cancellation have in common; None for other rows."""
    action = _action(record)
    kind = _CANCELS.get(action, action)
    if kind not in _BUYS | _SALES:
        return None
    return (kind, record.text("symbol"), record.text("quantity").lstrip("-"), record.text("price"))


def _day_text(record: Record) -> str:
    """Return the day on which the row has its effect, such as 07/12/2024 of "... as of ..."."""
    return re.split(r" as of ", record.text("day"), flags=re.IGNORECASE)[-1]


def _day(record: Record) -> date:
    text = _day_text(record)
    if not text:
        raise record.missing("day")
    try:
        return record.table.days.parse(text)
    except InvalidRequest as error:
        raise error.at(record.title("day")) from None


def _instrument(record: Record) -> Instrument:
    symbol = record.text("symbol")
    if _OPTION.fullmatch(symbol):
        raise InvalidRequest(
            f"{symbol} is an option, which a ledger does not have; enter its cash by hand",
            field=record.title("symbol"),
            code="unsupported_asset",
        )
    return Instrument(symbol, "", record.text("description"), "USD")


def _without_reverse_splits(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Add reverse splits, which are two rows: the old units leave, and the new ones arrive."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if _action(record) == "reverse split":
            groups.setdefault(_day_text(record), []).append(record)
    out: set[int] = set()
    for group in groups.values():
        out.update(record.line for record in group)
        with reading.reporting(*group):
            signed = sorted(group, key=lambda record: record.amount("quantity"))
            if len(signed) != 2 or not (
                signed[0].amount("quantity") < 0 < signed[1].amount("quantity")
            ):
                raise InvalidRequest(
                    "the reverse split does not have one row with the old and one with the new "
                    "units; enter it by hand",
                    code="incomplete_split",
                )
            old, new = signed
            ratio = simple_ratio(-old.amount("quantity"), new.amount("quantity"))
            if ratio is None:
                raise InvalidRequest(
                    f"{quote(new.text('quantity'))} for {quote(old.text('quantity'))} units is not "
                    "a simple ratio; enter the split by hand",
                    code="unknown_ratio",
                )
            reading.add(
                Transaction(
                    new.line, EntryKind.SPLIT, _day(new), instrument=_instrument(new), ratio=ratio
                ),
                parts=(old,),
            )
    return [record for record in records if record.line not in out]


def _add_income(record: Record, taxes: Sequence[Record], reading: Reading) -> None:
    amount = record.amount("amount")
    if amount < 0:
        raise takes_back(record)
    kind = EntryKind.INTEREST if _action(record) in _INTEREST else EntryKind.DIVIDEND
    reading.add(
        Transaction(
            record.line,
            kind,
            _day(record),
            amount,
            "USD",
            _instrument(record) if record.text("symbol") else None,
            withheld=-sum((tax.amount("amount") for tax in taxes), _ZERO),
            note=_note(record),
        ),
        parts=taxes,
    )


def _note(record: Record) -> str:
    what = record.text("action")
    return what if record.text("symbol") else f"{what}: {record.text('description')}".rstrip(": ")


def _add(record: Record, reading: Reading) -> None:
    action = _action(record)
    if action in _BUYS | _SALES:
        _add_trade(record, reading)
    elif action in _SWEEPS:
        reading.skip(record.line, "cash_sweep", "the row moves cash within the account")
    elif action in _SPLITS:
        added = record.amount("quantity")
        reading.split_later(AddedUnits(record.line, _day(record), _instrument(record), added))
    elif action in _IN_KIND:
        _add_transfer(record, reading)
    elif action in _CAPITAL:
        _add_money(record, reading, EntryKind.RETURN_OF_CAPITAL)
        if action == "cash in lieu":
            reading.note_cash_in_lieu(record)
    elif action in _TAXES:
        _add_money(record, reading, EntryKind.TAX)
    elif action in _FEES:
        _add_money(record, reading, EntryKind.FEE)
    elif action in _FLOWS and not record.number("quantity"):
        amount = record.amount("amount")
        kind = EntryKind.DEPOSIT if amount > 0 else EntryKind.WITHDRAWAL
        reading.add(
            Transaction(record.line, kind, _day(record), abs(amount), "USD", note=_note(record))
        )
    else:
        raise record.unknown("action")


def _add_money(record: Record, reading: Reading, kind: EntryKind) -> None:
    instrument = _instrument(record) if record.text("symbol") else None
    reading.add_money(record, kind, on=_day(record), instrument=instrument, note=_note(record))


def _add_trade(record: Record, reading: Reading) -> None:
    buys = _action(record) in _BUYS
    amount, fees = record.amount("amount"), abs(record.number("fees") or _ZERO)
    if (amount < 0) != buys:
        raise InvalidRequest(
            f"{quote(record.text('amount'))} has the wrong sign for {quote(record.text('action'))}"
            "; correct the row",
            field=record.title("amount"),
            code="contradictory_amounts",
        )
    quantity = abs(rounded(record.amount("quantity")))
    gross = abs(amount) - fees if buys else abs(amount) + fees
    reading.add(
        Transaction(
            record.line,
            EntryKind.BUY if buys else EntryKind.SELL,
            _day(record),
            gross,
            "USD",
            _instrument(record),
            quantity,
            rounded(record.number("price") or price_of(gross, quantity)),
            fees,
            note="" if _action(record) != "reinvest shares" else record.text("action"),
        )
    )


def _add_transfer(record: Record, reading: Reading) -> None:
    quantity, price = rounded(record.amount("quantity")), record.number("price")
    amount = record.number("amount")
    if not price and amount:
        price = price_of(money(abs(amount), "USD"), abs(quantity))
    reading.add(
        in_kind(
            record,
            quantity,
            price,
            on=_day(record),
            currency="USD",
            instrument=_instrument(record),
            note=record.text("action"),
        )
    )


READERS = (Schwab(),)
