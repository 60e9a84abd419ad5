"""Place what rounding leaves of a deposit: it goes on to the next largest shortfalls.

A deposit goes to the largest shortfalls first. Where a share of these costs more than the deposit,
the money would stay idle although other assets are short of their targets, too.
"""

from __future__ import annotations

import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.rebalancing.rounding.problem import NEARLY, RoundingProblem
from rebalancer.domain.rebalancing.solver import Trades


def place_deposits(
    problem: RoundingProblem, wanted: Trades, side: Floats, sizes: Floats
) -> tuple[Floats, Floats]:
    """Buy more assets that are short of their aims, the largest shortfall first.

    Only for portfolios with a deposit, with its money, and of assets that are not traded yet.

    Returns:
        (B, K) sides and sizes.
    """
    book, unit = problem.book, problem.unit
    limits = book.limits
    deposits = np.any(wanted.flow > 0, axis=1) & ~problem.strict[:, 0]
    free = deposits[:, None] & (side == 0) & book.present & ~limits.no_buy & ~problem.dropped
    short = np.where(free, wanted.aims - book.values, 0.0)
    rows = np.flatnonzero(np.any(short > 0, axis=1))
    if not rows.size:
        return side, sizes
    side, sizes = side.copy(), sizes.copy()
    # Half a step too much is nearer than none; limits of a profile allow no excess.
    profiled = limits.profiled[:, None]
    steps = np.where(profiled, np.floor(short / unit + NEARLY), np.rint(short / unit))
    room = np.floor((problem.ceiling - book.values) / unit + NEARLY)
    steps = np.minimum(steps, room)
    while rows.size:
        values = side[rows] * sizes[rows] * unit[rows]
        bought = np.where(side[rows] > 0, values, 0.0).sum(axis=1)
        charges = problem.charges.row(rows)
        cash = problem.budget.cash[rows] - values.sum(axis=1)
        cash = cash - charges(np.abs(values)).sum(axis=1)
        idle = (problem.trade[rows] - values).sum(axis=1)
        money = np.minimum(np.minimum(cash, idle), problem.budget.buys[rows] - bought)
        dearer = unit[rows] + charges(unit[rows])
        most = np.minimum(steps[rows], np.floor(np.maximum(money, 0.0)[:, None] / dearer))
        equity = limits.equity[rows]
        equities = np.where(equity, book.values[rows] + values, 0.0).sum(axis=1)
        room = limits.equity_ceiling[rows] * problem.total[rows, 0] - equities
        most = np.where(equity, np.minimum(most, np.floor(room[:, None] / unit[rows])), most)
        possible = free[rows] & (most >= 1) & (most >= problem.bounds.least[rows])
        some = np.flatnonzero(possible.any(axis=1))
        rows, most = rows[some], most[some]
        best = np.where(possible[some], short[rows], -np.inf).argmax(axis=1)
        each = np.arange(rows.size)
        side[rows, best], sizes[rows, best] = 1.0, most[each, best]
        free[rows, best] = False
    return side, sizes
