"""Statements of brokers and other tools, in the terms of a ledger."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs

from rebalancer.domain.portfolio.entries import EntryKind

_ZERO = Decimal(0)


@attrs.frozen
class Instrument:
    """An asset as a statement names it; at least one attribute is not empty.

    Attributes:
        symbol: Ticker, such as ``AAPL``.
        isin: International securities identification number.
        name: Such as ``Apple Inc.``.
        currency: ISO 4217 code of its prices; empty if the statement does not state it.
    """

    symbol: str = ""
    isin: str = ""
    name: str = ""
    currency: str = ""


@attrs.frozen
class Transaction:
    """One transaction of a statement; it becomes one entry of a ledger.

    Its attributes mean what those of `entries.Entry` mean, with the same signs: amounts, quantities
    and costs are never negative, and the kind states the direction.

    Attributes:
        line: Line of the file, from 1; for formats without lines, number of the transaction.
        on: Day of the trade or booking, as stated.
        amount: Value traded, without costs; money paid; income before tax.
        currency: ISO 4217 code of amount, price and cost; empty: the portfolio's base currency.
        adjusts_earlier: Whether a split has changed the units of earlier rows of the statement.
        external_id: Identifier that the source gives to it; empty without one.
    """

    line: int
    kind: EntryKind
    on: date
    amount: Decimal = _ZERO
    currency: str = ""
    instrument: Instrument | None = None
    quantity: Decimal = _ZERO
    price: Decimal | None = None
    cost: Decimal = _ZERO
    withheld: Decimal = _ZERO
    ratio: Decimal | None = None
    other: Instrument | None = None
    cost_share: Decimal | None = None
    cost_basis: Decimal | None = None
    counter_amount: Decimal | None = None
    counter_currency: str = ""
    external_id: str = ""
    note: str = ""
    adjusts_earlier: bool = False


@attrs.frozen
class Remark:
    """What a reader reports of a line.

    Attributes:
        line: As in `Transaction`; 0: the whole file.
        code: Stable code in snake case, such as ``unreadable_number``.
        message: One sentence that names the value and the remedy.
        is_error: Whether the line was not read; else it was skipped on purpose or interpreted.
    """

    line: int
    code: str
    message: str
    is_error: bool = False


@attrs.frozen
class Statement:
    """The content of a statement.

    Attributes:
        layout: Name of the layout that was recognised, such as ``ibkr_flex``.
        transactions: In the order of the file.
        remarks: Lines that were not read, skipped or interpreted, in the order of the file.
        currency: ISO 4217 code of the account; empty if the file does not state it.
    """

    layout: str
    transactions: tuple[Transaction, ...] = ()
    remarks: tuple[Remark, ...] = ()
    currency: str = ""
