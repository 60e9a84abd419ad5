"""Reports in MongoDB: a document each, its series compressed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from uuid import UUID

import attrs
from pymongo import DESCENDING, IndexModel
from pymongo.database import Database

from rebalancer.adapters.mongo.connection import (
    Collections,
    Document,
    circuit_breaker,
    translated,
)
from rebalancer.application.not_found import require
from rebalancer.application.reporting.encoding import (
    check_readable,
    encode_document,
    pack_series,
    unpack_series,
)
from rebalancer.application.reporting.report import SCHEMAS, Report
from rebalancer.application.resilience import CircuitBreaker

_LATEST = [("created", DESCENDING), ("micros", DESCENDING), ("_id", DESCENDING)]


@attrs.frozen
class MongoReports:
    """See `Reports`.

    MongoDB stores times in milliseconds; a field of its own holds the microseconds.

    The breaker makes readers fail fast while MongoDB is down.
    """

    database: Database[Document]
    schemas: Mapping[str, int] = attrs.field(factory=lambda: SCHEMAS)
    breaker: CircuitBreaker = attrs.field(factory=circuit_breaker, eq=False, repr=False)
    _collections: Collections = attrs.field(init=False, eq=False, repr=False)

    @_collections.default
    def _make_collections(self) -> Collections:
        index = IndexModel([("kind", 1), ("subject", 1), *_LATEST], name="subject")
        return Collections(self.database, {"reports": [index]})

    def prepare(self) -> None:
        self._collections.prepare()

    def save(self, report: Report) -> None:
        self._collections.prepare_once()
        micros = report.created.microsecond % 1000
        document: Document = {
            "_id": report.id,
            "kind": report.kind,
            "subject": report.subject,
            "created": report.created - timedelta(microseconds=micros),
            "micros": micros,
            "schema": report.schema,
            "document": encode_document(report, self.schemas),
        }
        series = pack_series(report)
        if series is not None:
            document["series"] = series
        with translated():
            self.database.reports.replace_one({"_id": report.id}, document, upsert=True)

    def delete_of(self, subject: str) -> None:
        with translated():
            self.database.reports.delete_many({"subject": subject})

    def get(self, id: UUID) -> Report:
        with self.breaker.guard(), translated():
            found = require(self.database.reports.find_one({"_id": id}), "report", id)
        check_readable(id, found["kind"], found["schema"], self.schemas)
        series, dates = unpack_series(id, found.get("series"))
        kind, subject, schema = (found[name] for name in ("kind", "subject", "schema"))
        created = found["created"].astimezone(UTC) + timedelta(microseconds=found["micros"])
        return Report(id, kind, subject, created, schema, found["document"], series, dates)
