"""Who decides, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import ACTIONS, LearnedPolicy
from rebalancer.domain.policy.observation import FEATURES, SLEEVES
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.serving import (
    LEARNED,
    Card,
    Champion,
    Edition,
    Learning,
    Served,
    Training,
    card_of,
    cards_of,
    champion_of,
    edition_of,
    kept_before,
    learned_card,
    next_version,
    policy_of,
)
from rebalancer.domain.policy.training import check_name


class MemoryPolicies:
    """Rules, and learned policies at hand."""

    def __init__(self, *kept: tuple[Served, Learning]) -> None:
        """Begin with these versions, none of them promoted."""
        self._kept = {policy.version: (policy, learning) for policy, learning in kept}
        self._champion: Champion | None = None

    def policy(self, text: str) -> Policy:
        """See `Policies.policy`."""
        return policy_of(self, text)

    def cards(self) -> Sequence[Card]:
        """See `Policies.cards`."""
        return cards_of(self)

    def card(self, name: str) -> Card:
        """See `Policies.card`."""
        return card_of(self, name)

    def keep_evidence(self, name: str, evidence: Mapping[str, Any]) -> Card:
        """See `Policies.keep_evidence`."""
        exact = edition_of(self, name).exact
        policy, learning = self._kept[exact]
        bound = {**evidence, "weights": learning.weights}
        self._kept[exact] = policy, attrs.evolve(learning, evidence=bound)
        return card_of(self, exact)

    def add(self, learned: LearnedPolicy, training: Training, *, again: bool = False) -> Card:
        """See `Policies.add`."""
        check_name(learned.name, training.algorithm)
        weights, regimes = _digest_of(learned), _digest_of(learned.regimes)
        if again and (kept := kept_before(self, learned.name, weights)):
            return kept
        number = next_version(self, learned.name)
        exact = f"{learned.name}@{number}"
        fields = {field.name: getattr(learned, field.name) for field in attrs.fields(LearnedPolicy)}
        digest = hashlib.sha256((weights + regimes).encode()).hexdigest()
        policy = Served(**{**fields, "name": exact}, version=exact, digest=digest)
        learning = Learning(
            version=number,
            training=training,
            features={feature.name: feature.meaning for feature in FEATURES},
            actions={action.name: action.meaning for action in ACTIONS},
            sleeves=tuple(sleeve.name for sleeve in SLEEVES),
            networks=len(learned.networks),
            most_spread=learned.most_spread,
            fallback=learned.rule.name,
            chosen_rule=learned.chosen_rule,
            weights=weights,
            regimes=regimes,
            evidence={},
        )
        self._kept[exact] = policy, learning
        return card_of(self, exact)

    def place(self, name: str) -> None:
        """See `Policies.place`."""
        edition_of(self, name)

    def promote(self, name: str, *, now: datetime) -> Card:
        """See `Policies.promote`."""
        self._champion = champion_of(card_of(self, edition_of(self, name).exact))
        return card_of(self, LEARNED)

    def editions(self) -> Sequence[Edition]:
        """See `Shelf.editions`."""
        parts = ((policy.version.split("@"), known) for policy, known in self._kept.values())
        return [Edition(name, int(number), known.shipped) for (name, number), known in parts]

    def read(self, edition: Edition) -> tuple[Served, Card]:
        """See `Shelf.read`."""
        policy, learning = self._kept[edition.exact]
        return attrs.evolve(policy, name=edition.exact), learned_card(policy, learning)

    def champion(self) -> Champion | None:
        """See `Shelf.champion`."""
        return self._champion


def _digest_of(value: LearnedPolicy | RegimeModel) -> str:
    """SHA-256 of the numbers of networks, or of a model of regimes."""
    sha = hashlib.sha256()
    if isinstance(value, RegimeModel):
        arrays = [value.start, value.transition, value.means, value.covariances]
    else:
        arrays = [each for net in value.networks for each in (*net.weights, *net.biases)]
    for array in arrays:
        sha.update(array.tobytes())
    return sha.hexdigest()
