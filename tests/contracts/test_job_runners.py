"""What every `JobRunner` promises, and those who do the jobs that it delivers."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

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
    Doing,
    InThreadExecutor,
    Traces,
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
    close: Callable[[], None]

    def submitted(self, kind: str, **request: Any) -> Job:
        job = kept(self.work, a_job(kind, request))
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
def threads(folder: Path, empty: Path, care: JobSettings, server: str) -> Iterator[Rig]:
    """In threads over a store in memory."""
    work, traces = MemoryWork(), Traces(folder)
    hands = InThreadExecutor(RunJob(work, Doing(traces).handlers(), now, care))
    jobs = InProcessJobs(ClaimJob(work, now, care, hands), at_once=2, waiting=4)
    yield Rig(jobs, work, traces, jobs.close)
    jobs.close()


@contextmanager
def database(folder: Path, empty: Path) -> Iterator[tuple[str, SqlWork]]:
    url = f"sqlite:///{shutil.copy(empty, folder / 'rebalancer.db')}"
    engine = connect(url)
    yield url, SqlWork(engine)
    engine.dispose()


@contextmanager
def processes(folder: Path, empty: Path, care: JobSettings, server: str) -> Iterator[Rig]:
    """In child processes over a database."""
    traces = Traces(folder)
    with database(folder, empty) as (url, work):
        hands = ChildProcesses(performing(url, traces, care), at_once=2, timeout=60)
        jobs = InProcessJobs(ClaimJob(work, now, care, hands), at_once=2, waiting=4)
        yield Rig(jobs, work, traces, lambda: jobs.close(hands.close))
        jobs.close(hands.close)


@contextmanager
def working(
    work: UnitOfWork,
    hands: ChildProcesses,
    care: JobSettings,
    server: str,
    grace: float = 0.5,
    **options: Any,
) -> Iterator[QueueWorker]:
    """A worker in a thread."""
    worker = QueueWorker(
        server, ClaimJob(work, now, care, hands), stop=hands.close, at_once=2, **options
    )
    thread = threading.Thread(target=worker.run, kwargs={"grace": grace})
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()
        hands.close()


@contextmanager
def queue(folder: Path, empty: Path, care: JobSettings, server: str) -> Iterator[Rig]:
    """In child processes of a worker that takes them from a queue."""
    traces, name = Traces(folder), uuid4().hex
    with database(folder, empty) as (url, work):
        hands = ChildProcesses(performing(url, traces, care), at_once=2, timeout=60)
        runner = QueuedJobs(server, name=name)
        with ExitStack() as stack:
            stack.enter_context(working(work, hands, care, server, name=name))
            yield Rig(runner, work, traces, stack.close)
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


def test_a_job_is_done(rig: Rig):
    job = rig.submitted("plain", days=5)
    done = ended(rig.work, job)
    assert (done.state, done.result) == (JobState.SUCCEEDED, {"echo": {"days": 5}})
    assert (done.progress, done.attempts, done.last_heartbeat, done.error) == (1.0, 1, None, None)
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
    due = now() + timedelta(seconds=2)
    job = kept(rig.work, attrs.evolve(a_job("plain"), due=due))
    rig.runner.submit(job)
    sooner = rig.submitted("plain")
    ended(rig.work, sooner)
    assert seen(rig.work, job).state is JobState.QUEUED or now() > due
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
    assert (dead.state, dead.error) == (JobState.DEAD, "an internal error occurred")
    assert rig.traces.attempts(bug) == [1, 2]
    assert "unheard of" in str(ended(rig.work, unknown).error)
    rig.traces.let_go(away)
    again = RequeueJob(rig.work, rig.runner)(away.id, owner=None, now=now())
    assert (again.state, again.attempts, again.excused_attempts) == (JobState.QUEUED, 2, 2)
    assert ended(rig.work, away).state is JobState.SUCCEEDED


def test_progress_and_signs_of_life_can_be_seen(rig: Rig):
    job = rig.running("slow")
    told = awaited(rig.work, job, lambda job: job.progress)
    assert (told.state, told.progress) == (JobState.RUNNING, 0.25)
    awaited(rig.work, job, lambda job: job.last_heartbeat > told.last_heartbeat)
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


@pytest.fixture
def rigged(kind, empty, tmp_path, redis_url) -> Iterator[Callable[..., Rig]]:
    """Runners of a test's own."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Rig:
            care = attrs.evolve(QUICK, **changes)
            return stack.enter_context(KINDS[kind](tmp_path, empty, care, redis_url))

        yield make


def test_what_takes_too_long_is_stopped(rigged):
    rig = rigged(timeout=0.3, attempts=1)
    job = rig.running("slow")
    dead = ended(rig.work, job)
    assert (dead.state, dead.error) == (JobState.DEAD, "the job took longer than 0.3 s")


def test_a_runner_that_ends_puts_back_what_it_does_and_leaves_what_waits(rigged, kind):
    rig = rigged()
    doing = [rig.running("slow"), rig.running("deaf")]
    waiting = rig.submitted("plain")
    if kind == "memory":  # nobody ends this process: what runs is done first
        for job in doing:
            threading.Timer(0.2, rig.traces.let_go, [job]).start()
    rig.close()
    states = [seen(rig.work, job).state for job in doing]
    assert states == [JobState.SUCCEEDED if kind == "memory" else JobState.QUEUED] * 2
    assert [seen(rig.work, job).excused_attempts for job in doing] == [
        0 if kind == "memory" else 1
    ] * 2
    assert (seen(rig.work, waiting).state, rig.traces.attempts(waiting)) == (JobState.QUEUED, [])


# What jobs in child processes withstand.

killed = pytest.mark.parametrize("kind", ["sqlite", "redis"], indirect=True, scope="module")


@killed
def test_a_job_whose_process_is_killed_is_tried_again(rig: Rig):
    job = rig.running("slow")
    os.kill(rig.traces.doer(job), signal.SIGKILL)
    waits = awaited(rig.work, job, lambda job: job.error)
    assert (waits.state, waits.error) == (JobState.QUEUED, WORKER_DIED)
    rig.traces.let_go(job)
    assert ended(rig.work, job).result == {"attempt": 2}
    assert rig.traces.attempts(job) == [1, 2]


@killed
def test_a_job_that_kills_its_process_does_not_harm_others(rig: Rig):
    beside = rig.running("slow")
    job = rig.submitted("crash")
    assert ended(rig.work, job).result == {"attempt": 2}
    rig.traces.let_go(beside)
    assert ended(rig.work, beside).attempts == 1


@killed
@pytest.mark.parametrize("what", ["slow", "deaf"])
def test_a_process_that_is_told_to_end_puts_its_job_back(rig: Rig, what):
    job = rig.running(what)
    first = rig.traces.doer(job)
    os.kill(first, signal.SIGTERM)
    awaited(rig.work, job, lambda _: rig.traces.attempts(job) == [1, 2])
    assert rig.traces.doer(job) != first
    rig.traces.let_go(job)
    done = ended(rig.work, job)
    assert (done.result, done.error, done.excused_attempts) == ({"attempt": 2}, None, 1)


@killed
def test_processes_that_die_without_a_job_are_replaced(rig: Rig):
    for _ in range(3):
        job = rig.submitted("plain")
        ended(rig.work, job)
        os.kill(rig.traces.doer(job), signal.SIGKILL)
    done = ended(rig.work, rig.submitted("plain"))
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)


# Recovery.


class Nobody:
    """A runner that loses what is submitted."""

    def __init__(self) -> None:
        self.submitted: list[Job] = []

    def submit(self, job: Job) -> None:
        self.submitted.append(job)


def test_what_was_lost_is_delivered_again_and_what_is_silent_is_taken_away(rig: Rig):
    lost, gone = kept(rig.work, a_job("plain")), a_job("plain").start(now())
    kept(rig.work, gone)
    recover = RecoverJobs(
        rig.work, rig.runner, now, attrs.evolve(QUICK, redeliver_after=0.3, heartbeat_timeout=0.6)
    )
    assert not {lost.id, gone.id} & {job.id for job in recover()}
    awaited(rig.work, lost, lambda job: recover() or job.state.is_final)
    assert ended(rig.work, lost).state is JobState.SUCCEEDED
    waits = awaited(rig.work, gone, lambda job: (recover(), job.error)[1])
    assert (waits.state, waits.error) == (JobState.QUEUED, WORKER_DIED)
    done = ended(rig.work, gone)
    assert (done.state, done.attempts, rig.traces.attempts(gone)) == (JobState.SUCCEEDED, 2, [2])


def test_what_is_done_is_not_taken_away(rig: Rig):
    """Whatever the clock of whoever recovers jobs may say."""
    job = rig.running("slow")
    later = lambda: now() + timedelta(hours=1)  # noqa: E731
    recover = RecoverJobs(
        rig.work, Nobody(), later, attrs.evolve(QUICK, redeliver_after=0.0, heartbeat_timeout=2.0)
    )
    began = time.monotonic()
    while time.monotonic() < began + 3.0:
        assert job.id not in {one.id for one in recover()}
        time.sleep(0.05)
    rig.traces.let_go(job)
    assert ended(rig.work, job).attempts == 1


def test_whoever_was_taken_for_gone_stops(rig: Rig):
    job = rig.running("slow")
    hasty = RecoverJobs(rig.work, Nobody(), now, attrs.evolve(QUICK, heartbeat_timeout=-1.0))
    recovered = hasty()
    assert [one.id for one in recovered] == [job.id]
    with rig.work.begin() as tx:  # it waits for a moment by our clock
        tx.jobs.save(attrs.evolve(tx.jobs.get(job.id), due=now()))
    rig.runner.submit(seen(rig.work, job))
    awaited(rig.work, job, lambda _: rig.traces.attempts(job) == [1, 2])
    rig.traces.let_go(job)
    assert ended(rig.work, job).result == {"attempt": 2}


# In this process.


@pytest.mark.parametrize("kind", ["memory", "sqlite"], indirect=True, scope="module")
def test_there_is_room_for_so_many(rigged):
    rig = rigged()
    doing = [rig.running("slow"), rig.running("slow")]
    waiting = [rig.submitted("plain") for _ in range(4)]
    with pytest.raises(Unavailable, match="try again"):
        rig.submitted("plain")
    rig.runner.submit(waiting[0])  # it is no error, as it was submitted already
    for job in doing:
        rig.traces.let_go(job)
    for job in (*doing, *waiting):
        ended(rig.work, job)


# On Redis.


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server to kill."""
    with running(Valkey) as server:
        yield server


def test_jobs_survive_a_queue_that_forgets_and_two_workers_do_each_once(empty, tmp_path, valkey):
    traces, name = Traces(tmp_path), uuid4().hex
    with database(tmp_path, empty) as (url, work), ExitStack() as stack:
        runner = QueuedJobs(valkey.url, name=name, timeout=1.0)
        stack.callback(runner.close)
        jobs = [kept(work, a_job("plain")) for _ in range(12)]
        for job in jobs[:8]:
            runner.submit(job)
        valkey.kill()
        began = now()
        for _ in range(2):
            with pytest.raises(Unavailable) as away:
                runner.submit(jobs[8])
            assert str(away.value) == "the job queue does not answer; try again"
            assert away.value.__cause__ is not None  # which is for operators
        assert now() - began < timedelta(seconds=3)
        for _ in range(2):
            hands = ChildProcesses(performing(url, traces, QUICK), at_once=1, timeout=60)
            stack.enter_context(working(work, hands, QUICK, valkey.url, name=name))
        valkey.start()
        recovers = [RecoverJobs(work, runner, now, QUICK) for _ in range(2)]
        for job in jobs:
            awaited(work, job, lambda job: [each() for each in recovers] and job.state.is_final)
        valkey.kill()
        valkey.start()
        after = kept(work, a_job("plain"))
        runner.submit(after)
        ended(work, after)
        assert [traces.attempts(job) for job in (*jobs, after)] == [[1]] * 13


def test_a_delivery_that_its_worker_took_to_the_grave_is_made_again(empty, tmp_path, redis_url):
    traces, name = Traces(tmp_path), uuid4().hex
    with database(tmp_path, empty) as (url, work), ExitStack() as stack:
        runner = QueuedJobs(redis_url, name=name)
        stack.callback(runner.close)
        job = kept(work, a_job("plain"))
        runner.submit(job)
        with redis.Redis.from_url(redis_url) as client:  # as a worker does, which dies then
            assert client.lmove(f"saq:{name}:queued", f"saq:{name}:active")
        hands = ChildProcesses(performing(url, traces, QUICK), at_once=1, timeout=60)
        stack.enter_context(working(work, hands, QUICK, redis_url, name=name, sweep_interval=1))
        recover = RecoverJobs(work, runner, now, QUICK)

        def ended_at_last(job: Job) -> bool:
            recover()  # again and again, as until the queue forgets the first, there is no second
            return job.state.is_final

        assert awaited(work, job, ended_at_last).attempts == 1


def test_what_comes_early_by_our_clock_is_done_when_it_is_due(empty, tmp_path, redis_url):
    """As on a machine whose clock is behind that of whoever submitted the job."""
    traces, name = Traces(tmp_path), uuid4().hex
    with database(tmp_path, empty) as (url, work), ExitStack() as stack:
        behind = lambda: now() - timedelta(seconds=2)  # noqa: E731
        hands = ChildProcesses(performing(url, traces, QUICK), at_once=1, timeout=60)
        stack.callback(hands.close)
        worker = QueueWorker(
            redis_url, ClaimJob(work, behind, QUICK, hands), stop=hands.close, name=name
        )
        thread = threading.Thread(target=worker.run, kwargs={"grace": 1.0})
        thread.start()
        stack.callback(thread.join)
        stack.callback(worker.stop)
        runner = QueuedJobs(redis_url, name=name)
        stack.callback(runner.close)
        job = kept(work, a_job("plain"))
        runner.submit(job)
        assert ended(work, job).attempts == 1
        assert now() >= job.due + timedelta(seconds=2)


def test_a_delivery_that_the_queue_gives_up_is_waited_for_all_the_same(empty, tmp_path, redis_url):
    traces, name = Traces(tmp_path), uuid4().hex
    with database(tmp_path, empty) as (url, work):
        runner = QueuedJobs(redis_url, name=name)
        hands = ChildProcesses(performing(url, traces, QUICK), at_once=1, timeout=60)
        with working(work, hands, QUICK, redis_url, name=name, grace=0.2) as worker:
            rig = Rig(runner, work, traces, lambda: None)
            job = rig.running("slow")
            for task in list(worker._running):  # as it does with what it takes for stuck
                if isinstance(task, asyncio.Task):
                    task.get_loop().call_soon_threadsafe(task.cancel)
            awaited(work, job, lambda _: len(worker._running) == 1)
            began = time.monotonic()
        assert time.monotonic() < began + 5
        assert (seen(work, job).state, seen(work, job).excused_attempts) == (JobState.QUEUED, 1)
        runner.close()


def test_a_worker_that_is_told_to_stop_lets_jobs_end_within_its_grace(empty, tmp_path, redis_url):
    traces, name = Traces(tmp_path), uuid4().hex
    with database(tmp_path, empty) as (url, work):
        runner = QueuedJobs(redis_url, name=name)
        hands = ChildProcesses(performing(url, traces, QUICK), at_once=2, timeout=60)
        with working(work, hands, QUICK, redis_url, name=name, grace=10.0) as worker:
            rig = Rig(runner, work, traces, lambda: None)
            job = rig.running("slow")
            worker.stop()
            later = rig.submitted("plain")
            threading.Timer(1.5, traces.let_go, [job]).start()
        assert seen(work, job).state is JobState.SUCCEEDED
        assert seen(work, later).state is JobState.QUEUED
        runner.close()


def test_a_job_that_ends_before_anybody_looks_is_done_all_the_same():
    """Futures that are done already call back at once, in the thread that asks."""
    seen_to = []
    jobs = InProcessJobs(lambda id: seen_to.append(id))
    pool, jobs._pool = jobs._pool, AtOnce()
    for job in (one := a_job("plain"), other := a_job("plain")):
        caller = threading.Thread(target=jobs.submit, args=[job], daemon=True)
        caller.start()
        caller.join(10)
        assert not caller.is_alive()
    assert seen_to == [one.id, other.id]
    jobs.close()
    pool.shutdown()


class AtOnce:
    """A pool that has done everything before it answers."""

    def submit(self, do, *arguments):
        future = Future()
        future.set_result(do(*arguments))
        return future

    def shutdown(self, **_):
        pass
