"""What readers share: the statement that is being read, and values of its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from uuid import UUID

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import LARGEST, MOST_DECIMALS, Currency
from rebalancer.domain.portfolio.entries import FLOWS, REORGANISATIONS, TRADES, Entry
from rebalancer.domain.portfolio.statements import Instrument, Remark, Statement, Transaction
from rebalancer.domain.text import escape_unsafe, find_hidden

_ZERO, _ONE = Decimal(0), Decimal(1)
_FINEST = _ONE.scaleb(-MOST_DECIMALS)
_PLAIN = re.compile(r"[+-]?(?:\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3}){1,20}(?:\.\d{0,60})?", re.ASCII)
_GERMAN = re.compile(r"[+-]?(?:\d{1,60}|\d{1,3}(?:\.\d{3}){1,20})(?:,\d{0,60})?", re.ASCII)
_SHOWN = 40
"""Longest part of a value that a message quotes."""
_NOTE = 200
"""Longest note that is read of a statement."""
NOTHING_MOVES = "the row moves neither money nor units, and is not booked"
_RECORDED = datetime(2000, 1, 1, tzinfo=UTC)


class Draft:
    """The statement that is being read: its transactions, and remarks on its lines."""

    def __init__(self, layout: str) -> None:
        self._layout = layout
        self._transactions: list[Transaction] = []
        self._remarks: list[Remark] = []

    def add(self, *transactions: Transaction) -> None:
        """Add the transactions of one row, all or none of them; report a row that moves nothing.

        Raises:
            InvalidRequest: a ledger could not hold one of them.
        """
        moving = [one for one in transactions if not moves_nothing(one)]
        for transaction in moving:
            check_transaction(transaction)
        self._transactions += moving
        if transactions and not moving:
            self.skip(transactions[0].line, "zero_amount", NOTHING_MOVES)

    def skip(self, line: int, code: str, message: str) -> None:
        """Report a line that is skipped on purpose, or how it was interpreted."""
        self._remarks.append(Remark(line, code, message))

    def fail(self, line: int, code: str, message: str) -> None:
        """Report a line that was not read."""
        self._remarks.append(Remark(line, code, message, is_error=True))

    @contextmanager
    def row(self, line: int) -> Iterator[None]:
        """Read one row; report it if it is invalid, and continue after it."""
        try:
            yield
        except InvalidRequest as error:
            self.fail(line, error.code, error.message)

    def statement(self, currency: str = "") -> Statement:
        """Return transactions and remarks in the order of the file."""
        return Statement(
            self._layout,
            tuple(sorted(self._transactions, key=lambda one: one.line)),
            tuple(sorted(self._remarks, key=lambda one: one.line)),
            currency,
        )


def moves_nothing(transaction: Transaction) -> bool:
    """Return whether a transaction is money of 0, which a ledger does not record."""
    return (
        not (transaction.amount or transaction.quantity or transaction.counter_amount)
        and transaction.kind not in REORGANISATIONS
    )


def check_transaction(transaction: Transaction) -> None:
    """Check that a transaction can become an entry of a ledger.

    Raises:
        InvalidRequest: it cannot; the message names the value and the remedy.
    """
    price = transaction.price
    units = transaction.quantity and transaction.kind in TRADES | FLOWS
    if units and price is None:
        price = _ONE  # the close of the day is used
    named = transaction.instrument
    for one in (named, transaction.other):
        if one is not None and not (one.symbol or one.isin or one.name):
            raise InvalidRequest(
                "the row names no asset; add its symbol or ISIN", code="missing_instrument"
            )
    for code in (transaction.currency, transaction.counter_currency):
        if code:
            Currency(code)
    Entry(
        id=UUID(int=0),
        kind=transaction.kind,
        on=transaction.on,
        recorded=_RECORDED,
        amount=transaction.amount,
        symbol=None if named is None else _identity(named),
        quantity=transaction.quantity,
        price=price,
        cost=transaction.cost,
        currency=transaction.currency or None,
        withheld=transaction.withheld,
        ratio=transaction.ratio,
        other=None if transaction.other is None else _identity(transaction.other),
        cost_share=transaction.cost_share,
        cost_basis=transaction.cost_basis,
        counter_amount=transaction.counter_amount,
        counter_currency=transaction.counter_currency or None,
    )


def _identity(instrument: Instrument) -> str:
    return instrument.symbol or instrument.isin or instrument.name


def read_number(text: str, what: str) -> Decimal:
    """Return a number with a decimal point; groups of thousands may have commas.

    It is rounded to 12 decimals, the most that a ledger has.

    Raises:
        InvalidRequest: it is not a number, or too large.
    """
    text = text.strip()
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    return _decimal(text, what, "1250.50")


def read_german_number(text: str, what: str) -> Decimal:
    """Return a number with a decimal comma; groups of thousands may have points.

    Raises:
        InvalidRequest: it is not a number, or too large.
    """
    stripped = text.strip()
    if _GERMAN.fullmatch(stripped):
        return _decimal(stripped.replace(".", "").replace(",", "."), what, "1.250,50")
    raise _not_a_number(text, what, "1.250,50")


def _decimal(text: str, what: str, example: str) -> Decimal:
    if not _PLAIN.fullmatch(text):
        raise _not_a_number(text, what, example)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise _not_a_number(text, what, example) from None
    return round_number(number, what)


def round_number(number: Decimal, what: str) -> Decimal:
    """Return a number of a size that a ledger can hold, with at most 12 decimals.

    Raises:
        InvalidRequest: it is too large, or not finite.
    """
    if not (number.is_finite() and abs(number) < LARGEST):
        raise InvalidRequest(
            f"the {what} {shorten(str(number))} is too large; correct it to less than {LARGEST:E}",
            code="amount_too_large",
        )
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_DECIMALS:
        number = number.quantize(_FINEST, ROUND_HALF_EVEN)
    return number if number else _ZERO


def _not_a_number(text: str, what: str, example: str) -> InvalidRequest:
    return InvalidRequest(
        f"the {what} {shorten(text)} is not a number; write it as {example}",
        code="unreadable_number",
    )


def read_iso_day(text: str, what: str = "date") -> date:
    """Return the day of a date or time in the format 2026-01-31 or 2026-01-31T15:30:00Z.

    Raises:
        InvalidRequest: it is not such a date.
    """
    found = re.fullmatch(
        r"(\d{4}-\d{2}-\d{2})(?:[T ][\d:.]{4,18}(?:Z|[+-]\d{2}:?\d{2})?)?", text, re.ASCII
    )
    try:
        if found is not None:
            return date.fromisoformat(found.group(1))
    except ValueError:
        pass
    raise unreadable_date(text, what, "2026-01-31")


def unreadable_date(text: str, what: str, example: str) -> InvalidRequest:
    """Return the error for a date that cannot be read."""
    return InvalidRequest(
        f"the {what} {shorten(text)} is not a date; write it as {example}", code="unreadable_date"
    )


def read_currency(text: str) -> str:
    """Return an ISO 4217 code.

    Raises:
        InvalidRequest: it is not one.
    """
    try:
        return Currency(text.strip()).code
    except InvalidRequest:
        raise InvalidRequest(
            f"{shorten(text)} is not an ISO 4217 code; enter three capital letters, such as USD",
            code="invalid_currency",
        ) from None


def clean(text: str, longest: int = _NOTE) -> str:
    """Return one line of visible text, shortened."""
    text = " ".join(text.split())[: 2 * longest]
    found = find_hidden(text)
    while found is not None:
        text = text[:found] + text[found + 1 :]
        found = find_hidden(text)
    return escape_unsafe(text)[:longest].strip()


def shorten(text: str) -> str:
    """Quote a value of a file for a message."""
    shown = escape_unsafe(text)
    return repr(shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}...")


def require(text: str, what: str) -> str:
    """Return a value that must not be empty.

    Raises:
        InvalidRequest: it is empty.
    """
    if not text.strip():
        raise InvalidRequest(f"the row has no {what}; add it", code="missing_value")
    return text.strip()
