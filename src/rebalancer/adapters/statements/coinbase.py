"""Statements of Coinbase: the CSV file of transactions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import (
    cents,
    currency_of,
    in_kind,
    price_of,
    rounded,
)
from rebalancer.adapters.statements.csv_formats import POINT, DayFormat, quote
from rebalancer.adapters.statements.csv_reading import CsvReader, Reading, each
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_FIAT = frozenset(
    {
        *("AUD", "BRL", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "JPY", "MXN"),
        *("NOK", "NZD", "PLN", "RON", "SEK", "SGD", "TRY", "USD"),
    }
)
"""Currencies whose rows move money, not an asset."""

_TRADE = re.compile(r"(?:advanced? trade )?(buy|sell)")
_CONVERTED = re.compile(r"Converted ([\d.,]+) (\S+) to ([\d.,]+) (\S+)")
_PAIR = re.compile(r"(?:Bought|Sold) [\d.,]+ \S+ for ([\d.,]+) (\S+) on \S+")
_REWARDS = {
    "staking income",
    "inflation reward",
    "rewards income",
    "reward income",
    "learning reward",
    "coinbase earn",
    "subscription rebate",
    "subscription rebates (24 hours)",
}
_TRANSFERS = {
    "send",
    "receive",
    "deposit",
    "withdrawal",
    "exchange deposit",
    "exchange withdrawal",
    "pro deposit",
    "pro withdrawal",
}
_INTERNAL = {
    "retail staking transfer",
    "retail unstaking transfer",
    "staking transfer",
    "unstaking transfer",
    "retail eth2 deprecation",
}
_STAKED = {"ETH2": "ETH"}
"""Names of staked assets, which are the same asset."""


@attrs.frozen(slots=False)
class Coinbase(CsvReader):
    name: ClassVar[str] = "coinbase"
    title: ClassVar[str] = "Coinbase transactions (CSV)"
    header: ClassVar[Header] = Header(
        {
            "id": ("ID",),
            "day": ("Timestamp",),
            "type": ("Transaction Type",),
            "asset": ("Asset",),
            "quantity": ("Quantity Transacted",),
            "currency": ("Price Currency", "Spot Price Currency"),
            "price": ("Price at Transaction", "Spot Price at Transaction"),
            "subtotal": ("Subtotal",),
            "total": ("Total (inclusive of fees and/or spread)", "Total (inclusive of fees)"),
            "fees": ("Fees and/or Spread", "Fees"),
            "notes": ("Notes",),
        },
        ("day", "type", "asset", "quantity", "currency", "price", "subtotal", "total"),
    )

    def prepare(self, table: Table) -> Table:
        return attrs.evolve(table, days=DayFormat("YYYY-MM-DD"))

    def currency_of(self, table: Table) -> str:
        found = {record.text("currency") for record in table.records()} - {""}
        return found.pop() if len(found) == 1 else ""

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        each(records, reading, _add)


def _type(record: Record) -> str:
    return record.text("type").casefold()


def _id(record: Record, part: str = "") -> str:
    """Return the identifier of a row; both rows of a conversion have the same one."""
    id = record.text("id")
    if id and _type(record) == "convert":
        id = f"{id}:{record.text('asset')}"
    return f"{id}:{part}" if id and part else id


def _asset(name: str) -> str:
    return _STAKED.get(name.strip().upper(), name.strip())


def _instrument(record: Record) -> Instrument:
    asset = record.text("asset")
    if not asset:
        raise record.missing("asset")
    return Instrument(_asset(asset), "", "", record.text("currency").upper())


def _currency(record: Record) -> str:
    return currency_of(record.text("currency"), record.title("currency"))


def _add(record: Record, reading: Reading) -> None:
    kind = _type(record)
    trade = _TRADE.fullmatch(kind)
    asset = record.text("asset").upper()
    if asset in _FIAT and kind in _TRANSFERS:
        _add_cash(record, reading)
    elif asset in _FIAT and kind in _REWARDS:
        _add_interest(record, reading)
    elif trade and asset not in _FIAT:
        _add_trade(record, reading, EntryKind(trade[1]))
    elif kind == "convert":
        _add_conversion(record, reading)
    elif kind in _REWARDS:
        _add_reward(record, reading)
    elif kind in _INTERNAL:
        reading.skip(
            record.line, "internal_transfer", "the row moves units within Coinbase; it was skipped"
        )
    elif kind in _TRANSFERS:
        _add_transfer(record, reading)
    else:
        raise record.unknown("type")


def _add_cash(record: Record, reading: Reading) -> None:
    """Add a deposit or withdrawal of money, whose direction is in its kind or its sign."""
    quantity = record.amount("quantity")
    outgoing = quantity < 0 or _type(record) in ("withdrawal", "send", "pro deposit")
    if _type(record) in ("exchange deposit", "exchange withdrawal", "pro withdrawal"):
        outgoing = quantity < 0
    asset = currency_of(record.text("asset"), record.title("asset"))
    reading.add(
        Transaction(
            record.line,
            EntryKind.WITHDRAWAL if outgoing else EntryKind.DEPOSIT,
            record.day("day"),
            abs(quantity),
            asset,
            external_id=_id(record),
            note=record.text("notes") or record.text("type"),
        )
    )


def _add_interest(record: Record, reading: Reading) -> None:
    reading.add(
        Transaction(
            record.line,
            EntryKind.INTEREST,
            record.day("day"),
            record.amount("quantity"),
            currency_of(record.text("asset"), record.title("asset")),
            external_id=_id(record),
            note=record.text("type"),
        )
    )


def _quantity(record: Record, reading: Reading) -> Decimal:
    """Return the units, rounded to the decimals that a ledger has."""
    exact = record.amount("quantity")
    quantity = rounded(exact)
    if quantity != exact:
        reading.note(
            record.line,
            "rounded_quantity",
            f"{exact.normalize():f} was rounded to 12 decimals, {quantity.normalize():f}",
        )
    return quantity


def _price(record: Record, amount: Decimal, quantity: Decimal) -> Decimal:
    return rounded(record.number("price") or price_of(amount, quantity))


def _add_trade(record: Record, reading: Reading, kind: EntryKind) -> None:
    """Add a trade for money, or for another asset by both of its sides."""
    quantity = abs(_quantity(record, reading))
    gross, total = abs(record.amount("subtotal")), abs(record.amount("total"))
    cost = total - gross if kind is EntryKind.BUY else gross - total
    if cost < 0:
        raise InvalidRequest(
            f"the total {record.text('total')} does not follow from the subtotal "
            f"{record.text('subtotal')} and the fees; correct the row",
            field=record.title("total"),
            code="contradictory_amounts",
        )
    currency = _currency(record)
    total, gross = cents(total, currency), cents(gross, currency)
    cost = abs(total - gross)
    trade = Transaction(
        record.line,
        kind,
        record.day("day"),
        gross,
        currency,
        _instrument(record),
        quantity,
        _price(record, gross, quantity),
        cost,
        external_id=_id(record),
        note=record.text("notes"),
    )
    found = _PAIR.match(record.text("notes"))
    if not found or found[2] in _FIAT or found[2] == currency:
        reading.add(trade)
        return
    units = POINT.parse(found[1]) or _ZERO
    counter = Transaction(
        record.line,
        EntryKind.SELL if kind is EntryKind.BUY else EntryKind.BUY,
        trade.on,
        total,
        currency,
        Instrument(_asset(found[2]), "", "", currency),
        rounded(units),
        price_of(total, units),
        external_id=_id(record, "counter"),
        note=record.text("notes"),
    )
    reading.add(*((counter, trade) if kind is EntryKind.BUY else (trade, counter)))


def _add_conversion(record: Record, reading: Reading) -> None:
    """Add a conversion of one asset into another.

    Recent files have a row for each side, with a sign; older ones have one row with a note.
    """
    quantity = _quantity(record, reading)
    found = _CONVERTED.match(record.text("notes"))
    gross, total = abs(record.amount("subtotal")), abs(record.amount("total"))
    currency, on, note = _currency(record), record.day("day"), record.text("notes")
    gross, total = cents(gross, currency), cents(total, currency)
    if not found or quantity < 0:
        buys = quantity > 0
        cost = max(total - gross if buys else gross - total, _ZERO)
        amount = total - cost if buys else total + cost
        reading.add(
            Transaction(
                record.line,
                EntryKind.BUY if buys else EntryKind.SELL,
                on,
                amount,
                currency,
                _instrument(record),
                abs(quantity),
                _price(record, amount, abs(quantity)),
                cost,
                external_id=_id(record),
                note=note,
            )
        )
        return
    given, brought = POINT.parse(found[1]) or _ZERO, POINT.parse(found[3]) or _ZERO
    if found[2].upper() != record.text("asset").upper():
        raise InvalidRequest(
            f"{quote(note)} does not name {record.text('asset')}; correct the row",
            field=record.title("notes"),
            code="contradictory_amounts",
        )
    if _asset(found[2]) == _asset(found[4]):
        reading.skip(record.line, "internal_transfer", "the row moves units within Coinbase")
        return
    cost = max(total - gross, _ZERO)
    reading.add(
        Transaction(
            record.line,
            EntryKind.SELL,
            on,
            total,
            currency,
            _instrument(record),
            rounded(given),
            price_of(total, given),
            external_id=_id(record),
            note=note,
        ),
        Transaction(
            record.line,
            EntryKind.BUY,
            on,
            total - cost,
            currency,
            Instrument(_asset(found[4]), "", "", currency),
            rounded(brought),
            price_of(total - cost, brought),
            cost,
            external_id=_id(record, "counter"),
            note=note,
        ),
    )


def _add_reward(record: Record, reading: Reading) -> None:
    """Add income that is paid in units, as interest and a purchase."""
    quantity = _quantity(record, reading)
    currency, on = _currency(record), record.day("day")
    amount = abs(record.number("subtotal") or record.amount("total"))
    if not amount:
        amount = quantity * (record.number("price") or _ZERO)
    amount = cents(amount, currency)
    instrument = _instrument(record)
    reading.add(
        Transaction(
            record.line,
            EntryKind.INTEREST,
            on,
            amount,
            currency,
            instrument,
            external_id=_id(record),
            note=record.text("type"),
        ),
        Transaction(
            record.line,
            EntryKind.BUY,
            on,
            amount,
            currency,
            instrument,
            quantity,
            _price(record, amount, quantity),
            external_id=_id(record, "purchase"),
            note=record.text("type"),
        ),
    )


def _add_transfer(record: Record, reading: Reading) -> None:
    quantity = _quantity(record, reading)
    if _type(record) in ("send", "withdrawal") and quantity > 0:
        quantity = -quantity  # older files have no sign
    price = rounded(record.number("price") or _ZERO) or None
    reading.add(
        in_kind(
            record,
            quantity,
            price,
            on=record.day("day"),
            currency=_currency(record) if price or record.text("currency") else "",
            instrument=_instrument(record),
            external_id=_id(record),
            note=record.text("notes") or record.text("type"),
        )
    )


READERS = (Coinbase(),)
