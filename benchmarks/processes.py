"""Run the installed command as a process, and measure its time and memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

POLL_INTERVAL = 0.2
"""Seconds; polling more often would take a noticeable share of a core."""


@attrs.frozen
class Spent:
    """Resources that a process and its children used.

    Attributes:
        seconds: Wall-clock time.
        cpu_seconds: CPU time of all cores together, hardly affected by other load; 0 if unknown.
        megabytes: Peak resident memory. With psutil the sum over parent and children, with shared
            pages counted in each; without it the largest process only.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float


def command() -> list[str]:
    """Return the `rebalancer` command of this interpreter's environment."""
    found = shutil.which("rebalancer", path=str(Path(sys.executable).parent))
    if found is None:
        raise FileNotFoundError("rebalancer is not installed for this Python; run `make bench`")
    return [found]


def spent(arguments: Sequence[str]) -> Spent:
    """Run the command with these arguments to its end; return what it used."""
    begin, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        [*command(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    largest = 0
    while True:
        try:
            _, complaint = process.communicate(timeout=POLL_INTERVAL)
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
    """Return the resident bytes of a process and its descendants; 0 if unknown."""
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
    """Return the peak bytes of the largest child so far; 0 if unknown."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
