"""Imports of statements in memory."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs

from rebalancer.application.not_found import require
from rebalancer.domain.portfolio.statement_imports import StatementImport


@attrs.frozen
class MemoryStatementImports:
    rows: dict[UUID, StatementImport]
    _entries: dict[tuple[UUID, UUID], tuple[UUID, ...]]
    """Of each import, by its owner and id."""

    def add(self, record: StatementImport, entries: Sequence[UUID]) -> None:
        self.rows[record.id] = record
        self._entries[record.owner, record.id] = tuple(sorted(entries))

    def get(self, id: UUID, *, portfolio: UUID) -> StatementImport:
        found = self.rows.get(id)
        is_other = found is not None and found.portfolio != portfolio
        return require(None if is_other else found, "import", id)

    def save(self, record: StatementImport) -> None:
        require(self.rows.get(record.id), "import", record.id)
        self.rows[record.id] = record

    def page(
        self, portfolio: UUID, *, before: UUID | None = None, limit: int
    ) -> list[StatementImport]:
        found = [row for row in self.rows.values() if row.portfolio == portfolio]
        found.sort(key=lambda row: (row.created, row.id), reverse=True)
        if before is not None:
            at = next((i for i, row in enumerate(found) if row.id == before), len(found))
            found = found[at + 1 :]
        return found[:limit]

    def entries(self, id: UUID) -> list[UUID]:
        found = self.rows.get(id)
        return [] if found is None else list(self._entries[found.owner, id])

    def undone_entries(self, portfolio: UUID) -> frozenset[UUID]:
        return frozenset(
            entry
            for row in self.rows.values()
            if row.portfolio == portfolio and row.undone is not None
            for entry in self._entries[row.owner, row.id]
        )
