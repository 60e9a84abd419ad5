"""What has to be looked after every few seconds, by every process that does jobs."""

from __future__ import annotations

import logging
import threading
import time

from rebalancer.application.job_worker import RecoverJobs
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import RebalancerError, Unavailable

log = logging.getLogger("rebalancer.jobs")

EVERY = 5.0
"""Seconds from one look at the jobs to the next."""

TIDY_EVERY = 3600.0


class Maintenance:
    """A thread that recovers jobs, and tidies up now and then."""

    def __init__(
        self, recover: RecoverJobs, tidy: DeleteExpired, clock: Clock, *, every: float = EVERY
    ) -> None:
        """Begin.

        Args:
            recover: Looks after jobs.
            tidy: Forgets what is old.
            clock: What time it is.
            every: Seconds from one look to the next.
        """
        self._recover = recover
        self._tidy = tidy
        self._clock = clock
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        tidied, away = -TIDY_EVERY, False
        while True:
            try:
                self._recover()
                if time.monotonic() - tidied > TIDY_EVERY:
                    self._tidy(self._clock())
                    tidied = time.monotonic()
                away = False
            except Unavailable as error:
                if not away:
                    log.warning("jobs cannot be looked after: %s", error)
                away = True
            except RebalancerError as error:
                log.warning("jobs are looked after in a moment: %s", error)
            except Exception:
                log.exception("jobs are not looked after as they should be")
            if self._over.wait(self._every):
                return
