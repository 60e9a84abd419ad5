"""State of synchronizing assets with their providers, and of scheduled tasks."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

import attrs


@attrs.frozen
class SyncState:
    """What is known of the last synchronization of one asset.

    Attributes:
        symbol: The asset, or a rate.
        provider: Name of the provider that answered last; None if none has.
        through: Day of the last stored bar; None without any.
        checked: Time of the last answer; None if none came.
        failed: Time of the last fault since then; None without a fault.
        fault: What went wrong then; empty if nothing did.
    """

    symbol: str
    provider: str | None = None
    through: date | None = None
    checked: datetime | None = None
    failed: datetime | None = None
    fault: str = ""


class TaskState(StrEnum):
    """Outcome of the last run of a scheduled task."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@attrs.frozen
class ScheduledTask:
    """Task that runs when it is due, once, whatever the number of workers.

    Attributes:
        name: Unique, such as ``bars:XNYS``.
        due: Time of the next run. A missed one is caught up with a single run.
        state: Of the last or the current run.
        started: Begin of the last or the current run; None before the first.
        finished: End of the last run; None before the first.
        alive: Last sign of life of the current run; None between runs.
        detail: What the last run did, or what went wrong.
    """

    name: str
    due: datetime
    state: TaskState = TaskState.WAITING
    started: datetime | None = None
    finished: datetime | None = None
    alive: datetime | None = None
    detail: str = ""

    def is_due(self, now: datetime, *, abandoned_before: datetime) -> bool:
        """Return whether a worker may start it: it is due, and no living worker runs it."""
        if self.state is TaskState.RUNNING:
            return self.alive is None or self.alive < abandoned_before
        return self.due <= now

    def start(self, now: datetime) -> ScheduledTask:
        """Return the task as it runs."""
        return attrs.evolve(self, state=TaskState.RUNNING, started=now, alive=now)

    def finish(self, now: datetime, *, due: datetime, detail: str, failed: bool) -> ScheduledTask:
        """Return the task after a run, due again at another time."""
        state = TaskState.FAILED if failed else TaskState.DONE
        return attrs.evolve(self, state=state, finished=now, alive=None, due=due, detail=detail)
