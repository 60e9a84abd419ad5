"""`rebalancer portfolio`: list, import, correct and export stored portfolios, for operators."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import click

from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError, Unavailable
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, UnreadablePortfolio
from rebalancer.domain.text import escape_unsafe
from rebalancer.entrypoints.cli.files import check_output, read_file, write_bytes, write_text
from rebalancer.entrypoints.cli.options import (
    FILE,
    IsoDate,
    container,
    json_option,
    market_options,
    settings,
)
from rebalancer.entrypoints.cli.portfolio_actions import actions
from rebalancer.entrypoints.cli.portfolio_alerts import alerts
from rebalancer.entrypoints.cli.portfolio_flows import flows
from rebalancer.entrypoints.cli.portfolio_statements import (
    import_statement,
    imports,
    undo_import,
)
from rebalancer.entrypoints.cli.remedies import explain
from rebalancer.entrypoints.cli.screen import console, meter, print_json, wide_table
from rebalancer.entrypoints.cli.shown_portfolios import (
    entry_document,
    portfolio_document,
    print_portfolio,
)
from rebalancer.entrypoints.cli.stored_portfolios import PAGE, find_user

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.performance import PeriodRequest
    from rebalancer.application.valuation import ValuedPortfolio
    from rebalancer.domain.backtest.periods import Interval
    from rebalancer.domain.portfolio.owner import User
    from rebalancer.wiring.market import Sources


@click.group()
def portfolio() -> None:
    """List, show, measure, import, correct and export stored portfolios."""


portfolio.add_command(actions)
for command in (alerts, flows, import_statement, imports, undo_import):
    portfolio.add_command(command)


@portfolio.command("list")
@click.option(
    "--owner", metavar="EMAIL", help="Only portfolios of this owner. Default: of all owners."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, help="Most to list.")
@click.option("--after", type=click.UUID, help="Only portfolios after this one in the list.")
@market_options
@json_option
def list_(owner: str | None, limit: int, after: UUID | None, where: Sources, as_json: bool) -> None:
    """List stored portfolios: of all owners by id, or of one owner, the oldest first.

    \b
    Examples:
      rebalancer portfolio list
      rebalancer portfolio list --owner ada@example.org --json
    """
    from rebalancer.application.corporate_actions import BookActions
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.valuation import value_booked
    from rebalancer.entrypoints.schemas.wire import format_decimal

    with container(where) as wired:
        work = wired.get(UnitOfWork)
        with work.read() as tx:
            page: Sequence[ManagedPortfolio | UnreadablePortfolio]
            if owner is None:
                page = tx.portfolios.chunk(after=after, limit=limit + 1)
            else:
                user_id = find_user(tx, owner).id
                page = tx.portfolios.page(user_id, after=after, limit=limit + 1)
            found = [one for one in page[:limit] if not isinstance(one, UnreadablePortfolio)]
            people = {id: tx.users.get(id) for id in {one.owner for one in found}}
        market = wired.get(PriceSource).closes()
        booked = wired.get(BookActions).many(found, market)
        valued = [value_booked(one, market, work) for one in booked]
        found = [one.portfolio for one in booked]
    for one in page[:limit]:
        if isinstance(one, UnreadablePortfolio):
            click.echo(f"portfolio {one.id}: {one.reason}", err=True)
    listed = [_list_row(one, people[one.portfolio.owner]) for one in valued]
    if as_json:
        print_json(listed)
        return
    screen = console()
    table = wide_table(
        screen,
        f"Portfolios, closes of {market.last_date}",
        ["id", "name", "owner"],
        ["value", "", "cash", "assets", "version"],
    )
    for stored, row in zip(found, listed, strict=False):
        table.add_row(
            row["id"],
            row["name"],
            row["owner"],
            "-" if row["value"] is None else row["value"],
            row["currency"],
            format_decimal(stored.positions.cash),
            str(len(stored.positions.holdings)),
            str(row["version"]),
        )
    screen.print(table)
    for now in valued:
        for note in now.notes:
            screen.print(f"{now.portfolio.mandate.name}: {note}", markup=False)
    if len(page) > limit:
        screen.print(f"To list more, add --after {page[limit - 1].id}")


@portfolio.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--entries",
    type=click.IntRange(0, 10_000),
    default=10,
    help="Ledger entries to show, the latest first.",
)
@market_options
@json_option
def show(id: UUID, entries: int, where: Sources, as_json: bool) -> None:
    """Show a stored portfolio with its value, positions and latest ledger entries.

    \b
    Example:
      rebalancer portfolio show 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    from rebalancer.application.corporate_actions import BookActions
    from rebalancer.application.ports.market import InstrumentSource, PriceSource
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.target_groups import targets_or_fault
    from rebalancer.application.valuation import value_booked

    with container(where) as wired:
        work = wired.get(UnitOfWork)
        with work.read() as tx:
            stored = tx.portfolios.get(id)
            owner = tx.users.get(stored.owner)
        market = wired.get(PriceSource).closes()
        booked = wired.get(BookActions)(stored, market)
        with work.read() as tx:
            ledger = tx.portfolios.entries(id, limit=entries) if entries else []
            void = tx.portfolios.void(id, [entry.id for entry in ledger])
        now = value_booked(booked, market, work)
        targets = targets_or_fault(now, wired.get(InstrumentSource).instruments())
    if as_json:
        print_json(portfolio_document(now, owner, ledger, void, targets))
    else:
        print_portfolio(now, owner, ledger, void, targets)


@portfolio.command()
@click.argument("id", type=click.UUID, required=False)
@click.option("--owner", metavar="EMAIL", help="Instead of an id: all portfolios of this owner.")
@click.option(
    "--currency",
    metavar="CODE",
    help="Of all portfolios together. Default: the one that most of them have.",
)
@click.option(
    "--from", "since", type=IsoDate(), help="First day. Default: the day of the first entry."
)
@click.option("--to", "until", type=IsoDate(), help="Last day. Default: that of the last close.")
@click.option(
    "--interval",
    type=click.Choice(["day", "week", "month"]),
    default="day",
    help="Distance of the points of series.",
)
@click.option(
    "--benchmark",
    metavar="SYMBOL",
    help="Compare with this asset, or with a mix that is rebalanced monthly, such as "
    "VTI:0.6,BND:0.4. Default: the targets, rebalanced monthly at 10 bps.",
)
@market_options
@json_option
def performance(
    id: UUID | None,
    owner: str | None,
    currency: str | None,
    since: date | None,
    until: date | None,
    interval: str,
    benchmark: str | None,
    where: Sources,
    as_json: bool,
) -> None:
    """Measure the performance of a stored portfolio, or of all portfolios of an owner together.

    It is compared with holding it unchanged and with a benchmark, with the same cash flows. The
    time-weighted return splits into a local return and the effect of exchange rates, and into the
    contributions of holdings, asset classes and currencies. Income and the returns of months and
    years follow.

    \b
    Examples:
      rebalancer portfolio performance 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
      rebalancer portfolio performance 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --from 2022-01-01 --to 2022-12-31 --interval month --benchmark VTI:0.6,BND:0.4
      rebalancer portfolio performance --owner ada@example.org --currency EUR
    """
    from msgspec import to_builtins

    from rebalancer.application.performance import MeasurePerformance, PeriodRequest
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.backtest.periods import Interval
    from rebalancer.entrypoints.cli.track_records import print_performance
    from rebalancer.entrypoints.schemas.performance import performance_view

    if (id is None) == (owner is None):
        raise InvalidRequest("give either an id or --owner", code="conflicting_options")
    request = PeriodRequest(since, until, benchmark)
    if id is None:
        _measure_all(str(owner), currency, request, Interval(interval), where, as_json=as_json)
        return
    if currency is not None:
        raise InvalidRequest(
            "--currency is for all portfolios together; a portfolio has its base currency",
            field="currency",
            code="conflicting_options",
        )
    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            actor = tx.portfolios.get(id).owner
        found = wired.get(MeasurePerformance)(id, actor=actor, request=request)
    view = performance_view(found, Interval(interval))
    if as_json:
        print_json(to_builtins(view))
    else:
        print_performance(found.portfolio.mandate.name, view)


def _measure_all(
    email: str,
    currency: str | None,
    request: PeriodRequest,
    interval: Interval,
    where: Sources,
    *,
    as_json: bool,
) -> None:
    """Print the performance of all portfolios of an owner as one account."""
    from msgspec import to_builtins

    from rebalancer.application.combined_performance import MeasureAllPerformance
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.money import Currency
    from rebalancer.entrypoints.cli.track_records import print_combined_performance
    from rebalancer.entrypoints.schemas.performance import combined_performance_view

    chosen = None if currency is None else Currency(currency)
    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = find_user(tx, email).id
        found = wired.get(MeasureAllPerformance)(owner, currency=chosen, request=request)
    view = combined_performance_view(found, interval)
    if as_json:
        print_json(to_builtins(view, enc_hook=str))
    else:
        print_combined_performance(email, view)


@portfolio.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--year",
    metavar="YEAR",
    help="Only disposals and income of a year: 2023, or 2023-24 for 6 April 2023 to 5 April 2024. "
    "Default: all.",
)
@click.option(
    "--method",
    type=click.Choice(
        ["fifo", "lifo", "highest_cost", "average_cost", "specific", "uk_pool"],
        case_sensitive=False,
    ),
    help="Which units a sale disposes of. Default: that of the portfolio's preferences.",
)
@click.option(
    "--lots",
    multiple=True,
    metavar="SALE:LOT:QUANTITY",
    help="For the method specific: units of a lot that a sale uses, by their ids; may be repeated.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the disposals as CSV, a row for a lot.")
@market_options
@json_option
def gains(
    id: UUID,
    year: str | None,
    method: str | None,
    lots: tuple[str, ...],
    as_csv: bool,
    where: Sources,
    as_json: bool,
) -> None:
    """Measure realised and unrealised gains of a stored portfolio, and its income.

    Amounts are in the base currency, each at the exchange rate of its day. Methods and limits are
    in docs/gains.md; this is a computation, not tax advice.

    \b
    Examples:
      rebalancer portfolio gains 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --year 2023
      rebalancer portfolio gains 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --method uk_pool \\
        --year 2023-24 --csv > gains.csv
    """
    from msgspec import to_builtins

    from rebalancer.application.gains import MeasureGains
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.portfolio.lots.model import LotMethod
    from rebalancer.domain.portfolio.lots.years import TaxYear
    from rebalancer.entrypoints.cli.printed_gains import print_gains
    from rebalancer.entrypoints.schemas.gains import gains_csv, gains_view, parse_lots

    if as_csv and as_json:
        raise InvalidRequest("give either --csv or --json", code="conflicting_options")
    chosen = None if method is None else LotMethod(method)
    only = None if year is None else TaxYear.parse(year)
    named = parse_lots(lots)
    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(id).owner
        found = wired.get(MeasureGains)(id, actor=owner, method=chosen, year=only, selections=named)
    view = gains_view(found)
    if as_csv:
        click.echo(escape_unsafe(gains_csv(view).replace("\r\n", "\n")), nl=False)
    elif as_json:
        print_json(to_builtins(view, enc_hook=str))
    else:
        print_gains(found.portfolio.mandate.name, view)


@portfolio.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--from",
    "since",
    type=IsoDate(),
    help="First day. Default: January 1 of the year of the last one.",
)
@click.option("--to", "until", type=IsoDate(), help="Last day. Default: that of the last close.")
@click.option("-o", "--out", type=FILE, required=True, help="HTML file to write.")
@market_options
def statement(id: UUID, since: date | None, until: date | None, out: Path, where: Sources) -> None:
    """Write the statement of a stored portfolio over a period as an HTML page to print.

    It has the opening and the closing value, deposits, trades, income, charges, holdings and the
    time-weighted return; all lines add up to the cent.

    \b
    Example:
      rebalancer portfolio statement 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        --from 2021-01-01 --to 2021-12-31 -o 2021.html
    """
    from rebalancer.application.period_statements import PortfolioStatement, StatePortfolio
    from rebalancer.application.ports.reports import Renderer
    from rebalancer.application.ports.store import UnitOfWork

    check_output(out, where.files, field="out")
    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(id).owner
        found = wired.get(StatePortfolio)(
            id, actor=owner, since=since, until=until, now=wired.get(Clock)()
        )
        write_text(out, wired.get(Renderer[PortfolioStatement]).render(found), field="out")
    click.echo(f"Statement: {out.resolve()}")


@portfolio.command("void")
@click.argument("id", type=click.UUID)
@click.argument("entry", metavar="ENTRY", type=click.UUID)
@click.option("--note", default="", help="Why the entry is void.")
@market_options
@json_option
def void_(id: UUID, entry: UUID, note: str, where: Sources, as_json: bool) -> None:
    """Void an entry of a stored portfolio that was a mistake.

    A linked entry reverses it. Both stay in the ledger, and neither counts any more. `rebalancer
    portfolio show ID --json` has the ids of the entries.

    \b
    Example:
      rebalancer portfolio void 6f9619ff-8b86-4d01-b42d-00cf4fc964ff \\
        0b54a1c6-5a9c-4d51-9b39-7a3f5a0f7d7e --note "price mistyped"
    """
    from rebalancer.application.corrections import VoidEntry
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.entrypoints.schemas.wire import format_decimal

    with container(where) as wired:
        with wired.get(UnitOfWork).read() as tx:
            owner = tx.portfolios.get(id).owner
        reversal, now, _ = wired.get(VoidEntry)(
            entry, portfolio_id=id, owner=owner, note=note, now=wired.get(Clock)()
        )
    value = None if now.value is None else format_decimal(now.value)
    if as_json:
        print_json({"entry": entry_document(reversal, frozenset()), "value": value})
        return
    worth = "no value" if value is None else f"{value} {now.portfolio.mandate.currency}"
    click.echo(f"Void: {reversal.title}. The portfolio has {worth}.")


@portfolio.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=FILE)
@click.option("--owner", metavar="EMAIL", required=True, help="Owner of the imported portfolios.")
@click.option(
    "--on", type=IsoDate(), help="Day of the first deposit. Default: that of the last close."
)
@market_options
@json_option
def import_(
    files: tuple[Path, ...], owner: str, on: date | None, where: Sources, as_json: bool
) -> int:
    """Import portfolios from files; their cash and holdings become the first deposit.

    A file *.json holds one portfolio, any other file one per line. The fields are those of
    `rebalancer batch --help`, with "name" and "acknowledge_limits" in addition. An id that is not a
    UUID is mapped to the same UUID each time, so that no portfolio is imported twice. The ledger
    starts with the import: last_rebalance is ignored, and a cash_flow is rejected.

    Portfolios that cannot be imported are reported with their line, and make the exit code 3.

    \b
    Examples:
      rebalancer portfolio import mine.json --owner ada@example.org
      rebalancer portfolio import book.jsonl more.jsonl --owner ada@example.org --on 2022-01-03
    """
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.entrypoints.cli.unknown_assets import name_fetch

    opened: list[dict[str, str]] = []
    failed: list[dict[str, Any]] = []
    texts = [piece for path in files for piece in _read_portfolios(path)]
    with container(where) as wired, meter("opening", len(texts)) as advance:
        with wired.get(UnitOfWork).read() as tx:
            user = find_user(tx, owner)
        for path, line, text in texts:
            try:
                opened.append(_import_portfolio(wired, text, path, user, on))
            except Unavailable:
                raise
            except RebalancerError as error:
                name_fetch(error, where)
                failed.append({"file": str(path), "line": line, "error": explain(error)})
            advance(1)
    if as_json:
        print_json({"opened": opened, "failed": failed})
    else:
        for one in opened:
            click.echo(escape_unsafe(f"{one['id']}  {one['name']}"))
        for bad in failed:
            fault = f"{bad['file']}, line {bad['line']}: {bad['error']}"
            click.echo(escape_unsafe(fault), err=True)
        click.echo(f"{len(opened)} opened, {len(failed)} failed", err=True)
    return 3 if failed else 0


@portfolio.command()
@click.argument("ids", nargs=-1, metavar="[ID...]", type=click.UUID)
@click.option("--owner", metavar="EMAIL", help="Instead of ids: all portfolios of this owner.")
@click.option("--out", type=FILE, help="File to write. Default: standard output.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["rebalancer", "ghostfolio", "portfolio_performance"]),
    default="rebalancer",
    show_default=True,
    help="Write the history of one portfolio for another tool.",
)
def export(ids: tuple[UUID, ...], owner: str | None, out: Path | None, format_: str) -> None:
    """Export stored portfolios as JSON, one per line, for `rebalancer portfolio import`.

    The export holds the present positions and preferences, without the ledger. With --format it is
    the history of one portfolio, as Ghostfolio (JSON) or Portfolio Performance (a zip archive of
    CSV files) imports it; what the format cannot hold is printed on standard error.

    \b
    Examples:
      rebalancer portfolio export 6f9619ff-8b86-4d01-b42d-00cf4fc964ff > mine.json
      rebalancer portfolio export --owner ada@example.org --out ada.jsonl
      rebalancer portfolio export 6f9619ff-8b86-4d01-b42d-00cf4fc964ff --format ghostfolio \\
        --out ghostfolio.json
    """
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.entrypoints.schemas.portfolio import portfolio_record
    from rebalancer.entrypoints.schemas.wire import json_line

    if format_ != "rebalancer":
        _export_history(ids, owner, out, format_)
        return
    if bool(ids) == (owner is not None):
        raise InvalidRequest("give either ids or --owner", code="conflicting_options")
    with container() as wired, wired.get(UnitOfWork).read() as tx:
        found = [tx.portfolios.get(id) for id in ids]
        if owner is not None:
            user_id, after = find_user(tx, owner).id, None
            while chunk := tx.portfolios.page(user_id, after=after, limit=PAGE):
                found += chunk
                after = chunk[-1].id
    text = b"".join(json_line(portfolio_record(one)) for one in found).decode()
    if out is None:
        click.echo(escape_unsafe(text), nl=False)
    else:
        write_text(out, text, field="out")


def _export_history(
    ids: tuple[UUID, ...], owner: str | None, out: Path | None, format: str
) -> None:
    """Write the history of one portfolio for another tool."""
    from rebalancer.application.portfolio_export import ExportPortfolio
    from rebalancer.application.ports.store import UnitOfWork

    if len(ids) != 1 or owner is not None:
        raise InvalidRequest(
            f"--format {format} exports one portfolio; give one id", code="conflicting_options"
        )
    with container() as wired:
        with wired.get(UnitOfWork).read() as tx:
            actor = tx.portfolios.get(ids[0]).owner
        now = wired.get(Clock)()
        file = wired.get(ExportPortfolio)(ids[0], format=format, actor=actor, now=now)
    if out is not None:
        write_bytes(out, file.data, field="out")
    elif file.extension == "zip" and sys.stdout.isatty():
        raise InvalidRequest(
            "the export is a zip archive; add --out FILE", field="out", code="missing_output"
        )
    else:
        click.echo(file.data, nl=False)
    for note in file.notes:
        click.echo(note, err=True)


def _read_portfolios(path: Path) -> Iterator[tuple[Path, int, bytes]]:
    """Yield each portfolio of a file with the number of its line."""
    text = read_file(path, field="file")
    if path.suffix.casefold() == ".json":
        yield path, 1, text
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield path, number, line


def _import_portfolio(
    wired: Container, text: bytes, path: Path, user: User, on: date | None
) -> dict[str, str]:
    """Open a portfolio from its JSON text.

    Raises:
        InvalidRequest: the portfolio is malformed or invalid; names the field.
        Conflict: a portfolio of this id exists or existed.
    """
    from rebalancer.application.portfolios import OpenPortfolio
    from rebalancer.entrypoints.schemas.portfolio import decode_portfolio
    from rebalancer.entrypoints.schemas.wire import parse_json

    values = parse_json(text)
    if path.suffix.casefold() == ".json":
        values.setdefault("id", path.stem)
    given, mandate = decode_portfolio(
        values, currency=settings().currency, build=lambda file: (file.portfolio(), file.mandate())
    )
    if given.cash_flow:
        raise InvalidRequest(
            "a planned cash flow cannot be imported; add it to cash, or run `rebalancer propose ID "
            "--cash-flow AMOUNT` after the import",
            field="cash_flow",
            code="planned_cash_flow",
        )
    id = _portfolio_id(given.id, user)
    try:
        wired.get(OpenPortfolio)(
            mandate,
            cash=given.cash,
            foreign_cash=given.foreign_cash,
            holdings=given.holdings,
            on=on,
            id=id,
            owner=user.id,
            now=wired.get(Clock)(),
        )
    except Conflict:
        raise Conflict(
            f"a portfolio with the id {given.id} exists, or existed and was closed",
            code="portfolio_exists",
        ) from None
    return {"id": str(id), "name": mandate.name}


def _portfolio_id(text: str, user: User) -> UUID:
    """Return a UUID unchanged, and for any other id one derived from it and its owner."""
    try:
        return UUID(text)
    except ValueError:
        return uuid5(user.id, text)


def _list_row(now: ValuedPortfolio, owner: User) -> dict[str, Any]:
    """Return a row of the list; the value is None if a holding has no price."""
    from rebalancer.entrypoints.schemas.wire import format_decimal

    stored, value = now.portfolio, now.value
    return {
        "id": str(stored.id),
        "name": stored.mandate.name,
        "owner": owner.email,
        "currency": stored.mandate.currency.code,
        "value": None if value is None else format_decimal(value),
        "cash": format_decimal(stored.positions.cash),
        "version": stored.version,
        "notes": list(now.notes),
    }
