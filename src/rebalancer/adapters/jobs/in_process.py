"""Jobs in this process: the default without a queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from uuid import UUID

import attrs

from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job

log = logging.getLogger("rebalancer.jobs")


_Delivery = tuple[UUID, datetime]
"""Id of a job, and when it is due."""


@attrs.define(eq=False, kw_only=True)
class InProcessJobs:
    """Runs a few jobs at a time; each delivery runs the one that is next in the store.

    Args:
        claim: Runs a job for a delivery; returns a job that must be delivered again. Its errors
            are logged.
        clock: Current time.
        at_once: Maximum number of jobs that run in parallel.
        waiting: Maximum number of further deliveries; more are dropped, since those that wait run
            the same jobs, and are delivered again later.
        pool: Runs the jobs; by default in threads.
    """

    _claim: Callable[[UUID], Job | None] = attrs.field(kw_only=False)
    _clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _at_once: int = 1
    _waiting: int = 100
    _pool: Executor = attrs.field()
    _deliveries: dict[_Delivery, threading.Timer | None] = attrs.field(factory=dict, init=False)
    _running: set[Future[Job | None]] = attrs.field(factory=set, init=False)
    # Reentrant: a future that is already done calls `_finish` inside `_start`.
    _lock: threading.RLock = attrs.field(factory=threading.RLock, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    @_pool.default
    def _make_pool(self) -> Executor:
        return ThreadPoolExecutor(self._at_once, thread_name_prefix="job")

    def submit(self, job: Job) -> None:
        delivery = (job.id, job.due)
        with self._lock:
            if delivery in self._deliveries:
                return
            if self._closed:
                raise Unavailable("the server is stopping; try again", code="job_queue_closed")
            if len(self._deliveries) >= self._at_once + self._waiting:
                return
            self._deliveries[delivery] = None
            early = (job.due - self._clock()).total_seconds()
            if early <= 0:
                self._start(delivery)
            else:
                timer = threading.Timer(early, self._start, [delivery])
                timer.daemon = True
                self._deliveries[delivery] = timer
                timer.start()

    def close(self, stop: Callable[[], None] = lambda: None, *, grace: float = 0.0) -> None:
        """Start no more jobs, and leave the waiting ones in the store.

        Args:
            stop: Releases the running jobs; without it they finish.
            grace: Seconds that running jobs have before.
        """
        with self._lock:
            self._closed = True
            timers = [timer for timer in self._deliveries.values() if timer is not None]
        for timer in timers:
            timer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = [future for future in self._running if not future.done()]
        wait(running, timeout=grace)
        stop()
        self._pool.shutdown(wait=True)

    def _start(self, delivery: _Delivery) -> None:
        with self._lock:
            if self._closed:
                return
            self._deliveries[delivery] = None
            future = self._pool.submit(self._claim, delivery[0])
            self._running.add(future)
            future.add_done_callback(lambda done: self._finish(delivery, done))

    def _finish(self, delivery: _Delivery, future: Future[Job | None]) -> None:
        with self._lock:
            self._deliveries.pop(delivery, None)
            self._running.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, Unavailable):
            log.warning("job %s waits: %s", delivery[0], error)
        elif error is not None:
            log.error("job %s could not be claimed", delivery[0], exc_info=error)
        elif (again := future.result()) is not None:
            try:
                self.submit(again)
            except Unavailable:
                log.info("job %s waits until the queue has room", again.id)


class InProcessWorker:
    """Runs jobs without a queue; `RecoverJobs` finds them in the store and submits them."""

    def __init__(self, jobs: InProcessJobs, stop: Callable[[], None]) -> None:
        """Create the worker; ``stop`` releases the running jobs."""
        self._jobs, self._stop = jobs, stop
        self._stopped = threading.Event()

    def run(self, *, grace: float) -> None:
        self._stopped.wait()
        self._jobs.close(self._stop, grace=grace)

    def stop(self) -> None:
        self._stopped.set()
