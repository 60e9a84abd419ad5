"""Policies by name: rules, versions of learned ones, and `learned`, whichever of them is promoted.

``ppo`` is the highest version of that name, ``ppo@1`` one version for good. ``learned`` is the
version that was promoted, or the best rule while none is: it never depends on luck alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Protocol

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest, NotFound
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.policy import Decision, Frequency, Policy
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.policy.rules import policy as rule
from rebalancer.domain.portfolio.book import Book

LEARNED = "learned"
"""The name of whichever learned policy is promoted."""

LAST_RESORT = "risk_parity"
"""The best rule where no shipped policy says which one that is."""

SOURCES = {
    "ppo": "Schulman et al. 2017, Proximal Policy Optimization Algorithms",
    "dqn": "Mnih et al. 2015, Human-level Control through Deep Reinforcement Learning",
}
"""Where each algorithm comes from."""


class Kind(StrEnum):
    """What makes a policy decide."""

    RULE = "rule"
    LEARNED = "learned"


@attrs.frozen
class TrainingStage:
    """One step of how a policy was made.

    Attributes:
        stage: What was done.
        steps: How much of it: environment steps, or iterations; the note says which.
        note: Whatever a reader should know.
    """

    stage: str
    steps: int
    note: str = ""


@attrs.frozen
class TrainingData:
    """Prices that a policy was trained on.

    Attributes:
        name: Of the data.
        sha256: Of the prices that were used.
        first: First day that was used.
        last: Last day that was used.
        symbols: How many assets.
    """

    name: str
    sha256: str
    first: date
    last: date
    symbols: int


@attrs.frozen
class Training:
    """How a policy was made, and how to make it again.

    Attributes:
        algorithm: Whose updates made or changed the weights: ``ppo`` or ``dqn``.
        created: When.
        stages: One after the other.
        data: What it was trained on.
        trained_until: Nothing later was seen.
        reward: Name of the reward.
        seeds: One a network, in their order.
        libraries: Versions by name.
        command: What makes it again.
    """

    algorithm: str
    created: date
    stages: tuple[TrainingStage, ...]
    data: tuple[TrainingData, ...]
    trained_until: date
    reward: str
    seeds: tuple[int, ...]
    libraries: Mapping[str, str]
    command: str


@attrs.frozen
class Learning:
    """What is known of one version of a learned policy.

    Attributes:
        version: From 1 on.
        training: How it was made.
        features: What it sees: names, and what they mean.
        actions: What it answers with, alike.
        sleeves: What it mixes with the strategic weights.
        networks: How many take the median.
        most_spread: Distance of their targets above which the fallback decides.
        fallback: The rule that decides where the networks cannot be trusted.
        chosen_rule: The best rule on the training data; None where that is not known.
        weights: SHA-256 of the file of weights.
        regimes: SHA-256 of the model of market regimes.
        evidence: What was found when it was judged; under ``gate`` whether it may be promoted.
        shipped: Whether it came with this package.
        promoted: Whether it is what `learned` means.
    """

    version: int
    training: Training
    features: Mapping[str, str]
    actions: Mapping[str, str]
    sleeves: tuple[str, ...]
    networks: int
    most_spread: float
    fallback: str
    chosen_rule: str | None
    weights: str
    regimes: str
    evidence: Mapping[str, Any]
    shipped: bool = False
    promoted: bool = False


@attrs.frozen
class Card:
    """What there is to know of a policy.

    Attributes:
        name: How it is asked for.
        kind: What makes it decide.
        summary: One line for people.
        source: Where the idea comes from.
        frequency: When it looks unless told otherwise.
        lookback: Closes that it needs, the last included.
        parameters: Names and defaults.
        variants: Names of sets of parameters.
        decides: Whose decisions these are, where the name alone does not say it.
        learning: What is known of the version; None for rules.
    """

    name: str
    kind: Kind
    summary: str
    source: str
    frequency: Frequency
    lookback: int
    parameters: Mapping[str, float] = attrs.field(factory=dict)
    variants: tuple[str, ...] = ()
    decides: str | None = None
    learning: Learning | None = None


@attrs.frozen(eq=False)
class Served(LearnedPolicy):
    """A version of a learned policy, by any of its names.

    Attributes:
        version: Its exact name, such as ``ppo@1``.
        digest: SHA-256 of all that its decisions follow from: weights, regimes, limits, fallback.
    """

    version: str = attrs.field(kw_only=True)
    digest: str = attrs.field(kw_only=True)

    @property
    def identity(self) -> str:
        """See `Identified.identity`."""
        return f"{self.name} {self.digest}"

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """See `Policy.remarks`; which version it is comes first."""
        said = super().remarks(decision, book, market, row)
        return said if self.name == self.version else [f"{self.name} is {self.version}", *said]


@attrs.frozen
class BestRule:
    """What `learned` is while no learned policy is promoted: a rule, and it says so.

    Attributes:
        rule: The best rule.
    """

    rule: Policy

    @property
    def name(self) -> str:
        """How it was asked for."""
        return LEARNED

    @property
    def identity(self) -> str:
        """See `Identified.identity`."""
        return f"{LEARNED} {self.rule.name}"

    @property
    def lookback(self) -> int:
        """Closes that it needs, the last included."""
        return self.rule.lookback

    @property
    def frequency(self) -> Frequency:
        """How often it looks."""
        return self.rule.frequency

    @property
    def sentence(self) -> str:
        """Why a rule decides."""
        return (
            "no learned policy has passed the promotion gate, so the best rule, "
            f"{self.rule.name}, decides"
        )

    def decide(self, book: Book, market: PriceHistory) -> Decision:
        """See `Policy.decide`."""
        return self.rule.decide(book, market)

    def remarks(self, decision: Decision, book: Book, market: PriceHistory, row: int) -> list[str]:
        """See `Policy.remarks`; that a rule decides comes first."""
        said = self.rule.remarks(decision, book, market, row)
        return [f"{LEARNED}: {self.sentence}", *said]


@attrs.frozen(order=True)
class Edition:
    """A version of a learned policy, which need not be read yet.

    Attributes:
        name: Plain, such as ``ppo``.
        number: From 1 on.
        shipped: Whether it came with this package.
    """

    name: str
    number: int
    shipped: bool = attrs.field(default=False, order=False)

    @property
    def exact(self) -> str:
        """Such as ``ppo@1``."""
        return f"{self.name}@{self.number}"


@attrs.frozen
class Champion:
    """What was promoted last.

    Attributes:
        version: Exact name.
        weights: SHA-256 of the file of weights, as it was then.
    """

    version: str
    weights: str


class Shelf(Protocol):
    """Where versions of learned policies are kept."""

    def editions(self) -> Sequence[Edition]:
        """Every version that there is."""

    def read(self, edition: Edition) -> tuple[Served, Card]:
        """One of them, by its exact name.

        Raises:
            InvalidRequest: it is damaged, or not for this version of the code; says which and how.
        """

    def champion(self) -> Champion | None:
        """What was promoted last; None when nothing was."""


def policy_of(shelf: Shelf, text: str) -> Policy:
    """The policy that a text names: a rule, a learned policy, or ``learned``.

    Raises:
        InvalidRequest: there is none, it does not take such parameters, or it cannot be served;
            says what there is.
    """
    name, colon, rest = text.strip().partition(":")
    name = name.strip()
    if name in POLICIES:
        return rule(text)
    offered = _offered(shelf)
    if name != LEARNED and name not in offered:
        there = ", ".join([*POLICIES, *offered, LEARNED])
        raise InvalidRequest(f"{name!r} is not a policy; choose one of {there}", field="policy")
    if colon:
        raise InvalidRequest(f"{name} takes no parameters, so not {rest!r} either", field="policy")
    if name == LEARNED:
        return _learned(shelf)
    return attrs.evolve(shelf.read(offered[name])[0], name=name)


def edition_of(shelf: Shelf, name: str) -> Edition:
    """The version of a learned policy that a name means.

    Raises:
        NotFound: there is none of this name; says what there is.
    """
    offered = _offered(shelf)
    if name not in offered:
        there = f"there are {', '.join(offered)}" if offered else "there are none"
        raise NotFound(f"{name} is not a version of a learned policy; {there}")
    return offered[name]


def next_version(shelf: Shelf, name: str) -> int:
    """The number of the next version of a plain name: 1 for the first."""
    return max((one.number for one in shelf.editions() if one.name == name), default=0) + 1


def kept_before(shelf: Shelf, name: str, weights: str) -> Card | None:
    """The highest version of a plain name that has these weights; None if none has.

    Raises:
        InvalidRequest: a version cannot be served; says which and why.
    """
    versions = sorted((one for one in shelf.editions() if one.name == name), reverse=True)
    cards = (card_of(shelf, one.exact) for one in versions)
    return next((one for one in cards if one.learning and one.learning.weights == weights), None)


def cards_of(shelf: Shelf) -> tuple[Card, ...]:
    """Of every rule, then of every learned policy, the highest version of each first.

    Raises:
        InvalidRequest: a version cannot be served; says which and why.
    """
    highest = {edition.name: edition for edition in sorted(shelf.editions())}
    listed = sorted(shelf.editions(), key=lambda one: (one.name, -one.number))
    return (
        *(card_of(shelf, name) for name in POLICIES),
        *(card_of(shelf, one.name if one == highest[one.name] else one.exact) for one in listed),
        card_of(shelf, LEARNED),
    )


def card_of(shelf: Shelf, name: str) -> Card:
    """What there is to know of the policy of a plain or an exact name.

    Raises:
        NotFound: there is none; says what there is.
        InvalidRequest: it cannot be served; says why.
    """
    if name in POLICIES:
        return _rule_card(name)
    offered = _offered(shelf)
    champion = shelf.champion()
    if name == LEARNED:
        serving = _learned(shelf)
        if isinstance(serving, Served):
            card = card_of(shelf, serving.version)
            return attrs.evolve(card, name=LEARNED, decides=serving.version)
        return _fallback_card(serving)
    if name not in offered:
        there = ", ".join([*POLICIES, *offered, LEARNED])
        raise NotFound(f"there is no policy {name}; there are {there}")
    edition = offered[name]
    card = shelf.read(edition)[1]
    assert card.learning is not None
    promoted = champion is not None and champion.version == edition.exact
    return attrs.evolve(
        card,
        name=name,
        decides=None if name == edition.exact else edition.exact,
        learning=attrs.evolve(card.learning, promoted=promoted),
    )


def champion_of(card: Card) -> Champion:
    """A version as what is promoted.

    Args:
        card: Of the exact name.

    Raises:
        Conflict: its evidence does not allow that; says what is missing or which criteria failed.
    """
    learning = card.learning
    assert learning is not None
    after = learning.training.trained_until + timedelta(days=1)
    again = (
        f"judge it first: rebalancer evaluate --policy {card.name} --from {after} "
        "--prices FILE.csv --keep"
    )
    if not learning.evidence:
        raise Conflict(f"{card.name} carries no evidence; {again}")
    if learning.evidence.get("weights") != learning.weights:
        raise Conflict(f"the evidence of {card.name} is of other weights; {again}")
    gate = learning.evidence.get("gate")
    criteria = gate.get("criteria") if isinstance(gate, Mapping) else None
    if not (isinstance(gate, Mapping) and isinstance(criteria, Sequence) and criteria):
        raise Conflict(f"{card.name} was not held to the promotion gate; {again}")
    failed = [one for one in criteria if one.get("passed") is not True]
    if failed or gate.get("passed") is not True:
        why = "; ".join(
            f"{one.get('name')}: {str(one.get('sentence', '')).rstrip('.')}" for one in failed
        )
        raise Conflict(
            f"{card.name} has not passed the promotion gate. {why or 'It says so as a whole'}."
        )
    return Champion(card.name, learning.weights)


def learned_card(learned: Served, learning: Learning) -> Card:
    """The card of a version, by its exact name."""
    count, algorithm = learning.networks, learning.training.algorithm
    return Card(
        name=learned.version,
        kind=Kind.LEARNED,
        summary=f"{learned.frequency}: how much risk, which mix, how far to trade, as the median "
        f"of {count} network{'' if count == 1 else 's'} by {algorithm.upper()} says",
        source=SOURCES[algorithm],
        frequency=learned.frequency,
        lookback=learned.lookback,
        learning=learning,
    )


def _offered(shelf: Shelf) -> dict[str, Edition]:
    """Versions by every name that means one: ``ppo``, ``ppo@2``, ``ppo@1``."""
    offered: dict[str, Edition] = {}
    for edition in sorted(shelf.editions(), key=lambda one: (one.name, -one.number)):
        offered.setdefault(edition.name, edition)
        offered[edition.exact] = edition
    return offered


def _learned(shelf: Shelf) -> Served | BestRule:
    champion = shelf.champion()
    if champion is None:
        return BestRule(rule(_best_rule(shelf)))
    offered = _offered(shelf)
    if champion.version not in offered:
        raise InvalidRequest(
            f"{champion.version} is promoted, and is not there; put it back, or promote another",
            field="policy",
        )
    policy, card = shelf.read(offered[champion.version])
    assert card.learning is not None
    if card.learning.weights != champion.weights:
        raise InvalidRequest(
            f"{champion.version} has other weights than when it was promoted; promote it again",
            field="policy",
        )
    return attrs.evolve(policy, name=LEARNED)


def _best_rule(shelf: Shelf) -> str:
    """The best rule on the training data, as the shipped policies say it."""
    offered = _offered(shelf)
    for name, edition in offered.items():
        if edition.shipped and name == edition.name:
            chosen = shelf.read(edition)[0].chosen_rule
            if chosen is not None:
                return chosen
    return LAST_RESORT


def _rule_card(name: str) -> Card:
    kind = POLICIES[name]
    return Card(
        name=name,
        kind=Kind.RULE,
        summary=kind.summary,
        source=kind.source,
        frequency=kind.frequency,
        lookback=rule(name).lookback,
        parameters=dict(kind.parameters),
        variants=tuple(kind.variants),
    )


def _fallback_card(serving: BestRule) -> Card:
    name = serving.rule.name.partition(":")[0]
    return Card(
        name=LEARNED,
        kind=Kind.LEARNED,
        summary=serving.sentence,
        source=POLICIES[name].source,
        frequency=serving.frequency,
        lookback=serving.lookback,
        decides=serving.rule.name,
    )
