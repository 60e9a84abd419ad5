"""`rebalancer market`: import and inspect prices and instruments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.number_text import price_text
from rebalancer.entrypoints.cli.asset_search import search
from rebalancer.entrypoints.cli.indicators import show_indicators
from rebalancer.entrypoints.cli.market_issues import issues
from rebalancer.entrypoints.cli.market_sync import providers, schedule, sync
from rebalancer.entrypoints.cli.market_watch import watch
from rebalancer.entrypoints.cli.options import (
    FILE,
    PRICES_HELP,
    IsoDate,
    SymbolText,
    container,
    json_option,
    layout_option,
    market_options,
    report_reading,
    settings,
    sources,
)
from rebalancer.entrypoints.cli.reference import fundamentals, series
from rebalancer.entrypoints.cli.screen import (
    caution,
    changed_text,
    console,
    count_assets,
    count_things,
    meter,
    print_json,
    wide_table,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rebalancer.application.market_data import AssetSummary
    from rebalancer.application.market_import import ImportResult
    from rebalancer.wiring.market import Sources

_MOST_CAUTIONS = 20
"""Cautions about prices that are printed."""

_BARS = "▁▂▃▄▅▆▇█"


@click.group()
def market() -> None:
    """Import, synchronize and inspect prices and instruments."""


market.add_command(sync)
market.add_command(providers)
market.add_command(schedule)
market.add_command(issues)
market.add_command(watch)
market.add_command(search)
market.add_command(series)
market.add_command(fundamentals)


@market.command("import")
@click.option(
    "--bars",
    type=FILE,
    metavar="FILE.csv",
    help="CSV or Parquet with the columns date, symbol, open, high, low, close and volume, a row "
    "for each asset and day, or a file of Stooq: prices as traded, not adjusted. Exchange rates "
    "are symbols such as EURUSD, US dollars per euro.",
)
@click.option(
    "--actions",
    type=FILE,
    metavar="FILE.csv",
    help="CSV with the columns symbol, ex_date, kind, value and currency: splits, dividends and "
    "other corporate actions.",
)
@click.option(
    "--prices",
    type=FILE,
    metavar="FILE.csv",
    help=f"{PRICES_HELP}; or `sample`, the packaged prices.",
)
@click.option(
    "--assets",
    type=FILE,
    metavar="FILE.csv",
    help="CSV with the columns symbol, name, asset_class, currency, market, daily_volume, "
    "quantity_step and lot_size; all but the first are optional. Default: for new symbols, "
    "the entries of $REBALANCER_ASSETS or of the packaged list.",
)
@layout_option
@json_option
def import_(
    bars: Path | None,
    actions: Path | None,
    prices: Path | None,
    assets: Path | None,
    layout: str | None,
    as_json: bool,
) -> None:
    """Import prices, corporate actions and instruments into the store.

    The store is MongoDB if $REBALANCER_MONGO_URL is set, else the database. Days, actions and
    instruments in the files replace those in the store, others stay; repeating an import changes
    nothing. The files may come in one call or in several, in any order. Running servers use the new
    prices without a restart.

    Prices as traded (--bars) with their corporate actions are adjusted on reading, and replace
    adjusted closes (--prices) of the same asset.

    With MongoDB, commands and servers use the imported prices by default. With the database they
    use them with `--prices store` or REBALANCER_PRICES=store.

    Assets that have ended, have too long a gap or fail a check are named, and do not change the
    exit code; see `rebalancer market issues`.

    \b
    Examples:
      rebalancer market import --bars bars.csv --actions actions.csv --assets assets.csv
      rebalancer market import --prices etfs.csv.gz --assets etfs-list.csv
      rebalancer market import --prices sample && rebalancer market list --prices store
    """
    from rebalancer.application.history_provider import HistoryProvider
    from rebalancer.application.market_import import ImportMarket
    from rebalancer.application.ports.market import InstrumentSource
    from rebalancer.domain.market.actions import NO_ACTIONS
    from rebalancer.domain.market.instruments import Instruments
    from rebalancer.wiring.market import SAMPLE, read_actions, read_bars

    if not (bars or actions or prices or assets):
        raise InvalidRequest(
            "there is nothing to import; give --bars, --actions, --assets or --prices",
            code="nothing_to_import",
        )
    where = sources(prices, assets, layout=layout)
    if prices is None:
        where = attrs.evolve(where, prices=SAMPLE)
    elif where.stored:
        raise InvalidRequest(
            "the store cannot be imported into itself; give a file",
            field="prices",
            code="import_from_store",
        )
    found, notes = (NO_ACTIONS, ()) if actions is None else read_actions(actions)
    rows = None if bars is None else read_bars(bars)
    files = {"prices": prices, "bars": bars, "actions": actions, "assets": assets}
    with container(where) as wired:
        listed = wired.get(InstrumentSource).instruments()
        # As the source has them: with exchange rates, and pence in pence.
        history = None if prices is None else wired.get(HistoryProvider).closes()
        if prices is not None:
            report_reading(wired)
        series = (0 if history is None else len(history.symbols)) + len(
            rows.symbols if rows else ()
        )
        with meter("importing", series) as advance:
            imported = wired.get(ImportMarket)(
                history,
                None if assets is None else listed,
                usual=listed if assets is None else Instruments(),
                bars=rows,
                actions=found,
                sources={
                    part: path.name
                    for part, path in files.items()
                    if path is not None and part != "assets"
                },
                progress=advance,
            )
    imported = attrs.evolve(imported, notes=(*notes, *imported.notes))
    if as_json:
        print_json(attrs.asdict(imported), ensure_ascii=True, default=str)
        return
    _print_import(imported, given={part for part, path in files.items() if path is not None})
    if prices is not None:
        for each in where.cautions:
            caution(console(stderr=True), each.text)


def _print_import(imported: ImportResult, *, given: Collection[str]) -> None:
    """Print what was imported; ``given`` names the kinds of files."""
    if imported.first is not None:
        rates = f" and {count_things(imported.rates, 'exchange rate')}" if imported.rates else ""
        click.echo(
            f"{count_assets(imported.assets)}{rates} from {imported.first} to {imported.last}: "
            f"{changed_text(imported.days, 'day')}."
        )
    elif {"prices", "bars"} & set(given):
        click.echo("No prices were imported: no row has a close above 0.")
    if "actions" in given:
        click.echo(f"{changed_text(imported.actions, 'corporate action')}.")
    if "assets" in given or imported.instruments:
        click.echo(f"{changed_text(imported.instruments, 'instrument')}.")
    for one in imported.inferred:
        click.echo(f"{one['text']}.")
    for note in imported.notes:
        click.echo(note)
    doubted = {
        one["symbol"]: one["rule"] for one in imported.findings if one["severity"] == "error"
    }
    texts = [
        f"{symbol} is not tradable: {why}. {_remedy(symbol, doubted.get(symbol))}"
        for symbol, why in imported.withheld.items()
        if symbol not in imported.ended
    ]
    texts += [
        f"{one['text']}." for one in imported.findings if one["symbol"] not in imported.withheld
    ]
    _caution_some(console(stderr=True), texts)


def _remedy(symbol: str, rule: str | None) -> str:
    """State what to do about an asset that is not tradable, by the error of its last close."""
    import_prices = "Import the missing or corrected prices"
    if rule is None:
        return f"{import_prices}."
    accept = f"accept them with `rebalancer market issues accept {symbol}`"
    if rule != "split_not_in_prices":
        return f"{import_prices}, or {accept}."
    return (
        f"Import corrected prices, or leave the split out with `rebalancer market issues reject "
        f"{symbol}`."
    )


@market.command("list")
@market_options
@json_option
def list_(where: Sources, as_json: bool) -> None:
    """List the available assets.

    \b
    Examples:
      rebalancer market list
      rebalancer market list --prices etfs.csv.gz --json
      rebalancer market list --prices store
    """
    from rebalancer.application.market_data import DescribeMarket
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.domain.rebalancing.rate_notes import old_rates

    with container(where) as wired:
        described = wired.get(DescribeMarket)()
        base = wired.get(PriceSource).closes().in_currency(settings().currency)
        report_reading(wired, plain=not as_json)
    if as_json:
        print_json([attrs.asdict(one) for one in described], ensure_ascii=True, default=str)
        return
    screen = console()
    table = wide_table(
        screen,
        count_assets(len(described)),
        ["symbol", "name", "class"],
        ["first close", "last close", "closes", "price", "currency", "last year", "volatility"],
    )
    for one in described:
        table.add_row(
            one.symbol,
            one.name,
            one.asset_class or "unknown (treated as equity)",
            str(one.first or "-"),
            str(one.last or "-"),
            str(one.closes),
            "-" if one.price is None else price_text(one.price),
            one.currency or "-",
            _format_percent(one.return_last_year),
            _format_percent(one.volatility),
        )
    screen.print(table)
    currencies = sorted({one.currency for one in described if one.currency is not None})
    for text in old_rates(currencies, base):
        caution(screen, text)
    _caution_some(screen, [text for one in described for text in _doubts(one)])
    for each in where.cautions:
        caution(screen, each.text)


@market.command()
@click.argument("symbol", type=SymbolText())
@click.option(
    "--indicators",
    metavar="NAMES",
    help="Indicators of its daily closes, with their parameters, such as rsi:14,macd: sma, ema, "
    "macd, rsi, bollinger, atr, adx, stochastic, obv, ewma_volatility, beta, correlation, var and "
    "drawdown.",
)
@click.option(
    "--plot", type=FILE, metavar="FILE.html", help="Write a page with plots of the indicators."
)
@market_options
@json_option
def show(
    symbol: str, indicators: str | None, plot: Path | None, where: Sources, as_json: bool
) -> None:
    """Show the history of one asset by year, and its indicators.

    \b
    Examples:
      rebalancer market show AAPL
      rebalancer market show AAPL --indicators rsi:14,macd --plot aapl.html
    """
    from rich.table import Table
    from rich.text import Text

    from rebalancer.application.market_data import DescribeAsset

    if indicators is not None:
        show_indicators(symbol, indicators, plot, where, as_json)
        return
    if plot is not None:
        raise InvalidRequest(
            "--plot draws indicators; name some with --indicators",
            field="plot",
            code="missing_indicators",
        )
    with container(where) as wired:
        asset = wired.get(DescribeAsset)(symbol)
        report_reading(wired)
    if as_json:
        print_json(attrs.asdict(asset), ensure_ascii=True, default=str)
        return
    screen = console()
    about = asset.summary
    last = (
        ""
        if about.price is None
        else f", {about.first} to {about.last}, last {price_text(about.price)}"
        f"{'' if about.currency is None else f' {about.currency}'}"
    )
    screen.print(
        Text(about.symbol, style="bold"),
        f" {about.name or 'name unknown'}, "
        f"{about.asset_class or 'class unknown (treated as equity)'}\n"
        f"{about.closes} closes{last}; "
        f"{about.periods_per_year:.6g} count as a year ({about.frequency}); "
        f"sessions {f'of {about.sessions}' if about.sessions else 'inferred from its days'}",
    )
    if not asset.years:
        return
    screen.print(
        f"{_sparkline([year.last for year in asset.years])}  closes at the end of each year"
    )
    table = Table()
    table.add_column("year")
    for heading in ("close", "return", "volatility", "max drawdown"):
        table.add_column(heading, justify="right")
    for year in asset.years:
        table.add_row(
            str(year.year),
            price_text(year.last),
            _format_percent(year.total_return),
            _format_percent(year.volatility),
            _format_percent(year.max_drawdown),
        )
    screen.print(table)
    _caution_some(screen, _doubts(about))


@market.command()
@click.option(
    "--symbols",
    type=SymbolText(),
    help="Use an equal mix of these symbols, such as A,B. Default: all.",
)
@click.option("--as-of", type=IsoDate(), help="Day to classify. Default: that of the last close.")
@market_options
@json_option
def regime(symbols: str | None, as_of: date | None, where: Sources, as_json: bool) -> None:
    """Classify the market as calm or stressed.

    The probabilities come from a hidden Markov model that was fitted on data up to 2015. It uses no
    data after the given day, and compares the market with its own last year only.

    \b
    Examples:
      rebalancer market regime
      rebalancer market regime --symbols KO,PG --as-of 2020-03-20
    """
    from rich.table import Table

    from rebalancer.application.market_data import DescribeRegime

    wanted = None if symbols is None else [one.strip() for one in symbols.split(",") if one.strip()]
    with container(where) as wired:
        found = wired.get(DescribeRegime)(wanted, as_of=as_of)
        report_reading(wired)
    if as_json:
        document = attrs.asdict(found) | {"sentence": found.sentence}
        print_json(document, ensure_ascii=True, default=str)
        return
    screen = console()
    table = Table()
    table.add_column("regime")
    table.add_column("probability", justify="right")
    table.add_column("")
    for name, probability in found.probabilities.items():
        table.add_row(name, _format_percent(probability), "█" * round(20 * probability))
    screen.print(table)
    names = list(found.probabilities)
    months = list(found.months)
    line = _sparkline([float(names.index(one)) for one in found.months.values()], len(names) - 1.0)
    screen.print(f"{line}  at the end of each month, {months[0]} to {months[-1]}")
    screen.print(found.sentence)
    for each in where.cautions:
        caution(screen, each.text)


def _doubts(asset: AssetSummary) -> list[str]:
    """Return cautions about the prices of an asset."""
    found = [f"{one['text']}." for one in asset.findings]
    if asset.withheld is None or any(
        text.startswith(f"{asset.symbol} {asset.withheld}") for text in found
    ):
        return found
    return [f"{asset.symbol} is not tradable: {asset.withheld}.", *found]


def _caution_some(screen: Console, texts: Sequence[str]) -> None:
    """Print the first cautions, and how many more there are."""
    for text in texts[:_MOST_CAUTIONS]:
        caution(screen, text)
    if len(texts) > _MOST_CAUTIONS:
        caution(screen, f"{len(texts) - _MOST_CAUTIONS} further cautions; --json lists all.")


def _format_percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _sparkline(values: list[float], top: float | None = None) -> str:
    """Draw one bar per value, scaled from the smallest to the largest, or from 0 to ``top``."""
    low, high = (min(values), max(values)) if top is None else (0.0, top)
    spread = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / spread * (len(_BARS) - 1))] for value in values)
