"""The worker process; it logs one line of JSON for each event."""

from __future__ import annotations

import logging
import logging.config
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from rebalancer.application.account_deletion import EraseAccounts
from rebalancer.application.alert_evaluation import EvaluateAlerts
from rebalancer.application.audit import current_origin
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
from rebalancer.application.ports.jobs import Worker
from rebalancer.application.ports.telemetry import Metrics
from rebalancer.application.quote_subscription import (
    HoldSubscription,
    ListQuotedAssets,
    PostTicks,
)
from rebalancer.application.service_state import MeasureService
from rebalancer.application.telemetry import NO_METRICS
from rebalancer.config import Settings
from rebalancer.domain.audit.events import Origin
from rebalancer.entrypoints.maintenance import (
    AlertEvaluation,
    MailDelivery,
    Maintenance,
    MarketSchedule,
    Measurement,
    NoticeDelivery,
    RecordKeeping,
)
from rebalancer.entrypoints.quote_subscriber import QuoteSubscriber
from rebalancer.entrypoints.server import log_config
from rebalancer.wiring.quotes import QuoteSource

if TYPE_CHECKING:
    from dishka import Container

log = logging.getLogger("rebalancer.jobs")


def work(
    settings: Settings,
    wired: Container,
    *,
    grace: float = 25.0,
    poll_interval: float = 1.0,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C.

    Args:
        settings: Log level and queue.
        wired: Container of the use cases.
        grace: Seconds that running jobs have to finish before they are released; less than most
            supervisors wait.
        poll_interval: Seconds between two polls of the store without a queue.
        started: Called once signals are handled.

    Raises:
        Unavailable: a package that the queue needs is not installed.
    """
    logging.config.dictConfig(log_config(settings.log_level))
    current_origin.set(Origin("worker"))
    worker = wired.get(Worker)

    def stop(*_: object) -> None:  # in a thread, as the interrupted code may hold the lock
        threading.Thread(target=worker.stop, name="stop").start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    recover, interval = wired.get(RecoverJobs), 5.0
    if settings.redis_url is None:
        settings_without_queue = attrs.evolve(recover.settings, redeliver_after=poll_interval)
        recover = attrs.evolve(recover, settings=settings_without_queue)
        interval = poll_interval
    others = wired.get(CollectFills), wired.get(DeleteExpired), wired.get(Clock)
    book = wired.get(BookDueFlows)
    maintenance = Maintenance(recover, *others, book_flows=book, interval=interval)
    records = RecordKeeping(
        wired.get(SealAuditTrail),
        wired.get(ExpireAuditTrail),
        wired.get(EraseAccounts),
        wired.get(Clock),
    )
    schedule = MarketSchedule(wired.get(RunSchedule))
    mail = MailDelivery(wired.get(DeliverMail)) if settings.sends_mail else None
    quotes = None
    if settings.redis_url is not None and wired.get(QuoteSource).is_on:
        # Without Redis, a server could not see what this process posts, and subscribes itself.
        quotes = QuoteSubscriber(
            wired.get(HoldSubscription),
            wired.get(ListQuotedAssets),
            wired.get(PostTicks),
            wired.get(QuoteSource).create,
        )
    notices = NoticeDelivery(wired.get(DeliverNotices))
    alerts = AlertEvaluation(wired.get(EvaluateAlerts), wired.get(WatchQuotes))
    metrics = wired.get(Metrics)
    measured = None if metrics is NO_METRICS else Measurement(wired.get(MeasureService))
    log.info("working")
    started()
    try:
        worker.run(grace=grace)
    finally:
        if measured is not None:
            measured.stop()
        if quotes is not None:
            quotes.stop()
        alerts.stop()
        notices.stop()
        if mail is not None:
            mail.stop()
        schedule.stop()
        records.stop()
        maintenance.stop()
        log.info("stopped")
