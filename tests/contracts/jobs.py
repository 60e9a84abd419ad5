"""Jobs that leave traces, and who does them; child processes import this too."""

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
    timeout=20.0,
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
    """What jobs leave behind: a line for each time that one was begun."""

    folder: Path

    def attempts(self, job: Job) -> list[int]:
        path = self.folder / str(job.id)
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def doer(self, job: Job) -> int:
        """The process that did it last."""
        return int((self.folder / f"{job.id}.pid").read_text())

    def note(self, job: Job) -> None:
        (self.folder / f"{job.id}.pid").write_text(str(os.getpid()))
        with (self.folder / str(job.id)).open("a") as file:
            file.write(f"{job.attempts}\n")

    def let_go(self, job: Job) -> None:
        """Those that wait may end."""
        (self.folder / f"{job.id}.go").touch()

    def may_go(self, job: Job) -> bool:
        return (self.folder / f"{job.id}.go").exists()


@attrs.frozen
class Doing:
    """What the kinds of jobs do."""

    traces: Traces

    def plain(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        self.traces.note(job)
        progress(0.5)
        return {"echo": dict(job.request)}

    def slow(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Heeds at once that it is to stop."""
        self.traces.note(job)
        while not self.traces.may_go(job):
            progress(0.25)
            time.sleep(0.005)
        return {"attempt": job.attempts}

    def deaf(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Does not tell how far it is, so that it cannot be told anything."""
        self.traces.note(job)
        latest = time.monotonic() + 10
        while not self.traces.may_go(job) and time.monotonic() < latest:
            time.sleep(0.005)
        return {"attempt": job.attempts}

    def crash(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Its process dies the first time."""
        self.traces.note(job)
        if job.attempts == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"attempt": job.attempts}

    def senseless(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        self.traces.note(job)
        raise InvalidRequest("is no good", field="policies")

    def away(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        """Can be done once somebody has let it go."""
        self.traces.note(job)
        if not self.traces.may_go(job):
            raise Unavailable("the exchange is on fire")
        return {"attempt": job.attempts}

    def bug(self, job: Job, progress: Progress) -> Mapping[str, Any]:
        self.traces.note(job)
        raise RuntimeError("secret internals")

    def handlers(self) -> Handlers:
        kinds = ("plain", "slow", "deaf", "crash", "senseless", "away", "bug")
        return Handlers({kind: getattr(self, kind) for kind in kinds})


class InThreadExecutor:
    """Runs jobs in the thread that claims them; see `JobExecutor`."""

    def __init__(self, run_job: RunJob) -> None:
        self._run_job = run_job

    @contextmanager
    def reserve(self) -> Iterator[Callable[[Job], None]]:
        yield self._run_job

    def close(self) -> None:
        """Let running jobs finish."""


def perform(
    url: str,
    traces: Traces,
    care: JobSettings,
    job: Job,
    *,
    should_stop: Callable[[], bool],
    exit_process: Callable[[], None],
) -> None:
    """What child processes do."""
    engine = connect(url)
    handlers = Doing(traces).handlers()
    RunJob(SqlWork(engine), handlers, now, care, should_stop, exit_process)(job)
    engine.dispose()


def performing(url: str, traces: Traces, care: JobSettings) -> Any:
    """The same, to be handed to `ChildProcesses`."""
    return partial(perform, url, traces, care)


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
    """The job once something is the case."""
    latest = time.monotonic() + within
    while True:
        found = seen(work, job)
        if happens(found):
            return found
        assert time.monotonic() < latest, f"it stays so: {found}"
        time.sleep(0.01)


def ended(work: UnitOfWork, job: Job) -> Job:
    return awaited(work, job, lambda job: job.state.is_final)
