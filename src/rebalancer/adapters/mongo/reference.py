"""Fundamentals and economic series in MongoDB: a document each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import attrs
from bson.int64 import Int64
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from rebalancer.adapters.mongo.connection import Collections, Document, translated
from rebalancer.application.packed_series import pack_observations, unpack_observations
from rebalancer.application.ports.reference import StoredFacts, StoredSeries
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.bar_years import instant_of, time_of
from rebalancer.domain.market.economics import EconomicSeries
from rebalancer.domain.market.fundamentals import Facts

_RETRIES = 50


@attrs.frozen
class MongoReference:
    """See `ReferenceStore`.

    A series is replaced only in the revision that was read; otherwise it is read again.
    """

    database: Database[Document]
    _collections: Collections = attrs.field(init=False, eq=False, repr=False)

    @_collections.default
    def _make_collections(self) -> Collections:
        return Collections(self.database, {"fundamentals": [], "economic_series": []})

    def prepare(self) -> None:
        self._collections.prepare()

    def facts(self, symbol: str) -> StoredFacts | None:
        with translated():
            found = self.database.fundamentals.find_one({"_id": symbol})
        if found is None:
            return None
        as_of = None if "as_of" not in found else date.fromisoformat(found["as_of"])
        # Names of figures may have points, which field names should not.
        figures = {one["name"]: one["value"] for one in found["figures"]}
        texts = {one["name"]: one["value"] for one in found["texts"]}
        facts = Facts(symbol, figures, texts, as_of)
        return StoredFacts(facts, found["provider"], time_of(found["fetched"]))

    def save_facts(self, facts: StoredFacts) -> None:
        self._collections.prepare_once()
        found = facts.facts
        document: Document = {
            "_id": found.symbol,
            "provider": facts.provider,
            "fetched": Int64(instant_of(facts.fetched)),
            "figures": [
                {"name": name, "value": float(value)} for name, value in found.figures.items()
            ],
            "texts": [{"name": name, "value": value} for name, value in found.texts.items()],
        }
        if found.as_of is not None:
            document["as_of"] = found.as_of.isoformat()
        with translated():
            self.database.fundamentals.replace_one({"_id": found.symbol}, document, upsert=True)

    def series(self, id: str) -> StoredSeries | None:
        with translated():
            found = self.database.economic_series.find_one({"_id": id})
        return None if found is None else _series_of(found)

    def save_series(self, series: StoredSeries) -> StoredSeries:
        self._collections.prepare_once()
        id = series.series.id
        for _ in range(_RETRIES):
            with translated():
                before = self.database.economic_series.find_one({"_id": id})
            extended = series if before is None else _series_of(before).extended_by(series)
            revision = 0 if before is None else before["revision"]
            document: Document = {
                "_id": id,
                "revision": revision + 1,
                "provider": extended.provider,
                "fetched": Int64(instant_of(extended.fetched)),
                "title": extended.series.title,
                "unit": extended.series.unit,
                **pack_observations(extended.series.observations),
            }
            seen = {"_id": id, "revision": revision}
            with translated():
                try:
                    self.database.economic_series.replace_one(seen, document, upsert=True)
                except DuplicateKeyError:
                    continue  # another process was faster
            return extended
        raise Unavailable(
            "other processes are saving the same series; try again", code="market_store_busy"
        )

    def facts_fetched(self) -> dict[str, datetime]:
        return self._fetched("fundamentals")

    def series_fetched(self) -> dict[str, datetime]:
        return self._fetched("economic_series")

    def _fetched(self, collection: str) -> dict[str, datetime]:
        with translated():
            found = self.database[collection].find({}, {"fetched": True}, sort=[("_id", 1)])
            return {each["_id"]: time_of(each["fetched"]) for each in found}


def _series_of(document: Mapping[str, Any]) -> StoredSeries:
    series = EconomicSeries(
        document["_id"], document["title"], document["unit"], unpack_observations(document)
    )
    return StoredSeries(series, document["provider"], time_of(document["fetched"]))
