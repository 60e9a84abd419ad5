"""Logins, and writers that wait for a lock, do not delay other requests."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.conftest import TIMEOUT, Running

UNLIMITED = {
    "REBALANCER_RATE_LIMIT": "0",
    "REBALANCER_LOGIN_LIMIT": "0",
    "REBALANCER_IDLE_TIMEOUT": "600",  # a flooded machine may pause a client
}


@pytest.fixture(scope="module")
def running(share_server: Callable[..., Running]) -> Running:
    return share_server(env=UNLIMITED)


def token_of(running: Running, email: str) -> str:
    """Register an account, and return its access token."""
    account = {"email": email, "password": "correct horse battery staple"}
    with running.client() as client:
        client.post("/api/users/register", json=account)
        return str(client.post("/api/users/login", json=account).json()["access_token"])


def test_login_flood_leaves_others_served(running: Running) -> None:
    token = token_of(running, "ada@example.org")
    stopped = threading.Event()
    statuses: set[int] = set()

    def flood(number: int) -> None:
        guess = {"email": f"user{number}@example.org", "password": "a guessed password"}
        with running.client() as client:
            while not stopped.is_set():
                statuses.add(client.post("/api/users/login", json=guess).status_code)

    took = []
    with ThreadPoolExecutor(40) as pool:
        floods = [pool.submit(flood, number) for number in range(40)]
        with running.client(headers={"Authorization": f"Bearer {token}"}) as client:
            for _ in range(30):
                begin = time.perf_counter()
                assert client.get("/api/portfolios").status_code == httpx.codes.OK
                took.append(time.perf_counter() - begin)
        stopped.set()
        for one in floods:
            one.result(TIMEOUT)
    assert statuses <= {401, 429, 503}
    assert sorted(took)[len(took) // 2] < 2  # about 0.02; the flood shares the test's processors


def test_blocked_writers_delay_no_reader(running: Running) -> None:
    headers = {"Authorization": f"Bearer {token_of(running, 'grace@example.org')}"}
    portfolio = {"name": "a", "targets": {"KO": 0.5}, "cash": "1000"}

    def write() -> int:
        with running.client(headers=headers) as client:
            return client.post("/api/portfolios", json=portfolio).status_code

    writer = sqlite3.connect(running.log.with_name("rebalancer.db"), isolation_level=None)
    with ThreadPoolExecutor(30) as pool, running.client(headers=headers) as client:
        writer.execute("BEGIN EXCLUSIVE")
        waiting = [pool.submit(write) for _ in range(30)]
        try:
            for path in ("/health/live", "/api/users/profile", "/api/portfolios") * 3:
                assert client.get(path, timeout=2.5).status_code == httpx.codes.OK
            assert not any(one.done() and one.result() == 201 for one in waiting)
        finally:
            writer.execute("ROLLBACK")
            writer.close()
        assert {one.result(TIMEOUT) for one in waiting} <= {201, 503}
