"""Policy catalogue, trainer, and the evidence that promotion needs."""

from __future__ import annotations

from pathlib import Path

from dishka import Provider, Scope, provide

from rebalancer.adapters.jsonl.trials import JsonlTrials
from rebalancer.adapters.memory.trials import MemoryTrials
from rebalancer.adapters.rl.catalog import CatalogFolders, FolderPolicies
from rebalancer.adapters.rl.trainer import TorchTrainer
from rebalancer.application.ports.policies import Policies, PolicyFolders, Trainer
from rebalancer.application.ports.trials import Trials
from rebalancer.config import Settings
from rebalancer.domain.backtest.thresholds import PromotionThresholds, ServingThresholds

DEFAULT_POLICIES = Path("policies")
"""Folder of the operator's own learned policies."""

DEFAULT_TRIALS = Path("docs/trials.jsonl")
"""Trial log, used if the file exists."""


class PolicyProvider(Provider):
    """Policy catalogue, trainer, trial log and promotion thresholds."""

    scope = Scope.APP
    trainer = provide(TorchTrainer, provides=Trainer)
    folders = provide(CatalogFolders, provides=PolicyFolders)

    @provide
    def policies(self, settings: Settings) -> Policies:
        """Offer rules, shipped learned policies, and those of the operator's folder."""
        return FolderPolicies(settings.policies or DEFAULT_POLICIES)

    @provide
    def trials(self, settings: Settings) -> Trials:
        """Log trials to a file; without a file, in the memory of this process."""
        if settings.trials is None and not DEFAULT_TRIALS.exists():
            return MemoryTrials()
        return JsonlTrials(settings.trials or DEFAULT_TRIALS)

    @provide
    def thresholds(self, settings: Settings) -> PromotionThresholds:
        return settings.promotion

    @provide
    def serving(self, settings: Settings) -> ServingThresholds:
        return settings.serving
