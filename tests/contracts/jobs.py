"""Jobs that record their attempts, and their executors; child processes import this module too."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.job_worker import Handlers, JobSettings, Progress, RunJob
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.jobs.job import Job

QUICK = JobSettings(
    attempts=2,
    timeout=60.0,  # a job of a test may wait for another that starts a process
    poll_interval=0.02,
    heartbeat_interval=0.1,
    stop_timeout=0.3,
    heartbeat_timeout=10.0,
    redeliver_after=0.5,
    store_timeout=5.0,
)
PATIENCE = 120.0  # a limit for machines under heavy load; waits end at once


def now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen
class Traces:
    """Files in which jobs record each attempt, and which let waiting jobs finish."""

    folder: Path

    def attempts(self, job: Job) -> list[int]:
        path = self.folder / str(job.id)
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def process(self, job: Job) -> int:
        """Return the id of the process that ran the last attempt."""
        return int((self.folder / f"{job.id}.pid").read_text())

    def record(self, job: Job) -> None:
        (self.folder / f"{job.id}.pid").write_text(str(os.getpid()))
        with (self.folder / str(job.id)).open("a") as file:
            file.write(f"{job.attempts}\n")

    def let_finish(self, job: Job) -> None:
        (self.folder / f"{job.id}.go").touch()

    def may_finish(self, job: Job) -> bool:
        return (self.folder / f"{job.id}.go").exists()


@attrs.frozen
class RecordingHandlers:
    """Handlers by kind of job."""

    traces: Traces

    def plain(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        self.traces.record(job)
        progress(0.5)
        return {"echo": dict(job.request)}

    def slow(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Wait, and stop as soon as a stop is requested."""
        self.traces.record(job)
        while not self.traces.may_finish(job):
            progress(0.25)
            time.sleep(0.005)
        return {"attempt": job.attempts}

    def unresponsive(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Wait without reporting progress, so that a stop has no effect."""
        self.traces.record(job)
        latest = time.monotonic() + 10
        while not self.traces.may_finish(job) and time.monotonic() < latest:
            time.sleep(0.005)
        return {"attempt": job.attempts}

    def crash(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Kill the process in the first attempt."""
        self.traces.record(job)
        if job.attempts == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"attempt": job.attempts}

    def invalid(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        self.traces.record(job)
        raise InvalidRequest("unknown policy", field="policies")

    def unavailable(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Fail until the job may finish."""
        self.traces.record(job)
        if not self.traces.may_finish(job):
            raise Unavailable("the exchange is on fire")
        return {"attempt": job.attempts}

    def bug(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        self.traces.record(job)
        raise RuntimeError("secret internals")

    def handlers(self) -> Handlers:
        kinds = ("plain", "slow", "unresponsive", "crash", "invalid", "unavailable", "bug")
        return Handlers({kind: getattr(self, kind) for kind in kinds})


class InThreadExecutor:
    """Runs jobs in the thread that claims them; see `JobExecutor`."""

    def __init__(self, run_job: RunJob) -> None:
        self._run_job = run_job

    @contextmanager
    def reserve(self) -> Iterator[Callable[[Job], None]]:
        yield self._run_job

    def close(self) -> None: ...


def run_in_child(
    url: str,
    traces: Traces,
    care: JobSettings,
    job: Job,
    *,
    should_stop: Callable[[], bool],
    exit_process: Callable[[], None],
) -> None:
    engine = connect(url)
    handlers = RecordingHandlers(traces).handlers()
    RunJob(SqlWork(engine), handlers, now, care, should_stop, exit_process)(job)
    engine.dispose()


def child_function(url: str, traces: Traces, care: JobSettings) -> Any:
    """Return what `ChildProcesses` runs in a child."""
    return partial(run_in_child, url, traces, care)


def kept(work: UnitOfWork, job: Job) -> Job:
    with work.begin() as tx:
        tx.jobs.add(job)
    return job


def seen(work: UnitOfWork, job: Job) -> Job:
    with work.read() as tx:
        return tx.jobs.get(job.id)


def awaited(
    work: UnitOfWork, job: Job, happens: Callable[[Job], object], within: float = PATIENCE
) -> Job:
    """Wait for a condition; return the job."""
    latest = time.monotonic() + within
    while True:
        found = seen(work, job)
        if happens(found):
            return found
        assert time.monotonic() < latest, f"still waiting: {found}"
        time.sleep(0.01)


def ended(work: UnitOfWork, job: Job) -> Job:
    return awaited(work, job, lambda job: job.state.is_final)
