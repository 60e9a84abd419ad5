"""A job: work that takes longer than a request, and its states; see docs/jobs.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict

FIRST_PAUSE = timedelta(seconds=2)
"""Delay before the second attempt; it doubles with each further attempt."""

LONGEST_PAUSE = timedelta(minutes=5)

_MAX_DOUBLINGS = 10
"""More than the longest pause needs; bounds the power of two."""


class JobState(StrEnum):
    """State of a job.

    A failed job would fail again, because its request is invalid. A dead job used up its attempts;
    it can be requeued once the cause is removed.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"

    @property
    def is_final(self) -> bool:
        """Whether the job stays in this state unless a user requeues it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class JobChanged(Conflict):
    """The job is not in the state that this transition requires."""

    default_code = "job_changed"


@attrs.frozen
class Job:
    """Work that takes longer than a request.

    Its methods are transitions. Each raises JobChanged if the job is not in the required state;
    those with ``attempt`` require that the job runs with this attempt.

    Attributes:
        owner: User who submitted the job; None: an operator.
        kind: Type of work, such as ``backtest``.
        request: Parameters of the work, as JSON values.
        due: Earliest time at which the next attempt may start.
        progress: Finished share of the work, 0 to 1.
        result: Result as JSON values; None until the job has succeeded.
        error: Message of the latest failed attempt; None without one.
        attempts: Number of attempts started; no number is used twice.
        excused_attempts: Attempts excluded from the retry limit (released or requeued).
        last_heartbeat: Latest heartbeat of the worker; None unless the job runs.
        cancelling: Whether the running job has been asked to stop.
        finished: Time at which the job reached a final state.
        started: Time at which the latest attempt started; None before the first.
        trace: Position in the trace of the request that submitted it, as a W3C ``traceparent``;
            None outside a trace.
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
    started: datetime | None = None
    trace: str | None = None

    @classmethod
    def new(
        cls, kind: str, request: Mapping[str, Any], *, id: UUID, owner: UUID | None, now: datetime
    ) -> Job:
        """Create a queued job."""
        return cls(id, owner, kind, request, JobState.QUEUED, created=now, due=now)

    def start(self, now: datetime) -> Job:
        """Start an attempt of a queued job that is due."""
        if self.state is not JobState.QUEUED or now < self.due:
            raise JobChanged(f"job {self.id} is {self.state} and cannot start")
        attempts = self.attempts + 1
        return attrs.evolve(
            self,
            state=JobState.RUNNING,
            attempts=attempts,
            last_heartbeat=now,
            progress=0.0,
            started=now,
        )

    def correct_due(self, now: datetime) -> Job:
        """Make a queued job due that was queued while the clock was ahead.

        No pause between attempts is longer than `LONGEST_PAUSE`.
        """
        if self.state is not JobState.QUEUED or self.due <= now + LONGEST_PAUSE:
            raise JobChanged(f"job {self.id} is {self.state} and due at {self.due}")
        return attrs.evolve(self, due=now)

    def heartbeat(self, now: datetime, *, attempt: int, progress: float | None = None) -> Job:
        """Record a heartbeat for attempt n."""
        self._check_attempt(attempt)
        share = self.progress if progress is None else min(max(progress, 0.0), 1.0)
        return attrs.evolve(self, last_heartbeat=now, progress=share)

    def succeed(self, result: Mapping[str, Any], now: datetime, *, attempt: int) -> Job:
        """Record the result of attempt n."""
        self._check_attempt(attempt)
        return self._finish(JobState.SUCCEEDED, now, progress=1.0, result=result, error=None)

    def fail(self, why: str, now: datetime, *, attempt: int) -> Job:
        """Record a failure that a retry cannot cure."""
        self._check_attempt(attempt)
        return self._finish(JobState.FAILED, now, error=why)

    def reject(self, why: str, now: datetime) -> Job:
        """Fail a queued job that the queue did not accept."""
        if self.state is not JobState.QUEUED:
            raise JobChanged(f"job {self.id} is {self.state} and cannot be rejected")
        return self._finish(JobState.FAILED, now, error=why)

    def fail_attempt(self, why: str, now: datetime, *, attempt: int, max_attempts: int) -> Job:
        """Schedule a retry, or mark the job dead after ``max_attempts`` attempts."""
        self._check_attempt(attempt)
        if self.cancelling:
            return self._finish(JobState.CANCELLED, now)
        counted = self.attempts - self.excused_attempts
        if counted >= max_attempts:
            return self._finish(JobState.DEAD, now, error=why)
        pause = min(FIRST_PAUSE * 2 ** min(counted - 1, _MAX_DOUBLINGS), LONGEST_PAUSE)
        return self._wait(now + pause, error=why)

    def release(self, now: datetime, *, attempt: int) -> Job:
        """Requeue at once for another worker; this attempt does not count."""
        self._check_attempt(attempt)
        if self.cancelling:
            return self._finish(JobState.CANCELLED, now)
        return self._wait(now, excused_attempts=self.excused_attempts + 1)

    def cancel(self, now: datetime) -> Job:
        """Cancel a queued job, or ask a running job to stop."""
        if self.state is JobState.QUEUED:
            return self._finish(JobState.CANCELLED, now)
        if self.state is not JobState.RUNNING:
            raise JobChanged(f"job {self.id} is {self.state} already", code="job_finished")
        return attrs.evolve(self, cancelling=True)

    def requeue(self, now: datetime) -> Job:
        """Queue a failed, cancelled or dead job again, from the start."""
        if self.state not in (JobState.DEAD, JobState.FAILED, JobState.CANCELLED):
            raise JobChanged(
                f"job {self.id} is {self.state}; only failed, cancelled and dead jobs can be "
                "requeued",
                code="job_not_requeuable",
            )
        fresh = Job.new(self.kind, self.request, id=self.id, owner=self.owner, now=self.created)
        return attrs.evolve(
            fresh,
            due=now,
            attempts=self.attempts,
            excused_attempts=self.attempts,
            started=self.started,
            trace=self.trace,
        )

    def _check_attempt(self, attempt: int) -> None:
        if self.state is not JobState.RUNNING or self.attempts != attempt:
            raise JobChanged(
                f"job {self.id} is {self.state} with attempt {self.attempts}, not running with "
                f"attempt {attempt}"
            )

    def _wait(self, due: datetime, **others: Any) -> Job:
        return attrs.evolve(
            self, state=JobState.QUEUED, due=due, last_heartbeat=None, progress=0.0, **others
        )

    def _finish(self, state: JobState, now: datetime, **others: Any) -> Job:
        return attrs.evolve(
            self, state=state, finished=now, last_heartbeat=None, cancelling=False, **others
        )
