"""Jobs in threads of this process: the embedded default."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from uuid import UUID

from rebalancer.domain.errors import Unavailable

log = logging.getLogger("rebalancer.jobs")


class InProcessJobs:
    """A few jobs at a time, in the order in which they were submitted."""

    def __init__(self, do: Callable[[UUID], None], *, at_once: int = 1, waiting: int = 100) -> None:
        """Start with nothing to do.

        Args:
            do: Does one job, and records how it went; what it raises is logged.
            at_once: How many run side by side.
            waiting: How many more may wait.
        """
        self._do = do
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="job")
        self._room = BoundedSemaphore(at_once + waiting)

    def submit(self, job: UUID) -> None:
        """See `JobRunner.submit`."""
        if not self._room.acquire(blocking=False):
            raise Unavailable("too many jobs are waiting; try again in a minute")
        future = self._pool.submit(self._do, job)
        future.add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        self._room.release()
        error = None if future.cancelled() else future.exception()
        if error is not None:
            log.error("a job failed", exc_info=error)

    def close(self) -> None:
        """Finish what runs, and drop what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)
