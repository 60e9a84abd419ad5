"""Who decides, and who makes those that learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.serving import Card, Training
from rebalancer.domain.policy.training import Plan, Point, Trained


class Policies(Protocol):
    """Who can decide: every rule, versions of learned policies, and ``learned``.

    Rules take parameters, ``trend:window=150``. A learned policy is called by its name, ``ppo``,
    which is its highest version, or by a version, ``ppo@1``. ``learned`` is the version that was
    promoted last, or the best rule while none is.
    """

    def policy(self, text: str) -> Policy:
        """The policy that a text names; its own name is that text.

        Raises:
            InvalidRequest: there is none such, says what there is; it takes no such parameter; or
                its version is damaged or not for this code, says which and how.
        """

    def cards(self) -> Sequence[Card]:
        """Of every rule, of every learned policy with the highest version first, and of `learned`.

        The highest version goes by the plain name, earlier ones by their exact names.

        Raises:
            InvalidRequest: a version cannot be served; says which and why.
        """

    def card(self, name: str) -> Card:
        """Of one policy, by a name without parameters.

        Raises:
            NotFound: there is none; says what there is.
            InvalidRequest: it cannot be served; says why.
        """

    def keep_evidence(self, name: str, evidence: Mapping[str, Any]) -> Card:
        """Keep with a version what was found when it was judged, in place of what was kept before.

        Args:
            name: Of a learned policy, as in `card`; not ``learned``.
            evidence: JSON values. Under ``gate`` the promotion gate: ``passed``, and ``criteria``
                with a ``name``, a ``figure``, a ``threshold``, ``passed`` and a ``sentence`` each.
                What is kept has ``weights`` beside it: SHA-256 of the weights that it is of.

        Returns:
            The version's card.

        Raises:
            NotFound: there is no such version.
            InvalidRequest: it is damaged, or the evidence cannot be kept; says why.
        """

    def add(self, learned: LearnedPolicy, training: Training, *, again: bool = False) -> Card:
        """Keep a new version: one above the highest of its name, all of it or nothing.

        Args:
            learned: Its name is plain, such as ``ppo``.
            training: How it was made; one seed a network.
            again: Whether it may have been kept before: the highest version of its name with the
                same weights is it then.

        Returns:
            The version's card, by its exact name.

        Raises:
            InvalidRequest: the name is taken, it could not be served, or it cannot be written; says
                why.
        """

    def place(self, name: str) -> str | None:
        """Where a version is kept, for people; None where it ends with the process.

        Raises:
            NotFound: there is no such version.
        """

    def promote(self, name: str, *, now: datetime) -> Card:
        """Make a version what ``learned`` means, if its evidence has passed the promotion gate.

        Returns:
            The card of ``learned``.

        Raises:
            NotFound: there is no such version.
            Conflict: it has no evidence, or it failed the gate; names the failed criteria.
            InvalidRequest: the version is damaged, or that cannot be written; says why.
        """


class Trainer(Protocol):
    """Who makes learned policies."""

    def check(self) -> None:
        """Make sure that it can train.

        Raises:
            Unavailable: something is not installed; says how to install it.
        """

    def train(
        self,
        panels: Mapping[str, PriceHistory],
        plan: Plan,
        out: Path,
        *,
        regimes: RegimeModel,
        chosen_rule: str,
        command: str,
        today: date,
        name: str,
        progress: Callable[[Point], None] = lambda _: None,
        drawn: Callable[[int], None] = lambda _: None,
    ) -> Trained:
        """Train one network a seed, or go on where an earlier call was stopped.

        The same panels, plan and regimes give the same policy on one machine, stopped or not.

        Args:
            panels: Prices by name, cut off where training ends, without bills.
            plan: What to train.
            out: Folder for checkpoints; made if need be.
            regimes: The model of market regimes.
            chosen_rule: Name of the best rule on the same prices.
            command: What makes the same policy again.
            today: For the record.
            name: Of the policy.
            progress: Told each point of the learning curves.
            drawn: Told how many more worlds have come into being.

        Raises:
            InvalidRequest: the folder holds the checkpoints of another training, or prices are too
                short; names the field.
            Unavailable: as `check`.
        """

    def fit_regimes(self, panels: Sequence[PriceHistory]) -> RegimeModel:
        """A model of market regimes of its own for some panels; the same panels, the same model.

        Raises:
            InvalidRequest: the prices are too short.
            Unavailable: as `check`.
        """
