"""Find and end processes that a stage leaves behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def adopt() -> None:
    """Become the parent of all descendants whose own parent ends, daemons included (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end() -> set[str]:
    """End all descendants of this process; return their names.

    Terminated processes have ten seconds, then they are killed.
    """
    names: set[str] = set()
    latest = time.monotonic() + 10
    while left := _descendants():
        names |= set(left.values())
        how = signal.SIGTERM if time.monotonic() < latest else signal.SIGKILL
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        time.sleep(0.2)
    return names


def _descendants() -> dict[int, str]:
    """Return the names of running descendants by process id; collect those that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    parents: dict[int, tuple[int, str]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = stat.read_text(encoding="utf-8", errors="replace").partition(" (")
            name, _, fields = rest.rpartition(") ")
            state, parent = fields.split()[:2]
            if state not in {"Z", "X"}:
                parents[int(pid)] = int(parent), name
    found: dict[int, str] = {}
    grown = {os.getpid()}
    while grown:
        grown = {pid for pid, (parent, _) in parents.items() if parent in grown}
        found |= {pid: parents[pid][1] for pid in grown}
    return found
