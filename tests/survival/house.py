"""The whole system as processes of its own, each of which can be killed."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
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
from tests.builders import USD, as_csv, prices
from tests.contracts.stores import a_deposit, a_managed, a_user
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.servers import Mongo, Postgres, Server, Valkey, running

PATIENCE = 60.0
"""Seconds that anything may take to come back."""

PASSWORD = "correct horse battery staple"
BOOK_OWNER = "book@example.org"
BOOK = 1500
"""Portfolios that batches walk over."""

_BEGINS = 3.0
"""Seconds that a process has to begin: only then it is killed, as a kill should hit what works."""


class Supervised:
    """A process that is started again whenever it ends, as an init system would.

    Attributes:
        process: The latest.
        failures: With which codes others before it have ended by themselves, in their midst.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], folder: Path):
        self.name = name
        self._command, self._environment, self._folder = command, environment, folder
        self._stopping = False
        self.failures: list[int] = []
        self._started, self._said = 0.0, 0
        self._start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def _log(self) -> Path:
        return self._folder / f"{self.name}.log"

    def _works(self) -> bool:
        """Whether the latest has said that it does what it is there for."""
        with self._log.open("rb") as log:
            log.seek(self._said)
            said = log.read()
        return b"Listening on" in said or b"Working on" in said

    def _start(self) -> None:
        self._started = time.monotonic()
        self._said = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
            )

    def _watch(self) -> None:
        while not self._stopping:
            code = self.process.poll()
            if code is not None and not self._stopping:
                # While it begins it may find that the database is away, or its port still taken by
                # one that was killed. Once it works it bears all that.
                if code != -signal.SIGKILL and self._works():
                    self.failures.append(code)
                self._start()
            time.sleep(0.1)

    def kill(self) -> bool:
        """End it at once; False if it has only just begun, or has ended already."""
        if self.process.poll() is not None or time.monotonic() < self._started + _BEGINS:
            return False
        self.process.kill()
        return True

    def kill_a_child(self, dice: random.Random) -> bool:
        """End one of its processes at once; False if it has none."""
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
        """Have it end in order; its exit code."""
        self._stopping = True
        self._thread.join()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@attrs.define
class House:
    """Servers, the API, workers, and where they are."""

    folder: Path
    servers: dict[str, Server]
    environment: dict[str, str]
    address: str
    api: Supervised
    workers: list[Supervised]

    def client(self) -> httpx.Client:
        """A client of the API that no proxy comes between."""
        return httpx.Client(base_url=self.address, timeout=15.0, trust_env=False)

    def ready(self) -> str | None:
        """What /health/ready says of itself; None from nobody."""
        try:
            with self.client() as client:
                return str(client.get("/health/ready").json().get("status"))
        except (httpx.TransportError, ValueError):
            return None

    def wait(self, states: tuple[str, ...] = ("ok",)) -> float:
        """Seconds until the API says that it is in one of some states."""
        return until(lambda: self.ready() in states, f"the API in {states}")

    def settings(self) -> Settings:
        """What the processes read from the environment."""
        return Settings.read(self.environment)


def until(so: Callable[[], object], what: str, patience: float = PATIENCE) -> float:
    """Seconds until something is so."""
    began = time.monotonic()
    while not so():
        assert time.monotonic() < began + patience, f"waited in vain for {what}"
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def house(folder: Path, *, people: int, workers: int = 2, book: int = BOOK) -> Iterator[House]:
    """Everything, started, with people and portfolios in it; stopped at the end.

    Args:
        folder: For logs and prices.
        people: How many are registered, as user0@example.org and so on.
        workers: Processes that do jobs.
        book: Portfolios of somebody who does not log in.
    """
    with ExitStack() as stack:
        servers = {
            kind.name: stack.enter_context(running(kind)) for kind in (Postgres, Valkey, Mongo)
        }
        port = free_port()
        environment = ENVIRONMENT | {
            "REBALANCER_DATABASE_URL": servers["postgres"].url,
            "REBALANCER_REDIS_URL": servers["redis"].url,
            "REBALANCER_MONGO_URL": f"{servers['mongo'].url}rebalancer",
            "REBALANCER_RATE_LIMIT": "0",
            "REBALANCER_LOGIN_LIMIT": "0",
            "REBALANCER_JOB_ATTEMPTS": "50",
            "REBALANCER_HOST": "127.0.0.1",
            "REBALANCER_PORT": str(port),
            "REBALANCER_LOG_LEVEL": "info",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        (folder / "prices.csv").write_text(as_csv(prices(5, 300)), encoding="utf-8")
        for command in (["db", "upgrade"], ["market", "import", "--prices", "prices.csv"]):
            done = subprocess.run(
                [COMMAND, *command], env=environment, cwd=folder, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        _fill(Settings.read(environment), people, book)
        api = Supervised("api", [COMMAND, "serve", "--workers", "2"], environment, folder)
        stack.callback(api.stop)
        hands = []
        for number in range(workers):
            hand = Supervised(
                f"worker-{number}", [COMMAND, "worker", "--concurrency", "1"], environment, folder
            )
            hands.append(hand)
            stack.callback(hand.stop)
        made = House(folder, servers, environment, f"http://127.0.0.1:{port}", api, hands)
        made.wait()
        yield made


def _fill(settings: Settings, people: int, book: int) -> None:
    wired = build_container(Sources(), settings=settings)
    hashed = ArgonPasswords(time_cost=1, memory_kib=64).hashed(PASSWORD)
    dice = random.Random(0)
    owner = a_user(email=BOOK_OWNER, password=hashed)
    with wired.get(UnitOfWork).begin() as tx:
        for number in range(people):
            tx.users.add(a_user(email=f"user{number}@example.org", password=hashed))
        tx.users.add(owner)
        for number in range(book):
            targets = {"A": dice.random() / 2, "C": 0.4}
            entries = [a_deposit(dice.randrange(100, 10_000), on=date(2021, 2, 1))]
            mandate = Mandate(str(number), USD, targets)
            tx.portfolios.add(a_managed(owner.id, entries, mandate=mandate), entries)
    wired.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
