"""Tables of a price history that is assembled from histories of some of its assets each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Dates
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Finding
from rebalancer.domain.market.quotes import Quotes

Table = NDArray[Any]

_BLOCK = 64
"""Columns that are copied together."""


class HistoryTables(Protocol):
    """Tables of T rows and N columns, whose columns are written one block after another."""

    def write(self, name: str, first: int, columns: Table) -> None:
        """Write columns of a table, shape (T, n), from one on; others are 0 until then.

        Every block of a table has the same type.
        """

    def read(self, name: str) -> Table:
        """Return a table that was written to, shape (T, N), read-only, without a copy."""


OpenTables = Callable[[int, int], HistoryTables]
"""Opens the tables of a history, by their numbers of rows and columns."""


class TablesInMemory:
    """See `HistoryTables`; asset by asset in memory."""

    def __init__(self, rows: int, columns: int) -> None:
        self._shape = (columns, rows)
        self._tables: dict[str, Table] = {}

    def write(self, name: str, first: int, columns: Table) -> None:
        """See `HistoryTables.write`."""
        if name not in self._tables:
            self._tables[name] = np.zeros(self._shape, dtype=columns.dtype)
        self._tables[name][first : first + columns.shape[1]] = columns.T

    def read(self, name: str) -> Table:
        """See `HistoryTables.read`."""
        table = self._tables[name].T
        table.setflags(write=False)
        return table


def join_histories(parts: Iterable[PriceHistory], tables: HistoryTables) -> PriceHistory:
    """Return histories of different assets over the same days as one.

    Its quotes have only prices.

    Args:
        parts: Histories whose quotes have only prices. Each is released before the next one.
        tables: Of the days and all assets; nothing is written yet.
    """
    symbols: list[str] = []
    findings: list[Finding] = []
    dates: Dates = np.empty(0, dtype="datetime64[D]")
    written: set[str] = set()
    for part in parts:
        start, dates = len(symbols), part.dates
        symbols += part.symbols
        findings += part.all_findings
        given: dict[str, Table | None] = {
            "closes": part.closes,
            "carried": part.carried,
            "reported": part.reported,
            "prices": None if part.quotes is None else part.quotes.prices,
        }
        for name, values in given.items():
            if values is not None and name not in written:
                written.add(name)
                _write_before(name, start, tables, "carried" in written)
            if name not in written or (values is None and name == "carried"):
                continue
            if values is None:
                values = part.reported_closes if name == "reported" else part.closes
            tables.write(name, start, values)
    carried: Bools | None = tables.read("carried") if "carried" in written else None
    return PriceHistory(
        tuple(symbols),
        dates,
        tables.read("closes"),
        carried,
        tables.read("reported") if "reported" in written else None,
        tuple(findings),
        quotes=Quotes(tables.read("prices") if "prices" in written else None, ("",) * len(symbols)),
    )


def _write_before(name: str, stop: int, tables: HistoryTables, has_carried: bool) -> None:
    """Write the columns of a table that earlier histories did not need, up to one."""
    if name in ("closes", "carried"):
        return  # every history has closes; no close was carried
    for first in range(0, stop, _BLOCK):
        block = slice(first, min(first + _BLOCK, stop))
        values = tables.read("closes")[:, block]
        if name == "reported" and has_carried:
            values = np.where(tables.read("carried")[:, block], np.nan, values)
        tables.write(name, first, values)
