"""Market data in MongoDB: one document per asset and year, its columns packed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as _Collection
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import attrs
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
from rebalancer.adapters.mongo.market_documents import (
    action_document,
    actions_of,
    instrument_document,
    instrument_of,
    key_text,
    packed_of,
    replaced_document,
    verdict_document,
    verdict_of,
    year_document,
)
from rebalancer.application.packed_bars import unpack_closes, unpack_columns, unpack_year
from rebalancer.application.ports.market import Revised, no_progress
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.actions import Actions, CorporateAction, correct_action, is_known
from rebalancer.domain.market.bar_years import (
    BarYear,
    ReplacedBars,
    YearColumns,
    YearCorrection,
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
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.quality import Verdict, later_verdicts

_BATCH_SIZE = 10_000
"""Documents in one reply of the server; it sends at most 16 MB."""

_RAISED: Document = {"$inc": {"revision": 1}}

_Years = dict[YearKey, Bars]


@attrs.frozen
class MongoMarket:
    """See `MarketStore`.

    A save reads a year, merges it, and replaces the document of the revision that it read. If
    another process was faster, no document matches, the unique index rejects a second one for the
    same year, and the save is retried.

    Figures that a save replaces are written first. If the save is then killed or another process
    was faster, they are stored as replaced though they still count, which no read sees. Years that
    bars as traded leave without days stay, so that their revision goes on.

    A revision counter makes processes read again. It is raised before the first change and after
    the last one. In between it lists the running imports with their last write. So the next import
    detects one that was killed, and raises the counter in its place.

    Attributes:
        assets_per_write: Assets that are read, merged and written together.
        retries: Most attempts to save a year that other processes also save.
        abandoned_after: Age of the last write after which an import counts as killed.
        now: Clock for marks of imports and for figures without a known time.
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
        changes = IndexModel([("symbol", 1), ("year", 1)], name="symbol_year")
        indexes: dict[str, list[IndexModel]] = {
            "bars": [unique],
            "bar_changes": [changes],
            **{name: [] for name in ("actions", "verdicts", "instruments", "revisions")},
        }
        return Collections(self.database, indexes)

    def prepare(self) -> None:
        self._collections.prepare()

    def revision(self, *of: Revised) -> str:
        with translated():
            documents = self.database.revisions.find({"_id": {"$in": list(of)}})
            found = {each["_id"]: f"{each['life']}.{each['revision']}" for each in documents}
        return " ".join(found.get(kind, ".0") for kind in of)

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
                changed += self._save_years(split_by_year(some), known, source, announce)
                progress(len(some))
        return changed

    def symbols(self) -> tuple[str, ...]:
        with translated():
            return tuple(sorted(self.database.bars.distinct("symbol")))

    def years(self, symbol: str, *, since: date | None = None) -> tuple[BarYear, ...]:
        query: Document = {"symbol": symbol}
        if since is not None:
            query["year"] = {"$gte": since.year}
        with translated():
            found = list(self.database.bars.find(query, {"_id": False}, sort=[("year", 1)]))
        years = (_year_of(each) for each in found)
        return tuple(year for year in years if len(year))

    def save_instruments(self, instruments: Instruments) -> int:
        self._collections.prepare_once()
        with self._changing("instruments") as announce, translated():
            documents = {each["_id"]: each for each in self.database.instruments.find()}
            last = max((each["position"] for each in documents.values()), default=-1)
            changed = []
            for one in instruments:
                before = documents.get(one.symbol)
                if before is not None and instrument_of(before) == one:
                    continue
                if before is None:
                    last += 1
                position = last if before is None else before["position"]
                document = instrument_document(one, position)
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
        given = {key_text(action.key): action for action in actions}

        def corrected(key: str, stored: Document | None) -> Document | None:
            figures = actions_of(stored)
            action = correct_action(
                figures[-1] if figures else None, given[key], known or self.now(), source
            )
            return None if action is None else action_document(figures, action)

        return self._save_documents("actions", given, corrected)

    def actions(self, *, known_by: datetime | None = None) -> Actions:
        with translated():
            found = [
                action
                for document in self.database.actions.find(batch_size=_BATCH_SIZE)
                for action in actions_of(document)
            ]
        return Actions.of(action for action in found if is_known(action, known_by))

    def save_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        given = {key_text(key): verdict for key, verdict in later_verdicts({}, verdicts).items()}

        def later(key: str, document: Document | None) -> Document | None:
            stored = verdict_of(document)
            known = {} if stored is None else {stored.key: stored}
            found = later_verdicts(known, [given[key]])
            return verdict_document(given[key]) if found else None

        return self._save_documents("verdicts", given, later)

    def verdicts(self) -> tuple[Verdict, ...]:
        with translated():
            found = [verdict_of(each) for each in self.database.verdicts.find()]
        known = [verdict for verdict in found if verdict is not None]
        return tuple(sorted(known, key=lambda one: one.key))

    def bars(
        self,
        fields: Sequence[str] = BAR_FIELDS,
        *,
        symbols: _Collection[str] | None = None,
        since: date | None = None,
        known_by: datetime | None = None,
    ) -> dict[str, Bars]:
        query: Document = {} if symbols is None else {"symbol": {"$in": sorted(symbols)}}
        if since is not None:
            query["year"] = {"$gte": since.year}
        columns = ["symbol", "adjusted", "days", *fields]
        if known_by is None:
            parts: dict[str, list[YearColumns]] = defaultdict(list)
            for document in self._find("bars", query, columns):
                parts[document["symbol"]].append(unpack_columns(packed_of(document), fields))
            return bars_since(join_years(parts), since)
        # Replaced figures are read last, as saves write them first.
        years = [_year_of(each) for each in self._find("bars", query, [*columns, "known"])]
        replaced = (
            ReplacedBars(_year_of(each), each["until"])
            for each in self._find("bar_changes", query, [*columns, "known", "until"])
        )
        return bars_since(bars_known_by(years, replaced, instant_of(known_by)), since)

    def closes(self, symbols: _Collection[str]) -> CloseColumns:
        query: Document = {"symbol": {"$in": sorted(symbols)}}
        documents = self._find("bars", query, ["symbol", "adjusted", "days", "close"])
        packed = ((each["symbol"], packed_of(each)) for each in documents)
        return unpack_closes(
            (symbol, year.get("adjusted"), year["days"], year["close"]) for symbol, year in packed
        )

    def _find(self, collection: str, query: Document, columns: Sequence[str]) -> Iterator[Document]:
        with translated():
            yield from self.database[collection].find(
                query,
                {"_id": False} | dict.fromkeys(columns, True),
                sort=[("symbol", 1), ("year", 1)],  # the order of the index
                batch_size=_BATCH_SIZE,
            )

    def instruments(self) -> Instruments:
        with translated():
            documents = self.database.instruments.find(sort=[("position", 1), ("_id", 1)])
            return Instruments.of(instrument_of(each) for each in documents)

    def _save_years(
        self, given: _Years, known: datetime | None, source: str, announce: Callable[[], None]
    ) -> int:
        """Save years of some assets; return how many days changed."""
        total, left = 0, given
        for _ in range(self.retries):
            since = instant_of(known or self.now())
            wanted = years_to_correct(left, self._stored_bases(left))
            stored = self._stored_years(wanted)
            keys: list[YearKey] = []
            found: list[YearCorrection] = []
            writes = []
            for key, bars in wanted.items():
                revision, before = stored.get(key, (0, None))
                correction = correct_year(before, bars, since, source)
                if correction.is_needed:
                    seen = {"symbol": key[0], "year": key[1], "revision": revision}
                    document = year_document(key, correction.year, revision + 1)
                    writes.append(ReplaceOne(seen, document, upsert=True))
                    keys.append(key)
                    found.append(correction)
            if not writes:
                return total
            announce()
            replaced = {
                at: replaced_document(keys[at], one.replaced)
                for at, one in enumerate(found)
                if one.replaced is not None
            }
            with translated():
                if replaced:
                    self.database.bar_changes.insert_many(replaced.values(), ordered=False)
                lost = _write_unordered(self.database.bars, writes)
                if unused := [replaced[at]["_id"] for at in lost if at in replaced]:
                    self.database.bar_changes.delete_many({"_id": {"$in": unused}})
            total += sum(one.changed for at, one in enumerate(found) if at not in lost)
            left = {keys[at]: wanted[keys[at]] for at in lost}
        raise _busy("prices of the same assets")

    def _stored_bases(self, years: _Years) -> dict[YearKey, bool]:
        """Return whether the stored years of these assets are adjusted."""
        if not years:
            return {}
        query = {"symbol": {"$in": sorted({symbol for symbol, _ in years})}}
        return {
            (each["symbol"], each["year"]): each.get("adjusted", True)
            for each in self._find("bars", query, ["symbol", "year", "adjusted"])
        }

    def _stored_years(self, years: _Years) -> dict[YearKey, tuple[int, BarYear]]:
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
                (each["symbol"], each["year"]): (each["revision"], _year_of(each))
                for each in documents
            }

    def _save_documents(
        self,
        collection: Revised,
        keys: _Collection[str],
        change: Callable[[str, Document | None], Document | None],
    ) -> int:
        """Save documents by their ``_id``; return how many were new or different.

        Args:
            collection: Its name, and that of its revision.
            keys: Of the documents.
            change: Returns the new document for a key and the stored one; None if nothing changes.
        """
        self._collections.prepare_once()
        total, left = 0, list(keys)
        with self._changing(collection) as announce, translated():
            for _ in range(self.retries):
                found = self.database[collection].find({"_id": {"$in": left}})
                stored = {each["_id"]: each for each in found}
                writes, written = [], []
                for key in left:
                    before = stored.get(key)
                    document = change(key, before)
                    if document is not None:
                        revision = 0 if before is None else before["revision"]
                        writes.append(
                            ReplaceOne(
                                {"_id": key, "revision": revision},
                                document | {"revision": revision + 1},
                                upsert=True,
                            )
                        )
                        written.append(key)
                if not writes:
                    return total
                announce()
                lost = _write_unordered(self.database[collection], writes)
                total += len(writes) - len(lost)
                left = [written[at] for at in lost]
        raise _busy(f"the same {collection}")

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


def _year_of(document: Mapping[str, Any]) -> BarYear:
    return unpack_year(document["symbol"], packed_of(document))


def _busy(what: str) -> Unavailable:
    return Unavailable(f"other processes are saving {what}; try again", code="market_store_busy")
