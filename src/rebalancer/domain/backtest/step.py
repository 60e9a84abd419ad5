"""Simulation step: trade at a close, pay costs, earn returns until the next review.

Backtests step a book of one portfolio, training a book of thousands, with the same accounting.
"""

from __future__ import annotations

import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.solver import Trades, solve_trades

_NO_DEBT = 1e-12
"""Cash below this fraction of the portfolio's value counts as zero."""


def settle(book: Book, done: Trades, decision: Decision) -> Book:
    """Return the book after its trades, with costs and cash flow paid."""
    cash = book.cash + book.flow - np.add.reduce(done.values + done.costs, axis=1)
    # The solver's rounding error must not leave a debt.
    cash[np.abs(cash) <= _NO_DEBT * done.total] = 0.0
    return Book(
        assets=book.assets,
        present=book.present,
        values=book.values + done.values,
        cash=cash,
        flow=np.zeros(len(cash)),
        targets=book.targets,
        as_of=book.as_of,
        reviewed=np.where(decision.due, book.as_of, book.reviewed),
        band=book.band,
        limits=book.limits,
        traded=np.where(done.values.any(axis=1), book.as_of, book.traded),
        cost_rate=book.cost_rate,
        risk_aversion=book.risk_aversion,
    )


def drift(book: Book, growth: Floats, cash_growth: Floats | float, as_of: Dates) -> Book:
    """Return the book one period later.

    Args:
        book: After trading.
        growth: (B, K) or (K,) price relatives over the period.
        cash_growth: (B,) or one growth factor of cash over the period.
        as_of: (B,) last day of the period.
    """
    return Book(
        assets=book.assets,
        present=book.present,
        values=book.values * growth,
        cash=book.cash * cash_growth,
        flow=book.flow,
        targets=book.targets,
        as_of=as_of,
        reviewed=book.reviewed,
        band=book.band,
        limits=book.limits,
        traded=book.traded,
        cost_rate=book.cost_rate,
        risk_aversion=book.risk_aversion,
    )


def step(
    book: Book,
    decision: Decision,
    charges: CostSchedule,
    growth: Floats,
    cash_growth: Floats | float,
    as_of: Dates,
) -> tuple[Book, Trades]:
    """Move a book through one period of any length.

    Returns:
        The book at the end of the period, before its next trades, and the trades.
    """
    done = solve_trades(book, decision, charges)
    return drift(settle(book, done, decision), growth, cash_growth, as_of), done
