"""Comparisons of a recorded portfolio: the same cash flows, managed in two other ways."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest.courses import Course, Days, PriceTable
from rebalancer.domain.backtest.step import settle
from rebalancer.domain.policy.policy import Decision, Frequency
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.rebalancing.solver import solve_trades

_ROUNDS = 20
"""Limit of iterations for the costs of a withdrawal; each adds the digits of a cost rate."""

_SETTLED = 1e-15
"""The iteration has converged when the share changes by less."""


def simulate_no_rebalancing(
    recorded: Course, days: Days, prices: PriceTable, targets: Floats, invested: bool
) -> Course:
    """Return the account without trades after the first day with a purchase.

    Holdings are units of the total-return level, since distributions are reinvested in the asset
    that pays them.

    Args:
        recorded: The portfolio, in units as traded.
        days: Entries by row, as in ``recorded``.
        prices: Prices of assets and currencies.
        targets: (N + C,) weights with which deposits are invested; 0 for currencies.
        invested: Whether the purchases were before the first row.
    """
    bought = (
        at for at, (_, entries) in enumerate(days) if any(e.kind is EntryKind.BUY for e in entries)
    )
    initial = 1 if invested else next(bought, len(days)) + 1
    course = attrs.evolve(
        recorded,
        opening=recorded.opening * prices.reinvested[recorded.rows],
        quantities=recorded.quantities * prices.reinvested[recorded.rows],
        cash=recorded.cash.copy(),
        taken_out=recorded.taken_out.copy(),
        income=recorded.income.copy(),
    )
    for at, (row, entries) in enumerate(days[initial:], start=initial):
        day = _UnmanagedDay(prices, row, course.quantities[at - 1].copy())
        before = recorded.quantities[at - 1]
        # Splits and the like first, deposits before withdrawals, whatever the order of entry.
        for entry in sorted(entries, key=lambda entry: entry.kind is EntryKind.WITHDRAWAL):
            day.add(entry, before)
        course.opening[at], course.income[at] = day.opening, day.income
        close, cash = prices.returns[row], float(course.cash[at - 1]) + day.income
        buys = np.where(prices.quoted[row], targets, 0.0) * day.deposited
        held = day.held + buys / np.where(prices.quoted[row], close, 1.0)
        cash += day.deposited - float(buys.sum())
        total = cash + float(held @ close)
        asked = day.owed + day.charged
        taken = min(asked, total)
        left = 1.0 - taken / total if total > 0.0 else 1.0
        course.quantities[at], course.cash[at] = held * left, cash * left
        paid = taken * (day.owed / asked) if asked > 0.0 else 0.0
        course.taken_out[at] = day.moved + paid
    return course


@attrs.define(eq=False)
class _UnmanagedDay:
    """Effects of a row's entries on an account without trades; money in the base currency.

    Attributes:
        prices: Prices of assets and currencies.
        row: The row.
        held: (N + C,) units of the total-return level.
        opening: The same before deposits and withdrawals.
        deposited: Money paid in.
        income: Income that no total return includes.
        charged: Fees and taxes to be paid.
        owed: Money to be withdrawn.
        moved: Value of assets withdrawn in kind.
    """

    prices: PriceTable
    row: int
    held: Floats
    opening: Floats = attrs.field(init=False)
    deposited: float = 0.0
    income: float = 0.0
    charged: float = 0.0
    owed: float = 0.0
    moved: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.opening = self.held.copy()

    def add(self, entry: Entry, before: Floats) -> None:
        """Add an entry; ``before`` are the portfolio's recorded units at the start, (N + C,)."""
        money = float(entry.amount) * self.prices.rate(entry.currency, self.row)
        match entry.kind, entry.symbol:
            case EntryKind.DEPOSIT, None:
                self.deposited += money
            case EntryKind.DEPOSIT, str(symbol):
                self.held[self._column(symbol)] += self._units(symbol, float(entry.quantity))
            case ((EntryKind.DIVIDEND | EntryKind.RETURN_OF_CAPITAL), str(symbol)) if (
                before[self.prices.assets[symbol]] > 0.0 if symbol in self.prices.assets else False
            ):
                pass  # the total return includes it
            case ((EntryKind.DIVIDEND | EntryKind.RETURN_OF_CAPITAL | EntryKind.INTEREST), _):
                self.income += float(entry.cash) * self.prices.rate(entry.currency, self.row)
            case ((EntryKind.FEE | EntryKind.TAX), _):
                self.charged += money
            case EntryKind.WITHDRAWAL, None:
                self.owed += money
            case EntryKind.WITHDRAWAL, str(symbol):
                column, close = self._column(symbol), self.prices.returns[self.row]
                wanted = self._units(symbol, float(entry.quantity))
                given = min(float(self.held[column]), wanted)
                self.held[column] -= given
                self.moved += given * float(close[column])
                self.owed += (wanted - given) * float(close[column])
            case ((EntryKind.RENAME | EntryKind.MERGER), str(symbol)):
                self._exchange_units(entry, symbol, money, before)
            case _:
                pass

    def _exchange_units(self, entry: Entry, symbol: str, money: float, before: Floats) -> None:
        """Replace one asset by another, and by money, as in the recorded portfolio."""
        assert entry.other is not None
        old, new = self._column(symbol), self._column(entry.other)
        units = float(self.held[old]) / float(self.prices.reinvested[self.row, old])
        ratio = 1.0 if entry.ratio is None else float(entry.ratio)
        self.held[old] = 0.0
        self.held[new] += self._units(entry.other, units * ratio)
        self.opening = self.held.copy()
        if money and before[old] > 0.0:
            self.income += money * units / float(before[old])

    def _column(self, symbol: str) -> int:
        return self.prices.assets[symbol]

    def _units(self, symbol: str, shares: float) -> float:
        """Return shares as traded in units of the total-return level."""
        return shares * float(self.prices.reinvested[self.row, self._column(symbol)])


def simulate_benchmark(
    recorded: Course, dates: Dates, prices: PriceTable, targets: Floats, charges: CostSchedule
) -> Course:
    """Return the contributions invested in the targets and rebalanced monthly.

    Holdings are units of the total-return level, since distributions are reinvested in the asset
    that pays them.

    Args:
        recorded: The portfolio; its flows count.
        dates: (T,) trading days.
        prices: Prices of N assets and C currencies.
        targets: (N + C,) weights; 0 for currencies.
        charges: Costs of the N + C columns.
    """
    due = Frequency.MONTHLY.reviews(dates)
    flows = np.zeros(len(dates))
    flows[recorded.rows] = recorded.paid_in - recorded.taken_out
    course = Course.zeros(np.flatnonzero(due | (flows != 0.0)), len(targets))
    course.paid_in[:] = np.maximum(flows[course.rows], 0.0)
    closes = prices.returns[course.rows]
    known = closes > 0.0
    aims = np.where(prices.quoted[course.rows], targets, 0.0)
    # A deposit's purchases do not depend on holdings.
    bought, rest = _trade_to_target(
        np.zeros_like(aims), course.paid_in, aims, charges, dates[course.rows]
    )
    held, cash = np.zeros(len(targets)), 0.0
    for at, row in enumerate(course.rows):
        course.opening[at] = held
        values, flow = held * closes[at], float(flows[row])
        if flow < 0.0:
            share, course.taken_out[at] = _raise_cash(-flow, values, cash, charges)
            values, cash = values * (1.0 - share), cash * (1.0 - share)
        elif flow > 0.0 and not due[row]:
            values, cash = values + bought[at], cash + float(rest[at])
        elif flow > 0.0:
            cash += flow
        if due[row] and (cash > 0.0 or values.any()):
            one, money = _trade_to_target(
                values[None], np.array([cash]), aims[at : at + 1], charges, dates[row : row + 1]
            )
            values, cash = one[0], float(money[0])
        held = values / np.where(known[at], closes[at], 1.0)
        course.quantities[at], course.cash[at] = held, cash
    return course


def _trade_to_target(
    values: Floats, cash: Floats, targets: Floats, charges: CostSchedule, on: Dates
) -> tuple[Floats, Floats]:
    """Return (B, N) values and (B,) cash after trading to the targets, net of costs."""
    count, assets = values.shape
    book = Book(
        assets=np.broadcast_to(np.arange(assets), values.shape),
        present=np.ones(values.shape, dtype=bool),
        values=values,
        cash=cash,
        flow=np.zeros(count),
        targets=targets,
        as_of=on,
        reviewed=on,
        band=np.full(count, np.nan),
    )
    decision = Decision(targets, due=np.ones(count, dtype=bool))
    after = settle(book, solve_trades(book, decision, charges), decision)
    return after.values, after.cash


def _raise_cash(
    amount: float, values: Floats, cash: float, charges: CostSchedule
) -> tuple[float, float]:
    """Return the share of the account to sell for a withdrawal, and the amount paid out.

    The share is 1 if the whole account does not cover the amount and the costs.
    """
    total = cash + float(values.sum())
    if not total > 0.0:
        return 0.0, 0.0
    share, paid = 0.0, 0.0
    for _ in range(_ROUNDS):
        before, share = share, min((amount + paid) / total, 1.0)
        paid = float(charges(values * share).sum())
        if abs(share - before) <= _SETTLED:
            break
    return share, max(share * total - paid, 0.0)
