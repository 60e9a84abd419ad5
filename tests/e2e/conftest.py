"""Run the real server as a process, with a database file and a real client."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from tests import watchdog
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT

TIMEOUT = 120.0
"""Seconds, far more than needed: on a busy machine only a failure waits that long."""


@attrs.define
class Running:
    """A server that was started.

    Attributes:
        first_line: What it printed first, with its address.
        log: The file of its log lines.
    """

    process: subprocess.Popen[str]
    address: str
    first_line: str
    log: Path

    def client(self, **options: Any) -> httpx.Client:
        """Return a client of this server that ignores proxy settings."""
        # Without certificates, whose loading takes longer than some requests.
        options = {"verify": False, "timeout": TIMEOUT, "trust_env": False} | options
        return httpx.Client(base_url=self.address, **options)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the server with a signal; return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(TIMEOUT)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return its log records, which are lines of JSON; mails are printed between them."""
        text = self.log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@contextmanager
def serving(folder: Path, template: Path | None = None) -> Iterator[Callable[..., Running]]:
    """Start `rebalancer serve` on a free port, in a folder, and wait for an answer.

    Args:
        folder: Where the server runs.
        template: A database with empty tables to copy there, which is faster than to upgrade one.
    """
    if template is not None:
        shutil.copy(template, folder / "rebalancer.db")
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, env: dict[str, str] | None = None) -> Running:
        log = folder / f"log-{len(started)}.jsonl"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [COMMAND, "serve", "--port", "0", *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=ENVIRONMENT | (env or {}),
                cwd=folder,
            )
        watchdog.watch(process)
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(("Listening on http://127.0.0.1:", "Listening on https://")), (
            log.read_text()
        )
        running = Running(process, line.split()[2].rstrip(","), line, log)
        until(lambda: answers(running), process)
        return running

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
            watchdog.release(process)
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def serve(tmp_path: Path, sqlite_template: Path) -> Iterator[Callable[..., Running]]:
    """Start servers in the test's folder, which has a database with empty tables."""
    with serving(tmp_path, sqlite_template) as start:
        yield start


@pytest.fixture(scope="module")
def share_server(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path
) -> Iterator[Callable[..., Running]]:
    """Start servers that all tests of a module use, in a folder of their own."""
    with serving(tmp_path_factory.mktemp("shared"), sqlite_template) as start:
        yield start


@pytest.fixture
def server(serve: Callable[..., Running]) -> str:
    """Return the address of a server with an empty database and the sample prices."""
    return serve().address


def answers(running: Running) -> bool:
    """Return whether the server answers."""
    try:
        with running.client() as client:
            return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


PAUSE = 0.06
"""Seconds between two looks: 1,000 requests a minute stay below the limit of a user."""


def until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition holds; fail at once if the process ends."""
    latest = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < latest, "the condition never held"
        assert process is None or process.poll() is None, "the process has ended"
        time.sleep(PAUSE)
