"""Child processes are killed at any moment, and nobody waits for ever."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from rebalancer.adapters.jobs.processes import ChildProcesses
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.jobs.job import Job
from tests.builders import a_job


def do(
    folder: Path, job: Job, *, should_stop: Callable[[], bool], exit_process: Callable[[], None]
) -> None:
    """Note who did it, then do as the job's kind says."""
    note = folder / str(job.id)
    note.with_suffix(".new").write_text(str(os.getpid()))
    note.with_suffix(".new").rename(note)
    if job.kind == "away":
        raise Unavailable("the store is on fire")
    if job.kind == "bug":
        raise KeyError("what")
    if job.kind == "long":
        while not should_stop():
            time.sleep(0.001)
        exit_process()
    if job.kind == "nap":
        time.sleep(job.id.int % 10 / 1000)
    if job.kind == "deaf":
        time.sleep(600)


def doer(folder: Path, job: Job) -> int:
    """Which process does or did it."""
    latest = time.monotonic() + 20
    while not (folder / str(job.id)).exists():
        assert time.monotonic() < latest
        time.sleep(0.001)
    return int((folder / str(job.id)).read_text())


def done(hands: ChildProcesses, job: Job) -> None:
    """Have one do a job as soon as it is ready."""
    with hands.reserve() as do_it:
        do_it(job)


@contextmanager
def children(folder: Path, **options) -> Iterator[ChildProcesses]:
    made = ChildProcesses(partial(do, folder), **{"at_once": 1, "limit": 60.0} | options)
    yield made
    made.close()


def test_one_process_does_one_job_after_another(tmp_path):
    jobs = [a_job("note") for _ in range(3)]
    with children(tmp_path, at_once=2) as hands:
        for job in jobs:
            done(hands, job)
    assert len({doer(tmp_path, job) for job in jobs}) == 1


def test_no_more_run_than_may(tmp_path):
    with children(tmp_path, at_once=2) as hands, ThreadPoolExecutor(8) as pool:
        jobs = [a_job("note") for _ in range(40)]
        list(pool.map(partial(done, hands), jobs))
    assert len({doer(tmp_path, job) for job in jobs}) <= 2


def test_whoever_is_killed_without_a_job_is_replaced_and_no_job_notices(tmp_path):
    with children(tmp_path, at_once=2) as hands:
        for _ in range(6):
            job = a_job("note")
            done(hands, job)
            os.kill(doer(tmp_path, job), signal.SIGKILL)


def test_killed_at_any_moment_each_job_comes_to_an_end(tmp_path):
    chance = random.Random(5)
    over = threading.Event()

    def strike() -> None:
        while not over.wait(chance.uniform(0.0, 0.5)):
            there = [*hands._busy.copy(), *hands._idle]
            for child in chance.sample(there, len(there) // 2):
                child.process.kill()

    ends: list[str] = []

    def one(_: int) -> None:
        try:
            done(hands, a_job("nap"))
            ends.append("done")
        except (RuntimeError, Unavailable) as error:
            ends.append(str(error).removeprefix("nobody can do jobs here: "))

    with children(tmp_path, at_once=4) as hands, ThreadPoolExecutor(4) as pool:
        striker = threading.Thread(target=strike, daemon=True)
        striker.start()
        try:
            list(pool.map(one, range(1000), timeout=120))
        finally:
            over.set()
        striker.join()
        done(hands, a_job("note"))
    assert len(ends) == 1000
    assert set(ends) == {"done", "its process ended with code -9"}


def test_what_goes_wrong_is_told(tmp_path):
    with children(tmp_path) as hands:
        with pytest.raises(Unavailable, match="on fire"):
            done(hands, a_job("away"))
        with pytest.raises(RuntimeError, match="KeyError: 'what'"):
            done(hands, a_job("bug"))
        done(hands, a_job("note"))


def test_what_does_not_stop_is_killed_after_its_time(tmp_path):
    with children(tmp_path, limit=0.2) as hands:
        with pytest.raises(RuntimeError, match="code -9"):
            done(hands, a_job("deaf"))
        done(hands, a_job("note"))


def test_closing_lets_busy_ones_put_back_and_begins_no_more(tmp_path):
    with children(tmp_path, at_once=2) as hands, ThreadPoolExecutor(3) as pool:
        doing = [a_job("long"), a_job("long")]
        futures = [pool.submit(done, hands, job) for job in doing]
        for job in doing:
            doer(tmp_path, job)
        waiting = pool.submit(done, hands, a_job("note"))
        hands.close()
        for future in futures:  # who attends to them puts back what they could not
            assert isinstance(future.exception(10), Unavailable)
        assert isinstance(waiting.exception(10), Unavailable)
        with pytest.raises(Unavailable):
            done(hands, a_job("note"))


def test_closing_kills_whoever_does_not_heed(tmp_path, monkeypatch):
    monkeypatch.setattr("rebalancer.adapters.jobs.processes._PATIENCE", 0.2)
    with children(tmp_path) as hands, ThreadPoolExecutor(1) as pool:
        job = a_job("deaf")
        future = pool.submit(done, hands, job)
        doer(tmp_path, job)
        hands.close()
        assert isinstance(future.exception(10), Unavailable)


def test_what_cannot_begin_is_an_error_each_time(tmp_path):
    """A child that dies while it begins: here it cannot be told what to do."""
    hands = ChildProcesses(Unreadable(), at_once=1, limit=60.0)
    for _ in range(2):
        with pytest.raises(Unavailable, match="ended with code 1"):
            done(hands, a_job("note"))
    hands.close()


class Unreadable:
    """Can be sent, but not received."""

    def __reduce__(self):
        return (_refuse, ())


def _refuse() -> None:
    raise SystemExit(1)
