"""Jobs that wait or run, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs


@attrs.frozen
class Backlog:
    """Unfinished jobs of all accounts.

    Attributes:
        waiting: Number of jobs that are due and wait, by kind.
        running: Number of jobs that run, by kind.
        oldest: Time at which the job became due that has waited longest; None if none waits.
    """

    waiting: Mapping[str, int]
    running: Mapping[str, int]
    oldest: datetime | None
