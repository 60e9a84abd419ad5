"""What every `JobRunner` promises, and the executors of the jobs that it delivers."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest
import redis

from rebalancer.adapters.jobs.in_process import InProcessJobs
from rebalancer.adapters.jobs.processes import ChildProcesses
from rebalancer.adapters.jobs.queue import QueuedJobs, QueueWorker
from rebalancer.adapters.memory.stores import MemoryWork
from rebalancer.adapters.sql import migrations
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.job_worker import (
    WORKER_DIED,
    ClaimJob,
    JobSettings,
    RecoverJobs,
    RunJob,
)
from rebalancer.application.jobs import CancelJob, RequeueJob
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job, JobState
from tests.builders import a_job
from tests.contracts.jobs import (
    QUICK,
    InThreadExecutor,
    RecordingHandlers,
    Traces,
    awaited,
    child_function,
    ended,
    kept,
    now,
    seen,
)
from tests.contracts.stores import stored_user
from tests.servers import Valkey, running


@attrs.frozen
class Rig:
    """A runner with its store, and the records of its jobs."""

    runner: Any
    work: UnitOfWork
    traces: Traces
    close: Callable[[], None]

    def submitted(self, kind: str, *, owner: UUID | None = None, **request: Any) -> Job:
        job = kept(self.work, a_job(kind, request, owner=owner))
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
def threads(folder: Path, empty: Path, settings: JobSettings, server: str) -> Iterator[Rig]:
    """Jobs in threads, over a store in memory."""
    work, traces = MemoryWork(), Traces(folder)
    run_job = RunJob(work, RecordingHandlers(traces).handlers(), now, settings)
    claim = ClaimJob(work, now, settings, InThreadExecutor(run_job))
    jobs = InProcessJobs(claim, at_once=2, waiting=4)
    yield Rig(jobs, work, traces, jobs.close)
    jobs.close()


@contextmanager
def database(folder: Path, empty: Path) -> Iterator[tuple[str, SqlWork]]:
    url = f"sqlite:///{shutil.copy(empty, folder / 'rebalancer.db')}"
    engine = connect(url)
    yield url, SqlWork(engine)
    engine.dispose()


@contextmanager
def processes(folder: Path, empty: Path, settings: JobSettings, server: str) -> Iterator[Rig]:
    """Jobs in child processes, over a database."""
    traces = Traces(folder)
    with database(folder, empty) as (url, work):
        executor = ChildProcesses(child_function(url, traces, settings), at_once=2, timeout=60)
        jobs = InProcessJobs(ClaimJob(work, now, settings, executor), at_once=2, waiting=4)
        yield Rig(jobs, work, traces, lambda: jobs.close(executor.close))
        jobs.close(executor.close)


@attrs.frozen
class QueueRig(Rig):
    """Jobs in child processes of workers that take them from a queue."""

    start_worker: Callable[..., QueueWorker]
    """Starts a worker in a thread; it is stopped with the rig."""

    name: str
    """Name of the queue."""


@contextmanager
def queue_rig(
    folder: Path, empty: Path, server: str, *, settings: JobSettings = QUICK
) -> Iterator[QueueRig]:
    """A queue without a worker."""
    traces, name = Traces(folder), uuid4().hex
    with database(folder, empty) as (url, work), ExitStack() as stack:
        runner = QueuedJobs(server, name=name, timeout=1.0)
        stack.callback(runner.close)
        workers = stack.enter_context(ExitStack())

        def start_worker(
            *, clock: Callable[[], datetime] = now, grace: float = 0.5, **options: Any
        ) -> QueueWorker:
            executor = ChildProcesses(child_function(url, traces, settings), at_once=2, timeout=60)
            workers.callback(executor.close)
            claim = ClaimJob(work, clock, settings, executor)
            worker = QueueWorker(
                server, claim, stop=executor.close, at_once=2, name=name, **options
            )
            thread = threading.Thread(target=worker.run, kwargs={"grace": grace})
            thread.start()
            workers.callback(thread.join)
            workers.callback(worker.stop)
            return worker

        yield QueueRig(runner, work, traces, workers.close, start_worker, name)


@contextmanager
def queue(folder: Path, empty: Path, settings: JobSettings, server: str) -> Iterator[Rig]:
    """Jobs of one worker on a queue."""
    with queue_rig(folder, empty, server, settings=settings) as rig:
        rig.start_worker()
        yield rig


@pytest.fixture
def queued(empty, tmp_path, redis_url) -> Iterator[QueueRig]:
    with queue_rig(tmp_path, empty, redis_url) as rig:
        yield rig


KINDS = {"memory": threads, "sqlite": processes, "redis": queue}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def rig(kind, empty, tmp_path_factory, redis_url) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp(kind)
    with KINDS[kind](folder, empty, QUICK, redis_url) as made:
        yield made


def test_job_succeeds(rig: Rig):
    job = rig.submitted("plain", days=5)
    done = ended(rig.work, job)
    assert (done.state, done.result) == (JobState.SUCCEEDED, {"echo": {"days": 5}})
    assert (done.progress, done.attempts, done.last_heartbeat, done.error) == (1.0, 1, None, None)
    assert done.finished is not None and done.finished >= job.created


def test_job_submitted_repeatedly_runs_once(rig: Rig):
    job = kept(rig.work, a_job("plain"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rig.runner.submit, [job] * 8))
    ended(rig.work, job)
    rig.runner.submit(job)  # late
    after = rig.submitted("plain")
    ended(rig.work, after)
    assert rig.traces.attempts(job) == [1]


def test_newcomer_does_not_wait_for_the_jobs_of_others(rig: Rig):
    running = [rig.running("slow"), rig.running("slow")]
    owners = [stored_user(rig.work).id for _ in range(6)]
    crowd = [rig.submitted("plain", owner=owners[number % 6]) for number in range(101)]
    newcomer = rig.submitted("plain", owner=stored_user(rig.work).id)
    for job in running:
        rig.traces.let_finish(job)
    recover = RecoverJobs(rig.work, rig.runner, now, attrs.evolve(QUICK, redeliver_after=0.0))
    served = recovered(rig, recover, newcomer, lambda job: job.state.is_final)
    # The first jobs of six accounts are older; two jobs run at a time.
    for job in crowd:
        recovered(rig, recover, job, lambda job: job.state.is_final)
    before = [job for job in crowd if seen(rig.work, job).started < served.started]
    assert len(before) <= len(owners) + 2
    late = rig.submitted("plain", owner=stored_user(rig.work).id)
    assert ended(rig.work, late).state is JobState.SUCCEEDED


def test_job_waits_until_it_is_due(rig: Rig):
    due = now() + timedelta(seconds=2)
    job = kept(rig.work, attrs.evolve(a_job("plain"), due=due))
    rig.runner.submit(job)
    sooner = rig.submitted("plain")
    ended(rig.work, sooner)
    assert seen(rig.work, job).state is JobState.QUEUED or now() > due
    done = ended(rig.work, job)
    assert done.finished >= due


def test_invalid_request_is_not_retried(rig: Rig):
    done = ended(rig.work, rig.submitted("invalid"))
    assert (done.state, done.attempts) == (JobState.FAILED, 1)
    assert done.error == "policies: unknown policy"


def test_failing_job_is_retried_until_it_is_dead(rig: Rig):
    away, bug, unknown = (rig.submitted(kind) for kind in ("unavailable", "bug", "no such kind"))
    waits = awaited(rig.work, away, lambda job: job.error)
    assert (waits.state, waits.error) == (JobState.QUEUED, "the exchange is on fire")
    assert waits.due >= waits.created + timedelta(seconds=2)
    dead = ended(rig.work, away)
    assert (dead.state, dead.attempts, dead.error) == (JobState.DEAD, 2, "the exchange is on fire")
    dead = ended(rig.work, bug)
    assert (dead.state, dead.error) == (JobState.DEAD, "an internal error occurred")
    assert rig.traces.attempts(bug) == [1, 2]
    assert "no such kind" in str(ended(rig.work, unknown).error)
    rig.traces.let_finish(away)
    again = RequeueJob(rig.work, rig.runner)(away.id, owner=None, now=now())
    assert (again.state, again.attempts, again.excused_attempts) == (JobState.QUEUED, 2, 2)
    assert ended(rig.work, away).state is JobState.SUCCEEDED


def test_progress_and_heartbeats_are_stored(rig: Rig):
    job = rig.running("slow")
    first = awaited(rig.work, job, lambda job: job.progress)
    assert (first.state, first.progress) == (JobState.RUNNING, 0.25)
    awaited(rig.work, job, lambda job: job.last_heartbeat > first.last_heartbeat)
    rig.traces.let_finish(job)
    assert ended(rig.work, job).result == {"attempt": 1}


def test_running_job_is_cancelled(rig: Rig):
    job = rig.running("slow")
    assert CancelJob(rig.work)(job.id, owner=None, now=now()).cancelling
    assert ended(rig.work, job).state is JobState.CANCELLED
    assert rig.traces.attempts(job) == [1]


def test_unresponsive_job_is_cancelled(rig: Rig):
    job = rig.running("unresponsive")
    CancelJob(rig.work)(job.id, owner=None, now=now())
    assert ended(rig.work, job).state is JobState.CANCELLED
    rig.traces.let_finish(job)
    assert ended(rig.work, rig.submitted("plain")).state is JobState.SUCCEEDED
    assert seen(rig.work, job).state is JobState.CANCELLED


def test_queued_job_is_cancelled(rig: Rig):
    job = kept(rig.work, attrs.evolve(a_job("plain"), due=now() + timedelta(seconds=1)))
    rig.runner.submit(job)
    CancelJob(rig.work)(job.id, owner=None, now=now())
    following = attrs.evolve(a_job("plain"), due=job.due)
    rig.runner.submit(kept(rig.work, following))
    ended(rig.work, following)
    assert (seen(rig.work, job).state, rig.traces.attempts(job)) == (JobState.CANCELLED, [])


@pytest.fixture
def rigged(kind, empty, tmp_path, redis_url) -> Iterator[Callable[..., Rig]]:
    """Makes a runner for one test."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Rig:
            settings = attrs.evolve(QUICK, **changes)
            return stack.enter_context(KINDS[kind](tmp_path, empty, settings, redis_url))

        yield make


def test_job_that_takes_too_long_is_stopped(rigged):
    rig = rigged(timeout=0.3, attempts=1)
    job = rig.running("slow")
    dead = ended(rig.work, job)
    assert (dead.state, dead.error) == (JobState.DEAD, "the job took longer than 0.3 s")


@pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")
def test_closing_thread_runner_finishes_running_jobs(rigged):
    rig = rigged()
    jobs = [rig.running("slow"), rig.running("unresponsive")]
    waiting = rig.submitted("plain")
    closing = threading.Thread(target=rig.close)
    closing.start()
    for job in jobs:
        rig.traces.let_finish(job)
    closing.join()
    assert [seen(rig.work, job).state for job in jobs] == [JobState.SUCCEEDED] * 2
    assert seen(rig.work, waiting).state in (JobState.QUEUED, JobState.SUCCEEDED)


# Child processes.

killed = pytest.mark.parametrize("kind", ["sqlite", "redis"], indirect=True, scope="module")


@killed
def test_closing_runner_releases_running_jobs_and_leaves_waiting_ones(rigged):
    rig = rigged()
    jobs = [rig.running("slow"), rig.running("unresponsive")]
    waiting = rig.submitted("plain")
    rig.close()
    for job in jobs:
        left = seen(rig.work, job)
        assert (left.state, left.excused_attempts) == (JobState.QUEUED, 1)
    assert (seen(rig.work, waiting).state, rig.traces.attempts(waiting)) == (JobState.QUEUED, [])


@killed
def test_job_of_killed_process_is_retried(rig: Rig):
    job = rig.running("slow")
    os.kill(rig.traces.process(job), signal.SIGKILL)
    waits = awaited(rig.work, job, lambda job: job.error)
    assert (waits.state, waits.error) == (JobState.QUEUED, WORKER_DIED)
    rig.traces.let_finish(job)
    assert ended(rig.work, job).result == {"attempt": 2}
    assert rig.traces.attempts(job) == [1, 2]


@killed
def test_crashing_job_does_not_affect_others(rig: Rig):
    other = rig.running("slow")
    job = rig.submitted("crash")
    assert ended(rig.work, job).result == {"attempt": 2}
    rig.traces.let_finish(other)
    done = ended(rig.work, other)  # perhaps released once, while the database was too busy
    assert (done.state, done.attempts - done.excused_attempts) == (JobState.SUCCEEDED, 1)


@killed
@pytest.mark.parametrize("what", ["slow", "unresponsive"])
def test_terminated_process_releases_its_job(rig: Rig, what):
    job = rig.running(what)
    first = rig.traces.process(job)
    os.kill(first, signal.SIGTERM)
    awaited(rig.work, job, lambda _: rig.traces.attempts(job) == [1, 2])
    assert rig.traces.process(job) != first
    rig.traces.let_finish(job)
    done = ended(rig.work, job)
    assert (done.result, done.error, done.excused_attempts) == ({"attempt": 2}, None, 1)


@killed
def test_killed_idle_process_is_replaced(rig: Rig):
    for _ in range(3):
        job = rig.submitted("plain")
        ended(rig.work, job)
        os.kill(rig.traces.process(job), signal.SIGKILL)
    done = ended(rig.work, rig.submitted("plain"))
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)


# Recovery.


class LosingRunner:
    """Loses every job that is submitted."""

    def submit(self, job: Job) -> None: ...


def recovered(rig: Rig, recover: RecoverJobs, job: Job, has: Callable[[Job], object]) -> Job:
    """Recover jobs until a condition holds."""

    def check(job: Job) -> object:
        recover()
        return has(job)

    return awaited(rig.work, job, check)


def test_lost_job_is_redelivered_and_silent_job_reclaimed(rig: Rig):
    lost, silent = kept(rig.work, a_job("plain")), a_job("plain").start(now())
    kept(rig.work, silent)
    settings = attrs.evolve(QUICK, redeliver_after=0.3, heartbeat_timeout=0.6)
    recover = RecoverJobs(rig.work, rig.runner, now, settings)
    assert not {lost.id, silent.id} & {job.id for job in recover()}
    done = recovered(rig, recover, lost, lambda job: job.state.is_final)
    assert done.state is JobState.SUCCEEDED
    waits = recovered(rig, recover, silent, lambda job: job.error)
    assert (waits.state, waits.error) == (JobState.QUEUED, WORKER_DIED)
    done = ended(rig.work, silent)
    assert (done.state, done.attempts, rig.traces.attempts(silent)) == (JobState.SUCCEEDED, 2, [2])


def test_running_job_is_not_reclaimed_by_a_process_with_another_clock(rig: Rig):
    job = rig.running("slow")
    seconds = [0.0]
    recover = RecoverJobs(
        *(rig.work, LosingRunner(), lambda: now() + timedelta(hours=1)),
        *(attrs.evolve(QUICK, redeliver_after=0.0, heartbeat_timeout=2.0), lambda: seconds[0]),
    )
    for _ in range(4):  # each time 1.5 s later, after another heartbeat
        assert job.id not in {one.id for one in recover()}
        before = seen(rig.work, job).last_heartbeat
        awaited(rig.work, job, lambda job, before=before: job.last_heartbeat > before)
        seconds[0] += 1.5
    rig.traces.let_finish(job)
    assert ended(rig.work, job).attempts == 1


def test_worker_that_lost_its_job_stops(rig: Rig):
    job = rig.running("slow")
    hasty = attrs.evolve(QUICK, heartbeat_timeout=-1.0)
    recover = RecoverJobs(rig.work, LosingRunner(), now, hasty)
    recovered(rig, recover, job, lambda job: job.error)  # unless a heartbeat comes between
    with rig.work.begin() as tx:  # skip the pause before the next attempt
        tx.jobs.save(attrs.evolve(tx.jobs.get(job.id), due=now()))
    rig.runner.submit(seen(rig.work, job))
    awaited(rig.work, job, lambda _: rig.traces.attempts(job) == [1, 2])
    rig.traces.let_finish(job)
    assert ended(rig.work, job).result == {"attempt": 2}


# In this process.


@pytest.mark.parametrize("kind", ["memory", "sqlite"], indirect=True, scope="module")
def test_jobs_beyond_the_deliveries_that_may_wait_are_run_later(rigged):
    rig = rigged()
    jobs = [rig.running("slow"), rig.running("slow")]
    waiting = [rig.submitted("plain") for _ in range(7)]
    rig.runner.submit(waiting[0])  # submitted before: no error
    for job in jobs:
        rig.traces.let_finish(job)
    for job in (*jobs, *waiting[:4]):
        ended(rig.work, job)
    RecoverJobs(rig.work, rig.runner, now, attrs.evolve(QUICK, redeliver_after=0.0))()
    for job in waiting:
        ended(rig.work, job)
    assert [rig.traces.attempts(job) for job in waiting] == [[1]] * 7


class ImmediateExecutor(Executor):
    """Runs a call before it returns the future, which then calls back in the same thread."""

    def submit(self, call, /, *arguments):
        future = Future()
        future.set_result(call(*arguments))
        return future


def test_job_that_ends_before_its_callback_is_registered_is_finished():
    claimed = []
    jobs = InProcessJobs(claimed.append, pool=ImmediateExecutor())
    for job in (one := a_job("plain"), other := a_job("plain")):
        caller = threading.Thread(target=jobs.submit, args=[job], daemon=True)
        caller.start()
        caller.join(60)
        assert not caller.is_alive()
    assert claimed == [one.id, other.id]
    jobs.close()


# On Redis.


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server that a test may kill."""
    with running(Valkey) as server:
        yield server


def test_jobs_survive_a_queue_that_loses_its_data(empty, tmp_path, valkey):
    with queue_rig(tmp_path, empty, valkey.url) as rig:
        jobs = [kept(rig.work, a_job("plain")) for _ in range(12)]
        for job in jobs[:8]:
            rig.runner.submit(job)
        valkey.kill()
        for _ in range(2):
            with pytest.raises(Unavailable) as away:
                rig.runner.submit(jobs[8])
            assert away.value.code == "job_queue_away"
            assert away.value.__cause__ is not None  # for the log
        for _ in range(2):
            rig.start_worker()
        valkey.start()
        recover = RecoverJobs(rig.work, rig.runner, now, QUICK)
        for job in jobs:
            recovered(rig, recover, job, lambda job: job.state.is_final)
        valkey.kill()
        valkey.start()
        after = rig.submitted("plain")
        ended(rig.work, after)
        assert [rig.traces.attempts(job) for job in (*jobs, after)] == [[1]] * 13


def test_job_of_dead_worker_is_redelivered(queued: QueueRig, redis_url):
    job = queued.submitted("plain")
    with redis.Redis.from_url(redis_url) as client:  # as a worker does that dies afterwards
        assert client.lmove(f"saq:{queued.name}:queued", f"saq:{queued.name}:active")
    queued.start_worker(sweep_interval=1)
    recover = RecoverJobs(queued.work, queued.runner, now, QUICK)
    done = recovered(queued, recover, job, lambda job: job.state.is_final)
    assert done.attempts == 1


def test_job_delivered_early_by_a_slow_clock_runs_when_it_is_due(queued: QueueRig):
    queued.start_worker(clock=lambda: now() - timedelta(seconds=2))
    job = queued.submitted("plain")
    assert ended(queued.work, job).attempts == 1
    assert now() >= job.due + timedelta(seconds=2)


def test_delivery_dropped_by_the_queue_is_still_waited_for(queued: QueueRig):
    worker = queued.start_worker(grace=0.2)
    job = queued.running("slow")
    for task in list(worker.running):  # as SAQ does with a delivery that seems stuck
        if isinstance(task, asyncio.Task):
            task.get_loop().call_soon_threadsafe(task.cancel)
    awaited(queued.work, job, lambda _: len(worker.running) == 1)
    queued.close()
    left = seen(queued.work, job)
    assert (left.state, left.excused_attempts) == (JobState.QUEUED, 1)


def test_stopping_worker_lets_jobs_finish_within_the_grace_period(queued: QueueRig):
    worker = queued.start_worker(grace=60.0)
    job = queued.running("slow")
    worker.stop()
    time.sleep(0.5)  # a delivery that the worker took before is returned to the queue
    later = queued.submitted("plain")
    queued.traces.let_finish(job)
    queued.close()
    assert seen(queued.work, job).state is JobState.SUCCEEDED
    assert seen(queued.work, later).state is JobState.QUEUED
