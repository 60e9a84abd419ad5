"""Policy catalogue in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from rebalancer.application.policy_registry import PolicyRegistry, describe_version
from rebalancer.application.promotions import check_promotable
from rebalancer.domain.arrays import Floats
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import ModelCard, PolicyCard, TrainingRecord
from rebalancer.domain.policy.training import check_name
from rebalancer.domain.policy.versions import LEARNED, PolicyVersion, Promotion, VersionedPolicy


class MemoryPolicies(PolicyRegistry):
    """Rules, and learned policies in memory."""

    def __init__(self, *versions: tuple[VersionedPolicy, ModelCard]) -> None:
        """Create a catalogue of some versions, none of them promoted."""
        self._stored = {policy.version: (policy, card) for policy, card in versions}
        self._promotion: Promotion | None = None

    def store_evidence(self, name: str, evidence: Mapping[str, Any]) -> PolicyCard:
        exact = self.find_version(name).exact_name
        policy, card = self._stored[exact]
        evidence = {**evidence, "weights": card.weights}
        self._stored[exact] = policy, attrs.evolve(card, evidence=evidence)
        return self.card(exact)

    def add(
        self, learned: LearnedPolicy, training: TrainingRecord, *, again: bool = False
    ) -> PolicyCard:
        check_name(learned.name, training.algorithm)
        weights = _digest(
            array for network in learned.networks for array in (*network.weights, *network.biases)
        )
        model = learned.regimes
        regimes = _digest((model.start, model.transition, model.means, model.covariances))
        if again and (stored := self.find_by_weights(learned.name, weights)):
            return stored
        number = self.next_number(learned.name)
        exact = f"{learned.name}@{number}"
        fields = {field.name: getattr(learned, field.name) for field in attrs.fields(LearnedPolicy)}
        digest = hashlib.sha256((weights + regimes).encode()).hexdigest()
        policy = VersionedPolicy(**{**fields, "name": exact}, version=exact, digest=digest)
        card = ModelCard(
            version=number,
            training=training,
            features={feature.name: feature.meaning for feature in learned.inputs.features},
            actions={action.name: action.meaning for action in learned.inputs.actions},
            sleeves=tuple(sleeve.name for sleeve in learned.inputs.sleeves),
            networks=len(learned.networks),
            most_spread=learned.most_spread,
            fallback=learned.rule.name,
            chosen_rule=learned.chosen_rule,
            weights=weights,
            regimes=regimes,
            evidence={},
        )
        self._stored[exact] = policy, card
        return self.card(exact)

    def location(self, name: str) -> None:
        self.find_version(name)

    def promote(self, name: str, *, now: datetime) -> PolicyCard:
        self._promotion = check_promotable(self.card(self.find_version(name).exact_name))
        return self.card(LEARNED)

    def versions(self) -> Sequence[PolicyVersion]:
        parts = ((policy.version.split("@"), card) for policy, card in self._stored.values())
        return [PolicyVersion(name, int(number), card.shipped) for (name, number), card in parts]

    def load(self, version: PolicyVersion) -> tuple[VersionedPolicy, PolicyCard]:
        policy, card = self._stored[version.exact_name]
        return attrs.evolve(policy, name=version.exact_name), describe_version(policy, card)

    def promotion(self) -> Promotion | None:
        return self._promotion


def _digest(arrays: Iterable[Floats]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
