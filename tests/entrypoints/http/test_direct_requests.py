"""With the development key only direct requests to this machine are answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rebalancer.entrypoints.http.direct_requests import refuse_indirect_requests


def status(*headers: tuple[str, str]) -> int:
    """Return the status of a request with headers; 204 if it reaches the application."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/portfolios",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    asyncio.run(refuse_indirect_requests(app)(scope, _no_body, send))
    return int(sent[0]["status"])


async def _no_body() -> Any:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:8000", "127.8.8.8", "[::1]:8000"],
)
def test_direct_request_is_answered(host: str) -> None:
    assert status(("host", host)) == 204


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "localhost.example.org",
        "127.0.0.1.example.org",
        "192.168.1.2:8000",
        "0.0.0.0",
        "[::]:8000",
        "[::1",
        "",
        "ÿ",
    ],
)
def test_another_host_is_refused(host: str) -> None:
    assert status(("host", host)) == 403


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host"]
)
def test_request_through_a_proxy_is_refused(name: str) -> None:
    assert status(("host", "localhost"), (name, "127.0.0.1")) == 403
