"""Connections that are opened and not used do not keep others from being served."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
import websockets.sync.client

from tests.e2e.conftest import TIMEOUT, Running
from tests.hostile import HOLDING, LIVE, LOGIN, Attack, holding, probe

CONNECTIONS = 1_100
UNLIMITED = {
    "REBALANCER_RATE_LIMIT": "0",
    "REBALANCER_LOGIN_LIMIT": "0",
    "REBALANCER_SECRET_KEY": "a key that is not the public one of development",
}
HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""The preface of HTTP/2 and an empty frame of settings."""

AMBIGUOUS = [
    (b"", 400, "invalid_host"),
    (b"Host: a\r\nHost: b\r\n", 400, "invalid_host"),
    (b"Host: a\r\nHost: a\r\n", 400, "invalid_host"),
    (b"Host: \r\n", 400, "invalid_host"),
    (b"Host: a/b\r\n", 400, "invalid_host"),
    (b"Host: a b\r\n", 400, "invalid_host"),
    (b"Host: [::1]:8000\r\n", 200, "ok"),
    (b"Host: a\r\nContent-Encoding: gzip\r\n", 415, "unsupported_media_type"),
    (b"Host: a\r\nContent-Encoding: identity, br\r\n", 415, "unsupported_media_type"),
    (b"Host: a\r\nContent-Encoding: identity\r\n", 200, "ok"),
]


def port_of(running: Running) -> int:
    return int(running.address.rpartition(":")[2])


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(running)), timeout=TIMEOUT)


def answer_to(running: Running, request: bytes) -> str:
    """Send bytes; return everything that comes back until the server closes the connection."""
    received = b""
    with connect(running) as connection:
        connection.sendall(request)
        while part := connection.recv(65_536):
            received += part
    return received.decode("latin-1")


def test_a_thousand_held_connections_leave_the_server_available(
    serve: Callable[..., Running],
) -> None:
    running = serve("--upgrade", env=UNLIMITED)
    assert running.process.stdout is not None
    assert "2000 connections, 200 of one address" in running.process.stdout.readline()
    for headers, status, code in AMBIGUOUS:
        request = b"GET /health/live HTTP/1.1\r\n" + headers + b"Connection: close\r\n\r\n"
        answer = answer_to(running, request)
        assert answer.startswith(f"HTTP/1.1 {status} ") and code in answer, headers
    port = port_of(running)

    async def suffer(attack: Attack) -> None:
        """Probe the server, which answers after about 0.1 s; without limits no answer comes."""
        async with holding(attack, port, CONNECTIONS) as held:
            for _ in range(20):
                await probe(port, timeout=TIMEOUT)
            while len(held.closed) + held.refused < CONNECTIONS - 200:
                await probe(port, timeout=TIMEOUT)

    for attack in HOLDING:
        asyncio.run(suffer(attack))


@pytest.fixture
def impatient(serve: Callable[..., Running]) -> Running:
    limits = {"REBALANCER_IDLE_TIMEOUT": "1", "REBALANCER_BODY_TIMEOUT": "0.5"}
    return serve("--upgrade", env=UNLIMITED | limits)


def test_deadlines_of_connections(impatient: Running) -> None:
    assert answer_to(impatient, b"") == ""
    assert answer_to(impatient, b"G") == ""
    assert " 408 " not in answer_to(impatient, b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    after = answer_to(impatient, LIVE)
    assert after.startswith("HTTP/1.1 200 ")
    for length in (
        b"Content-Length: 300\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ):
        late = answer_to(impatient, LOGIN + length)
        assert late.startswith("HTTP/1.1 408 ") and "body_timeout" in late
        assert "connection: close" in late.lower()
    refused = LOGIN.replace(b"/users/login", b"/portfolios") + b"Content-Length: 900000\r\n\r\n{"
    assert answer_to(impatient, refused).startswith("HTTP/1.1 401 ")

    read_nothing(impatient)
    assert not answer_to(impatient, HTTP_2).startswith("\0")  # it is off unless configured


def read_nothing(running: Running) -> None:
    """Send requests and read no answer until the server closes the connection."""
    page = b"GET /docs/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    latest = time.monotonic() + TIMEOUT
    with connect(running) as connection, pytest.raises(OSError, match=r"reset|pipe"):
        connection.settimeout(0.1)
        while time.monotonic() < latest:
            with suppress(TimeoutError):
                connection.sendall(page)


def test_silent_connections_are_closed_where_http_2_is_on(serve: Callable[..., Running]) -> None:
    running = serve("--upgrade", env={"REBALANCER_IDLE_TIMEOUT": "1", "REBALANCER_HTTP2": "on"})
    settings = answer_to(running, HTTP_2)
    assert settings[3] == "\x04"
    assert answer_to(running, b"") == answer_to(running, b"P") == ""


def test_a_window_of_the_app_may_be_idle(serve: Callable[..., Running]) -> None:
    impatient = UNLIMITED | {"REBALANCER_IDLE_TIMEOUT": "1"}
    running = serve("--upgrade", "--demo", "--app", env=impatient)
    with running.client(headers={"Origin": running.address}) as browser:
        assert browser.post("/session/in/guest", json={}).is_success
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with websockets.sync.client.connect(
        f"{running.address.replace('http', 'ws')}/ws",
        origin=websockets.Origin(running.address),
        additional_headers={"Cookie": cookies},
        ping_interval=None,
        close_timeout=1,
    ) as window:
        time.sleep(7)  # the server looks for idle connections every five seconds
        assert window.ping().wait(TIMEOUT)
