"""Trainer with torch and Stable-Baselines3, which it imports on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs

from rebalancer.application.ports.engine import Engine
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.model_card import TrainingStage
from rebalancer.domain.policy.training import TrainedPolicy, TrainingPlan

NEEDED = ("torch", "stable_baselines3", "gymnasium", "hmmlearn")
"""Packages of the extra ``train``."""

_SEED = 0
"""Seed of the mixes that regimes are fitted on."""


@attrs.frozen
class TorchTrainer:
    """Trains seeds in the processes of an engine."""

    engine: Engine

    def check(self) -> None:
        for name in NEEDED:
            if find_spec(name) is None:
                raise Unavailable(
                    f"{name.replace('_', '-')} is not installed, and training needs it: "
                    "pip install 'rebalancer[train]'",
                    code="training_not_installed",
                )

    def stages(self, plan: TrainingPlan) -> tuple[TrainingStage, ...]:
        from rebalancer.adapters.rl.training import training_stages

        return training_stages(plan)

    def train(
        self,
        panels: Mapping[str, PriceHistory],
        plan: TrainingPlan,
        out: Path,
        **details: Any,
    ) -> TrainedPolicy:
        self.check()
        _check_device(plan.device)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidRequest(
                f"cannot write {out}: {error.strerror}", field="out", code="cannot_write_file"
            ) from None
        from rebalancer.adapters.rl.training import train

        return train(panels, plan, out, engine=self.engine, **details)

    def fit_regimes(self, panels: Sequence[PriceHistory]) -> RegimeModel:
        self.check()
        from rebalancer.adapters.rl.regimes import fit_regimes

        return fit_regimes(panels, seed=_SEED)


def _check_device(name: str) -> None:
    """Raise InvalidRequest unless torch can compute on a device."""
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise InvalidRequest(
            f"cannot compute on {name!r}: {why}", field="device", code="unusable_device"
        ) from None
