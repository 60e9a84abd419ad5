"""Requests are timed, and their connections noted, before they reach the router."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from rebalancer.entrypoints.connections import BusyConnections
from rebalancer.entrypoints.http.admission import limit_body_time, track_busy
from rebalancer.entrypoints.http.errors import BodyTimeout

PEER = ("192.0.2.7", 5000)


def scope(method: str = "POST", *, length: bytes | None = b"3", kind: str = "http") -> Any:
    headers = [] if length is None else [(b"content-length", length)]
    return {
        "type": kind,
        "method": method,
        "headers": headers,
        "client": PEER,
        "http_version": "1.1",
    }


def body(*parts: bytes, pause: float = 0.0) -> Any:
    """Return a `receive` that gives the parts of a body, each but the first after a pause."""
    left = list(parts)

    async def receive() -> dict[str, Any]:
        part = left.pop(0)
        if len(left) < len(parts) - 1:
            await asyncio.sleep(pause)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


async def send(_: Any) -> None:
    """Ignore a message."""


def noted(given: Any, receive: Any) -> list[tuple[bool, bool]]:
    """Return whether the connection was busy, and open, at first and after each part."""
    busy = BusyConnections()
    seen = []

    async def app(_: Any, receive: Any, __: Any) -> None:
        seen.append((PEER in busy, busy.is_open(PEER)))
        more = given["type"] == "http" and given["method"] == "POST"
        while more:
            more = (await receive())["more_body"]
            seen.append((PEER in busy, busy.is_open(PEER)))

    async def run() -> None:
        await track_busy(app, busy)(given, receive, send)

    asyncio.run(run())
    assert PEER not in busy and not busy.is_open(PEER)
    return seen


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (scope("GET", length=None), [(True, False)]),
        (scope("GET", length=b"0"), [(True, False)]),
        (scope(), [(False, False), (False, False), (True, False)]),
        (scope(kind="websocket"), [(False, True)]),
    ],
)
def test_a_connection_is_busy_once_its_request_is_complete(
    given: Any, expected: list[tuple[bool, bool]]
) -> None:
    assert noted(given, body(b"a", b"bc")) == expected


def read_in_time(parts: Sequence[bytes], *, timeout: float, pause: float) -> int:
    """Return the bytes that an application receives."""
    received = 0

    async def app(_: Any, receive: Any, __: Any) -> None:
        nonlocal received
        more = True
        while more:
            message = await receive()
            received += len(message["body"])
            more = message["more_body"]

    async def run() -> None:
        await limit_body_time(app, timeout)(scope(), body(*parts, pause=pause), send)

    asyncio.run(run())
    return received


def test_slow_bodies_are_refused() -> None:
    with pytest.raises(BodyTimeout, match="too slowly"):
        read_in_time([b"a"] * 100, timeout=0.1, pause=0.02)


def test_large_bodies_have_more_time() -> None:
    assert read_in_time([b"a" * 1_000_000, b"b"], timeout=0.5, pause=0.7) == 1_000_001
