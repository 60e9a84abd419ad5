"""The record that luck is reckoned from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import attrs

from rebalancer.domain.errors import InvalidRequest


class TrialKind(StrEnum):
    """What was done when policies were tried."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    PROTOTYPE = "prototype"


@attrs.frozen
class Trial:
    """A training or evaluation run: one line of the record that luck is reckoned from.

    Attributes:
        on: When; with its time zone.
        kind: What was done.
        what: Policies or settings that were tried, by name.
        trials: How many tries it stands for; 0 for the repetition of an earlier one.
        digest: SHA-256 of what it was run on; empty where that is not known.
        note: Whatever a reader should know.
    """

    on: datetime
    kind: TrialKind
    what: tuple[str, ...]
    trials: int = 1
    digest: str = ""
    note: str = ""

    def __attrs_post_init__(self) -> None:
        if self.on.tzinfo is None:
            raise InvalidRequest("must be a time with its zone", field="on")
        if not self.what or not all(self.what):
            raise InvalidRequest("name at least one", field="what")
        if self.trials < 0:
            raise InvalidRequest(f"must be at least 0, got {self.trials}", field="trials")


class Trials(Protocol):
    """Every training and evaluation run that there was, so that luck can be discounted."""

    @property
    def location(self) -> str | None:
        """Where they are kept, for people; None where they end with the process."""

    def append(self, trial: Trial) -> None:
        """Keep one more, whole or not at all, whoever else appends.

        Raises:
            Unavailable: it cannot be written there; says why.
        """

    def all(self) -> tuple[Trial, ...]:
        """Every one, in the order of appending; none where nothing was ever appended.

        Raises:
            InvalidRequest: what is kept is malformed: says where and how.
            Unavailable: it cannot be read; says why.
        """

    def count(self) -> int:
        """How many tries they stand for: the sum of their ``trials``.

        Raises:
            As `all`.
        """
