"""Numbers as people read them: prices with enough digits, money, and percentages."""

from __future__ import annotations

import math
from decimal import Decimal

_DIGITS = 5
"""Significant digits of a price below 10; dearer ones have two decimals."""

_HIGHEST_SHARE = 10.0
"""A share above this has no exact figure: 340,000% says no more than over 1,000%."""


def price_text(price: float) -> str:
    """Write a price: two decimals, or five significant digits if it is below 10.

    0.00000123 is written out, without an exponent.
    """
    size = abs(price)
    if not 0 < size < 10:
        return f"{price + 0.0:,.2f}"
    decimals = max(_DIGITS - 1 - math.floor(math.log10(size)), 2)
    whole, _, fraction = f"{price:.{decimals}f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def money_text(amount: float | Decimal, minor_unit: Decimal) -> str:
    """Write an amount with the decimals of its currency; never as minus zero."""
    decimals = max(-int(minor_unit.as_tuple().exponent), 0)
    text = f"{amount:.{decimals}f}"
    return text.removeprefix("-") if not float(text) else text


def percent_text(share: float) -> str:
    """Write a share with one decimal of a percent; never as minus zero."""
    if share > _HIGHEST_SHARE:
        return f"over {_HIGHEST_SHARE:,.0%}"
    if share < -_HIGHEST_SHARE:
        return f"under {-_HIGHEST_SHARE:,.0%}"
    return f"{share:.1%}".replace("-0.0%", "0.0%")


def text_beside(figure: float, limit: float, decimals: int = 2, unit: str = "f") -> str:
    """Write a figure with a decimal more than usual wherever it would look equal to its limit.

    Args:
        figure: What was measured.
        limit: What it is compared with.
        decimals: Usual number of decimals.
        unit: ``f`` for a number, ``%`` for a share with its sign.
    """
    sign = "+" if unit == "%" else ""
    for more in range(3):
        pattern = f"{sign}.{decimals + more}{unit}"
        if figure == limit or format(figure, pattern) != format(limit, pattern):
            return format(figure, pattern)
    return repr(figure)
