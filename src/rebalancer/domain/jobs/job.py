"""A job: work that takes longer than a request, and the states it passes through."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict

FIRST_PAUSE = timedelta(seconds=2)
"""How long a job waits after its first failure; twice as long after each further one."""

LONGEST_PAUSE = timedelta(minutes=5)

_DOUBLINGS = 10
"""More than lead to the longest pause; without a bound no number would be large enough."""


class JobState(StrEnum):
    """Where a job stands.

    A failed job would fail again, as what was asked for makes no sense; a dead one was tried as
    often as it may be, and can be put back into the queue once what stood in its way is gone.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobChanged(Conflict):
    """The job is not, or no longer, where whoever acts on it takes it to be."""


@attrs.frozen
class Job:
    """Work that takes longer than a request.

    Attributes:
        id: Unique.
        owner: Who asked for it; None: an operator.
        kind: What is to be done, such as ``backtest``.
        request: What was asked for, as JSON values.
        state: Where it stands.
        created: When it was asked for.
        due: Not to be begun before.
        progress: Share that is done, 0 to 1.
        result: What came of it, as JSON values; None until it has succeeded.
        error: Why it failed, the last time; None if it has not.
        attempts: How often it was begun; the number of an attempt is never given twice.
        excused_attempts: Attempts excluded from the retry limit (released or requeued).
        last_heartbeat: The last sign of life from whoever does it; None while nobody does.
        cancelling: Whether somebody wants a running job to stop.
        finished: When it ended, well or badly.
    """

    id: UUID
    owner: UUID | None
    kind: str
    request: Mapping[str, Any]
    state: JobState
    created: datetime
    due: datetime
    progress: float = 0.0
    result: Mapping[str, Any] | None = None
    error: str | None = None
    attempts: int = 0
    excused_attempts: int = 0
    last_heartbeat: datetime | None = None
    cancelling: bool = False
    finished: datetime | None = None

    @classmethod
    def new(
        cls, kind: str, request: Mapping[str, Any], *, id: UUID, owner: UUID | None, now: datetime
    ) -> Job:
        """One that waits to be done."""
        return cls(id, owner, kind, request, JobState.QUEUED, created=now, due=now)

    def start(self, now: datetime) -> Job:
        """Somebody does it now.

        Raises:
            JobChanged: it does not wait, or not yet.
        """
        if self.state is not JobState.QUEUED or now < self.due:
            raise JobChanged(f"job {self.id} is {self.state}")
        return attrs.evolve(
            self,
            state=JobState.RUNNING,
            attempts=self.attempts + 1,
            last_heartbeat=now,
            progress=0.0,
        )

    def heartbeat(self, now: datetime, *, attempt: int, progress: float | None = None) -> Job:
        """Whoever does it for the n-th time is at it still.

        Raises:
            JobChanged: nobody does, or somebody else for another time.
        """
        self._check_attempt(attempt)
        share = self.progress if progress is None else min(max(progress, 0.0), 1.0)
        return attrs.evolve(self, last_heartbeat=now, progress=share)

    def succeed(self, result: Mapping[str, Any], now: datetime, *, attempt: int) -> Job:
        """It is done.

        Raises:
            JobChanged: as `heartbeat`.
        """
        self._check_attempt(attempt)
        return self._finish(JobState.SUCCEEDED, now, progress=1.0, result=result, error=None)

    def fail(self, why: str, now: datetime, *, attempt: int) -> Job:
        """It cannot be done.

        Raises:
            JobChanged: as `heartbeat`.
        """
        self._check_attempt(attempt)
        return self._finish(JobState.FAILED, now, error=why)

    def reject(self, why: str, now: datetime) -> Job:
        """Nobody takes it on.

        Raises:
            JobChanged: it does not wait.
        """
        if self.state is not JobState.QUEUED:
            raise JobChanged(f"job {self.id} is {self.state}")
        return self._finish(JobState.FAILED, now, error=why)

    def fail_attempt(self, why: str, now: datetime, *, attempt: int, max_attempts: int) -> Job:
        """Schedule a retry, or mark the job dead after ``max_attempts`` attempts.

        Raises:
            JobChanged: as `heartbeat`.
        """
        self._check_attempt(attempt)
        if self.cancelling:
            return self._finish(JobState.CANCELLED, now)
        tried = self.attempts - self.excused_attempts
        if tried >= max_attempts:
            return self._finish(JobState.DEAD, now, error=why)
        pause = min(FIRST_PAUSE * 2 ** min(tried - 1, _DOUBLINGS), LONGEST_PAUSE)
        return attrs.evolve(
            self,
            state=JobState.QUEUED,
            due=now + pause,
            error=why,
            last_heartbeat=None,
            progress=0.0,
        )

    def release(self, now: datetime, *, attempt: int) -> Job:
        """Whoever does it has to go: somebody else does it, and this attempt does not count.

        Raises:
            JobChanged: as `heartbeat`.
        """
        self._check_attempt(attempt)
        if self.cancelling:
            return self._finish(JobState.CANCELLED, now)
        excused_attempts = self.excused_attempts + 1
        return attrs.evolve(
            self,
            state=JobState.QUEUED,
            due=now,
            excused_attempts=excused_attempts,
            last_heartbeat=None,
            progress=0.0,
        )

    def cancel(self, now: datetime) -> Job:
        """Nobody wants it any more: it ends if it waits, and whoever does it is told.

        Raises:
            JobChanged: it has ended already.
        """
        if self.state is JobState.QUEUED:
            return self._finish(JobState.CANCELLED, now)
        if self.state is not JobState.RUNNING:
            raise JobChanged(f"job {self.id} is {self.state} already")
        return attrs.evolve(self, cancelling=True)

    def requeue(self, now: datetime) -> Job:
        """It is to be tried again, from the start.

        Raises:
            JobChanged: it waits or is done, so that there is nothing to try again.
        """
        if self.state not in (JobState.DEAD, JobState.FAILED, JobState.CANCELLED):
            raise JobChanged(f"job {self.id} is {self.state}: there is nothing to try again")
        fresh = Job.new(self.kind, self.request, id=self.id, owner=self.owner, now=self.created)
        return attrs.evolve(fresh, due=now, attempts=self.attempts, excused_attempts=self.attempts)

    def _check_attempt(self, attempt: int) -> None:
        if self.state is not JobState.RUNNING or self.attempts != attempt:
            raise JobChanged(f"job {self.id} is {self.state}, tried {self.attempts} times")

    def _finish(self, state: JobState, now: datetime, **others: Any) -> Job:
        return attrs.evolve(
            self, state=state, finished=now, last_heartbeat=None, cancelling=False, **others
        )
