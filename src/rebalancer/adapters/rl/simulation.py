"""Many portfolios walking through worlds at once: what the environments for learners are made of.

The domain does each step: `interpret_actions` turns actions into a decision, and `step` trades,
charges costs and lets prices move. There is no second accounting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.backtest.step import step
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.actions import interpret_actions
from rebalancer.domain.policy.features import FEATURES, MARKET_FEATURES, SLEEVES, portfolio_features
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.risk import RISK_PROFILES

Singles = NDArray[np.float32]

CHEAPEST, DEAREST = 2.0, 30.0
"""Basis points of traded value that trading costs."""

RUIN = 0.05
"""Wealth, as a share of that at the start, below which an episode terminates."""

HIGHEST_RATE = 0.01
"""Most that cash earns a year; wealth is counted in units of cash that earns it."""

WEEKS_A_YEAR = 52.0

LEAST_VOLATILITY = 0.01

PARITY = [sleeve.name for sleeve in SLEEVES].index("risk parity")
SAVED = [feature.name for feature in MARKET_FEATURES].index("risk saved by parity")

AVERSIONS = [profile.risk_aversion for profile in RISK_PROFILES.values()]


@attrs.frozen(eq=False)
class StepOutcome:
    """What a step has done to B portfolios, in units of a weekly deviation of the past year.

    Attributes:
        gained: Return over the week above cash, costs included, in deviations of the mix that is
            held were it held in full: a mix is not paid less for being careful, as a Sharpe ratio
            would not.
        monthly: The same of the monthly rule, its costs included, in deviations of its own mix.
        turnover: One-way, less what the monthly rule turned over; in deviations of that mix too.
        risk_aversion: Relative.
        fall: By how much the drawdown from the peak has deepened.
        monthly_fall: The same of the monthly rule.
    """

    gained: Floats
    monthly: Floats
    turnover: Floats
    risk_aversion: Floats
    fall: Floats
    monthly_fall: Floats


class Reward(Protocol):
    """What a step is worth to a learner; may remember each portfolio's past."""

    def begin(self, rows: Rows, count: int) -> None:
        """Forget the past of some of ``count`` portfolios."""

    def __call__(self, passed: StepOutcome) -> Floats:
        """(B,) the reward."""


VARIANCE_PRICE = 0.035
"""Price of a squared weekly return, in deviations, per unit of risk aversion: at an aversion of 4 a
mix with a Sharpe ratio of 1 a year is best held in full."""

TURNOVER_PRICE = 0.012
"""Price of turning the portfolio over once, as a share of it, beside what trading costs."""


@attrs.frozen
class MeanVariance:
    """The step's gain on the monthly rule under mean-variance preferences.

    ``r - k/2 r^2`` of the portfolio less the same of the monthly rule (paired, so that what the
    market does to both cancels), with ``k`` in proportion to risk aversion; less the price of
    turnover. Source: Markowitz 1952; the paired form after Moody and Saffell 2001, section 3.

    Attributes:
        turnover_price: See `TURNOVER_PRICE`.
    """

    turnover_price: float = TURNOVER_PRICE

    def begin(self, rows: Rows, count: int) -> None:
        """Nothing is remembered."""

    def __call__(self, passed: StepOutcome) -> Floats:
        """See `Reward`."""
        price = VARIANCE_PRICE * passed.risk_aversion / 2
        gain = passed.gained - passed.monthly
        variance = np.square(passed.gained) - np.square(passed.monthly)
        worth: Floats = gain - price * variance - self.turnover_price * passed.turnover
        return worth


@attrs.define
class DifferentialSharpe:
    """How the step moved an exponentially weighted Sharpe ratio, less the same of the monthly rule.

    ``(B dA - A dB / 2) / (B - A^2)^(3/2)``: Moody and Saffell 2001, Learning to Trade via Direct
    Reinforcement, equation 5.

    Attributes:
        memory: Weight of the newest step.
    """

    memory: float = 1 / 52
    turnover_price: float = TURNOVER_PRICE
    _moments: Floats = attrs.field(factory=lambda: np.zeros((0, 4)), init=False)

    def begin(self, rows: Rows, count: int) -> None:
        """Start from a typical year: a Sharpe ratio of 0.7 in units of weekly deviation."""
        if len(self._moments) != count:
            self._moments = np.tile([0.1, 1.0, 0.1, 1.0], (count, 1))
        self._moments[rows] = [0.1, 1.0, 0.1, 1.0]

    def __call__(self, passed: StepOutcome) -> Floats:
        """See `Reward`."""
        gain = np.zeros(len(passed.gained))
        for sign, column, returns in ((1.0, 0, passed.gained), (-1.0, 2, passed.monthly)):
            mean, square = self._moments[:, column], self._moments[:, column + 1]
            up, wider = returns - mean, np.square(returns) - square
            variance = np.maximum(square - mean * mean, 0.05)
            gain += sign * (square * up - mean * wider / 2) / variance**1.5
            self._moments[:, column] = mean + self.memory * up
            self._moments[:, column + 1] = square + self.memory * wider
        return gain - self.turnover_price * passed.turnover


DRAWDOWN_PRICE = 0.15
"""Price of a drawdown that deepens by a weekly deviation, per unit of risk aversion over 4."""


@attrs.frozen
class Drawdown:
    """`MeanVariance`, less a price on drawdown that deepens by more than the monthly rule's.

    Source: Chekhlov, Uryasev and Zabarankin 2005, Drawdown Measure in Portfolio Optimization.
    """

    plain: MeanVariance = attrs.field(factory=MeanVariance)

    def begin(self, rows: Rows, count: int) -> None:
        """Nothing is remembered: the simulation keeps the peaks."""

    def __call__(self, passed: StepOutcome) -> Floats:
        """See `Reward`."""
        price = DRAWDOWN_PRICE * passed.risk_aversion / 4.0
        worth: Floats = self.plain(passed) - price * (passed.fall - passed.monthly_fall)
        return worth


REWARDS: Mapping[str, type[MeanVariance] | type[DifferentialSharpe] | type[Drawdown]] = {
    "mean_variance": MeanVariance,
    "differential_sharpe": DifferentialSharpe,
    "drawdown": Drawdown,
}
"""Rewards by name."""


def reward(name: str) -> Reward:
    """The reward of this name.

    Raises:
        InvalidRequest: there is none; lists those that there are.
    """
    kind = REWARDS.get(name)
    if kind is None:
        raise InvalidRequest(
            f"{name!r} is not a reward; choose one of {', '.join(REWARDS)}", field="reward"
        )
    return kind()


class Simulation:
    """B portfolios, each on its way through a world.

    Worlds, costs, risk aversions, cash rates and first holdings are drawn from one generator per
    portfolio, so that a portfolio's way depends on its own seed and actions alone.

    Attributes:
        book: The portfolios at their looks.
        observed: (B, `FEATURES`) what is seen there, of single precision.
    """

    def __init__(self, worlds: Worlds, seeds: Sequence[int], *, reward: Reward) -> None:
        self._worlds, self._reward = worlds, reward
        self._random = [np.random.default_rng(seed) for seed in seeds]
        count = len(self._random)
        slots = worlds.targets.shape[1]
        self._world = np.zeros(count, dtype=np.intp)
        self._week = np.zeros(count, dtype=np.intp)
        self._cash = np.zeros(count)
        self._rates = np.zeros((count, 1))
        self._peaks = np.ones((count, 2))
        self._wealth = np.ones((count, 2))
        nothing = np.zeros((count, slots))
        self.book = Book(
            assets=np.zeros((count, slots), dtype=np.intp),
            present=np.zeros((count, slots), dtype=bool),
            values=nothing,
            cash=np.zeros(count),
            flow=np.zeros(count),
            targets=nothing,
            as_of=np.full(count, np.datetime64("2000-01-03", "D")),
            reviewed=np.full(count, np.datetime64("NaT", "D")),
            band=np.full(count, np.nan),
        )
        self.begin(np.arange(count))
        self.observed = self._observe()

    def __len__(self) -> int:
        return len(self._world)

    def reseed(self, seeds: Sequence[int]) -> None:
        """Begin anew, each portfolio with a seed of its own."""
        self._random = [np.random.default_rng(seed) for seed in seeds]
        self.begin(np.arange(len(self)))
        self.observed = self._observe()

    def begin(self, rows: Rows) -> None:
        """Put some of the portfolios at the start of a world."""
        worlds, book = self._worlds, self.book
        drawn = np.stack([self._random[row].random(6) for row in rows])
        world = (drawn[:, 0] * len(worlds)).astype(np.intp)
        self._world[rows], self._week[rows] = world, 0
        bps = CHEAPEST * (DEAREST / CHEAPEST) ** drawn[:, 1]
        self._rates[rows, 0] = bps
        aversions = np.array(AVERSIONS)[(drawn[:, 2] * len(AVERSIONS)).astype(np.intp)]
        self._cash[rows] = (1.0 + HIGHEST_RATE * drawn[:, 3]) ** (1.0 / WEEKS_A_YEAR)
        # Half of them begin at their targets, the others with less of them.
        share = np.where(drawn[:, 4] < 0.5, 1.0, 0.3 + 0.7 * drawn[:, 5])
        values, cash, targets = book.values.copy(), book.cash.copy(), book.targets.copy()
        present, as_of = book.present.copy(), book.as_of.copy()
        targets[rows] = worlds.targets[world]
        values[rows] = targets[rows] * share[:, None]
        cash[rows] = 1.0 - values[rows].sum(axis=1)
        present[rows] = worlds.present[world]
        as_of[rows] = worlds.days[world, 0]
        cost_rate, aversion = book.cost_rate.copy(), book.risk_aversion.copy()
        cost_rate[rows], aversion[rows] = bps * 1e-4, aversions
        traded, reviewed = book.traded.copy(), book.reviewed.copy()
        traded[rows] = reviewed[rows] = np.datetime64("NaT")
        self.book = attrs.evolve(
            book,
            values=values,
            cash=cash,
            targets=targets,
            present=present,
            as_of=as_of,
            cost_rate=cost_rate,
            risk_aversion=aversion,
            traded=traded,
            reviewed=reviewed,
        )
        self._peaks[rows] = self._wealth[rows] = 1.0
        self._reward.begin(rows, len(self))
        none = np.zeros_like(self._rates)
        self._charges = CostSchedule(none, self._rates, none, none, none, none + np.inf)

    def step(self, actions: Floats) -> tuple[Floats, Bools, Bools]:
        """Let a week pass.

        Args:
            actions: (B, `ACTIONS`).

        Returns:
            (B,) rewards; (B,) whether a portfolio is ruined, which terminates it; (B,) whether its
            world is at its end, which truncates it. `observed` is what is seen after the week.
        """
        worlds, world, week = self._worlds, self._world, self._week
        before = self.book.total
        sleeves = worlds.sleeves[world, week].astype(np.float64)
        decision = interpret_actions(actions, self.book, sleeves, self._everyone)
        # In units of cash that earns interest, cash earns nothing and assets their excess.
        growth = worlds.growth[world, week] / self._cash[:, None]
        self.book, done = step(
            self.book, decision, self._charges, growth, 1.0, worlds.days[world, week + 1]
        )
        volatility = np.maximum(worlds.volatility[world, week], LEAST_VOLATILITY)
        unit = volatility / np.sqrt(WEEKS_A_YEAR)
        total = self.book.total
        gained = total / before - 1.0
        turned = worlds.monthly_turnover[world, week]
        monthly = (1.0 + worlds.monthly[world, week]) / self._cash - 1.0
        monthly = monthly - 2.0 * turned * self.book.cost_rate
        wealth = self._wealth * (1.0 + np.stack([gained, monthly], axis=1))
        fallen = 1.0 - wealth / np.maximum(self._peaks, wealth)
        fell = fallen - (1.0 - self._wealth / self._peaks)
        self._wealth, self._peaks = wealth, np.maximum(self._peaks, wealth)
        rewards = self._reward(
            StepOutcome(
                gained=gained / (unit * self._careful(sleeves)),
                monthly=monthly / unit,
                turnover=(done.turnover - turned) / unit,
                risk_aversion=self.book.risk_aversion,
                fall=np.maximum(fell[:, 0], 0.0) / unit,
                monthly_fall=np.maximum(fell[:, 1], 0.0) / unit,
            )
        )
        self._week = week + 1
        ruined = total < RUIN
        ended = self._week >= worlds.steps
        self.observed = self._observe()
        return rewards, ruined, ended & ~ruined

    def _careful(self, sleeves: Floats) -> Floats:
        """(B,) volatility of what is held, cash aside, over that of the strategic mix.

        Only how far it has gone toward risk parity counts, whose saving of risk is observed.
        """
        book = self.book
        held = book.values / np.maximum(book.values.sum(axis=1, keepdims=True), 1e-12)
        wanted = book.targets.sum(axis=1, keepdims=True)
        way = (sleeves[:, PARITY] - book.targets) / wanted
        gone = ((held - book.targets / wanted) * way).sum(axis=1)
        part = np.clip(gone / np.maximum(np.square(way).sum(axis=1), 1e-9), 0.0, 1.0)
        saved = self._worlds.features[self._world, self._week, SAVED]
        logarithm = saved * MARKET_FEATURES[SAVED].scale + MARKET_FEATURES[SAVED].centre
        careful: Floats = np.exp(part * logarithm)
        return careful

    def renew(self, rows: Rows) -> None:
        """Begin anew for some of the portfolios, and look again."""
        self.begin(rows)
        self.observed = self._observe()

    @property
    def _everyone(self) -> Bools:
        return np.ones(len(self), dtype=bool)

    def _observe(self) -> Singles:
        observed = np.empty((len(self), len(FEATURES)), dtype=np.float32)
        seen = self._worlds.features[self._world, self._week]
        observed[:, : seen.shape[1]] = seen
        observed[:, seen.shape[1] :] = portfolio_features(self.book)
        return observed
