"""Print the performance of a stored portfolio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rebalancer.entrypoints.cli.screen import console, wide_table

if TYPE_CHECKING:
    from rebalancer.entrypoints.schemas.performance import PerformanceView


def print_performance(name: str, found: PerformanceView) -> None:
    """Print the figures of a portfolio and of its two comparisons as a table."""
    screen, currency = console(), found.currency
    screen.print(
        f"{name}, {found.first} to {found.last}\n"
        f"contributed {found.contributed:,.2f} {currency}, gain {found.gain:+,.2f}; "
        f"costs {found.costs:,.2f}, taxes {found.taxes:,.2f}; "
        f"dividends {found.dividends:,.2f}, interest {found.interest:,.2f}, "
        f"returned capital {found.returned_capital:,.2f}"
    )
    table = wide_table(
        screen,
        "Performance",
        [""],
        [
            f"value {currency}",
            "return",
            "local return",
            "currency effect",
            "return a year",
            "money-weighted a year",
            "volatility a year",
            "maximum drawdown",
        ],
    )
    for line in (found.portfolio, found.no_rebalancing, found.benchmark):
        table.add_row(
            line.name,
            f"{line.final_value:,.2f}",
            _percent(line.time_weighted_return, signed=True),
            _percent(line.local_return, signed=True),
            _percent(line.currency_effect, signed=True),
            _percent(line.time_weighted_return_a_year, signed=True),
            _percent(line.money_weighted_return, signed=True),
            _percent(line.volatility),
            _percent(line.max_drawdown),
        )
    screen.print(table)
    for note in found.notes:
        screen.print(note, markup=False)


def _percent(fraction: float | None, *, signed: bool = False) -> str:
    if fraction is None:
        return "-"
    return f"{fraction:+.2%}" if signed else f"{fraction:.2%}"
