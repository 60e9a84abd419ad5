"""Statements of DEGIRO: the CSV file of transactions, in Dutch, German and English."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import (
    currency_of,
    in_units,
    price_of,
    rounded,
    simple_ratio,
)
from rebalancer.adapters.statements.csv_formats import DayFormat, decide_numbers
from rebalancer.adapters.statements.csv_reading import CsvReader, Reading
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_ID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f-]{9,27}")
_CENTS = Decimal("0.02")
"""Most money by which a total may exceed the value without costs, from rounding."""

_NUMBERS = ("quantity", "price", "local", "value", "fees", "auto_fx", "total")


@attrs.frozen(slots=False)
class Degiro(CsvReader):
    name: ClassVar[str] = "degiro_transactions"
    title: ClassVar[str] = "DEGIRO transactions (CSV)"
    header: ClassVar[Header] = Header(
        {
            "day": ("Date", "Datum"),
            "time": ("Time", "Tijd", "Uhrzeit", "Uhrze"),
            "product": ("Product", "Produkt"),
            "isin": ("ISIN",),
            "quantity": ("Quantity", "Aantal", "Anzahl"),
            "price": ("Price", "Koers", "Kurs"),
            "local": ("Local value", "Lokale waarde", "Wert in Lokalw\u00e4hrung"),
            "value": (
                "Value",
                "Waarde",
                "Wert",
                "Value *",
                "Waarde *",
                "Wert eur",
                "Wert chf",
                "Wert gbp",
                "Wert usd",
            ),
            "rate": ("Exchange rate", "Wisselkoers", "Wechselkurs"),
            "auto_fx": ("AutoFX*",),
            "fees": (
                "Transaction and/or*",
                "Transaction costs*",
                "Transactiekosten*",
                "Transaktionsgeb\u00fchr*",
                "Geb\u00fchr*",
            ),
            "total": ("Total", "Totaal", "Gesamt", "Total *", "Totaal *", "Gesamt *"),
            "order": ("Order ID", "Order-ID", "Order Id"),
        },
        ("day", "time", "product", "isin", "quantity", "price", "local", "value", "total"),
    )

    def prepare(self, table: Table) -> Table:
        numbers = decide_numbers(table.cells(*_NUMBERS))
        return attrs.evolve(table, days=DayFormat("DD-MM-YYYY"), numbers=numbers)

    def currency_of(self, table: Table) -> str:
        found = {_currency(record, "total") for record in table.records()} - {""}
        return found.pop() if len(found) == 1 else ""

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        rest = _without_reorganisations(records, reading)
        orders: dict[str, int] = {}
        for record in rest:
            with reading.reporting(record):
                _add_trade(record, reading, orders)


def order_of(record: Record) -> str:
    """Return the identifier of the order, which recent files have under a blank title."""
    return next(
        (
            cell
            for cell in (record.text("order"), record.beside("order"), *record.cells[-2:])
            if _ID.fullmatch(cell)
        ),
        record.text("order"),
    )


def numbered(order: str, orders: dict[str, int], part: str = "") -> str:
    """Return the identifier of the next fill of an order; empty without an order."""
    if not order:
        return ""
    key = f"{order}:{part}" if part else order
    orders[key] = orders.get(key, 0) + 1
    return f"{key}:{orders[key]}"


def _currency(record: Record, name: str) -> str:
    """Return the currency of an amount: in its title, or in the cell to the right."""
    title = record.title(name)
    found = re.search(r" ([A-Z]{3})$", title)
    return found[1] if found else record.beside(name).upper()


def _instrument(record: Record, currency: str) -> Instrument:
    return Instrument("", record.text("isin"), record.text("product"), currency)


def _without_reorganisations(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Add splits and exchanges of assets: pairs of rows of one time, without order and costs."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if not order_of(record) and not record.text("fees"):
            groups.setdefault((record.text("day"), record.text("time")), []).append(record)
    out: set[int] = set()
    for group in groups.values():
        pair = _pair(group)
        if pair is None:
            continue
        old, new = pair
        out.update((old.line, new.line))
        with reading.reporting(old, new):
            add_reorganisation(
                reading, old, new, abs(old.amount("quantity")), abs(new.amount("quantity"))
            )
    return [record for record in records if record.line not in out]


def _pair(group: Sequence[Record]) -> tuple[Record, Record] | None:
    if len(group) != 2:
        return None
    try:
        signed = sorted(group, key=lambda record: record.amount("quantity"))
        quantities = [record.amount("quantity") for record in signed]
    except InvalidRequest:
        return None
    return (signed[0], signed[1]) if quantities[0] < 0 < quantities[1] else None


def add_reorganisation(
    reading: Reading, old: Record, new: Record, before: Decimal, after: Decimal
) -> None:
    """Add a split, a new ISIN, or an exchange of one asset for another.

    Raises:
        InvalidRequest: the quantities have no simple ratio.
    """
    ratio = Decimal(1) if before == after else simple_ratio(before, after)
    same = old.text("isin") == new.text("isin")
    if ratio is None or (same and before == after):
        raise InvalidRequest(
            f"{after.normalize():f} for {before.normalize():f} units is not a simple ratio; enter "
            "the corporate action by hand",
            code="unknown_ratio",
        )
    kind = EntryKind.SPLIT if same else EntryKind.RENAME if ratio == 1 else EntryKind.MERGER
    on = new.day("day")
    reading.add(
        Transaction(
            min(old.line, new.line),
            kind,
            on,
            instrument=_instrument(old, ""),
            ratio=None if kind is EntryKind.RENAME else ratio,
            other=None if same else _instrument(new, ""),
        ),
        parts=(old, new),
    )
    meaning = {
        EntryKind.SPLIT: f"a split of {ratio.normalize():f} for 1",
        EntryKind.RENAME: f"a new ISIN, {new.text('isin')}",
        EntryKind.MERGER: f"an exchange for {ratio.normalize():f} units of {new.text('isin')}",
    }[kind]
    reading.note(
        max(old.line, new.line),
        "corporate_action",
        f"lines {old.line} and {new.line} were read as {meaning}; check it",
    )


def _add_trade(record: Record, reading: Reading, orders: dict[str, int]) -> None:
    """Add a trade; if it was paid in another currency, also the exchange and the fee."""
    on, order = record.day("day"), order_of(record)
    quantity, local = rounded(record.amount("quantity")), abs(record.amount("local"))
    stated = record.beside("price") or record.beside("local")
    price, currency = in_units(record.amount("price"), stated)
    local, _ = in_units(local, record.beside("local") or stated)
    currency_of(currency, record.title("price"))
    account = currency_of(_currency(record, "total"), record.title("total"))
    total, value = record.amount("total"), record.amount("value")
    buys = quantity > 0
    if not quantity or not (price or local):
        raise InvalidRequest(
            "the row moves units without a price, as some corporate actions do; enter it by hand",
            field=record.title("price"),
            code="missing_price",
        )
    fees = abs(value) - total if not buys else -total - abs(value)
    if -_CENTS <= fees < 0:  # the value is rounded
        value, fees = total, _ZERO
    if fees < 0:
        raise InvalidRequest(
            f"the total {record.text('total')} does not follow from the value "
            f"{record.text('value')} and the costs; correct the row",
            field=record.title("total"),
            code="contradictory_amounts",
        )
    instrument = _instrument(record, currency)
    id = numbered(order, orders)
    trade = Transaction(
        record.line,
        EntryKind.BUY if buys else EntryKind.SELL,
        on,
        local,
        currency,
        instrument,
        abs(quantity),
        rounded(price) or price_of(local, abs(quantity)),
        external_id=id,
    )
    if currency == account:
        reading.add(attrs.evolve(trade, amount=abs(value), cost=fees))
        return
    exchange = Transaction(
        record.line,
        EntryKind.EXCHANGE,
        on,
        abs(value) if buys else local,
        account if buys else currency,
        counter_amount=local if buys else abs(value),
        counter_currency=currency if buys else account,
        external_id=id and numbered(order, orders, "exchange"),
    )
    fee = Transaction(
        record.line,
        EntryKind.FEE,
        on,
        fees,
        account,
        instrument,
        external_id=id and numbered(order, orders, "fee"),
    )
    first, second = (exchange, trade) if buys else (trade, exchange)
    reading.add(first, second, *((fee,) if fees else ()))


READERS = (Degiro(),)
