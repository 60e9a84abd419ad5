"""Where jobs are stored, and who delivers and runs them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from rebalancer.domain.jobs.job import Job, JobState


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

    def page(
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

    def overdue_or_running(self, *, due: datetime, limit: int) -> list[Job]:
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
