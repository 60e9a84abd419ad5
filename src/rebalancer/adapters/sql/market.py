"""Market data in a SQL database: a row an asset and year, its columns packed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from rebalancer.adapters.sql.engine import reading, upserted, writing
from rebalancer.adapters.sql.tables import instruments as listed
from rebalancer.adapters.sql.tables import price_years, revisions
from rebalancer.application.ports.market import PriceCache, no_progress
from rebalancer.application.revision_cache import CHECK_INTERVAL, RevisionCache
from rebalancer.application.stored_market import StoredPrices
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, join_years, split_by_year
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory

_AT_ONCE = 64
"""Assets that are kept in one transaction: others may write in between."""

_BARS, _INSTRUMENTS = "bars", "instruments"

_Years = dict[tuple[str, int], Bars]


class SqlMarket:
    """See `MarketStore`.

    Those who keep prices take turns at the row that counts how often they have changed.

    Args:
        engine: One of `connect`.
        cache: See `StoredPrices`; so are the next.
        patience: See there.
        clock: See there.
    """

    def __init__(
        self,
        engine: Engine,
        cache: PriceCache | None = None,
        *,
        patience: float = CHECK_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self._prices = StoredPrices(
            lambda: self._read(None, None, None, ("close",)).values(),
            lambda: self._revision(_BARS),
            cache=cache,
            patience=patience,
            clock=clock,
        )
        self._listed = RevisionCache(
            "instruments",
            lambda _: self._read_instruments(),
            lambda: self._revision(_INSTRUMENTS),
            patience=patience,
            clock=clock,
        )

    def prepare(self) -> None:
        """See `MarketStore.prepare`; tables are a matter of `Database.upgrade`."""

    def check(self) -> None:
        """See `MarketStore.check`."""
        self._prices.check()

    def withheld(self) -> Mapping[str, str]:
        """See `MarketStore.withheld`."""
        return self._prices.withheld()

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return self._prices.symbols()

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        return self._prices.closes(symbols, days=days, until=until)

    def instruments(self) -> Instruments:
        """See `InstrumentSource.instruments`."""
        return self._listed()

    def save_bars(
        self, bars: Sequence[Bars], *, progress: Callable[[int], None] = no_progress
    ) -> int:
        """See `MarketStore.save_bars`."""
        changed = 0
        try:
            for begin in range(0, len(bars), _AT_ONCE):
                some = bars[begin : begin + _AT_ONCE]
                changed += self._keep(split_by_year(some))
                progress(len(some))
        finally:
            self._prices.ask_again()
        return changed

    def save_instruments(self, instruments: Instruments) -> int:
        """See `MarketStore.save_instruments`."""
        with writing(self.engine) as connection:
            _take_turns(connection, _INSTRUMENTS)
            rows = connection.execute(select(listed)).all()
            known = {row.symbol: (row.position, _instrument(row)) for row in rows}
            last = max((row.position for row in rows), default=-1)
            changed = []
            for one in instruments:
                position, before = known.get(one.symbol, (None, None))
                if one == before:
                    continue
                if position is None:
                    position = last = last + 1
                changed.append(
                    {"symbol": one.symbol, "position": position, "instrument": _told(one)}
                )
            if changed:
                upserted(connection, listed, changed)
                _count(connection, _INSTRUMENTS)
        self._listed.ask_again()
        return len(changed)

    def bars(
        self,
        symbols: Sequence[str] | None = None,
        *,
        first: date | None = None,
        last: date | None = None,
    ) -> dict[str, Bars]:
        """See `MarketStore.bars`."""
        return self._read(symbols, first, last, BAR_FIELDS)

    def _read(
        self,
        symbols: Sequence[str] | None,
        first: date | None,
        last: date | None,
        figures: Sequence[str],
    ) -> dict[str, Bars]:
        wanted = select(
            price_years.c.symbol, price_years.c.days, *(price_years.c[name] for name in figures)
        ).order_by(price_years.c.symbol, price_years.c.year)
        if symbols is not None:
            wanted = wanted.where(price_years.c.symbol.in_(symbols))
        if first is not None:
            wanted = wanted.where(price_years.c.year >= first.year)
        if last is not None:
            wanted = wanted.where(price_years.c.year <= last.year)
        parts: dict[str, list[dict[str, NDArray[Any]]]] = defaultdict(list)
        with reading(self.engine) as connection:
            for row in connection.execute(wanted):
                parts[row.symbol].append(_columns(row, figures))
        return join_years(parts, first, last)

    def _keep(self, given: _Years) -> int:
        """Keep years of some assets, all or none; tells how many days that has changed."""
        with writing(self.engine) as connection:
            _take_turns(connection, _BARS)
            known = _known(connection, given)
            changed, rows = 0, []
            for key, bars in given.items():
                before = known.get(key)
                year = bars if before is None else before.merged_with(bars)
                different = year.count_changes_since(before)
                if different:
                    changed += different
                    rows.append(_row(key, year))
            if rows:
                upserted(connection, price_years, rows)
                _count(connection, _BARS)
        return changed

    def _revision(self, name: str) -> str:
        wanted = select(revisions.c.revision).where(revisions.c.name == name)
        with reading(self.engine) as connection:
            return str(connection.scalar(wanted) or 0)

    def _read_instruments(self) -> Instruments:
        with reading(self.engine) as connection:
            rows = connection.execute(select(listed).order_by(listed.c.position, listed.c.symbol))
            return Instruments.of(_instrument(row) for row in rows)


def _take_turns(connection: Connection, name: str) -> None:
    """Wait until nobody else changes what goes by a name; in SQLite that is so already."""
    if connection.dialect.name == "sqlite":
        return
    first = postgres_insert(revisions).values(name=name, revision=_before_the_first())
    connection.execute(first.on_conflict_do_nothing())
    connection.execute(select(revisions).where(revisions.c.name == name).with_for_update())


def _count(connection: Connection, name: str) -> None:
    """Another change."""
    more = update(revisions).where(revisions.c.name == name)
    if not connection.execute(more.values(revision=revisions.c.revision + 1)).rowcount:
        upserted(connection, revisions, [{"name": name, "revision": _before_the_first() + 1}])


def _before_the_first() -> int:
    """What revisions are counted from: the time, in microseconds.

    So those of a database that was made anew are none of the one before it, of which a cache may
    know still.
    """
    return time.time_ns() // 1000


def _known(connection: Connection, years: _Years) -> _Years:
    """What is kept of some years, and of some beside them."""
    calendar = [year for _, year in years]
    rows = connection.execute(
        select(price_years)
        .where(price_years.c.symbol.in_({symbol for symbol, _ in years}))
        .where(price_years.c.year.between(min(calendar, default=0), max(calendar, default=0)))
    )
    return {(row.symbol, row.year): Bars(row.symbol, **_columns(row, BAR_FIELDS)) for row in rows}


def _row(key: tuple[str, int], bars: Bars) -> dict[str, Any]:
    """A year as a row; see `tables.price_years`."""
    columns = bars.columns()
    days = columns.pop("days").astype("<i8").astype("<i4").tobytes()
    figures = {name: values.astype("<f8").tobytes() for name, values in columns.items()}
    return {
        "symbol": key[0],
        "year": key[1],
        "days": days,
        **{name: figures.get(name) for name in BAR_FIELDS},
    }


def _columns(row: Any, figures: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Columns of a row that has some of the figures."""
    found: dict[str, NDArray[Any]] = {
        "days": np.frombuffer(row.days, "<i4").astype("datetime64[D]")
    }
    for name in figures:
        packed = getattr(row, name)
        if packed is not None:
            found[name] = np.frombuffer(packed, "<f8")
    return found


def _told(instrument: Instrument) -> dict[str, Any]:
    return attrs.asdict(instrument, filter=lambda field, _: field.name != "symbol")


def _instrument(row: Any) -> Instrument:
    told = msgspec.json.decode(row.instrument)
    kind = told["asset_class"]
    return Instrument(
        row.symbol,
        told["name"],
        AssetClass(kind) if kind in set(AssetClass) else None,
        told["daily_volume"],
    )
