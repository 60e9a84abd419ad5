"""Simulation of many portfolios in resampled worlds; the environments wrap it.

The domain does each step: `interpret_actions` turns actions into a decision, and `step`
trades, charges costs and applies returns, as in backtests.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rebalancer.adapters.rl.rewards import MONTHLY_ORDERS, Reward, StepOutcome, make_reward
from rebalancer.adapters.rl.worlds import Worlds
from rebalancer.domain.arrays import Bools, Floats, Rows, Singles, safe_divide
from rebalancer.domain.backtest.step import step
from rebalancer.domain.policy.actions import interpret_actions
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.observation import allowance, portfolio_features
from rebalancer.domain.portfolio.book import Book
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.risk import RISK_PROFILES

CHEAPEST, DEAREST = 2.0, 30.0
"""Range of trading costs, in basis points of traded value."""

RUIN = 0.05
"""Share of the initial wealth below which an episode terminates."""

HIGHEST_RATE = 0.01
"""Highest annual interest on cash; wealth is measured in units of such cash."""

WEEKS_A_YEAR = 52.0

LEAST_VOLATILITY = 0.01

AVERSIONS = [profile.risk_aversion for profile in RISK_PROFILES.values()]


class Simulation:
    """B portfolios, each on its way through a world.

    Worlds, costs, risk aversions, cash rates and initial holdings are drawn from one generator for
    each portfolio. So a portfolio's path depends only on its own seed and actions.

    Attributes:
        book: Portfolios at their current reviews.
        world: (B,) index of each portfolio's world.
        week: (B,) weeks since its start.
        cash_growth: (B,) weekly growth of cash.
        charges: Trading costs.
        observed: (B, F) current features, in single precision.
    """

    def __init__(self, worlds: Worlds, seeds: Sequence[int], *, reward: Reward) -> None:
        self._worlds, self._reward = worlds, reward
        names = [sleeve.name for sleeve in worlds.inputs.sleeves]
        self._parity = names.index("risk parity")
        self._random = [np.random.default_rng(seed) for seed in seeds]
        count = len(self._random)
        slots = worlds.targets.shape[1]
        self.world = np.zeros(count, dtype=np.intp)
        self.week = np.zeros(count, dtype=np.intp)
        self.cash_growth = np.zeros(count)
        self._rates = np.zeros((count, 1))
        self._peaks = np.ones((count, 2))
        self._wealth = np.ones((count, 2))
        nothing = np.zeros((count, slots))
        self.book = Book(
            assets=np.zeros((count, slots), dtype=np.intp),
            present=np.zeros((count, slots), dtype=bool),
            values=nothing,
            cash=np.zeros(count),
            targets=nothing,
            as_of=np.full(count, np.datetime64("2000-01-03", "D")),
        )
        self.restart(np.arange(count))

    def __len__(self) -> int:
        return len(self.world)

    def reseed(self, seeds: Sequence[int]) -> None:
        """Restart all portfolios, each with its own seed."""
        self._random = [np.random.default_rng(seed) for seed in seeds]
        self.restart(np.arange(len(self)))

    def restart(self, rows: Rows) -> None:
        """Put some portfolios at the start of new worlds."""
        worlds, book = self._worlds, self.book
        drawn = np.stack([self._random[row].random(6) for row in rows])
        world = (drawn[:, 0] * len(worlds)).astype(np.intp)
        self.world[rows], self.week[rows] = world, 0
        bps = CHEAPEST * (DEAREST / CHEAPEST) ** drawn[:, 1]
        self._rates[rows, 0] = bps
        aversions = np.array(AVERSIONS)[(drawn[:, 2] * len(AVERSIONS)).astype(np.intp)]
        self.cash_growth[rows] = (1.0 + HIGHEST_RATE * drawn[:, 3]) ** (1.0 / WEEKS_A_YEAR)
        # Half of the portfolios begin at their targets, the others with more cash.
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
        self.charges = CostSchedule(none, self._rates, none, none, none, none + np.inf)
        self.observed = self._observe()

    def step(self, actions: Floats) -> tuple[Floats, Bools, Bools]:
        """Simulate a week.

        Args:
            actions: (B, A).

        Returns:
            (B,) rewards; (B,) whether a portfolio is ruined, which terminates its episode; (B,)
            whether its world ends, which truncates the episode.
        """
        worlds, world, week = self._worlds, self.world, self.week
        before = self.book.total
        sleeves = worlds.sleeves[world, week].astype(np.float64)
        due = np.ones(len(self), dtype=bool)
        decision = interpret_actions(actions, self.book, sleeves, due, worlds.inputs)
        if worlds.inputs.has_allowance:
            decision = attrs.evolve(decision, most_turnover=self._allowance())
        # In units of cash that earns interest, cash earns nothing and assets their excess.
        growth = worlds.growth[world, week] / self.cash_growth[:, None]
        self.book, done = step(
            self.book, decision, self.charges, growth, 1.0, worlds.days[world, week + 1]
        )
        invested = safe_divide(done.total - self.book.cash, done.total)
        exposure = np.clip(invested, 0.0, 1.0) / self.book.targets.sum(axis=1)
        orders = done.count / np.count_nonzero(self.book.targets, axis=1)
        volatility = np.maximum(worlds.volatility[world, week], LEAST_VOLATILITY)
        unit = volatility / np.sqrt(WEEKS_A_YEAR)
        total = self.book.total
        gained = total / before - 1.0
        turned = worlds.monthly_turnover[world, week]
        monthly = (1.0 + worlds.monthly[world, week]) / self.cash_growth - 1.0
        monthly = monthly - 2.0 * turned * self.book.cost_rate
        wealth = self._wealth * (1.0 + np.stack([gained, monthly], axis=1))
        drawdown = 1.0 - wealth / np.maximum(self._peaks, wealth)
        fell = drawdown - (1.0 - self._wealth / self._peaks)
        self._wealth, self._peaks = wealth, np.maximum(self._peaks, wealth)
        rewards = self._reward(
            StepOutcome(
                gained=gained / (unit * self._relative_volatility(sleeves)),
                monthly=monthly / unit,
                turnover=(done.turnover - turned) / unit,
                risk_aversion=self.book.risk_aversion,
                fall=np.maximum(fell[:, 0], 0.0) / unit,
                monthly_fall=np.maximum(fell[:, 1], 0.0) / unit,
                exposure=exposure,
                orders=orders - MONTHLY_ORDERS,
            )
        )
        self.week = week + 1
        ruined = total < RUIN
        ended = self.week >= worlds.steps
        self.observed = self._observe()
        return rewards, ruined, ended & ~ruined

    def _relative_volatility(self, sleeves: Floats) -> Floats:
        """Return the volatility of the invested part over that of the strategic mix, (B,).

        It considers only the distance toward risk parity, whose lower risk is a feature.
        """
        book = self.book
        held = book.values / np.maximum(book.values.sum(axis=1, keepdims=True), 1e-12)
        wanted = book.targets.sum(axis=1, keepdims=True)
        way = (sleeves[:, self._parity] - book.targets) / wanted
        gone = ((held - book.targets / wanted) * way).sum(axis=1)
        part = np.clip(gone / np.maximum(np.square(way).sum(axis=1), 1e-9), 0.0, 1.0)
        features = self._worlds.features[self.world, self.week]
        relative: Floats = np.exp(
            part * self._worlds.inputs.unscaled(features, "risk saved by parity")
        )
        return relative

    def _allowance(self) -> Floats:
        turnover = self._worlds.turnover[self.world, self.week].astype(np.float64)
        return allowance(self.book, turnover)

    def _observe(self) -> Singles:
        inputs = self._worlds.inputs
        observed = np.empty((len(self), len(inputs.features)), dtype=np.float32)
        count = len(inputs.market)
        observed[:, :count] = self._worlds.features[self.world, self.week]
        observed[:, count:] = portfolio_features(
            self.book, inputs, self._allowance() if inputs.has_allowance else None
        )
        return observed


def observed_along(network: Network, worlds: Worlds, seed: int) -> Floats:
    """Return all features that a network observes on its way through worlds, (N, F)."""
    simulation = Simulation(worlds, range(seed, seed + 512), reward=make_reward("mean_variance"))
    seen = []
    for _ in range(worlds.steps):
        observed = simulation.observed.astype(np.float64)
        seen.append(observed)
        simulation.step(network.actions(observed))
    return np.concatenate(seen)
