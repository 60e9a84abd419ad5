"""Log of trials, from which evaluations correct for luck."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import attrs

from rebalancer.domain.errors import InvalidRequest


class TrialKind(StrEnum):
    """Kind of activity that tries policies."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    PROTOTYPE = "prototype"


@attrs.frozen
class Trial:
    """A training or evaluation run: one line of the log.

    Attributes:
        on: Time, with its zone.
        what: Names of the policies or settings that were tried.
        trials: Number of trials; 0 for the repetition of an earlier run.
        digest: SHA-256 of the inputs; empty if unknown.
    """

    on: datetime
    kind: TrialKind
    what: tuple[str, ...]
    trials: int = 1
    digest: str = ""
    note: str = ""

    def __attrs_post_init__(self) -> None:
        if self.on.tzinfo is None:
            raise invalid_trial(f"{self.on} lacks a time zone", "on")
        if not self.what or not all(self.what):
            raise invalid_trial("name at least one policy or setting", "what")
        if self.trials < 0:
            raise invalid_trial(f"{self.trials} is negative; the least value is 0", "trials")


def invalid_trial(message: str, field: str = "") -> InvalidRequest:
    """Return the error for a trial with an invalid attribute."""
    return InvalidRequest(message, field=field, code="invalid_trial")


class Trials(Protocol):
    """Log of all training and evaluation runs."""

    @property
    def location(self) -> str | None:
        """Where the log is stored, for people; None if only in memory."""

    def append(self, trial: Trial) -> None:
        """Add a trial as a whole or not at all, also while other processes append.

        Raises:
            Unavailable: the log cannot be written.
        """

    def all(self) -> tuple[Trial, ...]:
        """Return all trials, in the order in which they were added.

        Raises:
            InvalidRequest: a line is malformed; the message names the line.
            Unavailable: the log cannot be read.
        """

    def count(self) -> int:
        """Return the sum of ``trials`` over all trials; raises as `all`."""
