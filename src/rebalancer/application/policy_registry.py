"""Find policies and their cards by name, over any store of learned versions."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from rebalancer.application.ports.policies import PolicyStore
from rebalancer.application.promotions import may_serve
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.policy.algorithms import ALGORITHMS
from rebalancer.domain.policy.model_card import ModelCard, PolicyCard, PolicyKind
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import POLICIES, parse_rule
from rebalancer.domain.policy.versions import (
    LAST_RESORT,
    LEARNED,
    BestRule,
    PolicyVersion,
    VersionedPolicy,
)


class PolicyRegistry(PolicyStore):
    """Base of catalogues: finds policies and cards by name in the versions of a store."""

    def policy(self, text: str) -> Policy:
        name, colon, parameters = text.strip().partition(":")
        name = name.strip()
        if name in POLICIES:
            return parse_rule(text)
        versions = self._versions_by_name()
        if name != LEARNED and name not in versions:
            raise InvalidRequest(
                f"unknown policy {name!r}; choose one of {_all_names(versions)}",
                field="policy",
                code="unknown_policy",
            )
        if colon:
            raise InvalidRequest(
                f"{name} has no parameters; remove {parameters!r}",
                field="policy",
                code="policy_without_parameters",
            )
        if name == LEARNED:
            return self._promoted_or_best_rule()
        return attrs.evolve(self.load(versions[name])[0], name=name)

    def cards(self) -> tuple[PolicyCard, ...]:
        highest = {version.name: version for version in sorted(self.versions())}
        versions = sorted(self.versions(), key=lambda one: (one.name, -one.number))
        return (
            *(self.card(name) for name in POLICIES),
            *(
                self.card(one.name if one == highest[one.name] else one.exact_name)
                for one in versions
            ),
            self.card(LEARNED),
        )

    def card(self, name: str) -> PolicyCard:
        if name in POLICIES:
            return _rule_card(name)
        versions = self._versions_by_name()
        promotion = self.promotion()
        if name == LEARNED:
            policy = self._promoted_or_best_rule()
            if isinstance(policy, BestRule):
                return _best_rule_card(policy)
            card = self.card(policy.version)
            return attrs.evolve(card, name=LEARNED, decides=policy.version)
        if name not in versions:
            raise NotFound(
                f"unknown policy {name}; choose one of {_all_names(versions)}",
                code="policy_not_found",
            )
        version = versions[name]
        card = self.load(version)[1]
        assert card.model_card is not None
        promoted = promotion is not None and promotion.version == version.exact_name
        return attrs.evolve(
            card,
            name=name,
            decides=None if name == version.exact_name else version.exact_name,
            model_card=attrs.evolve(card.model_card, promoted=promoted),
        )

    def find_version(self, name: str) -> PolicyVersion:
        """Return the version of a learned policy that a plain or exact name stands for.

        Raises:
            NotFound: no such version; the message lists the versions.
        """
        versions = self._versions_by_name()
        if name not in versions:
            known = (
                f"choose one of {', '.join(versions)}" if versions else "no policy was learned yet"
            )
            raise NotFound(
                f"{name} is not a version of a learned policy; {known}",
                code="policy_version_not_found",
            )
        return versions[name]

    def next_number(self, name: str) -> int:
        """Return the number of the next version of a plain name."""
        return max((one.number for one in self.versions() if one.name == name), default=0) + 1

    def find_by_weights(self, name: str, weights: str) -> PolicyCard | None:
        """Return the card of the highest version of a plain name with these weights, if any.

        Raises:
            InvalidRequest: a version is damaged.
        """
        versions = sorted((one for one in self.versions() if one.name == name), reverse=True)
        cards = (self.card(one.exact_name) for one in versions)
        return next(
            (one for one in cards if one.model_card and one.model_card.weights == weights), None
        )

    def _versions_by_name(self) -> dict[str, PolicyVersion]:
        """Return versions by every name that stands for one: ``ppo``, ``ppo@2``, ``ppo@1``."""
        versions: dict[str, PolicyVersion] = {}
        for version in sorted(self.versions(), key=lambda one: (one.name, -one.number)):
            versions.setdefault(version.name, version)
            versions[version.exact_name] = version
        return versions

    def _promoted_or_best_rule(self) -> VersionedPolicy | BestRule:
        promotion = self.promotion()
        if promotion is None:
            return BestRule(parse_rule(self._best_rule()))
        versions = self._versions_by_name()
        if promotion.version not in versions:
            raise InvalidRequest(
                f"promoted version {promotion.version} is missing; restore it or promote another",
                field="policy",
                code="promoted_version_missing",
            )
        policy, card = self.load(versions[promotion.version])
        assert card.model_card is not None
        if card.model_card.weights != promotion.weights:
            raise InvalidRequest(
                f"the weights of {promotion.version} changed after its promotion; promote it again",
                field="policy",
                code="promoted_version_changed",
            )
        if not may_serve(card.model_card):
            reason = f"{promotion.version} was promoted, but has not passed the walk-forward"
            return BestRule(parse_rule(self._best_rule()), reason)
        return attrs.evolve(policy, name=LEARNED)

    def _best_rule(self) -> str:
        """Return the best rule on the training data, which the shipped policies name."""
        for name, version in self._versions_by_name().items():
            if version.shipped and name == version.name:
                best = self.load(version)[0].chosen_rule
                if best is not None:
                    return best
        return LAST_RESORT


def describe_version(policy: VersionedPolicy, model_card: ModelCard) -> PolicyCard:
    """Build the card of a version, under its exact name."""
    count, algorithm = model_card.networks, model_card.training.algorithm
    networks = "1 network" if count == 1 else f"{count} networks"
    return PolicyCard(
        name=policy.version,
        kind=PolicyKind.LEARNED,
        summary=f"{policy.frequency}: risk, mix and size of trades, as the median of {networks} "
        f"trained by {algorithm.upper()}",
        source=ALGORITHMS[algorithm],
        frequency=policy.frequency,
        lookback=policy.lookback,
        model_card=model_card,
    )


def _all_names(versions: Mapping[str, PolicyVersion]) -> str:
    return ", ".join([*POLICIES, *versions, LEARNED])


def _rule_card(name: str) -> PolicyCard:
    kind = POLICIES[name]
    return PolicyCard(
        name=name,
        kind=PolicyKind.RULE,
        summary=kind.summary,
        source=kind.source,
        frequency=kind.frequency,
        lookback=parse_rule(name).lookback,
        parameters=dict(kind.parameters),
        variants=tuple(kind.variants),
    )


def _best_rule_card(policy: BestRule) -> PolicyCard:
    name = policy.rule.name.partition(":")[0]
    return PolicyCard(
        name=LEARNED,
        kind=PolicyKind.LEARNED,
        summary=policy.explanation,
        source=POLICIES[name].source,
        frequency=policy.frequency,
        lookback=policy.lookback,
        decides=policy.rule.name,
    )
