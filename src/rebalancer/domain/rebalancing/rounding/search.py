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

from rebalancer.domain.arrays import Bools, Floats, Rows, flat_positions, pick
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
    better, slots = sizes.copy(), sizes.shape[1]
    coarse = ranges.largest_step() >= _COARSE
    kinds = (_Moves.single, _Moves.exchange, _Moves.pair)
    kind = np.zeros(len(sizes), dtype=np.intp)  # the kind of move that each portfolio tries next
    rows = np.arange(len(sizes))
    orders = _Orders.of(ranges)
    for _ in range(_ROUNDS):
        moves = _Moves.of(orders, sizes)
        made = np.zeros(moves.to.shape, dtype=bool)
        for number, choose in enumerate(kinds):
            if choose is _Moves.exchange:
                kind[(kind == number) & ~coarse] += 1
            some = np.flatnonzero(kind == number)
            if some.size:
                made[some] = chosen = choose(moves.only(some))
                kind[some] += ~np.logical_or.reduce(chosen, axis=1)
        up, down = moves.to[:, :slots], moves.to[:, slots:]
        sizes = np.where(made[:, :slots], up, np.where(made[:, slots:], down, sizes))
        better[rows] = sizes
        left = np.flatnonzero(kind < len(kinds))
        if not left.size:
            break
        if left.size < rows.size:
            rows, sizes, orders = rows[left], sizes[left], orders.only(left)
            kind, coarse = kind[left], coarse[left]
    return better


@attrs.frozen(eq=False)
class _Orders:
    """What stays the same while the orders of R portfolios change their sizes.

    Attributes:
        ranges: Sizes that the orders may have.
        used: (R, K) orders that buy or sell.
        buys: (R, K) 1 for orders that buy, else 0: floats multiply faster than bools.
        sells: (R, K) 1 for orders that sell, else 0.
        dearer: (R, K) cash that a step takes.
        wanted: (R, K) steps that come nearest to the goal from below.
        uses: (C, R, K) how a step's value counts towards each of C limits: cash, and those of buys,
            of sales and of equities that limit any portfolio.
        limits: (C, R) amounts of these.
    """

    ranges: OrderRanges
    used: Bools
    buys: Floats
    sells: Floats
    dearer: Floats
    wanted: Floats
    uses: Floats
    limits: Floats

    @classmethod
    def of(cls, ranges: OrderRanges) -> _Orders:
        """Return what stays the same, from the ranges of the sizes."""
        side, weight = ranges.side, ranges.weight
        buys, sells = np.maximum(side, 0.0), np.maximum(-side, 0.0)
        uses, limits = [side], [ranges.cash]
        for counted, limit in (
            (buys, ranges.buys),
            (sells, ranges.sells),
            (ranges.equity * side, ranges.equities),
        ):
            if not np.isinf(limit).all():
                uses.append(counted)
                limits.append(limit)
        return cls(
            ranges=ranges,
            used=side != 0,
            buys=buys,
            sells=sells,
            dearer=weight + ranges.charges(ranges.unit) / ranges.total,
            wanted=np.floor(ranges.goal / weight),
            uses=np.array(uses),
            limits=np.array(limits),
        )

    def only(self, rows: Rows) -> _Orders:
        """Return the same of some of the portfolios."""
        return _Orders(
            self.ranges.only(rows),
            self.used[rows],
            self.buys[rows],
            self.sells[rows],
            self.dearer[rows],
            self.wanted[rows],
            self.uses[:, rows],
            self.limits[:, rows],
        )


@attrs.frozen(eq=False)
class _Moves:
    """One step up, then one step down, for each of K orders of R portfolios: M = 2 K moves.

    Attributes:
        to: (R, M) size after the move.
        allowed: (R, M) whether the size is within its range.
        effects: (2 + C, R, M) change of the two arguments of `score`, then what the move takes of
            each limit.
        now: (2, R) the arguments of `score` without a move.
        room: (C, R) available amount of each limit, at least 0: a move that takes nothing fits.
        score: (R,) score without a move.
        after: (R, M) score after each move; infinite where it is not allowed.
    """

    to: Floats
    allowed: Bools
    effects: Floats
    now: Floats
    room: Floats
    score: Floats
    after: Floats

    @classmethod
    def of(cls, orders: _Orders, sizes: Floats) -> _Moves:
        """Return the moves from given sizes."""
        ranges, uses = orders.ranges, orders.uses
        errors, costs, value = ranges.errors(sizes), ranges.costs(sizes), sizes * ranges.weight
        penalties = penalty(errors, costs)
        bought, sold, spent, *now = np.add.reduce(
            np.array([orders.buys * value, orders.sells * value, costs, penalties, errors]), axis=2
        )
        room = orders.limits - np.add.reduce(uses * value, axis=2)
        room[0] = ranges.cash - (bought - sold + spent)
        # A buy that lacks much money takes all that is available in one move.
        leap = np.floor(np.minimum(room[0], ranges.buys - bought)[:, None] / orders.dearer)
        lacking = orders.buys * (orders.wanted - sizes)
        leap = np.minimum(np.maximum(leap, 1.0), np.maximum(lacking, 1.0))
        down = np.ceil(sizes) - 1.0
        up, down = np.maximum(np.floor(sizes) + leap, ranges.least), down * (down >= ranges.least)
        to = np.array([up, down])
        allowed = np.array([up <= ranges.highest, (down >= ranges.lowest) & (sizes > 0)])
        allowed &= orders.used
        later, cost, moved = ranges.errors(to), ranges.costs(to), to * ranges.weight - value
        effects = np.empty((2 + len(uses), *to.shape))
        effects[0] = penalty(later, cost) - penalties
        effects[1] = later - errors
        np.multiply(uses[:, None], moved, out=effects[2:])
        effects[2] += cost
        effects[2] -= costs
        # From up and down apart, (2, R, K), to all moves of a portfolio, (R, M).
        effects = effects.swapaxes(1, 2).reshape(len(effects), len(sizes), -1)
        allowed = np.concatenate(allowed, axis=1)
        after = score(effects[0] + now[0][:, None], effects[1] + now[1][:, None])
        np.putmask(after, ~allowed, np.inf)  # in a third of the time of `np.where`
        return cls(
            to=np.concatenate(to, axis=1),
            allowed=allowed,
            effects=effects,
            now=np.array(now),
            room=np.maximum(room, 0.0),
            score=score(*now),
            after=after,
        )

    def only(self, rows: Rows) -> _Moves:
        """Return the moves of some of the portfolios."""
        if rows.size == len(self.to):
            return self
        return _Moves(
            self.to[rows],
            self.allowed[rows],
            self.effects[:, rows],
            self.now[:, rows],
            self.room[:, rows],
            self.score[rows],
            self.after[rows],
        )

    @property
    def gains(self) -> Floats:
        """(R, M) improvement of the score by each move; -inf where it is not allowed."""
        gains: Floats = self.score[:, None] - self.after
        return gains

    def single(self) -> Bools:
        """(R, M) moves that together improve the score most, by gain per unit of cash."""
        gains = self.gains
        count = gains.shape[1] // 2
        ready = (gains > _GAIN) & _fit(self.effects, self.room)
        # One move for each order.
        up, down = gains[:, :count], gains[:, count:]
        ready[:, :count] &= ~ready[:, count:] | (up >= down)
        ready[:, count:] &= ~ready[:, :count]
        rows = np.flatnonzero(np.count_nonzero(ready, axis=1) > 1)
        if rows.size:
            ready[rows] = self.only(rows)._best_of(ready[rows], gains[rows])
        return ready

    def _best_of(self, ready: Bools, gains: Floats) -> Bools:
        """(R, M) the first moves, by gain per unit of cash, up to the best score."""
        worth = gains / np.maximum(self.effects[2], _TINY)
        np.putmask(worth, ~ready, -1.0)
        most = np.count_nonzero(ready, axis=1).max()
        order = flat_positions((-worth).argsort(axis=1, kind="stable")[:, :most], worth.shape[1])
        together = np.add.accumulate(pick(self.effects, order), axis=2)
        fits = _fit(together, self.room) & pick(ready, order)
        fits = np.logical_and.accumulate(fits, axis=1)
        penalties, balance = together[:2] + self.now[:, :, None]
        best = np.where(fits, score(penalties, balance), np.inf).argmin(axis=1)
        made = np.zeros_like(ready)
        made.ravel()[order] = fits & (np.arange(order.shape[1]) <= best[:, None])
        return made

    def pair(self) -> Bools:
        """(R, M) the move, or the two moves of different orders, that improve the score most."""
        rows, moves = self.to.shape
        slots = moves // 2
        first = self.after.argsort(axis=1, kind="stable")[:, :_FIRSTS]
        place = flat_positions(first, moves)
        mine = pick(self.effects, place)
        possible = pick(self.allowed, place)[:, :, None] & self.allowed[:, None, :]
        scores = self._scores(mine, self.effects, possible)
        # With itself, or the opposite move of its order, a move is alone.
        alone = np.where(_fit(mine, self.room), pick(self.after, place), np.inf)
        each = np.arange(rows)
        slot = first % slots
        for same in (slot, slot + slots):
            scores[each[:, None], np.arange(first.shape[1]), same] = alone
        found, at, other = self._best(scores)
        made = np.zeros(self.to.shape, dtype=bool)
        one = first[each, at]
        made[each, one] = found
        made[each, other] |= found & (one % slots != other % slots)
        return made

    def exchange(self) -> Bools:
        """(R, M) one move, and several that pay for it or spend what it frees.

        The several are taken by score per unit of cash, as many as improve the score most.
        """
        made = np.zeros(self.to.shape, dtype=bool)
        left = np.arange(len(made))
        for sign in (1.0, -1.0):  # one buys more, then one frees cash
            moves = self.only(left)
            made[left] = chosen = moves._exchange(sign * moves.effects[2])
            left = left[~chosen.any(axis=1)]
            if not left.size:
                break
        return made

    def _exchange(self, cash: Floats) -> Bools:
        """Return the exchanges of one move for which ``cash`` is positive and several others."""
        rows, moves = self.to.shape
        gains, slots = self.gains, moves // 2
        alone = np.where(cash > 0, gains, -np.inf)
        first = (-alone).argsort(axis=1, kind="stable")[:, :_FIRSTS]
        released = self.allowed & (cash < 0)
        worth = np.where(released, gains / np.maximum(np.abs(cash), _TINY), -np.inf)
        order = (-worth).argsort(axis=1, kind="stable")[:, :slots]
        place, places = flat_positions(first, moves), flat_positions(order, moves)
        others = pick(released, places)
        together = np.where(others, pick(self.effects, places), 0.0)
        # Not with the opposite move of the same order.
        apart = (first % slots)[:, :, None] != (order % slots)[:, None, :]
        possible = np.logical_and.accumulate(others[:, None, :] & apart, axis=2)
        possible &= pick(alone > -np.inf, place)[:, :, None]
        scores = self._scores(
            pick(self.effects, place), np.add.accumulate(together, axis=2), possible
        )
        found, at, last = self._best(scores)
        several = (np.arange(order.shape[1]) <= last[:, None]) & found[:, None]
        made = np.zeros(self.to.shape, dtype=bool)
        made.ravel()[places] = several
        each = np.arange(rows)
        made[each, first[each, at]] |= found
        return made

    def _scores(self, mine: Floats, others: Floats, possible: Bools) -> Floats:
        """(R, F, N) score after one of F moves and one of N others; infinite if not possible.

        Args:
            mine: (2 + C, R, F) effects of the first moves.
            others: (2 + C, R, N) effects of the others.
            possible: (R, F, N) combinations to look at.
        """

        def both(effect: int) -> Floats:
            sums: Floats = mine[effect, :, :, None] + others[effect, :, None, :]
            return sums

        for number, room in enumerate(self.room):
            possible = possible & (both(2 + number) <= room[:, None, None])
        penalties, balance = (both(effect) + self.now[effect, :, None, None] for effect in (0, 1))
        scores = score(penalties, balance)
        np.putmask(scores, ~possible, np.inf)
        return scores

    def _best(self, scores: Floats) -> tuple[Bools, Rows, Rows]:
        """Find the combination with the best score of (R, F, N).

        Returns:
            (R,) whether it improves the score, and its positions in F and N.
        """
        rows, _, others = scores.shape
        scores = scores.reshape(rows, -1)
        best = scores.argmin(axis=1)
        found = scores[np.arange(rows), best] < self.score - _GAIN
        return found, best // others, best % others


def _fit(effects: Floats, room: Floats) -> Bools:
    """(R, M) whether there is room for moves with (2 + C, R, M) effects."""
    fits: Bools = np.logical_and.reduce(effects[2:] <= room[:, :, None], axis=0)
    return fits
