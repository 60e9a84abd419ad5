"""Stream the progress of jobs as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import attrs
import msgspec
from litestar.response import ServerSentEventMessage

from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.jobs.job import Job
from rebalancer.entrypoints.http.streams import STILL_HERE, OpenStreams, Place
from rebalancer.entrypoints.schemas.job import JobView


@attrs.define(eq=False, kw_only=True)
class JobStreams(OpenStreams):
    """The open streams of one server process.

    Args:
        poll_interval: Seconds between two reads of a job.
    """

    _poll_interval: float = 0.5

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
                if time.monotonic() - last_message >= self.heartbeat:
                    if not await is_authorized():
                        return
                    yield ServerSentEventMessage(data=None, comment=STILL_HERE)
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
