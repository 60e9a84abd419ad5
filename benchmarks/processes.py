"""The installed command as a process of its own: how long it takes, and how much memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

BETWEEN_LOOKS = 0.2
"""Seconds; looking more often would take a noticeable share of a core from what is measured."""


@attrs.frozen
class Spent:
    """What a process and its children took.

    Attributes:
        seconds: On the wall.
        cpu_seconds: Of all cores together; what else runs on the machine hardly changes it. 0
            where the system does not say.
        megabytes: At the peak, resident. With psutil that of parent and children together, what
            they share counted once each; without it that of the largest one alone.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float


def command() -> list[str]:
    """The `rebalancer` of this interpreter's environment."""
    found = shutil.which("rebalancer", path=str(Path(sys.executable).parent))
    if found is None:
        raise FileNotFoundError("rebalancer is not installed beside this Python: make bench")
    return [found]


def spent(arguments: Sequence[str]) -> Spent:
    """Run the command with these arguments to its end."""
    begin, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        [*command(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    largest = 0
    while True:
        try:
            _, complaint = process.communicate(timeout=BETWEEN_LOOKS)
            break
        except subprocess.TimeoutExpired:
            largest = max(largest, _resident(process.pid))
    seconds, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    if process.returncode:
        raise RuntimeError(f"rebalancer {' '.join(arguments)}: {complaint}")
    return Spent(seconds, cpu, (largest or _largest_child()) / 1e6)


def _resident(number: int) -> int:
    """Bytes that a process and its descendants hold now; 0 where nobody can say."""
    try:
        import psutil
    except ImportError:
        return 0
    try:
        parent = psutil.Process(number)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _largest_child() -> int:
    """Bytes at the peak of the largest child so far, where the system says so."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
