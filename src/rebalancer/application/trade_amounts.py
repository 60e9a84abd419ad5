"""What a trade recorded by its owner amounts to, and whether its price is plausible."""

from __future__ import annotations

from decimal import Decimal, localcontext

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency

FAR = Decimal(5)
"""A price is far from the day's close if one is more than this many times the other.

A slipped decimal point is beyond it. The range of a day, dividends and the most frequent splits
are within it: closes may be adjusted for splits that follow and are not known, and the prices of
old trades are not.
"""

_DIGITS = 60

_SPLITS = frozenset({6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50})
"""Ratios of usual splits among those that are far from 1."""

_NEAR = Decimal("0.05")
"""Most by which the ratio of a price to the close may differ from that of a split."""


def traded_value(quantity: Decimal, price: Decimal, currency: Currency) -> Decimal:
    """Return quantity times price, rounded to the minor unit."""
    with localcontext(prec=_DIGITS):
        return currency.round(quantity * price)


def traded_amount(
    quantity: Decimal, price: Decimal, stated: Decimal | None, currency: Currency
) -> Decimal:
    """Return the amount of a trade without its cost: the stated one, or quantity times price.

    The stated amount may differ by the rounding of the amount, of the price and of the quantity to
    the digits in which each is given, whatever the direction of the rounding.

    Raises:
        InvalidRequest: the stated amount is finer than the minor unit, or is not this product.
    """
    if stated is None:
        return traded_value(quantity, price, currency)
    unit = currency.minor_unit
    if currency.round(stated) != stated:
        raise InvalidRequest(
            f"{stated} is finer than the smallest amount, {unit} {currency}; round it",
            field="amount",
            code="amount_too_fine",
        )
    with localcontext(prec=_DIGITS):
        product = quantity * price
        half_price, half_quantity = min(_last_digit(price), unit) / 2, Decimal(0)
        if quantity != quantity.to_integral_value():
            half_quantity = _last_digit(quantity) / 2
        room = unit + half_price * quantity + half_quantity * price
        if abs(stated - product) > room:
            raise InvalidRequest(
                f"{stated:f} is not the quantity times the price, "
                f"{currency.round(product):f}; state the amount without costs, or correct it",
                field="amount",
                code="amount_differs",
            )
    return currency.round(stated)


def check_plausible(amount: Decimal, price: Decimal, close: Decimal | None) -> None:
    """Check that a trade is worth something, and that its price is near the close of its day.

    Args:
        amount: See `traded_amount`.
        price: Price per unit.
        close: The close as traded, as far as splits are known; None: unknown, so not compared.

    Raises:
        InvalidRequest: the amount is zero, or the price is far from the close.
    """
    if not amount:
        raise InvalidRequest(
            "the amount rounds to zero; correct the price or the quantity, or confirm the price",
            field="price",
            code="amount_rounds_to_zero",
        )
    if close is None or not close > 0:
        return
    with localcontext(prec=_DIGITS):
        factor = max(price / close, close / price)
        if factor <= FAR:
            return
        times = f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}"
    relation = "times" if price > close else "times less than"
    remedy = "correct it, or confirm the price"
    ratio = _split_ratio(price / close)
    if ratio is not None:
        remedy = f"correct it, confirm the price, or first record the later split of {ratio}"
    raise InvalidRequest(
        f"{price:f} is {times} {relation} the close of that day, {close:f}; {remedy}",
        field="price",
        code="price_far_from_close",
    )


def _split_ratio(factor: Decimal) -> str | None:
    """Return the usual split that a price before it is explained by, such as "10 for 1"."""
    whole = (max(factor, 1 / factor)).to_integral_value()
    if whole not in _SPLITS or abs(max(factor, 1 / factor) / whole - 1) > _NEAR:
        return None
    return f"{whole} for 1" if factor > 1 else f"1 for {whole}"


def _last_digit(number: Decimal) -> Decimal:
    """Return the value of one in the last digit in which a number is written."""
    return Decimal(1).scaleb(int(number.as_tuple().exponent))
