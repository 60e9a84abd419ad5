"""Connections to a real server, under names that no other test takes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from uuid import uuid4

from rebalancer.adapters.redis.connection import AsyncConnection, Connection, RedisBreaker


@contextmanager
def connected(
    url: str, *, prefix: str = "", breaker: RedisBreaker | None = None
) -> Iterator[Connection]:
    """For plain functions; whoever names the same prefix shares what is kept."""
    connection = Connection(url, prefix=prefix or uuid4().hex, breaker=breaker)
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def on_loop(connection: Connection) -> AsyncIterator[AsyncConnection]:
    """For the event loop that runs."""
    loop = AsyncConnection(connection)
    try:
        yield loop
    finally:
        await loop.close()


class Silent:
    """A server that lets everybody in and says nothing, as one does whose disk or network hangs."""

    def __init__(self) -> None:
        self.calls = 0
        self._held: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._socket.getsockname()[1]}/0"

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for one in self._held:
            one.close()

    def _listen(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            self._held.append(caller)


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def wait(self, seconds: float) -> None:
        self.now += seconds


async def really_wait(seconds: float) -> None:
    """Let time pass by, and a little more, as clocks are no finer."""
    await asyncio.sleep(seconds + 0.005)
