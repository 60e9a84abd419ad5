"""The search of algorithm 2, with which proposals stored before algorithm 3 are replayed.

It minimises the squared weight error of the assets plus cost, without cash as an asset, by moves of
one step of one order or of two. Sizes are as in `rounding.problem`.
"""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.rebalancing.rounding.problem import RoundingProblem

_GAIN = 1e-15
"""Smallest improvement of the sum for which a move is made."""

_TINY = 1e-200
"""Avoids division by zero when moves are ranked by gain per unit of cash."""

_ROUNDS = 50
"""Most rounds of the local search; few portfolios need more than five."""


def improve(problem: RoundingProblem, side: Floats, sizes: Floats) -> Floats:
    """Make moves until none reduces the sum."""
    rows = np.flatnonzero(side.any(axis=1))
    slots = sizes.shape[1]
    for _ in range(_ROUNDS):
        if not rows.size:
            break
        moves = _moves(problem, side, sizes, rows)
        made = moves.affordable()
        stuck = np.flatnonzero(~made.any(axis=1))
        if stuck.size:
            made[stuck] = moves.only(stuck).paired()
        sizes[rows] = np.where(made[:, :slots], moves.to[:, :slots], sizes[rows])
        sizes[rows] = np.where(made[:, slots:], moves.to[:, slots:], sizes[rows])
        rows = rows[made.any(axis=1)]
    return sizes


def _moves(problem: RoundingProblem, sides: Floats, sizes: Floats, rows: Rows) -> _Moves:
    """One step up and one step down for every order of some portfolios."""
    side, unit, now = sides[rows], problem.unit[rows], sizes[rows]
    trade, total, held = problem.trade[rows], problem.total[rows], problem.book.values[rows]
    bounds, budget, profiled = problem.bounds, problem.budget, problem.strict[rows]
    least = bounds.least[rows]
    charges = problem.charges.row(rows)

    def outcome(steps: Floats) -> tuple[Floats, Floats]:
        """Summand of each order, and the cash that it takes."""
        value = steps * unit
        cost = charges(value)
        error = (side * value - trade) / total
        return error * error + cost / total, side * value + cost

    buys, sells = side > 0, side < 0
    loss, cash = outcome(now)
    room = np.stack(
        [
            budget.cash[rows] - cash.sum(axis=1),
            budget.buys[rows] - np.where(buys, now * unit, 0.0).sum(axis=1),
            budget.sells[rows] - np.where(sells, now * unit, 0.0).sum(axis=1),
        ]
    )
    # A buy that lacks much money takes all that is available in one move.
    leap = np.floor(np.minimum(room[0], room[1])[:, None] / (unit + charges(unit)))
    leap = np.where(buys, np.clip(leap, 1.0, np.maximum(bounds.low[rows] - now, 1.0)), 1.0)
    up = np.maximum(np.floor(now) + leap, least)
    down = np.ceil(now) - 1.0
    down = np.where(down < least, 0.0, down)
    may_rise = buys & (~profiled | (up <= bounds.low[rows]))
    may_rise &= held + up * unit <= problem.ceiling[rows]
    may_rise |= sells & (up <= bounds.most[rows])
    may_fall = buys | (sells & ~profiled & (down >= bounds.demand[rows]))
    may_fall &= now > 0
    loss_up, cash_up = outcome(up)
    loss_down, cash_down = outcome(down)
    rise, fall = (up - now) * unit, (down - now) * unit
    return _Moves(
        to=np.concatenate((up, down), axis=1),
        gain=np.concatenate(
            (
                np.where(may_rise, loss - loss_up, -np.inf),
                np.where(may_fall, loss - loss_down, -np.inf),
            ),
            axis=1,
        ),
        # An order ends next to its wanted size, unless it has to pay for another.
        proper=np.concatenate((up <= bounds.high[rows], down >= bounds.low[rows]), axis=1),
        takes=np.stack(
            [
                np.concatenate((cash_up - cash, cash_down - cash), axis=1),
                np.concatenate((buys * rise, buys * fall), axis=1),
                np.concatenate((sells * rise, sells * fall), axis=1),
            ]
        ),
        room=room,
    )


@attrs.frozen(eq=False)
class _Moves:
    """One step up, then one step down, for each of K orders of R portfolios: M = 2 K moves.

    Attributes:
        to: (R, M) size after the move.
        gain: (R, M) reduction of the sum; -inf where the move is not allowed.
        proper: (R, M) whether it ends next to the wanted size.
        takes: (3, R, M) cash, value bought and value sold that it takes.
        room: (3, R) available amounts of these.
    """

    to: Floats
    gain: Floats
    proper: Bools
    takes: Floats
    room: Floats

    def only(self, rows: Rows) -> _Moves:
        """Return the moves of some of the portfolios."""
        return _Moves(
            self.to[rows],
            self.gain[rows],
            self.proper[rows],
            self.takes[:, rows],
            self.room[:, rows],
        )

    @property
    def wanted(self) -> Bools:
        """(R, M) moves that reduce the sum."""
        return self.proper & (self.gain > _GAIN)

    def affordable(self) -> Bools:
        """(R, M) wanted moves that fit together, the most gain per unit of cash first."""
        ready = self.wanted & _fit(self.takes, self.room)
        takes = np.where(ready, self.takes, 0.0)
        worth = np.where(ready, self.gain / np.maximum(takes[0], _TINY), -1.0)
        order = np.argsort(-worth, axis=1, kind="stable")
        takes = np.take_along_axis(takes, order[None], axis=2)
        enough = (takes <= 0) | (np.cumsum(takes, axis=2) <= self.room[:, :, None])
        fit = np.take_along_axis(ready, order, axis=1) & np.logical_and.reduce(enough, axis=0)
        made = np.zeros_like(ready)
        np.put_along_axis(made, order, np.logical_and.accumulate(fit, axis=1), axis=1)
        return made

    def paired(self) -> Bools:
        """(R, M) the wanted move with the most gain, and a move that makes room for it."""
        count, moves = self.to.shape
        made = np.zeros((count, moves), dtype=bool)
        left = self.wanted
        slot = np.arange(moves) % (moves // 2)
        rows = np.flatnonzero(left.any(axis=1))
        while rows.size:
            first = np.where(left[rows], self.gain[rows], -np.inf).argmax(axis=1)
            left[rows, first] = False
            gain = self.gain[rows] + self.gain[rows, first][:, None]
            takes = self.takes[:, rows] + self.takes[:, rows, first][:, :, None]
            possible = _fit(takes, self.room[:, rows])
            possible &= (gain > _GAIN) & (slot != slot[first][:, None])
            second = np.where(possible, gain, -np.inf).argmax(axis=1)
            found = possible.any(axis=1)
            made[rows[found], first[found]] = made[rows[found], second[found]] = True
            rows = rows[~found & left[rows].any(axis=1)]
        return made


def _fit(takes: Floats, room: Floats) -> Bools:
    """(R, M) whether there is room for each move; a move that takes nothing always fits."""
    fits: Bools = np.logical_and.reduce((takes <= 0) | (takes <= room[:, :, None]), axis=0)
    return fits
