"""Processes that work for another one, or on very much."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_SELDOM = 100_000
"""Values made, and not gone again, between two looks for cycles of them."""


def told_to_end() -> asyncio.Event:
    """What is set once this process is told to end, by SIGTERM or Ctrl-C; in a running loop.

    Whoever listens already hears it as well: handlers are called after ours, and what an event loop
    has registered reaches it by another way.
    """
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def tell(number: int, frame: Any, before: Any = before) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(told.set)
            if callable(before):
                before(number, frame)

        with suppress(ValueError):  # only the main thread may listen, as it does in a server
            signal.signal(number, tell)
    return told


@contextmanager
def seldom_tidied() -> Iterator[None]:
    """Look for cyclic garbage seldom: looking as often as usual takes a fifth of a batch's time.

    A batch makes values by the ten thousand. None refers back to what refers to it, so all go as
    soon as they are done with.
    """
    usual = gc.get_threshold()
    gc.set_threshold(_SELDOM, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
