"""End the servers of a test run when the run is terminated or killed.

A run that ends in order stops its servers itself. A run that is killed cannot, so it starts this
script together with its first server; the script outlives the run for a moment. The run writes
commands to its standard input, one a line::

    watch PID SIGNAL    end this process with this signal, and five seconds later with SIGKILL
    release PID         the process was stopped in order
    delete FOLDER       delete this folder, after the processes have ended
    release FOLDER      the folder was deleted in order

The script also polls its parent's id, because processes forked by the run hold that pipe open.
"""

from __future__ import annotations

import atexit
import functools
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_POLL = 0.2
"""Seconds between two looks at the parent."""

_GRACE = 5.0
"""Seconds from a process's signal to SIGKILL."""


def watch(process: subprocess.Popen[Any], how: signal.Signals = signal.SIGTERM) -> None:
    """End a process with a signal if this run dies before `release`."""
    _send(f"watch {process.pid} {how.value}")


def delete(folder: Path) -> None:
    """Delete a folder if this run dies before `release`."""
    _send(f"delete {folder}")


def release(what: subprocess.Popen[Any] | Path) -> None:
    """Forget a process or a folder."""
    _send(f"release {what if isinstance(what, Path) else what.pid}")


def _send(line: str) -> None:
    pipe = _watchdog(os.getpid()).stdin
    assert pipe is not None
    pipe.write(f"{line}\n".encode())
    pipe.flush()


@functools.cache
def _watchdog(run: int) -> subprocess.Popen[bytes]:
    """Start the watchdog of this process, whose id is ``run``."""
    # In a session of its own: signals to the run's process group do not reach it.
    started = subprocess.Popen(
        [sys.executable, "-S", __file__, str(run)], stdin=subprocess.PIPE, start_new_session=True
    )

    def dismiss() -> None:
        if os.getpid() == run:
            started.communicate()

    atexit.register(dismiss)
    return started


def main(run: int) -> None:
    """Follow the commands of process ``run`` until it ends, then end what it left."""
    processes: dict[int, int] = {}
    folders: set[str] = set()
    received = b""
    while os.getppid() == run:
        if not select.select([0], [], [], _POLL)[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, received = (received + data).split(b"\n")
        for line in lines:
            command, _, value = line.decode().partition(" ")
            if command == "watch":
                watched, with_signal = value.split()
                processes[int(watched)] = int(with_signal)
            elif command == "delete":
                folders.add(value)
            else:
                folders.discard(value)
                processes.pop(int(value) if value.isdecimal() else 0, None)
    for pid, how in processes.items():
        _signal(pid, how)
    latest = time.monotonic() + _GRACE
    while any(_signal(pid, 0) for pid in processes) and time.monotonic() < latest:
        time.sleep(0.05)
    for pid in processes:
        _signal(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _signal(pid: int, how: int) -> bool:
    """Send a signal; False if the process has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)
        return True
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]))
