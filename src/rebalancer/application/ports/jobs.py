"""Ports of the job system: the store, the queue and the worker."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.jobs.backlog import Backlog
from rebalancer.domain.jobs.job import Job, JobState


class Jobs(Protocol):
    """Store of jobs.

    A job that is read in a writing transaction is locked until the transaction ends.
    """

    def add(self, job: Job) -> None:
        """Store a new job."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        """Return a job of an owner, or of any owner when None.

        Raises:
            NotFound: the job does not exist, or belongs to another user.
        """

    def save(self, job: Job) -> None:
        """Replace a stored job.

        Raises:
            NotFound: no job has this id.
        """

    def page(
        self,
        owner: UUID | None = None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        """Return jobs of an owner and of some states, newest first, after the job ``before``.

        None stands for any owner, and for all states.
        """

    def next_due(self, now: datetime) -> Job | None:
        """Return the queued job to start next; None if none is due.

        Owners take turns: the job is of the owner whose latest start was longest ago, and the
        oldest of that owner. Jobs of operators have one turn together. In a writing transaction
        the job is locked, and jobs that others have locked are passed over.
        """

    def count(self, owner: UUID, states: frozenset[JobState]) -> int:
        """Return the number of an owner's jobs in some states."""

    def backlog(self, now: datetime) -> Backlog:
        """Return the numbers of jobs of all accounts that are due at a time or run."""

    def overdue_or_running(
        self, *, due: datetime, latest: datetime | None = None, limit: int
    ) -> list[Job]:
        """Return queued jobs due before ``due``, and all running jobs, oldest first.

        With ``latest`` also queued jobs due after it.
        """


class JobRunner(Protocol):
    """Delivers queued jobs to workers."""

    def submit(self, job: Job) -> None:
        """Deliver a stored, queued job once it is due, in order of submission.

        Submitting the same attempt twice is not an error. Each delivery makes a worker start one
        job: the one that is next in the store, see `Jobs.next_due`, which lets only one worker
        start an attempt. A delivery may be lost; `RecoverJobs` repeats it.

        Raises:
            Unavailable: the queue is closed or does not answer.
        """


class Worker(Protocol):
    """Takes jobs from a queue until it is stopped."""

    def run(self, *, grace: float) -> None:
        """Take and run jobs; return after `stop`, once no job runs.

        Jobs that still run ``grace`` seconds after `stop` are released.
        """

    def stop(self) -> None:
        """Make `run` return; callable from any thread at any time."""
