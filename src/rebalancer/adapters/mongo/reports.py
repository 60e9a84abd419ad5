"""Reports in MongoDB: a document each, its series compressed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import attrs
from pymongo import DESCENDING, IndexModel
from pymongo.database import Database

from rebalancer.adapters.mongo.connection import (
    Document,
    Preparation,
    circuit_breaker,
    prepare,
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

_VALIDATOR = {
    "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "kind", "subject", "created", "micros", "schema", "document"],
        "additionalProperties": False,
        "properties": {
            "_id": {"bsonType": "binData"},
            "kind": {"bsonType": "string", "minLength": 1},
            "subject": {"bsonType": "string"},
            "created": {"bsonType": "date"},
            "micros": {"bsonType": "int", "minimum": 0, "maximum": 999},
            "schema": {"bsonType": "int", "minimum": 1},
            "document": {"bsonType": "object"},
            "series": {"bsonType": "binData"},
        },
    }
}


@attrs.frozen
class MongoReports:
    """See `Reports`.

    MongoDB stores times in milliseconds; a field of its own holds the microseconds.

    Attributes:
        database: Returned by `connect`.
        schemas: Newest supported schema version by kind.
        breaker: Makes readers fail fast while MongoDB is down.
    """

    database: Database[Document]
    schemas: Mapping[str, int] = attrs.field(factory=lambda: SCHEMAS)
    breaker: CircuitBreaker = attrs.field(factory=circuit_breaker, eq=False, repr=False)
    _preparation: Preparation = attrs.field(init=False, eq=False, repr=False)

    @_preparation.default
    def _make_preparation(self) -> Preparation:
        index = IndexModel([("kind", 1), ("subject", 1), *_LATEST], name="subject")
        return Preparation(lambda: prepare(self.database, "reports", _VALIDATOR, [index]))

    def prepare(self) -> None:
        """See `Reports.prepare`: create the schema and the index."""
        self._preparation()

    def save(self, report: Report) -> None:
        self._preparation.once()
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

    def get(self, id: UUID) -> Report:
        with self.breaker.guard(), translated():
            found = require(self.database.reports.find_one({"_id": id}), "report", id)
        check_readable(id, found["kind"], found["schema"], self.schemas)
        series, dates = unpack_series(id, found.get("series"))
        return attrs.evolve(_from_document(found), series=series, dates=dates)


def _from_document(found: Mapping[str, Any]) -> Report:
    return Report(
        found["_id"],
        found["kind"],
        found["subject"],
        found["created"].astimezone(UTC) + timedelta(microseconds=found["micros"]),
        found["schema"],
        found["document"],
    )
