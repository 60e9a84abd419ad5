"""Reports in memory."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.application.reporting.encoding import check_readable, encode_document
from rebalancer.application.reporting.report import SCHEMAS, Report


@attrs.frozen
class MemoryReports:
    schemas: Mapping[str, int] = attrs.field(factory=lambda: SCHEMAS)
    _reports: dict[UUID, Report] = attrs.field(factory=dict)

    def prepare(self) -> None:
        """See `Reports.prepare`."""

    def save(self, report: Report) -> None:
        self._reports[report.id] = attrs.evolve(
            report, document=encode_document(report, self.schemas)
        )

    def delete_of(self, subject: str) -> None:
        for id in [id for id, one in self._reports.items() if one.subject == subject]:
            del self._reports[id]

    def get(self, id: UUID) -> Report:
        found = require(self._reports.get(id), "report", id)
        check_readable(id, found.kind, found.schema, self.schemas)
        return attrs.evolve(found, document=deepcopy(found.document))
