"""Stream the progress of jobs as server-sent events."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from uuid import UUID

import attrs
import msgspec
from litestar.response import ServerSentEventMessage

from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.jobs.job import Job
from rebalancer.entrypoints.http.errors import TooManyRequests
from rebalancer.entrypoints.schemas.job import JobView


class Place:
    """A stream of a user that is open, or about to be.

    A stream whose client has disconnected is never iterated. So a place is also freed when nothing
    refers to it any more.
    """

    def __init__(self, free: Callable[[], None]) -> None:
        self.free = weakref.finalize(self, free)
        """Frees the place; later calls have no effect."""


@attrs.define(eq=False, kw_only=True)
class JobStreams:
    """The open streams of one server process.

    Args:
        poll_interval: Seconds between two reads of a job.
        heartbeat: Seconds without a message after which a comment keeps the connection open.
        limit: Most open streams of one user; 0: unlimited.
    """

    _poll_interval: float = 0.5
    _heartbeat: float = 15.0
    limit: int = 10
    _open: Counter[UUID] = attrs.field(factory=Counter, init=False)
    stopping: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    """Set when the server shuts down: every stream ends then."""

    def count(self, owner: UUID) -> int:
        """Return the number of open streams of a user."""
        return self._open[owner]

    def reserve(self, owner: UUID) -> Place:
        """Return a place for a stream of a user.

        A route calls this before it awaits anything for the stream: between a check and a later
        count other requests would pass.

        Raises:
            TooManyRequests: the user has as many open streams as allowed.
        """
        if self.limit and self.count(owner) >= self.limit:
            raise TooManyRequests(
                f"you already watch {self.limit} jobs; close a stream first",
                retry_after=round(self._heartbeat),
            )
        self._open[owner] += 1
        return Place(partial(self._free, owner))

    def _free(self, owner: UUID) -> None:
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner]

    async def stream(
        self,
        job: Job,
        *,
        place: Place,
        read: Callable[[], Awaitable[Job]],
        is_authorized: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[ServerSentEventMessage]:
        """Yield an event whenever a job changes, until it ends.

        Before each event and at each heartbeat, it checks that the user may still watch.
        """
        try:
            async for message in self._follow(job, read, is_authorized):
                yield message
        finally:
            place.free()

    async def _follow(
        self,
        job: Job,
        read: Callable[[], Awaitable[Job]],
        is_authorized: Callable[[], Awaitable[bool]],
    ) -> AsyncIterator[ServerSentEventMessage]:
        view = JobView.of(job)
        while not job.state.is_final:
            if not await is_authorized():
                return
            yield _event("progress", view)
            last_message = time.monotonic()
            while JobView.of(job) == view:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), self._poll_interval)
                    return
                if time.monotonic() - last_message >= self._heartbeat:
                    if not await is_authorized():
                        return
                    yield ServerSentEventMessage(data=None, comment="still here")
                    last_message = time.monotonic()
                try:
                    with suppress(Unavailable):  # retry until the store is back
                        job = await read()
                except RebalancerError:  # the job has been deleted
                    return
            view = JobView.of(job)
        if await is_authorized():
            yield _event("end", view)


def _event(name: str, view: JobView) -> ServerSentEventMessage:
    return ServerSentEventMessage(event=name, data=msgspec.json.encode(view))
