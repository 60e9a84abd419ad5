"""`/api/policies`: list policies and read their model cards."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import attrs
from dishka.integrations.litestar import DishkaRouter, FromDishka
from litestar import get
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath

from rebalancer.application.ports.policies import Policies
from rebalancer.domain.policy.model_card import ModelCard, PolicyCard, PolicyKind
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
        dict[str, Any], about("Results of its evaluation; `gate`: whether it may be promoted.")
    ]
    shipped: bool
    promoted: Annotated[bool, about("Whether the name `learned` stands for it.")]


class CardView(PolicyView, frozen=True, kw_only=True):
    """All details of a policy."""

    lookback: Annotated[int, about("Number of closes that it needs.")]
    learning: Annotated[LearningView | None, about("Details of a learned policy.")]


@get("/", summary="List policies")
async def policies(offered: FromDishka[Policies]) -> list[PolicyView]:
    """List all policies with their parameters and sources.

    The rules come first, then the versions of learned policies; last comes `learned`, which stands
    for the promoted version, or for the best rule if no version is promoted.
    """
    cards = await sync_to_thread(offered.cards)
    return [PolicyView.of(_values(card)) for card in cards]


@get("/{name:str}", summary="Get a policy")
async def read_policy(name: FromPath[str], offered: FromDishka[Policies]) -> CardView:
    """Get the details of a rule, of a learned policy such as `ppo` or `ppo@1`, or of `learned`.

    For a learned policy: training and data, inputs and outputs, the evidence and the thresholds
    of the promotion gate, and the command that trains it again.
    """
    return CardView.of(_values(await sync_to_thread(offered.card, name)))


def _values(card: PolicyCard) -> dict[str, Any]:
    learning = card.model_card
    return {
        **attrs.asdict(card, recurse=False),
        "version": None if learning is None else learning.version,
        "learning": None if learning is None else _learning_values(learning),
    }


def _learning_values(learning: ModelCard) -> dict[str, Any]:
    return {
        **attrs.asdict(learning.training, recurse=False),
        **attrs.asdict(learning, recurse=False),
        "features": [{"name": n, "meaning": m} for n, m in learning.features.items()],
        "actions": [{"name": n, "meaning": m} for n, m in learning.actions.items()],
    }


router = DishkaRouter("/policies", route_handlers=[policies, read_policy], tags=["policies"])
