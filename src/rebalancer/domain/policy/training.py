"""Training of learned policies: the plan and the outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.algorithms import (
    ALGORITHMS,
    FEATURES,
    REWARDS,
    SHIPPED_REWARD,
    SHIPPED_WARM_START,
    SHIPPED_WORLDS,
    any_of,
)
from rebalancer.domain.policy.features import INPUT_SETS, InputSet
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import TrainingRecord
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.policy.versions import LEARNED

_NAME = re.compile("[a-z][a-z0-9_]{0,31}")


@attrs.frozen
class TrainingPlan:
    """What to train.

    Attributes:
        steps: Environment steps for each seed, rounded up to whole segments.
        seeds: One network is trained for each seed.
        worlds: Number of simulated worlds; a seventh of them is held out.
        warm_start: Iterations of the warm start; 0 disables it.
        features: Number of the set of features and sleeves, see `INPUT_SETS`.
        device: Device on which torch computes.
        workers: Number of processes that train seeds in parallel.
    """

    algorithm: str
    steps: int
    seeds: tuple[int, ...]
    reward: str = SHIPPED_REWARD
    worlds: int = SHIPPED_WORLDS
    warm_start: int = SHIPPED_WARM_START
    features: int = FEATURES
    device: str = "cpu"
    workers: int = 1

    def __attrs_post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise InvalidRequest(
                f"unknown algorithm {self.algorithm!r}; choose {any_of(ALGORITHMS)}",
                field="algorithm",
                code="unknown_algorithm",
            )
        if self.reward not in REWARDS:
            raise InvalidRequest(
                f"unknown reward {self.reward!r}; choose {any_of(REWARDS)}",
                field="reward",
                code="unknown_reward",
            )
        if self.features not in INPUT_SETS:
            raise InvalidRequest(
                f"unknown set of features {self.features}; choose {any_of(map(str, INPUT_SETS))}",
                field="features",
                code="unknown_features",
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InvalidRequest(
                f"the seeds are {self.seeds}; give at least one seed, and each only once",
                field="seeds",
                code="invalid_seeds",
            )
        for field, least in (("steps", 1), ("worlds", 14), ("warm_start", 0), ("workers", 1)):
            value = getattr(self, field)
            if value < least:
                raise InvalidRequest(
                    f"{value} is too small; the least value is {least}",
                    field=field,
                    code="value_too_small",
                )

    @property
    def inputs(self) -> InputSet:
        """Features and sleeves to train with."""
        return INPUT_SETS[self.features]


@attrs.frozen
class CurvePoint:
    """One point of a learning curve.

    Attributes:
        stage: ``warm start``, or the name of the algorithm.
        at: Iterations or steps done in this stage.
        of: Iterations or steps planned for this stage.
        mean_reward: Mean reward for each week: while learning during the warm start, later of the
            policy without exploration, in held-out worlds.
    """

    seed: int
    stage: str
    at: int
    of: int
    mean_reward: float


@attrs.frozen(eq=False)
class TrainedPolicy:
    """Outcome of a training.

    Attributes:
        learned: The policy, not yet stored in a catalogue.
        curve: Points of all seeds, in the order of time within a seed and stage.
        before: Mean weekly reward in held-out worlds by seed, before the algorithm's updates.
        after: The same of the network that was selected.
    """

    learned: LearnedPolicy
    training: TrainingRecord
    curve: tuple[CurvePoint, ...]
    before: Mapping[int, float]
    after: Mapping[int, float]


def check_name(name: str, algorithm: str) -> None:
    """Check that a policy trained by an algorithm may have this plain name.

    Raises:
        InvalidRequest: the name is malformed, taken, or that of another algorithm.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"invalid name {name!r}; use up to 32 lower-case letters, digits and underscores, "
            "starting with a letter",
            field="name",
            code="invalid_policy_name",
        )
    if name in POLICIES or name == LEARNED:
        raise InvalidRequest(
            f"the name {name} is taken; choose another name", field="name", code="policy_name_taken"
        )
    if name in ALGORITHMS and name != algorithm:
        raise InvalidRequest(
            f"the name {name} is reserved for policies trained by {name}; choose another name",
            field="name",
            code="policy_name_taken",
        )
