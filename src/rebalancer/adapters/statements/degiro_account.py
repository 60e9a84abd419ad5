"""Statements of DEGIRO: the CSV file of the account, in Dutch, German and English."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import ClassVar

import attrs

from rebalancer.adapters.statements.csv_amounts import currency_of, in_units, rounded
from rebalancer.adapters.statements.csv_formats import (
    COMMA,
    POINT,
    DayFormat,
    NumberFormat,
    decide_numbers,
    quote,
)
from rebalancer.adapters.statements.csv_pairs import with_taxes, without_cancelled
from rebalancer.adapters.statements.csv_reading import CsvReader, Reading
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.adapters.statements.degiro import add_reorganisation, numbered, order_of
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import CHARGES, EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_CENT = Decimal("0.01")
_CENTS = Decimal("0.05")
"""Most money by which the rows of a corporate action may differ, from rounded prices."""

_TRADE = re.compile(
    r"(?:(?P<action>[^:]+?) ?: ?)?(?:(?P<side>Koop|Verkoop|Kauf|Verkauf|Buy|Sell) )?"
    r"(?P<quantity>\d[\d.,']*)(?P<name> [^@]{0,80}?)??\s?(?:@|zu je|at) ?"
    r"(?P<price>\d[\d.,']*) (?P<currency>[A-Za-z]{3})(?: \([A-Z0-9]*\))?",
    flags=re.IGNORECASE,
)
_LONGEST = 300
"""Characters of the longest description of a trade."""

_SALES = {"verkoop", "verkauf", "sell"}

_SWEEPS = (
    "cash sweep transfer",
    "geldrekening bij flatex",
    "geldkonto bei der flatex",
    "cash account at flatex",
    "processed flatex withdrawal",
    "reservation ideal",
    "reservering ideal",
    "conversie geldmarktfonds",
    "geldmarktfonds umwandlung",
    "geldmarktfonds preis",
    "money market fund",
    "koersverandering geldmarktfonds",
)
"""Moves between the account and the bank or the money-market fund that holds its cash."""

_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("dividend_tax", ("dividendbelasting", "dividendensteuer", "dividend tax")),
    (
        "fee",
        (
            "transactiekosten",
            "transaktionsgeb\u00fchr",
            "transaction and/or third party",
            "transaction fee",
            "aansluitingskosten",
            "einrichtung von handelsmodalit\u00e4ten",
            "exchange connection fee",
            "adr/gdr",
            "zahlungsgeb\u00fchr",
            "payment fee",
            "betalingskosten",
            "corporate action fee",
            "corporate action cost",
            "corporate action kosten",
            "kosten corporate action",
        ),
    ),
    (
        "tax",
        (
            "stamp duty",
            "financial transaction tax",
            "transaction tax",
            "transactiebelasting",
            "finanztransaktionssteuer",
            "beurstaks",
        ),
    ),
    ("return_of_capital", ("capital return", "kapitaalterug", "kapitalr\u00fcckzahlung")),
    ("dividend", ("dividend", "fund distribution", "fondsaussch\u00fcttung", "fondsuitkering")),
    ("interest", ("interest", "rente", "zinsen")),
    ("exchange", ("valuta creditering", "valuta debitering", "w\u00e4hrungswechsel", "fx credit")),
    ("exchange", ("fx debit", "fx withdrawal")),
    (
        "deposit",
        ("ideal deposit", "ideal storting", "sofort", "flatex deposit", "flatex storting"),
    ),
    ("withdrawal", ("terugstorting", "auszahlung", "withdrawal", "opname")),
    ("deposit", ("storting", "einzahlung", "deposit")),
)
"""Kinds with the words by which descriptions name them; the first one that fits counts."""


@attrs.frozen(slots=False)
class DegiroAccount(CsvReader):
    name: ClassVar[str] = "degiro_account"
    title: ClassVar[str] = "DEGIRO account statement (CSV)"
    header: ClassVar[Header] = Header(
        {
            "day": ("Date", "Datum"),
            "time": ("Time", "Tijd", "Uhrze", "Uhrzeit"),
            "value_day": ("Value date", "Valutadatum"),
            "product": ("Product", "Produkt"),
            "isin": ("ISIN",),
            "description": ("Description", "Omschrijving", "Beschreibung"),
            "rate": ("FX",),
            "currency": ("Change", "Mutatie", "\u00c4nderung"),
            "balance": ("Balance", "Saldo"),
            "order": ("Order Id", "Order ID", "Order-ID"),
        },
        ("day", "time", "value_day", "isin", "description", "currency", "balance"),
    )

    def prepare(self, table: Table) -> Table:
        places = [table.columns["currency"] + 1, table.columns["balance"] + 1]
        cells = [
            (row.line, row.cells[at]) for row in table.rows for at in places if at < len(row.cells)
        ]
        numbers = decide_numbers(cells)
        return attrs.evolve(table, days=DayFormat("DD-MM-YYYY"), numbers=numbers)

    def currency_of(self, table: Table) -> str:
        for kind in ("deposit", "withdrawal", "fee"):
            found = {
                record.text("currency") for record in table.records() if _kind(record) == kind
            } - {""}
            if len(found) == 1:
                return found.pop()
        return ""

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        _Account(_joined(records, reading), reading).add_all()


def _joined(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Join rows that continue the row above, with the rest of its order or description."""
    found: list[Record] = []
    for record in records:
        if record.text("day") or record.text("time") or not found:
            found.append(record)
            continue
        last = found[-1]
        cells = tuple(one + two for one, two in zip(last.cells, record.cells, strict=False))
        found[-1] = attrs.evolve(last, cells=cells)
        reading.skip(record.line, "continued_row", f"the row continues line {last.line}")
    return found


def _change(record: Record) -> Decimal:
    """Return the change of cash, which is right of its currency; 0 if it is blank."""
    return record.number_in(record.beside("currency"), "currency") or _ZERO


def _safe_change(record: Record) -> Decimal:
    try:
        return _change(record)
    except InvalidRequest:
        return _ZERO  # reported with its row


def _trade(record: Record) -> re.Match[str] | None:
    """Return the parts of the description of a trade; None for other rows."""
    text = record.text("description")
    return _TRADE.fullmatch(text) if len(text) <= _LONGEST else None


def _kind(record: Record) -> str:
    text = record.text("description").casefold()
    return next((kind for kind, words in _KINDS if any(word in text for word in words)), "")


def _is_sweep(record: Record) -> bool:
    text = record.text("description").casefold()
    return any(word in text for word in _SWEEPS)


@attrs.define
class _Account:
    """The rows of an account statement, from which transactions are put together."""

    records: list[Record]
    reading: Reading
    orders: dict[str, int] = attrs.field(factory=dict)

    def add_all(self) -> None:
        rest = self._without_sweeps(self.records)
        rest = self._without_cancelled(rest)
        trades = [record for record in rest if _trade(record)]
        lines = {record.line for record in trades}
        others = [record for record in rest if record.line not in lines]
        by_kind: dict[str, list[Record]] = {}
        for record in others:
            by_kind.setdefault(_kind(record), []).append(record)
        self._add_trades(trades, by_kind.pop("fee", []))
        self._add_exchanges(by_kind.pop("exchange", []))
        self._add_dividends(by_kind.pop("dividend", []), by_kind.pop("dividend_tax", []))
        for kind, found in by_kind.items():
            for record in found:
                with self.reading.reporting(record):
                    self._add_money(record, kind)

    def _without_sweeps(self, records: Iterable[Record]) -> list[Record]:
        rest = []
        for record in records:
            if _is_sweep(record):
                self.reading.skip(
                    record.line,
                    "cash_sweep",
                    "the row moves cash within the account and was skipped",
                )
            else:
                rest.append(record)
        return rest

    def _without_cancelled(self, records: Sequence[Record]) -> list[Record]:
        """Leave out income, tax and fees that a later row takes back, and that row."""
        kinds = ("dividend", "dividend_tax", "fee", "tax", "return_of_capital")
        return without_cancelled(
            records,
            self.reading,
            lambda record: (
                (
                    _kind(record),
                    record.text("isin"),
                    record.text("currency"),
                    record.text("value_day"),
                    order_of(record),
                )
                if _kind(record) in kinds
                else None
            ),
            _change,
        )

    def _add_trades(self, trades: Sequence[Record], fees: Sequence[Record]) -> None:
        """Add trades with the fees of their orders, and corporate actions."""
        numbers = _trade_numbers(trades)
        plain: list[tuple[Record, re.Match[str]]] = []
        actions: list[tuple[Record, re.Match[str]]] = []
        for record in trades:
            found = _trade(record)
            assert found is not None
            (actions if found["action"] else plain).append((record, found))
        by_order: dict[tuple[str, str], list[Record]] = {}
        for fee in fees:
            by_order.setdefault((order_of(fee), fee.text("currency")), []).append(fee)
        for record, found in plain:
            order = order_of(record)
            costs = by_order.pop((order, record.text("currency")), []) if order else []
            with self.reading.reporting(record, *costs):
                self._add_trade(record, found, numbers, costs)
        for record in (fee for some in by_order.values() for fee in some):
            with self.reading.reporting(record):
                self._add_money(record, "fee")
        self._add_actions(actions, numbers)

    def _add_trade(
        self,
        record: Record,
        found: re.Match[str],
        numbers: NumberFormat,
        costs: Sequence[Record],
    ) -> None:
        side = (found["side"] or "").casefold()
        if not side:
            raise record.unknown("description")
        quantity = numbers.parse(found["quantity"]) or _ZERO
        price, currency = in_units(numbers.parse(found["price"]) or _ZERO, found["currency"])
        booked = currency_of(record.text("currency"), record.title("currency"))
        change = _change(record)
        sells = side in _SALES
        if currency != booked or (change < 0) == sells:
            raise InvalidRequest(
                f"the change {record.beside('currency')} {booked} does not follow from "
                f"{quote(record.text('description'))}; correct the row",
                field=record.title("currency"),
                code="contradictory_amounts",
            )
        self.reading.add(
            Transaction(
                record.line,
                EntryKind.SELL if sells else EntryKind.BUY,
                self._day(record),
                abs(change),
                currency,
                _instrument(record, currency),
                rounded(quantity),
                rounded(price),
                -sum((_change(cost) for cost in costs), _ZERO),
                external_id=numbered(order_of(record), self.orders),
            ),
            parts=costs,
        )

    def _add_actions(
        self, actions: Sequence[tuple[Record, re.Match[str]]], numbers: NumberFormat
    ) -> None:
        """Add splits and exchanges of assets, which are two rows of one time."""
        groups: dict[tuple[str, ...], list[tuple[Record, re.Match[str]]]] = {}
        for record, found in actions:
            word = (found["action"] or "").strip().casefold()
            groups.setdefault((record.text("value_day"), word), []).append((record, found))
        for group in groups.values():
            with self.reading.reporting(*(record for record, _ in group)):
                old = [one for one in group if self._gives(*one)]
                new = [one for one in group if not self._gives(*one)]
                if len(old) != 1 or len(new) != 1:
                    raise InvalidRequest(
                        "the corporate action does not have one row with the old and one with the "
                        "new units; enter it by hand",
                        code="incomplete_corporate_action",
                    )
                (before, one), (after, other) = old[0], new[0]
                if abs(_change(before) + _change(after)) > _CENTS:
                    raise InvalidRequest(
                        "the corporate action also pays money; enter it by hand",
                        code="incomplete_corporate_action",
                    )
                add_reorganisation(
                    self.reading,
                    before,
                    after,
                    numbers.parse(one["quantity"]) or _ZERO,
                    numbers.parse(other["quantity"]) or _ZERO,
                )

    def _gives(self, record: Record, found: re.Match[str]) -> bool:
        """Return whether the row takes units away, by its word or by the sign of its money."""
        side = (found["side"] or "").casefold()
        return side in _SALES if side else _change(record) > 0

    def _add_exchanges(self, records: Sequence[Record]) -> None:
        """Add exchanges, whose two sides are rows of one time and order."""
        waiting: dict[tuple[object, ...], dict[str, deque[Record]]] = {}
        for record in records:
            key = (record.text("day"), record.text("time"), order_of(record))
            gives, currency = _safe_change(record) < 0, record.text("currency")
            others = waiting.setdefault((*key, not gives), {})
            other = next((code for code, rows in others.items() if rows and code != currency), None)
            if other is None:
                own = waiting.setdefault((*key, gives), {})
                own.setdefault(currency, deque()).append(record)
                continue
            partner = others[other].popleft()
            with self.reading.reporting(partner, record):
                self._add_exchange(partner, record)
        for record in (row for side in waiting.values() for rows in side.values() for row in rows):
            with self.reading.reporting(record):
                if not _change(record):
                    self.reading.skip(record.line, "zero_amount", "the row moves no money")
                    continue
                raise InvalidRequest(
                    "the other side of the exchange is missing; enter the exchange by hand",
                    code="incomplete_exchange",
                )

    def _add_exchange(self, one: Record, other: Record) -> None:
        given, brought = (one, other) if _change(one) < 0 else (other, one)
        self.reading.add(
            Transaction(
                one.line,
                EntryKind.EXCHANGE,
                self._day(one),
                -_change(given),
                currency_of(given.text("currency"), given.title("currency")),
                counter_amount=_change(brought),
                counter_currency=currency_of(brought.text("currency"), brought.title("currency")),
                external_id=numbered(order_of(one), self.orders, "exchange"),
            ),
            parts=(one, other),
        )

    def _add_dividends(self, dividends: Sequence[Record], taxes: Sequence[Record]) -> None:
        """Add dividends with the tax of the same asset, currency and value day."""
        refunds = [tax for tax in taxes if _safe_change(tax) > 0]
        pairs, rest = with_taxes(
            dividends,
            [tax for tax in taxes if _safe_change(tax) <= 0],
            lambda record: (
                record.text("isin"),
                record.text("currency"),
                record.text("value_day"),
            ),
            _change,
        )
        for record, own in pairs:
            with self.reading.reporting(record, *own):
                amount = _change(record)
                if amount < 0:
                    raise _unmatched(record)
                withheld = -sum((_change(tax) for tax in own), _ZERO)
                income = self._income(record, EntryKind.DIVIDEND, amount, withheld)
                self.reading.add(income, parts=own)
        for record in (*rest, *refunds):
            with self.reading.reporting(record):
                self._add_money(record, "tax")

    def _income(
        self, record: Record, kind: EntryKind, amount: Decimal, withheld: Decimal = _ZERO
    ) -> Transaction:
        currency = currency_of(record.text("currency"), record.title("currency"))
        return Transaction(
            record.line,
            kind,
            self._day(record),
            amount,
            currency,
            _instrument(record, currency) if record.text("isin") else None,
            withheld=withheld,
            note=record.text("description"),
        )

    def _add_money(self, record: Record, kind: str) -> None:
        amount = _change(record)
        if not amount and record.text("description"):
            self.reading.skip(record.line, "zero_amount", "the row moves no money")
            return
        if not kind:
            raise record.unknown("description")
        expects_gain = kind in ("deposit", "interest", "return_of_capital")
        found = EntryKind(kind)
        if kind == "interest" and amount < 0:
            found = EntryKind.FEE
        elif found in CHARGES:
            found = self.reading.charge_kind(record, found, amount)
        elif (amount > 0) != expects_gain:
            raise _unmatched(record)
        booked = self._income(record, found, abs(amount))
        if kind == "fee" and order_of(record):
            booked = attrs.evolve(
                booked, external_id=numbered(order_of(record), self.orders, "fee")
            )
        self.reading.add(booked)

    def _day(self, record: Record) -> date:
        return record.day("day")


def _unmatched(record: Record) -> InvalidRequest:
    return InvalidRequest(
        f"{quote(record.text('description'))} of {record.beside('currency')} takes back what the "
        "file does not have; void the original by hand",
        field=record.title("description"),
        code="unmatched_reversal",
    )


def _instrument(record: Record, currency: str) -> Instrument:
    return Instrument("", record.text("isin"), record.text("product"), currency)


def _trade_numbers(trades: Sequence[Record]) -> NumberFormat:
    """Return the format of numbers in descriptions, with which all trades add up."""
    fits = [one for one in (COMMA, POINT) if all(_adds_up(record, one) for record in trades)]
    if fits:
        return fits[0]
    found = [_trade(record) for record in trades]
    cells = [
        (record.line, match[name])
        for record, match in zip(trades, found, strict=True)
        if match is not None
        for name in ("price", "quantity")
    ]
    return decide_numbers(cells)


def _adds_up(record: Record, numbers: NumberFormat) -> bool:
    """Return whether quantity times price is the change of cash, to a cent and 0.1%."""
    found = _trade(record)
    assert found is not None
    try:
        quantity = numbers.parse(found["quantity"]) or _ZERO
        price, _ = in_units(numbers.parse(found["price"]) or _ZERO, found["currency"])
        change = abs(_change(record))
    except InvalidRequest:
        return False
    return not change or abs(quantity * price - change) <= _CENT + change / 1000


READERS = (DegiroAccount(),)
