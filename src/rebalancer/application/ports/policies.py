"""Policy catalogue, its store of learned versions, and the trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.model_card import PolicyCard, TrainingRecord, TrainingStage
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.training import CurvePoint, TrainedPolicy, TrainingPlan
from rebalancer.domain.policy.versions import PolicyVersion, Promotion, VersionedPolicy


class Policies(Protocol):
    """All policies: rules, versions of learned policies, and ``learned``.

    Rules take parameters, ``trend:window=150``. A learned policy is named by its plain name,
    ``ppo``, which is its highest version, or by a version, ``ppo@1``. ``learned`` is the version
    promoted last if its walk-forward passed, and the best rule otherwise.
    """

    def policy(self, text: str) -> Policy:
        """Return the policy that a text names; its ``name`` is that text.

        Raises:
            InvalidRequest: the policy or a parameter is unknown, or the version is damaged or
                incompatible with this code.
        """

    def cards(self) -> Sequence[PolicyCard]:
        """List the cards of all rules, of all learned versions, and of ``learned``.

        The highest version of a learned policy comes first, under the plain name; earlier ones
        follow under their exact names.

        Raises:
            InvalidRequest: a version is damaged or incompatible.
        """

    def card(self, name: str) -> PolicyCard:
        """Return the card of one policy, by a name without parameters.

        Raises:
            NotFound: no such policy; the message lists the policies.
            InvalidRequest: the version is damaged or incompatible.
        """

    def store_evidence(self, name: str, evidence: Mapping[str, Any]) -> PolicyCard:
        """Store the results of an evaluation with a version, replacing earlier ones.

        The evidence has JSON values. ``walk_forward`` holds ``passed``, and ``criteria`` with a
        ``name``, a ``figure``, a ``threshold``, ``passed`` and a ``sentence`` each. The store adds
        ``weights``, the SHA-256 of the weights that were evaluated. The name is one of a learned
        policy, not ``learned``.

        Raises:
            NotFound: no such version.
            InvalidRequest: the version is damaged, or the evidence cannot be written.
        """

    def add(
        self, learned: LearnedPolicy, training: TrainingRecord, *, again: bool = False
    ) -> PolicyCard:
        """Store a new version, one above the highest of its plain name; all of it or nothing.

        If an earlier call may have stored it, set ``again``: then the highest version with the same
        weights is returned if there is one. The training has one seed for each network.

        Returns:
            The version's card, under its exact name.

        Raises:
            InvalidRequest: the name is taken, the policy is inconsistent, or the store cannot be
                written.
        """

    def location(self, name: str) -> str | None:
        """Return where a version is stored, for people; None if only in memory.

        Raises:
            NotFound: no such version.
        """

    def promote(self, name: str, *, now: datetime) -> PolicyCard:
        """Make ``learned`` stand for a version that may serve; return its card.

        Raises:
            NotFound: no such version.
            Conflict: evidence is missing, or the version failed the walk-forward; the message
                names the failed criteria.
            InvalidRequest: the version is damaged, or the promotion cannot be written.
        """


class PolicyStore(Protocol):
    """Store of learned versions; `policy_registry` finds policies in any such store."""

    def versions(self) -> Sequence[PolicyVersion]:
        """List all stored versions."""

    def load(self, version: PolicyVersion) -> tuple[VersionedPolicy, PolicyCard]:
        """Load one version and its card, both under the exact name.

        Raises:
            InvalidRequest: the version is damaged or incompatible with this code.
        """

    def promotion(self) -> Promotion | None:
        """Return the latest promotion; None if no version was promoted."""


class PolicyFolders(Protocol):
    """Catalogues in folders of their own, such as those of refits."""

    def open(self, folder: Path) -> Policies:
        """Return the catalogue of a folder, which may be missing; nothing is read yet."""


class Trainer(Protocol):
    """Trains learned policies."""

    def check(self) -> None:
        """Check that training is possible here.

        Raises:
            Unavailable: a library is not installed; the message states how to install it.
        """

    def stages(self, plan: TrainingPlan) -> tuple[TrainingStage, ...]:
        """Return the stages that a training by this plan records, with their numbers of steps."""

    def train(
        self,
        panels: Mapping[str, PriceHistory],
        plan: TrainingPlan,
        out: Path,
        *,
        regimes: RegimeModel,
        chosen_rule: str,
        command: str,
        today: date,
        name: str,
        progress: Callable[[CurvePoint], None] = lambda _: None,
        drawn: Callable[[int], None] = lambda _: None,
    ) -> TrainedPolicy:
        """Train one network for each seed, or continue from an earlier call's checkpoints.

        The same panels, plan and regimes give the same policy on one machine, interrupted or not.

        The panels are prices by name, up to the day where training ends, without treasury bills.
        ``out`` is the folder for checkpoints. For the record, ``chosen_rule`` is the best rule on
        the same prices, and ``command`` trains the same policy again. ``drawn`` receives the number
        of worlds drawn since its last call.

        Raises:
            InvalidRequest: the folder holds checkpoints of another training, or the prices are too
                short; names the field.
            Unavailable: see `check`.
        """

    def fit_regimes(self, panels: Sequence[PriceHistory]) -> RegimeModel:
        """Fit a model of market regimes; the same panels give the same model.

        Raises:
            InvalidRequest: the prices are too short.
            Unavailable: see `check`.
        """
