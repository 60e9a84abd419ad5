"""Search all orders of a portfolio together: a beam search from the dearest asset to the cheapest.

Where a share costs much of the portfolio's value, the best sizes can differ from the wanted ones by
several steps of several orders. The search chooses the sizes one order after another, those with
the largest steps first. It keeps the `_WIDTH` most promising choices, judged by the score that the
remaining orders could still reach if they were not rounded. (Guo and Nilsson 2006, "Algorithm and
implementation of the K-best sphere decoding", search nearest lattice points in this way.)
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows, flat_positions, pick
from rebalancer.domain.portfolio.costs import CostSchedule
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

_AROUND = np.array([-1.0, 0.0, 1.0, 2.0])
"""Steps around an order's share of the errors so far."""

_TRIED = 10
"""Sizes that are tried after each choice."""

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


def _search(ranges: OrderRanges, sizes: Floats, open_: Bools) -> tuple[Floats, Floats]:
    """Return the best sizes found, (R, K), and their scores, (R,)."""
    settled = np.where(open_, 0.0, sizes)
    counts = np.count_nonzero(open_, axis=1)
    # The largest steps first; closed orders last.
    order = np.lexsort((-np.abs(ranges.goal), np.where(open_, -ranges.weight, np.inf)), axis=1)
    order = order[:, : counts.max()]
    bounds = _Bounds.of(ranges, sizes)
    choices = _Choices.settled(ranges, settled, open_)
    made = []
    for at, step in enumerate(_Step.all_of(ranges, open_, order)):
        left = np.maximum(counts - at - 1, 0)[:, None]
        choices = choices.extend(step, left, bounds, ranges.total)
        made.append(choices)
    final = score(choices.sums[0], choices.sums[1])
    best = final.argmin(axis=1)
    each = np.arange(len(sizes))
    scores = final[each, best]
    winner = np.empty(order.shape)
    for at in range(len(made) - 1, -1, -1):
        winner[:, at] = made[at].sizes[each, best]
        best = made[at].parents[each, best]
    places = flat_positions(order, sizes.shape[1])
    found = settled.copy()
    found.ravel()[places] = np.where(pick(open_, places), winner, pick(settled, places))
    return found, scores


@attrs.frozen(eq=False)
class _Bounds:
    """Bounds on the sums of each choice of R portfolios, (R, 1) each.

    Attributes:
        cash: Cash before the orders.
        least_cash: Cash that must be left.
        most: Largest value bought, sold, and of equities bought less sold; by the number of the
            sum in `_Choices`, and only those that bound any portfolio.
    """

    cash: Floats
    least_cash: Floats
    most: dict[int, Floats]

    @classmethod
    def of(cls, ranges: OrderRanges, sizes: Floats) -> _Bounds:
        """Return the bounds; where the first sizes break one, others must not break it more."""
        value = ranges.side * (sizes * ranges.weight)
        cash = ranges.cash - value.sum(axis=1) - ranges.costs(sizes).sum(axis=1)
        equities = np.where(ranges.equity, value, 0.0).sum(axis=1)
        most = {
            _BOUGHT: np.maximum(ranges.buys, 0.0),
            _SOLD: np.maximum(ranges.sells, 0.0),
            _EQUITIES: np.maximum(ranges.equities, equities + _NO_CASH),
        }
        return cls(
            cash=ranges.cash[:, None],
            least_cash=np.where(cash < 0, cash - _NO_CASH, 0.0)[:, None],
            most={sum_: row[:, None] for sum_, row in most.items() if not np.isinf(row).all()},
        )


@attrs.frozen(eq=False)
class _Step:
    """The choice of one order's size in each of R portfolios; each array is (R, 1).

    Attributes:
        charges: Costs of the order.
        side, weight, unit, least: As in `OrderRanges`.
        goal, lowest, highest: As in `OrderRanges`, 0 where there is no order.
        equity: The side of an order that an equity ceiling counts, else 0.
        fee: Cost of an order that does not depend on its size.
        rate: Cost of a further step.
        later: Cash that later orders may raise.
        later_equities: Value of equities that later orders may sell.
    """

    charges: CostSchedule
    side: Floats
    weight: Floats
    unit: Floats
    least: Floats
    goal: Floats
    lowest: Floats
    highest: Floats
    equity: Floats
    fee: Floats
    rate: Floats
    later: Floats
    later_equities: Floats

    @classmethod
    def all_of(cls, ranges: OrderRanges, open_: Bools, order: Rows) -> Iterator[_Step]:
        """Yield the steps in the order, (R, N), in which each portfolio's sizes are chosen."""
        side, unit, total = ranges.side, ranges.unit, ranges.total
        charged = ranges.charges(unit)
        rate = (ranges.charges(2 * unit) - charged) / total
        fee = np.maximum(charged / total - rate, 0.0)
        goal, lowest, highest = (
            np.where(open_, amounts, 0.0)
            for amounts in (ranges.goal, ranges.lowest, ranges.highest)
        )
        saleable = np.where(side < 0, highest * ranges.weight, 0.0)
        orders = [side, ranges.weight, unit, ranges.least, goal, lowest, highest]
        orders += [ranges.equity * side, fee, rate]
        orders += [saleable, np.where(ranges.equity, saleable, 0.0)]
        columns = np.array(orders)
        columns = pick(columns, flat_positions(order, side.shape[1]))
        after = columns[-2:]  # from each order's own sales to those of all later orders
        after[:] = np.add.accumulate(after[..., ::-1], axis=2)[..., ::-1] - after
        rows = np.arange(len(order))[:, None]
        for at in range(order.shape[1]):
            charges = ranges.charges.at_slots(rows, order[:, at, None])
            yield cls(charges, *columns[..., at, None])

    def sizes(self, balance: Floats, cash: Floats, left: Rows) -> Floats:
        """(R, W, n) sizes to try after each choice, in ascending order.

        Args:
            balance: (R, W) sum of errors so far.
            cash: (R, W) cash after the orders so far and all that later ones may raise.
            left: (R, 1) number of later orders.
        """
        wanted = self.side * self.goal / self.weight
        imbalance = self.side * balance / self.weight
        affordable = np.floor((cash - self.fee + NEARLY * self.weight) / (self.weight + self.rate))
        # The wanted size, and those that offset the errors so far, or this order's share of them.
        shared, alone = np.floor(wanted - imbalance / (left + 1.0)), wanted - imbalance
        tried = np.empty((*balance.shape, _TRIED))
        tried[..., 0] = np.floor(wanted + NEARLY)
        tried[..., 1] = np.ceil(wanted - NEARLY)
        tried[..., 2:6] = shared[..., None] + _AROUND
        tried[..., 6] = np.floor(alone + NEARLY)
        tried[..., 7] = np.ceil(alone - NEARLY)
        tried[..., 8] = affordable
        tried[..., 9] = affordable - 1.0
        lowest = self.lowest
        most = np.where(self.side > 0, np.minimum(self.highest, affordable), self.highest)
        tried = np.maximum(tried, lowest[..., None])
        tried = np.minimum(tried, np.maximum(most, lowest)[..., None])
        tried = np.where(tried < self.least[..., None], lowest[..., None], tried)
        tried.sort(axis=2)
        return tried

    def effects(self, sizes: Floats, total: Floats) -> Floats:
        """(6, R, N) what (R, N) sizes add to the sums of the choices."""
        value = sizes * self.weight
        errors = self.side * value - self.goal
        costs = self.charges(sizes * self.unit) / total
        effects = np.empty((_SUMS, *sizes.shape))
        effects[_PENALTIES] = penalty(errors, costs)
        effects[_BALANCE] = errors
        effects[_COSTS] = costs
        effects[_BOUGHT] = (self.side > 0) * value
        effects[_SOLD] = (self.side < 0) * value
        effects[_EQUITIES] = self.equity * value
        return effects


_PENALTIES, _BALANCE, _COSTS, _BOUGHT, _SOLD, _EQUITIES = range(6)
_SUMS = 6


@attrs.frozen(eq=False)
class _Choices:
    """W choices of the sizes of some orders, for R portfolios.

    Attributes:
        sums: (6, R, W) sums over the orders, fractions of portfolio value: of penalties, infinite
            where the choice is impossible; of errors; of costs; of the value bought; of the value
            sold; of the value of equities bought less sold.
        sizes: (R, W) size of the last order.
        parents: (R, W) position of the choice for the orders before it.
    """

    sums: Floats
    sizes: Floats
    parents: Rows

    @classmethod
    def settled(cls, ranges: OrderRanges, sizes: Floats, open_: Bools) -> _Choices:
        """Return the one choice of the orders that the search does not change."""
        errors, costs, value = (
            np.where(open_, 0.0, amounts)
            for amounts in (ranges.errors(sizes), ranges.costs(sizes), sizes * ranges.weight)
        )
        amounts = [
            penalty(errors, costs),
            errors,
            costs,
            np.where(ranges.side > 0, value, 0.0),
            np.where(ranges.side < 0, value, 0.0),
            np.where(ranges.equity, ranges.side * value, 0.0),
        ]
        sums = np.array(amounts).sum(axis=2)[..., None]
        nothing = np.zeros((len(sizes), 1))
        return cls(sums, nothing, nothing.astype(np.intp))

    def extend(self, step: _Step, left: Rows, bounds: _Bounds, total: Floats) -> _Choices:
        """Return the best choices that follow from these with the next order.

        Args:
            step: The next order.
            left: (R, 1) number of later orders.
            bounds: Bounds on the sums.
            total: (R, 1) portfolio value, money.
        """
        sizes = step.sizes(self.sums[_BALANCE], _cash(self.sums, step, bounds), left)
        rows, width, tried = sizes.shape
        effects = step.effects(sizes.reshape(rows, -1), total)
        sums = self.sums[..., None] + effects.reshape(_SUMS, *sizes.shape)
        sums = sums.reshape(_SUMS, rows, -1)
        impossible = _cash(sums, step, bounds) < bounds.least_cash
        for number, most in bounds.most.items():
            later = step.later_equities if number == _EQUITIES else 0.0
            impossible |= sums[number] > most + later
        repeated = sizes[..., 1:] == sizes[..., :-1]
        impossible.reshape(sizes.shape)[..., 1:] |= repeated
        sums[_PENALTIES][impossible] = np.inf
        # Errors that remain can be shared by cash and the orders that are left.
        spread = sums[_BALANCE] * sums[_BALANCE]
        bound = score(sums[_PENALTIES], sums[_BALANCE])
        bound = bound - SQUARES * (spread - spread / (left + 1.0))
        possible = np.count_nonzero(bound < np.inf, axis=1).max()
        best = bound.argsort(axis=1, kind="stable")[:, : min(max(possible, 1), _WIDTH)]
        places = flat_positions(best, width * tried)
        return _Choices(pick(sums, places), pick(sizes.reshape(rows, -1), places), best // tried)


def _cash(sums: Floats, step: _Step, bounds: _Bounds) -> Floats:
    """(R, W) cash after the orders so far and all that later ones may raise."""
    cash: Floats = bounds.cash - sums[_BOUGHT] + sums[_SOLD] - sums[_COSTS] + step.later
    return cash
