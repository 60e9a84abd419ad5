"""Periodic maintenance in every process that runs jobs."""

from __future__ import annotations

import logging
import threading
import time

from rebalancer.application.job_worker import RecoverJobs
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.ports.clock import Clock
from rebalancer.application.resilience import OutageLog
from rebalancer.domain.errors import RebalancerError

log = logging.getLogger("rebalancer.jobs")


class Maintenance:
    """A thread that recovers jobs and deletes expired data."""

    def __init__(
        self,
        recover: RecoverJobs,
        delete_expired: DeleteExpired,
        clock: Clock,
        *,
        interval: float = 5.0,
        delete_interval: float = 3600.0,
    ) -> None:
        """Start the thread; it recovers and deletes at these intervals, in seconds."""
        self._recover, self._delete_expired, self._clock = recover, delete_expired, clock
        self._interval, self._delete_interval = interval, delete_interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        outage = OutageLog(log, "jobs cannot be recovered", "jobs can be recovered again")
        next_deletion = float("-inf")
        while True:
            try:
                self._recover()
                if time.monotonic() >= next_deletion:
                    self._delete_expired(self._clock())
                    next_deletion = time.monotonic() + self._delete_interval
                outage.succeeded()
            except RebalancerError as error:
                outage.failed(error)
            except Exception:
                log.exception("maintenance failed")
            if self._stopped.wait(self._interval):
                return
