"""Market data in a SQL database: one row per asset and year, its columns packed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import attrs
import msgspec
from sqlalchemy import Connection, Engine, Select, Table, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from rebalancer.adapters.sql.engine import reading, upsert, writing
from rebalancer.adapters.sql.tables import bar_changes, market_actions, price_years, revisions
from rebalancer.adapters.sql.tables import instruments as instrument_table
from rebalancer.adapters.sql.tables import verdicts as verdict_table
from rebalancer.application.packed_bars import (
    pack_year,
    unpack_closes,
    unpack_columns,
    unpack_year,
)
from rebalancer.application.ports.market import Revised, no_progress
from rebalancer.domain.market.actions import (
    ActionKind,
    Actions,
    CorporateAction,
    correct_action,
    is_known,
)
from rebalancer.domain.market.bar_years import (
    BarYear,
    ReplacedBars,
    YearColumns,
    YearKey,
    bars_known_by,
    bars_since,
    correct_year,
    instant_of,
    join_years,
    years_to_correct,
)
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, split_by_year
from rebalancer.domain.market.close_columns import CloseColumns
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.quality import Decision, Rule, Verdict, later_verdicts

_ROWS_PER_FETCH = 1000

_KINDS = {str(kind): kind for kind in ActionKind}

_Years = dict[YearKey, Bars]


@attrs.frozen
class SqlMarket:
    """See `MarketStore`.

    Transactions that save bars lock the row that holds their revision, so they run one by one.

    Attributes:
        assets_per_transaction: Assets that are saved together; other writers run in between.
        now: Clock for figures without a known time; read by each transaction.
    """

    engine: Engine
    assets_per_transaction: int = 64
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def prepare(self) -> None:
        """See `MarketStore.prepare`; `Database.upgrade` creates the tables."""

    def revision(self, *of: Revised) -> str:
        query = select(revisions).where(revisions.c.name.in_(of))
        with reading(self.engine) as connection:
            found = {row.name: row.revision for row in connection.execute(query)}
        return " ".join(str(found.get(kind, 0)) for kind in of)

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
            changed += self._save_years(split_by_year(some), known, source)
            progress(len(some))
        return changed

    def symbols(self) -> tuple[str, ...]:
        with reading(self.engine) as connection:
            return tuple(sorted(connection.scalars(select(price_years.c.symbol).distinct())))

    def years(self, symbol: str, *, since: date | None = None) -> tuple[BarYear, ...]:
        query = select(price_years).where(price_years.c.symbol == symbol)
        if since is not None:
            query = query.where(price_years.c.year >= since.year)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(price_years.c.year)).mappings().all()
        return tuple(unpack_year(symbol, _decoded(row)) for row in rows)

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
        given = {action.key: action for action in actions}
        with writing(self.engine) as connection:
            _lock_revision(connection, "actions")
            symbols = {action.symbol for action in given.values()}
            stored = {action.key: action for action in _read_actions(connection, symbols)}
            since = known or self.now()
            corrected = (
                correct_action(stored.get(key), action, since, source)
                for key, action in given.items()
            )
            changed = [_action_row(action) for action in corrected if action is not None]
            if changed:
                connection.execute(insert(market_actions), changed)
                _raise_revision(connection, "actions")
        return len(changed)

    def actions(self, *, known_by: datetime | None = None) -> Actions:
        with reading(self.engine) as connection:
            return Actions.of(one for one in _read_actions(connection) if is_known(one, known_by))

    def save_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        with writing(self.engine) as connection:
            _lock_revision(connection, "verdicts")
            stored = {verdict.key: verdict for verdict in _read_verdicts(connection)}
            changed = [attrs.asdict(one) for one in later_verdicts(stored, verdicts).values()]
            if changed:
                upsert(connection, verdict_table, changed)
                _raise_revision(connection, "verdicts")
        return len(changed)

    def verdicts(self) -> tuple[Verdict, ...]:
        with reading(self.engine) as connection:
            return tuple(sorted(_read_verdicts(connection), key=lambda one: one.key))

    def bars(
        self,
        fields: Sequence[str] = BAR_FIELDS,
        *,
        symbols: Collection[str] | None = None,
        since: date | None = None,
        known_by: datetime | None = None,
    ) -> dict[str, Bars]:
        with reading(self.engine) as connection:
            if known_by is not None:
                columns = (*fields, "known")
                found = bars_known_by(
                    _read_years(connection, _query(price_years, columns, symbols, since)),
                    _read_replaced(connection, _query(bar_changes, columns, symbols, since)),
                    instant_of(known_by),
                )
            else:
                query = _query(price_years, fields, symbols, since)
                names = ("adjusted", "days", *fields)
                parts: dict[str, list[YearColumns]] = defaultdict(list)
                for rows in connection.execute(query).partitions(_ROWS_PER_FETCH):
                    for symbol, _, *values in rows:
                        packed = dict(zip(names, values, strict=True))
                        parts[symbol].append(unpack_columns(packed, fields))
                found = join_years(parts)
        return bars_since(found, since)

    def closes(self, symbols: Collection[str]) -> CloseColumns:
        columns = (price_years.c[name] for name in ("symbol", "adjusted", "days", "close"))
        query = select(*columns).where(price_years.c.symbol.in_(symbols))
        query = query.order_by(price_years.c.symbol, price_years.c.year)
        with reading(self.engine) as connection:
            return unpack_closes(
                (symbol, adjusted, days, closes)
                for rows in connection.execute(query).partitions(_ROWS_PER_FETCH)
                for symbol, adjusted, days, closes in rows
            )

    def instruments(self) -> Instruments:
        query = select(instrument_table).order_by(
            instrument_table.c.position, instrument_table.c.symbol
        )
        with reading(self.engine) as connection:
            return Instruments.of(_instrument_of(row) for row in connection.execute(query))

    def _save_years(self, given: _Years, known: datetime | None, source: str) -> int:
        """Save years of some assets in one transaction; return how many days changed."""
        with writing(self.engine) as connection:
            _lock_revision(connection, "bars")
            since = instant_of(known or self.now())
            wanted = years_to_correct(given, _stored_bases(connection, given))
            stored = _stored_years(connection, wanted)
            total, written, replaced = 0, [], []
            for key, bars in wanted.items():
                found = correct_year(stored.get(key), bars, since, source)
                total += found.changed
                if found.replaced is not None:
                    replaced.append(_replaced_row(key, found.replaced))
                if len(found.year) and found.is_needed:
                    written.append(_year_row(key, found.year))
                elif not len(found.year):
                    _delete_year(connection, key)
            if replaced:
                connection.execute(insert(bar_changes), replaced)
            if written:
                upsert(connection, price_years, written)
            if written or replaced:
                _raise_revision(connection, "bars")
        return total


def _query(
    table: Table, fields: Sequence[str], symbols: Collection[str] | None, since: date | None
) -> Select[Any]:
    """Return the query of years: symbol, year or end, basis, days and some packed columns."""
    second = table.c.year if table is price_years else table.c.until
    columns = (table.c[name] for name in ("adjusted", "days", *fields))
    query = select(table.c.symbol, second, *columns)
    if symbols is not None:
        query = query.where(table.c.symbol.in_(symbols))
    if since is not None:
        query = query.where(table.c.year >= since.year)
    return query.order_by(table.c.symbol, table.c.year)


def _read_years(connection: Connection, query: Select[Any]) -> Iterator[BarYear]:
    for row in connection.execute(query).mappings():
        yield unpack_year(row["symbol"], dict(row))


def _read_replaced(connection: Connection, query: Select[Any]) -> Iterator[ReplacedBars]:
    for row in connection.execute(query).mappings():
        yield ReplacedBars(unpack_year(row["symbol"], dict(row)), row["until"])


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


def _stored_bases(connection: Connection, years: _Years) -> dict[YearKey, bool]:
    """Return whether the stored years of these assets are adjusted."""
    query = select(price_years.c.symbol, price_years.c.year, price_years.c.adjusted)
    rows = connection.execute(
        query.where(price_years.c.symbol.in_({symbol for symbol, _ in years}))
    )
    return {(symbol, year): adjusted for symbol, year, adjusted in rows}


def _stored_years(connection: Connection, years: _Years) -> dict[YearKey, BarYear]:
    """Read the stored bars of these years, and perhaps of further ones."""
    calendar = [year for _, year in years]
    rows = connection.execute(
        select(price_years)
        .where(price_years.c.symbol.in_({symbol for symbol, _ in years}))
        .where(price_years.c.year.between(min(calendar, default=0), max(calendar, default=0)))
    )
    return {
        (row["symbol"], row["year"]): unpack_year(row["symbol"], _decoded(row))
        for row in rows.mappings()
    }


def _decoded(row: Any) -> dict[str, Any]:
    """Return a row with its list of sources."""
    sources = row["sources"]
    return dict(row) | {"sources": None if sources is None else msgspec.json.decode(sources)}


def _year_row(key: YearKey, year: BarYear) -> dict[str, Any]:
    """Pack a year into a row; see `tables.price_years`."""
    return {"symbol": key[0], "year": key[1], **pack_year(year)}


def _replaced_row(key: YearKey, replaced: ReplacedBars) -> dict[str, Any]:
    return _year_row(key, replaced.figures) | {"until": replaced.until}


def _delete_year(connection: Connection, key: YearKey) -> None:
    mine = (price_years.c.symbol == key[0]) & (price_years.c.year == key[1])
    connection.execute(delete(price_years).where(mine))


def _read_actions(
    connection: Connection, symbols: Collection[str] | None = None
) -> Iterator[CorporateAction]:
    """Yield every figure of each action of some assets, or of all, oldest first."""
    names = ("symbol", "ex_day", "kind", "value", "currency", "other", "known", "source")
    query = select(*(market_actions.c[name] for name in names)).order_by(market_actions.c.known)
    if symbols is not None:
        query = query.where(market_actions.c.symbol.in_(symbols))
    rows = connection.execute(query).all()
    for symbol, ex_day, kind, value, currency, other, known, source in rows:
        if kind in _KINDS:
            yield CorporateAction(
                symbol, ex_day, _KINDS[kind], value, currency, other or None, known, source
            )


def _action_row(action: CorporateAction) -> dict[str, Any]:
    row = attrs.asdict(action)
    return row | {"kind": str(action.kind), "other": action.other or ""}


def _read_verdicts(connection: Connection) -> Iterator[Verdict]:
    for row in connection.execute(select(verdict_table)):
        if row.rule in set(Rule) and row.decision in set(Decision):
            yield Verdict(
                row.symbol, Rule(row.rule), row.day, Decision(row.decision), row.decided, row.note
            )


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
