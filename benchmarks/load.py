"""A load on a server of our own, over loopback: some clients, each with one request in flight."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs


@attrs.frozen
class Load:
    """How a server bore it.

    Attributes:
        rate: Answers a second.
        p50: Half of the answers came within, seconds.
        p99: All but one in a hundred came within, seconds.
        errors: Answers whose status was not the wanted one.
    """

    rate: float
    p50: float
    p99: float
    errors: int


def request(method: str, path: str, *, token: str = "", body: Any = None) -> bytes:
    """A request as it goes over the wire."""
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
    """Clients that send these requests in turn, each as soon as the last one is answered.

    Args:
        port: Of the server, on loopback.
        requests: What is sent; each client begins at another one.
        clients: How many there are.
        seconds: How long it is measured.
        wanted: The status that an answer should have.
        warm_up: How long it runs before it is measured.
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
        raise RuntimeError("the server gave no answer in time")
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
