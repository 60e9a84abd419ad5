"""Rewards: what a learner maximises, computed from the outcome of a week.

`rebalancer.domain.policy.algorithms.REWARDS` describes each reward for users.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats, Rows
from rebalancer.domain.errors import InvalidRequest


@attrs.frozen(eq=False)
class StepOutcome:
    """What one week did to B portfolios, in units of a weekly deviation of the past year.

    Attributes:
        gained: (B,) return above cash after costs, divided by the deviation of the mix that is
            held, as if held in full. So holding more cash does not lower the reward, as it does
            not lower a Sharpe ratio.
        monthly: (B,) the same of the monthly rule, divided by the deviation of its own mix.
        turnover: (B,) one-way turnover less that of the monthly rule, in deviations of its mix.
        risk_aversion: (B,) relative risk aversion.
        fall: (B,) increase of the drawdown.
        monthly_fall: (B,) the same of the monthly rule.
        exposure: (B,) share invested, relative to the strategic share.
        orders: (B,) share of the targeted assets that were traded, less that of the monthly rule.
    """

    gained: Floats
    monthly: Floats
    turnover: Floats
    risk_aversion: Floats
    fall: Floats
    monthly_fall: Floats
    exposure: Floats
    orders: Floats


class Reward(Protocol):
    """Reward of a week; may keep state for each portfolio."""

    def begin(self, rows: Rows, count: int) -> None:
        """Reset the state of some of ``count`` portfolios."""

    def __call__(self, outcome: StepOutcome) -> Floats:
        """Return the rewards, shape (B,)."""


VARIANCE_PRICE = 0.035
"""Price of a squared weekly return, in deviations, per unit of risk aversion.

With it, a risk aversion of 4 makes full investment optimal in a mix with an annual Sharpe ratio
of 1.
"""

TURNOVER_PRICE = 0.012
"""Price of turning the portfolio over once, as a share of it, in addition to trading costs."""


@attrs.frozen
class MeanVariance:
    """Gain on the monthly rule under mean-variance preferences.

    ``r - k/2 r^2`` of the portfolio less the same of the monthly rule, with ``k`` in proportion to
    risk aversion, less the price of turnover. The difference cancels what the market does to both.

    Attributes:
        turnover_price: See `TURNOVER_PRICE`.

    References:
        Markowitz, H. (1952). Portfolio selection. Journal of Finance 7(1), 77-91.
    """

    turnover_price: float = TURNOVER_PRICE

    def begin(self, rows: Rows, count: int) -> None:
        """Do nothing: this reward keeps no state between steps."""

    def __call__(self, outcome: StepOutcome) -> Floats:
        price = VARIANCE_PRICE * outcome.risk_aversion / 2
        gain = outcome.gained - outcome.monthly
        variance = np.square(outcome.gained) - np.square(outcome.monthly)
        rewards: Floats = gain - price * variance - self.turnover_price * outcome.turnover
        return rewards


_TYPICAL_MOMENTS = [0.1, 1.0, 0.1, 1.0]
"""Mean and mean square of the portfolio and of the monthly rule: a Sharpe ratio of 0.7 a year."""


@attrs.define
class DifferentialSharpe:
    """Change of an exponentially weighted Sharpe ratio, less that of the monthly rule.

    ``(B dA - A dB / 2) / (B - A^2)^(3/2)`` with the moving moments A and B.

    Attributes:
        memory: Weight of the newest week.
        turnover_price: See `TURNOVER_PRICE`.

    References:
        Moody, J. and Saffell, M. (2001). Learning to trade via direct reinforcement. IEEE
        Transactions on Neural Networks 12(4), 875-889, equation 5.
    """

    memory: float = 1 / 52
    turnover_price: float = TURNOVER_PRICE
    _moments: Floats = attrs.field(factory=lambda: np.zeros((0, 4)), init=False)

    def begin(self, rows: Rows, count: int) -> None:
        if len(self._moments) != count:
            self._moments = np.tile(_TYPICAL_MOMENTS, (count, 1))
        self._moments[rows] = _TYPICAL_MOMENTS

    def __call__(self, outcome: StepOutcome) -> Floats:
        gain = np.zeros(len(outcome.gained))
        for sign, column, returns in ((1.0, 0, outcome.gained), (-1.0, 2, outcome.monthly)):
            mean, square = self._moments[:, column], self._moments[:, column + 1]
            up, wider = returns - mean, np.square(returns) - square
            variance = np.maximum(square - mean * mean, 0.05)
            gain += sign * (square * up - mean * wider / 2) / variance**1.5
            self._moments[:, column] = mean + self.memory * up
            self._moments[:, column + 1] = square + self.memory * wider
        return gain - self.turnover_price * outcome.turnover


DRAWDOWN_PRICE = 0.15
"""Price of a drawdown that deepens by a weekly deviation, at a risk aversion of 4."""


@attrs.frozen
class Drawdown:
    """`MeanVariance`, less a price on drawdown that deepens more than the monthly rule's.

    References:
        Chekhlov, A., Uryasev, S. and Zabarankin, M. (2005). Drawdown measure in portfolio
        optimization. International Journal of Theoretical and Applied Finance 8(1), 13-58.
    """

    mean_variance: MeanVariance = attrs.field(factory=MeanVariance)

    def begin(self, rows: Rows, count: int) -> None:
        """See `Reward.begin`; the simulation tracks the peaks."""

    def __call__(self, outcome: StepOutcome) -> Floats:
        price = DRAWDOWN_PRICE * outcome.risk_aversion / 4.0
        rewards: Floats = self.mean_variance(outcome) - price * (
            outcome.fall - outcome.monthly_fall
        )
        return rewards


BEYOND_EXPOSURE_PRICE = 0.3
"""Price of a drawdown that deepens by a weekly deviation more than exposure explains, at a risk
aversion of 4."""

ORDER_PRICE = 0.02
"""Price of trading every asset once, in weekly deviations."""

MONTHLY_ORDERS = 12.0 / 52.0
"""Share of the assets that the monthly rule trades in a week, on average."""


@attrs.frozen
class DrawdownBeyondExposure:
    """`MeanVariance`, less prices on drawdown beyond exposure and on orders.

    The drawdown that counts deepens more than the monthly rule's times the invested share: holding
    cash alone earns nothing.
    """

    mean_variance: MeanVariance = attrs.field(factory=MeanVariance)

    def begin(self, rows: Rows, count: int) -> None:
        """See `Reward.begin`; the simulation tracks the peaks."""

    def __call__(self, outcome: StepOutcome) -> Floats:
        price = BEYOND_EXPOSURE_PRICE * outcome.risk_aversion / 4.0
        beyond = outcome.fall - outcome.exposure * outcome.monthly_fall
        rewards: Floats = (
            self.mean_variance(outcome) - price * beyond - ORDER_PRICE * outcome.orders
        )
        return rewards


REWARDS: dict[
    str,
    type[MeanVariance] | type[DifferentialSharpe] | type[Drawdown] | type[DrawdownBeyondExposure],
] = {
    "mean_variance": MeanVariance,
    "differential_sharpe": DifferentialSharpe,
    "drawdown": Drawdown,
    "drawdown_beyond_exposure": DrawdownBeyondExposure,
}


def make_reward(name: str) -> Reward:
    """Create the reward of a name; an error for an unknown name lists the names."""
    if name not in REWARDS:
        raise InvalidRequest(
            f"unknown reward {name!r}; choose one of {', '.join(REWARDS)}",
            field="reward",
            code="unknown_reward",
        )
    return REWARDS[name]()
