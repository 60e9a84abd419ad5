"""Imports of statements: what a file would change, and adding it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer_app.gateway.client import Endpoint
from rebalancer_app.gateway.ledger import Entry
from rebalancer_app.gateway.pages import Page


@attrs.frozen
class ImportRequest:
    """A statement, and how it is imported."""

    file: str
    file_name: str
    dry_run: bool = True
    mapping: dict[str, str] = attrs.field(factory=dict)
    skip_errors: bool = False
    deposit_missing_cash: bool = False
    profile_name: str | None = None


@attrs.frozen
class ImportRecord:
    """An import."""

    id: UUID
    entries: int
    created: datetime
    file_name: str
    undone: datetime | None


@attrs.frozen
class PlannedEntry:
    """An entry that a line adds."""

    line: int
    entry: Entry


@attrs.frozen
class Suggestion:
    """An asset that an instrument may be."""

    symbol: str
    name: str


@attrs.frozen
class UnknownInstrument:
    """An instrument without a symbol."""

    key: str
    name: str
    isin: str
    suggestions: list[Suggestion]


@attrs.frozen
class LineRemark:
    """A remark about a line."""

    line: int
    message: str
    is_error: bool


@attrs.frozen
class PositionChange:
    """Cash or a holding before and after."""

    symbol: str | None
    currency: str | None
    before: Decimal
    after: Decimal


@attrs.frozen
class ImportOverdraft:
    """A day on which cash or a holding would be negative."""

    on: date
    symbol: str | None
    currency: str | None
    balance: Decimal


@attrs.frozen
class ImportProblem:
    """What keeps a statement from being imported."""

    field: str
    code: str
    message: str


@attrs.frozen
class ImportPreview:
    """What an import changes."""

    title: str
    entries: list[PlannedEntry]
    entry_count: int
    duplicate_count: int
    unknown: list[UnknownInstrument]
    remarks: list[LineRemark]
    error_count: int
    changes: list[PositionChange]
    overdrafts: list[ImportOverdraft]
    problems: list[ImportProblem]


@attrs.frozen
class StatementImport:
    """The answer to an import; a preview has no record."""

    record: ImportRecord | None
    preview: ImportPreview


@attrs.frozen
class UndoneImport:
    """The answer to an undo."""

    voided: int


IMPORT = Endpoint("POST", "/api/portfolios/{portfolio_id}/imports", StatementImport, ImportRequest)
LIST = Endpoint(
    "GET", "/api/portfolios/{portfolio_id}/imports", Page[ImportRecord], query=("limit", "before")
)
UNDO = Endpoint("POST", "/api/portfolios/{portfolio_id}/imports/{import_id}/undo", UndoneImport)
