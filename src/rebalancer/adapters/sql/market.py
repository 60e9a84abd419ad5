"""Market data in a SQL database: one row per asset and year, its columns packed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from rebalancer.adapters.sql.engine import reading, upsert, writing
from rebalancer.adapters.sql.tables import instruments as instrument_table
from rebalancer.adapters.sql.tables import price_years, revisions
from rebalancer.application.ports.market import Revised, no_progress
from rebalancer.domain.market.actions import Actions, CorporateAction
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, join_years, merge_year, split_by_year
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.quality import Verdict

_Years = dict[tuple[str, int], Bars]


@attrs.frozen
class SqlMarket:
    """See `MarketStore`.

    Transactions that save bars lock the row that holds their revision, so they run one by one.

    Attributes:
        assets_per_transaction: Assets that are saved together; other writers run in between.
    """

    engine: Engine
    assets_per_transaction: int = 64

    def prepare(self) -> None:
        """See `MarketStore.prepare`; `Database.upgrade` creates the tables."""

    def revision(self, of: Revised) -> str:
        query = select(revisions.c.revision).where(revisions.c.name == of)
        with reading(self.engine) as connection:
            return str(connection.scalar(query) or 0)

    def save_bars(
        self,
        bars: Sequence[Bars],
        *,
        known: datetime | None = None,
        source: str = "",
        progress: Callable[[int], None] = no_progress,
    ) -> int:
        changed = 0
        for begin in range(0, len(bars), self.assets_per_transaction):
            some = bars[begin : begin + self.assets_per_transaction]
            changed += self._save_years(split_by_year(some))
            progress(len(some))
        return changed

    def save_instruments(self, instruments: Instruments) -> int:
        with writing(self.engine) as connection:
            _lock_revision(connection, "instruments")
            rows = connection.execute(select(instrument_table)).all()
            stored = {row.symbol: (row.position, _instrument_of(row)) for row in rows}
            last = max((row.position for row in rows), default=-1)
            changed = []
            for one in instruments:
                position, before = stored.get(one.symbol, (None, None))
                if one == before:
                    continue
                if position is None:
                    position = last = last + 1
                changed.append(_instrument_row(one, position))
            if changed:
                upsert(connection, instrument_table, changed)
                _raise_revision(connection, "instruments")
        return len(changed)

    def save_actions(
        self, actions: Iterable[CorporateAction], *, known: datetime | None = None, source: str = ""
    ) -> int:
        raise NotImplementedError

    def actions(self, *, known_by: datetime | None = None) -> Actions:
        return Actions()

    def save_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        raise NotImplementedError

    def verdicts(self) -> tuple[Verdict, ...]:
        return ()

    def bars(
        self,
        fields: Sequence[str] = BAR_FIELDS,
        *,
        symbols: Collection[str] | None = None,
        since: date | None = None,
        known_by: datetime | None = None,
    ) -> dict[str, Bars]:
        query = select(
            price_years.c.symbol, price_years.c.days, *(price_years.c[name] for name in fields)
        ).order_by(price_years.c.symbol, price_years.c.year)
        parts: dict[str, list[dict[str, NDArray[Any]]]] = defaultdict(list)
        with reading(self.engine) as connection:
            for row in connection.execute(query):
                parts[row.symbol].append(_unpack_columns(row, fields))
        return join_years(parts)

    def instruments(self) -> Instruments:
        query = select(instrument_table).order_by(
            instrument_table.c.position, instrument_table.c.symbol
        )
        with reading(self.engine) as connection:
            return Instruments.of(_instrument_of(row) for row in connection.execute(query))

    def _save_years(self, given: _Years) -> int:
        """Save years of some assets in one transaction; return how many days changed."""
        with writing(self.engine) as connection:
            _lock_revision(connection, "bars")
            stored = _stored_years(connection, given)
            total, rows = 0, []
            for key, bars in given.items():
                year, changed = merge_year(stored.get(key), bars)
                if changed:
                    total += changed
                    rows.append(_year_row(key, year))
            if rows:
                upsert(connection, price_years, rows)
                _raise_revision(connection, "bars")
        return total


def _lock_revision(connection: Connection, name: str) -> None:
    """Wait for other writers of the same data; SQLite has one writer anyway."""
    if connection.dialect.name == "sqlite":
        return
    first = postgres_insert(revisions).values(name=name, revision=_initial_revision())
    connection.execute(first.on_conflict_do_nothing())
    connection.execute(select(revisions).where(revisions.c.name == name).with_for_update())


def _raise_revision(connection: Connection, name: str) -> None:
    query = update(revisions).where(revisions.c.name == name)
    if not connection.execute(query.values(revision=revisions.c.revision + 1)).rowcount:
        upsert(connection, revisions, [{"name": name, "revision": _initial_revision() + 1}])


def _initial_revision() -> int:
    """Return the time in microseconds.

    So a database that was created again never repeats a revision that caches of the one before
    may still hold.
    """
    return time.time_ns() // 1000


def _stored_years(connection: Connection, years: _Years) -> _Years:
    """Read the stored bars of these years, and perhaps of further ones."""
    calendar = [year for _, year in years]
    rows = connection.execute(
        select(price_years)
        .where(price_years.c.symbol.in_({symbol for symbol, _ in years}))
        .where(price_years.c.year.between(min(calendar, default=0), max(calendar, default=0)))
    )
    return {
        (row.symbol, row.year): Bars(row.symbol, **_unpack_columns(row, BAR_FIELDS)) for row in rows
    }


def _year_row(key: tuple[str, int], bars: Bars) -> dict[str, Any]:
    """Pack a year into a row; see `tables.price_years`."""
    columns = bars.columns()
    days = columns.pop("days").astype("<i8").astype("<i4").tobytes()
    packed = {name: values.astype("<f8").tobytes() for name, values in columns.items()}
    return {
        "symbol": key[0],
        "year": key[1],
        "days": days,
        **{name: packed.get(name) for name in BAR_FIELDS},
    }


def _unpack_columns(row: Any, fields: Sequence[str]) -> dict[str, Any]:
    """Return the days of a row, and those of the fields that it has."""
    columns: dict[str, Any] = {"days": np.frombuffer(row.days, "<i4").astype("datetime64[D]")}
    for name in fields:
        packed = getattr(row, name)
        if packed is not None:
            columns[name] = np.frombuffer(packed, "<f8")
    return columns


def _instrument_row(instrument: Instrument, position: int) -> dict[str, Any]:
    document = attrs.asdict(
        instrument,
        filter=lambda field, _: field.name != "symbol",
        value_serializer=lambda _, __, value: str(value) if isinstance(value, Decimal) else value,
    )
    return {"symbol": instrument.symbol, "position": position, "instrument": document}


def _instrument_of(row: Any) -> Instrument:
    document = msgspec.json.decode(row.instrument)
    kind = document["asset_class"]
    return Instrument(
        row.symbol,
        document["name"],
        AssetClass(kind) if kind in set(AssetClass) else None,
        document["daily_volume"],
        _decimal(document.get("quantity_step")),
        _decimal(document.get("lot_size")),
        document.get("currency"),
        document.get("market"),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
