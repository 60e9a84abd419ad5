"""Money and quantities: Decimal in, Decimal out, rounded half-even to the currency's minor unit."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import attrs

from rebalancer.domain.errors import InvalidRequest

LARGEST = Decimal("1e15")
"""Amounts and quantities stay below this; above it float64 cannot represent cents."""

MOST_DECIMALS = 12
"""Most decimals of an amount or quantity."""

_MINOR_UNITS = {
    digits: codes.split()
    for digits, codes in (
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
    )
}
"""ISO 4217 minor units that differ from two digits."""

_DIGITS = {code: digits for digits, codes in _MINOR_UNITS.items() for code in codes}


def _check_code(_: object, __: object, code: str) -> None:
    if not (len(code) == 3 and code.isascii() and code.isalpha() and code.isupper()):
        raise InvalidRequest(
            f"{code!r} is not an ISO 4217 code; enter three capital letters, such as USD",
            field="currency",
            code="invalid_currency",
        )


@attrs.frozen
class Currency:
    """A currency by its ISO 4217 code.

    Attributes:
        code: Three capital letters.
        minor_unit: The smallest amount that can be paid: 0.01 for most, 1 for JPY, 0.001 for KWD.

    Raises:
        InvalidRequest: the code is not three capital letters.
    """

    code: str = attrs.field(validator=_check_code)
    minor_unit: Decimal = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "minor_unit", Decimal(1).scaleb(-self.digits))

    @property
    def digits(self) -> int:
        """Digits of an amount after the point: 2 for most currencies, 0 for JPY."""
        return _DIGITS.get(self.code, 2)

    def round(self, amount: Decimal) -> Decimal:
        """Round to the minor unit, half-even, so that rounding has no bias."""
        return amount.quantize(self.minor_unit, ROUND_HALF_EVEN)

    def __str__(self) -> str:
        return self.code


US_DOLLAR = Currency("USD")
"""Base currency unless the settings name another one."""


def check_price_currency(currency: str, prices: str) -> None:
    """Check that an amount has the currency into which prices were converted.

    Raises:
        InvalidRequest: the currencies differ.
    """
    if currency != prices:
        raise InvalidRequest(
            f"{currency} differs from {prices}, the currency of these proposals; request "
            f"proposals in {currency} separately",
            field="currency",
            code="currency_mismatch",
        )


def canonical_text(number: Decimal) -> str:
    """Return the same text for equal numbers, such as 10, 10.0 and 1E+1."""
    text = str(number)
    if text.isdigit():
        return text
    return format(number.normalize(), "f") if number else "0"


def decimal_of(value: object, *, field: str) -> Decimal:
    """Convert text, an integer, a float or a Decimal to a finite Decimal.

    A float is read in its shortest decimal form: 0.1 is one tenth.

    Raises:
        InvalidRequest: not a number, not finite, 1e15 or more in size, or finer than 12 decimals.
    """
    if type(value) is str and len(value) < 15 and value.isdigit() and value.isascii():
        return Decimal(value)  # fast path: most quantities are short and always valid
    number = _parsed(value)
    if number is None:
        shown = repr(value)
        shown = shown if len(shown) <= 40 else f"{shown[:40]}..."
        raise InvalidRequest(
            f'expected a decimal number such as "1250.00", got {shown}',
            field=field,
            code="not_a_number",
        )
    if not number.is_finite():
        raise InvalidRequest(
            f"{number} is not a finite amount; enter a number",
            field=field,
            code="amount_not_finite",
        )
    if number and number.adjusted() >= 15:
        raise InvalidRequest(
            f"the number is too large; enter less than {LARGEST:E}",
            field=field,
            code="amount_too_large",
        )
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_DECIMALS:
        raise InvalidRequest(
            f"the number has more than {MOST_DECIMALS} decimals; round it",
            field=field,
            code="too_many_decimals",
        )
    return number if number else Decimal(0)


def _parsed(value: object) -> Decimal | None:
    """Return None unless it is a number; Python's 1_000 and digits of other scripts are not."""
    try:
        if isinstance(value, str):
            return Decimal(value) if value.isascii() and "_" not in value else None
        if isinstance(value, float):
            return Decimal(str(value))
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return Decimal(value)
    except (InvalidOperation, ValueError):
        pass
    return None
