"""Skeletons: what a learned policy holds on average, without its timing.

The skeleton of a learned policy has the same sleeves and reviews, and constant actions: the mix,
the invested share and the bands that the policy had on average. A policy whose networks matter
differs from its skeleton in results, not only in decisions.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats, one_way_distance
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.actions import (
    LEAST_INVESTED,
    MIX,
    RISK,
    invested_share,
    mix_parts,
    mix_targets,
)
from rebalancer.domain.policy.learned import LearnedDecision, LearnedPolicy
from rebalancer.domain.policy.network import Network
from rebalancer.domain.policy.policy import Decision, Frequency
from rebalancer.domain.policy.rules import DEFAULT_BAND
from rebalancer.domain.portfolio.book import Book


@attrs.frozen(eq=False)
class RecordedPolicy:
    """A learned policy that records its decisions about a book of one portfolio."""

    policy: LearnedPolicy
    decisions: list[tuple[LearnedDecision, Floats]] = attrs.field(factory=list)
    """Each decision, and the strategic weights (1, K) of that day."""

    @property
    def name(self) -> str:
        """See `Policy.name`."""
        return self.policy.name

    @property
    def lookback(self) -> int:
        """See `Policy.lookback`."""
        return self.policy.lookback

    @property
    def frequency(self) -> Frequency:
        """See `Policy.frequency`."""
        return self.policy.frequency

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        """See `Policy.decide`."""
        decision = self.policy.decide(book, market)
        if isinstance(decision, LearnedDecision) and not decision.doubts.any():
            self.decisions.append((decision, book.targets))
        return decision

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """See `Policy.remarks`."""
        return self.policy.remarks(decision, book, market, row)


@attrs.frozen(eq=False)
class Skeleton:
    """The skeleton of a policy over some days.

    Attributes:
        policy: Decides with constant actions.
        parts: Mean parts of the mix, (1 + S,), the strategic weights first; sum 1.
        invested: Mean invested share.
        differs: Share of the policy's decisions whose targets are more than the default band, two
            points, away from the skeleton's (one-way distance).
        distance: Mean one-way distance of the targets.
    """

    policy: LearnedPolicy
    parts: Floats
    invested: float
    differs: float
    distance: float


def find_skeleton(
    policy: LearnedPolicy, decisions: Sequence[tuple[LearnedDecision, Floats]]
) -> Skeleton | None:
    """Return the skeleton of a policy from its recorded decisions; None without decisions.

    Decisions that a fallback rule took are not recorded.
    """
    if not decisions:
        return None
    actions = np.concatenate([np.clip(each.actions, -1.0, 1.0) for each, _ in decisions])
    inputs = policy.inputs
    parts = mix_parts(actions, inputs).mean(axis=0)
    invested = float(invested_share(actions).mean())
    constant = actions.mean(axis=0)
    constant[MIX] = parts[1:] / inputs.most
    constant[RISK] = (invested - 1.0) / (1.0 - LEAST_INVESTED)
    everywhere = np.full(len(policy.lowest), np.inf)
    skeleton = attrs.evolve(
        policy,
        name=f"{policy.name} on average",
        networks=(Network([np.zeros((len(policy.lowest), len(constant)))], [constant]),),
        lowest=-everywhere,
        highest=everywhere,
    )
    away = np.array(
        [
            one_way_distance(
                decision.targets - mix_targets(constant[None], strategic, decision.sleeves, inputs)
            )[0]
            for decision, strategic in decisions
        ]
    )
    return Skeleton(
        policy=skeleton,
        parts=parts,
        invested=invested,
        differs=float((away > DEFAULT_BAND).mean()),
        distance=float(away.mean()),
    )
