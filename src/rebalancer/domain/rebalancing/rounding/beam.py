"""Search all orders of a portfolio together: a beam search from the dearest asset to the cheapest.

Where a share costs much of the portfolio's value, the best sizes can differ from the wanted ones by
several steps of several orders. The search chooses the sizes one order after another, those with
the largest steps first. It keeps the `_WIDTH` most promising choices, judged by the score that the
remaining orders could still reach if they were not rounded. (Guo and Nilsson 2006, "Algorithm and
implementation of the K-best sphere decoding", search nearest lattice points in this way.)
"""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.rebalancing.rounding.problem import NEARLY
from rebalancer.domain.rebalancing.rounding.score import SQUARES, OrderRanges, penalty, score

_WIDTH = 48
"""Choices that are kept after each order."""

_MOST_ORDERS = 16
"""Portfolios with more orders are left to the search by steps."""

_DEAR = 0.004
"""A step that is worth this share of the portfolio makes the search worth its time."""

_NO_CASH = 1e-12
"""Less than this fraction of portfolio value is a rounding error."""

_ROWS = 64
"""Portfolios that are searched at a time; bounds the memory."""


def improve(ranges: OrderRanges, sizes: Floats, least_gain: float) -> Floats:
    """Return better sizes where the search finds them.

    Args:
        ranges: Ranges of the sizes of R portfolios.
        sizes: (R, K) the best sizes so far.
        least_gain: Smallest improvement of the score for which sizes change.
    """
    errors = ranges.errors(sizes)
    penalties = penalty(errors, ranges.costs(sizes))
    current = score(penalties.sum(axis=1), errors.sum(axis=1))
    open_ = ranges.highest > ranges.lowest
    count = np.count_nonzero(open_, axis=1)
    rows = np.flatnonzero((ranges.largest_step() >= _DEAR) & (count > 0) & (count <= _MOST_ORDERS))
    if not rows.size:
        return sizes
    better = sizes.copy()
    for at in range(0, len(rows), _ROWS):
        some = rows[at : at + _ROWS]
        found, scores = _search(ranges.only(some), sizes[some], open_[some])
        gained = scores < current[some] - least_gain
        better[some] = np.where(gained[:, None], found, sizes[some])
    return better


@attrs.frozen(eq=False)
class _Choices:
    """W choices of the sizes of some orders, for R portfolios; fractions of portfolio value.

    Attributes:
        penalties: (R, W) sum of penalties.
        balance: (R, W) sum of errors.
        costs: (R, W) sum of costs.
        bought: (R, W) value bought.
        sold: (R, W) value sold.
        equities: (R, W) value of equities bought less sold.
        dead: (R, W) whether the choice is impossible.
    """

    penalties: Floats
    balance: Floats
    costs: Floats
    bought: Floats
    sold: Floats
    equities: Floats
    dead: Bools

    def keep(self, best: Rows) -> _Choices:
        """Return the choices at (R, W) positions."""
        return _Choices(
            *(
                np.take_along_axis(getattr(self, field.name), best, axis=1)
                for field in attrs.fields(_Choices)
            )
        )


def _search(ranges: OrderRanges, sizes: Floats, open_: Bools) -> tuple[Floats, Floats]:
    """Return the best sizes found, (R, K), and their scores, (R,)."""
    rows = np.arange(len(sizes))[:, None]
    settled = np.where(open_, 0.0, sizes)
    # The largest steps first; closed orders last.
    order = np.lexsort((-np.abs(ranges.goal), np.where(open_, -ranges.weight, np.inf)), axis=1)
    count = int(np.count_nonzero(open_, axis=1).max())
    errors = np.where(open_, 0.0, ranges.errors(settled))
    value = np.where(open_, 0.0, settled * ranges.weight)

    def total(amounts: Floats) -> Floats:
        total: Floats = amounts.sum(axis=1)[:, None]
        return total

    costs = np.where(open_, 0.0, ranges.costs(settled))
    choices = _Choices(
        penalties=total(penalty(errors, costs)),
        balance=total(errors),
        costs=total(costs),
        bought=total(np.where(ranges.side > 0, value, 0.0)),
        sold=total(np.where(ranges.side < 0, value, 0.0)),
        equities=total(np.where(ranges.equity, ranges.side * value, 0.0)),
        dead=np.zeros((len(sizes), 1), dtype=bool),
    )
    # Where the first sizes lack cash already, others must not lack more.
    value = ranges.side * (sizes * ranges.weight)
    first_cash = ranges.cash - value.sum(axis=1) - ranges.costs(sizes).sum(axis=1)
    least_cash = np.where(first_cash < 0, first_cash - _NO_CASH, 0.0)[:, None]
    # Cash that the orders after each may still raise.
    saleable = np.where(open_ & (ranges.side < 0), ranges.highest * ranges.weight, 0.0)

    def raised_later(amounts: Floats) -> Floats:
        """(R, N) sum over the orders after each."""
        ordered = np.take_along_axis(amounts, order, axis=1)[:, :count]
        later: Floats = np.cumsum(ordered[:, ::-1], axis=1)[:, ::-1] - ordered
        return later

    later = raised_later(saleable)
    later_equities = raised_later(np.where(ranges.equity, saleable, 0.0))
    first_equities = np.where(ranges.equity, ranges.side * (sizes * ranges.weight), 0.0)
    most_equities = np.maximum(ranges.equities, first_equities.sum(axis=1) + _NO_CASH)[:, None]
    chosen = np.zeros((len(sizes), 1, 0))
    for at in range(count):
        slot = order[:, at : at + 1]
        left = np.count_nonzero(open_, axis=1)[:, None] - at - 1
        bounds = (
            later[:, at : at + 1],
            least_cash,
            most_equities + later_equities[:, at : at + 1],
        )
        step = _Step.of(ranges, rows, slot, left, *bounds)
        tried = step.sizes(choices)
        width = tried.shape[1] // choices.balance.shape[1]
        choices = step.choose(choices, tried, width)
        bound = score(choices.penalties, choices.balance)
        # Errors that remain can be shared by cash and the orders that are left.
        spread = choices.balance * choices.balance
        bound = bound - SQUARES * (spread - spread / (np.maximum(left, 0) + 1.0))
        bound = np.where(choices.dead, np.inf, bound)
        best = np.argsort(bound, axis=1, kind="stable")[:, :_WIDTH]
        chosen = np.take_along_axis(chosen, (best // width)[:, :, None], axis=1)
        kept = np.take_along_axis(tried, best, axis=1)
        chosen = np.concatenate((chosen, kept[:, :, None]), axis=2)
        choices = choices.keep(best)
    final = score(choices.penalties, choices.balance)
    final = np.where(choices.dead, np.inf, final)
    best = final.argmin(axis=1)
    found = settled.copy()
    winner = chosen[rows[:, 0], best]
    used = np.take_along_axis(open_, order[:, :count], axis=1)
    before = np.take_along_axis(settled, order[:, :count], axis=1)
    np.put_along_axis(found, order[:, :count], np.where(used, winner, before), axis=1)
    return found, final[rows[:, 0], best]


@attrs.frozen(eq=False)
class _Step:
    """The choice of one order's size in each of R portfolios; each attribute is (R, 1).

    Attributes:
        side, weight, goal, lowest, highest, least: As in `OrderRanges`, 0 where there is no order.
        fee: Cost of an order that does not depend on its size.
        rate: Cost of a further step.
        later: Cash that later orders may raise.
        least_cash: Cash that must be left.
        most_equities: Largest value of equities bought less sold.
        left: Number of later orders.
        active: Whether there is an order.
        ranges: All orders.
        rows, slot: The order's place in ``ranges``.
    """

    side: Floats
    weight: Floats
    goal: Floats
    lowest: Floats
    highest: Floats
    least: Floats
    fee: Floats
    rate: Floats
    later: Floats
    least_cash: Floats
    most_equities: Floats
    left: Floats
    active: Bools
    ranges: OrderRanges
    rows: Rows
    slot: Rows

    @classmethod
    def of(
        cls,
        ranges: OrderRanges,
        rows: Rows,
        slot: Rows,
        left: Floats,
        later: Floats,
        least_cash: Floats,
        most_equities: Floats,
    ) -> _Step:
        """Return the choice at ``slot`` (R, 1)."""
        unit, total = ranges.unit[rows, slot], ranges.total
        charges = ranges.charges.at_slots(rows, slot)
        rate = (charges(2 * unit) - charges(unit)) / total
        return cls(
            side=ranges.side[rows, slot],
            weight=ranges.weight[rows, slot],
            goal=ranges.goal[rows, slot],
            lowest=ranges.lowest[rows, slot],
            highest=ranges.highest[rows, slot],
            least=ranges.least[rows, slot],
            fee=np.maximum(charges(unit) / total - rate, 0.0),
            rate=rate,
            later=later,
            least_cash=least_cash,
            most_equities=most_equities,
            left=np.maximum(left, 0).astype(np.float64),
            active=left >= 0,
            ranges=ranges,
            rows=rows,
            slot=slot,
        )

    def sizes(self, choices: _Choices) -> Floats:
        """(R, W x n) sizes to try after each choice."""
        wanted = self.side * self.goal / self.weight
        imbalance = self.side * choices.balance / self.weight
        cash = self._cash(choices)
        affordable = np.floor((cash - self.fee + NEARLY * self.weight) / (self.weight + self.rate))
        # The wanted size, and those that offset the errors so far, or this order's share of them.
        nearest = wanted + np.zeros_like(imbalance)
        shared = wanted - imbalance / (self.left + 1.0)
        alone = wanted - imbalance
        tried = [
            np.floor(nearest + NEARLY),
            np.ceil(nearest - NEARLY),
            np.floor(shared) - 1.0,
            np.floor(shared),
            np.floor(shared) + 1.0,
            np.floor(shared) + 2.0,
            np.floor(alone + NEARLY),
            np.ceil(alone - NEARLY),
            affordable,
            affordable - 1.0,
        ]
        most = np.where(self.side > 0, np.minimum(self.highest, affordable), self.highest)
        sizes = np.stack(tried, axis=2)
        sizes = np.clip(sizes, self.lowest[:, :, None], np.maximum(most, self.lowest)[:, :, None])
        sizes = np.where(sizes < self.least[:, :, None], self.lowest[:, :, None], sizes)
        sizes = np.where(self.active[:, :, None], sizes, 0.0)
        return np.sort(sizes, axis=2).reshape(len(sizes), -1)

    def choose(self, choices: _Choices, sizes: Floats, width: int) -> _Choices:
        """Return the choices that follow from trying ``width`` sizes after each."""
        value = sizes * self.weight
        errors = np.where(self.active, self.side * value - self.goal, 0.0)
        money = sizes * self.ranges.unit[self.rows, self.slot]
        costs = self.ranges.charges.at_slots(self.rows, self.slot)(money) / self.ranges.total

        def repeat(amounts: Floats) -> Floats:
            repeated: Floats = np.repeat(amounts, width, axis=1)
            return repeated

        first = np.zeros(sizes.shape, dtype=bool)
        first[:, ::width] = True
        repeated = ~first
        repeated[:, 1:] &= sizes[:, 1:] == sizes[:, :-1]
        made = _Choices(
            penalties=repeat(choices.penalties) + penalty(errors, costs),
            balance=repeat(choices.balance) + errors,
            costs=repeat(choices.costs) + costs,
            bought=repeat(choices.bought) + np.where(self.side > 0, value, 0.0),
            sold=repeat(choices.sold) + np.where(self.side < 0, value, 0.0),
            equities=repeat(choices.equities)
            + np.where(self.ranges.equity[self.rows, self.slot], self.side * value, 0.0),
            dead=np.repeat(choices.dead, width, axis=1) | repeated,
        )
        impossible = self._cash(made) < self.least_cash
        impossible |= (made.bought > self.ranges.buys[:, None]) & (made.bought > 0)
        impossible |= (made.sold > self.ranges.sells[:, None]) & (made.sold > 0)
        impossible |= made.equities > self.most_equities
        return attrs.evolve(made, dead=made.dead | impossible)

    def _cash(self, choices: _Choices) -> Floats:
        """(R, W) cash after the orders so far and all that later ones may raise."""
        cash: Floats = (
            self.ranges.cash[:, None] - choices.bought + choices.sold - choices.costs + self.later
        )
        return cash
