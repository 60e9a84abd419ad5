"""What every `JobRunner` promises, and those who do the jobs that it delivers."""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import psutil
import pytest

from rebalancer.adapters.jobs.in_process import InProcessJobs
from rebalancer.adapters.jobs.processes import ChildProcesses
from rebalancer.adapters.jobs.queue import QueuedJobs, QueueWorker
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.store import SqlWork
from rebalancer.application.jobs import CancelJob, Care, DoJob, PerformJob, RecoverJobs, RequeueJob
from rebalancer.application.ports.jobs import Job, JobRunner, JobState
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import Unavailable
from tests.contracts.jobs import (
    QUICK,
    Doing,
    Traces,
    a_job,
    awaited,
    ended,
    kept,
    now,
    performing,
    seen,
)
from tests.servers import Valkey, running


@attrs.frozen
class Rig:
    """A runner, the store that it does jobs of, and what they leave behind."""

    runner: Any
    work: UnitOfWork
    traces: Traces

    def submitted(self, kind: str, **request: Any) -> Job:
        job = kept(self.work, a_job(kind, **request))
        self.runner.submit(job)
        return job

    def running(self, kind: str) -> Job:
        job = self.submitted(kind)
        return awaited(self.work, job, lambda _: self.traces.attempts(job))


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    engine = connect(f"sqlite:///{path}")
    migrations.upgrade(engine)
    engine.dispose()
    return path


@contextmanager
def threads(folder: Path, empty: Path, care: Care, redis: str) -> Iterator[Rig]:
    """In threads over a store in memory."""
    work, traces = MemoryWork(), Traces(folder)
    hands = PerformJob(work, Doing(traces).handlers(), now, care)
    jobs = InProcessJobs(DoJob(work, now, care, hands), at_once=2, waiting=4)
    yield Rig(jobs, work, traces)
    jobs.close()


@contextmanager
def database(folder: Path, empty: Path) -> Iterator[tuple[str, SqlWork]]:
    url = f"sqlite:///{shutil.copy(empty, folder / 'rebalancer.db')}"
    engine = connect(url)
    yield url, SqlWork(engine)
    engine.dispose()


@contextmanager
def processes(folder: Path, empty: Path, care: Care, redis: str) -> Iterator[Rig]:
    """In child processes over a database."""
    traces = Traces(folder)
    with database(folder, empty) as (url, work):
        hands = ChildProcesses(performing(url, traces, care), at_once=2, limit=60)
        jobs = InProcessJobs(DoJob(work, now, care, hands), at_once=2, waiting=4)
        yield Rig(jobs, work, traces)
        jobs.close(hands.close)


@contextmanager
def working(
    url: str, work: UnitOfWork, hands: ChildProcesses, care: Care, redis: str, **options: Any
) -> Iterator[QueueWorker]:
    """A worker in a thread."""
    worker = QueueWorker(
        redis, DoJob(work, now, care, hands), stop=hands.close, at_once=2, **options
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()
        hands.close()


@contextmanager
def queue(folder: Path, empty: Path, care: Care, redis: str) -> Iterator[Rig]:
    """In child processes of a worker that takes them from a queue."""
    traces, name = Traces(folder), uuid4().hex
    with database(folder, empty) as (url, work):
        hands = ChildProcesses(performing(url, traces, care), at_once=2, limit=60)
        runner = QueuedJobs(redis, name=name)
        with working(url, work, hands, care, redis, name=name, grace=0.5):
            yield Rig(runner, work, traces)
        runner.close()


KINDS = {"memory": threads, "sqlite": processes, "redis": queue}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def rig(kind, empty, tmp_path_factory, redis_url) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp(kind)
    with KINDS[kind](folder, empty, QUICK, redis_url) as made:
        yield made


@pytest.fixture
def children(kind) -> None:
    """Where jobs are done by child processes."""


def test_a_job_is_done(rig: Rig):
    job = rig.submitted("plain", days=5)
    done = ended(rig.work, job)
    assert (done.state, done.result) == (JobState.SUCCEEDED, {"echo": {"days": 5}})
    assert (done.progress, done.attempts, done.alive, done.error) == (1.0, 1, None, None)
    assert done.finished is not None and done.finished >= job.created


def test_what_is_submitted_often_is_done_once(rig: Rig):
    job = kept(rig.work, a_job("plain"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rig.runner.submit, [job] * 8))
    ended(rig.work, job)
    rig.runner.submit(job)  # late
    after = rig.submitted("plain")
    ended(rig.work, after)
    assert rig.traces.attempts(job) == [1]


def test_what_is_not_due_waits(rig: Rig):
    due = now() + timedelta(seconds=1)
    job = kept(rig.work, attrs.evolve(a_job("plain"), due=due))
    rig.runner.submit(job)
    sooner = rig.submitted("plain")
    ended(rig.work, sooner)
    assert seen(rig.work, job).state is JobState.QUEUED
    done = ended(rig.work, job)
    assert done.finished >= due


def test_what_makes_no_sense_is_not_tried_again(rig: Rig):
    done = ended(rig.work, rig.submitted("senseless"))
    assert (done.state, done.error, done.attempts) == (JobState.FAILED, "policies: is no good", 1)


def test_what_cannot_be_done_now_is_tried_again_until_it_is_dead(rig: Rig):
    away, bug, unknown = (rig.submitted(kind) for kind in ("away", "bug", "unheard of"))
    waits = awaited(rig.work, away, lambda job: job.error)
    assert (waits.state, waits.error) == (JobState.QUEUED, "the exchange is on fire")
    assert waits.due >= waits.created + timedelta(seconds=2)
    dead = ended(rig.work, away)
    assert (dead.state, dead.attempts, dead.error) == (JobState.DEAD, 2, "the exchange is on fire")
    dead = ended(rig.work, bug)
    assert (dead.state, dead.error) == (JobState.DEAD, "something went wrong on our side")
    assert rig.traces.attempts(bug) == [1, 2]
    assert "unheard of" in str(ended(rig.work, unknown).error)
    rig.traces.let_go(away)
    again = RequeueJob(rig.work, rig.runner)(away.id, owner=None, now=now())
    assert (again.state, again.attempts) == (JobState.QUEUED, 0)
    assert ended(rig.work, away).state is JobState.SUCCEEDED


def test_progress_and_signs_of_life_can_be_seen(rig: Rig):
    job = rig.running("slow")
    told = awaited(rig.work, job, lambda job: job.progress)
    assert (told.state, told.progress) == (JobState.RUNNING, 0.25)
    awaited(rig.work, job, lambda job: job.alive > told.alive)
    rig.traces.let_go(job)
    assert ended(rig.work, job).result == {"attempt": 1}


def test_a_running_job_can_be_cancelled(rig: Rig):
    job = rig.running("slow")
    assert CancelJob(rig.work)(job.id, owner=None, now=now()).cancelling
    assert ended(rig.work, job).state is JobState.CANCELLED
    assert rig.traces.attempts(job) == [1]


def test_what_does_not_heed_is_cancelled_all_the_same(rig: Rig):
    job = rig.running("deaf")
    CancelJob(rig.work)(job.id, owner=None, now=now())
    assert ended(rig.work, job).state is JobState.CANCELLED
    rig.traces.let_go(job)
    assert ended(rig.work, rig.submitted("plain")).state is JobState.SUCCEEDED
    assert seen(rig.work, job).state is JobState.CANCELLED


def test_a_waiting_job_can_be_cancelled(rig: Rig):
    job = kept(rig.work, attrs.evolve(a_job("plain"), due=now() + timedelta(seconds=1)))
    rig.runner.submit(job)
    CancelJob(rig.work)(job.id, owner=None, now=now())
    following = attrs.evolve(a_job("plain"), due=job.due)
    rig.runner.submit(kept(rig.work, following))
    ended(rig.work, following)
    assert (seen(rig.work, job).state, rig.traces.attempts(job)) == (JobState.CANCELLED, [])


# What jobs in child processes withstand.


@pytest.fixture
def rigged(kind, empty, tmp_path, redis_url) -> Iterator[Callable[..., Rig]]:
    """Runners of a test's own."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Rig:
            care = attrs.evolve(QUICK, **changes)
            return stack.enter_context(KINDS[kind](tmp_path, empty, care, redis_url))

        yield make


def test_what_takes_too_long_is_stopped(rigged):
    rig = rigged(limit=0.3, attempts=1)
    job = rig.running("slow")
    dead = ended(rig.work, job)
    assert (dead.state, dead.error) == (JobState.DEAD, "it took longer than 0.3 s")


def others(runs: Callable[[psutil.Process], bool] = lambda _: True) -> list[psutil.Process]:
    """Child processes that do jobs."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline()) and runs(child)
    ]
