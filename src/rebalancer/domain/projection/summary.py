"""Figures of projected paths: a fan of percentiles, the chance of a goal, and bad outcomes."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.projection.returns import MONTHS_A_YEAR
from rebalancer.domain.projection.simulation import Paths

PERCENTILES = (5, 10, 25, 50, 75, 90, 95)


@attrs.frozen
class Goal:
    """An amount to have by a month.

    Attributes:
        amount: Money, in the buying power of today unless ``nominal``.
        month: Months from now, at least 1.
        nominal: Whether the amount is money of that month.

    Raises:
        InvalidRequest: the amount is not positive.
    """

    amount: float
    month: int
    nominal: bool = False

    def check_within(self, months: int) -> None:
        """Check that the month is one of a projection.

        Raises:
            InvalidRequest: the goal lies after the last month, or before the first.
        """
        if not 1 <= self.month <= months:
            raise InvalidRequest(
                f"month {self.month} is not within the projection of {months} months; enter 1 to "
                f"{months}",
                field="goal.month",
                code="goal_after_projection",
            )

    def __attrs_post_init__(self) -> None:
        if not (np.isfinite(self.amount) and self.amount > 0):
            raise InvalidRequest(
                f"{self.amount:g} is not a positive amount; enter more than 0",
                field="goal.amount",
                code="amount_not_positive",
            )


@attrs.frozen
class Chance:
    """A probability that is estimated from paths.

    Attributes:
        probability: Share of the paths.
        standard_error: Of the simulation alone, not of its assumptions. Where all paths agree, that
            of one path more that disagrees.
    """

    probability: float
    standard_error: float

    @classmethod
    def of(cls, reached: Bools) -> Chance:
        """Estimate the probability of an event from (B,) whether it happens on a path."""
        count = len(reached)
        share = float(np.count_nonzero(reached)) / count
        doubtful = min(max(share, 1.0 / (count + 1)), 1.0 - 1.0 / (count + 1))
        return cls(share, float(np.sqrt(doubtful * (1.0 - doubtful) / count)))


@attrs.frozen(eq=False)
class Projection:
    """Distribution of what a portfolio may be worth.

    Attributes:
        fan: (P, M + 1) `PERCENTILES` of value now and at the end of each month, nominal money.
        mean: (M + 1,) mean value, nominal.
        prices: (M + 1,) price level; 1 now.
        paid_in: (M + 1,) deposits less withdrawals until then, without the value of now; nominal.
        paths: Number of paths.
        goal: Chance of the goal; None without a goal.
        exhausted: Chance that a withdrawal cannot be paid in full.
        exhausted_year: Median year in which that happens on the paths on which it does; None if on
            none.
        worst_decile: Mean final value of the worst tenth of the paths, nominal.
        costs: Mean costs of trading in all, nominal.
        turnover: Mean one-way turnover a year.
    """

    fan: Floats
    mean: Floats
    prices: Floats
    paid_in: Floats
    paths: int
    goal: Chance | None
    exhausted: Chance
    exhausted_year: float | None
    worst_decile: float
    costs: float
    turnover: float

    @property
    def months(self) -> int:
        """Number of months."""
        return len(self.prices) - 1

    @property
    def real_fan(self) -> Floats:
        """(P, M + 1) percentiles in the buying power of today."""
        real: Floats = self.fan / self.prices
        return real


def chance_of(goal: Goal, paths: Paths, *, inflation: float) -> Chance:
    """Return the chance that the value reaches a goal in its month.

    Raises:
        InvalidRequest: the goal lies after the last month.
    """
    goal.check_within(paths.values.shape[1] - 1)
    prices = 1.0 if goal.nominal else (1.0 + inflation) ** (goal.month / MONTHS_A_YEAR)
    return Chance.of(paths.values[:, goal.month] >= goal.amount * prices)


def summarize_paths(
    paths: Paths, flows: Floats, *, inflation: float, goal: Goal | None = None
) -> Projection:
    """Summarize paths.

    Args:
        paths: B paths over M months.
        flows: (M,) planned deposit (+) or withdrawal (-) at the start of each month.
        inflation: Growth of prices a year.
        goal: What to reach, within M months.

    Raises:
        InvalidRequest: the goal lies after the last month.
    """
    months = len(flows)
    prices = (1.0 + inflation) ** (np.arange(months + 1) / MONTHS_A_YEAR)
    reached = None if goal is None else chance_of(goal, paths, inflation=inflation)
    final = np.sort(paths.values[:, -1].astype(np.float64))
    late = paths.exhausted[paths.exhausted > 0]
    return Projection(
        fan=np.percentile(paths.values, PERCENTILES, axis=0).astype(np.float64),
        mean=paths.values.mean(axis=0, dtype=np.float64),
        prices=prices,
        paid_in=np.concatenate([[0.0], np.cumsum(flows)]),
        paths=len(paths),
        goal=reached,
        exhausted=Chance.of(paths.exhausted > 0),
        exhausted_year=float(np.median(late)) / MONTHS_A_YEAR if late.size else None,
        worst_decile=float(final[: max(1, len(final) // 10)].mean()),
        costs=float(paths.costs.mean()),
        turnover=float(paths.turnover.mean()) * MONTHS_A_YEAR / months,
    )
