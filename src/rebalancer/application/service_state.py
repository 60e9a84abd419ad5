"""Measure what the stores say about the service: its queue, batches, providers and prices."""

from __future__ import annotations

from datetime import UTC, datetime, time

import attrs

from rebalancer.application import metrics as catalog
from rebalancer.application.job_worker import JobKinds
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.ports.telemetry import Metrics
from rebalancer.application.provider_status import DescribeProviders
from rebalancer.domain.alerts.settings import AlertKind
from rebalancer.domain.jobs.batch_run import BatchRun
from rebalancer.domain.jobs.job import JobState
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin


@attrs.frozen
class MeasureService:
    """Set the gauges whose values are in the stores.

    Every process that measures finds the same values, and the latest count. Each measurement raises
    Unavailable if a store does not answer; its gauges then keep their values.
    """

    work: UnitOfWork
    prices: PriceSource
    providers: DescribeProviders
    kinds: JobKinds
    clock: Clock
    metrics: Metrics

    def begin(self) -> None:
        """Begin counters at 0, so that the first event of a kind is an increase."""
        ends = [state.value for state in JobState if state is not JobState.RUNNING]
        for kind in self.kinds:
            for outcome in ends:
                self.metrics.add(catalog.JOB_ATTEMPTS, kind, outcome, amount=0)
        for origin in catalog.REQUESTED, *ProposalOrigin:
            self.metrics.add(catalog.PROPOSALS, origin, amount=0)
        for alert in AlertKind:
            self.metrics.add(catalog.ALERTS, alert.value, amount=0)

    def measure_jobs(self) -> None:
        """Measure the queue and the latest batch."""
        now = self.clock()
        with self.work.read() as tx:
            backlog, run = tx.jobs.backlog(now), tx.runs.latest()
        for kind in sorted({*self.kinds, *backlog.waiting, *backlog.running}):
            self.metrics.set(catalog.JOBS_WAITING, backlog.waiting.get(kind, 0), kind)
            self.metrics.set(catalog.JOBS_RUNNING, backlog.running.get(kind, 0), kind)
        wait = 0.0 if backlog.oldest is None else (now - backlog.oldest).total_seconds()
        self.metrics.set(catalog.JOB_LONGEST_WAIT, max(wait, 0.0))
        self._measure_batch(run)
        self.metrics.set(catalog.MEASURED, now.timestamp())

    def _measure_batch(self, run: BatchRun | None) -> None:
        counts = (0, 0, 0) if run is None else (run.proposed, run.nothing, run.failed)
        for outcome, portfolios in zip(catalog.BATCH_OUTCOMES, counts, strict=True):
            self.metrics.set(catalog.BATCH_PORTFOLIOS, portfolios, outcome)
        self.metrics.set(catalog.BATCH_CHUNKS_LEFT, 0 if run is None else run.chunks - run.done)
        if run is not None:
            self.metrics.set(catalog.BATCH_STARTED, run.started.timestamp())

    def measure_providers(self) -> None:
        """Measure quotas of providers, and how old their answers are."""
        for one in self.providers():
            if one.ready:
                self.metrics.add(catalog.PROVIDER_REQUESTS, one.name, "answered", amount=0)
            if one.ready and one.quota is not None and one.quota_left is not None:
                self.metrics.set(catalog.PROVIDER_QUOTA, one.quota, one.name)
                self.metrics.set(catalog.PROVIDER_QUOTA_LEFT, one.quota_left, one.name)
            if one.last_success is not None:
                answered = one.last_success.timestamp()
                self.metrics.set(catalog.PROVIDER_ANSWERED, answered, one.name)

    def measure_prices(self) -> None:
        """Measure how old the newest closes are.

        Raises:
            PricesUnavailable: there are no prices.
        """
        day = self.prices.closes(days=1).last_date
        begins = datetime.combine(day, time(), UTC)
        self.metrics.set(catalog.NEWEST_CLOSE, begins.timestamp())
