"""`make services` and `make serve-full` start and stop together, and leave no process behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pymongo
import pytest
import redis

from rebalancer.entrypoints.cli.commands.serve import DEMO_EMAIL, DEMO_PASSWORD
from tests import watchdog
from tests.e2e.conftest import until
from tests.e2e.test_containers import SERVICES
from tests.entrypoints.conftest import ENVIRONMENT, running
from tests.servers import Mongo, Postgres, Valkey

REPOSITORY = Path(__file__).parents[2]
TIMEOUT = 120.0
NAMES = {f"REBALANCER_{name}_URL" for name in ("DATABASE", "REDIS", "MONGO")}
OURS = {kind.variable for kind in (Postgres, Valkey, Mongo)}


@pytest.fixture
def start(tmp_path):
    """Start a program that starts others; its output goes to two files."""
    started = []

    def run(*arguments, **env):
        # A server named by the environment would not be started and stopped by the program.
        environment = {name: value for name, value in ENVIRONMENT.items() if name not in OURS}
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=out,
                stderr=err,
                cwd=REPOSITORY,
                env={**environment, **env},
            )
        watchdog.watch(process)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT)
        watchdog.release(process)


@pytest.fixture
def output(tmp_path):
    """Wait until a file contains some words; return its text."""

    def read(name, words=""):
        latest = time.monotonic() + TIMEOUT
        while words not in (text := (tmp_path / name).read_text()):
            assert time.monotonic() < latest, text + (tmp_path / "err").read_text()
            time.sleep(0.05)
        return text

    return read


def descendants(pid):
    """Return all processes started by a process, directly or not."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def gone(pids):
    latest = time.monotonic() + TIMEOUT
    while (left := [pid for pid in pids if running(pid)]) and time.monotonic() < latest:
        time.sleep(0.05)
    return left == []


def urls(text):
    lines = [line.removeprefix("export ").partition("=") for line in text.splitlines()]
    found = {name: url for name, _, url in lines if name in NAMES}
    assert set(found) == NAMES
    return [found[f"REBALANCER_{name}_URL"] for name in ("DATABASE", "REDIS", "MONGO")]


def test_services_run_until_terminated(start, output):
    process = start("-m", "tests.servers")
    output("err", "Running until Ctrl-C")
    database, cache, documents = urls(output("out"))
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with redis.Redis.from_url(cache) as client:
        assert client.set("a", "1") and client.get("a") == b"1"
    with pymongo.MongoClient(documents) as client:
        assert client.get_default_database().name == "rebalancer"
        client.get_default_database().a.insert_one({"b": 1})
    below = descendants(process.pid)
    assert len(below) >= 3
    process.terminate()
    process.terminate()  # a second signal changes nothing
    assert process.wait(TIMEOUT) == 0
    assert "Stopped." in output("err") and gone(below)


def test_services_end_when_one_is_killed(start, output):
    process = start("-m", "tests.servers")
    output("err", "Running until Ctrl-C")
    below = descendants(process.pid)
    (valkey,) = (pid for pid in below if "valkey" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(valkey, signal.SIGKILL)
    assert process.wait(TIMEOUT) == 1
    assert "redis has ended with exit code -9" in output("err") and gone(below)


ONE_ENDS = """
import sys
from tests.everything import main
sleep = "import time; time.sleep(99)"
once = "import os; print(os.environ['REBALANCER_REDIS_URL'], flush=True); raise SystemExit(3)"
python = [sys.executable, "-c"]
sys.exit(main({"the API": [*python, sleep], "the worker": [*python, once]}))
"""


def test_programs_end_when_the_worker_ends(start, output):
    process = start("-c", ONE_ENDS)
    output("err", "Running until Ctrl-C")
    below = descendants(process.pid)
    assert process.wait(TIMEOUT) == 1
    assert "the worker has ended with exit code 3" in output("err") and gone(below)
    assert urls(output("out"))[1] in output("out").splitlines()  # it got the servers' addresses


def test_api_and_worker_run_together(start, output):
    process = start("-m", "tests.everything", REBALANCER_PORT="0")
    address = output("out", "Log in as").partition("Listening on ")[2].split(",")[0]
    below = descendants(process.pid)
    assert len(below) >= 5
    with httpx.Client(base_url=address, timeout=TIMEOUT, trust_env=False) as client:
        until(lambda: alive(client), process)
        ready = client.get("/health/ready")
        assert ready.status_code == 200, ready.text
        login = {"email": DEMO_EMAIL, "password": DEMO_PASSWORD}
        token = client.post("/api/users/login", json=login).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        assert len(client.get("/api/portfolios").json()["items"]) == 1
    _, queue, _ = urls(output("out"))
    asked = SERVICES["worker"]["healthcheck"]["test"]
    assert asked[:2] == ["CMD", "python"]
    until(lambda: healthy(asked[2:], queue) == 0, process)
    process.send_signal(signal.SIGINT)  # as Ctrl-C does
    assert process.wait(TIMEOUT) == 0
    assert gone(below), output("err")


def test_queue_without_worker_is_unhealthy(redis_url):
    empty = redis_url.rpartition("/")[0] + "/9"
    assert healthy(SERVICES["worker"]["healthcheck"]["test"][2:], empty) == 1


def alive(client):
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def healthy(arguments, queue):
    """Return the exit code of the worker's health check in compose."""
    asking = subprocess.run(
        [sys.executable, *arguments],
        env={
            **ENVIRONMENT,
            "REBALANCER_REDIS_URL": queue,
            "REBALANCER_REDIS_PREFIX": SERVICES["worker"]["environment"]["REBALANCER_REDIS_PREFIX"],
        },
        capture_output=True,
    )
    return asking.returncode
