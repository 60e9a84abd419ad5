"""Policies, their trainer, and the evidence that promotion asks for."""

from __future__ import annotations

from pathlib import Path

from dishka import (
    Provider,
    Scope,
    provide,
)

from rebalancer.adapters.memory.trials import MemoryTrials
from rebalancer.adapters.rl.catalog import FolderPolicies
from rebalancer.adapters.rl.trainer import TorchTrainer
from rebalancer.adapters.trials import JsonlTrials
from rebalancer.application.ports.policies import Policies, Trainer
from rebalancer.application.ports.trials import Trials
from rebalancer.config import Settings
from rebalancer.domain.backtest.thresholds import PromotionThresholds

USUAL_POLICIES = Path("policies")
"""Folder of one's own learned policies, unless the settings name another."""


class PolicyProvider(Provider):
    """Who can decide."""

    scope = Scope.APP

    @provide
    def policies(self, settings: Settings) -> Policies:
        """Rules, shipped versions of learned policies, and those of a folder of one's own."""
        return FolderPolicies(settings.policies or USUAL_POLICIES)

    @provide
    def trainer(self) -> Trainer:
        """With torch, which it loads when it is asked to train."""
        return TorchTrainer()


USUAL_TRIALS = Path("docs/trials.jsonl")
"""Record of trials that is kept where there is one, unless the settings name another."""


class EvidenceProvider(Provider):
    """What luck is reckoned from, and what promotion asks for."""

    scope = Scope.APP

    @provide
    def trials(self, settings: Settings) -> Trials:
        """A file; without one, none that outlives the process."""
        if settings.trials is None and not USUAL_TRIALS.exists():
            return MemoryTrials()
        return JsonlTrials(settings.trials or USUAL_TRIALS)

    @provide
    def thresholds(self, settings: Settings) -> PromotionThresholds:
        """As the operator sets them."""
        return PromotionThresholds(
            probability=settings.gate_probability,
            loss=settings.gate_loss,
            drawdown=settings.gate_drawdown,
            turnover=settings.gate_turnover,
        )
