"""Turn the rows of an answer into bars; rows without a price are left out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.bars import BAR_FIELDS, Bars

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    IndexError,
    InvalidRequest,
    KeyError,
    TypeError,
    ValueError,
    msgspec.DecodeError,
)
"""Errors that foreign data cause while they are read."""


def bars_of_columns(symbol: str, days: Dates, columns: Mapping[str, Floats]) -> Bars:
    """Return bars as traded.

    A row without a finite close above 0 is left out, as is a second row of the same day. A field
    other than the close is left out unless every remaining row has a valid figure of it.

    Args:
        symbol: The asset.
        days: (T,) days, ``datetime64[D]``.
        columns: (T,) figures by name of `BAR_FIELDS`, NaN where there is none; with ``close``.

    Raises:
        ValueError: there are rows without any price.
        InvalidRequest: the days do not increase, or a price is too large.
    """
    close = columns["close"]
    first = np.append(True, days[1:] != days[:-1]) if len(days) else np.zeros(0, dtype=bool)
    valid = first & np.isfinite(close) & (close > 0)
    if len(days) and not valid.any():
        raise ValueError("no row has a price")
    kept = {}
    for name in BAR_FIELDS:
        if name not in columns:
            continue
        values = columns[name][valid]
        right = values >= 0 if name == "volume" else values > 0
        if np.all(right & np.isfinite(values)):
            kept[name] = values
    return Bars(symbol, days[valid], adjusted=False, **kept)


def finite(value: object) -> float:
    """Return a number of an answer, which may be a text.

    Raises:
        TypeError: it is neither a number nor a text.
        ValueError: it is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"{value!r} is not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number
