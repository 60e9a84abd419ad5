"""Work that takes longer than a request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
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
    def ended(self) -> bool:
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
        spared: How many of these do not count: whoever did it had to go, or it was requeued since.
        alive: The last sign of life from whoever does it; None while nobody does.
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
    spared: int = 0
    alive: datetime | None = None
    cancelling: bool = False
    finished: datetime | None = None

    @classmethod
    def new(
        cls, kind: str, request: Mapping[str, Any], *, id: UUID, owner: UUID | None, now: datetime
    ) -> Job:
        """One that waits to be done."""
        return cls(id, owner, kind, request, JobState.QUEUED, created=now, due=now)

    def begun(self, now: datetime) -> Job:
        """Somebody does it now.

        Raises:
            JobChanged: it does not wait, or not yet.
        """
        if self.state is not JobState.QUEUED or now < self.due:
            raise JobChanged(f"job {self.id} is {self.state}")
        return attrs.evolve(
            self, state=JobState.RUNNING, attempts=self.attempts + 1, alive=now, progress=0.0
        )

    def heard(self, now: datetime, *, attempt: int, progress: float | None = None) -> Job:
        """Whoever does it for the n-th time is at it still.

        Raises:
            JobChanged: nobody does, or somebody else for another time.
        """
        self._check_doing(attempt)
        share = self.progress if progress is None else min(max(progress, 0.0), 1.0)
        return attrs.evolve(self, alive=now, progress=share)

    def succeeded(self, result: Mapping[str, Any], now: datetime, *, attempt: int) -> Job:
        """It is done.

        Raises:
            JobChanged: as `heard`.
        """
        self._check_doing(attempt)
        return self._ended(JobState.SUCCEEDED, now, progress=1.0, result=result, error=None)

    def failed(self, why: str, now: datetime, *, attempt: int) -> Job:
        """It cannot be done.

        Raises:
            JobChanged: as `heard`.
        """
        self._check_doing(attempt)
        return self._ended(JobState.FAILED, now, error=why)

    def refused(self, why: str, now: datetime) -> Job:
        """Nobody takes it on.

        Raises:
            JobChanged: it does not wait.
        """
        if self.state is not JobState.QUEUED:
            raise JobChanged(f"job {self.id} is {self.state}")
        return self._ended(JobState.FAILED, now, error=why)

    def given_up(self, why: str, now: datetime, *, attempt: int, most: int) -> Job:
        """It was not done this time: it waits to be tried again, or is dead after ``most`` times.

        Raises:
            JobChanged: as `heard`.
        """
        self._check_doing(attempt)
        if self.cancelling:
            return self._ended(JobState.CANCELLED, now)
        tried = self.attempts - self.spared
        if tried >= most:
            return self._ended(JobState.DEAD, now, error=why)
        pause = min(FIRST_PAUSE * 2 ** min(tried - 1, _DOUBLINGS), LONGEST_PAUSE)
        return attrs.evolve(
            self, state=JobState.QUEUED, due=now + pause, error=why, alive=None, progress=0.0
        )

    def put_back(self, now: datetime, *, attempt: int) -> Job:
        """Whoever does it has to go: somebody else does it, and this attempt does not count.

        Raises:
            JobChanged: as `heard`.
        """
        self._check_doing(attempt)
        if self.cancelling:
            return self._ended(JobState.CANCELLED, now)
        spared = self.spared + 1
        return attrs.evolve(
            self, state=JobState.QUEUED, due=now, spared=spared, alive=None, progress=0.0
        )

    def cancelled(self, now: datetime) -> Job:
        """Nobody wants it any more: it ends if it waits, and whoever does it is told.

        Raises:
            JobChanged: it has ended already.
        """
        if self.state is JobState.QUEUED:
            return self._ended(JobState.CANCELLED, now)
        if self.state is not JobState.RUNNING:
            raise JobChanged(f"job {self.id} is {self.state} already")
        return attrs.evolve(self, cancelling=True)

    def requeued(self, now: datetime) -> Job:
        """It is to be tried again, from the start.

        Raises:
            JobChanged: it waits or is done, so that there is nothing to try again.
        """
        if self.state not in (JobState.DEAD, JobState.FAILED, JobState.CANCELLED):
            raise JobChanged(f"job {self.id} is {self.state}: there is nothing to try again")
        fresh = Job.new(self.kind, self.request, id=self.id, owner=self.owner, now=self.created)
        return attrs.evolve(fresh, due=now, attempts=self.attempts, spared=self.attempts)

    def _check_doing(self, attempt: int) -> None:
        if self.state is not JobState.RUNNING or self.attempts != attempt:
            raise JobChanged(f"job {self.id} is {self.state}, tried {self.attempts} times")

    def _ended(self, state: JobState, now: datetime, **others: Any) -> Job:
        return attrs.evolve(self, state=state, finished=now, alive=None, cancelling=False, **others)


class Jobs(Protocol):
    """Work that takes longer than a request.

    In a block that writes, a job that was read is held until the block ends: nobody else changes it
    meanwhile.
    """

    def add(self, job: Job) -> None:
        """Keep a new job."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        """The job of this id; of anybody when None.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """

    def save(self, job: Job) -> None:
        """Replace a job.

        Raises:
            NotFound: there is none of this id.
        """

    def of(
        self,
        owner: UUID | None = None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        """Jobs of an owner, or of everybody when None, the latest first, from ``before`` on.

        Args:
            owner: Whose.
            states: Only those that stand here; wherever when None.
            before: The last one that is known already.
            limit: At most so many.
        """

    def stranded(self, *, due: datetime, limit: int) -> list[Job]:
        """Jobs that somebody may have to care for, the oldest first.

        They wait though they were due before ``due``, or somebody does them, dead or alive.
        """


class JobRunner(Protocol):
    """Who sees to it that jobs are done."""

    def submit(self, job: Job) -> None:
        """Have a kept job that waits begun once it is due, after those that came before.

        It is no error if the same attempt was submitted already. Whoever does it must begin it in
        the store, which lets only one begin.

        Raises:
            Unavailable: too many wait already, or the queue does not answer.
        """


class Worker(Protocol):
    """Does jobs until it is told to stop."""

    def run(self, *, grace: float) -> None:
        """Take jobs and have them done; back once it was told to stop and none runs any more.

        Args:
            grace: Seconds that those that run then may go on before they are put back.
        """

    def stop(self) -> None:
        """Take no more jobs, and let `run` come to its end; from any thread, at any time."""
