"""Print the performance of a stored portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rebalancer.entrypoints.cli.screen import console, wide_table

if TYPE_CHECKING:
    from rich.console import Console

    from rebalancer.entrypoints.schemas.performance import (
        CombinedPerformanceView,
        ContributionView,
        HoldingContributionView,
        PerformanceView,
    )


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
    if found.benchmark_difference is not None:
        difference = 100.0 * found.benchmark_difference
        screen.print(
            f"{difference:+.2f} percentage points against {found.benchmark.name}", markup=False
        )
    _print_contributions(screen, found)
    _print_calendar(screen, found)
    _print_income(screen, found)
    for note in found.notes:
        screen.print(note, markup=False)


def print_combined_performance(owner: str, found: CombinedPerformanceView) -> None:
    """Print the figures of all portfolios of an owner as one account."""
    screen, currency = console(), found.currency
    if found.value is None:
        screen.print(f"No portfolio of {owner} can be measured.", markup=False)
    else:
        screen.print(
            f"All portfolios of {owner}, {found.first} to {found.last}\n"
            f"value {found.value:,.2f} {currency}, contributed {found.contributed:,.2f}, gain "
            f"{found.gain:+,.2f}, return {_percent(found.time_weighted_return, signed=True)}",
            markup=False,
        )
        if found.benchmark is not None:
            screen.print(
                f"{found.benchmark}: {_percent(found.benchmark_return, signed=True)}", markup=False
            )
        _print_contributions(screen, found)
        _print_calendar(screen, found)
        _print_income(screen, found)
    for note in found.notes:
        screen.print(note, markup=False)


def _print_contributions(screen: Console, found: PerformanceView | CombinedPerformanceView) -> None:
    """Print what holdings, classes and currencies add to the return; each part adds up to it."""
    from rebalancer.entrypoints.schemas.performance import PerformanceView

    portfolios = [] if isinstance(found, PerformanceView) else found.portfolios
    groups: list[tuple[str, Sequence[tuple[str, ContributionView]]]] = [
        *([("portfolio", [(one.name, one) for one in portfolios])] if portfolios else []),
        ("holding", [(_name(one), one) for one in found.attribution.holdings]),
        ("asset class", [(one.name, one) for one in found.attribution.asset_classes]),
        ("currency", [(one.name, one) for one in found.attribution.currencies]),
    ]
    for what, parts in groups:
        table = wide_table(
            screen,
            f"Contributions by {what}",
            [what],
            [
                "contribution",
                "local",
                "currency effect",
                f"gain {found.currency}",
                "mean weight",
                "own return",
            ],
        )
        for name, one in parts:
            table.add_row(
                name,
                _percent(one.contribution, signed=True),
                _percent(one.local, signed=True),
                _percent(one.currency_effect, signed=True),
                f"{one.gain:+,.2f}",
                _percent(one.weight),
                _percent(one.own_return, signed=True),
            )
        screen.print(table)


def _name(one: HoldingContributionView) -> str:
    """Return the name of a holding, of cash or of fees."""
    return one.symbol or (one.kind.value if one.kind == "fees" else f"cash {one.currency}")


def _print_calendar(screen: Console, found: PerformanceView | CombinedPerformanceView) -> None:
    """Print the return of each month, a line a year."""
    table = wide_table(screen, "Returns of months, in %", ["year"], [*_MONTHS, "all"])
    for year in found.years:
        returns = {
            one.begins.month: one.time_weighted_return
            for one in found.months
            if one.begins.year == year.begins.year
        }
        table.add_row(
            str(year.begins.year),
            *(_points(returns.get(month)) for month in range(1, 13)),
            _points(year.time_weighted_return),
        )
    screen.print(table)


def _print_income(screen: Console, found: PerformanceView | CombinedPerformanceView) -> None:
    """Print dividends, interest and returned capital by month and asset."""
    if not found.income:
        return
    table = wide_table(
        screen, f"Income, {found.currency}", ["month", "asset", "kind"], ["amount", "withheld"]
    )
    for one in found.income:
        table.add_row(
            f"{one.month:%Y-%m}",
            one.symbol or "cash",
            one.kind.value.replace("_", " "),
            f"{one.amount:,.2f}",
            f"{one.withheld:,.2f}",
        )
    screen.print(table)


def _points(fraction: float | None) -> str:
    """Return a fraction in percent, short enough for twelve of them in a line."""
    return "" if fraction is None else f"{100.0 * fraction:+.1f}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _percent(fraction: float | None, *, signed: bool = False) -> str:
    if fraction is None:
        return "-"
    return f"{fraction:+.2%}" if signed else f"{fraction:.2%}"
