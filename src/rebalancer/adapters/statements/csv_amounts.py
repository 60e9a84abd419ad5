"""Numbers, currencies and prices of rows in the precision of a ledger."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from rebalancer.adapters.statements.csv_formats import quote
from rebalancer.adapters.statements.csv_table import Record
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import MOST_DECIMALS, Currency
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Transaction

_ZERO = Decimal(0)
_LARGEST_TERM = 100
"""Largest numerator and denominator of the ratio of a split."""

_TOLERANCE = Fraction(1, 2000)
"""Relative error of a ratio that follows from rounded units."""

PENCE = {"GBX": "GBP", "GBP.": "GBP", "ILA": "ILS", "ZAC": "ZAR"}
"""Currencies of quotes in hundredths, with the currency itself."""


def simple_ratio(before: Decimal, after: Decimal) -> Decimal | None:
    """Return the ratio of a split as a simple fraction, such as 3 or 1/20; None otherwise."""
    if before <= 0 or after <= 0 or before == after:
        return None
    exact = Fraction(after) / Fraction(before)
    near = exact.limit_denominator(_LARGEST_TERM)
    if near.numerator == 0 or abs(near / exact - 1) > _TOLERANCE:
        return None
    if min(near.numerator, near.denominator) > _LARGEST_TERM // 5:
        return None
    return rounded(Decimal(near.numerator) / Decimal(near.denominator))


def rounded(number: Decimal) -> Decimal:
    """Return a number with at most as many decimals as a ledger has."""
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_DECIMALS:
        return number.quantize(Decimal(1).scaleb(-MOST_DECIMALS), ROUND_HALF_EVEN)
    return number


def money(amount: Decimal, currency: str) -> Decimal:
    """Return an amount rounded to the minor unit of its currency."""
    return Currency(currency).round(amount)


def currency_of(text: str, field: str) -> str:
    """Return an ISO 4217 code.

    Raises:
        InvalidRequest: it is not one.
    """
    code = text.strip().upper()
    try:
        Currency(code)
    except InvalidRequest:
        raise InvalidRequest(
            f"{quote(text)} is not a currency; write its ISO 4217 code, such as USD",
            field=field,
            code="invalid_currency",
        ) from None
    return code


def in_units(price: Decimal, code: str) -> tuple[Decimal, str]:
    """Return a price in units of its currency, pounds in place of pence, and the currency."""
    whole = PENCE.get(code.strip().upper())
    if code.strip() == "GBp":
        whole = "GBP"
    return (price / 100, whole) if whole else (price, code.strip().upper())


def cents(amount: Decimal, currency: str) -> Decimal:
    """Return an amount rounded to the minor unit, or exact if it would round to nothing."""
    return money(amount, currency) or rounded(amount)


def price_of(amount: Decimal, quantity: Decimal) -> Decimal:
    """Return the price that follows from an amount and a quantity.

    Raises:
        InvalidRequest: the quantity is 0.
    """
    if not quantity:
        raise InvalidRequest(
            "the quantity is 0; enter the row by hand", field="quantity", code="not_positive"
        )
    return rounded(amount / quantity)


def in_kind(
    record: Record,
    quantity: Decimal,
    price: Decimal | None,
    *,
    on: date,
    currency: str,
    instrument: Instrument,
    external_id: str = "",
    note: str = "",
) -> Transaction:
    """Return the transfer of units of an asset, in if the quantity is positive, else out.

    Without a price the ledger takes the close of the day.
    """
    amount = money(abs(quantity) * price, currency) if price else _ZERO
    return Transaction(
        record.line,
        EntryKind.DEPOSIT if quantity > 0 else EntryKind.WITHDRAWAL,
        on,
        amount,
        currency,
        instrument,
        abs(quantity),
        price or None,
        external_id=external_id,
        note=note,
    )
