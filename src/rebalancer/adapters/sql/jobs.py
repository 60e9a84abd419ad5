"""Background jobs in a SQL database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import attrs
from sqlalchemy import Connection, insert, select, tuple_

from rebalancer.adapters.sql.rows import job_of, job_row
from rebalancer.adapters.sql.statements import lock_rows, replace_row, require_row
from rebalancer.adapters.sql.tables import jobs
from rebalancer.domain.jobs.job import Job, JobState


@attrs.frozen
class SqlJobs:
    """See `Jobs`.

    Attributes:
        connection: In a transaction.
        locks: Whether a job that is read stays locked until the transaction ends.
    """

    connection: Connection
    locks: bool = False

    def add(self, job: Job) -> None:
        self.connection.execute(insert(jobs), job_row(job))

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        query = select(jobs).where(jobs.c.id == id)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return job_of(require_row(row, "job", id))

    def save(self, job: Job) -> None:
        replace_row(self.connection, jobs, job_row(job), "job")

    def page(
        self,
        owner: UUID | None = None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        query = select(jobs)
        cursor = jobs.alias("cursor")
        start = select(cursor.c.created, cursor.c.id).where(cursor.c.id == before)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
            start = start.where(cursor.c.owner == owner)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if before is not None:
            query = query.where(tuple_(jobs.c.created, jobs.c.id) < start.scalar_subquery())
        query = query.order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)
        return [job_of(row) for row in self.connection.execute(query)]

    def overdue_or_running(self, *, due: datetime, limit: int) -> list[Job]:
        is_overdue = (jobs.c.state == JobState.QUEUED.value) & (jobs.c.due < due)
        is_running = jobs.c.state == JobState.RUNNING.value
        query = select(jobs).where(is_overdue | is_running)
        query = query.order_by(jobs.c.due, jobs.c.id).limit(limit)
        return [job_of(row) for row in self.connection.execute(query)]
