"""Market data in MongoDB: bars in buckets, one document an asset and year."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from pymongo import IndexModel, ReplaceOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from rebalancer.adapters.mongo.connection import (
    DUPLICATE,
    INVALID,
    Document,
    Preparation,
    prepare,
    refused,
    translated,
)
from rebalancer.application.ports.market import PriceCache, no_progress
from rebalancer.application.revision_cache import CHECK_INTERVAL, RevisionCache
from rebalancer.application.stored_market import StoredPrices
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, join_years, split_by_year
from rebalancer.domain.market.instruments import AssetClass, Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory

_AT_ONCE = 64
"""Assets that are read, merged and written at a time."""

_FETCHED_AT_ONCE = 10_000
"""Documents that the server may send at a time; it sends no more than 16 MB."""

_ROUNDS = 50
"""Times that somebody else may have been quicker, before we give up."""

_AT_IT = timedelta(minutes=15)
"""How long ago somebody may have begun to write and be at it still; most writes take seconds."""

_BARS, _INSTRUMENTS = "bars", "instruments"
_RAISED: Document = {"$inc": {"revision": 1}}

_KIND_OF_BARS = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": ["symbol", "year", "revision", "days", "close"],
        "additionalProperties": False,
        "properties": {
            "_id": {},
            "symbol": {"bsonType": "string", "minLength": 1},
            "year": {"bsonType": "int"},
            "revision": {"bsonType": ["int", "long"], "minimum": 1},
            "days": {  # since 1970-01-01, ascending
                "bsonType": "array",
                "minItems": 1,
                "maxItems": 366,
                "uniqueItems": True,
                "items": {"bsonType": "int"},
            },
            **{
                name: {
                    "bsonType": "array",
                    "items": {
                        "bsonType": "double",
                        "minimum": 0,
                        "exclusiveMinimum": name != "volume",
                    },
                }
                for name in BAR_FIELDS
            },
        },
    },
    "$expr": {  # each figure as long as the days
        "$and": [
            {"$eq": [{"$size": {"$ifNull": [f"${name}", "$days"]}}, {"$size": "$days"}]}
            for name in BAR_FIELDS
        ]
    },
}

_KIND_OF_INSTRUMENT = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "position", "name"],
        "additionalProperties": False,
        "properties": {
            "_id": {"bsonType": "string", "minLength": 1},
            "position": {"bsonType": "int", "minimum": 0},
            "name": {"bsonType": "string"},
            "asset_class": {"bsonType": "string"},
            "daily_volume": {"bsonType": "double", "minimum": 0, "exclusiveMinimum": True},
        },
    }
}

_KIND_OF_REVISION = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "life", "revision"],
        "additionalProperties": False,
        "properties": {
            "_id": {"bsonType": "string"},
            "life": {"bsonType": "string", "minLength": 1},
            "revision": {"bsonType": ["int", "long"], "minimum": 1},
            "open": {"bsonType": "object", "additionalProperties": {"bsonType": "date"}},
        },
    }
}

_Years = dict[tuple[str, int], Bars]


class MongoMarket:
    """See `MarketStore`.

    Whoever merges a year with what is known of it puts its document in place of the very revision
    that they read. Where somebody else was quicker, no document matches, the unique index refuses
    another of the same year, and they read again.

    A counter of changes tells processes to read again. It is raised before the first change and
    after the last, and says meanwhile who is at it, and when they last wrote: so an import that was
    killed is told from one that had nothing to do, and the next one raises the counter in its
    place. Whoever has not written for long is at it no more.

    Args:
        database: One of `connect`.
        cache: See `StoredPrices`; so are the next.
        patience: See there.
        clock: See there.
        now: What time it is.
    """

    def __init__(
        self,
        database: Database[Document],
        cache: PriceCache | None = None,
        *,
        patience: float = CHECK_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database = database
        self._time = now
        self._preparation = Preparation(self._prepare)
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
        """See `MarketStore.prepare`: the server checks documents, and that each year has one."""
        self._preparation()

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
        self._preparation.once()
        changed = 0
        try:
            with self._changing(_BARS) as begin:
                for at in range(0, len(bars), _AT_ONCE):
                    some = bars[at : at + _AT_ONCE]
                    changed += self._keep(split_by_year(some), begin)
                    progress(len(some))
        finally:
            self._prices.ask_again()
        return changed

    def save_instruments(self, instruments: Instruments) -> int:
        """See `MarketStore.save_instruments`."""
        self._preparation.once()
        with self._changing(_INSTRUMENTS) as begin, translated():
            documents = {each["_id"]: each for each in self.database.instruments.find()}
            last = max((each["position"] for each in documents.values()), default=-1)
            changed = []
            for one in instruments:
                before = documents.get(one.symbol)
                if before is not None and _instrument(before) == one:
                    continue
                if before is None:
                    last += 1
                position = last if before is None else before["position"]
                told = _told(one, position)
                changed.append(ReplaceOne({"_id": one.symbol}, told, upsert=True))
            if changed:
                begin()
                if _quickest(self.database.instruments, changed):
                    raise Unavailable("others keep the same instruments at this moment; try again")
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

    def _prepare(self) -> None:
        unique = IndexModel([("symbol", 1), ("year", 1)], name="symbol_year", unique=True)
        prepare(self.database, _BARS, _KIND_OF_BARS, [unique])
        prepare(self.database, _INSTRUMENTS, _KIND_OF_INSTRUMENT)
        prepare(self.database, "revisions", _KIND_OF_REVISION)

    def _read(
        self,
        symbols: Sequence[str] | None,
        first: date | None,
        last: date | None,
        figures: Sequence[str],
    ) -> dict[str, Bars]:
        wanted: dict[str, Any] = {}
        if symbols is not None:
            wanted["symbol"] = {"$in": list(symbols)}
        if first is not None:
            wanted["year"] = {"$gte": first.year}
        if last is not None:
            wanted.setdefault("year", {})["$lte"] = last.year
        fields = {"_id": False} | dict.fromkeys(("symbol", "days", *figures), True)
        parts: dict[str, list[dict[str, NDArray[Any]]]] = defaultdict(list)
        with translated():
            found = self.database.bars.find(
                wanted,
                fields,
                sort=[("symbol", 1), ("year", 1)],  # as the index has them
                batch_size=_FETCHED_AT_ONCE,
            )
            for document in found:
                parts[document["symbol"]].append(_columns(document))
        return join_years(parts, first, last)

    def _keep(self, given: _Years, begin: Callable[[], None]) -> int:
        """Keep years of some assets; tells how many days that has changed."""
        changed, left = 0, given
        for _ in range(_ROUNDS):
            known = self._known(left)
            writes, keys, days = [], [], []
            for key, bars in left.items():
                revision, before = known.get(key, (0, None))
                year = bars if before is None else before.merged_with(bars)
                different = year.count_changes_since(before)
                if different:
                    seen = {"symbol": key[0], "year": key[1], "revision": revision}
                    document = _document(key, year, revision + 1)
                    writes.append(ReplaceOne(seen, document, upsert=True))
                    keys.append(key)
                    days.append(different)
            if not writes:
                return changed
            begin()
            with translated():
                late = _quickest(self.database.bars, writes)
            changed += sum(count for at, count in enumerate(days) if at not in late)
            left = {keys[at]: given[keys[at]] for at in late}
        raise Unavailable("others keep prices of the same assets all the time; try again")

    def _known(self, years: _Years) -> dict[tuple[str, int], tuple[int, Bars]]:
        """What is kept of some years, and of some beside them, with its revision."""
        if not years:
            return {}
        calendar = [year for _, year in years]
        wanted = {
            "symbol": {"$in": sorted({symbol for symbol, _ in years})},
            "year": {"$gte": min(calendar), "$lte": max(calendar)},
        }
        with translated():
            found = self.database.bars.find(wanted, {"_id": False}, batch_size=_FETCHED_AT_ONCE)
            return {
                (each["symbol"], each["year"]): (
                    each["revision"],
                    Bars(each["symbol"], **_columns(each)),
                )
                for each in found
            }

    @contextmanager
    def _changing(self, name: str) -> Iterator[Callable[[], None]]:
        """Gives what must be called before each change of something."""
        ours, begun = f"open.{uuid4().hex}", False

        def begin() -> None:
            nonlocal begun
            wrote: Document = {"$set": {ours: self._time()}}
            self._count(name, wrote if begun else wrote | _RAISED)
            begun = True

        try:
            yield begin
        finally:
            if begun:
                self._count(name, {"$unset": {ours: ""}, **_RAISED})
        if not begun and (others := self._counted(name).get("open")):
            long_ago = self._time() - _AT_IT
            gone = {f"open.{one}": "" for one, wrote in others.items() if wrote < long_ago}
            self._count(name, _RAISED | ({"$unset": gone} if gone else {}))

    def _count(self, name: str, change: Mapping[str, Any]) -> None:
        """Change the counter, or who is at it."""
        change = {"$setOnInsert": {"life": uuid4().hex}, **change}
        with translated():
            try:
                self.database.revisions.update_one({"_id": name}, change, upsert=True)
            except DuplicateKeyError:  # two were the first; now there is one
                self.database.revisions.update_one({"_id": name}, change)

    def _counted(self, name: str) -> Mapping[str, Any]:
        with translated():
            found = self.database.revisions.find_one({"_id": name})
        return found or {"life": "", "revision": 0}

    def _revision(self, name: str) -> str:
        """The counter, and whose it is: that of a database made anew is none of the one before."""
        counted = self._counted(name)
        return f"{counted['life']}.{counted['revision']}"

    def _read_instruments(self) -> Instruments:
        with translated():
            found = self.database.instruments.find(sort=[("position", 1), ("_id", 1)])
            return Instruments.of(_instrument(each) for each in found)


def _quickest(collection: Collection[Document], writes: Sequence[ReplaceOne[Document]]) -> set[int]:
    """Write documents in any order; tells at which of them somebody else was quicker.

    Raises:
        InvalidRequest: the server refuses one; names the field.
        PyMongoError: it could not write them, or not on most servers.
    """
    try:
        collection.bulk_write(writes, ordered=False)
    except BulkWriteError as failed:
        errors = failed.details["writeErrors"]
        for error in errors:
            if error["code"] == INVALID:
                raise refused(error) from None
        if failed.details["writeConcernErrors"] or any(
            error["code"] != DUPLICATE for error in errors
        ):
            raise
        return {error["index"] for error in errors}
    return set()


def _document(key: tuple[str, int], bars: Bars, revision: int) -> Document:
    columns = bars.columns()
    days = columns.pop("days").astype(np.int64).tolist()
    figures = {name: values.tolist() for name, values in columns.items()}
    return {"symbol": key[0], "year": key[1], "revision": revision, "days": days, **figures}


def _columns(document: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {
        "days": np.array(document["days"], dtype=np.int64).astype("datetime64[D]")
    }
    for name in BAR_FIELDS:
        if name in document:
            found[name] = np.array(document[name], dtype=np.float64)
    return found


def _told(instrument: Instrument, position: int) -> Document:
    told: Document = {"position": position, "name": instrument.name}
    if instrument.asset_class is not None:
        told["asset_class"] = str(instrument.asset_class)
    if instrument.daily_volume is not None:
        told["daily_volume"] = float(instrument.daily_volume)
    return told


def _instrument(document: Mapping[str, Any]) -> Instrument:
    kind = document.get("asset_class")
    return Instrument(
        document["_id"],
        document["name"],
        AssetClass(kind) if kind in set(AssetClass) else None,
        document.get("daily_volume"),
    )
