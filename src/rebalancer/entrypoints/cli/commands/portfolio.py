"""`rebalancer portfolio`: kept portfolios, for operators on behalf of their owners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    json_option,
    market_options,
    settings,
    sources,
    store,
    write_text,
)

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.portfolios import ValuedPortfolio
    from rebalancer.domain.market.prices import PriceHistory
    from rebalancer.domain.portfolio.ledger import Entry
    from rebalancer.domain.portfolio.mandate import ManagedPortfolio
    from rebalancer.domain.portfolio.owner import User


@click.group()
def portfolio() -> None:
    """Look at kept portfolios, bring them in and take them out."""


@portfolio.command("list")
@click.option("--owner", metavar="EMAIL", help="Only this owner's. Default: everybody's.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many."
)
@click.option("--after", type=click.UUID, help="Only those that follow this one in the list.")
@market_options
@json_option
def list_(
    owner: str | None,
    limit: int,
    after: UUID | None,
    prices: Path | None,
    assets: Path | None,
    as_json: bool,
) -> None:
    """List kept portfolios: everybody's by id, or an owner's, the oldest first.

    \b
    Examples:
      rebalancer portfolio list
      rebalancer portfolio list --owner ada@example.org --json
    """
    import json

    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.portfolio.mandate import UnreadablePortfolio
    from rebalancer.entrypoints.cli.screen import console, wide_table
    from rebalancer.entrypoints.cli.stored_portfolios import user_called
    from rebalancer.entrypoints.schemas.wire import format_decimal

    with store(sources(prices, assets)) as wired:
        with wired.get(UnitOfWork).read() as tx:
            page: Sequence[ManagedPortfolio | UnreadablePortfolio]
            if owner is None:
                page = tx.portfolios.chunk(after=after, limit=limit + 1)
            else:
                whose = user_called(tx, owner).id
                page = tx.portfolios.page(whose, after=after, limit=limit + 1)
            found = [one for one in page[:limit] if not isinstance(one, UnreadablePortfolio)]
            people = {id: tx.users.get(id) for id in {one.owner for one in found}}
        market = wired.get(PriceSource).closes()
    for one in page[:limit]:
        if isinstance(one, UnreadablePortfolio):
            click.echo(f"portfolio {one.id}: {one.why}", err=True)
    listed = [_summary(one, people[one.owner], market) for one in found]
    if as_json:
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    screen = console()
    table = wide_table(
        screen,
        f"Portfolios, closes of {market.last_date}",
        ["id", "name", "owner"],
        ["value", "", "cash", "assets", "version"],
    )
    for kept, row in zip(found, listed, strict=False):
        table.add_row(
            row["id"],
            row["name"],
            row["owner"],
            "-" if row["value"] is None else row["value"],
            row["currency"],
            format_decimal(kept.positions.cash),
            str(len(kept.positions.holdings)),
            str(row["version"]),
        )
    screen.print(table)
    if len(page) > limit:
        screen.print(f"There are more: --after {page[limit - 1].id}")


@portfolio.command()
@click.argument("id", type=click.UUID)
@click.option(
    "--entries",
    type=click.IntRange(0, 10_000),
    default=10,
    show_default=True,
    help="Lines of the ledger, the latest first.",
)
@market_options
@json_option
def show(id: UUID, entries: int, prices: Path | None, assets: Path | None, as_json: bool) -> None:
    """Show a kept portfolio: its worth, its positions, and the end of its ledger.

    \b
    Example:
      rebalancer portfolio show 6f9619ff-8b86-4d01-b42d-00cf4fc964ff
    """
    import json

    from rebalancer.application.portfolios import value_portfolio
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.store import UnitOfWork

    with store(sources(prices, assets)) as wired:
        with wired.get(UnitOfWork).read() as tx:
            kept = tx.portfolios.get(id)
            owner = tx.users.get(kept.owner)
            ledger = tx.portfolios.entries(id, limit=entries) if entries else []
        now = value_portfolio(kept, wired.get(PriceSource).closes())
    if as_json:
        click.echo(json.dumps(_shown(now, owner, ledger), indent=2, ensure_ascii=False))
    else:
        _print(now, owner, ledger)


@portfolio.command("import")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option("--owner", metavar="EMAIL", required=True, help="Whose they become.")
@click.option("--on", type=IsoDate(), help="Day of the first deposit. Default: the last close.")
@market_options
@json_option
def import_(
    files: tuple[Path, ...],
    owner: str,
    on: date | None,
    prices: Path | None,
    assets: Path | None,
    as_json: bool,
) -> int:
    """Open portfolios that stand in files; their cash and holdings are the first deposit.

    FILE.json holds one portfolio, any other file one a line; the fields are those of `rebalancer
    batch --help`, beside them "name" and "acknowledge_limits". An id that is a UUID is kept, any
    other one gives the same UUID each time, so that nothing is brought in twice. A ledger begins
    here: last_rebalance is not taken over, and a cash_flow is refused.

    One bad portfolio is named with its line and does not stop the rest; the exit code is then 3.

    \b
    Examples:
      rebalancer portfolio import mine.json --owner ada@example.org
      rebalancer portfolio import book.jsonl more.jsonl --owner ada@example.org --on 2022-01-03
    """
    import json

    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.errors import RebalancerError, Unavailable
    from rebalancer.entrypoints.cli.screen import meter
    from rebalancer.entrypoints.cli.stored_portfolios import user_called

    opened: list[dict[str, str]] = []
    failed: list[dict[str, Any]] = []
    texts = [piece for path in files for piece in _pieces(path)]
    with store(sources(prices, assets)) as wired, meter("opening", len(texts)) as advance:
        with wired.get(UnitOfWork).read() as tx:
            user = user_called(tx, owner)
        for path, line, text in texts:
            try:
                opened.append(_open(wired, text, path, user, on))
            except Unavailable:
                raise
            except RebalancerError as error:
                failed.append({"file": str(path), "line": line, "error": str(error)})
            advance(1)
    if as_json:
        record = {"opened": opened, "failed": failed}
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        for one in opened:
            click.echo(f"{one['id']}  {one['name']}")
        for bad in failed:
            click.echo(f"{bad['file']}, line {bad['line']}: {bad['error']}", err=True)
        click.echo(f"{len(opened)} opened, {len(failed)} failed", err=True)
    return 3 if failed else 0


@portfolio.command()
@click.argument("ids", nargs=-1, metavar="[ID...]", type=click.UUID)
@click.option("--owner", metavar="EMAIL", help="Instead of ids: all of this owner's.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: standard output.")
def export(ids: tuple[UUID, ...], owner: str | None, out: Path | None) -> None:
    """Write kept portfolios as JSON, one a line, as `rebalancer portfolio import` reads them.

    It is what is held and wanted now; the ledger stays behind.

    \b
    Examples:
      rebalancer portfolio export 6f9619ff-8b86-4d01-b42d-00cf4fc964ff > mine.json
      rebalancer portfolio export --owner ada@example.org --out ada.jsonl
    """
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.entrypoints.cli.stored_portfolios import AT_ONCE, user_called
    from rebalancer.entrypoints.schemas.portfolio import portfolio_record
    from rebalancer.entrypoints.schemas.wire import json_line

    if bool(ids) == (owner is not None):
        raise InvalidRequest("give either ids or --owner")
    with store() as wired, wired.get(UnitOfWork).read() as tx:
        found = [tx.portfolios.get(id) for id in ids]
        if owner is not None:
            whose, after = user_called(tx, owner).id, None
            while chunk := tx.portfolios.page(whose, after=after, limit=AT_ONCE):
                found += chunk
                after = chunk[-1].id
    text = b"".join(json_line(portfolio_record(one)) for one in found).decode()
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text, field="out")


def _pieces(path: Path) -> Iterator[tuple[Path, int, bytes]]:
    """Each portfolio of a file, and the line on which it begins.

    Raises:
        InvalidRequest: the file cannot be read.
    """
    from rebalancer.entrypoints.cli.files import read_file

    text = read_file(path, field="file")
    if path.suffix.casefold() == ".json":
        yield path, 1, text
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield path, number, line


def _open(wired: Container, text: bytes, path: Path, user: User, on: date | None) -> dict[str, str]:
    """Open a portfolio.

    Raises:
        InvalidRequest: it is malformed or makes no sense; names the field.
        Conflict: it is there already.
    """
    from rebalancer.application.portfolios import OpenPortfolio
    from rebalancer.application.ports.clock import Clock
    from rebalancer.domain.errors import Conflict, InvalidRequest
    from rebalancer.entrypoints.schemas.portfolio import decode_portfolio
    from rebalancer.entrypoints.schemas.wire import parse_json

    values = parse_json(text)
    if path.suffix.casefold() == ".json":
        values.setdefault("id", path.stem)
    given, mandate = decode_portfolio(
        values,
        currency=settings().currency,
        build=lambda file: (file.portfolio(), file.mandate()),
    )
    if given.cash_flow:
        raise InvalidRequest(
            "the portfolio plans a cash flow, but a ledger holds past transactions; add it to "
            "cash, or plan it with rebalancer propose ID --cash-flow",
            field="cash_flow",
            code="planned_cash_flow",
        )
    id = _id(given.id, user)
    try:
        wired.get(OpenPortfolio)(
            mandate,
            cash=given.cash,
            holdings=given.holdings,
            on=on,
            id=id,
            owner=user.id,
            now=wired.get(Clock)(),
        )
    except Conflict:
        raise Conflict(f"id: {given.id} is kept already, or was and is closed") from None
    return {"id": str(id), "name": mandate.name}


def _id(text: str, user: User) -> UUID:
    """A UUID as it is; for any other id one that follows from it and its owner."""
    try:
        return UUID(text)
    except ValueError:
        return uuid5(user.id, text)


def _summary(kept: ManagedPortfolio, owner: User, market: PriceHistory) -> dict[str, Any]:
    """A line of the list; one that holds what has no price has no value."""
    from rebalancer.application.portfolios import value_portfolio
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.entrypoints.schemas.wire import format_decimal

    try:
        value = format_decimal(value_portfolio(kept, market).value)
    except InvalidRequest:
        value = None
    return {
        "id": str(kept.id),
        "name": kept.mandate.name,
        "owner": owner.email,
        "currency": kept.mandate.currency.code,
        "value": value,
        "cash": format_decimal(kept.positions.cash),
        "version": kept.version,
    }


def _shown(now: ValuedPortfolio, owner: User, ledger: Sequence[Entry]) -> dict[str, Any]:
    """A portfolio, its worth and the end of its ledger, as JSON values."""
    from rebalancer.entrypoints.schemas.portfolio import portfolio_record
    from rebalancer.entrypoints.schemas.wire import format_decimal

    kept = now.portfolio
    rebalanced = kept.positions.last_rebalance
    return {
        **portfolio_record(kept),
        "owner": owner.email,
        "version": kept.version,
        "as_of": now.as_of.isoformat(),
        "value": format_decimal(now.value),
        "uninvested": format_decimal(kept.positions.uninvested),
        "prices": {symbol: format_decimal(price) for symbol, price in now.prices.items()},
        "last_rebalance": None if rebalanced is None else rebalanced.isoformat(),
        "ledger": [_entry(entry) for entry in ledger],
    }


def _entry(entry: Entry) -> Mapping[str, str | None]:
    from rebalancer.entrypoints.schemas.wire import format_decimal

    return {
        "id": str(entry.id),
        "on": entry.on.isoformat(),
        "recorded": entry.recorded.isoformat(),
        "kind": entry.kind.value,
        "symbol": entry.symbol,
        "quantity": format_decimal(entry.quantity) if entry.quantity else None,
        "price": None if entry.price is None else format_decimal(entry.price),
        "amount": format_decimal(entry.amount),
        "cost": format_decimal(entry.cost),
        "cash": format_decimal(entry.cash),
        "proposal": None if entry.proposal is None else str(entry.proposal),
        "note": entry.note,
    }


def _print(now: ValuedPortfolio, owner: User, ledger: Sequence[Entry]) -> None:
    from rich.text import Text

    from rebalancer.entrypoints.cli.screen import console, wide_table

    screen = console()
    kept = now.portfolio
    mandate, positions = kept.mandate, kept.positions
    total, currency = float(now.value), mandate.currency
    profile = mandate.risk_profile.name if mandate.risk_profile else "no risk profile"
    screen.print(
        Text(mandate.name, style="bold"),
        f" of {owner.email}, version {kept.version}, {profile}\n"
        f"{now.value:,f} {currency} at the closes of {now.as_of}; last rebalance: "
        f"{positions.last_rebalance or 'none'}",
    )
    table = wide_table(
        screen, "Positions", ["symbol"], ["quantity", "price", f"value {currency}", "is", "target"]
    )
    for symbol in sorted({*positions.holdings, *mandate.targets}):
        units = positions.holdings.get(symbol)
        worth = currency.round(units * now.prices[symbol]) if units else None
        table.add_row(
            symbol,
            f"{units:f}" if units else "",
            f"{now.prices[symbol]:f}" if units else "",
            "" if worth is None else f"{worth:,f}",
            f"{float(worth or 0) / total:.1%}" if total else "",
            f"{mandate.targets.get(symbol, 0.0):.1%}",
        )
    table.add_row(
        "cash",
        "",
        "",
        f"{positions.cash:,f}",
        f"{float(positions.cash) / total:.1%}" if total else "",
        f"{max(1 - sum(mandate.targets.values()), 0.0):.1%}",
    )
    screen.print(table)
    if positions.uninvested:
        screen.print(f"Of the cash, {positions.uninvested:,f} wait to be invested.")
    if not ledger:
        return
    table = wide_table(
        screen,
        "Ledger, the latest first",
        ["day", "what", "symbol"],
        ["quantity", "price", "amount", "cost", "cash"],
    )
    for entry in ledger:
        table.add_row(
            str(entry.on),
            entry.kind.value,
            entry.symbol or "",
            f"{entry.quantity:f}" if entry.quantity else "",
            f"{entry.price:f}" if entry.price is not None else "",
            f"{entry.amount:,f}",
            f"{entry.cost:f}" if entry.cost else "",
            f"{entry.cash:+,f}" if entry.cash else "",
        )
    screen.print(table)
