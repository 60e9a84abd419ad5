"""Indicators of an asset: small plots in the terminal, JSON, or a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.entrypoints.cli.files import check_output, write_text
from rebalancer.entrypoints.cli.options import container
from rebalancer.entrypoints.cli.screen import console, print_json, wide_table

if TYPE_CHECKING:
    from rebalancer.wiring.market import Sources

_BARS = "▁▂▃▄▅▆▇█"
_DRAWN = 40
"""Days in a small plot."""


def show_indicators(
    symbol: str, indicators: str, plot: Path | None, where: Sources, as_json: bool
) -> None:
    """Print indicators of an asset, and write their page.

    Raises:
        InvalidRequest: an indicator cannot be computed, or the page cannot be written.
    """
    from rebalancer.application.indicators import IndicatorPlot, ReadIndicators
    from rebalancer.application.market_data import ReadCloses
    from rebalancer.application.ports.reports import Renderer
    from rebalancer.domain.market.technical import parse_indicators

    wanted = parse_indicators(indicators)
    if plot is not None:
        check_output(plot, where.files, field="plot")
    with container(where) as wired:
        closes = wired.get(ReadCloses)(symbol)
        found = wired.get(ReadIndicators)(symbol, wanted)
        if plot is not None:
            values = [close for _, close in closes.closes]
            page = IndicatorPlot(symbol, closes.currency, values, found)
            write_text(plot, wired.get(Renderer[IndicatorPlot]).render(page), field="plot")
    if as_json:
        print_json({"symbol": symbol, "days": found.days, "indicators": found.columns}, default=str)
        return
    screen = console()
    table = wide_table(
        screen,
        f"{symbol}, closes up to {found.days[-1]}",
        ["indicator", f"last {min(_DRAWN, len(found.days))} days"],
        ["lowest", "highest", "last"],
    )
    for name, column in found.columns.items():
        known = [value for value in column[-_DRAWN:] if value is not None]
        figures = [f"{value:,.4g}" for value in (min(known), max(known))] if known else ["-", "-"]
        last = column[-1]
        table.add_row(name, sparkline(known), *figures, "-" if last is None else f"{last:,.4g}")
    screen.print(table)
    if plot is not None:
        click.echo(f"Plots: {plot}")


def sparkline(values: list[float]) -> str:
    """Draw one bar per value, scaled from the smallest to the largest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / spread * (len(_BARS) - 1))] for value in values)
