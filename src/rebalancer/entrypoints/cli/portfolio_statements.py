"""`rebalancer portfolio import-statement`, `imports` and `undo-import`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.files import read_file, read_json
from rebalancer.entrypoints.cli.options import (
    FILE,
    PRICES_HELP,
    container,
    json_option,
    sources,
)
from rebalancer.entrypoints.cli.screen import console, count_things, print_json, wide_table

if TYPE_CHECKING:
    from rich.console import Console

    from rebalancer.entrypoints.schemas.statement_imports import PreviewView

_EXIT_PROBLEMS = 3
"""Exit code of a preview of a statement that cannot be imported yet."""

prices_option = click.option("--prices", type=FILE, metavar="FILE", help=f"{PRICES_HELP}.")


@click.command("import-statement")
@click.argument("file", metavar="FILE", type=FILE)
@click.option("--portfolio", "id", type=click.UUID, required=True, help="Portfolio to import into.")
@click.option(
    "--dry-run/--commit",
    default=True,
    help="Show what would change, or add the entries. Default: --dry-run.",
)
@click.option(
    "--map",
    "mapped",
    metavar="OLD=NEW",
    multiple=True,
    help="Symbol of an instrument, which OLD names by symbol, ISIN or name; without NEW its "
    "transactions are left out. May be repeated, and may be a JSON object.",
)
@click.option("--layout", metavar="NAME", help="Layout of the file. Default: as recognised.")
@click.option(
    "--profile",
    type=FILE,
    metavar="FILE.json",
    help="Mapping profile of a table without a known layout; see docs/imports.md.",
)
@click.option(
    "--saved-profile",
    metavar="NAME",
    help="Saved mapping profile of the portfolio's owner, instead of a file.",
)
@click.option(
    "--keep-unknown",
    is_flag=True,
    help="Record unknown instruments under their own symbol or ISIN, without prices.",
)
@click.option(
    "--include-duplicates",
    is_flag=True,
    help="Add transactions, too, that equal entries recorded by hand.",
)
@click.option("--skip-errors", is_flag=True, help="Leave out lines that cannot be read.")
@click.option(
    "--deposit-missing-cash",
    is_flag=True,
    help="Deposit cash that is missing at the end of a day, as for a statement of trades alone.",
)
@click.option(
    "--show", type=click.IntRange(0, 500), default=20, help="New entries to show. Default: 20."
)
@prices_option
@json_option
def import_statement(
    file: Path,
    id: UUID,
    dry_run: bool,
    mapped: tuple[str, ...],
    layout: str | None,
    profile: Path | None,
    saved_profile: str | None,
    keep_unknown: bool,
    include_duplicates: bool,
    skip_errors: bool,
    deposit_missing_cash: bool,
    show: int,
    prices: Path | None,
    as_json: bool,
) -> int:
    """Import a statement of a broker or another tool into a stored portfolio.

    By default it is only previewed: new entries, duplicates, unknown instruments, errors by line,
    cash and holdings before and after. docs/imports.md lists the layouts.

    The exit code is 0 if the statement can be imported, or was, and 3 if a preview shows what keeps
    it from that; then --commit is refused.

    \b
    Examples:
      rebalancer portfolio import-statement year.csv \\
        --portfolio 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
      rebalancer portfolio import-statement year.csv --map SIE=SIE.DE --map "Old Fund=" --commit \\
        --portfolio 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    from msgspec import to_builtins

    from rebalancer.application.import_planning import ImportOptions
    from rebalancer.application.mapping_profiles import ReadMappingProfile
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.statement_files import StatementFile
    from rebalancer.application.statement_imports import CommitImport, PreviewImport
    from rebalancer.domain.portfolio.mapping_profiles import profile_of
    from rebalancer.entrypoints.schemas.statement_imports import import_record_view, preview_view

    if profile is not None and saved_profile is not None:
        raise InvalidRequest("give either --profile or --saved-profile", code="conflicting_options")
    statement = StatementFile(file.name, read_file(file, field="file"))
    options = ImportOptions(
        _read_mapping(mapped),
        layout,
        keep_unknown,
        include_duplicates,
        skip_errors,
        deposit_missing_cash,
        None if profile is None else profile_of(read_json(profile, field="profile")),
    )
    made = None
    with container(sources(prices)) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(id).owner
        if saved_profile is not None:
            saved = wired.get(ReadMappingProfile)(saved_profile, owner=owner)
            options = attrs.evolve(options, profile=saved.profile)
        now = wired.get(Clock)()
        if dry_run:
            found, portfolio = wired.get(PreviewImport)(
                statement, options, portfolio_id=id, owner=owner, now=now
            )
        else:
            made, found, valued, _ = wired.get(CommitImport)(
                statement, options, portfolio_id=id, owner=owner, id=wired.get(Ids)(), now=now
            )
            portfolio = valued.portfolio
    preview = preview_view(found, portfolio.mandate.currency)
    if as_json:
        record = None if made is None else import_record_view(made)
        print_json(to_builtins({"record": record, "preview": preview}, enc_hook=str))
    else:
        screen = console()
        _print_preview(screen, preview, show)
        if made is not None:
            screen.print(
                f"{_entries(made.entries)} imported. To undo it: rebalancer portfolio undo-import "
                f"{made.id} --portfolio {id}"
            )
        elif not preview.problems:
            screen.print(_next_step(preview, dry_run))
    return _EXIT_PROBLEMS if preview.problems else 0


@click.command("imports")
@click.argument("id", type=click.UUID)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, help="Most to list.")
@click.option("--before", type=click.UUID, help="Only imports after this one in the list.")
@json_option
def imports(id: UUID, limit: int, before: UUID | None, as_json: bool) -> None:
    """List the imports of a stored portfolio, the latest first.

    \b
    Example:
      rebalancer portfolio imports 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    from msgspec import to_builtins

    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.statement_imports import ListImports
    from rebalancer.entrypoints.schemas.statement_imports import import_record_view

    with container() as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(id).owner
        found = wired.get(ListImports)(id, actor=owner, before=before, limit=limit + 1)
    views = [import_record_view(one) for one in found[:limit]]
    if as_json:
        print_json(to_builtins(views, enc_hook=str))
        return
    screen = console()
    if not views:
        screen.print("No imports.")
        return
    table = wide_table(screen, "Imports", ["id", "time", "layout", "file", "undone"], ["entries"])
    for one in views:
        undone = "" if one.undone is None else f"{one.undone:%Y-%m-%d %H:%M}"
        time = f"{one.created:%Y-%m-%d %H:%M}"
        table.add_row(str(one.id), time, one.layout, one.file_name, undone, str(one.entries))
    screen.print(table)
    if len(found) > limit:
        screen.print(f"To list more, add --before {views[-1].id}")


@click.command("undo-import")
@click.argument("import_id", metavar="IMPORT", type=click.UUID)
@click.option("--portfolio", "id", type=click.UUID, required=True, help="Portfolio of the import.")
@prices_option
@json_option
def undo_import(import_id: UUID, id: UUID, prices: Path | None, as_json: bool) -> None:
    """Void the entries of an import, all or none.

    \b
    Example:
      rebalancer portfolio undo-import 0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e \\
        --portfolio 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    from msgspec import to_builtins

    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.statement_imports import UndoImport
    from rebalancer.entrypoints.schemas.statement_imports import import_record_view

    with container(sources(prices)) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(id).owner
        made, count, _, _ = wired.get(UndoImport)(
            import_id, portfolio_id=id, owner=owner, now=wired.get(Clock)()
        )
    if as_json:
        view = import_record_view(made)
        print_json(to_builtins({"record": view, "voided": count}, enc_hook=str))
        return
    console().print(f"{_entries(count)} of {made.file_name or 'the import'} voided.")


def _read_mapping(mapped: tuple[str, ...]) -> dict[str, str]:
    """Return the mapping that options state; the last one of an instrument counts.

    Raises:
        InvalidRequest: an option is neither OLD=NEW nor a JSON object of texts.
    """
    found: dict[str, str] = {}
    for text in mapped:
        if text.lstrip().startswith("{"):
            found |= _read_object(text)
            continue
        old, sign, new = text.partition("=")
        if not sign or not old.strip():
            raise InvalidRequest(
                f"{text!r} does not name an instrument and its symbol; write OLD=NEW, or OLD= to "
                "leave it out",
                field="map",
                code="malformed_mapping",
            )
        found[old.strip()] = new.strip()
    return found


def _read_object(text: str) -> dict[str, str]:
    try:
        values: Any = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(one, str) for one in values.values()):
        raise InvalidRequest(
            f'{text!r} is not a JSON object of symbols; write it as {{"OLD": "NEW"}}',
            field="map",
            code="malformed_mapping",
        )
    return values


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _next_step(preview: PreviewView, dry_run: bool) -> str:
    if not preview.entry_count:
        return "Nothing is new in this file, so nothing changes."
    if dry_run:
        return f"To import {_entries(preview.entry_count)}, add --commit"
    return ""


def _print_preview(screen: Console, preview: PreviewView, show: int) -> None:
    screen.print(f"{preview.file_name}: {preview.title}")
    if preview.earlier is not None:
        day = f"{preview.earlier.created:%Y-%m-%d}"
        screen.print(f"The same file was imported on {day}: {preview.earlier.id}")
    _print_entries(screen, preview, show)
    _print_duplicates(screen, preview)
    for unknown in preview.unknown:
        lines = ", ".join(map(str, unknown.lines[:5]))
        more = "" if len(unknown.lines) <= 5 else f" and {len(unknown.lines) - 5} more"
        stated = ", ".join(filter(None, (unknown.isin, unknown.name)))
        screen.print(
            f"Unknown: {unknown.key}{f' ({stated})' if stated else ''}, lines {lines}{more}"
        )
        for asset in unknown.suggestions:
            known = "" if asset.known else ", prices not fetched yet"
            screen.print(f'  --map "{unknown.key}={asset.symbol}"  {asset.name}{known}')
    for remark in preview.remarks[: max(show, 20)]:
        where = f"line {remark.line}: " if remark.line else ""
        kind = "Error" if remark.is_error else "Note"
        screen.print(f"{kind}: {where}{remark.message}")
    if preview.left_out:
        screen.print(f"Left out by the mapping: {count_things(preview.left_out, 'transaction')}")
    if preview.changes:
        table = wide_table(screen, "Cash and holdings", ["of"], ["before", "after"])
        for change in preview.changes:
            table.add_row(change.symbol or f"cash {change.currency}", change.before, change.after)
        screen.print(table)
    if preview.booked_actions:
        screen.print(f"Corporate actions that are booked with it: {preview.booked_actions}")
    for overdraft in preview.overdrafts[:20]:
        screen.print(f"Overdrawn: {overdraft.message}")
    for note in preview.notes:
        screen.print(f"Note: {note}")
    for problem in preview.problems:
        screen.print(f"Cannot be imported yet: {problem.message}")


def _print_entries(screen: Console, preview: PreviewView, show: int) -> None:
    if preview.entry_count and show:
        texts, figures = ["day", "kind", "symbol"], ["line", "quantity", "price", "amount", ""]
        table = wide_table(screen, f"New: {_entries(preview.entry_count)}", texts, figures)
        for one in preview.entries[:show]:
            entry = one.entry
            table.add_row(
                str(entry.on),
                entry.kind.value,
                entry.symbol or "",
                str(one.line),
                entry.quantity or "",
                entry.price or "",
                entry.amount,
                entry.currency,
            )
        screen.print(table)
    if preview.entry_count > show:
        screen.print(f"... and {_entries(preview.entry_count - show)} more; see --show")


def _print_duplicates(screen: Console, preview: PreviewView) -> None:
    counts: dict[str, int] = {}
    for one in preview.duplicates:
        counts[one.certainty.value] = counts.get(one.certainty.value, 0) + 1
    if counts:
        parts = ", ".join(f"{count} {certainty}" for certainty, count in counts.items())
        screen.print(f"Duplicates: {preview.duplicate_count} ({parts})")
    for one in preview.duplicates:
        if one.certainty.value in ("changed", "probable"):
            what = "added" if one.added else "left out"
            screen.print(
                f"  line {one.line}, {one.certainty.value}, {what}: {one.entry.kind} of "
                f"{one.entry.amount} {one.entry.currency} on {one.entry.on}; entry "
                f"{one.recorded_id}"
            )
