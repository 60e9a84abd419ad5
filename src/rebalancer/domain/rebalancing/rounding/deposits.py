"""Place what rounding leaves of a deposit: it goes on to the next largest shortfalls.

A deposit goes to the largest shortfalls first. Where a share of these costs more than the deposit,
the money would stay idle although other assets are short of their targets, too.
"""

from __future__ import annotations

import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.rebalancing.rounding.problem import NEARLY, RoundingProblem
from rebalancer.domain.rebalancing.solver import Trades


def place_deposits(
    problem: RoundingProblem,
    wanted: Trades,
    side: Floats,
    sizes: Floats,
    targets: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Buy more assets that are short of their aims, the largest shortfall first.

    Only for portfolios with a deposit, with its money, and of assets that are not traded yet. What
    is left then buys assets up to their targets where a locked overweight has lowered the aims.

    Args:
        problem: The problem of rounding.
        wanted: Trades of the first stage.
        side: (B, K) 1 for a buy, -1 for a sale.
        sizes: (B, K) steps.
        targets: (B, K) weights that the policy aims at.

    Returns:
        (B, K) sides and sizes.
    """
    book, limits = problem.book, problem.book.limits
    deposits = np.any(wanted.flow > 0, axis=1) & ~problem.strict[:, 0]
    free = deposits[:, None] & book.present & ~limits.no_buy & ~problem.dropped
    side, sizes = _buy(problem, side, sizes, wanted.aims - book.values, free & (side == 0))
    locked = limits.no_sell & (book.values > wanted.aims * (1 - NEARLY)) & (book.values > 0)
    if targets is None or not locked.any():
        return side, sizes
    lowered = locked.any(axis=1) & ~limits.profiled
    free &= lowered[:, None] & (side >= 0)
    short = targets * problem.total - book.values - side * sizes * problem.unit
    return _buy(problem, side, sizes, short, free)


def _buy(
    problem: RoundingProblem, side: Floats, sizes: Floats, short: Floats, free: Bools
) -> tuple[Floats, Floats]:
    """Buy free assets that are short of some value, the largest shortfall first."""
    book, unit = problem.book, problem.unit
    limits = book.limits
    short = np.where(free, short, 0.0)
    rows = np.flatnonzero(np.any(short > 0, axis=1))
    if not rows.size:
        return side, sizes
    side, sizes = side.copy(), sizes.copy()
    # Half a step too much is nearer than none; limits of a profile allow no excess.
    profiled = limits.profiled[:, None] | problem.strict
    steps = np.where(profiled, np.floor(short / unit + NEARLY), np.rint(short / unit))
    room = np.floor((problem.ceiling - book.values) / unit + NEARLY) - sizes
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
        possible = free[rows] & (most >= 1) & (sizes[rows] + most >= problem.bounds.least[rows])
        some = np.flatnonzero(possible.any(axis=1))
        rows, most = rows[some], most[some]
        best = np.where(possible[some], short[rows], -np.inf).argmax(axis=1)
        each = np.arange(rows.size)
        side[rows, best] = 1.0
        sizes[rows, best] += most[each, best]
        free[rows, best] = False
    return side, sizes
