"""Jobs in this process: the embedded default."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from uuid import UUID

from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job

log = logging.getLogger("rebalancer.jobs")


class InProcessJobs:
    """A few jobs at a time, in the order in which they were submitted."""

    def __init__(
        self,
        do: Callable[[UUID], Job | None],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        at_once: int = 1,
        waiting: int = 100,
    ) -> None:
        """Start with nothing to do.

        Args:
            do: Does one job, and gives it back if it is to be delivered again; what it raises is
                logged.
            clock: What time it is.
            at_once: How many run side by side.
            waiting: How many more may wait.
        """
        self._do = do
        self._clock = clock
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="job")
        self._most = at_once + waiting
        self._known: dict[tuple[UUID, datetime], threading.Timer | None] = {}
        self._running: set[Future[Job | None]] = set()
        # What ends before we have asked to be told calls `_done` in the midst of `_begin`.
        self._lock = threading.RLock()
        self._closed = False

    def submit(self, job: Job) -> None:
        """See `JobRunner.submit`."""
        delivery = (job.id, job.due)
        with self._lock:
            if delivery in self._known:
                return
            if self._closed or len(self._known) >= self._most:
                raise Unavailable("too many jobs are waiting; try again in a minute")
            early = (job.due - self._clock()).total_seconds()
            if early <= 0:
                self._known[delivery] = None
                self._begin(delivery)
                return
            timer = threading.Timer(early, self._due, [delivery])
            timer.daemon = True
            self._known[delivery] = timer
            timer.start()

    def _due(self, delivery: tuple[UUID, datetime]) -> None:
        with self._lock:
            if not self._closed:
                self._known[delivery] = None
                self._begin(delivery)

    def _begin(self, delivery: tuple[UUID, datetime]) -> None:
        future = self._pool.submit(self._do, delivery[0])
        self._running.add(future)
        future.add_done_callback(lambda done: self._done(delivery, done))

    def _done(self, delivery: tuple[UUID, datetime], future: Future[Job | None]) -> None:
        with self._lock:
            self._known.pop(delivery, None)
            self._running.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, Unavailable):
            log.warning("job %s waits: %s", delivery[0], error)
            return
        if error is not None:
            log.error("a job could not be done", exc_info=error)
            return
        again = future.result()
        if again is not None:
            try:
                self.submit(again)
            except Unavailable:
                log.info("job %s waits until there is room", again.id)

    def close(self, stop: Callable[[], None] = lambda: None, *, grace: float = 0.0) -> None:
        """Begin nothing more, and leave what waits in the store.

        Args:
            stop: Has what runs stop; else it is done to the end.
            grace: Seconds that it may go on before.
        """
        with self._lock:
            self._closed = True
            timers = [timer for timer in self._known.values() if timer is not None]
        for timer in timers:
            timer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = [future for future in self._running if not future.done()]
        wait(running, timeout=grace)
        stop()
        self._pool.shutdown(wait=True)


class InProcessWorker:
    """Does what waits in the store, for want of a queue; whoever recovers jobs finds it there."""

    def __init__(self, jobs: InProcessJobs, stop: Callable[[], None]) -> None:
        """Prepare to work.

        Args:
            jobs: Where they run.
            stop: Has those that run put back.
        """
        self._jobs = jobs
        self._stop = stop
        self._told = threading.Event()

    def run(self, *, grace: float) -> None:
        """See `Worker.run`."""
        self._told.wait()
        self._jobs.close(self._stop, grace=grace)

    def stop(self) -> None:
        """See `Worker.stop`."""
        self._told.set()
