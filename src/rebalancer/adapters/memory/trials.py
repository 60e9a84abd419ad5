"""The record of trials, in memory."""

from __future__ import annotations

from rebalancer.application.ports.trials import Trial


class MemoryTrials:
    """Trials that end with the process."""

    def __init__(self) -> None:
        self._kept: list[Trial] = []

    @property
    def location(self) -> None:
        return None

    def append(self, trial: Trial) -> None:
        self._kept.append(trial)

    def all(self) -> tuple[Trial, ...]:
        return tuple(self._kept)

    def count(self) -> int:
        return sum(trial.trials for trial in self._kept)
