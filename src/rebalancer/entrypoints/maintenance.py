"""Periodic tasks in every process that runs jobs: maintenance, mail, and market data."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from rebalancer.application.account_deletion import EraseAccounts
from rebalancer.application.alert_evaluation import EvaluateAlerts
from rebalancer.application.audit_trail import ExpireAuditTrail, SealAuditTrail
from rebalancer.application.decisions import CollectFills
from rebalancer.application.job_worker import RecoverJobs
from rebalancer.application.live_alerts import WatchQuotes
from rebalancer.application.mail_delivery import DeliverMail
from rebalancer.application.maintenance import DeleteExpired
from rebalancer.application.market_schedule import RunSchedule
from rebalancer.application.notice_delivery import DeliverNotices
from rebalancer.application.planned_flows import BookDueFlows
from rebalancer.application.ports.clock import Clock
from rebalancer.application.resilience import OutageLog
from rebalancer.application.service_state import MeasureService
from rebalancer.domain.errors import RebalancerError

log = logging.getLogger("rebalancer.jobs")

MAIL_INTERVAL = 2.0
"""Seconds between two looks at the outbox."""

NOTICE_INTERVAL = 2.0
"""Seconds between two looks at the messages with notices."""

SCHEDULE_INTERVAL = 20.0
"""Seconds between two looks at the schedule."""


ALERTS_INTERVAL = 10.0
"""Seconds between two looks at the alerts that are due."""


MEASURE_INTERVAL = 10.0
"""Seconds between two measurements of the queue."""


class _Interruptible(Protocol):
    def __call__(self, *, should_stop: Callable[[], bool]) -> object: ...


class PeriodicTasks:
    """A thread that repeats tasks; an outage is logged once."""

    def __init__(
        self, name: str, tasks: Mapping[str, tuple[Callable[[], object], float]], *, interval: float
    ) -> None:
        """Start the thread.

        Args:
            name: Of the thread.
            tasks: By name, as the log has it: a function, and the seconds after which it is due
                again.
            interval: Seconds between two looks at the tasks.
        """
        self._interval, self._tasks = interval, dict(tasks)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after the current task."""
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


class Maintenance(PeriodicTasks):
    """A thread that recovers jobs, collects fills, books flows and deletes expired data."""

    def __init__(
        self,
        recover: RecoverJobs,
        collect_fills: CollectFills,
        delete_expired: DeleteExpired,
        clock: Clock,
        *,
        book_flows: BookDueFlows | None = None,
        interval: float = 5.0,
        book_interval: float = 60.0,
        delete_interval: float = 3600.0,
    ) -> None:
        """Start the thread; it recovers, collects, books and deletes at these intervals, in s."""
        booking: dict[str, tuple[Callable[[], object], float]] = {}
        if book_flows is not None:
            booking["book due flows"] = (lambda: book_flows(clock()), book_interval)
        super().__init__(
            "maintenance",
            {
                "recover jobs": (recover, 0.0),
                "collect fills": (lambda: collect_fills.pending(now=clock()), 0.0),
                **booking,
                "delete expired data": (lambda: delete_expired(clock()), delete_interval),
            },
            interval=interval,
        )


class RecordKeeping(PeriodicTasks):
    """A thread that seals the audit trail, expires its old parts, and erases deleted accounts."""

    def __init__(
        self,
        seal: SealAuditTrail,
        expire: ExpireAuditTrail,
        erase: EraseAccounts,
        clock: Clock,
        *,
        interval: float = 10.0,
        expire_interval: float = 3600.0,
    ) -> None:
        """Start the thread; it seals, expires and erases at these intervals, in seconds."""
        super().__init__(
            "records",
            {
                "seal the audit trail": (lambda: seal(clock()), 0.0),
                "expire the audit trail": (lambda: expire(clock()), expire_interval),
                "erase accounts": (lambda: erase(clock()), expire_interval),
            },
            interval=interval,
        )


class InterruptibleTask(PeriodicTasks):
    """A thread that repeats one task and can be interrupted."""

    def __init__(self, name: str, purpose: str, run: _Interruptible, *, interval: float) -> None:
        """Start the thread, which runs the task at this interval, in seconds."""
        self._ending = threading.Event()
        task = partial(run, should_stop=self._ending.is_set)
        super().__init__(name, {purpose: (task, 0.0)}, interval=interval)

    def stop(self) -> None:
        """Stop the thread; what is left of its task is done at the next start."""
        self._ending.set()
        super().stop()


class MarketSchedule(InterruptibleTask):
    """A thread that keeps stored market data up to date."""

    def __init__(self, run: RunSchedule, *, interval: float = SCHEDULE_INTERVAL) -> None:
        """Start the thread, which looks at the schedule at this interval, in seconds."""
        super().__init__("schedule", "run the schedule", run, interval=interval)


class AlertEvaluation(InterruptibleTask):
    """A thread that evaluates the alerts that are due, and runs automation."""

    def __init__(
        self,
        evaluate: EvaluateAlerts,
        watch: WatchQuotes,
        *,
        interval: float = ALERTS_INTERVAL,
    ) -> None:
        """Start the thread, which looks for what is due, and at quotes, at this interval."""

        def run(*, should_stop: Callable[[], bool]) -> None:
            evaluate(should_stop=should_stop)
            watch(should_stop=should_stop)

        super().__init__("alerts", "evaluate alerts", run, interval=interval)


class Measurement(PeriodicTasks):
    """A thread that measures what the stores say about the service."""

    def __init__(
        self,
        measure: MeasureService,
        *,
        interval: float = MEASURE_INTERVAL,
        slow_interval: float = 60.0,
    ) -> None:
        """Start the thread; it measures the queue, and providers and prices, at these intervals."""
        measure.begin()
        super().__init__(
            "measurement",
            {
                "measure jobs": (measure.measure_jobs, 0.0),
                "measure providers": (measure.measure_providers, slow_interval),
                "measure prices": (measure.measure_prices, slow_interval),
            },
            interval=interval,
        )


class MailDelivery(InterruptibleTask):
    """A thread that sends the mails in the outbox."""

    def __init__(self, deliver: DeliverMail, *, interval: float = MAIL_INTERVAL) -> None:
        """Start the thread, which looks at the outbox at this interval, in seconds."""
        super().__init__("mail", "send mail", deliver, interval=interval)


class NoticeDelivery(InterruptibleTask):
    """A thread that sends the messages with notices."""

    def __init__(self, deliver: DeliverNotices, *, interval: float = NOTICE_INTERVAL) -> None:
        """Start the thread, which looks for messages at this interval, in seconds."""
        super().__init__("notices", "send notices", deliver, interval=interval)
