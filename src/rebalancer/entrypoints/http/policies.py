"""`/api/policies`: who can decide, and what is known of them."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from dishka.integrations.litestar import FromDishka, inject
from litestar import get
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath
from msgspec import Meta

from rebalancer.application.ports.policies import Policies
from rebalancer.domain.policy.serving import Card, Kind, Learning
from rebalancer.entrypoints.http.errors import problem_responses
from rebalancer.entrypoints.schemas.wire import View


class PolicyView(View, frozen=True, kw_only=True):
    """Somebody who can decide."""

    name: str
    kind: Kind
    version: Annotated[int | None, Meta(description="Of a learned policy.")]
    summary: str
    frequency: str
    parameters: dict[str, float]
    variants: list[str]
    source: str
    decides: Annotated[
        str | None,
        Meta(description="The version or the rule that this name stands for; null: itself."),
    ]


class StageView(View, frozen=True, kw_only=True):
    """One step of how a policy was made."""

    stage: str
    steps: int
    note: str


class DataView(View, frozen=True, kw_only=True):
    """Prices that a policy was trained on."""

    name: str
    sha256: str
    first: date
    last: date
    symbols: int


class TermView(View, frozen=True, kw_only=True):
    """Something with a name, and what that means."""

    name: str
    meaning: str


class LearningView(View, frozen=True, kw_only=True):
    """How a learned policy was made, what it sees and does, and what was found of it."""

    algorithm: str
    created: date
    stages: list[StageView]
    data: list[DataView]
    trained_until: date
    reward: str
    seeds: list[int]
    libraries: dict[str, str]
    command: Annotated[str, Meta(description="What makes it again.")]
    features: Annotated[list[TermView], Meta(description="What it sees.")]
    actions: Annotated[list[TermView], Meta(description="What it answers with.")]
    sleeves: list[str]
    networks: Annotated[int, Meta(description="Whose median decides.")]
    most_spread: Annotated[
        float, Meta(description="Distance of their targets above which the fallback decides.")
    ]
    fallback: str
    chosen_rule: Annotated[str | None, Meta(description="The best rule on the training data.")]
    weights: Annotated[str, Meta(description="SHA-256.")]
    regimes: Annotated[str, Meta(description="SHA-256.")]
    evidence: Annotated[
        dict[str, Any],
        Meta(description="What was found when it was judged; `gate`: whether it may be promoted."),
    ]
    shipped: bool
    promoted: Annotated[bool, Meta(description="Whether it is what `learned` means.")]


class CardView(PolicyView, frozen=True, kw_only=True):
    """What there is to know of a policy."""

    lookback: Annotated[int, Meta(description="Closes that it needs.")]
    learning: Annotated[LearningView | None, Meta(description="Of a learned policy.")]


@get("/policies", summary="Who can decide", tags=["policies"], responses=problem_responses())
@inject
async def policies(offered: FromDishka[Policies]) -> list[PolicyView]:
    """Every policy with its parameters, and where the idea comes from.

    First the rules, then the versions of learned policies; last `learned`, which is the promoted
    version, or the best rule while none is.
    """
    return [PolicyView(**_plain(card)) for card in await sync_to_thread(offered.cards)]


@get(
    "/policies/{name:str}",
    summary="What is known of a policy",
    tags=["policies"],
    responses=problem_responses(404),
)
@inject
async def read_policy(name: FromPath[str], offered: FromDishka[Policies]) -> CardView:
    """The card of a rule, of a learned policy such as `ppo` or `ppo@1`, or of `learned`.

    Of a learned policy: how it was made and on which data, what it sees and does, the evidence for
    it beside the thresholds of the promotion gate, and how to make it again.
    """
    card = await sync_to_thread(offered.card, name)
    learning = None if card.learning is None else _learning(card.learning)
    return CardView(**_plain(card), lookback=card.lookback, learning=learning)


def _plain(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "kind": card.kind,
        "version": None if card.learning is None else card.learning.version,
        "summary": card.summary,
        "frequency": card.frequency.value,
        "parameters": dict(card.parameters),
        "variants": list(card.variants),
        "source": card.source,
        "decides": card.decides,
    }


def _learning(known: Learning) -> LearningView:
    made = known.training
    return LearningView(
        algorithm=made.algorithm,
        created=made.created,
        stages=[StageView(stage=s.stage, steps=s.steps, note=s.note) for s in made.stages],
        data=[
            DataView(name=d.name, sha256=d.sha256, first=d.first, last=d.last, symbols=d.symbols)
            for d in made.data
        ],
        trained_until=made.trained_until,
        reward=made.reward,
        seeds=list(made.seeds),
        libraries=dict(made.libraries),
        command=made.command,
        features=[TermView(name=n, meaning=m) for n, m in known.features.items()],
        actions=[TermView(name=n, meaning=m) for n, m in known.actions.items()],
        sleeves=list(known.sleeves),
        networks=known.networks,
        most_spread=known.most_spread,
        fallback=known.fallback,
        chosen_rule=known.chosen_rule,
        weights=known.weights,
        regimes=known.regimes,
        evidence=dict(known.evidence),
        shipped=known.shipped,
        promoted=known.promoted,
    )
