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
    """Connect synchronously; connections with one prefix share their keys."""
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
    """A server that accepts connections and sends nothing, as with a hanging disk or network."""

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
    """A monotonic clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def wait(self, seconds: float) -> None:
        self.now += seconds


async def really_wait(seconds: float) -> None:
    """Wait a little longer than asked, for the resolution of clocks."""
    await asyncio.sleep(seconds + 0.005)
