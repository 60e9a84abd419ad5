"""`rebalancer market search`: find assets by symbol, name, ISIN or FIGI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.money import Currency
from rebalancer.domain.number_text import price_text
from rebalancer.entrypoints.cli.options import (
    container,
    create_embedded_database,
    json_option,
    market_options,
)
from rebalancer.entrypoints.cli.screen import (
    caution,
    console,
    count_assets,
    print_json,
    wide_table,
)

if TYPE_CHECKING:
    from rebalancer.application.asset_search import Search
    from rebalancer.wiring.market import Sources

_MOST = 50


@click.command()
@click.argument("text")
@click.option(
    "--everywhere",
    is_flag=True,
    help="Search the providers as well, by ISIN and FIGI, too; see `rebalancer market providers`.",
)
@click.option(
    "--asset-class", type=click.Choice([each.value for each in AssetClass]), help="Only this class."
)
@click.option("--currency", metavar="CODE", help="Only prices in this currency, such as EUR.")
@market_options
@json_option
def search(
    text: str,
    everywhere: bool,
    asset_class: str | None,
    currency: str | None,
    where: Sources,
    as_json: bool,
) -> None:
    """Find assets whose symbol begins with TEXT, or whose name contains it.

    Assets of providers that have no stored prices yet are listed last; `rebalancer market sync`
    fetches them.

    \b
    Examples:
      rebalancer market search gold
      rebalancer market search IE00BK5BQT80 --everywhere
    """
    from rebalancer.application.asset_search import Search, SearchAssets, SearchEverywhere

    kind = None if asset_class is None else AssetClass(asset_class)
    code = None if currency is None else Currency(currency).code
    with container(where) as wired:
        if everywhere:
            create_embedded_database(wired)  # quotas are counted there
            result = wired.get(SearchEverywhere)(text, asset_class=kind, currency=code, limit=_MOST)
        else:
            known = wired.get(SearchAssets)(text, asset_class=kind, currency=code, limit=_MOST)
            result = Search(tuple(known))
    if as_json:
        print_json(
            {"assets": [attrs.asdict(one) for one in result.assets], "notes": result.notes},
            default=str,
        )
    else:
        _print(result)


def _print(result: Search) -> None:
    """Print a table of assets, and the command that fetches the new ones."""
    screen = console()
    if result.assets:
        table = wide_table(
            screen,
            count_assets(len(result.assets)),
            ["symbol", "name", "class", "market", "source"],
            ["price", "currency", "day"],
        )
        for one in result.assets:
            table.add_row(
                one.symbol,
                one.name,
                one.asset_class or "-",
                one.market or one.exchange or "-",
                "known" if one.provider is None else one.provider,
                "-" if one.price is None else price_text(one.price),
                one.currency or "-",
                "-" if one.as_of is None else str(one.as_of),
            )
        screen.print(table)
    else:
        click.echo("No assets found.")
    new = [one.symbol for one in result.assets if not one.known]
    if new:
        click.echo(f"Fetch prices of a new one: rebalancer market sync --symbols {new[0]}")
    errors = console(stderr=True)
    for note in result.notes:
        caution(errors, f"{note}.")
