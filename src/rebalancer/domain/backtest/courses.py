"""Accounts over time: holdings at each row with entries, and the prices that value them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from functools import cached_property

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.market.currencies import missing_rate
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.entries import (
    FLOWS,
    INCOME,
    REORGANISATIONS,
    Entry,
    EntryKind,
    move_units,
    order_of_effect,
)
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.ledger_prices import first_row_from, row_of

_ZERO = Decimal(0)
_DIGITS = 60

Days = list[tuple[int, list[Entry]]]
"""E rows with entries, ascending, and the entries of each in their order of effect."""


@attrs.frozen(slots=False, eq=False)
class PriceTable:
    """Prices of N assets and of C currencies, in which cash may be held, over T closes.

    Prices are the last known ones, 0 before the first. A currency is a column of price 1.

    Attributes:
        assets: Column of each asset, 0 to N - 1.
        currencies: Column of each currency other than the base currency, N to N + C - 1.
        traded: (T, N + C) price of a share as traded, in the asset's own currency.
        total: (T, N + C) total-return level, in the asset's own currency.
        rates: (T, N + C) units of the base currency per unit of the own currency; the first known
            rate also before its day.
        quoted: (T, N + C) whether the market has a current price, at which comparisons may buy.
    """

    assets: Mapping[str, int]
    currencies: Mapping[str, int]
    traded: Floats
    total: Floats
    rates: Floats
    quoted: Bools

    @classmethod
    def of(
        cls,
        market: PriceHistory,
        filled: PriceHistory,
        symbols: Sequence[str],
        currencies: Sequence[str],
        base: str,
    ) -> PriceTable:
        """Collect the prices of some assets and currencies.

        Args:
            market: Its assets with a current close are quoted.
            filled: The same rows with the prices of the portfolio, see `own_prices`.
            symbols: N assets; those without prices or without a rate have prices of 0.
            currencies: C currencies other than the base currency.
            base: ISO 4217 code of the base currency.

        Raises:
            InvalidRequest: one of the currencies cannot be converted.
        """
        count, width = len(filled), len(symbols) + len(currencies)
        traded, total = np.zeros((count, width)), np.zeros((count, width))
        rates, quoted = np.ones((count, width)), np.zeros((count, width), dtype=bool)
        known = filled.quotes
        for at, symbol in enumerate(symbols):
            column = filled.columns.get(symbol)
            if symbol in market.columns:
                quoted[:, at] = market.closes[:, market.column(symbol)] > 0.0
            if column is None:
                continue
            levels = filled.closes[:, column]
            if known is not None and known.rates is not None:
                converted = known.rates[:, column]
                if np.isnan(converted).all():
                    continue
                levels = levels / converted
                rates[:, at] = _first_known(converted)
            traded[:, at] = _last_known(filled.traded[:, column])
            total[:, at] = _last_known(_extend_back(levels, filled.traded[:, column]))
        for at, currency in enumerate(currencies, start=len(symbols)):
            found = None if known is None else known.exchange.convert(currency, base, filled.dates)
            if found is None:
                raise missing_rate(currency, base)
            rates[:, at] = _first_known(found.rates)
            traded[:, at] = total[:, at] = 1.0
        return cls(
            {symbol: at for at, symbol in enumerate(symbols)},
            {code: at for at, code in enumerate(currencies, start=len(symbols))},
            traded,
            total,
            rates,
            quoted,
        )

    def since(self, row: int) -> PriceTable:
        """Return the rows from ``row`` on."""
        return PriceTable(
            self.assets,
            self.currencies,
            self.traded[row:],
            self.total[row:],
            self.rates[row:],
            self.quoted[row:],
        )

    @cached_property
    def shares(self) -> Floats:
        """(T, N + C) price of a share as traded, in the base currency."""
        prices: Floats = self.traded * self.rates
        return prices

    @cached_property
    def returns(self) -> Floats:
        """(T, N + C) total-return level in the base currency."""
        prices: Floats = self.total * self.rates
        return prices

    @cached_property
    def reinvested(self) -> Floats:
        """(T, N + C) units of the total-return level that are worth one share as traded."""
        units: Floats = np.divide(
            self.traded, self.total, out=np.ones_like(self.total), where=self.total > 0.0
        )
        return units

    def rate(self, currency: str | None, row: int) -> float:
        """Return the base currency per unit of a currency at a row; None: the base currency."""
        column = None if currency is None else self.currencies.get(currency)
        return 1.0 if column is None else float(self.rates[row, column])


@attrs.define(eq=False)
class Course:
    """An account at the E rows with events, row 0 first; its arrays are filled in place.

    Attributes:
        rows: (E,) rows, increasing.
        opening: (E, N + C) holdings at the start of the row, after splits and the like.
        quantities: (E, N + C) holdings afterwards.
        cash: (E,) money of the base currency afterwards.
        paid_in: (E,) value of deposits.
        taken_out: (E,) value of withdrawals.
        income: (E,) dividends, interest and the like, after withheld tax.
    """

    rows: Rows
    opening: Floats
    quantities: Floats
    cash: Floats
    paid_in: Floats
    taken_out: Floats
    income: Floats

    @classmethod
    def zeros(cls, rows: Sequence[int] | Rows, columns: int) -> Course:
        """Return an account of zeros, to be filled in."""
        none = np.zeros((4, len(rows)))
        holdings = np.zeros((2, len(rows), columns))
        return cls(np.asarray(rows, dtype=np.intp), *holdings, *none)


def convert_early(market: PriceHistory, currency: str) -> PriceHistory:
    """Return prices in a currency, with the first known exchange rate also before its day.

    Args:
        market: In any currencies.
        currency: ISO 4217 code.
    """
    converted = market.in_currency(currency)
    quotes = converted.quotes
    if converted is market or quotes is None or quotes.rates is None:
        return converted
    late = np.isnan(quotes.rates[0])
    if not late.any():
        return converted
    rates = np.array(quotes.rates)
    for column in np.flatnonzero(late).tolist():
        rates[:, column] = _first_known(rates[:, column])
    closes: Floats = market.closes * rates
    for table in (rates, closes):
        table.setflags(write=False)
    return attrs.evolve(converted, closes=closes, quotes=attrs.evolve(quotes, rates=rates))


def group_by_row(ledger: Ledger, dates: Dates) -> Days:
    """Return the entries of a ledger by the row at whose close they count.

    That is the last close at or before their day, and for splits and the like the first one at or
    after it. Those after the last close do not count yet.
    """
    found: dict[int, list[Entry]] = {}
    for day, entries in ledger.by_day():
        at, after = row_of(dates, day), first_row_from(dates, day)
        for entry in entries:
            row = after if entry.kind in REORGANISATIONS else at
            if row < len(dates):
                found.setdefault(row, []).append(entry)
    return [(row, sorted(found[row], key=order_of_effect)) for row in sorted(found)]


def replay_ledger(days: Days, prices: PriceTable) -> Course:
    """Return the account as recorded; here Decimal becomes float64."""
    course = Course.zeros([row for row, _ in days], prices.traded.shape[1])
    cash: dict[str | None, Decimal] = {None: _ZERO}
    held: dict[str, Decimal] = {}
    with localcontext(prec=_DIGITS):
        for at, (row, entries) in enumerate(days):
            course.quantities[at] = course.quantities[max(at - 1, 0)]
            begun = False
            for entry in entries:
                if not begun and entry.kind not in REORGANISATIONS:
                    course.opening[at], begun = course.quantities[at], True
                for symbol in move_units(held, entry):
                    if symbol in prices.assets:
                        course.quantities[at, prices.assets[symbol]] = float(held[symbol])
                for currency, change in entry.cash_changes:
                    known = currency if currency in prices.currencies else None
                    cash[known] = cash.get(known, _ZERO) + change
                _add_flow(course, at, row, entry, prices)
            if not begun:
                course.opening[at] = course.quantities[at]
            for currency, column in prices.currencies.items():
                course.quantities[at, column] = float(cash.get(currency, _ZERO))
            course.cash[at] = float(cash[None])
    return course


def _add_flow(course: Course, at: int, row: int, entry: Entry, prices: PriceTable) -> None:
    """Add the flow or the income of an entry, in the base currency."""
    if entry.kind in FLOWS:
        flows = course.paid_in if entry.kind is EntryKind.DEPOSIT else course.taken_out
        flows[at] += (
            float(entry.amount) * prices.rate(entry.currency, row)
            if entry.symbol is None
            else float(entry.quantity) * float(prices.shares[row, prices.assets[entry.symbol]])
        )
    elif entry.kind in INCOME or entry.kind is EntryKind.MERGER:
        course.income[at] += float(entry.cash) * prices.rate(entry.currency, row)


def _extend_back(levels: Floats, prices: Floats) -> Floats:
    """Return (T,) total-return levels that follow the prices before the first known level.

    These are days before the first exchange rate of an asset that only the ledger prices.
    """
    known = np.flatnonzero(~np.isnan(levels))
    if not len(known) or known[0] == 0:
        return levels
    first = known[0]
    extended = levels.copy()
    extended[:first] = prices[:first] * (levels[first] / prices[first])
    return extended


def _last_known(prices: Floats) -> Floats:
    """Return (T,) the last known price on each row; 0 before the first."""
    rows = np.where(np.isnan(prices), -1, np.arange(len(prices)))
    last = np.maximum.accumulate(rows)
    known: Floats = np.where(last < 0, 0.0, prices[np.maximum(last, 0)])
    return known


def _first_known(rates: Floats) -> Floats:
    """Return (T,) rates with the first known one before it; NaN if all are unknown."""
    known = np.flatnonzero(~np.isnan(rates))
    if not len(known) or known[0] == 0:
        return rates
    filled = rates.copy()
    filled[: known[0]] = rates[known[0]]
    return filled
