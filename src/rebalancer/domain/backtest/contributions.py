"""Contributions: what each holding adds to the time-weighted return of an account.

The return of a day is that of `track_record`. With ``v`` as the value at the close before,
``stood`` as what was held then at this close with the day's income, and ``in`` as the deposits of
the day, the contribution of a holding ``i`` is::

    c[i] = earned[i] / v + stood / v * traded[i] / (stood + in)

``earned`` is the change of its price, of its exchange rate and its income; ``traded`` is what its
trades gained or lost against the close, with their costs. Summed over all holdings, cash in each
currency and the fees that belong to no asset, that is exactly the return of the day. The part of
``earned`` that comes from exchange rates is its currency effect; the rest is local.

An asset with a new symbol, and what a merger brings, continue the old asset. What a spin-off brings
is a gain of the asset that spins it off.

Contributions of single days do not add up over time, because returns compound. They are linked as
Frongello describes, which is also the method of the GRAP: each contribution of a day counts in
proportion to the index at the close before::

    C[i] = sum over t of c[i, t] * index[t-1] / index[0]

The sum over all ``i`` telescopes to the time-weighted return. Without flows, ``C[i]`` is the money
that the holding gained per money at the start. A loss of everything needs no exception, which the
logarithms of Cariño's method do.

References:
    Frongello, A. S. B. (2002). Linking single period attribution results. Journal of Performance
    Measurement, 6(3), 10-22.
    GRAP (1997). Synthèse des modèles d'attribution de performance. Groupe de recherche en
    attribution de performance, Paris.
    Bacon, C. R. (2008). Practical portfolio performance measurement and attribution, 2nd ed.,
    chapter 8. Wiley.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import Generic, TypeVar

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats
from rebalancer.domain.backtest.courses import Course, Days, PriceTable
from rebalancer.domain.backtest.lines import Growth, Span
from rebalancer.domain.portfolio.entries import (
    FLOWS,
    INCOME,
    REORGANISATIONS,
    Entry,
    EntryKind,
    move_units,
)

L = TypeVar("L")
M = TypeVar("M")

_DIGITS = 60


class ItemKind(StrEnum):
    """What contributes to a return."""

    ASSET = "asset"
    CASH = "cash"
    FEES = "fees"


@attrs.frozen(order=True)
class Item:
    """Something that contributes to a return.

    Attributes:
        kind: An asset, cash in a currency, or fees and taxes that belong to no asset.
        symbol: Of the asset; "" otherwise.
        currency: ISO 4217 code of its price, or of the cash; the base currency for fees.
    """

    kind: ItemKind
    symbol: str
    currency: str


@attrs.frozen
class Contribution(Generic[L]):
    """What one item or group adds to the return of a period.

    Attributes:
        label: The item or group.
        contribution: Part of the time-weighted return, a fraction; ``local + currency_effect``.
        local: Part from prices, income, trades and costs.
        currency_effect: Part from changes of exchange rates.
        gain: The same in money of the base currency.
        weight: Mean weight at the start of the days on which the account had a value.
        own_return: Its own time-weighted return at the closes, with income and exchange rates,
            while it was held; None if it never was.
    """

    label: L
    contribution: float
    local: float
    currency_effect: float
    gain: float
    weight: float
    own_return: float | None


@attrs.frozen(eq=False)
class DailyContributions(Generic[L]):
    """Contributions of K items to the returns of an account on T days.

    Attributes:
        dates: (T,) trading days.
        start: (T,) value at whose change the returns are measured: that at the close before, and
            the first deposits on the first day.
        ratio: (T,) 1 plus the return of the day.
        labels: K items or groups.
        held: (T, K) value at the close before of what was held at the start of the day.
        local: (T, K) contribution of prices, income, trades and costs, a fraction.
        currency: (T, K) contribution of exchange rates, a fraction.
        earned: (T, K) change of value by prices, exchange rates and income.
        traded: (T, K) gain of trades against the close, net of costs.
    """

    dates: Dates
    start: Floats
    ratio: Floats
    labels: tuple[L, ...]
    held: Floats
    local: Floats
    currency: Floats
    earned: Floats
    traded: Floats

    def grouped(self, group: Callable[[L], M]) -> DailyContributions[M]:
        """Return the contributions of groups, in the order of their first members."""
        return self.divided(lambda label: {group(label): 1.0})

    def divided(self, shares: Callable[[L], Mapping[M, float]]) -> DailyContributions[M]:
        """Return the contributions of groups that share items, such as classes of a mixed fund.

        Args:
            shares: Fraction of an item in each group; they sum to 1.
        """
        divided = [shares(label) for label in self.labels]
        labels = tuple(dict.fromkeys(group for one in divided for group in one))
        places = {label: at for at, label in enumerate(labels)}
        member = np.zeros((len(divided), len(labels)))
        for row, one in enumerate(divided):
            for group, share in one.items():
                member[row, places[group]] = share
        return DailyContributions(
            self.dates,
            self.start,
            self.ratio,
            labels,
            self.held @ member,
            self.local @ member,
            self.currency @ member,
            self.earned @ member,
            self.traded @ member,
        )

    def together(self, label: M) -> DailyContributions[M]:
        """Return the contributions of all items as those of one."""
        return self.grouped(lambda _: label)

    def index(self, span: Span) -> Floats:
        """Return the index of the account on the rows that a period shows, 1 at its start."""
        grown: Floats = np.cumprod(self.ratio[span.counted], dtype=np.float64)
        return grown if span.first is None else np.append(1.0, grown)

    def over(self, span: Span) -> list[Contribution[L]]:
        """Return the linked contributions to the return of a period, the largest first.

        Items that were neither held nor gained anything are left out.
        """
        rows = span.counted
        ratio, held, start = self.ratio[rows], self.held[rows], self.start[rows]
        grown = np.append(1.0, np.cumprod(ratio)[:-1])[:, None]
        local = (self.local[rows] * grown).sum(axis=0)
        currency = (self.currency[rows] * grown).sum(axis=0)
        earned, traded = self.earned[rows], self.traded[rows]
        gains = (earned + traded).sum(axis=0)
        counts = (start > 0.0)[:, None]
        weights = np.divide(held, start[:, None], out=np.zeros_like(held), where=counts)
        mean = weights.sum(axis=0) / max(int(counts.sum()), 1)
        owned: Bools = held > 0.0
        growth = np.divide(held + earned, held, out=np.ones_like(held), where=owned)
        own = np.prod(growth, axis=0) - 1.0
        takes_part = owned.any(axis=0) | (earned != 0.0).any(axis=0) | (traded != 0.0).any(axis=0)
        found = [
            Contribution(
                label=label,
                contribution=float(local[at] + currency[at]),
                local=float(local[at]),
                currency_effect=float(currency[at]),
                gain=float(gains[at]),
                weight=float(mean[at]),
                own_return=float(own[at]) if owned[:, at].any() else None,
            )
            for at, label in enumerate(self.labels)
            if takes_part[at]
        ]
        return sorted(found, key=lambda one: -one.contribution)


def measure_contributions(
    dates: Dates,
    course: Course,
    days: Days,
    prices: PriceTable,
    growth: Growth,
    currencies: Sequence[str],
    base: str,
) -> DailyContributions[Item]:
    """Return the daily contributions of assets, cash and fees of a recorded account.

    Args:
        dates: (T,) trading days.
        course: The account as recorded.
        days: Entries by row, as in ``course``.
        prices: Prices of N assets and C currencies.
        growth: Growth of the account, see `measure_growth`.
        currencies: ISO 4217 code of each asset's price.
        base: ISO 4217 code of the base currency.
    """
    count, columns = prices.traded.shape
    own, fees = columns, columns + 1  # columns of cash in the base currency, and of fees
    table = _Table(prices, own, fees)
    rows = course.rows
    part = np.repeat(np.arange(len(rows)), np.diff(np.append(rows, count)))
    quantities, cash = course.quantities[part], course.cash[part]
    held = np.zeros((count, columns + 2))
    held[1:, :columns] = quantities[:-1] * prices.shares[:-1]
    held[1:, own] = cash[:-1]
    earned, exchanged = np.zeros_like(held), np.zeros_like(held)
    now = growth.held[1:] * prices.shares[1:]
    unchanged = growth.held[1:] * (prices.traded[1:] * prices.rates[:-1])
    earned[1:, :columns] = now - held[1:, :columns]
    exchanged[1:, :columns] = now - unchanged
    traded = np.zeros_like(held)
    _add_entries(days, table, held, earned, exchanged, traded)
    before, arrived = growth.before, growth.stood + growth.paid_in
    local = _divide(earned - exchanged, before) + _divide(traded, arrived) * growth.market[:, None]
    start = before.copy()
    start[0] = growth.paid_in[0]
    labels = (
        *(
            Item(ItemKind.ASSET, symbol, currency)
            for symbol, currency in zip(prices.assets, currencies, strict=True)
        ),
        *(Item(ItemKind.CASH, "", code) for code in prices.currencies),
        Item(ItemKind.CASH, "", base),
        Item(ItemKind.FEES, "", base),
    )
    return DailyContributions(
        dates,
        start,
        growth.ratio,
        labels,
        held,
        local,
        _divide(exchanged, before),
        earned,
        traded,
    )


@attrs.frozen
class _Table:
    """Columns of contributions: those of prices, cash in the base currency, and fees."""

    prices: PriceTable
    own: int
    fees: int

    def asset(self, symbol: str | None) -> int | None:
        """Return the column of an asset; None without one."""
        return None if symbol is None else self.prices.assets.get(symbol)

    def cash(self, currency: str | None) -> int:
        """Return the column of cash in a currency; None: the base currency."""
        return self.own if currency is None else self.prices.currencies.get(currency, self.own)

    def place(self, entry: Entry) -> int:
        """Return the column to which the gain of an entry belongs."""
        column = self.asset(entry.symbol)
        if column is not None:
            return column
        if entry.kind in (EntryKind.FEE, EntryKind.TAX):
            return self.fees
        if entry.kind is EntryKind.EXCHANGE and entry.counter_currency is not None:
            return self.cash(entry.counter_currency)
        return self.cash(entry.currency)

    def effect(self, entry: Entry, row: int) -> float:
        """Return what an entry adds to the value at its close, apart from flows."""
        if entry.kind in FLOWS:
            return 0.0
        found = sum(
            float(change) * self.prices.rate(currency, row)
            for currency, change in entry.cash_changes
        )
        column = self.asset(entry.symbol) if entry.quantity else None
        if column is not None:
            found += float(entry.units) * float(self.prices.shares[row, column])
        return found


def _add_entries(
    days: Days, table: _Table, held: Floats, earned: Floats, exchanged: Floats, traded: Floats
) -> None:
    """Add the income of entries, the gains of trades, and what reorganisations pass on."""
    passes_on = any(
        entry.kind in REORGANISATIONS and entry.kind is not EntryKind.SPLIT
        for _, entries in days
        for entry in entries
    )
    units: dict[str, Decimal] = {}
    with localcontext(prec=_DIGITS):
        for row, entries in days:
            for entry in entries:
                if passes_on:
                    received = units.get(entry.other or "", Decimal(0))
                    move_units(units, entry)
                    received = units.get(entry.other or "", Decimal(0)) - received
                    if row > 0 and entry.other is not None:
                        _pass_on(entry, float(received), row, table, held, earned, exchanged)
                if entry.kind in INCOME or entry.kind is EntryKind.MERGER:
                    gains = earned if row > 0 else traded
                    column = table.asset(entry.other if entry.other else entry.symbol)
                    place = table.place(entry) if column is None else column
                    gains[row, place] += float(entry.cash) * table.prices.rate(entry.currency, row)
                elif entry.kind not in REORGANISATIONS:
                    traded[row, table.place(entry)] += table.effect(entry, row)


def _pass_on(
    entry: Entry,
    received: float,
    row: int,
    table: _Table,
    held: Floats,
    earned: Floats,
    exchanged: Floats,
) -> None:
    """Continue an asset with what replaces it, and credit a spin-off to its parent."""
    old, new = table.asset(entry.symbol), table.asset(entry.other)
    if old is None or new is None:
        return
    if entry.kind is EntryKind.SPIN_OFF:
        prices = table.prices
        value = received * float(prices.shares[row, new])
        rate = float(prices.rates[row - 1, new])
        effect = value - received * float(prices.traded[row, new]) * rate
        for column, sign in ((old, 1.0), (new, -1.0)):
            earned[row, column] += sign * value
            exchanged[row, column] += sign * effect
        return
    for table_of in (earned, exchanged):
        table_of[row, new] += table_of[row, old]
        table_of[row, old] = 0.0
    held[row, new] += held[row, old]
    held[row, old] = 0.0


def _divide(amounts: Floats, whole: Floats) -> Floats:
    """Return (T, K) amounts over (T,) a whole; 0 where the whole is 0."""
    divisor = np.broadcast_to(whole[:, None], amounts.shape)
    return np.divide(amounts, divisor, out=np.zeros_like(amounts), where=divisor > 0.0)


def add_contributions(
    parts: Sequence[DailyContributions[L]],
) -> DailyContributions[L] | None:
    """Return the contributions to the return of several accounts together; None without any.

    All are in one currency, and end on the same day. The return of a day is the mean of the
    accounts' returns, weighted by the values at whose change they are measured, see
    `add_histories`: what a single account that holds them all would have.
    """
    if not parts:
        return None
    longest = max(parts, key=lambda one: len(one.dates))
    count = len(longest.dates)
    labels = tuple(dict.fromkeys(label for one in parts for label in one.labels))
    places = {label: at for at, label in enumerate(labels)}
    start, grown = np.zeros(count), np.zeros(count)
    tables = {name: np.zeros((count, len(labels))) for name in _TABLES}
    for one in parts:
        first = count - len(one.dates)
        if not np.array_equal(longest.dates[first:], one.dates):
            raise ValueError("the accounts are measured on different days")
        began = one.start.copy()
        if first > 0:
            began[0] = 0.0  # what arrives on a later day has no part in that day's return
        start[first:] += began
        grown[first:] += began * (one.ratio - 1.0)
        columns = [places[label] for label in one.labels]
        for name, table in tables.items():
            found = getattr(one, name)
            table[first:, columns] += found * began[:, None] if name in _FRACTIONS else found
    ratio = 1.0 + np.divide(grown, start, out=np.zeros(count), where=start > 0.0)
    for name in _FRACTIONS:
        tables[name] = _divide(tables[name], start)
    return DailyContributions(longest.dates, start, ratio, labels, **tables)


_FRACTIONS = ("local", "currency")
_TABLES = ("held", *_FRACTIONS, "earned", "traded")
