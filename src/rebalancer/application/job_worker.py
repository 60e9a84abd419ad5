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

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.jobs import JobRunner
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import NotFound, RebalancerError, Unavailable
from rebalancer.domain.jobs.job import Job, JobChanged, JobState

log = logging.getLogger("rebalancer.jobs")

Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1. It raises once whoever does the job is to stop."""


class Handler(Protocol):
    """Does the jobs of a kind."""

    def __call__(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """What came of it, as JSON values.

        It may be called again for the same job, if an earlier attempt was cut off at any moment.

        Raises:
            RebalancerError: it cannot be done, and could not another time; or Unavailable: it
                could.
        """


Handlers = NewType("Handlers", Mapping[str, Handler])
"""By kind of job."""


class JobExecutor(Protocol):
    """Whoever does the jobs that somebody begins."""

    def reserve(self) -> AbstractContextManager[Callable[[Job], None]]:
        """Somebody who is ready to do one job that has begun: keeps the outcome, and comes back.

        So nothing is begun that nobody does yet. What is given raises Unavailable if no more jobs
        are done here, and whatever it likes if whoever did it came to an end, perhaps before it was
        done.

        Raises:
            Unavailable: there is nobody.
        """

    def close(self) -> None:
        """Do no more jobs, and have those that are being done put back if that may be."""


class StopRequested(Exception):
    """Whoever does a job is to stop; raised where it tells how far it is."""


@attrs.frozen
class JobSettings:
    """How jobs are looked after; times in seconds.

    Attributes:
        attempts: How often a job is tried before it is dead.
        timeout: What one attempt may take.
        poll_interval: How often progress is kept at most, and stopping is thought of.
        heartbeat_interval: How often whoever does a job gives a sign of life.
        stop_timeout: How long a handler may take to heed that it is to stop.
        heartbeat_timeout: After how long without a sign of life a job is taken from whoever did it.
        redeliver_after: After how long a job that waits is delivered again.
        store_timeout: How long to try to keep an outcome while the store does not answer.
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
    """Begin a job that was delivered, have it done, and see to it if whoever did it dies."""

    work: UnitOfWork
    clock: Clock
    settings: JobSettings
    executor: JobExecutor

    def __call__(self, id: UUID) -> Job | None:
        """Do the job of this id, unless somebody else does or did.

        Returns:
            The job if it waits again, to be delivered anew.

        Raises:
            Unavailable: the store does not answer, or nobody is there to do it; whoever recovers
                jobs sees to this one.
        """
        with self.work.read() as tx:
            try:
                job = tx.jobs.get(id)
            except NotFound:
                return None
        if job.state is not JobState.QUEUED:
            return None  # it was delivered twice, or late
        if self.clock() < job.due:
            return job  # or early
        with self.executor.reserve() as do:
            begun = self._begun(id)
            if begun is None:
                return None
            self._seen_through(begun, do)
        with self.work.read() as tx:
            left = tx.jobs.get(id)
        return left if left.state is JobState.QUEUED else None

    def _begun(self, id: UUID) -> Job | None:
        """The job, which nobody else has begun; None if somebody has."""
        with self.work.begin() as tx:
            try:
                job = tx.jobs.get(id).start(self.clock())
            except (JobChanged, NotFound):
                return None
            tx.jobs.save(job)
        return job

    def _seen_through(self, job: Job, do: Callable[[Job], None]) -> None:
        try:
            do(job)
        except Unavailable:
            self._seen_to(job.id, lambda kept: kept.release(self.clock(), attempt=job.attempts))
        except Exception as error:
            if self._seen_to(job.id, lambda kept: self._given_up(kept, job.attempts)):
                log.warning("job %s was cut off: %s", job.id, error)

    def _seen_to(self, id: UUID, change: Callable[[Job], Job]) -> bool:
        return _kept(self.work, id, change, self.settings.store_timeout)

    def _given_up(self, job: Job, attempt: int) -> Job:
        return job.fail_attempt(
            _GONE, self.clock(), attempt=attempt, max_attempts=self.settings.attempts
        )


_GONE = "whoever did it is gone"


@attrs.frozen
class RunJob:
    """Do a job that has begun, give signs of life meanwhile, and keep the outcome.

    Attributes:
        work: Where the job is kept.
        handlers: Who does what.
        clock: What time it is.
        settings: Intervals and timeouts.
        should_stop: Whether this process has to go: the job is put back then.
        exit_process: Ends this process if the handler does not stop; None: let the handler run on
            and discard its outcome.
    """

    work: UnitOfWork
    handlers: Handlers
    clock: Clock
    settings: JobSettings = JobSettings()
    should_stop: Callable[[], bool] = lambda: False
    exit_process: Callable[[], None] | None = None

    def __call__(self, job: Job) -> None:
        """Do it; whatever goes wrong is kept with it."""
        attempt = _Attempt(self, job)
        with attempt.watched():
            attempt.keep(self._outcome(job, attempt))

    @contextmanager
    def reserve(self) -> Iterator[Callable[[Job], None]]:
        """See `JobExecutor.reserve`: in this thread."""
        yield self

    def close(self) -> None:
        """See `JobExecutor.close`: what is being done is done to the end."""

    def _outcome(self, job: Job, attempt: _Attempt) -> Callable[[Job], Job] | None:
        n, most, now = job.attempts, self.settings.attempts, self.clock
        try:
            handler = self.handlers.get(job.kind)
            if handler is None:
                raise Unavailable(f"this version knows no jobs of the kind {job.kind!r}")
            result = handler(job, attempt.progress)
            return lambda kept: kept.succeed(result, now(), attempt=n)
        except StopRequested:
            return attempt.verdict()
        except Unavailable as error:
            why = str(error)
            return lambda kept: kept.fail_attempt(why, now(), attempt=n, max_attempts=most)
        except RebalancerError as error:
            why = str(error)
            return lambda kept: kept.fail(why, now(), attempt=n)
        except Exception:
            log.exception("job %s of the kind %s went wrong", job.id, job.kind)
            why = "something went wrong on our side"
            return lambda kept: kept.fail_attempt(why, now(), attempt=n, max_attempts=most)


class _Attempt:
    """One attempt at a job, and the thread that watches over it."""

    def __init__(self, rules: RunJob, job: Job) -> None:
        self._rules = rules
        self._job = job
        self._share, self._told = 0.0, 0.0
        self._verdict: Callable[[Job], Job] | None = None
        self._stopping = False
        self._over = threading.Event()
        self._keeping = threading.Lock()

    def progress(self, share: float) -> None:
        """See `Progress`."""
        self._share = share
        if self._stopping:
            raise StopRequested

    def verdict(self) -> Callable[[Job], Job] | None:
        """What becomes of the job that was stopped; None: it is somebody else's by now."""
        return self._verdict

    def keep(self, outcome: Callable[[Job], Job] | None) -> None:
        """Keep what became of it, unless that has been kept already."""
        with self._keeping:
            if outcome is not None and not self._over.is_set():
                _kept(self._rules.work, self._job.id, outcome, self._rules.settings.store_timeout)
            self._over.set()

    def watched(self) -> _Watched:
        """While it is being done."""
        return _Watched(threading.Thread(target=self._watch, name="watch"), self._over)

    def _watch(self) -> None:
        settings, started = self._rules.settings, time.monotonic()
        heard, stopped = started, 0.0
        while not self._over.wait(settings.poll_interval):
            now = time.monotonic()
            if not self._stopping:
                if self._rules.should_stop():
                    self._stop(self._put_back)
                elif now - started > settings.timeout:
                    self._stop(self._too_long)
                elif now - heard >= settings.heartbeat_interval or self._share != self._told:
                    self._give_sign()
                    heard = now
                stopped = now
            if self._stopping and (
                self._rules.should_stop() or now - stopped > settings.stop_timeout
            ):
                try:
                    self.keep(self._verdict)  # it does not heed, or there is no time
                except Exception as error:
                    log.warning("job %s is left to whoever recovers it: %s", self._job.id, error)
                finally:
                    if self._rules.exit_process is not None:
                        self._rules.exit_process()
                return

    def _give_sign(self) -> None:
        share = self._share
        try:
            with self._rules.work.begin() as tx:
                job = tx.jobs.get(self._job.id)
                job = job.heartbeat(
                    self._rules.clock(), attempt=self._job.attempts, progress=min(share, 0.99)
                )
                tx.jobs.save(job)
        except (JobChanged, NotFound):
            self._stop(None)
        except Unavailable as error:
            log.warning("job %s cannot give a sign of life: %s", self._job.id, error)
        except Exception:  # without whoever watches, nothing would end it
            log.exception("job %s cannot give a sign of life", self._job.id)
        else:
            self._told = share
            if job.cancelling:
                self._stop(self._cancelled)

    def _stop(self, verdict: Callable[[Job], Job] | None) -> None:
        self._verdict = verdict
        self._stopping = True

    def _put_back(self, job: Job) -> Job:
        return job.release(self._rules.clock(), attempt=self._job.attempts)

    def _too_long(self, job: Job) -> Job:
        return self._given_up(job, f"it took longer than {self._rules.settings.timeout:g} s")

    def _cancelled(self, job: Job) -> Job:
        return self._given_up(job, "cancelled")

    def _given_up(self, job: Job, why: str) -> Job:
        return job.fail_attempt(
            why,
            self._rules.clock(),
            attempt=self._job.attempts,
            max_attempts=self._rules.settings.attempts,
        )


@attrs.frozen
class _Watched:
    thread: threading.Thread
    over: threading.Event

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


@attrs.frozen
class RecoverJobs:
    """Take jobs from those who are gone, and have those done whose delivery was lost.

    Whoever does a job gives signs of life. How long there was none is measured from when *we* saw
    the last one, by seconds that pass here: so neither clocks that differ nor a store that was away
    for a while make anybody seem dead.

    Attributes:
        work: Where jobs are kept.
        runner: Has them done.
        clock: What time it is.
        settings: How long to wait.
        ticks: Seconds that pass.
    """

    work: UnitOfWork
    runner: JobRunner
    clock: Clock
    settings: JobSettings
    ticks: Callable[[], float] = time.monotonic
    _heard: dict[UUID, tuple[Job, float]] = attrs.field(
        factory=dict, init=False, eq=False, repr=False
    )

    def __call__(self) -> list[Job]:
        """The jobs that were cared for; whoever does jobs calls it every few seconds.

        Raises:
            Unavailable: the store does not answer, or the queue does not, or is full.
        """
        now, ticks = self.clock(), self.ticks()
        due = now - timedelta(seconds=self.settings.redeliver_after)
        with self.work.read() as tx:
            found = tx.jobs.overdue_or_running(due=due, limit=1000)
        cared = [job for job in found if job.state is JobState.QUEUED]
        for job in self._silent(found, ticks):
            try:
                cared += self._taken(job, now)
            except Unavailable:
                raise
            except Exception:  # which must not keep the others from being cared for
                log.exception("job %s cannot be taken from whoever did it", job.id)
        for job in cared:
            if job.state is JobState.QUEUED:
                self.runner.submit(job)
        return cared

    def _silent(self, found: Sequence[Job], ticks: float) -> list[Job]:
        """Jobs of whose doers nothing was heard for too long; all are remembered."""
        doing = [job for job in found if job.state is JobState.RUNNING]
        heard = {}
        for job in doing:
            before, since = self._heard.get(job.id, (None, ticks))
            same = before is not None and _sign(before) == _sign(job)
            heard[job.id] = job, since if same else ticks
        self._heard.clear()
        self._heard.update(heard)
        return [job for job in doing if ticks - heard[job.id][1] > self.settings.heartbeat_timeout]

    def _taken(self, silent: Job, now: datetime) -> list[Job]:
        """The job after it was taken from whoever did it; none if somebody was quicker."""
        with self.work.begin() as tx:
            job = tx.jobs.get(silent.id)
            if _sign(job) != _sign(silent):
                return []
            job = job.fail_attempt(
                _GONE, now, attempt=job.attempts, max_attempts=self.settings.attempts
            )
            tx.jobs.save(job)
        log.warning("job %s was silent for too long: %s", job.id, _GONE)
        return [job]


def _sign(job: Job) -> tuple[JobState, int, datetime | None]:
    """What is another with each sign of life."""
    return job.state, job.attempts, job.last_heartbeat


def _kept(work: UnitOfWork, id: UUID, change: Callable[[Job], Job], patience: float = 0.0) -> bool:
    """Keep a change of a job, unless it is somebody else's by now; whether it was kept.

    Args:
        work: Where.
        id: Of the job.
        change: Makes the changed job, or raises JobChanged.
        patience: Seconds for which to try again while the store does not answer.

    Raises:
        Unavailable: the store does not answer.
    """
    latest = time.monotonic() + patience
    for pause in _pauses():
        try:
            with work.begin() as tx:
                tx.jobs.save(change(tx.jobs.get(id)))
            return True
        except (JobChanged, NotFound):
            return False
        except Unavailable:
            if time.monotonic() + pause > latest:
                raise
            time.sleep(pause)
    raise AssertionError("pauses never end")


def _pauses() -> Iterator[float]:
    pause = 0.1
    while True:
        yield pause
        pause = min(2 * pause, 5.0)
