"""Stored snapshots of the value of portfolios over time, packed into bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from uuid import UUID

import attrs
import msgspec
import numpy as np
from sqlalchemy import Connection, select

from rebalancer.adapters.sql.engine import upsert
from rebalancer.adapters.sql.tables import history_snapshots
from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.history_snapshots import (
    HistoryBase,
    HistorySnapshot,
    KeptHistory,
)
from rebalancer.domain.backtest.periods import ValueHistory
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import LedgerMark
from rebalancer.domain.portfolio.positions import Positions

FORMAT = 1
"""Changes with the layout, and with any figure of a history: others are measured again."""


@attrs.frozen
class _Head:
    format: int


@attrs.frozen
class _Document:
    """A snapshot; days count from 1970-01-01 as little-endian int32, figures are float64.

    Notes of entries are left out: they may be personal, and no figure needs them.
    """

    format: int
    mark: LedgerMark
    currency: str
    dates: bytes
    values: bytes
    contributions: bytes
    index: bytes
    row: int
    positions: Positions
    recent: tuple[Entry, ...]
    symbols: tuple[str, ...]
    currencies: tuple[str, ...]
    digest: str


_encoder = cache(msgspec.msgpack.Encoder)
_decoder = cache(msgspec.msgpack.Decoder)


def read_histories(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, KeptHistory]:
    """Return the stored snapshots of some portfolios; those of other versions are left out."""
    table = history_snapshots.c
    query = select(history_snapshots).where(table.portfolio.in_(ids))
    found = {row.portfolio: unpack(row.snapshot) for row in connection.execute(query)}
    return {id: kept for id, kept in found.items() if kept is not None}


def store_histories(connection: Connection, kept: Mapping[UUID, KeptHistory]) -> None:
    """Store snapshots in place of earlier ones."""
    rows = [{"portfolio": id, "snapshot": pack(one)} for id, one in sorted(kept.items())]
    if rows:
        upsert(connection, history_snapshots, rows)


def pack(kept: KeptHistory) -> bytes:
    """Return a snapshot as bytes."""
    history, base = kept.snapshot.history, kept.snapshot.base
    if base is None:
        raise ValueError("a history without a base cannot be continued")
    document = _Document(
        format=FORMAT,
        mark=kept.mark,
        currency=kept.snapshot.currency,
        dates=history.dates.astype("datetime64[D]").astype("<i4").tobytes(),
        values=_packed(history.values),
        contributions=_packed(history.contributions),
        index=_packed(history.index),
        row=base.row,
        positions=base.positions,
        recent=tuple(attrs.evolve(entry, note="") for entry in base.recent),
        symbols=base.symbols,
        currencies=base.currencies,
        digest=base.digest,
    )
    return bytes(_encoder().encode(document))


def unpack(packed: bytes) -> KeptHistory | None:
    """Return a snapshot; None if it has another format, or is damaged."""
    try:
        if _decoder(_Head).decode(packed).format != FORMAT:
            return None
        found: _Document = _decoder(_Document).decode(packed)
    except msgspec.MsgspecError:
        return None
    base = HistoryBase(
        found.row, found.positions, found.recent, found.symbols, found.currencies, found.digest
    )
    history = ValueHistory(
        np.frombuffer(found.dates, "<i4").astype("datetime64[D]"),
        _unpacked(found.values),
        _unpacked(found.contributions),
        _unpacked(found.index),
    )
    return KeptHistory(found.mark, HistorySnapshot(history, found.currency, base))


def _packed(figures: Floats) -> bytes:
    return figures.astype("<f8").tobytes()


def _unpacked(packed: bytes) -> Floats:
    figures: Floats = np.frombuffer(packed, "<f8").astype(np.float64)
    return figures
