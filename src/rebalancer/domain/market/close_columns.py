"""Closes of many assets: as stores read them, one asset after another, and as one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Dates, Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import HIGHEST

DayNumbers = NDArray[np.int32]
"""Days since 1970-01-01."""


@attrs.frozen(eq=False)
class CloseColumns:
    """Closes of n assets, one asset after another.

    Attributes:
        symbols: n symbols, each once.
        counts: (n,) number of closes of each asset, >= 1; their sum is M.
        days: (M,) strictly increasing within each asset.
        closes: (M,) > 0 and < 1e12.
        adjusted: Symbols whose closes are adjusted for splits and distributions.

    Raises:
        InvalidRequest: the closes of an asset are invalid; the message names it.
    """

    symbols: tuple[str, ...]
    counts: Rows
    days: DayNumbers
    closes: Floats
    adjusted: frozenset[str] = frozenset()

    def __attrs_post_init__(self) -> None:
        starts = np.cumsum(self.counts)[:-1]
        backwards = np.diff(self.days) <= 0
        backwards[starts - 1] = False  # the next asset begins
        if backwards.any():
            raise days_not_increasing(self._symbol_at(int(np.argmax(backwards))))
        right = (self.closes > 0) & (self.closes < HIGHEST)
        if not right.all():
            at = int(np.argmin(right))
            raise invalid_value(self._symbol_at(at), "close", float(self.closes[at]), PRICE_RANGE)

    def _symbol_at(self, position: int) -> str:
        return self.symbols[int(np.searchsorted(np.cumsum(self.counts), position, side="right"))]


PRICE_RANGE = f"more than 0 and less than {HIGHEST:g}"
"""Valid prices."""


def days_not_increasing(symbol: str) -> InvalidRequest:
    """Return the error of an asset whose days do not increase."""
    return InvalidRequest(
        "the days do not increase; sort them and keep each once",
        field=f"{symbol}.days",
        code="dates_not_increasing",
    )


def invalid_value(symbol: str, name: str, value: float, expected: str) -> InvalidRequest:
    """Return the error of a value of an asset that is out of range."""
    return InvalidRequest(
        f"{value} is not a valid {name}; each value must be {expected}",
        field=f"{symbol}.{name}",
        code="invalid_bar",
    )


class CloseTable:
    """Table of closes that grows by assets and, where these have new days, by days.

    It lies asset by asset in memory. It is copied only when an asset has a day that no asset before
    has, so that a market is read with little more memory than the table itself.

    Args:
        capacity: Most assets that will be added.
    """

    def __init__(self, capacity: int) -> None:
        self.symbols: list[str] = []
        self.adjusted: set[str] = set()
        self._calendar = np.empty(0, dtype=np.int64)
        self._table = np.empty((capacity, 0))

    @property
    def days(self) -> Dates:
        """(T,) days on which any asset has a close, increasing."""
        return self._calendar.astype("datetime64[D]")

    @property
    def closes(self) -> Floats:
        """(T, N) closes of the assets so far, NaN where there is none."""
        return self._table[: len(self.symbols)].T

    def add(self, part: CloseColumns) -> None:
        """Add the closes of further assets."""
        if not part.symbols:
            return
        first, rows_by_day = self._include(part.days)
        rows = rows_by_day[part.days - first]
        stops = np.cumsum(part.counts).tolist()
        for at, (start, stop) in enumerate(
            zip([0, *stops[:-1]], stops, strict=True), len(self.symbols)
        ):
            closes = self._table[at]
            if stop - start < len(closes):
                closes.fill(np.nan)
            closes[rows[start:stop]] = part.closes[start:stop]
        self.symbols += part.symbols
        self.adjusted |= part.adjusted

    def _include(self, days: DayNumbers) -> tuple[int, Rows]:
        """Add days to the calendar; return its first day, and the row of each day from it on."""
        known = self._calendar
        first, last = int(days.min()), int(days.max())
        if len(known):
            first, last = min(first, int(known[0])), max(last, int(known[-1]))
        seen = np.zeros(last - first + 1, dtype=bool)
        seen[known - first] = True
        seen[days - first] = True
        rows = np.cumsum(seen) - 1
        calendar = first + np.flatnonzero(seen)
        if len(calendar) > len(known):
            count = len(self.symbols)
            grown = np.empty((len(self._table), len(calendar)))
            if count:
                grown[:count] = np.nan
                grown[:count, rows[known - first]] = self._table[:count]
            self._calendar, self._table = calendar, grown
        return first, rows


def join_closes(parts: Iterable[CloseColumns], capacity: int) -> CloseTable:
    """Return the table of all closes of some parts, which are released one by one."""
    table = CloseTable(capacity)
    for part in parts:
        table.add(part)
    return table


def close_columns(
    symbols: Sequence[str],
    days: Sequence[Dates],
    closes: Sequence[Floats],
    adjusted: Iterable[str],
) -> CloseColumns:
    """Return the columns of assets, given the days and closes of each."""
    return CloseColumns(
        tuple(symbols),
        np.array([len(each) for each in days], dtype=np.intp),
        np.concatenate([each.astype(np.int32) for each in days] or [np.empty(0, np.int32)]),
        np.concatenate([*closes] or [np.empty(0)]),
        frozenset(adjusted),
    )
