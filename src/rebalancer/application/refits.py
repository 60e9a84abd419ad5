"""Refits of learning procedures on past prices, stored as versions and found by their manifests.

A procedure is a way to obtain a policy from the prices known by a day. A walk-forward judges the
procedure: it refits at several dates, and judges each refit on later days.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import attrs
import numpy as np

from rebalancer.application.ports.market import PriceSource, Regimes
from rebalancer.application.ports.policies import Policies, Trainer
from rebalancer.application.training import TrainPolicy, TrainRequest
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.algorithms import (
    ALGORITHMS,
    FEATURES,
    SHIPPED_REWARD,
    SHIPPED_SEEDS,
    SHIPPED_STEPS,
    SHIPPED_WARM_START,
    SHIPPED_WORLDS,
)
from rebalancer.domain.policy.model_card import ModelCard
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.training import CurvePoint, TrainingPlan
from rebalancer.domain.policy.versions import LEARNED, VersionedPolicy

BEST = "best_rule"
"""Procedure that chooses the best rule on the training data of each fold."""

_WARM_START, _WORLDS, _FEATURES = "warm start", "worlds", "features"
"""Stages of a training that are part of its plan."""


@attrs.frozen
class RefitOptions:
    """Plan of every refit; None: as the shipped policy of the algorithm was trained.

    Attributes:
        seeds: Number of networks.
        workers: Number of processes that train seeds in parallel.
    """

    steps: int | None = None
    seeds: int = SHIPPED_SEEDS
    worlds: int = SHIPPED_WORLDS
    warm_start: int = SHIPPED_WARM_START
    reward: str = SHIPPED_REWARD
    features: int = FEATURES
    device: str = "cpu"
    workers: int = 1

    def plan(self, algorithm: str) -> TrainingPlan:
        """Return the plan for an algorithm; raises as `TrainingPlan`."""
        return TrainingPlan(
            algorithm,
            steps=SHIPPED_STEPS[algorithm] if self.steps is None else self.steps,
            seeds=tuple(range(self.seeds)),
            reward=self.reward,
            worlds=self.worlds,
            warm_start=self.warm_start,
            features=self.features,
            device=self.device,
            workers=min(self.workers, self.seeds),
        )


@attrs.frozen
class Procedure:
    """A way to obtain a policy from the prices known by a day.

    Attributes:
        name: Name in the results: of a rule, an algorithm, a version, or `BEST`.
        rule: The rule that decides on all days; None if it depends on the prices.
        plan: Plan of a learned policy; None for rules.
        version: Exact name of a stored version, the refit of the last date; None: it is found.
    """

    name: str
    rule: Policy | None = None
    plan: TrainingPlan | None = None
    version: str | None = None


def read_procedures(
    names: Sequence[str], policies: Policies, options: RefitOptions
) -> tuple[Procedure, ...]:
    """Return the procedures that names of policies stand for.

    An algorithm is refitted by the options. A version is refitted as it was trained, and serves as
    its own refit of the last date. Other names are rules, or `BEST`.

    Raises:
        InvalidRequest: a name is unknown, or ``learned``.
    """
    return tuple(_read_procedure(name, policies, options) for name in names)


def _read_procedure(name: str, policies: Policies, options: RefitOptions) -> Procedure:
    if name == BEST:
        return Procedure(name)
    if name in ALGORITHMS:
        return Procedure(name, plan=options.plan(name))
    if name == LEARNED:
        raise InvalidRequest(
            f"{LEARNED} stands for another policy; name the procedure or the version itself",
            field="policy",
            code="policy_not_a_procedure",
        )
    policy = policies.policy(name)
    if not isinstance(policy, VersionedPolicy):
        return Procedure(name, rule=policy)
    card = policies.card(policy.version).model_card
    assert card is not None
    return Procedure(name, plan=_plan_of(card, options), version=policy.version)


def _plan_of(card: ModelCard, options: RefitOptions) -> TrainingPlan:
    """Return the plan by which a version was trained; device and workers are of the options."""
    made = card.training
    stages = {each.stage: each.steps for each in made.stages}
    try:
        return TrainingPlan(
            made.algorithm,
            steps=stages[made.algorithm],
            seeds=made.seeds,
            reward=made.reward,
            worlds=stages[_WORLDS],
            warm_start=stages.get(_WARM_START, 0),
            features=stages.get(_FEATURES, 1),
            device=options.device,
            workers=min(options.workers, len(made.seeds)),
        )
    except KeyError as error:
        raise InvalidRequest(
            f"the manifest lacks the stage {error}, so it cannot be refitted; name the algorithm "
            "instead",
            field="policy",
            code="version_without_plan",
        ) from None


@attrs.frozen
class TrainingData:
    """Prices that are known by the date of a refit.

    Attributes:
        until: Date of the refit.
        panels: Panels that are long enough, by name.
        sources: Price sources of the same panels, with all days.
        cash: See `panels_of`.
    """

    until: date
    panels: Mapping[str, PriceHistory]
    sources: Mapping[str, PriceSource]
    cash: str | None

    @property
    def digests(self) -> tuple[frozenset[str], ...]:
        """SHA-256 of each panel, with and without the findings of the check of its prices."""
        return tuple(
            frozenset((panel.digest, panel.with_findings(()).digest))
            for panel in self.panels.values()
        )


@attrs.frozen(eq=False)
class Refit:
    """A version that was fitted on the prices known by a date.

    Attributes:
        policy: Policy under the exact name of the version.
        location: Where the version is stored, for people; None if only in memory.
        stored: Whether the version is in the operator's catalogue, not only among the refits.
        trained: Whether it was trained now.
    """

    policy: VersionedPolicy
    card: ModelCard
    location: str | None
    stored: bool
    trained: bool = False


Command = Callable[[TrainingPlan, str, Sequence[str], date], str]
"""Returns the command that trains a version, from plan, name, names of panels and last day."""


@attrs.frozen
class Refits:
    """Stored refits: finds them by their manifests, and trains those that are missing.

    Attributes:
        policies: The operator's catalogue, where the refit of the last date may be.
        refits: Catalogue of refits.
        folder: Folder for the checkpoints of trainings.
        train: Use case that trains.
        regimes: The configured model of market regimes.
        trainer: Trainer, which knows the stages of a plan.
        command: Returns the command that trains a refit.
    """

    policies: Policies
    refits: Policies
    folder: Path
    train: TrainPolicy
    regimes: Regimes
    trainer: Trainer
    command: Command

    def find(self, plan: TrainingPlan, data: TrainingData, *, last: bool) -> Refit | None:
        """Return a version that was trained by a plan on these data, if one is stored.

        That of the last date may also be in the operator's catalogue, and is sought there first.

        Raises:
            InvalidRequest: a stored version is damaged.
        """
        for catalogue, stored in ((self.policies, True), (self.refits, False)):
            if stored and not last:
                continue
            for card in catalogue.cards():
                known = card.model_card
                if known is None or card.name == LEARNED or not self._fits(known, plan, data):
                    continue
                name = card.decides or card.name
                policy = catalogue.policy(name)
                assert isinstance(policy, VersionedPolicy)
                if self._knows_later_regimes(policy.regimes, data.until):
                    continue
                return Refit(policy, known, catalogue.location(name), stored)
        return None

    def get(self, name: str, data: TrainingData) -> Refit:
        """Return a version of the operator's catalogue as the refit of the last date.

        Raises:
            InvalidRequest: it was trained on prices after the date.
        """
        policy, card = self.policies.policy(name), self.policies.card(name).model_card
        assert isinstance(policy, VersionedPolicy) and card is not None
        if card.training.trained_until > data.until:
            raise InvalidRequest(
                f"{name} was trained on prices until {card.training.trained_until}, after the last "
                f"date {data.until}; choose a later last date",
                field="walk_forward",
                code="evaluated_in_training_period",
            )
        return Refit(policy, card, self.policies.location(name), stored=True)

    def fit(
        self,
        plan: TrainingPlan,
        data: TrainingData,
        *,
        now: datetime,
        recorded: bool = True,
        progress: Callable[[CurvePoint], None] = lambda _: None,
    ) -> Refit:
        """Train a version, or continue an interrupted training of the same version.

        All refits of a procedure are one trial of it, so only the last one is ``recorded``.

        Raises:
            InvalidRequest, PricesUnavailable, Unavailable: as `TrainPolicy`.
        """
        name = f"{plan.algorithm}_{data.until:%Y%m%d}"
        request = TrainRequest(
            plan=plan,
            name=name,
            out=self.folder / f"{name}-{self._digest(plan, data)[:12]}",
            command=self.command(plan, name, list(data.panels), data.until),
            until=data.until,
            cash=data.cash,
            fit_regimes=True,
            recorded=recorded,
        )
        train = attrs.evolve(self.train, policies=self.refits)
        made = train(data.sources, request, now=now, progress=progress, again=True)
        policy, card = self.refits.policy(made.version), self.refits.card(made.version).model_card
        assert isinstance(policy, VersionedPolicy) and card is not None
        return Refit(policy, card, made.location, stored=False, trained=True)

    def _fits(self, card: ModelCard, plan: TrainingPlan, data: TrainingData) -> bool:
        """Whether a version has the algorithm, seeds, stages, reward and data of a plan."""
        made = card.training
        stages = [(each.stage, each.steps) for each in made.stages]
        return (
            (made.algorithm, made.seeds, made.reward) == (plan.algorithm, plan.seeds, plan.reward)
            and stages == [(each.stage, each.steps) for each in self.trainer.stages(plan)]
            and len(made.data) == len(data.panels)
            and all(
                known.sha256 in either
                for known, either in zip(made.data, data.digests, strict=True)
            )
        )

    def _knows_later_regimes(self, model: RegimeModel, until: date) -> bool:
        """Whether a model of regimes is the configured one, fitted to prices after a day."""
        if not _same_regimes(model, self.regimes.model()):
            return False
        known = self.regimes.known_until()
        return known is None or known > until

    def _digest(self, plan: TrainingPlan, data: TrainingData) -> str:
        """Return the SHA-256 of what a training folder belongs to."""
        terms = {key: value for key, value in attrs.asdict(plan).items() if key != "workers"}
        content = [terms, [panel.digest for panel in data.panels.values()]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _same_regimes(one: RegimeModel, other: RegimeModel) -> bool:
    return one.names == other.names and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("start", "transition", "means", "covariances")
    )
