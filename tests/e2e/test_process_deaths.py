"""The server outlives its processes, unless they cannot start."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.e2e.conftest import TIMEOUT, Running, answers, until


def workers_of(running: Running) -> set[int]:
    """Return the processes that answer requests."""
    return {child.pid for child in psutil.Process(running.process.pid).children()}


def test_repeated_deaths_do_not_end_the_server(serve: Callable[..., Running]) -> None:
    running = serve("--upgrade", "--workers", "2")
    killed: set[int] = set()
    for _ in range(3):  # soon after their start, some of them before they can answer
        until(lambda: len(workers_of(running) - killed) == 2, running.process)
        for pid in workers_of(running) - killed:
            psutil.Process(pid).send_signal(signal.SIGKILL)
            killed.add(pid)
    until(lambda: answers(running), running.process)
    assert running.stop() == 0
    messages = [line["message"] for line in running.lines]
    ends = [message for message in messages if "ended with exit code -9" in message]
    assert len(ends) >= len(killed)


def test_processes_that_cannot_start_end_the_server(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("a key that is removed after the start")
    running = serve("--upgrade", env={"REBALANCER_SECRET_KEY_FILE": str(key)})
    key.unlink()
    for pid in workers_of(running):
        psutil.Process(pid).kill()
    assert running.process.wait(TIMEOUT) != 0
    text = running.log.read_text()
    assert "REBALANCER_SECRET_KEY_FILE" in text
    assert text.count("it restarts in") == 5  # after the kill, and four failures
    assert "worker-1 failed again and again soon after its start" in text
    assert text.splitlines()[-1].endswith("its log gives the reason")
