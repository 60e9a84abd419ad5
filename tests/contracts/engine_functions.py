"""Functions that engines call in other processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from rebalancer.domain.errors import InvalidRequest, NotFound


def square(number: int, report: Callable[[int], None], offset: int) -> int:
    """Report a number, and return its square plus an offset."""
    report(number)
    return number * number + offset


def refuse_three(number: int, _: Callable[[int], None]) -> int:
    """Return a number, but refuse 3."""
    if number == 3:
        raise InvalidRequest("3 is refused", field="number", code="number_refused")
    return number


def count_threads(_: int, __: Callable[[int], None]) -> tuple[int, str]:
    """Return the process, and the number of threads of numeric libraries."""
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def leave_mark(folder: Path) -> None:
    """Create a file that is named after this process, then work until the process is stopped."""
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def fail(folder: Path) -> None:
    """Create a file, then fail as on a machine with another database."""
    (folder / "failed").touch()
    raise NotFound("run 7 does not exist")
