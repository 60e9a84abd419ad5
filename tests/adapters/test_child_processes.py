"""Child processes may be killed at any moment, and no caller waits forever."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from rebalancer.adapters.jobs.processes import ChildProcesses
from rebalancer.application.worker_processes import WorkerDied, WorkerProcess
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job
from tests.builders import a_job


def run_in_child(
    folder: Path, job: Job, *, should_stop: Callable[[], bool], exit_process: Callable[[], None]
) -> None:
    """Record the process id, then act by the job's kind."""
    note = folder / str(job.id)
    note.with_suffix(".new").write_text(str(os.getpid()))
    note.with_suffix(".new").rename(note)
    if job.kind == "unavailable":
        raise Unavailable("the store is on fire")
    if job.kind == "bug":
        raise KeyError("what")
    if job.kind == "long":
        while not should_stop():
            time.sleep(0.001)
        exit_process()
    if job.kind == "short":
        time.sleep(job.id.int % 10 / 1000)
    if job.kind == "unresponsive":
        time.sleep(600)


def worker_of(folder: Path, job: Job) -> int:
    """Wait for the process that runs or ran a job, and return its id."""
    latest = time.monotonic() + 60
    while not (folder / str(job.id)).exists():
        assert time.monotonic() < latest
        time.sleep(0.001)
    return int((folder / str(job.id)).read_text())


def run(executor: ChildProcesses, job: Job) -> None:
    with executor.reserve() as run_job:
        run_job(job)


@contextmanager
def children(folder: Path, **options) -> Iterator[ChildProcesses]:
    executor = ChildProcesses(
        partial(run_in_child, folder), **{"at_once": 1, "timeout": 60.0} | options
    )
    yield executor
    executor.close()


def send_threads(parent: Connection) -> None:
    """Send how many threads the numeric libraries use."""
    parent.send((os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]))


def test_children_use_one_thread_for_numbers(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    worker = WorkerProcess(send_threads)
    assert worker.receive() == ("1", "1")
    worker.close(10.0)


def test_one_process_runs_one_job_after_another(tmp_path):
    jobs = [a_job("note") for _ in range(3)]
    with children(tmp_path, at_once=2) as executor:
        for job in jobs:
            run(executor, job)
    assert len({worker_of(tmp_path, job) for job in jobs}) == 1


def test_number_of_processes_is_limited(tmp_path):
    with children(tmp_path, at_once=2) as executor, ThreadPoolExecutor(8) as pool:
        jobs = [a_job("note") for _ in range(40)]
        list(pool.map(partial(run, executor), jobs))
    assert len({worker_of(tmp_path, job) for job in jobs}) <= 2


def test_killed_idle_process_is_replaced(tmp_path):
    with children(tmp_path, at_once=2) as executor:
        for _ in range(6):
            job = a_job("note")
            run(executor, job)
            os.kill(worker_of(tmp_path, job), signal.SIGKILL)


def test_every_job_ends_when_processes_are_killed_at_random(tmp_path):
    chance = random.Random(5)
    over = threading.Event()

    def kill_some() -> None:
        done = 0
        while not over.wait(chance.uniform(0.0, 0.5)):
            if outcomes.count("done") < done + 10:
                continue  # on a busy machine a process takes longer to start
            done = outcomes.count("done")
            alive = multiprocessing.active_children()
            for child in chance.sample(alive, len(alive) // 2):
                child.kill()

    outcomes: list[str] = []

    def run_one(_: int) -> None:
        try:
            run(executor, a_job("short"))
            outcomes.append("done")
        except (WorkerDied, Unavailable) as error:
            outcomes.append(str(error).removeprefix("could not start a worker process: "))

    with children(tmp_path, at_once=4) as executor, ThreadPoolExecutor(4) as pool:
        killer = threading.Thread(target=kill_some, daemon=True)
        killer.start()
        try:
            list(pool.map(run_one, range(400), timeout=240))
        finally:
            over.set()
        killer.join()
        run(executor, a_job("note"))
    assert len(outcomes) == 400
    assert set(outcomes) == {"done", "the worker process ended with exit code -9"}


def test_errors_in_the_child_reach_the_caller(tmp_path):
    with children(tmp_path) as executor:
        with pytest.raises(Unavailable, match="on fire"):
            run(executor, a_job("unavailable"))
        with pytest.raises(RuntimeError, match="KeyError: 'what'"):
            run(executor, a_job("bug"))
        run(executor, a_job("note"))


def test_unresponsive_process_is_killed_after_the_timeout(tmp_path):
    with children(tmp_path, timeout=0.2) as executor:
        with pytest.raises(WorkerDied, match="code -9"):
            run(executor, a_job("unresponsive"))
        run(executor, a_job("note"))


def test_close_lets_busy_processes_release_their_jobs(tmp_path):
    with children(tmp_path, at_once=2) as executor, ThreadPoolExecutor(3) as pool:
        running = [a_job("long"), a_job("long")]
        futures = [pool.submit(run, executor, job) for job in running]
        for job in running:
            worker_of(tmp_path, job)
        waiting = pool.submit(run, executor, a_job("note"))
        executor.close()
        for future in (*futures, waiting):
            error = future.exception(10)
            assert isinstance(error, Unavailable)
            assert error.code == "worker_shutting_down"
        with pytest.raises(Unavailable):
            run(executor, a_job("note"))


def test_close_kills_unresponsive_processes(tmp_path):
    with (
        children(tmp_path, stop_timeout=0.2) as executor,
        ThreadPoolExecutor(1) as pool,
    ):
        job = a_job("unresponsive")
        future = pool.submit(run, executor, job)
        worker_of(tmp_path, job)
        executor.close()
        assert isinstance(future.exception(10), Unavailable)


def test_child_that_cannot_start_is_an_error_each_time(tmp_path):
    executor = ChildProcesses(EndsWhenUnpickled(), at_once=1, timeout=60.0)
    for _ in range(2):
        with pytest.raises(Unavailable, match="exit code 1") as error:
            run(executor, a_job("note"))
        assert error.value.code == "worker_not_started"
    executor.close()


class EndsWhenUnpickled:
    """Can be sent to a child, which ends when it receives it."""

    def __reduce__(self):
        return (_exit, ())


def _exit() -> None:
    raise SystemExit(1)
