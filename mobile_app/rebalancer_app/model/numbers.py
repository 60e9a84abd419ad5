"""Reading of numbers that people type, in the way of their region."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import NumberFormatError, parse_decimal

from rebalancer_app.model.formats import Formats

_SPACES = str.maketrans("", "", " \u00a0\u202f'\u2019")


def read_number(text: str, formats: Formats) -> Decimal | None:
    """Return the number that a person typed; None if it is not one.

    Grouping and decimal signs are those of the region. A text with a single point or comma that
    cannot be grouping counts as a decimal number in every region: 12.5 and 12,5.
    """
    bare = text.strip().translate(_SPACES)
    if not bare or not set(bare) <= set("0123456789.,-"):
        return None
    marks = [char for char in bare if char in ".,"]
    if len(marks) == 1:
        whole, _, digits = bare.partition(marks[0])
        if len(digits) != 3 or not whole.lstrip("-") or whole.lstrip("-") == "0":
            return _exact(f"{whole or '0'}.{digits or '0'}")
    try:
        return Decimal(parse_decimal(bare, locale=formats.locale, strict=True))
    except (NumberFormatError, ValueError):
        return None


def _exact(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except ArithmeticError:
        return None
