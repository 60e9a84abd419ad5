"""Market data in MongoDB: one document per asset and year, with its days since 1970-01-01."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as _Collection
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import attrs
import numpy as np
from numpy.typing import NDArray
from pymongo import IndexModel, ReplaceOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from rebalancer.adapters.mongo.connection import (
    DUPLICATE,
    INVALID,
    Collections,
    Document,
    rejected_document,
    translated,
)
from rebalancer.application.ports.market import Revised, no_progress
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.actions import Actions, CorporateAction
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, join_years, merge_year, split_by_year
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.quality import Verdict

_BATCH_SIZE = 10_000
"""Documents in one reply of the server; it sends at most 16 MB."""

_RAISED: Document = {"$inc": {"revision": 1}}

_Years = dict[tuple[str, int], Bars]


@attrs.frozen
class MongoMarket:
    """See `MarketStore`.

    A save reads a year, merges it, and replaces the document of the revision that it read. If
    another process was faster, no document matches, the unique index rejects a second one for the
    same year, and the save is retried.

    A revision counter makes processes read again. It is raised before the first change and after
    the last one. In between it lists the running imports with their last write. So the next import
    detects one that was killed, and raises the counter in its place.

    Attributes:
        assets_per_write: Assets that are read, merged and written together.
        retries: Most attempts to save a year that other processes also save.
        abandoned_after: Age of the last write after which an import counts as killed.
    """

    database: Database[Document]
    assets_per_write: int = 64
    retries: int = 50
    abandoned_after: timedelta = timedelta(minutes=15)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _collections: Collections = attrs.field(init=False, eq=False, repr=False)

    @_collections.default
    def _make_collections(self) -> Collections:
        unique = IndexModel([("symbol", 1), ("year", 1)], name="symbol_year", unique=True)
        return Collections(self.database, {"bars": [unique], "instruments": [], "revisions": []})

    def prepare(self) -> None:
        self._collections.prepare()

    def revision(self, of: Revised) -> str:
        counter = self._read_counter(of)
        return f"{counter['life']}.{counter['revision']}"

    def save_bars(
        self,
        bars: Sequence[Bars],
        *,
        known: datetime | None = None,
        source: str = "",
        progress: Callable[[int], None] = no_progress,
    ) -> int:
        self._collections.prepare_once()
        changed = 0
        with self._changing("bars") as announce:
            for at in range(0, len(bars), self.assets_per_write):
                some = bars[at : at + self.assets_per_write]
                changed += self._save_years(split_by_year(some), announce)
                progress(len(some))
        return changed

    def save_instruments(self, instruments: Instruments) -> int:
        self._collections.prepare_once()
        with self._changing("instruments") as announce, translated():
            documents = {each["_id"]: each for each in self.database.instruments.find()}
            last = max((each["position"] for each in documents.values()), default=-1)
            changed = []
            for one in instruments:
                before = documents.get(one.symbol)
                if before is not None and _instrument_of(before) == one:
                    continue
                if before is None:
                    last += 1
                position = last if before is None else before["position"]
                document = _instrument_document(one, position)
                changed.append(ReplaceOne({"_id": one.symbol}, document, upsert=True))
            if changed:
                announce()
                if _write_unordered(self.database.instruments, changed):
                    raise Unavailable(
                        "another process is saving the same instruments; try again",
                        code="market_store_busy",
                    )
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
        symbols: _Collection[str] | None = None,
        since: date | None = None,
        known_by: datetime | None = None,
    ) -> dict[str, Bars]:
        projection = {"_id": False} | dict.fromkeys(("symbol", "days", *fields), True)
        parts: dict[str, list[dict[str, NDArray[Any]]]] = defaultdict(list)
        with translated():
            documents = self.database.bars.find(
                {},
                projection,
                sort=[("symbol", 1), ("year", 1)],  # the order of the index
                batch_size=_BATCH_SIZE,
            )
            for document in documents:
                parts[document["symbol"]].append(_columns_of(document))
        return join_years(parts)

    def instruments(self) -> Instruments:
        with translated():
            documents = self.database.instruments.find(sort=[("position", 1), ("_id", 1)])
            return Instruments.of(_instrument_of(each) for each in documents)

    def _save_years(self, given: _Years, announce: Callable[[], None]) -> int:
        """Save years of some assets; return how many days changed."""
        total, left = 0, given
        for _ in range(self.retries):
            stored = self._stored_years(left)
            writes, keys, counts = [], [], []
            for key, bars in left.items():
                revision, before = stored.get(key, (0, None))
                year, changed = merge_year(before, bars)
                if changed:
                    seen = {"symbol": key[0], "year": key[1], "revision": revision}
                    document = _year_document(key, year, revision + 1)
                    writes.append(ReplaceOne(seen, document, upsert=True))
                    keys.append(key)
                    counts.append(changed)
            if not writes:
                return total
            announce()
            with translated():
                lost = _write_unordered(self.database.bars, writes)
            total += sum(count for at, count in enumerate(counts) if at not in lost)
            left = {keys[at]: given[keys[at]] for at in lost}
        raise Unavailable(
            "other processes are saving prices of the same assets; try again",
            code="market_store_busy",
        )

    def _stored_years(self, years: _Years) -> dict[tuple[str, int], tuple[int, Bars]]:
        """Read the stored bars of these years with their revision, and perhaps of further ones."""
        if not years:
            return {}
        calendar = [year for _, year in years]
        query = {
            "symbol": {"$in": sorted({symbol for symbol, _ in years})},
            "year": {"$gte": min(calendar), "$lte": max(calendar)},
        }
        with translated():
            documents = self.database.bars.find(query, {"_id": False}, batch_size=_BATCH_SIZE)
            return {
                (each["symbol"], each["year"]): (
                    each["revision"],
                    Bars(each["symbol"], **_columns_of(each)),
                )
                for each in documents
            }

    @contextmanager
    def _changing(self, name: str) -> Iterator[Callable[[], None]]:
        """Yield a function to call before each change of the data of this name."""
        ours, announced = f"open.{uuid4().hex}", False

        def announce() -> None:
            nonlocal announced
            last_write: Document = {"$set": {ours: self.now()}}
            self._update_counter(name, last_write if announced else last_write | _RAISED)
            announced = True

        try:
            yield announce
        finally:
            if announced:
                self._update_counter(name, {"$unset": {ours: ""}, **_RAISED})
        if not announced and (others := self._read_counter(name).get("open")):
            oldest = self.now() - self.abandoned_after
            killed = {f"open.{one}": "" for one, last in others.items() if last < oldest}
            self._update_counter(name, _RAISED | ({"$unset": killed} if killed else {}))

    def _update_counter(self, name: str, change: Mapping[str, Any]) -> None:
        """Change the counter or its list of running imports."""
        change = {"$setOnInsert": {"life": uuid4().hex}, **change}
        with translated():
            try:
                self.database.revisions.update_one({"_id": name}, change, upsert=True)
            except DuplicateKeyError:  # two processes inserted it; now there is one
                self.database.revisions.update_one({"_id": name}, change)

    def _read_counter(self, name: str) -> Mapping[str, Any]:
        with translated():
            found = self.database.revisions.find_one({"_id": name})
        return found or {"life": "", "revision": 0}


def _write_unordered(
    collection: Collection[Document], writes: Sequence[ReplaceOne[Document]]
) -> set[int]:
    """Write documents in any order; return the writes that another process forestalled.

    Raises:
        InvalidRequest: the server rejects a document; the message names the field.
        PyMongoError: the server could not write them, or not on most replicas.
    """
    try:
        collection.bulk_write(writes, ordered=False)
    except BulkWriteError as failed:
        errors = failed.details["writeErrors"]
        for error in errors:
            if error["code"] == INVALID:
                raise rejected_document(error) from None
        if failed.details["writeConcernErrors"] or any(
            error["code"] != DUPLICATE for error in errors
        ):
            raise
        return {error["index"] for error in errors}
    return set()


def _year_document(key: tuple[str, int], bars: Bars, revision: int) -> Document:
    columns = bars.columns()
    days = columns.pop("days").astype(np.int64).tolist()
    fields = {name: values.tolist() for name, values in columns.items()}
    return {"symbol": key[0], "year": key[1], "revision": revision, "days": days, **fields}


def _columns_of(document: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "days": np.array(document["days"], dtype=np.int64).astype("datetime64[D]")
    }
    for name in BAR_FIELDS:
        if name in document:
            found[name] = np.array(document[name], dtype=np.float64)
    return found


def _instrument_document(instrument: Instrument, position: int) -> Document:
    document: Document = {"position": position, "name": instrument.name}
    if instrument.asset_class is not None:
        document["asset_class"] = str(instrument.asset_class)
    if instrument.daily_volume is not None:
        document["daily_volume"] = float(instrument.daily_volume)
    for name in ("quantity_step", "lot_size", "currency", "market"):
        if (value := getattr(instrument, name)) is not None:
            document[name] = str(value)
    return document


def _instrument_of(document: Mapping[str, Any]) -> Instrument:
    kind = document.get("asset_class")
    return Instrument(
        document["_id"],
        document["name"],
        AssetClass(kind) if kind in set(AssetClass) else None,
        document.get("daily_volume"),
        _decimal(document.get("quantity_step")),
        _decimal(document.get("lot_size")),
        document.get("currency"),
        document.get("market"),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
