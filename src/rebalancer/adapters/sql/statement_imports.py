"""Imports of statements in a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select

from rebalancer.adapters.sql.rows import IMPORTS
from rebalancer.adapters.sql.sealed import open_row, seal_row
from rebalancer.adapters.sql.statements import SqlStore, lock_rows, replace_row, select_latest
from rebalancer.adapters.sql.tables import imported_entries, statement_imports
from rebalancer.application.not_found import require
from rebalancer.domain.portfolio.statement_imports import StatementImport


class SqlStatementImports(SqlStore):
    def add(self, record: StatementImport, entries: Sequence[UUID]) -> None:
        self.connection.execute(insert(statement_imports), self._row_of(record))
        rows = [
            {"portfolio": record.portfolio, "entry": entry, "import_id": record.id}
            for entry in entries
        ]
        self.connection.execute(insert(imported_entries), rows)

    def get(self, id: UUID, *, portfolio: UUID) -> StatementImport:
        table = statement_imports.c
        query = select(statement_imports).where(table.id == id, table.portfolio == portfolio)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return self._import_of(require(row, "import", id))

    def save(self, record: StatementImport) -> None:
        replace_row(self.connection, statement_imports, self._row_of(record), "import")

    def page(
        self, portfolio: UUID, *, before: UUID | None = None, limit: int
    ) -> list[StatementImport]:
        query = select_latest(
            select(statement_imports),
            statement_imports,
            "created",
            before=before,
            limit=limit,
            portfolio=portfolio,
        )
        return [self._import_of(row) for row in self.connection.execute(query)]

    def entries(self, id: UUID) -> list[UUID]:
        table = imported_entries.c
        query = select(table.entry).where(table.import_id == id)
        return sorted(self.connection.execute(query).scalars())

    def undone_entries(self, portfolio: UUID) -> frozenset[UUID]:
        query = (
            select(imported_entries.c.entry)
            .join(statement_imports, statement_imports.c.id == imported_entries.c.import_id)
            .where(
                statement_imports.c.portfolio == portfolio,
                statement_imports.c.undone.is_not(None),
            )
        )
        return frozenset(self.connection.execute(query).scalars())

    def _row_of(self, record: StatementImport) -> dict[str, Any]:
        return seal_row(self.cipher, statement_imports, IMPORTS.to_row(record))

    def _import_of(self, row: Row[Any]) -> StatementImport:
        return IMPORTS.from_row(open_row(self.cipher, statement_imports, row))
