"""Background jobs in a SQL database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, case, func, insert, select

from rebalancer.adapters.sql.rows import JOBS
from rebalancer.adapters.sql.statements import SqlStore, lock_rows, replace_row, select_latest
from rebalancer.adapters.sql.tables import jobs
from rebalancer.application.not_found import require
from rebalancer.domain.jobs.backlog import Backlog
from rebalancer.domain.jobs.job import Job, JobState

_QUEUED = jobs.alias("queued")
_EARLIER = jobs.alias("earlier")
_TURNS = (
    select(_EARLIER.c.owner, func.max(_EARLIER.c.started).label("turn"))
    .where(
        _EARLIER.c.owner.in_(
            select(_QUEUED.c.owner).where(
                _QUEUED.c.state == JobState.QUEUED.value, _QUEUED.c.owner.is_not(None)
            )
        )
    )
    .group_by(_EARLIER.c.owner)
    .subquery("turns")
)
_OPERATORS = select(func.max(_EARLIER.c.started)).where(_EARLIER.c.owner.is_(None))
_NEXT = (
    select(jobs)
    .outerjoin(_TURNS, _TURNS.c.owner == jobs.c.owner)
    .where(jobs.c.state == JobState.QUEUED.value, jobs.c.due <= bindparam("now"))
    .order_by(
        case((jobs.c.owner.is_(None), _OPERATORS.scalar_subquery()), else_=_TURNS.c.turn)
        .asc()
        .nulls_first(),
        jobs.c.due,
        jobs.c.created,
        jobs.c.id,
    )
    .limit(1)
)


class SqlJobs(SqlStore):
    def add(self, job: Job) -> None:
        self.connection.execute(insert(jobs), JOBS.to_row(job))

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        query = select(jobs).where(jobs.c.id == id)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        row = self.connection.execute(lock_rows(query) if self.locks else query).one_or_none()
        return JOBS.from_row(require(row, "job", id))

    def save(self, job: Job) -> None:
        replace_row(self.connection, jobs, JOBS.to_row(job), "job")

    def page(
        self,
        owner: UUID | None = None,
        *,
        states: frozenset[JobState] | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[Job]:
        query = select(jobs)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        page = select_latest(query, jobs, "created", before=before, limit=limit, owner=owner)
        return [JOBS.from_row(row) for row in self.connection.execute(page)]

    def next_due(self, now: datetime) -> Job | None:
        query = _NEXT.with_for_update(of=jobs, skip_locked=True) if self.locks else _NEXT
        row = self.connection.execute(query, {"now": now}).one_or_none()
        return None if row is None else JOBS.from_row(row)

    def count(self, owner: UUID, states: frozenset[JobState]) -> int:
        query = select(func.count()).where(
            jobs.c.owner == owner, jobs.c.state.in_([state.value for state in states])
        )
        return self.connection.scalar(query) or 0

    def backlog(self, now: datetime) -> Backlog:
        is_waiting = (jobs.c.state == JobState.QUEUED.value) & (jobs.c.due <= now)
        is_running = jobs.c.state == JobState.RUNNING.value
        query = (
            select(jobs.c.kind, jobs.c.state, func.count(), func.min(jobs.c.due))
            .where(is_waiting | is_running)
            .group_by(jobs.c.kind, jobs.c.state)
        )
        rows = self.connection.execute(query).all()
        waiting = [row for row in rows if row.state == JobState.QUEUED.value]
        return Backlog(
            waiting={kind: number for kind, _, number, _ in waiting},
            running={kind: number for kind, state, number, _ in rows if state == JobState.RUNNING},
            oldest=min((oldest for *_, oldest in waiting), default=None),
        )

    def overdue_or_running(
        self, *, due: datetime, latest: datetime | None = None, limit: int
    ) -> list[Job]:
        is_due = jobs.c.due < due
        if latest is not None:
            is_due |= jobs.c.due > latest
        is_overdue = (jobs.c.state == JobState.QUEUED.value) & is_due
        is_running = jobs.c.state == JobState.RUNNING.value
        query = select(jobs).where(is_overdue | is_running)
        query = query.order_by(jobs.c.due, jobs.c.id).limit(limit)
        return [JOBS.from_row(row) for row in self.connection.execute(query)]
