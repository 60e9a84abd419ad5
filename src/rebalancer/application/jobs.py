"""What a user does with jobs: submit, read, list, cancel and requeue them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.accounts import load_account
from rebalancer.application.idempotency import ClientRequest, find_earlier_result
from rebalancer.application.ports.jobs import JobRunner
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.trace_context import traceparent
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.jobs.job import Job, JobState


@attrs.frozen
class SubmitJob:
    """Store a new job and submit it to the queue."""

    work: UnitOfWork
    runner: JobRunner
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        job: Job,
        *,
        now: datetime,
        existing: Callable[[Transaction], Job | None] = lambda _: None,
    ) -> Job:
        """Return the stored job, which continues the current trace.

        Args:
            job: New job.
            now: Current time.
            existing: Called in the transaction that stores the job. It raises if the job must not
                be stored, or returns the job of an earlier equal request. That job is returned
                instead; if the queue did not accept it then, it is submitted again.

        Raises:
            Unavailable: the queue is full or does not answer; the job has failed.
        """
        job = attrs.evolve(job, trace=traceparent())
        with self.work.begin() as tx:
            before = existing(tx)
            if before is None:
                tx.jobs.add(job)
            elif before.state is JobState.FAILED and not before.attempts:
                job = before.requeue(now)
                tx.jobs.save(job)
            else:
                return before
        return _submit(self, job, lambda stored, error: stored.reject(error, now))

    def once(
        self, job: Job, *, owner: UUID, key: str | None, fingerprint: str, now: datetime
    ) -> tuple[Job, bool]:
        """Submit a job of a user, and return it and whether the same request had submitted it.

        Args:
            job: New job.
            owner: The user.
            key: The user's idempotency key; None without one.
            fingerprint: Of the request, see `rebalancer.application.idempotency.fingerprint`.
            now: Current time.

        Raises:
            NotAuthenticated: the owner's account no longer exists.
            QuotaReached: the owner has too many unfinished jobs.
            DailyQuotaReached: the owner has stored too much today.
            Conflict: the key belongs to another request.
            Unavailable: as on a call.
        """

        def find_earlier(tx: Transaction) -> Job | None:
            load_account(tx, owner)
            before = find_earlier_result(tx, owner, key, fingerprint)
            if before is not None:
                return tx.jobs.get(before, owner=owner)
            self.quotas.check_jobs(tx, owner)
            self.quotas.take_bytes(tx, owner, len(json.dumps(job.request)), now)
            if key is not None:
                tx.keys.add(IdempotencyKey(owner, key, fingerprint, result=job.id, created=now))
            return None

        submitted = self(job, now=now, existing=find_earlier)
        return submitted, submitted.id != job.id


@attrs.frozen
class ReadJob:
    """Read a job."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID | None) -> Job:
        """Return a job of an owner, or of any owner when None.

        Raises:
            NotFound: the job does not exist, or belongs to another user.
        """
        with self.work.read() as tx:
            return tx.jobs.get(id, owner=owner)


@attrs.frozen
class ListJobs:
    """List jobs."""

    work: UnitOfWork

    def __call__(
        self,
        owner: UUID | None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        """Return a page of jobs, newest first; see `Jobs.page`."""
        with self.work.read() as tx:
            return tx.jobs.page(owner, states=states, before=before, limit=limit)


@attrs.frozen
class CancelJob:
    """Cancel a job."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID | None, now: datetime) -> Job:
        """Return the job: cancelled if it was queued; a running job stops within seconds.

        Raises:
            NotFound: the job does not exist, or belongs to another user.
            JobChanged: the job is in a final state.
        """
        with self.work.begin() as tx:
            job = tx.jobs.get(id, owner=owner).cancel(now)
            tx.jobs.save(job)
        return job

    def once(
        self, id: UUID, *, owner: UUID, request: ClientRequest | None, now: datetime
    ) -> tuple[Job, bool]:
        """Cancel a job, and return it and whether the same request had cancelled it before.

        Raises:
            Conflict: the key belongs to another request.
            As on a call.
        """
        return _once(self, id, owner, request, now)


@attrs.frozen
class RequeueJob:
    """Queue a failed, dead or cancelled job again."""

    work: UnitOfWork
    runner: JobRunner

    def __call__(self, id: UUID, *, owner: UUID | None, now: datetime) -> Job:
        """Return the queued job.

        Raises:
            NotFound: the job does not exist, or belongs to another user.
            JobChanged: the job is queued, runs or has succeeded.
            Unavailable: the queue is full or does not answer; the job is unchanged.
        """
        with self.work.begin() as tx:
            before = tx.jobs.get(id, owner=owner)
            job = before.requeue(now)
            tx.jobs.save(job)
        return _submit(self, job, lambda stored, error: before)

    def once(
        self, id: UUID, *, owner: UUID, request: ClientRequest | None, now: datetime
    ) -> tuple[Job, bool]:
        """Queue a job again, and return it and whether the same request had queued it before.

        Raises:
            Conflict: the key belongs to another request.
            As on a call.
        """
        return _once(self, id, owner, request, now)


def _once(
    case: CancelJob | RequeueJob,
    id: UUID,
    owner: UUID,
    request: ClientRequest | None,
    now: datetime,
) -> tuple[Job, bool]:
    """Change a job unless the same request has changed it.

    The result is stored afterwards: a change that is repeated in between is refused, since the job
    is no longer in the state that it needs.
    """
    if request is None:
        return case(id, owner=owner, now=now), False
    with case.work.read() as tx:
        job = tx.jobs.get(id, owner=owner)
        if request.earlier_result(tx, owner) is not None:
            return job, True
    job = case(id, owner=owner, now=now)
    with case.work.begin() as tx:
        request.store_result(tx, owner, id, now)
    return job, False


def _submit(case: SubmitJob | RequeueJob, job: Job, undo: Callable[[Job, str], Job]) -> Job:
    """Submit a stored job; undo its last change if the queue does not accept it."""
    try:
        case.runner.submit(job)
    except Unavailable as error:
        with case.work.begin() as tx:
            stored = tx.jobs.get(job.id)
            if (stored.state, stored.attempts) != (job.state, job.attempts):
                return stored  # the queue delivered it before the error
            tx.jobs.save(undo(stored, error.message))
        raise
    return job
