"""Whoever does jobs, as a process that runs: one line of JSON for whatever happens."""

from __future__ import annotations

import logging
import logging.config
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from rebalancer.application.job_worker import JobSettings, RecoverJobs
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.jobs import JobRunner, Worker
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.config import Settings
from rebalancer.entrypoints.maintenance import Maintenance
from rebalancer.entrypoints.server import log_config

if TYPE_CHECKING:
    from dishka import Container

GRACE = 25.0
"""Seconds that jobs may go on once the worker was told to stop; less than most who tell it wait."""

SOON = 1.0
"""Seconds after which a job that waits is taken where no queue delivers it."""

log = logging.getLogger("rebalancer.jobs")


def work(
    settings: Settings,
    wired: Container,
    *,
    grace: float = GRACE,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Do jobs until a signal says to stop.

    Args:
        settings: How it logs, and whether there is a queue.
        wired: Where use cases come from.
        grace: Seconds that what runs then may go on before it is put back.
        started: Told once signals are heeded.

    Raises:
        Unavailable: a package that the queue needs is not installed.
    """
    logging.config.dictConfig(log_config(settings.log_level))
    worker = wired.get(Worker)

    def stop(*_: object) -> None:  # in a thread, as a signal may come while the lock is held
        threading.Thread(target=worker.stop, name="stop").start()

    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, stop)
    recover, every = wired.get(RecoverJobs), 5.0
    if settings.redis_url is None:
        care = attrs.evolve(wired.get(JobSettings), redeliver_after=SOON)
        parts = (wired.get(UnitOfWork), wired.get(JobRunner), wired.get(Clock))
        recover, every = RecoverJobs(*parts, care), SOON
    upkeep = Maintenance(recover, wired.get(DeleteExpired), wired.get(Clock), every=every)
    log.info("working")
    started()
    try:
        worker.run(grace=grace)
    finally:
        upkeep.stop()
        log.info("stopped")
