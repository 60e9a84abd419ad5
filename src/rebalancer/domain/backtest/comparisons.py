"""Comparisons of a recorded portfolio: the same cash flows, managed in two other ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.backtest.step import settle
from rebalancer.domain.policy.policy import Decision, Frequency
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.ledger import Entry, EntryKind
from rebalancer.domain.rebalancing.solver import solve_trades

_ROUNDS = 20
"""Limit of iterations for the costs of a withdrawal; each adds the digits of a cost rate."""

_SETTLED = 1e-15
"""The iteration has converged when the share changes by less."""

Days = list[tuple[int, list[Entry]]]
"""E rows with entries, ascending, and the entries of each."""

Columns = Mapping[str, int]


@attrs.define(eq=False)
class Course:
    """An account at the E rows with events, row 0 first; its arrays are filled in place.

    Attributes:
        rows: (E,) rows, increasing.
        quantities: (E, N) holdings afterwards.
        cash: (E,) money afterwards.
        paid_in: (E,) value of deposits.
        taken_out: (E,) value of withdrawals.
    """

    rows: Rows
    quantities: Floats
    cash: Floats
    paid_in: Floats
    taken_out: Floats

    @classmethod
    def zeros(cls, rows: Sequence[int] | Rows, assets: int) -> Course:
        """Return an account of zeros, to be filled in."""
        none = np.zeros((3, len(rows)))
        return cls(np.asarray(rows, dtype=np.intp), np.zeros((len(rows), assets)), *none)


def simulate_no_rebalancing(
    recorded: Course,
    days: Days,
    closes: Floats,
    quoted: Bools,
    columns: Columns,
    targets: Floats,
    invested: bool,
) -> Course:
    """Return the account without trades after the first day with a purchase.

    ``invested`` means that the purchases were before the first row.
    """
    bought = (
        at for at, (_, entries) in enumerate(days) if any(e.kind is EntryKind.BUY for e in entries)
    )
    initial = 1 if invested else next(bought, len(days)) + 1
    course = attrs.evolve(
        recorded,
        quantities=recorded.quantities.copy(),
        cash=recorded.cash.copy(),
        taken_out=recorded.taken_out.copy(),
    )
    for at, (row, entries) in enumerate(days[initial:], start=initial):
        close = closes[row]
        held, cash = course.quantities[at - 1].copy(), float(course.cash[at - 1])
        deposited = fees = owed = moved = 0.0
        # Deposits before withdrawals, whatever the order of entry.
        for entry in sorted(entries, key=lambda entry: entry.kind is EntryKind.WITHDRAWAL):
            match entry.kind, entry.symbol:
                case EntryKind.DEPOSIT, None:
                    deposited += float(entry.amount)
                case EntryKind.DEPOSIT, str(symbol):
                    held[columns[symbol]] += float(entry.quantity)
                case EntryKind.DIVIDEND, _:
                    cash += float(entry.amount)
                case EntryKind.FEE, _:
                    fees += float(entry.amount)
                case EntryKind.WITHDRAWAL, None:
                    owed += float(entry.amount)
                case EntryKind.WITHDRAWAL, str(symbol):
                    given = min(float(held[columns[symbol]]), float(entry.quantity))
                    held[columns[symbol]] -= given
                    moved += given * float(close[columns[symbol]])
                    owed += (float(entry.quantity) - given) * float(close[columns[symbol]])
        known = quoted[row]
        buys = np.where(known, targets, 0.0) * deposited
        held += buys / np.where(known, close, 1.0)
        cash += deposited - float(buys.sum())
        total = cash + float(held @ close)
        asked = owed + fees
        taken = min(asked, total)
        left = 1.0 - taken / total if total > 0.0 else 1.0
        course.quantities[at], course.cash[at] = held * left, cash * left
        course.taken_out[at] = moved + (taken * (owed / asked) if asked > 0.0 else 0.0)
    return course


def simulate_benchmark(
    recorded: Course,
    dates: Dates,
    closes: Floats,
    quoted: Bools,
    targets: Floats,
    charges: CostSchedule,
) -> Course:
    """Return the contributions invested in the targets and rebalanced monthly."""
    due = Frequency.MONTHLY.reviews(dates)
    flows = np.zeros(len(dates))
    flows[recorded.rows] = recorded.paid_in - recorded.taken_out
    course = Course.zeros(np.flatnonzero(due | (flows != 0.0)), len(targets))
    course.paid_in[:] = np.maximum(flows[course.rows], 0.0)
    prices = closes[course.rows]
    known = prices > 0.0
    aims = np.where(quoted[course.rows], targets, 0.0)
    # A deposit's purchases do not depend on holdings.
    bought, rest = _trade_to_target(
        np.zeros_like(aims), course.paid_in, aims, charges, dates[course.rows]
    )
    held, cash = np.zeros(len(targets)), 0.0
    for at, row in enumerate(course.rows):
        values, flow = held * prices[at], float(flows[row])
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
        held = values / np.where(known[at], prices[at], 1.0)
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
