"""Learned policies: small networks choose risk, mix, no-trade band and size of trades.

A network never names an asset. Its inputs are the features of an `InputSet`, its outputs actions,
which `interpret_actions` turns into a decision for any universe of assets; so one policy serves
every portfolio. If all actions are 0, the decision is that of the rule ``band:frequency=weekly``:
the strategic weights within a band of two points.

`adapters.rl` trains the networks; this module evaluates them in numpy.
"""

from __future__ import annotations

from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats, Rows, one_way_distance
from rebalancer.domain.market.frequency import ObservationFrequency
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.actions import (
    BAND,
    PATIENCE,
    half_width,
    interpret_actions,
    invested_share,
    mix_parts,
    mix_targets,
)
from rebalancer.domain.policy.economy import NO_ECONOMY, Economy
from rebalancer.domain.policy.features import INPUTS_1, LOOKBACK, InputSet
from rebalancer.domain.policy.network import Network, invalid_network, read_only
from rebalancer.domain.policy.observation import (
    MarketView,
    MarketViews,
    allowance,
    market_features,
    observed_frequency,
    portfolio_features,
)
from rebalancer.domain.policy.policy import Decision, Frequency, Policy
from rebalancer.domain.portfolio.book import Book

_MARGIN = 0.25
"""Scaled units by which a feature may lie outside the trained range."""

_DIGITS = 9
"""Decimals of actions: differences between processors must not decide at a band's edge."""

_TELLING = 0.005
"""Least change of the targets for which a feature is named."""

_TOGETHER = 64
"""Portfolios whose influences are measured at once."""

_VISIBLE = 0.01
"""Least part of a mix that is named."""


class Doubt:
    """Why a rule decides in place of the networks: bits of `LearnedDecision.doubts`."""

    HISTORY = 1
    RANGE = 2
    DISAGREEMENT = 4
    ECONOMY = 8


@attrs.define(eq=False)
class Influences:
    """What each feature changes in a decision, measured when the first explanation needs it.

    Attributes:
        distances: (B, F) one-way distance of the targets from those without the feature; 0 for
            portfolios for which the rule decides. None until it is measured.
    """

    distances: Floats | None = None


@attrs.frozen(eq=False)
class LearnedDecision(Decision):
    """A decision of networks, and what it is based on.

    Attributes:
        observed: (B, F) features, clipped to the trained range.
        actions: (B, A) median over the networks.
        sleeves: (B, S, K).
        spread: (B,) mean one-way distance of each network's targets from those of the median.
        strange: (B, F) market features outside the trained range.
        doubts: (B,) bits of `Doubt`; 0 if the networks decide.
        influences: Of the features.
    """

    observed: Floats = attrs.field(kw_only=True)
    actions: Floats = attrs.field(kw_only=True)
    sleeves: Floats = attrs.field(kw_only=True)
    spread: Floats = attrs.field(kw_only=True)
    strange: Bools = attrs.field(kw_only=True)
    doubts: NDArray[np.int64] = attrs.field(kw_only=True)
    influences: Influences = attrs.field(factory=Influences, kw_only=True)

    def only(self, rows: Rows) -> Self:
        return attrs.evolve(super().only(rows), influences=Influences())


@attrs.frozen(eq=False)
class LearnedPolicy:
    """Networks whose median action decides, with a rule as fallback.

    Attributes:
        name: Name by which it was requested.
        networks: One for each seed; at least one.
        regimes: Model of market regimes that it was trained with.
        rule: Fallback where history is too short, market features lie outside the trained range,
            an economic figure is unknown, or the networks disagree; a rule, or another learned
            policy.
        lowest: (F,) least features of the training.
        highest: (F,) greatest features of the training.
        most_spread: Mean one-way distance of the networks' targets from those of the median, above
            which the networks disagree.
        chosen_rule: Name of the best rule on the training data, if known.
        inputs: Features and sleeves that it was trained with.
        economy: Economic series, for sets with economic features.
        views: Cache of what it observes, for simulations that repeat; None: nothing is cached.
    """

    name: str
    networks: tuple[Network, ...]
    regimes: RegimeModel
    rule: Policy
    lowest: Floats = attrs.field(converter=read_only)
    highest: Floats = attrs.field(converter=read_only)
    most_spread: float = 0.25
    chosen_rule: str | None = None
    inputs: InputSet = INPUTS_1
    economy: Economy = NO_ECONOMY
    views: MarketViews | None = None

    def __attrs_post_init__(self) -> None:
        """Check that the networks fit the input set.

        Raises:
            InvalidRequest: a network has another number of inputs or outputs.
        """
        width, outputs = len(self.inputs.features), len(self.inputs.actions)
        for network in self.networks:
            if network.inputs != width:
                raise invalid_network(
                    f"layer 0 has weights of shape {network.weights[0].shape} and biases of shape "
                    f"{network.biases[0].shape}; it needs {width} inputs, and a bias for each "
                    "output"
                )
            if network.width != outputs and network.grid is None:
                raise invalid_network(
                    f"the last layer has {network.width} outputs; it must have {outputs}"
                )
            if network.grid is not None and network.grid.shape[1:] != (outputs,):
                raise invalid_network(
                    f"the grid of actions has shape {network.grid.shape}; a discrete action is "
                    f"{outputs} numbers"
                )

    @property
    def lookback(self) -> int:
        return max(self.inputs.lookback, self.rule.lookback)

    @property
    def frequency(self) -> Frequency:
        return Frequency.WEEKLY

    @property
    def members(self) -> tuple[LearnedPolicy, ...]:
        """One policy for each network; empty if there is only one network."""
        if len(self.networks) < 2:
            return ()
        return tuple(
            attrs.evolve(self, name=f"{self.name}#{place}", networks=(network,))
            for place, network in enumerate(self.networks)
        )

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        find = market_features if self.views is None else self.views.find
        view = find(book, market, self.regimes, self.inputs)
        allowed = None
        if self.inputs.has_allowance:
            allowed = np.where(view.known, allowance(book, view.turnover), np.inf)
        standing = portfolio_features(book, self.inputs, allowed)
        outlook = self.economy.observe(self.inputs.economy, book.as_of)
        unknown = np.isnan(outlook)
        observed = np.concatenate([view.features, standing, np.nan_to_num(outlook)], axis=1)
        # A portfolio outside the trained range (64 assets, free trading) is treated as the nearest
        # one inside. For a market outside the range, the rule decides.
        strange = (observed < self.lowest - _MARGIN) | (observed > self.highest + _MARGIN)
        last = len(self.inputs.market)
        strange[:, last : last + standing.shape[1]] = False
        observed = np.clip(observed, self.lowest, self.highest)
        each = np.stack([network.actions(observed) for network in self.networks])
        actions = np.round(np.median(each, axis=0), _DIGITS)
        due = self.frequency.due(book.reviewed, book.as_of)
        decision = interpret_actions(actions, book, view.sleeves, due, self.inputs)
        if allowed is not None:
            decision = attrs.evolve(decision, most_turnover=allowed)
        spread = self._spread(each, decision.targets, book, view)
        doubts = np.where(view.known, 0, Doubt.HISTORY)
        doubts |= np.where(unknown.any(axis=1), Doubt.ECONOMY, 0)
        doubts |= np.where(view.known & strange.any(axis=1), Doubt.RANGE, 0)
        doubts |= np.where(view.known & (spread > self.most_spread), Doubt.DISAGREEMENT, 0)
        if doubts.any():
            decision = _replace_rows(decision, self.rule.decide(book, market), doubts > 0)
        return LearnedDecision(
            **{field.name: getattr(decision, field.name) for field in attrs.fields(Decision)},
            observed=observed,
            actions=actions,
            sleeves=view.sleeves,
            spread=spread,
            strange=strange,
            doubts=doubts,
        )

    def suits(self, frequency: ObservationFrequency) -> bool:
        """See `LooksBack.suits`."""
        return frequency.is_daily

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        if not isinstance(decision, LearnedDecision):
            return []
        if doubts := int(decision.doubts[row]):
            one = decision.only(np.array([row]))
            alone = book.only(np.array([row]))
            why = self._explain_doubts(one, doubts, alone, market)
            if isinstance(self.rule, LearnedPolicy):
                return [
                    f"The policy {self.rule.name} decides instead of {self.name}: {why}.",
                    *self.rule.remarks(self.rule.decide(alone, market), alone, market, 0),
                ]
            return [
                f"The rule {self.rule.name} decides instead of {self.name}: {why}.",
                *self.rule.remarks(decision, book, market, row),
            ]
        return [
            self._describe_regime(decision.observed[row : row + 1]),
            *_describe_actions(decision.actions[row : row + 1], self.inputs),
            self._describe_drivers(decision, book, row),
        ]

    def _spread(self, each: Floats, targets: Floats, book: Book, view: MarketView) -> Floats:
        """Return the mean distance of single networks' targets from those of the median, (B,)."""
        total = np.zeros(len(book))
        if len(each) > 1:
            for actions in each:
                mixed = mix_targets(actions, book.targets, view.sleeves, self.inputs)
                total += one_way_distance(mixed - targets)
        return total / len(each)

    def _explain_doubts(
        self, one: LearnedDecision, doubts: int, book: Book, market: PriceHistory
    ) -> str:
        reasons = []
        if doubts & Doubt.HISTORY:
            frequency = observed_frequency(book, market, self.inputs)
            needed = frequency.rows(max(LOOKBACK, self.rule.lookback) - 1) + 1
            reasons.append(
                f"{self.name} needs {needed} closes of every targeted asset, and some are missing"
                if frequency.is_daily
                else f"{self.name} needs daily prices, and a year of these has "
                f"{frequency.periods_per_year:.3g} closes"
            )
        if doubts & Doubt.ECONOMY:
            outlook = self.economy.observe(self.inputs.economy, book.as_of)[0]
            missing = [
                feature.name
                for feature, figure in zip(self.inputs.economy, outlook, strict=True)
                if np.isnan(figure)
            ]
            reasons.append(f"no recent figure is known of: {', '.join(missing)}")
        if doubts & Doubt.RANGE:
            names = [self.inputs.features[place].name for place in np.flatnonzero(one.strange[0])]
            reasons.append(
                f"market conditions are outside the range of its training ({', '.join(names)})"
            )
        if doubts & Doubt.DISAGREEMENT:
            reasons.append(
                f"its {len(self.networks)} networks disagree: on average their targets differ from "
                f"the median by {one.spread[0]:.0%} of the portfolio"
            )
        return "; ".join(reasons)

    def _describe_regime(self, observed: Floats) -> str:
        """Name the most likely regime of the market, from the features of a portfolio, (1, F)."""
        names = self.regimes.names
        calm, stressed = (
            float(self.inputs.unscaled(observed, name)[0]) for name in ("calm", "stressed")
        )
        chances = {names[0]: calm, names[-1]: stressed}
        if len(names) > 2:
            chances[" or ".join(names[1:-1])] = 1.0 - calm - stressed
        name = max(chances, key=lambda regime: chances[regime])
        return (
            f"The market regime of the targets is most likely {name} (probability "
            f"{max(chances[name], 0.0):.0%})."
        )

    def _describe_drivers(self, decision: LearnedDecision, book: Book, row: int) -> str:
        """Name the features without which the targets would change most."""
        if decision.influences.distances is None:
            decision.influences.distances = self._measure_influences(decision, book)
        distance = decision.influences.distances[row]
        observed, features = decision.observed[row], self.inputs.features
        largest = np.argsort(-distance, kind="stable")[:3].tolist()
        drivers = [
            f"{features[place].name} is {_level(observed[place])} and changes them by "
            f"{distance[place]:.0%}"
            for place in largest
            if distance[place] >= _TELLING
        ]
        if not drivers:
            return "No single input changes the targets by a point: nothing is unusual."
        return f"Main influences on the targets: {'; '.join(drivers)}."

    def _measure_influences(self, decision: LearnedDecision, book: Book) -> Floats:
        """Measure how far the targets move without each feature, (B, F); see `Influences`."""
        count = len(self.inputs.features)
        found = np.zeros((len(book), count))
        sure = np.flatnonzero(decision.doubts == 0)
        for start in range(0, len(sure), _TOGETHER):
            rows = sure[start : start + _TOGETHER]
            without = np.repeat(decision.observed[rows, None], count + 1, axis=1)
            without[:, np.arange(count), np.arange(count)] = 0.0
            each = [network.actions(without.reshape(-1, count)) for network in self.networks]
            targets = mix_targets(
                np.median(each, axis=0),
                np.repeat(book.targets[rows], count + 1, axis=0),
                np.repeat(decision.sleeves[rows], count + 1, axis=0),
                self.inputs,
            ).reshape(len(rows), count + 1, -1)
            found[rows] = one_way_distance(targets[:, :-1] - targets[:, -1:])
        return np.round(found, _DIGITS)


def _describe_actions(actions: Floats, inputs: InputSet) -> list[str]:
    """Explain the actions of one portfolio, shape (1, A)."""
    actions = np.clip(actions, -1.0, 1.0)
    names = ["the given targets", *(sleeve.name for sleeve in inputs.sleeves)]
    parts = sorted(
        zip(mix_parts(actions, inputs)[0], names, strict=True), key=lambda part: -part[0]
    )
    mix = ", ".join(f"{part:.0%} {name}" for part, name in parts if part >= _VISIBLE)
    share = float(invested_share(actions)[0])
    band, cash = (100 * half_width(actions, column)[0] for column in (BAND, PATIENCE))
    return [
        f"The policy aims at {share:.0%} in this mix: {mix}.",
        f"Deviations of up to {band:.1f} points from an asset's target, and of up to {cash:.1f} "
        "points in cash, are not traded.",
    ]


def _level(scaled: float) -> str:
    if scaled >= 2:
        return "very high"
    if scaled >= 0.75:
        return "high"
    if scaled > -0.75:
        return "usual"
    return "low" if scaled > -2 else "very low"


def _replace_rows(learned: Decision, rule: Decision, rows: Bools) -> Decision:
    """Return a learned decision with that of a rule in some rows."""
    each = rows[:, None]
    assert learned.band is not None and learned.cash_band is not None
    band = 0.0 if rule.band is None else rule.band
    cash_band = 0.0 if rule.cash_band is None else rule.cash_band
    informed = np.ones(len(rows), dtype=bool) if rule.informed is None else rule.informed
    most = learned.most_turnover
    if rule.most_turnover is not None:
        own = np.full(len(rows), np.inf) if most is None else most
        most = np.where(rows, np.minimum(own, rule.most_turnover), own)
    return Decision(
        targets=np.where(each, rule.targets, learned.targets),
        due=np.where(rows, rule.due, learned.due),
        band=np.where(each, band, learned.band),
        cash_band=np.where(rows, cash_band, learned.cash_band),
        landing=np.where(rows, rule.landing, learned.landing),
        informed=np.where(rows, informed, True),
        most_turnover=most,
    )
