"""Search for the whole steps that leave a portfolio nearest to where it should go.

The search minimises the score of `rounding.score`. Buys lie between nothing and the wanted size
rounded up, sales between the wanted size rounded down and all that may be sold: outside of these
the distance is never smaller. The search makes single steps, then pairs of steps; where steps are
worth much of the portfolio, exchanges of one step for several, too. Portfolios of few orders with
even larger steps get a search over all their orders together (`rounding.beam`).
"""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.rebalancing.rounding import beam
from rebalancer.domain.rebalancing.rounding.problem import RoundingProblem
from rebalancer.domain.rebalancing.rounding.score import OrderRanges, penalty, score

_GAIN = 1e-7
"""Smallest improvement for which sizes change, as a fraction of portfolio value."""

_TINY = 1e-30
"""Avoids division by zero when moves are ranked by gain per unit of cash."""

_ROUNDS = 60
"""Most rounds of moves; few portfolios need more than ten."""

_COARSE = 0.002
"""A step that is worth this share of the portfolio makes exchanges worth their time."""

_FIRSTS = 4
"""Moves that are tried together with every other: those with the largest gain."""


def improve(problem: RoundingProblem, side: Floats, sizes: Floats) -> Floats:
    """Return better sizes that satisfy every constraint."""
    rows = np.flatnonzero(side.any(axis=1))
    if not rows.size:
        return sizes
    ranges = OrderRanges.of(problem, side, sizes, rows)
    better = sizes.copy()
    better[rows] = beam.improve(ranges, _make_moves(ranges, sizes[rows]), _GAIN)
    return better


def _make_moves(ranges: OrderRanges, sizes: Floats) -> Floats:
    """Change sizes until no move and no pair of moves improves the score."""
    sizes, slots = sizes.copy(), sizes.shape[1]
    coarse = ranges.largest_step() >= _COARSE
    kinds = (_Moves.single, _Moves.exchange, _Moves.pair)
    kind = np.zeros(len(sizes), dtype=np.intp)  # the kind of move that each portfolio tries next
    rows = np.arange(len(sizes))
    for _ in range(_ROUNDS):
        moves = _Moves.of(ranges.only(rows), sizes[rows])
        made = np.zeros(moves.to.shape, dtype=bool)
        for number, choose in enumerate(kinds):
            if choose is _Moves.exchange:
                kind[rows[(kind[rows] == number) & ~coarse[rows]]] += 1
            some = np.flatnonzero(kind[rows] == number)
            if some.size:
                made[some] = choose(moves.only(some))
                kind[rows[some]] += ~made[some].any(axis=1)
        up, down = moves.to[:, :slots], moves.to[:, slots:]
        sizes[rows] = np.where(made[:, :slots], up, np.where(made[:, slots:], down, sizes[rows]))
        rows = rows[kind[rows] < len(kinds)]
        if not rows.size:
            break
    return sizes


@attrs.frozen(eq=False)
class _Moves:
    """One step up, then one step down, for each of K orders of R portfolios: M = 2 K moves.

    Attributes:
        to: (R, M) size after the move.
        allowed: (R, M) whether the size is within its range.
        changes: (2, R, M) change of the arguments of `score`.
        now: (2, R) the arguments of `score` without a move.
        takes: (4, R, M) cash, value bought, value sold and equities that the move takes.
        room: (4, R) available amounts of these.
    """

    to: Floats
    allowed: Bools
    changes: Floats
    now: Floats
    takes: Floats
    room: Floats

    @classmethod
    def of(cls, ranges: OrderRanges, sizes: Floats) -> _Moves:
        """Return the moves from given sizes."""
        side, weight, least = ranges.side, ranges.weight, ranges.least
        buys, sells = side > 0, side < 0
        errors, costs = ranges.errors(sizes), ranges.costs(sizes)
        value = sizes * weight
        penalties = penalty(errors, costs)
        now = np.stack([penalties.sum(axis=1), errors.sum(axis=1)])
        bought = np.where(buys, value, 0.0).sum(axis=1)
        sold = np.where(sells, value, 0.0).sum(axis=1)
        room = np.stack(
            [
                ranges.cash - (bought - sold + costs.sum(axis=1)),
                ranges.buys - bought,
                ranges.sells - sold,
                ranges.equities - np.where(ranges.equity, side * value, 0.0).sum(axis=1),
            ]
        )
        # A buy that lacks much money takes all that is available in one move.
        dearer = weight + ranges.charges(ranges.unit) / ranges.total
        leap = np.floor(np.minimum(room[0], room[1])[:, None] / dearer)
        lacking = np.floor(ranges.goal / weight) - sizes
        leap = np.where(buys, np.clip(leap, 1.0, np.maximum(lacking, 1.0)), 1.0)
        up = np.maximum(np.floor(sizes) + leap, least)
        down = np.ceil(sizes) - 1.0
        down = np.where(down < least, 0.0, down)
        rows, slots = sizes.shape
        to = np.empty((rows, 2 * slots))
        allowed = np.empty((rows, 2 * slots), dtype=bool)
        changes, takes = np.empty((2, *to.shape)), np.empty((4, *to.shape))
        used = side != 0
        for size, fits, part in (
            (up, used & (up <= ranges.highest), slice(0, slots)),
            (down, used & (sizes > 0) & (down >= ranges.lowest), slice(slots, None)),
        ):
            later, cost = ranges.errors(size), ranges.costs(size)
            moved = size * weight - value
            taken = side * moved
            to[:, part], allowed[:, part] = size, fits
            changes[0, :, part] = penalty(later, cost) - penalties
            changes[1, :, part] = later - errors
            takes[0, :, part] = taken + cost - costs
            takes[1, :, part] = buys * moved
            takes[2, :, part] = sells * moved
            takes[3, :, part] = ranges.equity * taken
        return cls(to, allowed, changes, now, takes, room)

    def only(self, rows: Rows) -> _Moves:
        """Return the moves of some of the portfolios."""
        return _Moves(
            self.to[rows],
            self.allowed[rows],
            self.changes[:, rows],
            self.now[:, rows],
            self.takes[:, rows],
            self.room[:, rows],
        )

    def gains(self) -> Floats:
        """(R, M) improvement of the score by each move; -inf where it is not allowed."""
        after = score(*(self.changes + self.now[:, :, None]))
        gains = score(*self.now)[:, None] - after
        return np.where(self.allowed, gains, -np.inf)

    def single(self) -> Bools:
        """(R, M) moves that together improve the score most, by gain per unit of cash."""
        gains = self.gains()
        count = gains.shape[1] // 2
        ready = (gains > _GAIN) & _fit(self.takes, self.room)
        # One move for each order.
        up, down = gains[:, :count], gains[:, count:]
        ready[:, :count] &= ~ready[:, count:] | (up >= down)
        ready[:, count:] &= ~ready[:, :count]
        rows = np.flatnonzero(ready.any(axis=1))
        ready[rows] = self.only(rows)._best_of(ready[rows], gains[rows])
        return ready

    def _best_of(self, ready: Bools, gains: Floats) -> Bools:
        """(R, M) the first moves, by gain per unit of cash, up to the best score."""
        worth = np.where(ready, gains / np.maximum(self.takes[0], _TINY), -1.0)
        order = np.argsort(-worth, axis=1, kind="stable")

        def add_up(amounts: Floats) -> Floats:
            ordered = np.take_along_axis(np.where(ready, amounts, 0.0), order[None], axis=2)
            sums: Floats = np.cumsum(ordered, axis=2)
            return sums

        fits = _fit(add_up(self.takes), self.room) & np.take_along_axis(ready, order, axis=1)
        fits = np.logical_and.accumulate(fits, axis=1)
        scores = score(*(add_up(self.changes) + self.now[:, :, None]))
        best = np.where(fits, scores, np.inf).argmin(axis=1)
        made = np.zeros_like(ready)
        chosen = fits & (np.arange(ready.shape[1]) <= best[:, None])
        np.put_along_axis(made, order, chosen, axis=1)
        return made

    def pair(self) -> Bools:
        """(R, M) the move, or the two moves of different orders, that improve the score most."""
        gains = self.gains()
        first = np.argsort(-gains, axis=1, kind="stable")[:, :_FIRSTS]
        moves = gains.shape[1]
        slot = np.arange(moves) % (moves // 2)
        same = slot[first][:, :, None] == slot
        # A move with itself is the move alone.
        possible = np.take_along_axis(self.allowed, first, axis=1)[:, :, None]
        possible = possible & (self.allowed[:, None, :] | same)
        found, at, other = self._best_with(
            first, np.where(same, 0.0, 1.0), self.changes, self.takes, possible
        )
        made = np.zeros(gains.shape, dtype=bool)
        each = np.arange(len(gains))
        one = first[each, at]
        made[each, one] = found
        made[each, other] |= found & (slot[one] != slot[other])
        return made

    def exchange(self) -> Bools:
        """(R, M) one move, and several that pay for it or spend what it frees.

        The several are taken by score per unit of cash, as many as improve the score most.
        """
        gains = self.gains()
        made = np.zeros(gains.shape, dtype=bool)
        cash = self.takes[0]
        left = np.arange(len(gains))
        for sign in (1.0, -1.0):  # one buys more, then one frees cash
            moves = self.only(left)
            made[left] = moves._exchange(gains[left], sign * cash[left])
            left = left[~made[left].any(axis=1)]
        return made

    def _exchange(self, gains: Floats, cash: Floats) -> Bools:
        """Return the exchanges of one move for which ``cash`` is positive and several others."""
        rows, moves = gains.shape
        alone = np.where(cash > 0, gains, -np.inf)
        first = np.argsort(-alone, axis=1, kind="stable")[:, :_FIRSTS]
        released = self.allowed & (cash < 0)
        worth = np.where(released, gains / np.maximum(np.abs(cash), _TINY), -np.inf)
        order = np.argsort(-worth, axis=1, kind="stable")[:, : moves // 2]
        others = np.take_along_axis(released, order, axis=1)

        def add_up(amounts: Floats) -> Floats:
            ordered = np.take_along_axis(amounts, order[None], axis=2)
            sums: Floats = np.cumsum(np.where(others, ordered, 0.0), axis=2)
            return sums

        # Not with the opposite move of the same order.
        slot = np.arange(moves) % (moves // 2)
        apart = slot[first][:, :, None] != slot[order][:, None, :]
        possible = np.logical_and.accumulate(others[:, None, :] & apart, axis=2)
        possible &= np.take_along_axis(alone > -np.inf, first, axis=1)[:, :, None]
        found, at, last = self._best_with(
            first, np.ones((1, 1, 1)), add_up(self.changes), add_up(self.takes), possible
        )
        several = (np.arange(order.shape[1]) <= last[:, None]) & found[:, None]
        made = np.zeros(gains.shape, dtype=bool)
        np.put_along_axis(made, order, several, axis=1)
        each = np.arange(rows)
        made[each, first[each, at]] |= found
        return made

    def _best_with(
        self, first: Rows, factor: Floats, changes: Floats, takes: Floats, possible: Bools
    ) -> tuple[Bools, Rows, Rows]:
        """Find the best combination of one of the first moves and one of the others.

        Args:
            first: (R, F) positions of the first moves.
            factor: (R, F, N) 0 where the other adds nothing to the first.
            changes: (2, R, N) changes that the others make.
            takes: (4, R, N) what the others take.
            possible: (R, F, N) combinations to look at.

        Returns:
            (R,) whether there is one that improves the score, and its positions in both.
        """

        def both(amounts: Floats, others: Floats) -> Floats:
            mine = np.take_along_axis(amounts, first, axis=1)[:, :, None]
            sums: Floats = mine + factor * others[:, None, :]
            return sums

        for taken, other, room in zip(self.takes, takes, self.room, strict=True):
            if not np.isinf(room).all():
                together = both(taken, other)
                possible = possible & ((together <= 0) | (together <= room[:, None, None]))
        after = (
            both(change, other) + now[:, None, None]
            for change, other, now in zip(self.changes, changes, self.now, strict=True)
        )
        scores = np.where(possible, score(*after), np.inf).reshape(
            len(first), possible.shape[1] * possible.shape[2]
        )
        best = scores.argmin(axis=1)
        found = scores[np.arange(len(first)), best] < score(*self.now) - _GAIN
        return found, best // possible.shape[2], best % possible.shape[2]


def _fit(takes: Floats, room: Floats) -> Bools:
    """(R, M) whether there is room for each move; a move that takes nothing always fits."""
    fits: Bools = np.logical_and.reduce((takes <= 0) | (takes <= room[:, :, None]), axis=0)
    return fits
