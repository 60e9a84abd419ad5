"""`rebalancer market sync` and `providers`: prices from the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

import attrs
import click

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.entrypoints.cli.options import (
    IsoDate,
    SymbolText,
    container,
    create_embedded_database,
    json_option,
    settings,
    sources,
)
from rebalancer.entrypoints.cli.screen import (
    caution,
    console,
    count_assets,
    print_json,
    stages,
    wide_table,
)

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.synchronize import SyncOutcome

_MOST_FAULTS = 20


@click.command()
@click.option(
    "--symbols",
    type=SymbolText(),
    help="Assets to synchronize, such as VTI,BND,VWCE.DE,BTC-USD; exchange rates, such as EURUSD, "
    "as well.",
)
@click.option("--all", "every", is_flag=True, help="Synchronize every stored asset.")
@click.option("--portfolio", type=click.UUID, metavar="ID", help="The assets of a portfolio.")
@click.option("--since", type=IsoDate(), help="Fetch from this day on, also what is stored.")
@click.option(
    "--currency",
    "currencies",
    multiple=True,
    metavar="CODE",
    help="Base currency of a portfolio, to which exchange rates are fetched; repeat the option for "
    "several. Default: $REBALANCER_CURRENCY, or USD.",
)
@click.option("--provider", help="Ask this provider alone; see `rebalancer market providers`.")
@json_option
def sync(
    symbols: str | None,
    every: bool,
    portfolio: UUID | None,
    since: date | None,
    currencies: tuple[str, ...],
    provider: str | None,
    as_json: bool,
) -> None:
    """Fetch prices, corporate actions and instruments from providers into the store.

    Without options, the stored assets are brought up to date. Assets whose market has had no
    session since the last time are left alone. The exchange rates that the assets' currencies need
    are fetched as well. An interrupted run can be repeated: it goes on where it ended.

    No key is needed: Yahoo Finance has most shares, funds and coins, and the European Central Bank
    has exchange rates. Other providers need keys, see `rebalancer market providers`.

    Exit code 3: some assets could not be synchronized.

    \b
    Examples:
      rebalancer market sync --symbols VTI,BND,VWCE.DE,BTC-USD
      rebalancer market sync
      rebalancer market sync --symbols VTI --since 2015-01-01 --provider tiingo
    """
    from rebalancer.wiring.market import STORE

    with container(attrs.evolve(sources(), prices=STORE), check=False) as wired:
        create_embedded_database(wired)
        wanted, bases = _wanted(wired, symbols, every, portfolio)
        if currencies:
            bases = {Currency(code).code for code in currencies}
        if not wanted:
            raise InvalidRequest(
                "there is nothing to synchronize yet; name assets with --symbols",
                code="nothing_to_synchronize",
            )
        outcomes = _synchronize(wired, wanted, bases, since=since, provider=provider)
    if as_json:
        print_json([attrs.asdict(one) for one in outcomes], default=str)
    else:
        _print_report(outcomes)
    if any(one.fault is not None for one in outcomes):
        click.get_current_context().exit(3)


@click.command()
@json_option
def providers(as_json: bool) -> None:
    """Show the providers of market data: what they offer, their terms, and what is left of quotas.

    \b
    Example:
      REBALANCER_TIINGO_KEY=... rebalancer market providers
    """
    from rebalancer.application.provider_status import DescribeProviders
    from rebalancer.wiring.market import STORE

    with container(attrs.evolve(sources(), prices=STORE), check=False) as wired:
        create_embedded_database(wired)
        described = wired.get(DescribeProviders)()
    if as_json:
        print_json([attrs.asdict(one) for one in described], default=str)
        return
    screen = console()
    table = wide_table(
        screen,
        f"{len(described)} providers, those that are asked first at the top",
        ["name", "state", "offers"],
        ["left today", "last answer", "assets"],
    )
    for one in described:
        state = "ready" if one.ready else f"needs {one.missing}" if one.missing else "not chosen"
        table.add_row(
            one.name,
            state,
            ", ".join(one.offers),
            "-" if one.quota is None else f"{one.quota_left} of {one.quota}",
            "-" if one.last_success is None else f"{one.last_success:%Y-%m-%d %H:%M}",
            str(one.assets),
        )
    screen.print(table)
    for one in described:
        click.echo(f"{one.title}: {one.terms}.")


@click.command()
@click.option("--run", is_flag=True, help="Run what is due now, and show the schedule after it.")
@json_option
def schedule(run: bool, as_json: bool) -> None:
    """Show the tasks that keep market data up to date.

    Servers and workers run them: the bars of a market half an hour after its close, exchange rates
    once a day. A missed run is caught up with a single one. Only assets that were synchronized
    before are fetched.

    \b
    Examples:
      rebalancer market schedule
      rebalancer market schedule --run
    """
    from rebalancer.application.market_schedule import ReadSchedule, RunSchedule
    from rebalancer.wiring.market import STORE

    with container(attrs.evolve(sources(), prices=STORE), check=False) as wired:
        create_embedded_database(wired)
        failed = False
        if run:
            failed = any(task.state == "failed" for task in wired.get(RunSchedule)())
        tasks = wired.get(ReadSchedule)()
    if as_json:
        print_json([attrs.asdict(task) for task in tasks], default=str)
    elif not tasks:
        click.echo("Nothing is scheduled yet; synchronize assets first: rebalancer market sync.")
    else:
        screen = console()
        table = wide_table(
            screen, f"{len(tasks)} tasks, times in UTC", ["task", "state", "last run"], ["due"]
        )
        for task in tasks:
            table.add_row(task.name, task.state, task.detail or "-", f"{task.due:%Y-%m-%d %H:%M}")
        screen.print(table)
    if failed:
        click.get_current_context().exit(3)


def _wanted(
    wired: Container, symbols: str | None, every: bool, portfolio: UUID | None
) -> tuple[list[str], set[str]]:
    """Return the symbols that the options mean, each once, and base currencies."""
    from rebalancer.application.ports.store import UnitOfWork
    from rebalancer.application.stored_market import StoredMarket

    wanted = [one for part in (symbols or "").split(",") if (one := part.strip())]
    bases = {settings().currency}
    if portfolio is not None:
        with wired.get(UnitOfWork).read() as tx:
            (found,) = tx.portfolios.get_many({portfolio}).values() or (None,)
        if found is None:
            raise InvalidRequest(
                f"portfolio {portfolio} does not exist; check the id",
                field="portfolio",
                code="portfolio_not_found",
            )
        wanted += [*found.positions.holdings, *found.mandate.targets]
        bases.add(found.mandate.currency.code)
    if every or not (symbols or portfolio):
        store = wired.get(StoredMarket)
        with wired.get(UnitOfWork).read() as tx:
            wanted += tx.syncs.get()
        wanted += store.symbols()
    return list(dict.fromkeys(wanted)), bases


def fetch(symbols: Sequence[str]) -> bool:
    """Fetch assets into the store, print what was done, and return whether all of it succeeded."""
    from rebalancer.wiring.market import STORE

    with container(attrs.evolve(sources(), prices=STORE), check=False) as wired:
        outcomes = _synchronize(wired, symbols, {settings().currency})
    _print_report(outcomes, err=True)
    return all(one.fault is None for one in outcomes)


def _synchronize(
    wired: Container,
    wanted: Sequence[str],
    bases: set[str],
    *,
    since: date | None = None,
    provider: str | None = None,
) -> Sequence[SyncOutcome]:
    """Synchronize assets and their exchange rates; show the progress."""
    from rebalancer.application.synchronize import SyncMarket

    _print_terms(wired)
    run = wired.get(SyncMarket)
    with stages() as begin:
        advance = begin("synchronizing", "assets")
        done: list[SyncOutcome] = []

        def show(outcome: SyncOutcome) -> None:
            done.append(outcome)
            advance(len(done), max(len(wanted), len(done)))

        advance(0, len(wanted))
        found = run.with_rates(wanted, bases, since=since, provider=provider, progress=show)
    return found.outcomes


def _print_terms(wired: Container) -> None:
    """Print the terms of providers that have never answered."""
    from rebalancer.application.provider_status import DescribeProviders

    for one in wired.get(DescribeProviders)():
        if one.ready and one.last_success is None:
            click.echo(f"{one.title}: {one.terms}.", err=True)


def _print_report(outcomes: Iterable[SyncOutcome], *, err: bool = False) -> None:
    """Print what has changed, to standard error if ``err``, and what has failed."""
    every = list(outcomes)
    asked = [one for one in every if not one.current and one.fault is None]
    current, failed = [one for one in every if one.current], [one for one in every if one.fault]
    by_provider = sorted({one.provider for one in asked if one.provider is not None})
    if asked:
        click.echo(
            f"{count_assets(len(asked))} from {', '.join(by_provider)}: "
            f"{sum(one.days for one in asked)} days and {sum(one.actions for one in asked)} "
            "corporate actions were new or changed.",
            err=err,
        )
    if current:
        click.echo(
            f"{count_assets(len(current))}: no session has ended since the last time.", err=err
        )
    screen = console(stderr=True)
    for one in every:
        if one.disagreements:
            caution(
                screen,
                f"{one.provider} disagrees with the stored figures of {one.symbol}, which stay; "
                "see `rebalancer market issues`.",
            )
    for one in failed[:_MOST_FAULTS]:
        caution(screen, f"{one.symbol} was not synchronized: {one.fault}.")
    if len(failed) > _MOST_FAULTS:
        caution(screen, f"{len(failed) - _MOST_FAULTS} further faults; --json lists all.")
