"""Fundamentals and economic series in a SQL database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import msgspec
from sqlalchemy import Column, Connection, Engine, select, text

from rebalancer.adapters.sql.engine import reading, upsert, writing
from rebalancer.adapters.sql.tables import economic_series, fundamentals
from rebalancer.application.packed_series import pack_observations, unpack_observations
from rebalancer.application.ports.reference import StoredFacts, StoredSeries
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts


@attrs.frozen
class SqlReference:
    """See `ReferenceStore`.

    Transactions that extend the same series run one after the other.
    """

    engine: Engine

    def prepare(self) -> None:
        """See `ReferenceStore.prepare`; `Database.upgrade` creates the tables."""

    def facts(self, symbol: str) -> StoredFacts | None:
        query = select(fundamentals).where(fundamentals.c.symbol == symbol)
        with reading(self.engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        document = msgspec.json.decode(row.document)
        facts = Facts(symbol, document["figures"], document["texts"], row.as_of)
        return StoredFacts(facts, row.provider, row.fetched)

    def save_facts(self, facts: StoredFacts) -> None:
        found = facts.facts
        row = {
            "symbol": found.symbol,
            "provider": facts.provider,
            "fetched": facts.fetched,
            "as_of": found.as_of,
            "document": {"figures": dict(found.figures), "texts": dict(found.texts)},
        }
        with writing(self.engine) as connection:
            upsert(connection, fundamentals, [row])

    def series(self, id: str) -> StoredSeries | None:
        with reading(self.engine) as connection:
            return _read_series(connection, id)

    def save_series(self, series: StoredSeries) -> StoredSeries:
        id = series.series.id
        with writing(self.engine) as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                lock = text("SELECT pg_advisory_xact_lock(hashtext(:series))")
                connection.execute(lock, {"series": f"economic_series {id}"})
            before = _read_series(connection, id)
            extended = series if before is None else before.extended_by(series)
            row = {
                "id": id,
                "provider": extended.provider,
                "fetched": extended.fetched,
                "title": extended.series.title,
                "unit": extended.series.unit,
                **pack_observations(extended.series.observations),
            }
            upsert(connection, economic_series, [row])
        return extended

    def facts_fetched(self) -> dict[str, datetime]:
        return self._fetched(fundamentals.c.symbol, fundamentals.c.fetched)

    def series_fetched(self) -> dict[str, datetime]:
        return self._fetched(economic_series.c.id, economic_series.c.fetched)

    def _fetched(self, key: Column[Any], time: Column[Any]) -> dict[str, datetime]:
        with reading(self.engine) as connection:
            rows = connection.execute(select(key, time)).all()
        return dict(sorted((name, fetched) for name, fetched in rows))


def _read_series(connection: Connection, id: str) -> StoredSeries | None:
    query = select(economic_series).where(economic_series.c.id == id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    observations = unpack_observations(row._asdict())
    series = EconomicSeries(id, row.title, row.unit, observations)
    return StoredSeries(series, row.provider, row.fetched)
