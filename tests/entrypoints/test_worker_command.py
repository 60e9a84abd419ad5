"""`rebalancer worker` with real processes, kills and a real queue."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import pytest
import redis

from rebalancer.adapters.jobs.queue import QueuedJobs
from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.reports import SqlReports
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.application.backtests import BacktestRequest
from rebalancer.application.reporting.report import BACKTEST
from rebalancer.domain.jobs.job import Job, JobState
from tests.contracts.jobs import PATIENCE, awaited, ended, kept, now, seen
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT, running
from tests.servers import Valkey
from tests.servers import running as serving

SHORT = BacktestRequest(policies=("monthly", "band"))
LONG = BacktestRequest(
    policies=("monthly", *(f"volatility_target:target=0.{two}" for two in range(10, 13))),
    as_live=True,
)
"""A backtest that takes a second or two."""

ENDLESS = attrs.evolve(
    LONG, policies=("monthly", *(f"volatility_target:target=0.{one}" for one in range(100, 160)))
)
"""A backtest that no test waits for: on the fastest machine it still runs when it is stopped."""

INTERRUPTED = attrs.evolve(
    LONG, policies=("monthly", *(f"volatility_target:target=0.{one}" for one in range(100, 109)))
)
"""A backtest that still runs when its worker notices a stop, within a second."""


@attrs.define
class Working:
    """A running worker process."""

    process: subprocess.Popen[str]
    log: Path

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    @property
    def children(self) -> list[int]:
        """Return the child processes that run jobs."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        every = [int(pid) for path in threads for pid in path.read_text().split()]
        return [pid for pid in every if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@attrs.frozen
class Place:
    """A database, workers, and in one case a queue."""

    work: SqlWork
    reports: SqlReports
    start: Callable[..., Working]
    submit: Callable[[BacktestRequest], Job]
    queue: Valkey | None


@pytest.fixture(params=["sqlite", "redis"])
def place(request, tmp_path, database) -> Iterator[Place]:
    engine = connect(database)
    work, started = SqlWork(engine), []
    env = ENVIRONMENT | {"REBALANCER_TRIALS": str(tmp_path / "trials.jsonl")}
    if request.param == "redis":
        with serving(Valkey) as server:
            runner = QueuedJobs(server.url, name="ours")
            env |= {"REBALANCER_REDIS_URL": server.url, "REBALANCER_REDIS_PREFIX": "ours"}
            yield Place(
                work,
                SqlReports(engine),
                lambda *options: _start(tmp_path, env, started, options),
                lambda order: _submit(work, runner.submit, order),
                server,
            )
            runner.close()
            _end(started)
    else:
        yield Place(
            work,
            SqlReports(engine),
            lambda *options: _start(tmp_path, env, started, options),
            lambda order: _submit(work, lambda _: None, order),
            None,
        )
        _end(started)
    engine.dispose()


def _start(folder: Path, env: dict[str, str], started: list[Any], options: Any) -> Working:
    log = folder / f"log-{len(started)}.jsonl"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [COMMAND, "worker", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            env=env,
            cwd=folder,
        )
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Working on one job at a time"), log.read_text()
    return Working(process, log)


def _end(started: list[Any]) -> None:
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def _submit(work: SqlWork, deliver: Callable[[Job], None], order: BacktestRequest) -> Job:
    job = kept(work, Job.new(BACKTEST, order.to_json(), id=uuid4(), owner=None, now=now()))
    deliver(job)
    return job


def halfway(place: Place, job: Job) -> Job:
    return awaited(place.work, job, lambda job: job.progress > 0)


def gone(pids: list[int]) -> None:
    latest = time.monotonic() + PATIENCE
    while any(running(pid) for pid in pids):
        assert time.monotonic() < latest, "a child lives on"
        time.sleep(0.02)


def test_backtest_runs_and_its_results_are_stored(place: Place):
    worker = place.start()
    job = place.submit(SHORT)
    done = ended(place.work, job)
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)
    report = place.reports.get(job.id)
    assert report.document["result"] == done.result
    assert {len(values) for values in report.series.values()} == {len(report.dates)}
    children = worker.children
    assert len(children) == 1
    assert worker.stop() == 0
    gone(children)
    assert [line["message"] for line in worker.lines] == ["working", "stopped"]


def test_backtest_survives_a_killed_worker(place: Place):
    first = place.start()
    job = place.submit(INTERRUPTED)
    halfway(place, job)
    children = first.children
    first.stop(signal.SIGKILL)
    gone(children)  # a child releases its job and ends with its parent
    left = seen(place.work, job)
    assert (left.state, left.attempts, left.excused_attempts) == (JobState.QUEUED, 1, 1)
    second = place.start()
    done = ended(place.work, job)
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 2)
    assert second.stop() == 0


def test_backtest_of_a_killed_process_is_retried(place: Place):
    worker = place.start()
    job = place.submit(LONG)
    halfway(place, job)
    (child,) = worker.children
    os.kill(child, signal.SIGKILL)
    waits = awaited(place.work, job, lambda job: job.error)
    assert (waits.state, waits.error) == (JobState.QUEUED, "the worker process died")
    done = ended(place.work, job)
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 2)
    assert any("interrupted" in line["message"] for line in worker.lines)


def test_stopping_worker_finishes_its_job(place: Place):
    worker = place.start("--grace", "60")
    job = place.submit(LONG)
    halfway(place, job)
    assert worker.stop() == 0
    assert seen(place.work, job).state is JobState.SUCCEEDED


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_worker_without_grace_releases_its_job(place: Place, how):
    worker = place.start("--grace", "0")
    job = place.submit(ENDLESS)
    halfway(place, job)
    children = worker.children
    assert worker.stop(how) == 0
    left = seen(place.work, job)
    assert (left.state, left.attempts, left.excused_attempts) == (JobState.QUEUED, 1, 1)
    assert left.error is None
    gone(children)


@pytest.mark.parametrize("place", ["redis"], indirect=True)
def test_worker_waits_for_redis(place: Place):
    place.queue.kill()
    worker = place.start()
    awaited_line(worker, "Redis is unavailable")
    place.queue.start()
    awaited_line(worker, "Redis answers again")
    job = place.submit(SHORT)
    assert ended(place.work, job).state is JobState.SUCCEEDED
    lost = kept(place.work, Job.new(BACKTEST, SHORT.to_json(), id=uuid4(), owner=None, now=now()))
    place.queue.kill()  # it loses its data
    place.queue.start()
    assert ended(place.work, lost).state is JobState.SUCCEEDED
    assert worker.stop() == 0


@pytest.mark.parametrize("place", ["redis"], indirect=True)
def test_all_keys_of_a_worker_have_the_prefix_of_its_deployment(place: Place):
    worker = place.start()
    assert ended(place.work, place.submit(SHORT)).state is JobState.SUCCEEDED
    with redis.Redis.from_url(place.queue.url) as client:
        latest = time.monotonic() + PATIENCE
        while not client.exists("saq:ours:stats"):  # the sign of a worker
            assert time.monotonic() < latest
            time.sleep(0.05)
        names = [name.decode() for name in client.keys("*")]
    ours = ("saq:ours:", "saq:job:ours:", "saq:abort:")  # the last ones belong to one job each
    assert [name for name in names if not name.startswith(ours)] == []
    assert worker.stop() == 0


def awaited_line(worker: Working, text: str) -> None:
    latest = time.monotonic() + PATIENCE
    while not any(text in line["message"] for line in worker.lines):
        assert time.monotonic() < latest, worker.log.read_text()
        time.sleep(0.05)


def test_worker_requires_tables(rebalancer):
    refused = rebalancer("worker")
    assert refused.code == 2
    assert "rebalancer db upgrade" in refused.stderr
