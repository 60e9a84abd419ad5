"""Targets while a person edits them: their sum, what is left for cash, and suggestions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from rebalancer_app.gateway.users import Limits
from rebalancer_app.model.formats import Formats
from rebalancer_app.model.numbers import read_number
from rebalancer_app.texts import Texts

_WHOLE = Decimal(100)
_SAFE = {"bond", "money_market"}


@attrs.frozen
class TargetSum:
    """State of the targets while they are typed.

    Attributes:
        shares: Fractions by symbol, of the fields that can be read.
        text: The sum and what is left, in words.
        is_valid: Whether every field is a percentage and the sum is at most 100.
        wrong: Symbols whose fields cannot be read.
    """

    shares: dict[str, float]
    text: str
    is_valid: bool
    wrong: tuple[str, ...]


def add_targets(fields: Mapping[str, str], formats: Formats, texts: Texts) -> TargetSum:
    """Return the sum of targets as typed, in percent; an empty field counts as zero."""
    shares: dict[str, float] = {}
    total, wrong = Decimal(0), []
    for symbol, typed in fields.items():
        number = Decimal(0) if not typed.strip() else read_number(typed.rstrip("% "), formats)
        if number is None or not 0 <= number <= _WHOLE:
            wrong.append(symbol)
            continue
        total += number
        if number:
            shares[symbol] = float(number / _WHOLE)
    left = _WHOLE - total
    if wrong:
        text = texts("targets.wrong", symbols=", ".join(wrong))
    elif left < 0:
        text = texts("targets.over", over=formats.percent(-left / _WHOLE))
    elif left:
        text = texts(
            "targets.left",
            total=formats.percent(total / _WHOLE),
            left=formats.percent(left / _WHOLE),
        )
    else:
        text = texts("targets.complete")
    return TargetSum(shares, text, not wrong and left >= 0, tuple(wrong))


def suggest_targets(classes: Mapping[str, str | None], limits: Limits | None) -> dict[str, Decimal]:
    """Return targets in percent, equal within equities and within the rest.

    With a profile, equities together get at most its ceiling, one asset at most its largest
    weight, and its floor stays in cash. What nothing may take stays in cash.
    """
    symbols = list(classes)
    if not symbols:
        return {}
    safe = [symbol for symbol in symbols if (classes[symbol] or "") in _SAFE]
    risky = [symbol for symbol in symbols if symbol not in safe]
    floor = Decimal(str(limits.cash_floor)) if limits else Decimal(0)
    ceiling = Decimal(str(limits.equity_ceiling)) if limits else Decimal(1)
    largest = Decimal(str(limits.max_weight)) if limits else Decimal(1)
    whole = 1 - floor
    even = whole / len(symbols)
    for_risky = min(ceiling, even * len(risky)) if safe else min(ceiling, whole)
    found = _share(risky, for_risky, largest)
    found |= _share(safe, whole - sum(found.values(), Decimal(0)), largest)
    return {symbol: found[symbol] for symbol in symbols}


def _share(symbols: Sequence[str], total: Decimal, largest: Decimal) -> dict[str, Decimal]:
    if not symbols:
        return {}
    each = min(total / len(symbols), largest)
    return {symbol: each.quantize(Decimal("0.001"), rounding="ROUND_DOWN") for symbol in symbols}
