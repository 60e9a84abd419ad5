"""`rebalancer` with a clock that jumps: ``python -m tests.survival.shifted serve``.

The variable ``SHIFT_FILE`` names a file with the seconds that are added to the time. Processes that
it starts import this module, too, and have the same clock.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from rebalancer.entrypoints.cli.main import main
from rebalancer.wiring import container

SHIFT_FILE = "SHIFT_FILE"


class ShiftedDatetime(datetime):
    """The time of this machine, shifted."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain one
        """Return the shifted time."""
        return datetime.now(tz) + timedelta(seconds=float(_FILE.read_text(encoding="utf-8")))


def set_shift(file: Path, seconds: float) -> None:
    """Set the shift at once for every reader."""
    following = file.with_suffix(".next")
    following.write_text(str(seconds), encoding="utf-8")
    following.replace(file)


if SHIFT_FILE in os.environ:
    _FILE = Path(os.environ[SHIFT_FILE])
    container.datetime = ShiftedDatetime  # type: ignore[misc]  # the clock reads it when called

if __name__ == "__main__":
    main()
