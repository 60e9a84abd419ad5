"""Income of an account by month and asset: dividends, interest and returned capital."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from enum import StrEnum

import attrs

from rebalancer.domain.arrays import Dates
from rebalancer.domain.backtest.courses import Days, PriceTable
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.portfolio.entries import EntryKind


class IncomeKind(StrEnum):
    """Kind of income."""

    DIVIDEND = "dividend"
    INTEREST = "interest"
    RETURN_OF_CAPITAL = "return_of_capital"


@attrs.frozen
class Income:
    """Income of a month from one source, in the base currency at the rates of its days.

    Attributes:
        month: Its first day.
        symbol: Asset that paid; None for interest on cash.
        amount: Before tax.
        withheld: Tax withheld.
    """

    month: date
    kind: IncomeKind
    symbol: str | None
    amount: float
    withheld: float


_KINDS = {
    EntryKind.DIVIDEND: IncomeKind.DIVIDEND,
    EntryKind.INTEREST: IncomeKind.INTEREST,
    EntryKind.RETURN_OF_CAPITAL: IncomeKind.RETURN_OF_CAPITAL,
}


def collect_income(days: Days, dates: Dates, prices: PriceTable, span: Span) -> list[Income]:
    """Return the income of a period by month, asset and kind."""
    return collect_rows(days, dates, prices, span.counted)


def collect_rows(days: Days, dates: Dates, prices: PriceTable, rows: slice) -> list[Income]:
    """Return the income of some rows by month, asset and kind.

    An entry belongs to the month of the close at which it counts.
    """
    sums: dict[tuple[date, str, IncomeKind], tuple[float, float]] = {}
    for row, entries in days:
        if not rows.start <= row < rows.stop:
            continue
        month: date = dates[row].item().replace(day=1)
        for entry in entries:
            kind = _KINDS.get(entry.kind)
            if kind is None:
                continue
            rate = prices.rate(entry.currency, row)
            key = (month, entry.symbol or "", kind)
            amount, withheld = sums.get(key, (0.0, 0.0))
            sums[key] = (
                amount + float(entry.amount) * rate,
                withheld + float(entry.withheld) * rate,
            )
    return [
        Income(month, kind, symbol or None, *figures)
        for (month, symbol, kind), figures in sorted(sums.items())
    ]


def add_income(parts: Iterable[list[Income]]) -> list[Income]:
    """Return the income of several accounts together, in the same currency."""
    sums: dict[tuple[date, str, IncomeKind], Income] = {}
    for one in (income for part in parts for income in part):
        key = (one.month, one.symbol or "", one.kind)
        known = sums.get(key)
        sums[key] = (
            one
            if known is None
            else attrs.evolve(
                known, amount=known.amount + one.amount, withheld=known.withheld + one.withheld
            )
        )
    return [sums[key] for key in sorted(sums)]
