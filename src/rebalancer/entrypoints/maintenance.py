"""Periodic maintenance in every process that runs jobs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from rebalancer.application.decisions import CollectFills
from rebalancer.application.job_worker import RecoverJobs
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.ports.clock import Clock
from rebalancer.application.resilience import OutageLog
from rebalancer.domain.errors import RebalancerError

log = logging.getLogger("rebalancer.jobs")


class Maintenance:
    """A thread that recovers jobs, collects fills and deletes expired data."""

    def __init__(
        self,
        recover: RecoverJobs,
        collect_fills: CollectFills,
        delete_expired: DeleteExpired,
        clock: Clock,
        *,
        interval: float = 5.0,
        delete_interval: float = 3600.0,
    ) -> None:
        """Start the thread; it recovers, collects and deletes at these intervals, in seconds."""
        self._interval = interval
        self._tasks: dict[str, tuple[Callable[[], object], float]] = {
            "recover jobs": (recover, 0.0),
            "collect fills": (lambda: collect_fills.pending(now=clock()), 0.0),
            "delete expired data": (lambda: delete_expired(clock()), delete_interval),
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="maintenance", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        outages = {
            name: OutageLog(log, f"cannot {name}", f"can {name} again") for name in self._tasks
        }
        next_run = dict.fromkeys(self._tasks, float("-inf"))
        while True:
            for name, (task, interval) in self._tasks.items():
                if time.monotonic() < next_run[name]:
                    continue
                try:
                    task()
                    next_run[name] = time.monotonic() + interval
                    outages[name].succeeded()
                except RebalancerError as error:
                    outages[name].failed(error)
                except Exception:
                    log.exception("maintenance failed to %s", name)
            if self._stopped.wait(self._interval):
                return
