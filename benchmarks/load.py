"""Load a local server with several clients, each with one request in flight."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs


@attrs.frozen
class Load:
    """Results of a load test.

    Attributes:
        rate: Responses a second.
        p50: Median latency, seconds.
        p99: 99th percentile of latency, seconds.
        errors: Responses with an unexpected status.
    """

    rate: float
    p50: float
    p99: float
    errors: int


def request(method: str, path: str, *, token: str = "", body: Any = None) -> bytes:
    """Return the bytes of an HTTP request."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
    if content:
        lines.append("Content-Type: application/json")
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def load(
    port: int,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    wanted: int = 200,
    warm_up: float = 1.0,
) -> Load:
    """Run clients that send the requests in turn, each after the previous response.

    Args:
        port: The server's port on loopback.
        requests: Requests to send; each client starts at a different one.
        clients: Number of clients.
        seconds: Duration of the measurement.
        wanted: Expected status.
        warm_up: Seconds before the measurement.
    """
    return asyncio.run(_load(port, requests, clients, seconds, wanted, warm_up))


async def _load(
    port: int, requests: Sequence[bytes], clients: int, seconds: float, wanted: int, warm_up: float
) -> Load:
    took: list[float] = []
    errors = 0
    begin = time.perf_counter() + warm_up
    end = begin + seconds

    def note(sent: float, status: int) -> None:
        nonlocal errors
        now = time.perf_counter()
        if sent >= begin and now <= end:
            took.append(now - sent)
            errors += status != wanted

    await asyncio.gather(*(_client(port, requests, place, end, note) for place in range(clients)))
    if not took:
        raise RuntimeError("the server did not respond in time")
    took.sort()
    return Load(
        rate=len(took) / seconds,
        p50=took[len(took) // 2],
        p99=took[min(len(took) - 1, int(len(took) * 0.99))],
        errors=errors,
    )


async def _client(
    port: int,
    requests: Sequence[bytes],
    place: int,
    end: float,
    note: Callable[[float, int], None],
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (sent := time.perf_counter()) < end:
            writer.write(requests[place % len(requests)])
            place += 1
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().split(b"content-length:", 1)
            if len(length) == 2:
                await reader.readexactly(int(length[1].split(b"\r\n", 1)[0]))
            note(sent, int(head[9:12]))
    finally:
        writer.close()
