"""Imports of statements in requests and responses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, field

from rebalancer.application.asset_search import FoundAsset
from rebalancer.application.import_planning import ImportOptions, ImportPreview
from rebalancer.domain.errors import FaultCollector, InvalidRequest, RebalancerError
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.import_balances import Overdraft, PositionChange
from rebalancer.domain.portfolio.import_duplicates import Certainty, Duplicate, PlannedEntry
from rebalancer.domain.portfolio.import_names import UnknownInstrument
from rebalancer.domain.portfolio.mapping_profiles import profile_of
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.portfolio.statements import Remark
from rebalancer.entrypoints.schemas.ledger import EntryView, entry_view
from rebalancer.entrypoints.schemas.wire import (
    LONGEST_SYMBOL,
    Body,
    DecimalText,
    Line,
    View,
    about,
    format_decimal,
)

MOST_MAPPED = 2_000
"""Most instruments that a mapping names."""

MOST_SHOWN = 500
"""Most entries, duplicates, remarks and lines of an instrument in a response."""

_EXAMPLE = "date,kind,symbol,quantity,price,amount\n2022-01-03,deposit,,,,1000\n"


class ImportBody(Body, frozen=True, kw_only=True):
    """A statement to import, and how."""

    verbatim = ("file",)

    file: Annotated[
        str,
        Meta(
            min_length=1,
            description="Text of the file. A form sends the file itself.",
            examples=[_EXAMPLE],
        ),
    ]
    file_name: Annotated[Line, about("Name of the file; a form names the file itself.")] = ""
    dry_run: Annotated[
        bool, about("Whether only to show what would change; false adds the entries.")
    ] = True
    mapping: Annotated[
        dict[str, Annotated[str, Meta(max_length=LONGEST_SYMBOL)]],
        Meta(
            max_length=MOST_MAPPED,
            description="Symbols of instruments, by symbol, ISIN or name as in the statement. An "
            "empty symbol leaves out the instrument; its own symbol records it without prices.",
        ),
    ] = field(default_factory=dict)
    layout: Annotated[
        Annotated[str, Meta(max_length=100)] | None,
        about("Name of the layout. Default: as recognised."),
    ] = None
    keep_unknown: Annotated[
        bool,
        about("Record unknown instruments under their own symbol or ISIN, without prices."),
    ] = False
    include_duplicates: Annotated[
        bool, about("Add transactions, too, that equal entries recorded otherwise.")
    ] = False
    skip_errors: Annotated[bool, about("Leave out lines that cannot be read.")] = False
    deposit_missing_cash: Annotated[
        bool,
        about(
            "Deposit cash that is missing at the end of a day: money that the statement does not "
            "list, such as one of trades alone."
        ),
    ] = False

    profile: Annotated[
        dict[str, Any] | None,
        about("Mapping profile of a table without a known layout; see docs/imports.md."),
    ] = None

    profile_name: Annotated[
        Annotated[str, Meta(max_length=100)] | None,
        about("Name of a saved mapping profile, instead of a profile."),
    ] = None

    def check(self) -> None:
        """Check that at most one profile is stated."""
        if self.profile is not None and self.profile_name is not None:
            raise InvalidRequest(
                "both a profile and the name of a saved one are given; send one of them",
                field="profile_name",
                code="conflicting_options",
            )

    @property
    def content(self) -> bytes:
        """Bytes of the file."""
        return self.file.encode()

    def options(self) -> ImportOptions:
        """Return how the statement is to be imported.

        Raises:
            InvalidRequest: the profile is invalid.
        """
        faults = FaultCollector()
        profile = None
        with faults.collect("profile."):
            if self.profile is not None:
                profile = profile_of(self.profile)
        faults.raise_any()
        return ImportOptions(
            self.mapping,
            self.layout,
            self.keep_unknown,
            self.include_duplicates,
            self.skip_errors,
            self.deposit_missing_cash,
            profile,
        )


class UploadedStatement(ImportBody, frozen=True, kw_only=True):
    """A statement of a form, whose file may have any encoding."""

    data: bytes = b""

    @property
    def content(self) -> bytes:
        """Bytes of the file."""
        return self.data


class ImportRecordView(View, frozen=True, kw_only=True):
    """An import of a statement."""

    id: UUID
    layout: str
    file_name: str
    sha256: Annotated[str, about("SHA-256 of the file.")]
    created: datetime
    entries: Annotated[int, about("Number of entries that it added.")]
    mapping: dict[str, str]
    undone: Annotated[datetime | None, about("When its entries were voided.")]


class PlannedEntryView(View, frozen=True, kw_only=True):
    """An entry that a line adds."""

    line: Annotated[int, about("0 for a deposit of missing cash.")]
    entry: EntryView


class DuplicateView(View, frozen=True, kw_only=True):
    """A line whose entry is recorded already."""

    line: int
    certainty: Annotated[
        Certainty,
        about(
            "recorded: imported before. changed: imported before with other figures. void: "
            "imported before, and voided by its owner. probable: an entry equals it, or "
            "books a planned flow of its amount within a few days."
        ),
    ]
    entry: EntryView
    recorded_id: Annotated[UUID, about("The entry of the ledger.")]
    added: Annotated[bool, about("Whether it is added all the same.")]


class SuggestionView(View, frozen=True, kw_only=True):
    """An asset that an instrument may be."""

    symbol: str
    name: str
    currency: str | None
    exchange: str
    isin: str | None
    figi: str | None
    known: Annotated[bool, about("Whether its prices are known.")]


class UnknownInstrumentView(View, frozen=True, kw_only=True):
    """An instrument without a symbol."""

    key: Annotated[str, about("Names it in mapping.")]
    symbol: str
    isin: str
    name: str
    currency: str
    lines: Annotated[list[int], about(f"At most {MOST_SHOWN}.")]
    suggestions: list[SuggestionView]


class RemarkView(View, frozen=True, kw_only=True):
    """A remark about a line."""

    line: Annotated[int, about("0: the whole file.")]
    code: str
    message: str
    is_error: Annotated[bool, about("Whether the line cannot be read.")]


class PositionChangeView(View, frozen=True, kw_only=True):
    """Cash or a holding before and after the import."""

    symbol: Annotated[str | None, about("The asset; null for cash.")]
    currency: Annotated[str | None, about("Currency of cash; null for an asset.")]
    before: DecimalText
    after: DecimalText


class OverdraftView(View, frozen=True, kw_only=True):
    """Cash or a holding that would be negative at the end of a day."""

    on: date
    symbol: str | None
    currency: str | None
    balance: DecimalText
    message: str


class ImportProblemView(View, frozen=True, kw_only=True):
    """What keeps the statement from being imported."""

    field: Annotated[str, about("Field of the request that can solve it; may be empty.")]
    code: str
    message: str


class PreviewView(View, frozen=True, kw_only=True):
    """What an import changes."""

    layout: str
    title: Annotated[str, about("Name of the layout for people.")]
    file_name: str
    sha256: str
    entries: Annotated[list[PlannedEntryView], about(f"The first {MOST_SHOWN}.")]
    entry_count: int
    duplicates: Annotated[list[DuplicateView], about(f"The first {MOST_SHOWN}.")]
    duplicate_count: int
    unknown: list[UnknownInstrumentView]
    remarks: Annotated[list[RemarkView], about(f"The first {MOST_SHOWN}, errors first.")]
    error_count: Annotated[int, about("Number of lines that cannot be read.")]
    left_out: Annotated[int, about("Transactions of instruments that mapping leaves out.")]
    changes: list[PositionChangeView]
    overdrafts: Annotated[list[OverdraftView], about(f"The first {MOST_SHOWN} days.")]
    problems: Annotated[
        list[ImportProblemView], about("What keeps it from being imported; empty if nothing does.")
    ]
    booked_actions: Annotated[int, about("Entries of corporate actions that are booked with it.")]
    mapping: Annotated[dict[str, str], about("Symbols that were used, also of earlier imports.")]
    earlier: Annotated[
        ImportRecordView | None, about("The latest import of the same file that is not undone.")
    ]
    notes: list[str]
    profile: Annotated[
        dict[str, Any] | None,
        about("Mapping profile by which a table was read, to be changed and sent again."),
    ]


def import_record_view(made: StatementImport) -> ImportRecordView:
    """Show an import."""
    return ImportRecordView.of(made)


def preview_view(preview: ImportPreview, base: Currency) -> PreviewView:
    """Show what an import changes in a portfolio with a base currency."""
    plan = preview.plan
    remarks = sorted(plan.remarks, key=lambda one: not one.is_error)
    return PreviewView(
        layout=preview.layout,
        title=preview.title,
        file_name=preview.file.short_name,
        sha256=preview.file.sha256,
        entries=[_planned(one, base) for one in plan.entries[:MOST_SHOWN]],
        entry_count=len(plan.entries),
        duplicates=[_duplicate(one, base) for one in plan.duplicates[:MOST_SHOWN]],
        duplicate_count=len(plan.duplicates),
        unknown=[_unknown(one, preview.suggestions.get(one.name, ())) for one in plan.unknown],
        remarks=[_remark(one) for one in remarks[:MOST_SHOWN]],
        error_count=len(plan.errors),
        left_out=plan.left_out,
        changes=[_change(one) for one in preview.changes],
        overdrafts=[_overdraft(one) for one in preview.overdrafts[:MOST_SHOWN]],
        problems=[_problem(one) for one in preview.problems],
        booked_actions=preview.booked,
        mapping=dict(plan.mapping),
        earlier=None if preview.earlier is None else import_record_view(preview.earlier),
        notes=list(preview.notes),
        profile=None if preview.profile is None else preview.profile.document(),
    )


def _planned(one: PlannedEntry, base: Currency) -> PlannedEntryView:
    return PlannedEntryView(line=one.line, entry=entry_view(one.entry, base=base))


def _duplicate(one: Duplicate, base: Currency) -> DuplicateView:
    return DuplicateView(
        line=one.line,
        certainty=one.certainty,
        entry=entry_view(one.entry, base=base),
        recorded_id=one.recorded.id,
        added=one.is_added,
    )


def _unknown(one: UnknownInstrument, assets: Sequence[FoundAsset]) -> UnknownInstrumentView:
    stated = one.instrument
    return UnknownInstrumentView(
        key=one.name,
        symbol=stated.symbol,
        isin=stated.isin,
        name=stated.name,
        currency=stated.currency,
        lines=list(one.lines[:MOST_SHOWN]),
        suggestions=[SuggestionView.of(asset) for asset in assets],
    )


def _remark(one: Remark) -> RemarkView:
    return RemarkView.of(one)


def _change(one: PositionChange) -> PositionChangeView:
    return PositionChangeView.of(one)


def _overdraft(one: Overdraft) -> OverdraftView:
    return OverdraftView(
        on=one.on,
        symbol=one.symbol,
        currency=one.currency,
        balance=DecimalText(format_decimal(one.balance)),
        message=one.message,
    )


def _problem(one: RebalancerError) -> ImportProblemView:
    field = getattr(one, "field", "")
    return ImportProblemView(field=field, code=one.code, message=one.message)
