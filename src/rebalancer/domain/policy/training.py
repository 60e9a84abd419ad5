"""What a training is asked for, and what it comes to. Who does it stands behind a port."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.rules import POLICIES
from rebalancer.domain.policy.serving import LEARNED, SOURCES, Training

ALGORITHMS = ("ppo", "dqn")

REWARDS = {
    "mean_variance": "the week's gain on the monthly rule under mean-variance preferences",
    "differential_sharpe": "what the week does to a moving Sharpe ratio, less the monthly rule's",
    "drawdown": "mean_variance, less a price on drawdown beyond the monthly rule's",
}
"""What a week may be worth to a learner, by name."""

_NAME = re.compile("[a-z][a-z0-9_]{0,31}")


@attrs.frozen
class Plan:
    """What to train.

    Attributes:
        algorithm: ``ppo`` or ``dqn``.
        steps: Of the environment, a seed; rounded up to whole segments.
        seeds: One network each.
        reward: Name of the reward.
        worlds: How many to draw; a seventh of them are held out.
        warm_start: Iterations of the warm start; 0: none.
        device: Where torch computes.
        workers: Processes that train seeds side by side.
    """

    algorithm: Literal["ppo", "dqn"]
    steps: int
    seeds: tuple[int, ...]
    reward: str = "mean_variance"
    worlds: int = 6_000
    warm_start: int = 300
    device: str = "cpu"
    workers: int = 1

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            InvalidRequest: names the field.
        """
        for field, known in (("algorithm", ALGORITHMS), ("reward", tuple(REWARDS))):
            given = getattr(self, field)
            if given not in known:
                raise InvalidRequest(
                    f"{given!r} is none; choose one of {', '.join(known)}", field=field
                )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InvalidRequest("name at least one seed, each once", field="seeds")
        for field, least in (("steps", 1), ("worlds", 14), ("warm_start", 0), ("workers", 1)):
            if getattr(self, field) < least:
                raise InvalidRequest(
                    f"must be at least {least}, got {getattr(self, field)}", field=field
                )


@attrs.frozen
class Point:
    """A point of a learning curve.

    Attributes:
        seed: Whose.
        stage: ``warm start``, or the algorithm's name.
        at: Iterations or steps of that stage behind it.
        of: How many there will be.
        worth: Mean reward a week: while learning during the warm start, else of the policy without
            its noise, in worlds held out.
    """

    seed: int
    stage: str
    at: int
    of: int
    worth: float


@attrs.frozen(eq=False)
class Trained:
    """What training came to.

    Attributes:
        learned: The policy, not yet in a catalogue.
        training: How it was made.
        curve: Of all seeds, in the order of time within a seed and stage.
        before: Mean reward a week in held-out worlds by seed, before the algorithm's updates.
        after: The same of the network that was kept.
    """

    learned: LearnedPolicy
    training: Training
    curve: tuple[Point, ...]
    before: Mapping[int, float]
    after: Mapping[int, float]


def check_name(name: str, algorithm: str) -> None:
    """Refuse a name that no policy of an algorithm can have.

    Raises:
        InvalidRequest: says why not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} is no name: up to 32 lower-case letters, digits and underscores, the first "
            "a letter",
            field="name",
        )
    if name in POLICIES or name == LEARNED:
        raise InvalidRequest(f"{name} is taken; choose another", field="name")
    if name in SOURCES and name != algorithm:
        raise InvalidRequest(f"{name} would be made by {algorithm}; choose another", field="name")
