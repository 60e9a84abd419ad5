"""Sizes that orders may have, and the score that a search minimises.

Amounts are fractions of portfolio value, V. The score of a portfolio is

    distance + cost + 0.003 x (sum of squared errors, cash included),

where an asset's error is its value after the orders minus its wanted value, and the error of cash
is minus the sum of these. The distance is one-way with cash as an asset, as proposals report it:
the larger of the assets' positive and negative errors. The squares decide between sizes at nearly
the same distance: they prefer several small errors to one large one.
"""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.rebalancing.rounding.problem import NEARLY, RoundingProblem

SQUARES = 0.003
"""Weight of the squared errors: a distance of 0.001 outweighs squares of 0.33."""

_INDEX = tuple[Rows, Rows]


@attrs.frozen(eq=False)
class OrderRanges:
    """Sizes that the orders of R portfolios may have, in whole steps.

    A size is 0, or between the lowest and the highest and not below the least.

    Attributes:
        side: (R, K) 1 for a buy, -1 for a sale, 0 for no order.
        weight: (R, K) weight of one step.
        goal: (R, K) wanted change of weight.
        lowest: (R, K) smallest size.
        highest: (R, K) largest size; equal to the smallest where the search changes nothing.
        least: (R, K) smallest size that reaches the minimum trade.
        unit: (R, K) money that a step is worth.
        total: (R, 1) portfolio value, money.
        charges: Costs by slot, or the same for all.
        cash: (R,) cash for orders.
        buys: (R,) largest sum of buys.
        sells: (R,) largest sum of sales.
        equity: (R, K) orders that an equity ceiling counts.
        equities: (R,) largest sum of buys less sales of these; infinite without a ceiling.
    """

    side: Floats
    weight: Floats
    goal: Floats
    lowest: Floats
    highest: Floats
    least: Floats
    unit: Floats
    total: Floats
    charges: CostSchedule
    cash: Floats
    buys: Floats
    sells: Floats
    equity: Bools
    equities: Floats

    @classmethod
    def of(cls, problem: RoundingProblem, sides: Floats, sizes: Floats, rows: Rows) -> OrderRanges:
        """Return the ranges of some portfolios of a problem, given (B, K) first sizes."""
        bounds, budget, total = problem.bounds, problem.budget, problem.total[rows]
        side, unit, first = sides[rows], problem.unit[rows], sizes[rows]
        low, high, least = bounds.low[rows], bounds.high[rows], bounds.least[rows]
        strict, trade = problem.strict[rows], problem.trade[rows]
        buys, sells = side > 0, side < 0
        limits = problem.book.limits
        held = np.where(limits.equity, problem.book.values, 0.0)[rows].sum(axis=1) / total[:, 0]
        room = np.floor((problem.ceiling[rows] - problem.book.values[rows]) / unit + NEARLY)
        most_bought = np.maximum(np.minimum(np.where(strict, low, high), room), 0.0)
        most_bought = np.where(high < least, 0.0, most_bought)
        # Sales that raise cash are needed, and closed positions stay closed.
        fixed = sells & ((trade >= 0) | bounds.closed[rows])
        least_sold = np.where(low < least, 0.0, np.minimum(low, bounds.most[rows]))
        least_sold = np.where(strict, first, np.maximum(least_sold, bounds.demand[rows]))
        lowest = np.where(sells, np.minimum(least_sold, first), 0.0)
        # The minimum trade makes no sale so large that its asset ends further from its target.
        too_far = (high < least) & (least * unit > 2 * np.abs(trade))
        most_sold = np.where(too_far, first, bounds.most[rows])
        highest = np.where(buys, most_bought, np.where(sells, most_sold, 0.0))
        return cls(
            side=side,
            weight=unit / total,
            goal=trade / total,
            lowest=np.where(fixed, first, lowest),
            highest=np.where(fixed, first, np.maximum(highest, lowest)),
            least=least,
            unit=unit,
            total=total,
            charges=problem.charges.row(rows),
            cash=budget.cash[rows] / total[:, 0],
            buys=budget.buys[rows] / total[:, 0],
            sells=budget.sells[rows] / total[:, 0],
            equity=limits.equity[rows],
            equities=limits.equity_ceiling[rows] * (1 + NEARLY) - held,
        )

    def only(self, rows: Rows) -> OrderRanges:
        """Return the ranges of some of the portfolios."""
        return attrs.evolve(
            self,
            **{
                field.name: getattr(self, field.name)[rows]
                for field in attrs.fields(OrderRanges)
                if field.name != "charges"
            },
            charges=self.charges.row(rows),
        )

    def largest_step(self) -> Floats:
        """(R,) weight of the largest step among the orders that a search may change."""
        open_ = self.highest > self.lowest
        largest: Floats = np.where(open_, self.weight, 0.0).max(axis=1)
        return largest

    def errors(self, sizes: Floats) -> Floats:
        """(R, K) error of each asset."""
        errors: Floats = self.side * (sizes * self.weight) - self.goal
        return errors

    def costs(self, sizes: Floats) -> Floats:
        """(R, K) cost of each order."""
        costs: Floats = self.charges(sizes * self.unit) / self.total
        return costs


def penalty(errors: Floats, costs: Floats) -> Floats:
    """Return the part of the score that orders have by themselves, for arrays of any shape."""
    penalty: Floats = np.maximum(errors, 0.0) + costs + SQUARES * (errors * errors)
    return penalty


def score(penalties: Floats, balance: Floats) -> Floats:
    """Return the score, for arrays of any shape.

    Args:
        penalties: Sum of the orders' penalties.
        balance: Sum of the assets' errors; negative where cash is idle.
    """
    score: Floats = penalties + np.maximum(-balance, 0.0) + SQUARES * (balance * balance)
    return score
