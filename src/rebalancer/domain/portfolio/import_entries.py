"""Entries of a ledger from the transactions of a statement.

The id of an entry follows from the portfolio and from what the statement states of the transaction:
its external id, or else its content. So a transaction that is read again is recognised, whatever
the file. Equal rows of one file are counted, and are entries of their own.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from uuid import UUID, uuid5

from rebalancer.domain.money import MOST_DECIMALS, Currency, canonical_text
from rebalancer.domain.portfolio.entries import FLOWS, TRADES, Entry
from rebalancer.domain.portfolio.import_names import check_symbol
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.statements import Remark, Statement, Transaction
from rebalancer.domain.text import find_hidden

_DIGITS = 60
_FINEST = Decimal(1).scaleb(-MOST_DECIMALS)

LONGEST_NOTE = 500
"""Most characters of a note; a longer one is cut."""


def identify_transactions(portfolio: UUID, statement: Statement) -> list[UUID]:
    """Return the id of each transaction."""
    seen: Counter[str] = Counter()
    ids = []
    for transaction in statement.transactions:
        text = _identity(statement.layout, transaction)
        ids.append(uuid5(portfolio, f"statement {text} {seen[text]}"))
        seen[text] += 1
    return ids


def _identity(layout: str, transaction: Transaction) -> str:
    """Return what identifies a transaction; its place and note do not count.

    One external id may stand for several bookings, such as a dividend and its tax, or for fills of
    several days.
    """
    asset, other = (
        "" if one is None else one.isin or one.symbol or one.name
        for one in (transaction.instrument, transaction.other)
    )
    parts = [layout, transaction.kind.value, transaction.on.isoformat(), asset]
    if transaction.external_id:
        return repr([*parts, "id", transaction.external_id])
    numbers = (
        *(transaction.amount, transaction.quantity, transaction.price, transaction.cost),
        *(transaction.withheld, transaction.ratio, transaction.cost_share),
        *(transaction.cost_basis, transaction.counter_amount),
    )
    parts += ["" if one is None else canonical_text(one) for one in numbers]
    return repr([*parts, transaction.currency, transaction.counter_currency, other])


def make_entry(
    transaction: Transaction,
    id: UUID,
    symbols: tuple[str | None, str | None],
    account: str,
    terms: ImportTerms,
    remarks: list[Remark],
) -> Entry | None:
    """Return the entry of a transaction; None if its money rounds to nothing.

    Raises:
        InvalidRequest: the entry would be invalid.
    """
    symbol, other = symbols
    for one in symbols:
        if one is not None:
            check_symbol(one, "symbol")
    currency = _currency(transaction.currency or account, terms)
    counter = None
    if transaction.counter_amount is not None:
        counter = _currency(transaction.counter_currency, terms)
    kind, on = transaction.kind, terms.market_day(transaction.on, transaction.kind)
    moves = kind in TRADES or (kind in FLOWS and symbol is not None and transaction.quantity > 0)
    if kind in FLOWS and symbol is not None and not moves:
        symbol = None  # money that names an asset
    amount, price = _worth(transaction, symbol, on, currency, moves, terms)
    if not amount and transaction.amount and not moves:
        remarks.append(
            Remark(
                transaction.line,
                "rounds_to_zero",
                f"{transaction.amount:f} {currency} is less than the smallest amount, "
                f"{currency.minor_unit}; it is left out",
            )
        )
        return None
    return Entry(
        id=id,
        kind=kind,
        on=on,
        recorded=terms.recorded,
        amount=amount,
        symbol=symbol,
        quantity=_fine(transaction.quantity),
        price=price,
        cost=currency.round(transaction.cost),
        note=_note(transaction.note),
        currency=_foreign(currency, terms.base),
        withheld=currency.round(transaction.withheld),
        ratio=None if transaction.ratio is None else _fine(transaction.ratio),
        other=other,
        cost_share=transaction.cost_share,
        cost_basis=None
        if transaction.cost_basis is None
        else currency.round(transaction.cost_basis),
        counter_amount=None
        if transaction.counter_amount is None or counter is None
        else counter.round(transaction.counter_amount),
        counter_currency=None if counter is None else _foreign(counter, terms.base),
    )


def _worth(
    transaction: Transaction,
    symbol: str | None,
    on: date,
    currency: Currency,
    moves: bool,
    terms: ImportTerms,
) -> tuple[Decimal, Decimal | None]:
    """Return amount and price, each from the other one where the statement lacks it.

    A transfer in kind without both has the close of its day.
    """
    amount, price, quantity = transaction.amount, transaction.price, transaction.quantity
    if not moves:
        return currency.round(amount), None
    with localcontext(prec=_DIGITS):
        if price is None and amount and quantity:
            price = amount / quantity
        elif price is None and transaction.kind in FLOWS and symbol is not None:
            price = terms.close(symbol, on, currency.code)
        if not amount and price is not None:
            amount = quantity * price
    return currency.round(amount), None if price is None else _fine(price)


def _fine(number: Decimal) -> Decimal:
    """Return a number with at most 12 decimals."""
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_DECIMALS:
        with localcontext(prec=_DIGITS):
            return number.quantize(_FINEST, ROUND_HALF_EVEN)
    return number


def _currency(code: str, terms: ImportTerms) -> Currency:
    if not code or code == terms.base.code:
        return terms.base
    currency = Currency(code)
    terms.check_currency(code)
    return currency


def _foreign(currency: Currency, base: Currency) -> str | None:
    return None if currency == base else currency.code


def _note(text: str) -> str:
    """Return a note as one line without invisible characters."""
    line = " ".join(text.split())
    while (at := find_hidden(line)) is not None:
        line = line[:at] + line[at + 1 :]
    line = "".join(one for one in line if one.isprintable())
    return line if len(line) <= LONGEST_NOTE else f"{line[: LONGEST_NOTE - 3]}..."
