"""Policies and their model cards, for HTTP and the command line."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import attrs

from rebalancer.domain.policy.model_card import PolicyCard, PolicyKind
from rebalancer.entrypoints.schemas.wire import View, about


class PolicyView(View, frozen=True, kw_only=True):
    """A policy that can make proposals."""

    name: str
    kind: PolicyKind
    version: Annotated[int | None, about("Version of a learned policy.")]
    summary: str
    frequency: str
    parameters: dict[str, int | float]
    variants: list[str]
    source: str
    decides: Annotated[
        str | None, about("The version or rule that this name stands for; null: the policy itself.")
    ]


class StageView(View, frozen=True, kw_only=True):
    """One stage of the training of a policy."""

    stage: str
    steps: int
    note: str


class DataView(View, frozen=True, kw_only=True):
    """Prices used to train a policy."""

    name: str
    sha256: str
    first: date
    last: date
    symbols: int


class TermView(View, frozen=True, kw_only=True):
    """A name and its meaning."""

    name: str
    meaning: str


class LearningView(View, frozen=True, kw_only=True):
    """How a learned policy was trained and evaluated, its inputs and outputs."""

    algorithm: str
    created: date
    stages: list[StageView]
    data: list[DataView]
    trained_until: date
    reward: str
    seeds: list[int]
    libraries: dict[str, str]
    command: Annotated[str, about("The command that trains it again.")]
    features: Annotated[list[TermView], about("Its inputs.")]
    actions: Annotated[list[TermView], about("Its outputs.")]
    sleeves: list[str]
    networks: Annotated[int, about("Number of networks; the median decides.")]
    most_spread: Annotated[
        float, about("If the networks' targets differ by more, the fallback decides.")
    ]
    fallback: str
    chosen_rule: Annotated[str | None, about("The best rule on the training data.")]
    weights: Annotated[str, about("SHA-256.")]
    regimes: Annotated[str, about("SHA-256.")]
    evidence: Annotated[
        dict[str, Any],
        about(
            "Results of its evaluations; `walk_forward`: whether it may serve, and whether a "
            "higher Sharpe ratio is shown."
        ),
    ]
    shipped: bool
    promoted: Annotated[bool, about("Whether the name `learned` stands for it.")]


class CardView(PolicyView, frozen=True, kw_only=True):
    """All details of a policy."""

    lookback: Annotated[int, about("Number of closes that it needs.")]
    learning: Annotated[LearningView | None, about("Details of a learned policy.")]


def policy_values(card: PolicyCard) -> dict[str, Any]:
    """Return the values of a `PolicyView` or `CardView`."""
    known, learning = card.model_card, None
    if known is not None:
        learning = {
            **attrs.asdict(known.training, recurse=False),
            **attrs.asdict(known, recurse=False),
            "features": [{"name": n, "meaning": m} for n, m in known.features.items()],
            "actions": [{"name": n, "meaning": m} for n, m in known.actions.items()],
        }
    version = None if known is None else known.version
    return {**attrs.asdict(card, recurse=False), "version": version, "learning": learning}
