"""What a worker does with jobs: claim and run them, and recover those of dead workers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any, NewType, Protocol
from uuid import UUID

import attrs

from rebalancer.application.metrics import JOB_ATTEMPTS, JOB_SECONDS
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.jobs import JobRunner
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.ports.telemetry import Metrics, SpanKind, Tracer
from rebalancer.application.resilience import retry_while_unavailable
from rebalancer.application.telemetry import NO_METRICS, NO_TRACER
from rebalancer.application.trace_context import following
from rebalancer.domain.errors import NotFound, RebalancerError, Unavailable
from rebalancer.domain.jobs.job import LONGEST_PAUSE, Job, JobChanged, JobState

log = logging.getLogger("rebalancer.jobs")

Progress = Callable[[float], None]
"""Takes the finished share, 0 to 1; raises `StopRequested` when the job must stop."""

Transition = Callable[[Job, datetime], Job]
"""Returns the job in its next state at a time, or raises JobChanged."""

WORKER_DIED = "the worker process died"


class Handler(Protocol):
    """Runs the jobs of one kind."""

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Return the result as JSON values.

        A handler is called again for the same job if an earlier attempt was interrupted, at
        whatever point.

        Raises:
            RebalancerError: the job cannot succeed; Unavailable: another attempt may.
        """


Handlers = NewType("Handlers", Mapping[str, Handler])
"""Handlers by kind of job."""

JobKinds = NewType("JobKinds", tuple[str, ...])
"""Kinds of jobs that this version runs."""


class JobExecutor(Protocol):
    """Runs claimed jobs in worker processes."""

    def reserve(self) -> AbstractContextManager[Callable[[Job], None]]:
        """Reserve an idle worker for one job, so that no job starts without a worker.

        The function that the block receives runs a started job, stores the outcome and returns. It
        raises Unavailable if the executor is closed, and any other error if the worker died,
        perhaps before it stored the outcome.

        Raises:
            Unavailable: no worker can be started.
        """

    def close(self) -> None:
        """Stop taking jobs; release the running ones for retry."""


class StopRequested(Exception):
    """Raised by the progress callback when the worker must stop."""


@attrs.frozen
class JobSettings:
    """Retry and timeout settings, in seconds.

    Attributes:
        attempts: Maximum number of attempts before a job is dead.
        timeout: Maximum duration of one attempt.
        poll_interval: Interval at which the worker stores progress and checks for a stop.
        heartbeat_interval: Interval of heartbeats.
        stop_timeout: How long a handler may take to stop.
        heartbeat_timeout: How long a job may run without a heartbeat before it is recovered.
        redeliver_after: How long a due job may wait before it is submitted again.
        store_timeout: How long to retry storing an outcome while the store is away.
    """

    attempts: int = 3
    timeout: float = 3600.0
    poll_interval: float = 0.5
    heartbeat_interval: float = 2.0
    stop_timeout: float = 5.0
    heartbeat_timeout: float = 30.0
    redeliver_after: float = 5.0
    store_timeout: float = 60.0


@attrs.frozen
class ClaimJob:
    """Claim the next job, run it, and record a failed attempt if its worker dies."""

    work: UnitOfWork
    clock: Clock
    settings: JobSettings
    executor: JobExecutor
    metrics: Metrics = NO_METRICS

    def __call__(self, id: UUID) -> Job | None:
        """Run a job for one delivery; return a job that must be delivered again.

        The job is the next one of all accounts, see `Jobs.next_due`, which may be another one than
        was delivered: that one has its turn with a later delivery.

        Raises:
            Unavailable: the store does not answer, or no worker can be started; `RecoverJobs`
                redelivers the job.
        """
        with self.work.read() as tx:
            delivered = _find(tx, id)
            waits = tx.jobs.next_due(self.clock()) is not None
        if not waits:
            return delivered if delivered is not None and self._is_early(delivered) else None
        with self.executor.reserve() as run:
            started = self._start()
            if started is None:
                return None
            self._run(started, run)
        with self.work.read() as tx:
            again = [job for job in (_find(tx, started.id), _find(tx, id)) if job is not None]
        return next((job for job in again if job.state is JobState.QUEUED), None)

    def _is_early(self, job: Job) -> bool:
        return job.state is JobState.QUEUED and self.clock() < job.due

    def _start(self) -> Job | None:
        """Start an attempt at the next job; None if other workers have started all of them."""
        with self.work.begin() as tx:
            found = tx.jobs.next_due(self.clock())
            if found is None:
                return None
            job = found.start(self.clock())
            tx.jobs.save(job)
        return job

    def _run(self, job: Job, run: Callable[[Job], None]) -> None:
        try:
            run(job)
        except Unavailable as error:
            log.warning("job %s is released for retry: %s", job.id, error)
            _store(self, job, lambda stored, now: stored.release(now, attempt=job.attempts))
        except Exception as error:
            if _store(self, job, _failing(WORKER_DIED, job, self.settings)):
                log.warning("attempt %d at job %s was interrupted: %s", job.attempts, job.id, error)


def _find(tx: Transaction, id: UUID) -> Job | None:
    """Return a job; None if it does not exist."""
    try:
        return tx.jobs.get(id)
    except NotFound:
        return None


@attrs.frozen
class RunJob:
    """Run a started job, record heartbeats and store the outcome.

    Attributes:
        should_stop: Whether this process must stop; the job is released then.
        exit_process: Ends this process if the handler does not stop; None: let the handler run on
            and discard its outcome.
    """

    work: UnitOfWork
    handlers: Handlers
    clock: Clock
    settings: JobSettings = JobSettings()
    should_stop: Callable[[], bool] = lambda: False
    exit_process: Callable[[], None] | None = None
    metrics: Metrics = NO_METRICS
    tracer: Tracer = NO_TRACER

    def __call__(self, job: Job) -> None:
        """Run the job in the trace of the request that submitted it; store its result or error."""
        attempt = _Attempt(self, job)
        with (
            following(job.trace),
            self.tracer.span(f"job {job.kind}", SpanKind.CONSUMER) as span,
            attempt.monitored(),
        ):
            span.note("rebalancer.job", str(job.id))
            span.note("rebalancer.attempt", job.attempts)
            attempt.store(self._outcome(job, attempt))

    def _outcome(self, job: Job, attempt: _Attempt) -> Transition | None:
        try:
            handler = self.handlers.get(job.kind)
            if handler is None:
                raise Unavailable(
                    f"this version cannot run jobs of the kind {job.kind!r}",
                    code="unknown_job_kind",
                )
            result = handler(job, attempt.progress)
            return lambda stored, now: stored.succeed(result, now, attempt=job.attempts)
        except StopRequested:
            return attempt.stop_transition
        except Unavailable as error:
            return _failing(str(error), job, self.settings)
        except RebalancerError as error:
            why = str(error)
            return lambda stored, now: stored.fail(why, now, attempt=job.attempts)
        except Exception:
            log.exception("attempt %d at job %s (%s) failed", job.attempts, job.id, job.kind)
            return _failing("an internal error occurred", job, self.settings)


class _Attempt:
    """One attempt at a job, and the thread that monitors it."""

    def __init__(self, rules: RunJob, job: Job) -> None:
        self._rules, self._job = rules, job
        self._share = self._stored_share = 0.0
        self._stopping = False
        self._over = threading.Event()
        self._storing = threading.Lock()
        self.stop_transition: Transition | None = None
        """Transition of the stopped job; None: another worker has it by now."""

    def progress(self, share: float) -> None:
        self._share = share
        if self._stopping:
            raise StopRequested

    def store(self, outcome: Transition | None) -> None:
        """Store the outcome, unless one is stored already."""
        with self._storing:
            if outcome is not None and not self._over.is_set():
                _store(self._rules, self._job, outcome)
            self._over.set()

    @contextmanager
    def monitored(self) -> Iterator[None]:
        """Monitor the attempt in a thread while the block runs."""
        thread = threading.Thread(target=self._monitor, name="monitor")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _monitor(self) -> None:
        rules, settings, job = self._rules, self._rules.settings, self._job
        beat = running = started = time.monotonic()
        while not self._over.wait(settings.poll_interval):
            now = time.monotonic()
            if not self._stopping:
                if rules.should_stop():
                    self._stop(lambda stored, now: stored.release(now, attempt=job.attempts))
                elif now - started > settings.timeout:
                    why = f"the job took longer than {settings.timeout:g} s"
                    self._stop(_failing(why, job, settings))
                elif now - beat >= settings.heartbeat_interval or self._share != self._stored_share:
                    self._heartbeat()
                    beat = now
                running = now
            if self._stopping and (rules.should_stop() or now - running > settings.stop_timeout):
                try:  # the handler does not stop, or this process has no time left
                    self.store(self.stop_transition)
                except Exception as error:
                    log.warning("job %s is left for recovery: %s", job.id, error)
                finally:
                    if rules.exit_process is not None:
                        rules.exit_process()
                return

    def _heartbeat(self) -> None:
        share, rules, job = self._share, self._rules, self._job
        try:
            with rules.work.begin() as tx:
                stored = tx.jobs.get(job.id).heartbeat(
                    rules.clock(), attempt=job.attempts, progress=min(share, 0.99)
                )
                tx.jobs.save(stored)
        except (JobChanged, NotFound):
            self._stop(None)
        except Unavailable as error:
            log.warning("job %s missed a heartbeat: %s", job.id, error)
        except Exception:  # the monitor must survive, or no timeout ends the job
            log.exception("job %s missed a heartbeat", job.id)
        else:
            self._stored_share = share
            if stored.cancelling:
                self._stop(_failing("the job was cancelled", job, rules.settings))

    def _stop(self, transition: Transition | None) -> None:
        self.stop_transition = transition
        self._stopping = True


@attrs.frozen
class RecoverJobs:
    """Reclaim jobs of dead workers and redeliver lost ones.

    A job without a heartbeat is measured from the moment at which *this* process saw its latest
    heartbeat, by a monotonic clock. So neither clocks that differ nor a store that was away make a
    worker look dead.
    """

    work: UnitOfWork
    runner: JobRunner
    clock: Clock
    settings: JobSettings
    monotonic: Callable[[], float] = time.monotonic
    metrics: Metrics = NO_METRICS
    _last_seen: dict[UUID, tuple[Heartbeat, float]] = attrs.field(
        factory=dict, init=False, eq=False, repr=False
    )

    def __call__(self) -> list[Job]:
        """Return the recovered jobs; a worker calls this every few seconds.

        Raises:
            Unavailable: the store does not answer, or the queue is full or does not answer.
        """
        now = self.clock()
        due = now - timedelta(seconds=self.settings.redeliver_after)
        with self.work.read() as tx:
            found = tx.jobs.overdue_or_running(due=due, latest=now + LONGEST_PAUSE, limit=1000)
        queued = [job for job in found if job.state is JobState.QUEUED]
        recovered = [job for job in queued if job.due <= now]
        for job in queued:
            if job.due > now:
                recovered += self._correct_due(job, now)
        for job in self._silent([job for job in found if job.state is JobState.RUNNING]):
            try:
                recovered += self._reclaim(job, now)
            except Unavailable:
                raise
            except Exception:  # one job must not prevent the recovery of the others
                log.exception("job %s cannot be recovered", job.id)
        for job in recovered:
            if job.state is JobState.QUEUED:
                self.runner.submit(job)
        return recovered

    def _correct_due(self, ahead: Job, now: datetime) -> list[Job]:
        """Make a job due that was queued while the clock was ahead; return no job if it changed."""
        try:
            with self.work.begin() as tx:
                job = tx.jobs.get(ahead.id).correct_due(now)
                tx.jobs.save(job)
        except (JobChanged, NotFound):
            return []
        log.warning("job %s was due at %s, in the future; it is due now", job.id, ahead.due)
        return [job]

    def _silent(self, running: Sequence[Job]) -> list[Job]:
        """Return jobs without a heartbeat for too long, and remember the heartbeats of all."""
        now = self.monotonic()
        seen = {}
        for job in running:
            heartbeat, since = self._last_seen.get(job.id, (None, now))
            seen[job.id] = _heartbeat_of(job), since if heartbeat == _heartbeat_of(job) else now
        self._last_seen.clear()
        self._last_seen.update(seen)
        timeout = self.settings.heartbeat_timeout
        return [job for job in running if now - seen[job.id][1] > timeout]

    def _reclaim(self, silent: Job, now: datetime) -> list[Job]:
        """Fail the attempt of a dead worker; return no job if the worker answered meanwhile."""
        with self.work.begin() as tx:
            job = tx.jobs.get(silent.id)
            if _heartbeat_of(job) != _heartbeat_of(silent):
                return []
            job = _failing(WORKER_DIED, job, self.settings)(job, now)
            tx.jobs.save(job)
        _measure_attempt(self.metrics, job, now)
        log.warning(
            "the worker of job %s lost its heartbeat; the job is %s (attempt %d of %d)",
            *(job.id, job.state, job.attempts, self.settings.attempts),
        )
        return [job]


Heartbeat = tuple[JobState, int, datetime | None]


def _heartbeat_of(job: Job) -> Heartbeat:
    """Return what changes with each heartbeat."""
    return job.state, job.attempts, job.last_heartbeat


def _measure_attempt(metrics: Metrics, job: Job, now: datetime) -> None:
    """Count an attempt that has ended, and the time that it took."""
    metrics.add(JOB_ATTEMPTS, job.kind, job.state.value)
    if job.started is not None:
        metrics.observe(JOB_SECONDS, max((now - job.started).total_seconds(), 0.0), job.kind)


def _failing(why: str, job: Job, settings: JobSettings) -> Transition:
    """Return the transition of a failed attempt."""
    return lambda stored, now: stored.fail_attempt(
        why, now, attempt=job.attempts, max_attempts=settings.attempts
    )


def _store(rules: ClaimJob | RunJob, job: Job, transition: Transition) -> bool:
    """Store a transition, unless another worker has the job; return whether it was stored."""

    def store() -> bool:
        now = rules.clock()
        try:
            with rules.work.begin() as tx:
                ended = transition(tx.jobs.get(job.id), now)
                tx.jobs.save(ended)
        except (JobChanged, NotFound):
            return False
        _measure_attempt(rules.metrics, ended, now)
        return True

    return retry_while_unavailable(store, timeout=rules.settings.store_timeout)
