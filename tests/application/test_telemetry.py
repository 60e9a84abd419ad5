"""What use cases measure, and how jobs continue the trace of a request."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import attrs
import pytest

from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.memory.telemetry import MemoryMetrics, MemoryTracer
from rebalancer.application.job_worker import Handlers, JobKinds, JobSettings, RecoverJobs, RunJob
from rebalancer.application.jobs import RequeueJob, SubmitJob
from rebalancer.application.provider_status import ProviderStatus
from rebalancer.application.service_state import MeasureService
from rebalancer.application.telemetry import NO_TRACER, TracedWork
from rebalancer.application.trace_context import current_trace, following
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.jobs.job import JobState
from tests import builders
from tests.contracts.stores import HOUR, NOW, a_run

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"
SETTINGS = JobSettings(attempts=2, timeout=10, poll_interval=0.005)

a_job = partial(builders.a_job, now=NOW)


class Delivered:
    """A queue that accepts all jobs."""

    def submit(self, job):
        pass


def clock():
    return NOW + timedelta(seconds=3)


def stored(work, **others):
    job = attrs.evolve(a_job(), **others)
    with work.begin() as tx:
        tx.jobs.add(job)
    return job


def run(work, job, handler, **others):
    handlers = Handlers({job.kind: handler})
    RunJob(work, handlers, clock, SETTINGS, **others)(job)


def read(work, job):
    with work.read() as tx:
        return tx.jobs.get(job.id)


def test_submitted_job_continues_the_current_trace():
    work = MemoryWork()
    submit = SubmitJob(work, Delivered())
    with following(HEADER):
        job = submit(a_job(), now=NOW)
    assert read(work, job).trace == HEADER
    assert submit(a_job(), now=NOW).trace is None
    cancelled = job.cancel(NOW)
    with work.begin() as tx:
        tx.jobs.save(cancelled)
    assert RequeueJob(work, Delivered())(job.id, owner=None, now=NOW).trace == HEADER


def test_request_job_and_store_are_one_trace():
    work, tracer, seen = MemoryWork(), MemoryTracer(), []
    traced = TracedWork(work, tracer)
    job = stored(work, trace=HEADER).start(NOW)
    with work.begin() as tx:
        tx.jobs.save(job)

    def handler(job, progress):
        seen.append(current_trace.get().trace)
        with traced.read():
            return {}

    run(traced, job, handler, tracer=tracer)

    read_span, write_span, job_span = tracer.spans
    assert seen == [TRACE]
    assert current_trace.get() is None
    assert (job_span.name, job_span.trace, job_span.parent) == (f"job {job.kind}", TRACE, SPAN)
    assert job_span.attributes == {"rebalancer.job": str(job.id), "rebalancer.attempt": 1}
    assert [(one.name, one.parent) for one in (read_span, write_span)] == [
        ("store read", job_span.id),
        ("store write", job_span.id),
    ]


def test_transactions_outside_sampled_traces_are_not_recorded():
    work, tracer = MemoryWork(), MemoryTracer()
    traced = TracedWork(work, tracer)
    with traced.begin() as tx:
        tx.jobs.add(a_job())
    with following(HEADER[:-1] + "0"), traced.read():
        pass
    with TracedWork(work, NO_TRACER).read():
        pass
    assert tracer.spans == []


def test_transaction_of_an_unavailable_store_is_a_failed_span():
    class Away:
        def begin(self):
            raise Unavailable("the database did not answer", code="database_unavailable")

        read = begin

    tracer = MemoryTracer()
    with following(HEADER), pytest.raises(Unavailable), TracedWork(Away(), tracer).read():
        pass
    (span,) = tracer.spans
    assert span.failure == "database_unavailable"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, JobState.SUCCEEDED),
        (InvalidRequest("no such policy"), JobState.FAILED),
        (Unavailable("no prices"), JobState.QUEUED),
    ],
)
def test_ended_attempts_are_counted_and_timed(error, outcome):
    work, metrics = MemoryWork(), MemoryMetrics()
    job = stored(work).start(NOW)
    with work.begin() as tx:
        tx.jobs.save(job)

    def handler(job, progress):
        if error is not None:
            raise error
        return {}

    run(work, job, handler, metrics=metrics)

    assert read(work, job).state is outcome
    assert metrics.values == {("rebalancer_job_attempts_total", job.kind, outcome.value): 1}
    assert metrics.observed == {("rebalancer_job_seconds", job.kind): [3.0]}


def test_attempt_of_a_dead_worker_is_counted():
    work, metrics, times = MemoryWork(), MemoryMetrics(), iter((0.0, 99.0))
    job = stored(work).start(NOW)
    with work.begin() as tx:
        tx.jobs.save(job)
    recover = RecoverJobs(
        work, Delivered(), clock, SETTINGS, monotonic=lambda: next(times), metrics=metrics
    )
    assert recover() == []
    assert [one.id for one in recover()] == [job.id]
    assert metrics.values == {("rebalancer_job_attempts_total", job.kind, "queued"): 1}


# The state of the service.


def a_status(name, **others):
    plain = ProviderStatus(name, name.title(), (), "free", True, None, 500, 120, NOW - HOUR, 7)
    return attrs.evolve(plain, **others)


def measured(work, metrics, providers=()):
    prices = SimpleNamespace(closes=lambda days: builders.flat_prices({"A": 10.0}))
    kinds = JobKinds(("batch", "train"))
    return MeasureService(work, prices, lambda: list(providers), kinds, clock, metrics)


def test_queue_is_measured_by_kind_and_returns_to_zero():
    work, metrics = MemoryWork(), MemoryMetrics()
    waiting = stored(work, kind="train", due=NOW - timedelta(seconds=60))
    stored(work, kind="backtest", due=NOW + HOUR)
    stored(work, kind="batch", state=JobState.RUNNING, attempts=1)
    measure = measured(work, metrics)

    measure.measure_jobs()

    assert metrics.values == {
        ("rebalancer_jobs_waiting", "train"): 1,
        ("rebalancer_jobs_waiting", "batch"): 0,
        ("rebalancer_jobs_running", "train"): 0,
        ("rebalancer_jobs_running", "batch"): 1,
        ("rebalancer_jobs_longest_wait_seconds",): 63.0,
        ("rebalancer_batch_portfolios", "proposed"): 0,
        ("rebalancer_batch_portfolios", "nothing"): 0,
        ("rebalancer_batch_portfolios", "failed"): 0,
        ("rebalancer_batch_chunks_left",): 0,
        ("rebalancer_measured_timestamp_seconds",): clock().timestamp(),
    }
    with work.begin() as tx:
        tx.jobs.save(waiting.cancel(NOW))
    measure.measure_jobs()
    assert metrics.values["rebalancer_jobs_waiting", "train"] == 0
    assert metrics.values[("rebalancer_jobs_longest_wait_seconds",)] == 0


def test_latest_batch_is_measured():
    work, metrics, run = MemoryWork(), MemoryMetrics(), a_run()
    with work.begin() as tx:
        tx.runs.add(a_run(started=NOW - HOUR), [])
        tx.runs.add(run, [builders.a_job().id])
        chunk = tx.runs.claim(run.id)
        tx.runs.complete(chunk, proposed=5, nothing=3, failures=[(builders.a_job().id, "why")])
    measured(work, metrics).measure_jobs()
    batch = {name: value for name, value in metrics.values.items() if "batch" in name[0]}
    assert batch == {
        ("rebalancer_batch_portfolios", "proposed"): 5,
        ("rebalancer_batch_portfolios", "nothing"): 3,
        ("rebalancer_batch_portfolios", "failed"): 1,
        ("rebalancer_batch_chunks_left",): 1,
        ("rebalancer_batch_started_timestamp_seconds",): NOW.timestamp(),
    }


def test_counters_begin_at_zero():
    metrics = MemoryMetrics()
    measured(MemoryWork(), metrics).begin()
    assert set(metrics.values.values()) == {0}
    assert ("rebalancer_job_attempts_total", "train", "dead") in metrics.values
    assert ("rebalancer_alerts_total", "drift") in metrics.values
    assert ("rebalancer_proposals_total", "alert") in metrics.values


def test_quotas_and_answers_of_providers_are_measured():
    metrics = MemoryMetrics()
    providers = (
        a_status("tiingo"),
        a_status("yahoo", quota=None, quota_left=None),
        a_status("fred", ready=False, last_success=None),
    )
    measured(MemoryWork(), metrics, providers).measure_providers()
    answered = "rebalancer_provider_answered_timestamp_seconds"
    assert metrics.values == {
        ("rebalancer_provider_quota", "tiingo"): 500,
        ("rebalancer_provider_quota_left", "tiingo"): 120,
        (answered, "tiingo"): (NOW - HOUR).timestamp(),
        (answered, "yahoo"): (NOW - HOUR).timestamp(),
        ("rebalancer_provider_requests_total", "tiingo", "answered"): 0,
        ("rebalancer_provider_requests_total", "yahoo", "answered"): 0,
    }


def test_day_of_the_newest_closes_is_measured():
    metrics = MemoryMetrics()
    measure = measured(MemoryWork(), metrics)
    measure.measure_prices()
    day = measure.prices.closes(days=1).last_date
    ((name, value),) = metrics.values.items()
    assert name == ("rebalancer_prices_newest_close_timestamp_seconds",)
    assert value % 86_400 == 0
    assert value // 86_400 == (day - day.fromordinal(719_163)).days  # days since 1970
