"""`rebalancer market watch`: quotes as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.number_text import price_text
from rebalancer.domain.text import escape_unsafe
from rebalancer.entrypoints.cli.options import SymbolText, container, settings, sources
from rebalancer.entrypoints.cli.screen import console, wide_table

if TYPE_CHECKING:
    from dishka import Container
    from rich.table import Table

    from rebalancer.application.live_values import WatchedAsset
    from rebalancer.application.ports.quotes import QuoteFeed
    from rebalancer.domain.market.live_quotes import FaultyQuote, LiveQuote, Tick

_MOST_SYMBOLS = 200

_REFRESH = 0.25
"""Seconds between two pictures of the table."""


@click.command()
@click.argument("symbols", type=SymbolText())
@click.option(
    "--source",
    type=click.Choice(["yahoo", "polling"]),
    help="yahoo: the stream of Yahoo; polling: the configured providers, asked again and again. "
    "Default: $REBALANCER_QUOTES, or yahoo.",
    show_default=False,
)
@click.option(
    "--for", "seconds", type=click.FloatRange(min=0, min_open=True), help="Seconds to watch."
)
@click.option("--json", "as_json", is_flag=True, help="Print each quote as a line of JSON.")
def watch(symbols: str, source: str | None, seconds: float | None, as_json: bool) -> None:
    """Show quotes of assets as they come, until Ctrl-C.

    In a terminal a table shows the last quote of each asset, with its age and its change since the
    last known close. Elsewhere each quote is a line. A quote is the last trade, which some
    exchanges publish with a delay of 15 minutes or more; it is never stored and never a close.

    Exit code 3: an asset had no quote.

    \b
    Examples:
      rebalancer market watch AAPL,BTC-USD
      rebalancer market watch VTI,EURUSD --for 60 --json
    """
    wanted = list(dict.fromkeys(one.strip() for one in symbols.split(",") if one.strip()))
    if not 1 <= len(wanted) <= _MOST_SYMBOLS:
        raise InvalidRequest(
            f"{len(wanted)} symbols are given; enter 1 to {_MOST_SYMBOLS}",
            field="symbols",
            code="symbols_out_of_range",
        )
    with container(sources(), check=False) as wired:
        view = _view(wired, wanted, as_json=as_json)
        chosen = source or ("polling" if settings().quotes == "polling" else "yahoo")
        with suppress(KeyboardInterrupt):  # the usual end
            asyncio.run(_watch(_feed(wired, chosen), view, seconds))
    missing = [symbol for symbol in wanted if symbol not in view.latest]
    if missing:
        click.echo(escape_unsafe(f"No quote of {', '.join(missing)} came."), err=True)
        click.get_current_context().exit(3)


def _feed(wired: Container, name: str) -> Callable[[], QuoteFeed]:
    from rebalancer.application.ports.clock import Clock
    from rebalancer.application.provider_chain import ProviderChain
    from rebalancer.wiring.quotes import create_feed

    chain, clock = wired.get(ProviderChain), wired.get(Clock)
    return lambda: create_feed(name, chain, clock, settings())


async def _watch(create: Callable[[], QuoteFeed], view: _View, seconds: float | None) -> None:
    """Show what a feed delivers until a time has passed, or it fails."""
    feed = create()
    feed.want(view.symbols)
    with view.shown():
        running = asyncio.create_task(feed.run(view.receive))
        drawing = asyncio.create_task(view.keep_drawing())
        try:
            done, _ = await asyncio.wait((running, drawing), timeout=seconds)
            for task in done:
                task.result()
        finally:
            for task in (running, drawing):
                task.cancel()
            await asyncio.gather(running, drawing, return_exceptions=True)


@attrs.define
class _View:
    """Quotes of a command, and how they are printed.

    Attributes:
        symbols: Assets, in the order of the table.
        units: Units of prices that reports do not state.
        assets: What is known of them, by symbol.
        latest: Last quote by symbol.
    """

    symbols: Sequence[str]
    units: Mapping[str, str]
    assets: Mapping[str, WatchedAsset]
    as_json: bool
    latest: dict[str, LiveQuote] = attrs.field(factory=dict)
    faults: set[str] = attrs.field(factory=set)
    screen: Any = attrs.field(factory=console)
    _live: Any = None

    def receive(self, tick: Tick) -> None:
        """Take a reported trade."""
        from rebalancer.domain.market.live_quotes import LiveQuote, read_tick

        read = read_tick(tick, unit=self.units[tick.symbol], received=datetime.now(UTC))
        if not isinstance(read, LiveQuote):
            self._tell(read)
            return
        if not read.replaces(self.latest.get(read.symbol)):
            return
        self.latest[read.symbol] = read
        if self.as_json:
            self._print_json(read)
        elif self._live is None:
            self._print_line(read)

    def shown(self) -> AbstractContextManager[object]:
        """Show the table while a block runs, in a terminal."""
        if self.as_json or not self.screen.is_terminal:
            return nullcontext()
        from rich.live import Live

        self._live = Live(self._table(), console=self.screen, auto_refresh=False)
        live: AbstractContextManager[object] = self._live
        return live

    async def keep_drawing(self) -> None:
        """Draw the table again and again: ages grow without news."""
        while True:
            await asyncio.sleep(_REFRESH)
            if self._live is not None:
                self._live.update(self._table(), refresh=True)

    def change(self, quote: LiveQuote) -> float | None:
        """Return the change since the last known close, as a fraction."""
        asset = self.assets.get(quote.symbol)
        if asset is None or asset.close is None or asset.close.currency != quote.currency:
            return None
        return quote.price / asset.close.price - 1

    def _tell(self, fault: FaultyQuote) -> None:
        """Print why a report is not shown, once for each asset and fault."""
        if fault.text not in self.faults:
            self.faults.add(fault.text)
            click.echo(escape_unsafe(f"Left out: {fault.text}."), err=True)

    def _print_json(self, quote: LiveQuote) -> None:
        import msgspec

        from rebalancer.entrypoints.schemas.streams import quote_view

        shown = quote_view(quote, self.assets.get(quote.symbol), datetime.now(UTC))
        click.echo(json.dumps(msgspec.to_builtins(shown)))

    def _print_line(self, quote: LiveQuote) -> None:
        parts = [
            f"{quote.traded:%Y-%m-%d %H:%M:%S} UTC",
            quote.symbol,
            f"{price_text(quote.price)} {quote.currency}",
            _percent(self.change(quote)),
        ]
        click.echo(escape_unsafe("  ".join(part for part in parts if part)))

    def _table(self) -> Table:
        now = datetime.now(UTC)
        table = wide_table(
            self.screen,
            f"{len(self.latest)} of {len(self.symbols)} assets have a quote; Ctrl-C ends",
            ["symbol"],
            ["price", "currency", "bid", "ask", "change", "age", "source"],
        )
        for symbol in self.symbols:
            quote = self.latest.get(symbol)
            if quote is None:
                table.add_row(symbol, "-", "-", "-", "-", "-", "-", "-")
                continue
            table.add_row(
                symbol,
                price_text(quote.price),
                quote.currency,
                "-" if quote.bid is None else price_text(quote.bid),
                "-" if quote.ask is None else price_text(quote.ask),
                _percent(self.change(quote)) or "-",
                age_text(quote.age(now).total_seconds()),
                quote.source,
            )
        return table


def age_text(seconds: float) -> str:
    """Write an age in its largest unit: "3 s", "15 min", "2 h", "4 d"."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:+.2%}"


def _view(wired: Container, symbols: Sequence[str], *, as_json: bool) -> _View:
    """Create the view of some assets, with what is known of them."""
    from rebalancer.application.live_values import DescribeWatched
    from rebalancer.domain.errors import Unavailable
    from rebalancer.domain.market.currencies import is_rate_symbol

    describe = wired.get(DescribeWatched)
    assets: dict[str, WatchedAsset] = {}
    with suppress(InvalidRequest, Unavailable):  # quotes need no closes
        known = set(describe.prices.symbols())
        assets = describe([symbol for symbol in symbols if symbol in known])
    listed = describe.instruments.instruments()
    usual = settings().currency
    units = {
        symbol: symbol[3:] if is_rate_symbol(symbol) else listed[symbol].currency or usual
        for symbol in symbols
    }
    return _View(symbols, units, assets, as_json)
