"""Jobs in this process: the default without a queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from uuid import UUID

from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job

log = logging.getLogger("rebalancer.jobs")


class InProcessJobs:
    """Runs a few jobs at a time, in order of submission."""

    def __init__(
        self,
        claim: Callable[[UUID], Job | None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        at_once: int = 1,
        waiting: int = 100,
        pool: Executor | None = None,
    ) -> None:
        """Create the queue.

        Args:
            claim: Runs a job; returns it if it must be delivered again. Its errors are logged.
            clock: Current time.
            at_once: Maximum number of jobs that run in parallel.
            waiting: Maximum number of further jobs.
            pool: Runs the jobs; None: threads.
        """
        self._claim, self._clock = claim, clock
        self._pool = pool or ThreadPoolExecutor(at_once, thread_name_prefix="job")
        self._capacity = at_once + waiting
        self._deliveries: dict[tuple[UUID, datetime], threading.Timer | None] = {}
        self._running: set[Future[Job | None]] = set()
        # Reentrant: a future that is already done calls `_finish` inside `_start`.
        self._lock = threading.RLock()
        self._closed = False

    def submit(self, job: Job) -> None:
        delivery = (job.id, job.due)
        with self._lock:
            if delivery in self._deliveries:
                return
            if self._closed or len(self._deliveries) >= self._capacity:
                raise Unavailable(
                    "too many jobs are waiting; try again in a minute", code="job_queue_full"
                )
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

    def _start(self, delivery: tuple[UUID, datetime]) -> None:
        with self._lock:
            if self._closed:
                return
            self._deliveries[delivery] = None
            future = self._pool.submit(self._claim, delivery[0])
            self._running.add(future)
            future.add_done_callback(lambda done: self._finish(delivery, done))

    def _finish(self, delivery: tuple[UUID, datetime], future: Future[Job | None]) -> None:
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
