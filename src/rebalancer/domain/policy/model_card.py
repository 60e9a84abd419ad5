"""Model cards: what is known about a policy, and how a learned one was trained."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any

import attrs

from rebalancer.domain.policy.policy import Frequency


class PolicyKind(StrEnum):
    """Whether a policy is a rule or was learned."""

    RULE = "rule"
    LEARNED = "learned"


@attrs.frozen
class TrainingStage:
    """One stage of a training; the note names the unit of its steps."""

    stage: str
    steps: int
    note: str = ""


@attrs.frozen
class TrainingData:
    """One panel of prices that a policy was trained on: its digest, days and number of assets."""

    name: str
    sha256: str
    first: date
    last: date
    symbols: int


@attrs.frozen
class TrainingRecord:
    """How a policy was trained, and the command that trains it again.

    Attributes:
        algorithm: Learning algorithm that set the weights, such as ``ppo``.
        trained_until: Last day of the prices.
        seeds: One seed for each network, in their order.
        libraries: Versions by library name.
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
class ModelCard:
    """What is known about one version of a learned policy.

    Attributes:
        features: Inputs of the networks: names and meanings.
        actions: Outputs of the networks: names and meanings.
        sleeves: Names of the allocations that are mixed with the strategic weights.
        networks: Number of networks; the median of their actions decides.
        most_spread: Mean distance between the networks' targets above which the fallback decides.
        fallback: Rule that decides where the networks cannot be trusted.
        chosen_rule: Best rule on the training data; None if unknown.
        weights: SHA-256 of the file of weights.
        regimes: SHA-256 of the model of market regimes.
        evidence: Results of evaluations; ``walk_forward`` decides whether it may serve.
        shipped: Whether the version came with this package.
        promoted: Whether ``learned`` stands for this version.
    """

    version: int
    training: TrainingRecord
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
class PolicyCard:
    """What is known about a policy, rule or learned.

    Attributes:
        source: Publication of the idea.
        frequency: How often it reviews a portfolio by default.
        lookback: Number of closes it needs, the last included.
        parameters: Names and defaults.
        variants: Names of presets of the parameters.
        decides: Version or rule that the name stands for; None if it stands for itself.
        model_card: Card of the version; None for rules.
    """

    name: str
    kind: PolicyKind
    summary: str
    source: str
    frequency: Frequency
    lookback: int
    parameters: Mapping[str, float] = attrs.field(factory=dict)
    variants: tuple[str, ...] = ()
    decides: str | None = None
    model_card: ModelCard | None = None
