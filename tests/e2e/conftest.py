"""The running server: a process of its own, a database in a file, a real client."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from tests.entrypoints.conftest import COMMAND, ENVIRONMENT

PATIENCE = 30.0


@attrs.define
class Running:
    """A server that was started."""

    process: subprocess.Popen[str]
    address: str
    said: str
    log: Path

    def client(self, **options: Any) -> httpx.Client:
        """A client of this server that no proxy comes between."""
        return httpx.Client(base_url=self.address, timeout=PATIENCE, trust_env=False, **options)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged, each line being JSON."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start `rebalancer serve` on a free port, in the test's folder, and wait for an answer."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, env: dict[str, str] | None = None) -> Running:
        log = tmp_path / f"log-{len(started)}.jsonl"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [COMMAND, "serve", "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=ENVIRONMENT | (env or {}),
                cwd=tmp_path,
            )
        started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("Listening on http://127.0.0.1:"), log.read_text()
        running = Running(process, said.split()[2].rstrip(","), said, log)
        until(lambda: answers(running), process)
        return running

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


@pytest.fixture
def server(serve: Callable[..., Running]) -> str:
    """The address of a server with an empty database and the sample prices."""
    return serve("--upgrade").address


def answers(running: Running) -> bool:
    """Whether somebody listens."""
    try:
        with running.client() as client:
            return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def until(so: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so."""
    latest = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < latest, "waited in vain"
        assert process is None or process.poll() is None, "the process has ended"
        time.sleep(0.02)
