"""Signals of long-running processes."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Any


def termination_event() -> asyncio.Event:
    """Return an event of the running loop that SIGTERM or Ctrl-C sets.

    Existing handlers are called afterwards.
    """
    loop, terminated = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def handle(number: int, frame: Any, before: Any = before) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(terminated.set)
            if callable(before):
                before(number, frame)

        with suppress(ValueError):  # not the main thread, as in tests
            signal.signal(number, handle)
    return terminated
