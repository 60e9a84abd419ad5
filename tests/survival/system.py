"""The complete system as processes that can be killed one by one."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from pathlib import Path

import attrs
import httpx
import psutil

from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.config import Settings
from rebalancer.domain.portfolio.mandate import Mandate
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import Sources
from tests import watchdog
from tests.builders import USD, as_csv, prices
from tests.contracts.stores import a_deposit, a_managed, a_user
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.servers import Mongo, Postgres, Server, Valkey, running
from tests.survival.shifted import SHIFT_FILE, set_shift

ROOT = Path(__file__).parents[2]

TIMEOUT = 180.0
"""Seconds within which every part must recover, even on a busy machine."""

PASSWORD = "correct horse battery staple"
BOOK_OWNER = "book@example.org"
BOOK = 1500
"""Portfolios in each batch."""

_START = 3.0
"""Seconds before a new process may be killed, so that kills hit working processes."""


class Supervised:
    """A process that is restarted whenever it ends, as by an init system.

    Attributes:
        process: The current one.
        failures: Exit codes of earlier ones that ended by themselves after they had started.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], folder: Path):
        self.name = name
        self._command, self._environment, self._folder = command, environment, folder
        self._stopping = self._killed_early = False
        self.failures: list[int] = []
        self._started, self._log_start = 0.0, 0
        self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def _log(self) -> Path:
        return self._folder / f"{self.name}.log"

    def is_ready(self) -> bool:
        """Return whether the current process has logged that it is ready."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            text = log.read()
        return b"Listening on" in text or b"Working on" in text

    def _start(self) -> None:
        self._started = time.monotonic()
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
            )
        watchdog.watch(self.process)

    def _watch(self) -> None:
        while not self._stopping:
            code = self.process.poll()
            if code is not None and not self._stopping:
                watchdog.release(self.process)
                # While it starts, the database may be down, or a killed predecessor may still hold
                # its port. Once it is ready, it must survive all that.
                if code != -signal.SIGKILL and self.is_ready():
                    self.failures.append(code)
                self._start()
            time.sleep(0.1)

    def kill(self, *, starting: bool = False) -> bool:
        """Kill the process; return False if it has ended, or has just started.

        Args:
            starting: Also kill a process that has just started.
        """
        early = time.monotonic() < self._started + _START
        if self.process.poll() is not None or (early and not starting):
            return False
        if starting and not self.is_ready():
            # Once in a row, or a busy machine would never have it started.
            if self._killed_early:
                return False
            self._killed_early = True
        else:
            self._killed_early = False
        self.process.kill()
        return True

    def kill_a_child(self, dice: random.Random) -> bool:
        """Kill one of its child processes; return False without one."""
        with suppress(psutil.NoSuchProcess):
            mine = [
                child
                for child in psutil.Process(self.process.pid).children(recursive=True)
                if "resource_tracker" not in " ".join(child.cmdline())
            ]
            if mine:
                dice.choice(mine).kill()
                return True
        return False

    def stop(self) -> int:
        """Stop it in order; return its exit code."""
        self._stopping = True
        self._thread.join()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            watchdog.release(self.process)


@attrs.define
class System:
    """The running servers, API and workers, and their addresses.

    Attributes:
        book: Portfolios of a user who never logs in.
        jumps: How often the clock has jumped.
    """

    folder: Path
    servers: dict[str, Server]
    environment: dict[str, str]
    address: str
    api: Supervised
    workers: list[Supervised]
    book: int
    jumps: int = 0

    @property
    def shift(self) -> Path:
        """Return the file with the shift of the clock."""
        return self.folder / "shift"

    def client(self) -> httpx.Client:
        """Return a client of the API that ignores proxy settings."""
        return httpx.Client(base_url=self.address, timeout=15.0, trust_env=False)

    def ready(self) -> str | None:
        """Return the status of /health/ready; None without a response."""
        try:
            with self.client() as client:
                return str(client.get("/health/ready").json().get("status"))
        except (httpx.TransportError, ValueError):
            return None

    def wait(self, states: tuple[str, ...] = ("ok",)) -> float:
        """Wait until the API reports one of the states; return the seconds."""
        return until(lambda: self.ready() in states, f"the API in {states}")

    def settings(self) -> Settings:
        """Return the settings of the processes."""
        return Settings.read(self.environment)


def until(condition: Callable[[], object], what: str, timeout: float = TIMEOUT) -> float:
    """Wait until a condition holds; return the seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + timeout, f"timed out waiting for {what}"
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def running_system(
    folder: Path,
    *,
    users: int,
    workers: int = 2,
    book: int = BOOK,
    sqlite: bool = False,
    job_attempts: int = 50,
    migrate: Callable[[dict[str, str]], None] = lambda _: None,
) -> Iterator[System]:
    """Start the complete system with users and portfolios; stop it at the end.

    Args:
        folder: For logs and prices.
        users: Number of registered users: user0@example.org and so on.
        workers: Number of worker processes.
        book: Number of portfolios of a user who never logs in.
        sqlite: Use one file instead of servers, and the processes of the API as workers.
        job_attempts: Attempts of a job before it has failed.
        migrate: Called with the environment before the tables are created.
    """
    with ExitStack() as stack:
        port = free_port()
        servers: dict[str, Server] = {}
        if sqlite:
            workers = 0
            urls = {
                "DATABASE_URL": f"sqlite:///{folder / 'rebalancer.db'}",
                "PRICES": str(folder / "prices.csv"),
            }
        else:
            servers = {
                kind.name: stack.enter_context(running(kind)) for kind in (Postgres, Valkey, Mongo)
            }
            urls = {
                "DATABASE_URL": servers["postgres"].url,
                "REDIS_URL": servers["redis"].url,
                "MONGO_URL": f"{servers['mongo'].url}rebalancer",
            }
        unlimited = ("PORTFOLIOS", "PROPOSALS", "PROPOSALS_A_DAY", "JOBS", "MEGABYTES_A_DAY")
        environment = ENVIRONMENT | {
            **{f"REBALANCER_{name}": url for name, url in urls.items()},
            **{f"REBALANCER_MOST_{name}": "0" for name in (*unlimited, "REGISTRATIONS_A_DAY")},
            "REBALANCER_RATE_LIMIT": "0",
            "REBALANCER_LOGIN_LIMIT": "0",
            "REBALANCER_NOTICE_NETWORKS": "127.0.0.0/8",
            "REBALANCER_JOB_ATTEMPTS": str(job_attempts),
            "REBALANCER_HOST": "127.0.0.1",
            "REBALANCER_PORT": str(port),
            "REBALANCER_LOG_LEVEL": "info",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            SHIFT_FILE: str(folder / "shift"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        set_shift(folder / "shift", 0.0)
        (folder / "prices.csv").write_text(as_csv(prices(5, 300)), encoding="utf-8")
        migrate(environment)
        imported = ["market", "import", "--prices", "prices.csv"]
        for command in (["db", "upgrade"], *([] if sqlite else [imported])):
            done = subprocess.run(
                [COMMAND, *command], env=environment, cwd=folder, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        _fill(Settings.read(environment), users, book)
        program = [sys.executable, "-m", "tests.survival.shifted"]
        api = Supervised("api", [*program, "serve", "--workers", "2"], environment, folder)
        stack.callback(api.stop)
        crew = []
        for number in range(workers):
            worker = Supervised(
                f"worker-{number}", [*program, "worker", "--concurrency", "1"], environment, folder
            )
            crew.append(worker)
            stack.callback(worker.stop)
        made = System(folder, servers, environment, f"http://127.0.0.1:{port}", api, crew, book)
        made.wait()
        yield made


def _fill(settings: Settings, users: int, book: int) -> None:
    wired = build_container(Sources(), settings=settings)
    hashed = ArgonPasswords(time_cost=1, memory_kib=64).hash(PASSWORD)
    dice = random.Random(0)
    owner = a_user(email=BOOK_OWNER, password=hashed)
    with wired.get(UnitOfWork).begin() as tx:
        for number in range(users):
            tx.users.add(a_user(email=f"user{number}@example.org", password=hashed))
        tx.users.add(owner)
        for number in range(book):
            targets = {"A": dice.random() / 2, "C": 0.4}
            entries = [a_deposit(dice.randrange(100, 10_000), on=date(2021, 2, 1))]
            mandate = Mandate(str(number), USD, targets)
            tx.portfolios.add(a_managed(owner.id, entries, mandate=mandate), entries)
    wired.close()


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
