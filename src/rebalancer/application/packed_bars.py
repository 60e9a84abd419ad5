"""Encoding of stored years of bars as bytes, which databases share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.market.bar_years import ALWAYS, BarYear, YearColumns
from rebalancer.domain.market.bars import BAR_FIELDS, Bars
from rebalancer.domain.market.close_columns import CloseColumns
from rebalancer.domain.market.currencies import is_rate_symbol

PACKED_FIELDS = ("days", *BAR_FIELDS, "known", "source")
"""Columns of bytes: days since 1970-01-01 as 32 bits, fields as 64-bit floats, known times as
64-bit microseconds since 1970-01-01 UTC, and positions in the list of sources as 16 bits; all
little-endian. A known time or a source that all days share is there once."""

PROVENANCE = ("known", "source", "sources", "adjusted")
"""Columns that state when and from where the figures are known, and their basis."""


def pack_year(year: BarYear) -> dict[str, Any]:
    """Return columns of bytes by name, the list of ``sources``, and ``adjusted``.

    A column without values is None.
    """
    bars = year.bars
    names, positions = np.unique(year.sources.astype(str), return_inverse=True)
    packed: dict[str, Any] = dict.fromkeys(PACKED_FIELDS)
    for name, values in bars.columns().items():
        if name != "days":
            packed[name] = values.astype("<f8").tobytes()
    return packed | {
        "days": bars.days.astype("<i8").astype("<i4").tobytes(),
        "known": _pack_repeated(year.known.astype("<i8")),
        "source": _pack_repeated(positions.reshape(-1).astype("<u2")),
        "sources": [str(name) for name in names],
        "adjusted": bars.adjusted,
    }


def unpack_columns(packed: Mapping[str, Any], fields: Sequence[str]) -> YearColumns:
    """Return the days of a packed year, and those of the fields that it has, as read-only views."""
    columns: dict[str, NDArray[Any]] = {
        "days": np.frombuffer(packed["days"], "<i4").astype("datetime64[D]")
    }
    for name in fields:
        if packed.get(name) is not None:
            columns[name] = np.frombuffer(packed[name], "<f8")
    return YearColumns(columns, _is_adjusted(packed))


PackedCloses = tuple[str, bool | None, bytes, bytes]
"""Symbol, basis, days and closes of a packed year."""


def unpack_closes(years: Iterable[PackedCloses]) -> CloseColumns:
    """Return the closes of packed years of some assets; assets without days are left out.

    See `rebalancer.domain.market.bar_years.join_years` for years of different bases.

    Args:
        years: Sorted by symbol and year.
    """
    given = list(years)
    traded = {symbol for symbol, adjusted, _, _ in given if adjusted is False}
    rates = {symbol for symbol in {one[0] for one in given} if is_rate_symbol(symbol)}
    counts: dict[str, int] = defaultdict(int)
    parts: list[tuple[bytes, bytes]] = []
    for symbol, adjusted, days, closes in given:
        if days and (adjusted is False or symbol not in traded or symbol in rates):
            counts[symbol] += len(days) // _BYTES_A_DAY
            parts.append((days, closes))
    return CloseColumns(
        tuple(counts),
        np.array(list(counts.values()), dtype=np.intp),
        np.frombuffer(b"".join([days for days, _ in parts]), "<i4"),
        np.frombuffer(b"".join([closes for _, closes in parts]), "<f8"),
        frozenset(counts).difference(traded, rates),
    )


_BYTES_A_DAY = 4


def unpack_year(
    symbol: str, packed: Mapping[str, Any], fields: Sequence[str] = BAR_FIELDS
) -> BarYear:
    """Return a packed year with when and from where its figures are known."""
    read = unpack_columns(packed, fields)
    arrays: dict[str, Any] = dict(read.columns)
    bars = Bars(symbol, **arrays, adjusted=read.adjusted)
    known = np.full(len(bars), ALWAYS, dtype=np.int64)
    if packed.get("known") is not None:
        known[:] = np.frombuffer(packed["known"], "<i8")
    sources = np.full(len(bars), "", dtype=object)
    if packed.get("source") is not None:
        names = np.array(packed["sources"], dtype=object)
        sources[:] = names[np.frombuffer(packed["source"], "<u2")]
    return BarYear(bars, known, sources)


def _is_adjusted(packed: Mapping[str, Any]) -> bool:
    """Return the basis; years of earlier versions are adjusted."""
    return packed.get("adjusted") is not False


def _pack_repeated(values: NDArray[Any]) -> bytes:
    if len(values) and (values == values[0]).all():
        values = values[:1]
    return values.tobytes()
