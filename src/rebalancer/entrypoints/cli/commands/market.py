"""`rebalancer market`: what is known of prices and instruments."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    json_option,
    market_options,
    sources,
    store,
)

_BARS = "▁▂▃▄▅▆▇█"


@click.group()
def market() -> None:
    """Look at prices and instruments, and keep them."""


@market.command("import")
@click.option(
    "--prices",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="CSV (or .csv.gz): a date column and one column of adjusted closes a symbol. Or "
    "`sample`: the packaged sample.",
)
@click.option(
    "--assets",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="CSV of symbol,name,asset_class,daily_volume. Default: what $REBALANCER_ASSETS, or the "
    "packaged list, says of those assets of the price file that nothing is known of yet.",
)
@json_option
def import_(prices: Path | None, assets: Path | None, as_json: bool) -> None:
    """Keep prices and instruments in the store, for all who share it.

    The store is MongoDB where $REBALANCER_MONGO_URL names one, else the database. Days and
    instruments that are known already are replaced, others stay; the same import again changes
    nothing. Servers that run take it up by themselves.

    With MongoDB, commands and servers use what is kept unless a file is named; what is kept in the
    database they use with `--prices store`, or REBALANCER_PRICES=store.

    \b
    Examples:
      rebalancer market import --prices etfs.csv.gz --assets etfs-list.csv
      rebalancer market import --prices sample && rebalancer market list --prices store
    """
    import json

    import attrs

    from rebalancer.application.market_data import ImportMarket
    from rebalancer.application.ports.market import InstrumentSource, PriceSource
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.domain.market.instruments import Instruments
    from rebalancer.entrypoints.cli.screen import caution, console, meter
    from rebalancer.wiring.market import SAMPLE, STORE, Sources

    if prices is None and assets is None:
        raise InvalidRequest("name a file with --prices, or with --assets, or both")
    if prices is not None and str(prices) == STORE:
        raise InvalidRequest("is where they are kept; name a file", field="prices")
    named = sources(prices, assets)
    where = Sources(named.prices if prices is not None else SAMPLE, named.assets)
    with store(where) as wired:
        listed = wired.get(InstrumentSource).instruments()
        history = None if prices is None else wired.get(PriceSource).closes()
        with meter("importing", 0 if history is None else len(history.symbols)) as advance:
            imported = wired.get(ImportMarket)(
                history,
                None if assets is None else listed,
                usual=listed if assets is None else Instruments(),
                progress=advance,
            )
    if as_json:
        click.echo(json.dumps(attrs.asdict(imported), indent=2))
        return
    if history is not None:
        click.echo(
            f"{imported.assets} assets from {history.dates[0]} to {history.last_date}: "
            f"{imported.days} days were new or different."
        )
    click.echo(f"{imported.instruments} instruments were new or different.")
    screen = console(stderr=True)
    for symbol, why in imported.withheld.items():
        caution(screen, f"{symbol} is not on offer: {why}. Import the missing prices.")
    if prices is not None:
        for each in where.cautions:
            caution(screen, each.text)


@market.command("list")
@market_options
@json_option
def list_(prices: Path | None, assets: Path | None, as_json: bool) -> None:
    """List the assets on offer.

    \b
    Examples:
      rebalancer market list
      rebalancer market list --prices etfs.csv.gz --json
      rebalancer market list --prices store
    """
    import json

    from rebalancer.application.market_data import DescribeMarket
    from rebalancer.entrypoints.cli.screen import caution, console, wide_table

    where = sources(prices, assets)
    with store(where) as wired:
        described = wired.get(DescribeMarket)()
    if as_json:
        import attrs

        click.echo(json.dumps([attrs.asdict(one) for one in described], indent=2, default=str))
        return
    screen = console()
    table = wide_table(
        screen,
        f"{len(described)} assets",
        ["symbol", "name", "class"],
        ["first close", "last close", "closes", "price", "last year", "volatility"],
    )
    for one in described:
        table.add_row(
            one.symbol,
            one.name,
            one.asset_class or "unknown (as equity)",
            str(one.first),
            str(one.last),
            str(one.closes),
            f"{one.price:,.2f}",
            _percent(one.return_last_year),
            _percent(one.volatility),
        )
    screen.print(table)
    for each in where.cautions:
        caution(screen, each.text)


@market.command()
@click.argument("symbol")
@market_options
@json_option
def show(symbol: str, prices: Path | None, assets: Path | None, as_json: bool) -> None:
    """Show one asset, year by year.

    \b
    Example:
      rebalancer market show AAPL
    """
    import json

    import attrs
    from rich.table import Table
    from rich.text import Text

    from rebalancer.application.market_data import DescribeAsset
    from rebalancer.entrypoints.cli.screen import console

    with store(sources(prices, assets)) as wired:
        asset = wired.get(DescribeAsset)(symbol)
    if as_json:
        click.echo(json.dumps(attrs.asdict(asset), indent=2, default=str))
        return
    screen = console()
    about = asset.summary
    screen.print(
        Text(about.symbol, style="bold"),
        f" {about.name or 'no name known'}, "
        f"{about.asset_class or 'class unknown (counts as equity)'}\n"
        f"{about.closes} closes, {about.first} to {about.last}, last {about.price:,.2f}",
    )
    screen.print(f"{_line([year.last for year in asset.years])}  closes at the end of each year")
    table = Table()
    table.add_column("year")
    for heading in ("close", "return", "volatility", "max drawdown"):
        table.add_column(heading, justify="right")
    for year in asset.years:
        table.add_row(
            str(year.year),
            f"{year.last:,.2f}",
            _percent(year.total_return),
            _percent(year.volatility),
            _percent(year.max_drawdown),
        )
    screen.print(table)


@market.command()
@click.option("--symbols", help="Look at an equal mix of these, such as A,B. Default: of all.")
@click.option("--as-of", type=IsoDate(), help="Day to look at. Default: the last close.")
@market_options
@json_option
def regime(
    symbols: str | None,
    as_of: date | None,
    prices: Path | None,
    assets: Path | None,
    as_json: bool,
) -> None:
    """Tell whether the market is calm or stressed.

    Probabilities of a hidden Markov model, fitted on data up to 2015. Nothing later than the day
    looked at is used, and a market is compared with its own last year alone.

    \b
    Examples:
      rebalancer market regime
      rebalancer market regime --symbols KO,PG --as-of 2020-03-20
    """
    import json

    import attrs
    from rich.table import Table

    from rebalancer.application.market_data import DescribeRegime
    from rebalancer.entrypoints.cli.screen import caution, console

    where = sources(prices, assets)
    wanted = None if symbols is None else [one.strip() for one in symbols.split(",") if one.strip()]
    with store(where) as wired:
        told = wired.get(DescribeRegime)(wanted, as_of=as_of)
    if as_json:
        shown = attrs.asdict(told) | {"sentence": told.sentence}
        click.echo(json.dumps(shown, indent=2, default=str))
        return
    screen = console()
    table = Table()
    table.add_column("regime")
    table.add_column("probability", justify="right")
    table.add_column("")
    for name, probability in told.probabilities.items():
        table.add_row(name, _percent(probability), "█" * round(20 * probability))
    screen.print(table)
    names = list(told.probabilities)
    months = list(told.months)
    line = _line([float(names.index(one)) for one in told.months.values()], len(names) - 1.0)
    screen.print(f"{line}  at the end of each month, {months[0]} to {months[-1]}")
    screen.print(told.sentence)
    for each in where.cautions:
        caution(screen, each.text)


def _percent(value: float | None) -> Any:
    return "-" if value is None else f"{value:.1%}"


def _line(values: list[float], top: float | None = None) -> str:
    """A bar a value, from the least to the greatest of them, or from 0 to ``top``."""
    low, high = (min(values), max(values)) if top is None else (0.0, top)
    spread = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / spread * (len(_BARS) - 1))] for value in values)
