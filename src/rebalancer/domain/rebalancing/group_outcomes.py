"""What a proposal does to each group of the targets, and the cheapest way to move it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.number_text import percent_text
from rebalancer.domain.portfolio.costs import CostSchedule
from rebalancer.domain.portfolio.target_resolution import ResolvedGroup

if TYPE_CHECKING:
    from rebalancer.domain.rebalancing.explanations import SolvedBook

VISIBLE = 5e-4
"""Drifts below this are 0.0 points when written."""

_EQUAL = 1e-9
"""Costs, as shares of the traded amount, that differ by less are equal."""


class GroupState(StrEnum):
    """Where a group is relative to its target before the orders; stable, unlike the texts."""

    AT_TARGET = "at_target"
    WITHIN_BAND = "within_band"
    UNDER_TARGET = "under_target"
    OVER_TARGET = "over_target"
    BELOW_MINIMUM = "below_minimum"
    ABOVE_MAXIMUM = "above_maximum"


@attrs.frozen
class GroupOutcome:
    """A group before and after the orders of a proposal; weights are of portfolio value.

    Attributes:
        name: Name of the group.
        path: Names of the groups around it, then its own.
        asset_class: Value of its `AssetClass`; None for an own group.
        weight_before: Weight before the orders, funds counted by their shares.
        target: Stated weight.
        weight_after: Weight after the orders.
        drift_points: Weight before minus target, in percentage points.
        state: See `GroupState`.
        reason: The state as a sentence, with the cheapest way to move the group.
        targets: Weight that follows for each asset that counts for the group.
        band: Largest drift without a review; None: no band.
        min_weight: Minimum; None: no minimum.
        max_weight: Maximum; None: no maximum.
        cheapest: Asset whose trade moves the group toward its target at the least cost; None if it
            is at its target, or no asset may be traded.
        cheapest_cost: Cost of that trade as a share of what it moves the group.
        missing_points: Percentage points by which the target of a class cannot be met.
    """

    name: str
    path: tuple[str, ...]
    asset_class: str | None
    weight_before: float
    target: float
    weight_after: float
    drift_points: float
    state: GroupState
    reason: str
    targets: Mapping[str, float]
    band: float | None = None
    min_weight: float | None = None
    max_weight: float | None = None
    cheapest: str | None = None
    cheapest_cost: float | None = None
    missing_points: float = 0.0

    @property
    def moved_by_band(self) -> bool:
        """Whether the band or a limit of the group leads to trades of its members."""
        limits = (GroupState.BELOW_MINIMUM, GroupState.ABOVE_MAXIMUM)
        beyond = self.band is not None and abs(self.drift_points) / 100 > self.band
        return beyond or self.state in limits


def group_outcomes(
    solved: SolvedBook, row: int, weights_after: Mapping[str, float]
) -> tuple[GroupOutcome, ...]:
    """Return the outcome of each group of a portfolio, each before those inside."""
    prepared = solved.prepared[row]
    if not prepared.groups:
        return ()
    symbols, targets = prepared.portfolio.symbols, prepared.portfolio.targets
    weights = solved.book.weights()[row]
    before = dict(zip(symbols, weights.tolist(), strict=False))
    found = []
    for one in prepared.groups:
        drift = one.weight(before) - one.target
        cheapest = None
        if abs(drift) >= VISIBLE:
            cheapest = _find_cheapest(solved, row, one, symbols, drift)
        state = _state(one, one.weight(before), drift)
        group = one.group
        found.append(
            GroupOutcome(
                name=group.name,
                path=one.path,
                asset_class=None if group.asset_class is None else group.asset_class.value,
                weight_before=round(one.weight(before), 10),
                target=one.target,
                weight_after=round(one.weight(weights_after), 10),
                drift_points=round(100 * drift, 8) + 0.0,
                state=state,
                reason=_sentence(one, state, drift, cheapest),
                targets={name: targets[name] for name in sorted(one.members) if name in targets},
                band=group.band,
                min_weight=group.min_weight,
                max_weight=group.max_weight,
                cheapest=None if cheapest is None else cheapest[0],
                cheapest_cost=None if cheapest is None else round(cheapest[1], 10),
                missing_points=round(100 * one.missing, 8) + 0.0,
            )
        )
    return tuple(found)


def explaining_group(
    outcomes: Sequence[GroupOutcome], symbol: str, *, buys: bool | None
) -> GroupOutcome | None:
    """Return the innermost group that is off its target and explains what is done with an asset.

    None if there is no such group. For an order, ``buys`` is its direction, in which the group must
    have to move.
    """
    found = None
    for one in outcomes:
        if symbol not in one.targets or abs(one.drift_points) < 100 * VISIBLE:
            continue
        if buys is None or buys == (one.drift_points < 0):
            found = one
    return found


def _state(one: ResolvedGroup, weight: float, drift: float) -> GroupState:
    group = one.group
    if group.min_weight is not None and weight < group.min_weight - _EQUAL:
        return GroupState.BELOW_MINIMUM
    if group.max_weight is not None and weight > group.max_weight + _EQUAL:
        return GroupState.ABOVE_MAXIMUM
    if abs(drift) < VISIBLE:
        return GroupState.AT_TARGET
    if group.band is not None and abs(drift) <= group.band + _EQUAL:
        return GroupState.WITHIN_BAND
    return GroupState.UNDER_TARGET if drift < 0 else GroupState.OVER_TARGET


def _sentence(
    one: ResolvedGroup,
    state: GroupState,
    drift: float,
    cheapest: tuple[str, float, bool] | None,
) -> str:
    group = one.group
    verb = "are" if group.name[-1:].casefold() == "s" else "is"
    if state is GroupState.AT_TARGET:
        text = f"{group.name} {verb} at {'their' if verb == 'are' else 'its'} target"
    else:
        side = "under" if drift < 0 else "over"
        text = f"{group.name} {verb} {abs(100 * drift):.1f} points {side} target"
    if state is GroupState.BELOW_MINIMUM:
        text += f", below the minimum of {percent_text(group.min_weight or 0.0)}"
    elif state is GroupState.ABOVE_MAXIMUM:
        text += f", above the maximum of {percent_text(group.max_weight or 0.0)}"
    elif state is GroupState.WITHIN_BAND:
        text += f", within the band of {percent_text(group.band or 0.0)}"
    if cheapest is not None:
        symbol, _, tied = cheapest
        way = "add" if drift < 0 else "reduce"
        text += (
            f"; its assets cost the same to {'buy' if drift < 0 else 'sell'}"
            if tied
            else f"; {symbol} is the cheapest way to {way}"
        )
    return f"{text}."


def _find_cheapest(
    solved: SolvedBook, row: int, one: ResolvedGroup, symbols: Sequence[str], drift: float
) -> tuple[str, float, bool] | None:
    """Return the cheapest asset, its cost for each unit of drift, and whether others cost the same.

    The trade is the whole drift, in one asset; a fund of several classes needs a larger one. Of
    equal costs the asset furthest from its target counts.
    """
    book, limits = solved.book, solved.book.limits
    used = len(symbols)
    shares = np.array([one.members.get(symbol, 0.0) for symbol in symbols])
    total = max(float(book.total[row]), 0.0)
    amount = abs(drift) * total
    may = limits.no_buy if drift < 0 else limits.no_sell
    possible = (shares > 0) & ~may[row, :used]
    if solved.withheld is not None:
        possible &= ~solved.withheld[row, :used]
    targets, values = book.targets[row, :used] * total, book.values[row, :used]
    if drift < 0:
        possible &= (targets > 0) | (values > 0)
    else:
        possible &= values * shares >= amount * (1 - _EQUAL)
    if not possible.any() or not amount:
        return None
    traded = np.where(possible, amount / np.where(possible, shares, 1.0), 0.0)
    costs = _costs(solved.charges, row, traded, book.values.shape[1]) / amount
    least = float(costs[possible].min())
    tied = possible & (costs <= least + _EQUAL)
    gap = (targets - values) if drift < 0 else (values - targets)
    best = int(np.where(tied, gap, -np.inf).argmax())
    return symbols[best], least, int(np.count_nonzero(tied)) > 1


def _costs(charges: CostSchedule, row: int, traded: Floats, slots: int) -> Floats:
    """(K,) cost of a trade in each used slot of a portfolio."""
    sizes = np.zeros((1, slots))
    sizes[0, : len(traded)] = traded
    costs: Floats = charges.row(np.array([row]))(sizes)[0, : len(traded)]
    return costs
