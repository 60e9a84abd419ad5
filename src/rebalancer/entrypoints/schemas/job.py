"""A background job, in responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from rebalancer.domain.jobs.job import JobState
from rebalancer.entrypoints.schemas.wire import View, about


class JobView(View, frozen=True, kw_only=True):
    """A background job: its progress, then its result."""

    id: UUID
    kind: str
    state: JobState
    progress: Annotated[float, Meta(ge=0, le=1)]
    attempts: Annotated[int, Meta(ge=0, description="How often it was started.")]
    cancelling: Annotated[bool, about("Whether it is about to stop.")]
    created: datetime
    due: Annotated[datetime, about("Earliest start; moved to a later time after each failure.")]
    finished: datetime | None
    request: dict[str, Any]
    result: dict[str, Any] | None
    error: Annotated[str | None, about("Why the last attempt failed.")]


class JobEvent(View, frozen=True, kw_only=True):
    """A server-sent event about a job."""

    event: Literal["progress", "end"]
    data: Annotated[str, about("The job, as GET /api/jobs/{id} returns it.")]
