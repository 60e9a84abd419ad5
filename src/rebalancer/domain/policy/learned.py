"""Learned policies: small networks that say how much risk, which mix, how far, and how readily.

A network never names an asset. It sees an `observation` of fixed size and answers with the eight
numbers of `ACTIONS`, which `decided` turns into a decision for any universe: so one policy serves
every portfolio. All of them at 0 is the neutral action: the strategic weights within a band of two
points, which is the rule ``band:frequency=weekly``.

The networks are trained elsewhere (`adapters.rl`); here they are only asked, in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.observation import (
    FEATURES,
    LOOKBACK,
    OUTLOOK,
    SLEEVES,
    Outlook,
    outlook,
    standing,
)
from rebalancer.domain.policy.policy import Decision, Frequency, Policy
from rebalancer.domain.policy.rules import DEFAULT_BAND
from rebalancer.domain.portfolio.book import Book


@attrs.frozen
class Action:
    """One number that a network answers with, in [-1, 1].

    Attributes:
        name: What it is called.
        meaning: What it does.
    """

    name: str
    meaning: str


LEAST_INVESTED = 0.5
"""Share of the strategic weights that is kept at the very least."""

WIDER = 5.0
"""Bands go from a fifth of two points to five times as wide."""

ACTIONS = (
    Action("risk", "share of the mix that is held: 1 from 0 upwards, down to 0.5 at -1"),
    *(
        Action(sleeve.name, f"part of {sleeve.name} in the mix: 0 up to 0, {sleeve.most:.0%} at 1")
        for sleeve in SLEEVES
    ),
    Action("pace", "an asset outside its band goes to its target from 0 down, to the edge at 1"),
    Action("band", "half-width around each target: 2 points at 0, a fifth of it at -1, 5 x at 1"),
    Action("patience", "half-width around cash, alike"),
)

NEUTRAL = np.zeros(len(ACTIONS))

_RISK, _PACE, _BAND, _PATIENCE = 0, len(SLEEVES) + 1, len(SLEEVES) + 2, len(SLEEVES) + 3
_MIX = slice(1, 1 + len(SLEEVES))
_MOST = np.array([sleeve.most for sleeve in SLEEVES])
_BLOCK = 512
"""Rows computed at a time: the values of a layer then fit into the processor's cache."""

_SLICE = 22
"""Bits of one slice of a factor: 2 x 22 bits and 512 summands fit into the 53 bits of a float."""


def share_invested(actions: Floats) -> Floats:
    """(B,) share of the mix that (B, `ACTIONS`) keep invested."""
    share: Floats = 1.0 + (1.0 - LEAST_INVESTED) * np.minimum(actions[:, _RISK], 0.0)
    return share


def mixture(actions: Floats) -> Floats:
    """(B, 1 + `SLEEVES`) parts of the mix, the strategic weights first; rows sum to 1."""
    parts = np.maximum(actions[:, _MIX], 0.0) * _MOST
    asked = parts.sum(axis=1, keepdims=True)
    parts = parts / np.maximum(asked, 1.0)
    return np.concatenate([np.maximum(1.0 - asked, 0.0), parts], axis=1)


def targets_of(actions: Floats, strategic: Floats, sleeves: Floats) -> Floats:
    """(B, K) targets: the mix of the strategic weights (B, K) and sleeves (B, S, K), scaled."""
    parts = mixture(actions)
    mixed = parts[:, :1] * strategic
    for place in range(sleeves.shape[1]):
        mixed = mixed + parts[:, 1 + place, None] * sleeves[:, place]
    targets: Floats = mixed * share_invested(actions)[:, None]
    return targets


def decided(actions: Floats, book: Book, sleeves: Floats, due: Bools) -> Decision:
    """What actions (B, `ACTIONS`) mean for a book; beyond +-1 they are cut off.

    Args:
        actions: Of each portfolio.
        book: Portfolios before trading.
        sleeves: (B, `SLEEVES`, K) weights.
        due: (B,) whether the policy looks at the portfolio today.
    """
    actions = np.clip(actions, -1.0, 1.0)
    band = DEFAULT_BAND * WIDER ** actions[:, _BAND]
    return Decision(
        targets=targets_of(actions, book.targets, sleeves),
        due=due,
        band=np.broadcast_to(band[:, None], book.targets.shape),
        cash_band=DEFAULT_BAND * WIDER ** actions[:, _PATIENCE],
        landing=np.maximum(actions[:, _PACE], 0.0),
    )


def _frozen(values: object) -> Floats:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _all_frozen(arrays: Sequence[object]) -> tuple[Floats, ...]:
    return tuple(_frozen(array) for array in arrays)


def _units(values: Floats, axis: int) -> Floats:
    """Unit of the first slice along an axis: the power of two above its largest, by 2^22."""
    largest = np.abs(values).max(axis=axis, keepdims=True)
    exponents = np.clip(np.frexp(largest)[1], -900, 900) - _SLICE
    units: Floats = np.ldexp(1.0, exponents)
    return units


def _sliced(values: Floats, units: Floats) -> tuple[Floats, Floats]:
    """Values as the sum of two slices of 22 bits; what is smaller than the second is dropped."""
    high = np.rint(values / units)
    high *= units
    low = values - high
    units = units * 2.0**-_SLICE
    low /= units
    np.rint(low, out=low)
    low *= units
    return high, low


@attrs.frozen(eq=False)
class _SplitMatrix:
    """A matrix by which rows are multiplied so that no row's result depends on the others.

    A BLAS adds up a product in an order that depends on the processor and on the number of rows,
    and so do the last digits. Here both factors are cut into slices so short that every sum of
    products of slices is exact, hence the same in any order. Results are right to about 2^-44 of
    the largest products. Of more than 512 inputs sums might be rounded.

    Attributes:
        high: (n, m) first slice, with a unit of its own for each column.
        both: (n, 2 m) first and second slices, side by side.

    References:
        Ozaki, K., Ogita, T., Oishi, S. and Rump, S. M. (2012). Error-free transformations of
        matrix multiplication by using fast routines of matrix multiplication and its
        applications. Numerical Algorithms 59, 95-118.
    """

    high: Floats
    both: Floats

    @classmethod
    def of(cls, matrix: Floats) -> _SplitMatrix:
        """Split a matrix (n, m)."""
        high, low = _sliced(matrix, _units(matrix, 0))
        return cls(high, np.concatenate([high, low], axis=1))

    def product(self, rows: Floats) -> Floats:
        """(B, m) product of rows (B, n) with the matrix."""
        high, low = _sliced(rows, _units(rows, 1))
        width = self.high.shape[1]
        products = high @ self.both
        small = low @ self.high
        small += products[:, width:]
        small += products[:, :width]
        return small


@attrs.frozen(eq=False)
class Network:
    """A multilayer perceptron with hyperbolic tangents between its layers.

    Attributes:
        weights: Of each layer, shape (inputs, outputs).
        biases: Of each layer, shape (outputs,).
        grid: (A, `ACTIONS`) if the network's A outputs are values of discrete actions, of which
            the most valuable is taken; None if its outputs are the actions themselves.
    """

    weights: tuple[Floats, ...] = attrs.field(converter=_all_frozen)
    biases: tuple[Floats, ...] = attrs.field(converter=_all_frozen)
    grid: Floats | None = attrs.field(default=None, converter=attrs.converters.optional(_frozen))

    def __attrs_post_init__(self) -> None:
        """Refuse what does not fit together.

        Raises:
            InvalidRequest: says which part does not fit.
        """
        outputs = len(ACTIONS) if self.grid is None else len(self.grid)
        if not self.weights or len(self.weights) != len(self.biases):
            raise InvalidRequest("a network needs layers, each with weights and biases")
        width = len(FEATURES)
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.ndim != 2 or weight.shape[0] != width or bias.shape != weight.shape[1:]:
                raise InvalidRequest(
                    f"layer {place} of shape {weight.shape} and {bias.shape} does not take "
                    f"{width} figures"
                )
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise InvalidRequest(f"layer {place} holds a weight that is not a finite number")
            width = weight.shape[1]
        if width != outputs:
            raise InvalidRequest(f"the last layer gives {width} figures, {outputs} are needed")
        if self.grid is not None and self.grid.shape[1:] != (len(ACTIONS),):
            raise InvalidRequest(f"a discrete action is {len(ACTIONS)} numbers")

    @cached_property
    def _splits(self) -> tuple[_SplitMatrix, ...]:
        return tuple(_SplitMatrix.of(weight) for weight in self.weights)

    def outputs(self, observed: Floats) -> Floats:
        """(B, outputs) of the last layer, for (B, `FEATURES`)."""
        last = len(self.weights) - 1
        found = np.empty((len(observed), self.weights[-1].shape[1]))
        for start in range(0, len(observed), _BLOCK):
            values = observed[start : start + _BLOCK]
            for place, (split, bias) in enumerate(zip(self._splits, self.biases, strict=True)):
                values = split.product(values)
                values += bias
                if place < last:
                    values = np.tanh(values)
            found[start : start + _BLOCK] = values
        return found

    def actions(self, observed: Floats) -> Floats:
        """(B, `ACTIONS`) within [-1, 1], for (B, `FEATURES`)."""
        outputs = self.outputs(observed)
        if self.grid is None:
            return np.clip(outputs, -1.0, 1.0)
        chosen: Floats = self.grid[outputs.argmax(axis=1)]
        return chosen


class Doubt:
    """Why a portfolio is left to the rule: bits of `Advice.doubts`."""

    HISTORY = 1
    RANGE = 2
    DISAGREEMENT = 4


@attrs.frozen(eq=False)
class Advice(Decision):
    """A learned decision, and what it rests on.

    Attributes:
        observed: (B, `FEATURES`), within the range that was trained on.
        actions: (B, `ACTIONS`) the median over the networks.
        sleeves: (B, `SLEEVES`, K).
        spread: (B,) mean one-way distance of each network's targets from the median's.
        strange: (B, `FEATURES`) figures of the market outside that range.
        doubts: (B,) bits of `Doubt`; 0: the learned decision holds.
    """

    observed: Floats = attrs.field(kw_only=True)
    actions: Floats = attrs.field(kw_only=True)
    sleeves: Floats = attrs.field(kw_only=True)
    spread: Floats = attrs.field(kw_only=True)
    strange: Bools = attrs.field(kw_only=True)
    doubts: NDArray[np.int64] = attrs.field(kw_only=True)

    def only(self, rows: Rows) -> Advice:
        """The advice for some of the portfolios."""
        plain = super().only(rows)
        return Advice(
            **{field.name: getattr(plain, field.name) for field in attrs.fields(Decision)},
            observed=self.observed[rows],
            actions=self.actions[rows],
            sleeves=self.sleeves[rows],
            spread=self.spread[rows],
            strange=self.strange[rows],
            doubts=self.doubts[rows],
        )


@attrs.frozen(eq=False)
class LearnedPolicy:
    """Networks, one a seed, whose median action decides; a rule where that cannot be trusted.

    Attributes:
        name: How it was asked for.
        networks: At least one.
        regimes: The model of market regimes that it was trained with.
        rule: Decides where history is short, figures lie outside the trained range, or the
            networks disagree.
        lowest: (`FEATURES`,) least figures that it was trained on.
        highest: (`FEATURES`,) greatest ones.
        most_spread: Mean one-way distance of the networks' targets from the median's, above which
            they disagree too much.
        chosen_rule: Name of the best rule on the training data, if it is known.
    """

    name: str
    networks: tuple[Network, ...]
    regimes: RegimeModel
    rule: Policy
    lowest: Floats = attrs.field(converter=_frozen)
    highest: Floats = attrs.field(converter=_frozen)
    most_spread: float = 0.25
    chosen_rule: str | None = None

    @property
    def lookback(self) -> int:
        """Closes that it needs, the last included."""
        return max(LOOKBACK, self.rule.lookback)

    @property
    def frequency(self) -> Frequency:
        """How often it looks."""
        return Frequency.WEEKLY

    @property
    def members(self) -> tuple[LearnedPolicy, ...]:
        """One policy a network, where there are several."""
        if len(self.networks) < 2:
            return ()
        return tuple(
            attrs.evolve(self, name=f"{self.name}#{place}", networks=(network,))
            for place, network in enumerate(self.networks)
        )

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        """See `Policy.decide`."""
        seen = outlook(book, market, self.regimes)
        observed = np.concatenate([seen.features, standing(book)], axis=1)
        # What a portfolio is like may lie beyond what was trained on, as 64 assets or free trading
        # do: it is then taken for the nearest that was. What a market is like may not.
        strange = (observed < self.lowest - _MARGIN) | (observed > self.highest + _MARGIN)
        strange[:, len(OUTLOOK) :] = False
        observed = np.clip(observed, self.lowest, self.highest)
        each = np.stack([network.actions(observed) for network in self.networks])
        # RoundedTrades, so that no platform's last digit tells one side of a band from the other.
        actions = np.round(np.median(each, axis=0), 9)
        due = self.frequency.due(book.reviewed, book.as_of)
        wanted = decided(actions, book, seen.sleeves, due)
        spread = self._spread(each, wanted.targets, book, seen)
        doubts = np.where(seen.known, 0, Doubt.HISTORY)
        doubts |= np.where(seen.known & strange.any(axis=1), Doubt.RANGE, 0)
        doubts |= np.where(seen.known & (spread > self.most_spread), Doubt.DISAGREEMENT, 0)
        if doubts.any():
            wanted = _left_to(self.rule.decide(book, market), wanted, doubts > 0)
        return Advice(
            **{field.name: getattr(wanted, field.name) for field in attrs.fields(Decision)},
            observed=observed,
            actions=actions,
            sleeves=seen.sleeves,
            spread=spread,
            strange=strange,
            doubts=doubts,
        )

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """See `Policy.remarks`."""
        if not isinstance(decision, Advice):
            return []
        one = np.array([row])
        advice, doubts = decision.only(one), int(decision.doubts[row])
        if doubts:
            return [
                f"left to {self.rule.name}: {self._why(advice, doubts)}",
                *self.rule.remarks(decision, book, market, row),
            ]
        return [_regime(advice, self.regimes), *_account(advice), self._drivers(advice, book, row)]

    def _spread(self, each: Floats, targets: Floats, book: Book, seen: Outlook) -> Floats:
        """(B,) mean one-way distance of single networks' targets from those of the median."""
        if len(each) == 1:
            return np.zeros(len(book))
        summed = np.zeros(len(book))
        for actions in each:
            moved = targets_of(actions, book.targets, seen.sleeves) - targets
            summed += (np.abs(moved).sum(axis=1) + np.abs(moved.sum(axis=1))) / 2
        return summed / len(each)

    def _why(self, advice: Advice, doubts: int) -> str:
        reasons = []
        if doubts & Doubt.HISTORY:
            reasons.append(
                f"{self.name} needs {self.lookback} closes of every targeted asset, and not all "
                "are known"
            )
        if doubts & Doubt.RANGE:
            names = [FEATURES[place].name for place in np.flatnonzero(advice.strange[0])]
            reasons.append(f"outside of what was trained on: {', '.join(names)}")
        if doubts & Doubt.DISAGREEMENT:
            reasons.append(
                f"its {len(self.networks)} networks disagree: their targets lie "
                f"{advice.spread[0]:.0%} of the portfolio apart on average"
            )
        return "; ".join(reasons)

    def _drivers(self, advice: Advice, book: Book, row: int) -> str:
        """Which figures moved the targets most: those without which they would differ most."""
        observed = advice.observed[0]
        count = len(FEATURES)
        without = np.tile(observed, (count + 1, 1))
        without[np.arange(count), np.arange(count)] = 0.0
        each = np.stack([network.actions(without) for network in self.networks])
        actions = np.median(each, axis=0)
        strategic = np.broadcast_to(book.targets[row], (count + 1, book.targets.shape[1]))
        sleeves = np.broadcast_to(advice.sleeves[0], (count + 1, *advice.sleeves.shape[1:]))
        moved = targets_of(actions, strategic, sleeves)
        moved = moved - moved[-1]
        distance = (np.abs(moved).sum(axis=1) + np.abs(moved.sum(axis=1))) / 2
        most = [
            int(place) for place in np.argsort(-np.round(distance[:count], 9), kind="stable")[:3]
        ]
        told = [
            f"{FEATURES[place].name} ({_level(observed[place])}, moves {distance[place]:.0%})"
            for place in most
            if distance[place] >= _TELLING
        ]
        if not told:
            return "no single figure moves the targets by a point: nothing is out of the ordinary"
        return f"driven most by: {', '.join(told)}"


_MARGIN = 0.25
"""Scaled units by which a figure may lie outside the trained range."""

_TELLING = 0.005

_SHOWN = 0.01


def _regime(advice: Advice, regimes: RegimeModel) -> str:
    """The market's regime, from the observation's own figures."""
    names = [feature.name for feature in OUTLOOK]
    calm, stressed = (
        float(advice.observed[0, place] * OUTLOOK[place].scale + OUTLOOK[place].centre)
        for place in (names.index("calm"), names.index("stressed"))
    )
    chances = dict(zip((regimes.names[0], regimes.names[-1]), (calm, stressed), strict=True))
    if len(regimes.names) > 2:
        between = " or ".join(regimes.names[1:-1])
        chances[between] = 1.0 - calm - stressed
    name = max(chances, key=lambda one: chances[one])
    return f"market regime of the targets: {name} ({max(chances[name], 0.0):.0%} likely)"


def _account(advice: Advice) -> list[str]:
    """What the actions mean, in plain language."""
    actions = np.clip(advice.actions, -1.0, 1.0)
    parts = mixture(actions)[0]
    names = ["the given targets", *(sleeve.name for sleeve in SLEEVES)]
    mix = ", ".join(
        f"{part:.0%} {name}"
        for part, name in sorted(zip(parts, names, strict=True), key=lambda one: -one[0])
        if part >= _SHOWN
    )
    share = float(share_invested(actions)[0])
    band, cash = (DEFAULT_BAND * WIDER ** actions[0, place] for place in (_BAND, _PATIENCE))
    return [
        f"holds {share:.0%} of this mix: {mix}",
        f"leaves an asset alone within {100 * band:.1f} points of its target, cash within "
        f"{100 * cash:.1f}",
    ]


def _level(scaled: float) -> str:
    if scaled >= 2:
        return "very high"
    if scaled >= 0.75:
        return "high"
    if scaled > -0.75:
        return "usual"
    return "low" if scaled > -2 else "very low"


def _left_to(rule: Decision, wanted: Decision, rows: Bools) -> Decision:
    """The learned decision, but that of a rule for some rows."""
    each = rows[:, None]
    assert wanted.band is not None and wanted.cash_band is not None
    band = 0.0 if rule.band is None else rule.band
    cash_band = 0.0 if rule.cash_band is None else rule.cash_band
    informed = np.ones(len(rows), dtype=bool) if rule.informed is None else rule.informed
    return Decision(
        targets=np.where(each, rule.targets, wanted.targets),
        due=np.where(rows, rule.due, wanted.due),
        band=np.where(each, band, wanted.band),
        cash_band=np.where(rows, cash_band, wanted.cash_band),
        landing=np.where(rows, rule.landing, wanted.landing),
        informed=np.where(rows, informed, True),
    )
