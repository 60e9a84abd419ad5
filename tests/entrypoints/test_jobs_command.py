"""`rebalancer jobs`, and commands with `--background`."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import attrs
import psutil
import pytest

from rebalancer.adapters.sql.engine import connect
from rebalancer.adapters.sql.work import SqlWork
from rebalancer.domain.errors import NotFound
from rebalancer.domain.jobs.job import Job, JobState
from rebalancer.domain.portfolio.mandate import Mandate
from tests import builders
from tests.builders import USD
from tests.contracts.jobs import awaited, kept, now, seen
from tests.contracts.stores import a_managed, a_user
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT


@pytest.fixture
def work(database):
    engine = connect(database)
    yield SqlWork(engine)
    engine.dispose()


@pytest.fixture
def a_job(work) -> Callable[..., Job]:
    """Store a job; each is one second younger than the previous one."""
    count = 0

    def make(kind: str = "backtest", **changes: object) -> Job:
        nonlocal count
        count += 1
        made = builders.a_job(kind, {"n": count})
        created = made.created + timedelta(seconds=count)
        return kept(work, attrs.evolve(made, created=created, **changes))

    return make


def dead(why: str = "the exchange is on fire") -> dict[str, object]:
    return {"state": JobState.DEAD, "attempts": 3, "error": why, "finished": now()}


def test_jobs_are_listed(quickly, a_job):
    assert quickly("jobs", "list").stdout == "No jobs found.\n"
    first, second, third = a_job(), a_job("train"), a_job(**dead())
    table = quickly("jobs", "list").stdout
    assert all(str(job.id) in table for job in (first, second, third))
    assert "the exchange is on fire" in table
    every = json.loads(quickly("jobs", "list", "--json").stdout)
    assert [job["id"] for job in every] == [str(job.id) for job in (third, second, first)]
    for options, found in (
        (["--state", "dead"], third),
        (["--kind", "train"], second),
        (["--limit", "1"], third),
    ):
        (only,) = json.loads(quickly("jobs", "list", "--json", *options).stdout)
        assert only["id"] == str(found.id)
    assert quickly("jobs", "list", "--state", "asleep").refused("state", "queued")


def test_job_is_shown(quickly, a_job):
    job = a_job(**dead())
    shown = json.loads(quickly("jobs", "show", job.id).stdout)
    assert shown == {
        "id": str(job.id),
        "owner": None,
        "kind": "backtest",
        "request": {"n": 1},
        "state": "dead",
        "created": job.created.isoformat(),
        "due": job.due.isoformat(),
        "progress": 0.0,
        "result": None,
        "error": "the exchange is on fire",
        "attempts": 3,
        "spared": 0,
        "started": None,
        "alive": None,
        "cancelling": False,
        "finished": job.finished.isoformat(),
        "trace": None,
    }
    assert quickly("jobs", "show", uuid4()).refused("does not exist")


def test_jobs_are_cancelled_and_requeued(quickly, a_job, work):
    waits, gone, other = a_job(), a_job(**dead()), a_job(**dead())
    running = a_job(state=JobState.RUNNING, attempts=1, last_heartbeat=now())
    assert quickly("jobs", "cancel", waits.id).stdout.endswith("cancelled.\n")
    assert quickly("jobs", "cancel", running.id).stdout.endswith("running, cancelling.\n")
    assert quickly("jobs", "cancel", gone.id).refused("dead already")
    assert quickly("jobs", "requeue", gone.id).stdout.endswith("queued.\n")
    assert quickly("jobs", "requeue", gone.id).refused("can be requeued")
    assert quickly("jobs", "requeue", "--all-dead").stdout == "Requeued 1 job.\n"
    assert quickly("jobs", "requeue").code == 2
    assert quickly("jobs", "requeue", gone.id, "--all-dead").code == 2
    assert [seen(work, job).state for job in (waits, gone, other)] == [
        JobState.CANCELLED,
        JobState.QUEUED,
        JobState.QUEUED,
    ]
    assert (seen(work, other).attempts, seen(work, other).excused_attempts) == (3, 3)


def test_watch_ends_with_the_job(rebalancer, quickly, a_job, tmp_path, work):
    job = a_job(**dead())
    told = quickly("jobs", "watch", job.id)
    assert (told.code, told.stdout) == (
        3,
        f"backtest {job.id}: dead: the exchange is on fire\n",
    )
    waits = a_job()
    watching = subprocess.Popen(
        [COMMAND, "jobs", "watch", str(waits.id), "--json"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=ENVIRONMENT,
        cwd=tmp_path,
    )
    time.sleep(1)
    assert watching.poll() is None
    with work.begin() as tx:
        begun = tx.jobs.get(waits.id).start(now())
        tx.jobs.save(begun.succeed({"sharpe": 1.0}, now(), attempt=1))
    said, _ = watching.communicate(timeout=120)
    assert watching.returncode == 0
    assert json.loads(said)["result"] == {"sharpe": 1.0}


@contextmanager
def a_worker(folder: Path) -> Iterator[subprocess.Popen]:
    """Run `rebalancer worker` until the end of the block."""
    worker = subprocess.Popen(
        [COMMAND, "worker"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd=folder,
    )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait(120)


def test_worker_runs_a_batch_and_a_training(quickly, tmp_path, work):
    ada = a_user()
    portfolio = a_managed(ada.id)
    with work.begin() as tx:
        tx.users.add(ada)
        tx.portfolios.add(portfolio, [])
    batch = json.loads(
        quickly("batch", "--all", "--policy", "band", "--background", "--json").stdout
    )
    train = json.loads(
        quickly(
            *("train", "--background", "--json", "--worlds", 14, "--warm-start", 1),
            *("--steps", 1, "--seeds", 1, "--no-record"),
        ).stdout
    )
    assert (batch["kind"], batch["state"], batch["owner"]) == ("batch", "queued", None)
    assert batch["request"]["as_of"] == "2022-12-28"
    assert train["request"]["out"] == str(tmp_path / "training" / "my_ppo")
    with a_worker(tmp_path):
        with work.read() as tx:
            jobs = {job.kind: job for job in tx.jobs.page(limit=9)}
        done = {
            kind: awaited(work, job, lambda job: job.state.is_final, within=300)
            for kind, job in jobs.items()
        }
    assert done["batch"].result["run"] == batch["id"]
    assert done["batch"].result["failed"] + done["batch"].result["nothing_to_do"] == 1
    with work.read() as tx:
        assert tx.runs.get(jobs["batch"].id).finished is not None
    assert done["train"].result["policy"] == "my_ppo@1", done["train"].error
    assert (
        json.loads((tmp_path / "training" / "my_ppo" / train["id"] / "made.json").read_text())
        == done["train"].result
    )


def kill_children(worker: subprocess.Popen) -> None:
    for child in psutil.Process(worker.pid).children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()


def in_the_midst(work: SqlWork, job: Job, strike: Callable[[], None], within: float = 60) -> None:
    """Run a callback after a chunk of a batch, with the database locked so that none follows."""
    latest = time.monotonic() + within
    while True:
        with work.begin() as tx, suppress(NotFound):
            run = tx.runs.get(job.id)
            if run.done:
                assert run.done < run.chunks
                strike()
                return
        assert time.monotonic() < latest
        time.sleep(0.005)


def test_batch_of_a_killed_process_is_resumed(quickly, tmp_path, work):
    ada, count = a_user(), 4000
    with work.begin() as tx:
        tx.users.add(ada)
        for _ in range(count):
            portfolio = a_managed(ada.id, mandate=Mandate("One", USD, {"KO": 0.5, "PG": 0.4}))
            tx.portfolios.add(portfolio, [])
    asked = json.loads(
        quickly("batch", "--all", "--policy", "band", "--background", "--json").stdout
    )
    with a_worker(tmp_path) as worker:
        with work.read() as tx:
            (job,) = tx.jobs.page(limit=9)
        in_the_midst(work, job, lambda: kill_children(worker))
        done = awaited(work, job, lambda job: job.state.is_final, 90)
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 2), done.error
    with work.read() as tx:
        proposals = tx.proposals.page(ada.id, limit=10 * count)
        run = tx.runs.get(job.id)
    assert len({one.portfolio_id for one in proposals}) == len(proposals) == count
    assert (str(run.id), run.proposed + run.nothing, run.failed) == (asked["id"], count, 0)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["batch", "--all", "--policy", "nil"], "policy"),
        (["batch", "--all", "--policy", "band", "--resume"], "resume"),
        (
            ["batch", "--portfolios", "b.jsonl", "--out", "o.jsonl", "--policy", "band"],
            "background",
        ),
        (["train", "--report", "r.html"], "report"),
        (["train", "--algorithm", "nil"], "algorithm"),
    ],
)
def test_invalid_background_job_is_rejected_at_once(quickly, work, options, field):
    assert quickly(*options, "--background").refused(field)
    with work.read() as tx:
        assert tx.jobs.page(limit=9) == []
