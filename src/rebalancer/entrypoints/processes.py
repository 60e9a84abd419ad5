"""Signals and garbage collection of long-running processes."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def rare_garbage_collection(threshold: int = 100_000) -> Iterator[None]:
    """Collect cyclic garbage rarely; at the usual rate it takes a fifth of a batch's time.

    A batch creates objects by the ten thousand, without reference cycles. The threshold is that of
    the youngest generation.
    """
    usual = gc.get_threshold()
    gc.set_threshold(threshold, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
