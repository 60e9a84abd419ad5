"""Use docker-compose.yml: a walk, killed services, an upgrade, a restored backup, an orderly stop.

It runs on the engine of ``DOCKER_HOST`` with stand-ins for the servers, as a project of its own,
and removes the project at the end. It must be able to see the processes of containers.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx

ROOT = Path(__file__).parents[2]
API, APP = "http://127.0.0.1:8000", "http://127.0.0.1:8080"
SERVICES = ("api", "app", "worker", "postgres", "valkey", "mongo")
PASSWORDS = (
    *("POSTGRES", "POSTGRES_OWNER", "POSTGRES_APP", "VALKEY"),
    *("MONGO", "MONGO_OWNER", "MONGO_APP"),
)

PROJECT = "drills"

PATIENCE = 120
"""Seconds in which everything must have recovered."""

STOP_LIMIT = 5
"""Seconds in which all services must have stopped."""

PORTFOLIOS = 5_000
"""Portfolios in the backup that is restored."""


@attrs.frozen
class Project:
    """The services of docker-compose.yml under a name of their own.

    Attributes:
        folder: Has the secrets, and is shared with commands as ``/drills``.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Project:
        """Write secrets into a folder."""
        settings = {f"{name}_PASSWORD": secrets.token_hex(16) for name in PASSWORDS}
        settings |= {
            "REBALANCER_SECRET_KEY": secrets.token_hex(32),
            "REBALANCER_ENCRYPTION_KEYS": f"a:{b64encode(secrets.token_bytes(32)).decode()}",
            **{f"{name.upper()}_IMAGE": f"stand-in-{name}" for name in ("postgres", "valkey")},
            "MONGO_IMAGE": "stand-in-mongo",
        }
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (folder / "env").write_text(lines, encoding="utf-8")
        return cls(folder)

    def compose(self, *words: str, check: bool = True) -> str:
        """Run ``docker compose``; return its output."""
        files = ("docker-compose.yml", "deployment/check/stand_ins/compose.yml")
        done = subprocess.run(
            ["docker", "compose", f"--project-name={PROJECT}", f"--env-file={self.folder / 'env'}"]
            + [f"--file={ROOT / file}" for file in files]
            + ["--progress=plain", *words],
            capture_output=True,
            encoding="utf-8",
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"docker compose {words[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def up(self, *services: str) -> float:
        """Start services and wait until they are healthy; return the seconds."""
        began = time.monotonic()
        self.compose("up", "--detach", "--wait", "--no-build", "--pull=never", *services)
        self.wait(*services)
        return time.monotonic() - began

    def wait(self, *services: str) -> None:
        """Wait until services are healthy, by default all."""
        for service in services or SERVICES:
            wait_until(partial(self.is_healthy, service))

    def is_healthy(self, service: str) -> bool:
        """Return whether the health check of a service passes."""
        return bool(self.state(service)["Health"]["Status"] == "healthy")

    def is_newer(self, service: str, started: str) -> bool:
        """Return whether a service runs since another time than ``started``."""
        state = self.state(service)
        return bool(state["Running"] and state["StartedAt"] != started)

    def state(self, service: str) -> dict[str, Any]:
        """Return the state of a service's container, as Docker reports it."""
        done = subprocess.run(
            ["docker", "inspect", "--format={{json .State}}", f"{PROJECT}-{service}-1"],
            check=True,
            stdout=subprocess.PIPE,
        )
        state: dict[str, Any] = json.loads(done.stdout)
        return state

    def command(self, *words: str) -> str:
        """Run a ``rebalancer`` command as the owner of the tables; return its output."""
        volume = ("--volume", f"{self.folder}:/drills", "--user", "0")
        return self.compose("run", "--rm", "--no-deps", *volume, "migrate", *words)


class Account:
    """A registered user with a portfolio."""

    def __init__(self, email: str) -> None:
        """Register, open a portfolio, and accept a proposal."""
        self._http = httpx.Client(base_url=f"{API}/api", timeout=30)
        self._login = {"email": email, "password": "correct horse battery staple 7"}
        self.ask("POST", "/users/register", 201, {**self._login, "name": "Ada"})
        body = {"name": "Mine", "targets": {"KO": 0.5, "PG": 0.3}, "cash": "10000"}
        self.portfolio = self.ask("POST", "/portfolios", 201, body)["id"]
        made = self.ask("POST", "/rebalance/predict", 201, {"portfolio_id": self.portfolio})
        assert made["orders"], made
        self.ask("POST", f"/rebalance/{made['id']}/accept", 200)

    def ask(self, method: str, path: str, status: int, body: object = None) -> Any:
        """Send a request, again while a server is away; return the body of the answer."""
        headers = {"Idempotency-Key": secrets.token_hex(8)} if path != "/users/login" else {}
        latest = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self._http.request(method, path, headers=headers, json=body)
                seen, text = answer.status_code, answer.text
            except httpx.TransportError as error:
                seen, text = 503, repr(error)
            if seen == 401 and path != "/users/login":
                token = self.ask("POST", "/users/login", 200, self._login)["access_token"]
                self._http.headers["Authorization"] = f"Bearer {token}"
            elif seen == 503 and time.monotonic() < latest:
                time.sleep(0.2)
            else:
                assert seen == status, f"{method} {path}: {seen} {text}"
                return json.loads(text)

    def ledger(self) -> object:
        """Return all entries of the portfolio."""
        return self.ask("GET", f"/portfolios/{self.portfolio}/transactions", 200)

    def deposit(self) -> None:
        """Add an entry to the ledger."""
        path = f"/portfolios/{self.portfolio}/cash-flows"
        self.ask("POST", path, 201, {"kind": "deposit", "amount": "10.00"})

    def backtest(self) -> None:
        """Wait for a job that a worker runs."""
        job = self.ask("POST", "/backtest", 202, {"policies": ["band"]})["id"]

        def succeeded() -> bool:
            state = self.ask("GET", f"/jobs/{job}", 200)["state"]
            assert state in {"queued", "running", "succeeded"}, state
            return bool(state == "succeeded")

        wait_until(succeeded)


def wait_until(condition: Callable[[], bool]) -> float:
    """Wait until a condition holds; return the seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + PATIENCE, "it has not recovered in time"
        time.sleep(0.1)
    return time.monotonic() - began


def show(finding: str) -> None:
    """Print a line for the table of results."""
    print(f"shown: {finding}", flush=True)


def all_work(account: Account) -> None:
    """Check that the API, the web client and a worker do their work."""
    account.deposit()
    page = httpx.get(APP, timeout=30, follow_redirects=True)
    assert page.status_code == 200 and "<html" in page.text, page.text[:300]
    account.backtest()


def kill_each(project: Project, account: Account) -> None:
    """Kill the process of each service, which Docker restarts; then each by ``docker kill``."""
    for how in ("crashed", "docker kill"):
        took = []
        for service in SERVICES:
            before = account.ledger()
            old = project.state(service)
            if how == "crashed":
                os.kill(old["Pid"], signal.SIGKILL)
            else:
                project.compose("kill", service)
            began = time.monotonic()
            if how == "docker kill":  # Docker does not restart what was killed by command
                project.up()
            wait_until(partial(project.is_newer, service, old["StartedAt"]))
            project.wait()
            assert account.ledger() == before, f"{service} {how}: another ledger"
            took.append(f"{service} {time.monotonic() - began:.0f} s")
            print(how, took[-1], flush=True)
            all_work(account)
        again = "restarted by Docker" if how == "crashed" else "started by compose up"
        show(f"{how}, {again}, the same ledger, all healthy after: {', '.join(took)}")


def upgrade(project: Project, account: Account) -> None:
    """Upgrade a database with data that is one revision behind."""
    ledger = account.ledger()
    project.compose("stop", "api", "app", "worker")
    older = project.command("db", "downgrade", "--yes").strip().splitlines()[-1]
    began = time.monotonic()
    newer = project.command("db", "upgrade").strip().splitlines()[-1]
    took = time.monotonic() - began
    project.up()
    assert account.ledger() == ledger
    all_work(account)
    show(f"downgraded and upgraded with data in {took:.0f} s: {older} {newer}")


def restore(project: Project, account: Account) -> None:
    """Back up a database, lose all volumes, restore, and compare."""
    with (project.folder / "book.jsonl").open("w", encoding="utf-8") as book:
        for number in range(PORTFOLIOS):
            targets = {"KO": 0.5, "PG": 0.3}
            name = f"P{number}"
            line = {"id": name, "name": name, "targets": targets, "holdings": {}, "cash": "10000"}
            book.write(json.dumps(line) + "\n")
    project.command("portfolio", "import", "/drills/book.jsonl", "--owner=ada@example.org")
    ledger = account.ledger()
    seconds: dict[str, float] = {}
    with timed(seconds, "backup"):
        project.command("db", "backup", "/drills/all.jsonl.gz")
    project.compose("down", "--volumes")
    with timed(seconds, "empty servers and tables"):
        project.up("postgres", "valkey", "mongo")
        project.command("db", "upgrade")
    with timed(seconds, "restore"):
        project.command("db", "restore", "/drills/all.jsonl.gz")
    with timed(seconds, "check"):
        project.command("db", "check")
    with timed(seconds, "start"):
        project.up()
    assert account.ledger() == ledger
    all_work(account)
    size = (project.folder / "all.jsonl.gz").stat().st_size / 1e6
    steps = ", ".join(f"{what} {took:.0f} s" for what, took in seconds.items())
    show(f"{PORTFOLIOS:,} portfolios restored after all volumes were lost ({size:.1f} MB): {steps}")


@contextmanager
def timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Note how long a block took."""
    began = time.monotonic()
    yield
    seconds[what] = time.monotonic() - began


def stop(project: Project) -> None:
    """Stop all services in order; the fastest of three times counts, as the machine may be busy."""
    times: list[float] = []
    while not times or (min(times) > STOP_LIMIT and len(times) < 3):
        if times:
            project.up()
        began, clock = time.monotonic(), time.time()
        project.compose("stop")
        times.append(time.monotonic() - began)
        states = {service: project.state(service) for service in SERVICES}
        codes = {service: state["ExitCode"] for service, state in states.items()}
        assert not any(codes.values()), f"exit codes: {codes}"
        ends = {service: _moment(state["FinishedAt"]) - clock for service, state in states.items()}
        last = ", ".join(f"{service} after {ends[service]:.1f} s" for service in SERVICES)
        print(f"docker compose stop: {times[-1]:.1f} s; {last}", flush=True)
    assert min(times) <= STOP_LIMIT, f"stopping took {min(times):.1f} s"
    show(f"docker compose stop: {min(times):.1f} s, all exit codes 0; {last}")


def _moment(written: str) -> float:
    """Return a time that Docker reports, as seconds since 1970."""
    return datetime.fromisoformat(written).timestamp()


def main() -> int:
    """Run all drills; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="drills-") as folder:
        project = Project.create(Path(folder))
        try:
            show(f"docker compose up: all healthy after {project.up():.0f} s")
            account = Account("ada@example.org")
            all_work(account)
            show("registered, proposed, accepted, a job through the worker; the web client answers")
            kill_each(project, account)
            upgrade(project, account)
            restore(project, account)
            stop(project)
        except BaseException:
            print(project.compose("logs", "--tail=30", check=False), flush=True)
            raise
        finally:
            project.compose("down", "--volumes", "--timeout=5", check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
