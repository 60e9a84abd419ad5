"""Print the gains and income of a stored portfolio."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rebalancer.entrypoints.cli.screen import console, count_things, wide_table

if TYPE_CHECKING:
    from rebalancer.entrypoints.schemas.gains import GainsView


def print_gains(name: str, found: GainsView) -> None:
    """Print the figures of each year, the disposals, and the lots that are held."""
    screen, currency = console(), found.currency
    when = "all years" if found.year is None else found.year
    screen.print(f"{name}, {when}, by {found.method}; amounts in {currency}")
    if found.years:
        table = wide_table(
            screen,
            "Realised gains and income",
            ["year"],
            [
                *("proceeds", "cost", "gain", "short-term", "long-term", "undetermined"),
                *("dividends", "interest", "withheld"),
            ],
        )
        for year in found.years:
            table.add_row(
                year.year,
                _money(year.proceeds),
                _money(year.cost),
                _money(year.gain, signed=True),
                _money(year.short_term, signed=True),
                _money(year.long_term, signed=True),
                _money(year.undetermined, signed=True),
                _money(year.dividends),
                _money(year.interest),
                _money(year.withheld),
            )
        screen.print(table)
    unknown = sum(year.unknown for year in found.years)
    if unknown:
        screen.print(
            f"{count_things(unknown, 'disposal')} of unknown gain: no part of these figures"
        )
    if found.disposals:
        table = wide_table(
            screen,
            "Disposals",
            ["day", "kind", "asset", "acquired"],
            ["quantity", "proceeds", "cost", "gain"],
        )
        for sold in found.disposals:
            first, last = (
                (sold.lots[0].acquired, sold.lots[-1].acquired) if sold.lots else [None] * 2
            )
            acquired = "-" if first is None or last is None else f"{first}"
            if acquired != "-" and last != first:
                acquired += f" to {last}"
            table.add_row(
                f"{sold.on}",
                sold.kind.replace("_", " "),
                sold.symbol,
                acquired,
                sold.quantity,
                _money(sold.proceeds),
                _money(sold.cost),
                _money(sold.gain, signed=True),
            )
        screen.print(table)
    if found.open_lots:
        table = wide_table(
            screen,
            f"Lots at the closes of {found.as_of}",
            ["asset", "acquired", "term"],
            ["quantity", "cost", "value", "gain"],
        )
        for lot in found.open_lots:
            table.add_row(
                lot.symbol,
                "-" if lot.acquired is None else f"{lot.acquired}",
                lot.term or "-",
                lot.quantity,
                _money(lot.cost),
                _money(lot.value),
                _money(lot.gain, signed=True),
            )
        screen.print(table)
    for note in found.notes:
        screen.print(note, markup=False)


def _money(amount: str | None, *, signed: bool = False) -> str:
    if amount is None:
        return "-"
    return f"{Decimal(amount):+,}" if signed else f"{Decimal(amount):,}"
