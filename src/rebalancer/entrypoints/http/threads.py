"""Bounded thread pools, one for each kind of waiting.

Use cases are synchronous. A kind that is slow for a while, such as writers that wait for a lock or
logins that hash passwords, occupies the threads of its own pool and delays no other kind. A full
pool refuses at once, so that requests do not pile up.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar

import attrs

from rebalancer.domain.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


class ServerBusy(Unavailable):
    """As many requests of one kind wait as may; the client should try again."""

    default_code = "server_busy"


@attrs.define(eq=False, kw_only=True)
class Pool:
    """Threads for one kind of work; they start when needed.

    Args:
        name: Prefix of the names of its threads.
        threads: Calls that run at the same time.
        waiting: Calls that may wait for a thread; `ServerBusy` refuses any beyond.
        niceness: Priority of the threads where the system has one for each thread (Linux); 19 is
            the lowest.
    """

    name: str
    threads: int
    waiting: int
    niceness: int = 0
    _executor: ThreadPoolExecutor | None = attrs.field(default=None, init=False)
    _calls: int = attrs.field(default=0, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Start a call in a thread, now or later.

        Raises:
            ServerBusy: too many calls wait already.
        """
        with self._lock:
            if self._calls >= self.threads + self.waiting:
                raise ServerBusy("the server is busy; try again in a few seconds")
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.threads, self.name, self._lower_priority)
            self._calls += 1
        future = self._executor.submit(call)
        future.add_done_callback(self._release)
        return future

    def resize(self, threads: int) -> None:
        """Set the number of threads of a pool that has not started any."""
        with self._lock:
            if self._executor is None:
                self.threads = threads

    def _release(self, _: Future[T]) -> None:
        with self._lock:
            self._calls -= 1

    def _lower_priority(self) -> None:
        if self.niceness:
            with suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self.niceness)


READS = Pool(name="reads", threads=6, waiting=500)
"""For use cases that read, and for computing proposals."""

WRITES = Pool(name="writes", threads=4, waiting=200)
"""For use cases that write, and so may wait for a lock."""

HASHING = Pool(
    name="hashing", threads=max(1, min(4, (os.cpu_count() or 1) // 2)), waiting=60, niceness=10
)
"""For use cases that hash passwords: each takes 20 MB and a core for about 30 ms."""

PROVIDERS = Pool(name="providers", threads=2, waiting=20)
"""For searches at providers of market data, over the network."""

EXPORTS = Pool(name="exports", threads=1, waiting=4, niceness=10)
"""For exports of accounts, which read and compress up to hundreds of megabytes."""

HEALTH = Pool(name="health", threads=1, waiting=8)
"""For checks of readiness."""


def share_connections(connections: int) -> None:
    """Divide the connections of a process to a database server between the pools."""
    READS.resize(max(1, connections // 2 - 1))
    WRITES.resize(max(1, connections * 2 // 5))


async def run_in(pool: Pool, use: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call a use case in a thread of a pool, with the context variables of the caller.

    Raises:
        ServerBusy: too many calls wait for the pool.
    """
    context = contextvars.copy_context()
    call: Callable[[], T] = partial(context.run, use, *arguments, **options)
    return await asyncio.wrap_future(pool.submit(call))
