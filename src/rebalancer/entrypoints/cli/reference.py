"""`rebalancer market fundamentals` and `series`."""

from __future__ import annotations

from datetime import date

import attrs
import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    SymbolText,
    container,
    create_embedded_database,
    json_option,
    sources,
)
from rebalancer.entrypoints.cli.screen import caution, console, print_json, wide_table

_SHOWN = 24
"""Last figures of a series that are printed."""

_LARGE = 1e6
"""Figures from here on, such as market values, are shown without decimals."""


@click.command()
@click.argument("symbol", type=SymbolText())
@json_option
def fundamentals(symbol: str, as_json: bool) -> None:
    """Show fundamentals of a company or fund; they are fetched when older than a week.

    \b
    Examples:
      rebalancer market fundamentals AAPL
      rebalancer market fundamentals AAPL --json
    """
    from rebalancer.application.reference_data import ReadFacts

    with container(sources(), check=False) as wired:
        create_embedded_database(wired)
        stored, note = wired.get(ReadFacts)(symbol)
    facts = stored.facts
    if as_json:
        document = {"provider": stored.provider, "fetched": stored.fetched, "note": note}
        print_json(attrs.asdict(facts) | document, default=str)
        return
    screen = console()
    title = f"{facts.symbol}, from {stored.provider} on {stored.fetched:%Y-%m-%d %H:%M} UTC"
    table = wide_table(screen, title, ["fact"], ["value"])
    for name, text in facts.texts.items():
        table.add_row(name.replace("_", " "), text)
    for name, value in facts.figures.items():
        shown = f"{value:,.6g}" if abs(value) < _LARGE else f"{value:,.0f}"
        table.add_row(name.replace("_", " "), shown)
    screen.print(table)
    if note:
        caution(console(stderr=True), f"these figures are old: {note}.")


@click.command()
@click.argument("id", type=SymbolText())
@click.option("--since", type=IsoDate(), help="First day of the figures.")
@click.option(
    "--known-by",
    type=IsoDate(),
    help="Show the figures as they were published by this day, before later revisions.",
)
@json_option
def series(id: str, since: date | None, known_by: date | None, as_json: bool) -> None:
    """Show an economic series; it is fetched when older than a day.

    FRED has vintages: what was published of a period, and when. It needs a free key,
    $REBALANCER_FRED_KEY. See `rebalancer market providers`.

    \b
    Examples:
      rebalancer market series DGS10 --since 2024-01-01
      rebalancer market series GDP --known-by 2020-06-30 --json
    """
    from rebalancer.application.reference_data import ReadSeries

    with container(sources(), check=False) as wired:
        create_embedded_database(wired)
        stored, note = wired.get(ReadSeries)(id)
    found = stored.series.published(known_by=known_by, since=since)
    if as_json:
        document = {
            "id": stored.series.id,
            "title": stored.series.title,
            "unit": stored.series.unit,
            "observations": [
                {"date": one.day, "value": one.value, "known": one.known} for one in found
            ],
            "provider": stored.provider,
            "fetched": stored.fetched,
            "note": note,
        }
        print_json(document, default=str)
        return
    screen = console()
    title = f"{stored.series.title}, {stored.series.unit}: {len(found)} figures"
    table = wide_table(screen, title, [], ["day", "value", "published"])
    for one in found[-_SHOWN:]:
        published = "-" if one.known is None else str(one.known)
        table.add_row(str(one.day), f"{one.value:,.10g}", published)
    screen.print(table)
    if len(found) > _SHOWN:
        click.echo(f"The last {_SHOWN} are shown; --json has all.")
    if note:
        caution(console(stderr=True), f"these figures are old: {note}.")
