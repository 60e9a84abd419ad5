"""Clients that hold connections without using them, on loopback only."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs

LOGIN = b"POST /api/users/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ATTACKER = "127.0.0.2"
"""Address of attackers, so that limits on one client do not apply to others."""

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@attrs.frozen
class Attack:
    """How each of many connections behaves.

    Attributes:
        name: Describes it in tables.
        opening: Bytes that are sent at once.
        drip: Bytes that are sent one at a time.
        pause: Seconds between two of them.
    """

    name: str
    opening: bytes = b""
    drip: bytes = b""
    pause: float = 1.0


SILENT = Attack("connections that send nothing")
ONE_BYTE = Attack("connections that send one byte", b"G")
SLOW_HEADERS = Attack(
    "headers of one byte a second", b"GET /health/live HTTP/1.1\r\nHost: ", b"x" * 300
)
SLOW_BODIES = Attack(
    "bodies of one byte a second", LOGIN + b"Content-Length: 300\r\n\r\n{", b" " * 290
)
SLOW_CHUNKS = Attack(
    "chunks of one byte a second",
    LOGIN + b"Transfer-Encoding: chunked\r\n\r\n",
    b"1\r\n \r\n" * 50,
)
IDLE = Attack("connections idle after a request", LIVE)

HOLDING = (SILENT, ONE_BYTE, SLOW_HEADERS, SLOW_BODIES, SLOW_CHUNKS, IDLE)


@attrs.define
class Held:
    """Connections of an attack.

    Attributes:
        refused: Connections that could not be opened, or were closed before their first byte.
        closed: Seconds until the server closed a connection, one for each that it closed.
    """

    opened: int = 0
    refused: int = 0
    closed: list[float] = attrs.field(factory=list)


@asynccontextmanager
async def holding(
    attack: Attack,
    port: int,
    connections: int,
    *,
    at_once: int = 100,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Held]:
    """Hold connections to a local port for the duration of the block.

    Args:
        attack: What they do.
        port: The port.
        connections: Their number.
        at_once: Connections that are opened at the same time.
        tls: Trusts the certificate of a server with TLS.
    """
    held, gate = Held(), asyncio.Semaphore(at_once)
    ready = asyncio.Event()

    async def hold() -> None:
        try:
            async with gate:
                reader, writer = await asyncio.wait_for(
                    _connect(port, tls, local_addr=(ATTACKER, 0)), 30
                )
                held.opened += 1
        except OSError:
            held.refused += 1
            return
        finally:
            if held.opened + held.refused == connections:
                ready.set()
        begin = time.perf_counter()
        writer.write(attack.opening)
        dripping = asyncio.create_task(_drip(writer, attack))
        try:
            with suppress(OSError):
                while await reader.read(65_536):
                    pass
            held.closed.append(time.perf_counter() - begin)
        finally:
            dripping.cancel()
            writer.close()

    tasks = [asyncio.create_task(hold()) for _ in range(connections)]
    await ready.wait()
    try:
        yield held
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connect(
    port: int, tls: ssl.SSLContext | None, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = None if tls is None else "localhost"
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname=name, **options
    )


async def _drip(writer: asyncio.StreamWriter, attack: Attack) -> None:
    for byte in attack.drip:
        await asyncio.sleep(attack.pause)
        writer.write(bytes([byte]))


async def probe(
    port: int,
    request: bytes = LIVE,
    *,
    timeout: float = 10.0,
    tls: ssl.SSLContext | None = None,
) -> float:
    """Send a request on a connection of its own; return the seconds to the answer.

    Raises:
        TimeoutError: no answer came in time.
        ConnectionError: the connection was closed without an answer.
    """
    begin = time.perf_counter()
    async with asyncio.timeout(timeout):
        reader, writer = await _connect(port, tls)
        try:
            writer.write(request)
            status = (await reader.readline()).split(b" ")
            if len(status) < 2:
                raise ConnectionError("closed without an answer")
            if not status[1].startswith(b"2"):
                raise ConnectionError(f"status {status[1].decode()}")
        finally:
            writer.close()
    return time.perf_counter() - begin
