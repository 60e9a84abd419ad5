"""Reports in a SQL database."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import attrs
import msgspec
from sqlalchemy import Engine, delete, select

from rebalancer.adapters.sql.engine import reading, upsert, writing
from rebalancer.adapters.sql.tables import reports
from rebalancer.application.not_found import require
from rebalancer.application.reporting.encoding import (
    check_readable,
    encode_document,
    pack_series,
    unpack_series,
)
from rebalancer.application.reporting.report import SCHEMAS, Report


@attrs.frozen
class SqlReports:
    engine: Engine
    schemas: Mapping[str, int] = attrs.field(factory=lambda: SCHEMAS)

    def prepare(self) -> None:
        """See `Reports.prepare`; tables are a matter of `Database.upgrade`."""

    def save(self, report: Report) -> None:
        row = {
            "id": report.id,
            "kind": report.kind,
            "subject": report.subject,
            "created": report.created,
            "schema": report.schema,
            "document": encode_document(report, self.schemas),
            "series": pack_series(report),
        }
        with writing(self.engine) as connection:
            upsert(connection, reports, [row])

    def delete_of(self, subject: str) -> None:
        with writing(self.engine) as connection:
            connection.execute(delete(reports).where(reports.c.subject == subject))

    def get(self, id: UUID) -> Report:
        with reading(self.engine) as connection:
            found = connection.execute(select(reports).where(reports.c.id == id)).one_or_none()
        row = require(found, "report", id)
        check_readable(id, row.kind, row.schema, self.schemas)
        series, dates = unpack_series(id, row.series)
        document = msgspec.json.decode(row.document)
        return Report(id, row.kind, row.subject, row.created, row.schema, document, series, dates)
