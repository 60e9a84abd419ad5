"""Clients that send malformed, incomplete or costly requests do not disturb others."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.e2e.conftest import TIMEOUT, Running, until

LOGIN = b"POST /api/users/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
OPEN = b"POST /api/portfolios HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def running(share_server: Callable[..., Running]) -> Running:
    return share_server(env={"REBALANCER_LOG_LEVEL": "debug"})


def send(running: Running, *parts: bytes, answer: bool = True) -> str:
    """Send bytes on a connection of their own; return the status line, or hang up."""
    host, port = running.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.05)
        return connection.recv(1000).split(b"\r\n")[0].decode() if answer else ""


def test_incomplete_body_is_not_logged_as_a_failure(running: Running) -> None:
    chunked = LOGIN + b"Transfer-Encoding: chunked\r\n\r\n"
    assert " 400 " in send(running, chunked, b"zz\r\nabc\r\n")
    for _ in range(5):
        send(running, LOGIN + b"Content-Length: 100\r\n\r\n", b"{", answer=False)
        send(running, chunked, b"5\r\nabc", answer=False)
    for path in (b"%00", b"a%00b", b"%2e%2e%00/x", b"a" * 300, b"a" * 5000, b"x/" * 3000):
        request = b"GET /docs/static/" + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert " 404 " in send(running, request)
    until(lambda: sum("disconnect" in line["message"] for line in running.lines) >= 11)
    assert {line["level"] for line in running.lines} <= {"debug", "info"}
    assert not [line for line in running.lines if "exception" in line]


def test_token_is_checked_before_the_body_arrives(running: Running) -> None:
    announced = b"Content-Length: 900000\r\n\r\n"
    assert " 401 " in send(running, OPEN + announced)
    assert " 401 " in send(running, OPEN + b"Authorization: Bearer x\r\n" + announced)
    assert " 413 " in send(running, LOGIN + announced)


def cpu_seconds(running: Running) -> float:
    """Return the processor time that a server has used: a busy machine does not change it."""
    first = psutil.Process(running.process.pid)
    times = [one.cpu_times() for one in (first, *first.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def test_large_nested_bodies_cost_little(running: Running) -> None:
    with running.client() as client:
        account = {"email": "ada@example.org", "password": "correct horse battery staple"}
        client.post("/api/users/register", json=account)
        token = client.post("/api/users/login", json=account).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    lists = b'{"a":[' + (b"[" * 30 + b"]" * 30 + b",") * 16_000 + b"0]}"
    texts = b'{"targets":{' + b",".join(b'"%d":"%s"' % (n, b"[" * 40) for n in range(19_000))
    bodies = [lists, b"[" * 990_000, texts + b"}}", b'{"a":1.' + b"1" * 980_000 + b"}"] * 3
    statuses = []

    def attack(body: bytes) -> None:
        with running.client(headers=headers) as client:
            statuses.append(client.post("/api/portfolios", content=body).status_code)

    threads = [threading.Thread(target=attack, args=(body,)) for body in bodies]
    with running.client() as client:
        client.get("/health/live")
        before = cpu_seconds(running)
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert client.get("/health/live").status_code == httpx.codes.OK
            time.sleep(0.02)
    assert statuses == [400] * len(bodies)
    spent = cpu_seconds(running) - before
    assert spent < 5  # about 0.3; one list that is parsed as a whole takes seconds
