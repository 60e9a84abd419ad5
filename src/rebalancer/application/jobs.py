"""What a user does with jobs: submit, read, list, cancel and requeue them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.ports.jobs import JobRunner
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job, JobState


@attrs.frozen
class SubmitJob:
    """Keep a job, and have it done."""

    work: UnitOfWork
    runner: JobRunner

    def __call__(
        self,
        job: Job,
        *,
        now: datetime,
        known: Callable[[Transaction], Job | None] = lambda _: None,
    ) -> Job:
        """The job as it is kept.

        Args:
            job: A new one.
            now: When.
            known: Given the transaction in which it would be kept: raises if it must not be, or
                gives the one that was kept for the same request before. That one it is then; if
                nobody took it on, it is submitted again.

        Raises:
            Unavailable: too many wait already, or the queue does not answer; the job has failed.
        """
        with self.work.begin() as tx:
            before = known(tx)
            if before is None:
                tx.jobs.add(job)
            elif before.state is JobState.FAILED and not before.attempts:
                job = before.requeue(now)
                tx.jobs.save(job)
            else:
                return before
        try:
            self.runner.submit(job)
        except Unavailable as error:
            with self.work.begin() as tx:
                job = tx.jobs.get(job.id)
                if job.state is not JobState.QUEUED:
                    return job  # it was delivered all the same
                tx.jobs.save(job.reject(str(error), now))
            raise
        return job


@attrs.frozen
class ReadJob:
    """Look at how a job goes."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID | None) -> Job:
        """The job; of anybody when the owner is None.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """
        with self.work.read() as tx:
            return tx.jobs.get(id, owner=owner)


@attrs.frozen
class ListJobs:
    """Look at jobs."""

    work: UnitOfWork

    def __call__(
        self,
        owner: UUID | None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        """The latest first; of everybody when the owner is None. See `Jobs.of`."""
        with self.work.read() as tx:
            return tx.jobs.page(owner, states=states, before=before, limit=limit)


@attrs.frozen
class CancelJob:
    """Stop a job that nobody wants any more."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID | None, now: datetime) -> Job:
        """The job: ended if it waited; if somebody does it, it ends in a moment.

        Raises:
            NotFound: there is none, or it is somebody else's.
            JobChanged: it has ended already.
        """
        with self.work.begin() as tx:
            job = tx.jobs.get(id, owner=owner).cancel(now)
            tx.jobs.save(job)
        return job


@attrs.frozen
class RequeueJob:
    """Have a job tried again that failed, is dead or was cancelled."""

    work: UnitOfWork
    runner: JobRunner

    def __call__(self, id: UUID, *, owner: UUID | None, now: datetime) -> Job:
        """The job, which waits again.

        Raises:
            NotFound: there is none, or it is somebody else's.
            JobChanged: it waits, is being done, or has succeeded.
            Unavailable: too many wait already, or the queue does not answer; it stays as it was.
        """
        with self.work.begin() as tx:
            before = tx.jobs.get(id, owner=owner)
            job = before.requeue(now)
            tx.jobs.save(job)
        try:
            self.runner.submit(job)
        except Unavailable:
            with self.work.begin() as tx:
                if tx.jobs.get(id) != job:
                    return job  # it was delivered all the same
                tx.jobs.save(before)
            raise
        return job
