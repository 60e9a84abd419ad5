"""Statements of Trading 212: the CSV file of the history."""

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
    in_units,
    rounded,
    simple_ratio,
)
from rebalancer.adapters.statements.csv_formats import DayFormat, quote
from rebalancer.adapters.statements.csv_pairs import without_cancelled
from rebalancer.adapters.statements.csv_reading import CsvReader, Reading, each
from rebalancer.adapters.statements.csv_table import Header, Record, Table
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_TRADE = re.compile(r"(?:market|limit|stop|stop limit) (buy|sell)")
_FEES = {
    "conversion_fee": "Currency conversion fee",
    "stamp_duty": "Stamp duty reserve tax",
    "stamp_duty_alone": "Stamp duty",
    "transaction_fee": "Transaction fee",
    "finra_fee": "Finra fee",
    "french_tax": "French transaction tax",
    "levy": "PTM levy",
}
_MONEY = {
    "total": "Total",
    "tax": "Withholding tax",
    "from_amount": "Currency conversion from amount",
    "to_amount": "Currency conversion to amount",
    **_FEES,
}
_CASH = {
    "deposit": EntryKind.DEPOSIT,
    "withdrawal": EntryKind.WITHDRAWAL,
    "card debit": EntryKind.WITHDRAWAL,
    "card credit": EntryKind.DEPOSIT,
    "card refund": EntryKind.DEPOSIT,
    "spending cashback": EntryKind.INTEREST,
    "interest on cash": EntryKind.INTEREST,
    "lending interest": EntryKind.INTEREST,
    "share lending interest": EntryKind.INTEREST,
}
_SPLIT_SIDES = {"stock split open": "open", "stock split close": "close"}


@attrs.frozen(slots=False)
class Trading212(CsvReader):
    name: ClassVar[str] = "trading212"
    title: ClassVar[str] = "Trading 212 (CSV)"
    header: ClassVar[Header] = Header(
        {
            "action": ("Action",),
            "time": ("Time", "Time (UTC)"),
            "isin": ("ISIN",),
            "ticker": ("Ticker",),
            "name": ("Name",),
            "shares": ("No. of shares",),
            "price": ("Price / share",),
            "price_currency": ("Currency (Price / share)",),
            "rate": ("Exchange rate",),
            **{name: (title, f"{title} (*") for name, title in _MONEY.items()},
            **{f"{name}_currency": (f"Currency ({title})",) for name, title in _MONEY.items()},
            "notes": ("Notes",),
            "id": ("ID",),
        },
        ("action", "time", "isin", "ticker", "shares", "price", "price_currency", "total"),
    )

    def prepare(self, table: Table) -> Table:
        return attrs.evolve(table, days=DayFormat("YYYY-MM-DD"))

    def currency_of(self, table: Table) -> str:
        found = {_currency(record, "total") for record in table.records() if record.text("total")}
        return found.pop() if len(found) == 1 else ""

    def fill(self, records: Sequence[Record], reading: Reading) -> None:
        rest = _without_splits(_without_cancelled(records, reading), reading)
        each(rest, reading, _add)


def _action(record: Record) -> str:
    return record.text("action").casefold()


def _currency(record: Record, name: str) -> str:
    """Return the currency of an amount, from its own column or from its title."""
    stated = record.text(f"{name}_currency")
    if stated:
        return stated.upper()
    found = re.search(r"\(([A-Za-z]{3})\)$", record.title(name))
    return found[1].upper() if found else ""


def _money(record: Record, name: str) -> tuple[Decimal, str]:
    """Return an amount and its currency."""
    amount = record.amount(name)
    return amount, currency_of(_currency(record, name), record.title(name))


def _instrument(record: Record) -> Instrument:
    currency = ""
    if record.text("price_currency"):
        _, currency = in_units(_ZERO, record.text("price_currency"))
    return Instrument(record.text("ticker"), record.text("isin"), record.text("name"), currency)


def _without_cancelled(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Leave out dividends that an adjustment takes back, and the adjustment."""
    return without_cancelled(
        records,
        reading,
        lambda record: (
            (record.text("isin"), _currency(record, "total"))
            if _action(record).startswith("dividend")
            else None
        ),
        lambda record: record.number("total"),
    )


def _without_splits(records: Sequence[Record], reading: Reading) -> list[Record]:
    """Add splits, which are two rows: the old units close, and the new ones open."""
    sides: dict[tuple[str, str], dict[str, Record]] = {}
    out = set()
    for record in records:
        side = _SPLIT_SIDES.get(_action(record))
        if side:
            pair = sides.setdefault((record.text("isin"), record.text("time")[:10]), {})
            if side not in pair:
                pair[side] = record
                out.add(record.line)
    for pair in sides.values():
        with reading.reporting(*pair.values()):
            if len(pair) < 2:
                raise InvalidRequest(
                    "the other half of the split is missing; enter the split by hand",
                    code="incomplete_split",
                )
            old, new = pair["close"], pair["open"]
            ratio = simple_ratio(abs(old.amount("shares")), abs(new.amount("shares")))
            if ratio is None:
                raise InvalidRequest(
                    f"{quote(new.text('shares'))} for {quote(old.text('shares'))} units is not a "
                    "simple ratio; enter the split by hand",
                    code="unknown_ratio",
                )
            reading.add(
                Transaction(
                    new.line,
                    EntryKind.SPLIT,
                    new.day("time"),
                    instrument=_instrument(new),
                    ratio=ratio,
                    external_id=new.text("id"),
                ),
                parts=(old,),
            )
    return [record for record in records if record.line not in out]


def _add(record: Record, reading: Reading) -> None:
    action = _action(record)
    trade = _TRADE.fullmatch(action)
    if trade:
        _add_trade(record, reading, EntryKind(trade[1]))
    elif action.startswith("dividend"):
        _add_dividend(record, reading)
    elif action in _CASH:
        amount, currency = _money(record, "total")
        if not amount:
            reading.skip(record.line, "zero_amount", "the row moves no money")
            return
        kind = _CASH[action]
        if kind is EntryKind.INTEREST and amount < 0:
            kind = EntryKind.FEE
        reading.add(
            Transaction(
                record.line,
                kind,
                record.day("time"),
                abs(amount),
                currency,
                external_id=record.text("id"),
                note=record.text("notes") or record.text("action"),
            )
        )
    elif action == "currency conversion":
        given, given_currency = _money(record, "from_amount")
        brought, currency = _money(record, "to_amount")
        reading.add(
            Transaction(
                record.line,
                EntryKind.EXCHANGE,
                record.day("time"),
                abs(given),
                given_currency,
                counter_amount=abs(brought),
                counter_currency=currency,
                external_id=record.text("id"),
            )
        )
    elif action in ("transfer in", "transfer out"):
        price, currency = in_units(record.amount("price"), record.text("price_currency"))
        shares = abs(record.amount("shares"))
        reading.add(
            in_kind(
                record,
                shares if action.endswith("in") else -shares,
                price,
                on=record.day("time"),
                currency=currency,
                instrument=_instrument(record),
                external_id=record.text("id"),
            )
        )
    else:
        raise record.unknown("action")


def _fees(record: Record, account: str, traded: str) -> tuple[Decimal, Decimal]:
    """Return the fees in the currency of the account, and those in that of the trade."""
    own = other = _ZERO
    for name in _FEES:
        fee = record.number(name)
        if not fee:
            continue
        currency = _currency(record, name) or account
        if currency == account:
            own += abs(fee)
        elif currency == traded:
            other += abs(fee)
        else:
            raise InvalidRequest(
                f"a fee in {currency} is neither in {account} nor in {traded}; enter the row by "
                "hand",
                field=record.title(name),
                code="invalid_currency",
            )
    return own, other


def _add_trade(record: Record, reading: Reading, kind: EntryKind) -> None:
    """Add a trade; if the account has another currency, also the exchange that pays for it."""
    on, instrument, id = record.day("time"), _instrument(record), record.text("id")
    shares = rounded(record.amount("shares"))
    total, account = _money(record, "total")
    quoted = record.text("price_currency")
    price, currency = in_units(record.amount("price"), quoted)
    currency_of(currency, record.title("price_currency"))
    own_fees, fees = _fees(record, account, currency)
    buys = kind is EntryKind.BUY
    settled = abs(total) - own_fees if buys else abs(total) + own_fees
    trade = Transaction(
        record.line, kind, on, settled, currency, instrument, shares, rounded(price), own_fees
    )
    trade = attrs.evolve(trade, external_id=id, note=record.text("notes"))
    if currency == account:
        reading.add(trade)
        return
    value = cents(shares * price, currency)
    trade = attrs.evolve(trade, amount=value, cost=fees)
    moved = value + fees if buys else value - fees
    given, brought = (settled, moved) if buys else (moved, settled)
    exchange = Transaction(
        record.line,
        EntryKind.EXCHANGE,
        on,
        given,
        account if buys else currency,
        counter_amount=brought,
        counter_currency=currency if buys else account,
        external_id=id and f"{id}:exchange",
    )
    fee = Transaction(
        record.line,
        EntryKind.FEE,
        on,
        own_fees,
        account,
        instrument,
        external_id=id and f"{id}:fee",
    )
    first, second = (exchange, trade) if buys else (trade, exchange)
    reading.add(first, second, *((fee,) if own_fees else ()))


def _add_dividend(record: Record, reading: Reading) -> None:
    """Add a dividend in the currency of the account; its tax counts if it can be converted."""
    net, account = _money(record, "total")
    if net < 0:
        raise InvalidRequest(
            f"{quote(record.text('total'))} takes back a dividend that the file does not have; "
            "void that dividend by hand",
            field=record.title("total"),
            code="unmatched_reversal",
        )
    tax = abs(record.number("tax") or _ZERO)
    if tax and _currency(record, "tax") not in ("", account):
        rate = record.number("rate")
        quoted = in_units(_ZERO, record.text("price_currency"))[1]
        if rate and rate > 0 and _currency(record, "tax") == quoted:
            tax = cents(tax / rate, account)
        else:
            reading.note(
                record.line,
                "tax_not_converted",
                f"the withheld tax of {tax:f} {_currency(record, 'tax')} has no exchange rate, so "
                "the dividend is recorded after tax",
            )
            tax = _ZERO
    interest = "interest" in _action(record)
    reading.add(
        Transaction(
            record.line,
            EntryKind.INTEREST if interest else EntryKind.DIVIDEND,
            record.day("time"),
            net + tax,
            account,
            _instrument(record),
            withheld=tax,
            external_id=record.text("id"),
            note=record.text("action"),
        )
    )


READERS = (Trading212(),)
