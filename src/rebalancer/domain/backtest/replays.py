"""Recorded portfolios that are ready to be replayed over the closes from their first day on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext
from functools import partial
from uuid import UUID, uuid5

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats, Rows
from rebalancer.domain.backtest.courses import (
    Course,
    Days,
    PriceTable,
    convert_early,
    group_by_row,
)
from rebalancer.domain.backtest.lines import Measured
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.calendars import common_rows
from rebalancer.domain.market.currencies import missing_rate
from rebalancer.domain.market.frequency import ObservationFrequency, observation_frequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.own_prices import own_prices, select_assets
from rebalancer.domain.portfolio.positions import Positions

_DIGITS = 60

_OPENING = UUID("5f1d3c86-6a55-4a53-9d0e-4f6b0b9f5c11")
"""Namespace of the ids of entries that stand for those before the first close."""


@attrs.frozen(eq=False)
class Replay:
    """A ledger that is ready to be replayed over the closes from its first day on.

    Attributes:
        ledger: Effective entries.
        opening: Entries with deposits at the first close in place of those before it; None if
            all are on later days.
        market: Prices in the base currency.
        filled: Prices of the assets, with those of the ledger where the market has none.
        plain: Whether the ledger adds no prices and no corporate actions to those of the market.
        begins: Row of the first day in the market.
        days: Entries by row.
        dates: (T,) closes from the first day on.
        symbols: Assets in the order of the columns of ``prices``.
    """

    ledger: Ledger
    opening: Ledger | None
    market: PriceHistory
    filled: PriceHistory
    plain: bool
    begins: int
    days: Days
    dates: Dates
    prices: PriceTable
    symbols: Sequence[str]

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        market: PriceHistory,
        others: Collection[str],
        currency: str,
        *,
        checked: bool = False,
    ) -> Replay:
        """Prepare a ledger.

        Args:
            ledger: Of the portfolio.
            market: Prices, in any currencies.
            others: Assets that need a price, too.
            currency: ISO 4217 code of the base currency.
            checked: Whether it is known that the ledger is not overdrawn.

        Raises:
            As `measure_track_record`.
        """
        if not checked:
            _ = ledger.positions
        ledger = Ledger(ledger.effective)
        if not ledger.entries:
            raise InvalidRequest("the ledger is empty; record a deposit first", code="ledger_empty")
        native, market = market, market.in_currency(currency)
        symbols = sorted({*ledger.symbols, *others}) or [market.symbols[0]]
        early = convert_early(select_assets(native, symbols), currency)
        filled = own_prices(early, ledger, currency)
        _check_rates(filled, ledger, currency)
        foreign = foreign_currencies(ledger, currency)
        prices = PriceTable.of(market, filled, symbols, foreign, currency)
        opening = _bring_forward(ledger, filled.dates, prices)
        days = group_by_row(opening or ledger, filled.dates)
        begins = days[0][0]
        return cls(
            ledger=ledger,
            opening=opening,
            market=market,
            filled=filled,
            plain=filled is early,
            begins=begins,
            days=[(row - begins, entries) for row, entries in days],
            dates=market.dates[begins:],
            prices=prices.since(begins),
            symbols=symbols,
        )

    def currencies(self, base: str) -> list[str]:
        """Return the currency of each asset's price."""
        return [self.filled.currency_of(symbol, base) for symbol in self.symbols]

    def measured(self) -> Measured:
        """Return the days and rows that the figures are measured on."""
        market = self.market
        columns = [market.column(symbol) for symbol in self.symbols if symbol in market.columns]
        rows, frequency = _measured_rows(market, self.begins, columns)
        return Measured(self.dates, len(self.symbols), rows, frequency)


def add_up_flows(recorded: Course, dates: Dates) -> Floats:
    """Return (T,) cumulative deposits minus withdrawals."""
    flows = np.zeros(len(dates))
    flows[recorded.rows] = recorded.paid_in - recorded.taken_out
    total: Floats = np.cumsum(flows)
    return total


def _check_rates(market: PriceHistory, ledger: Ledger, base: str) -> None:
    """Check that the prices of a ledger's assets can be converted; raise InvalidRequest."""
    if market.quotes is None or market.quotes.rates is None:
        return
    for symbol in sorted(ledger.symbols):
        column = market.columns.get(symbol)
        if column is not None and np.isnan(market.quotes.rates[:, column]).all():
            raise missing_rate(market.quotes.currencies[column], base)


def foreign_currencies(ledger: Ledger, base: str) -> list[str]:
    """Return the currencies other than the base currency in which entries change cash, sorted."""
    found = {
        currency for entry in ledger.entries for currency, change in entry.cash_changes if change
    }
    return sorted(code for code in found if code is not None and code != base)


def _bring_forward(ledger: Ledger, dates: Dates, prices: PriceTable) -> Ledger | None:
    """Return the ledger with deposits at the first close in place of all entries before it.

    None if all entries are on later days.

    Raises:
        InvalidRequest: all entries are before the first close, and they leave nothing.
    """
    first: date = dates[0].item()
    early = [entry for entry in ledger.entries if entry.on < first]
    if not early:
        return None
    opening = opening_entries(
        Ledger(tuple(early)).positions, first, prices, recorded=early[0].recorded
    )
    later = [entry for entry in ledger.entries if entry.on >= first]
    if not opening and not later:
        raise InvalidRequest(
            f"all entries are before the first close, {first}, and left nothing to measure",
            field="on",
            code="entries_before_prices",
        )
    return Ledger((*opening, *later))


def opening_entries(
    positions: Positions, on: date, prices: PriceTable, *, recorded: datetime
) -> list[Entry]:
    """Return deposits that bring positions into an account at the close of the first row."""
    deposit = partial(Entry, kind=EntryKind.DEPOSIT, on=on, recorded=recorded)
    opening = []
    if positions.cash:
        opening.append(deposit(id=uuid5(_OPENING, ""), amount=positions.cash))
    for currency, money in positions.foreign_cash.items():
        opening.append(deposit(id=uuid5(_OPENING, currency), amount=money, currency=currency))
    for symbol, units in positions.holdings.items():
        price = Decimal(repr(float(prices.shares[0, prices.assets[symbol]])))
        with localcontext(prec=_DIGITS):
            value = units * price
        opening.append(
            deposit(
                id=uuid5(_OPENING, symbol),
                amount=value,
                symbol=symbol,
                quantity=units,
                price=price,
            )
        )
    return opening


def _measured_rows(
    market: PriceHistory, begins: int, columns: Sequence[int]
) -> tuple[Rows, ObservationFrequency]:
    """Return the rows, counted from ``begins``, between which returns count, and their frequency.

    These are the first row and those on which all assets trade; see `market.calendars`.
    """
    common = common_rows(market, np.array(columns, dtype=np.intp))
    frequency = market.frequency
    if not common.all() and market.periods_per_year is None:
        frequency = observation_frequency(market.dates[common])
    return np.flatnonzero(np.append(True, common[begins + 1 :])), frequency
