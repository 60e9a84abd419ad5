"""Log of trials in memory."""

from __future__ import annotations

from rebalancer.application.ports.trials import Trial


class MemoryTrials:
    """Trials that end with the process; see `Trials`."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []

    @property
    def location(self) -> None:
        return None

    def append(self, trial: Trial) -> None:
        self._trials.append(trial)

    def all(self) -> tuple[Trial, ...]:
        return tuple(self._trials)

    def count(self) -> int:
        return sum(trial.trials for trial in self._trials)
