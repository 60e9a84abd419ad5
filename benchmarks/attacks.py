"""Attack a server on loopback, and measure how long others wait meanwhile.

Attackers use another loopback address than the others, whose requests are measured one at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs

from benchmarks.api import PASSWORD, _call, free_port, serving
from benchmarks.figures import Figure
from benchmarks.load import request
from benchmarks.processes import command
from tests.hostile import ATTACKER, HOLDING, LIVE, Attack, holding, probe

CONNECTIONS = 1_100
SECONDS = 8.0
"""Duration of each attack."""

PAUSE = 0.02
"""Seconds between two measured requests."""

NESTED = b'{"a":[' + (b"[" * 30 + b"]" * 30 + b",") * 16_000 + b"0]}"

Disturbance = Callable[[], AbstractAsyncContextManager[object]]


@attrs.frozen
class Case:
    """An attack, and the request that is measured meanwhile."""

    name: str
    disturb: Disturbance
    measured: str
    request: bytes
    aim: float


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "bench.db"
        port = free_port()
        arguments = [*command(), "serve", "--upgrade", "--port", str(port)]
        settings = {
            "REBALANCER_DATABASE_URL": f"sqlite:///{database}",
            "REBALANCER_LOG_LEVEL": "warning",
            "REBALANCER_RATE_LIMIT": "0",  # which would refuse most of an attack
            "REBALANCER_LOGIN_LIMIT": "0",
        }
        with serving(arguments, port, "/health/ready", settings):
            account = {"email": "bench@example.org", "password": PASSWORD}
            _call(port, "POST", "/api/users/register", account)
            token = _call(port, "POST", "/api/users/login", account)["access_token"]
            for case in _cases(port, token, database):
                took = asyncio.run(_measure(port, case))
                yield Figure(
                    subject="attacks",
                    what=f"{case.measured} during {case.name}: p95",
                    unit="s",
                    ours=took[int(len(took) * 0.95)],
                    aim=case.aim,
                    note=f"{case.name}: {len(took)} requests, p50 {took[len(took) // 2] * 1e3:.0f} "
                    f"ms, most {took[-1] * 1e3:.0f} ms.",
                )


def _cases(port: int, token: str, database: Path) -> Iterator[Case]:
    profile = request("GET", "/api/users/profile", token=token)
    portfolios = request("GET", "/api/portfolios", token=token)
    nested = request("POST", "/api/portfolios", token=token).replace(
        b"Content-Length: 0",
        b"Content-Type: application/json\r\nContent-Length: %d" % len(NESTED),
    )
    logins = [
        request(
            "POST",
            "/api/users/login",
            body={"email": f"user{number}@example.org", "password": "a guessed password"},
        )
        for number in range(5_000)
    ]
    opened = {"name": "a", "targets": {"KO": 0.5}, "cash": "1000"}
    write = request("POST", "/api/portfolios", token=token, body=opened)
    yield Case("no attack", _nothing, "health", LIVE, 0.1)
    for attack in HOLDING:
        yield Case(f"{CONNECTIONS} {attack.name}", _held(attack, port), "health", LIVE, 1.0)
    flood = _flooded(port, [nested + NESTED], 10)
    yield Case("10 clients with nested bodies of 1 MB", flood, "health", LIVE, 0.1)
    flood = _flooded(port, logins, 40)
    yield Case("40 clients that log in", flood, "GET /api/portfolios", portfolios, 0.1)

    @asynccontextmanager
    async def locked() -> AsyncIterator[None]:
        writer = sqlite3.connect(database, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        try:
            async with _flooded(port, [write], 40)():
                yield
        finally:
            writer.execute("ROLLBACK")
            writer.close()

    yield Case("40 writers that wait for a lock", locked, "GET /api/users/profile", profile, 0.1)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def _held(attack: Attack, port: int) -> Disturbance:
    return lambda: holding(attack, port, CONNECTIONS)


def _flooded(port: int, requests: Sequence[bytes], clients: int) -> Disturbance:
    """Return an attack of clients that send requests, each after the previous answer."""
    waiting = itertools.cycle(requests)

    async def send() -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=(ATTACKER, 0)
                )
                writer.write(next(waiting))
                while await reader.read(65_536):
                    break
                writer.close()
            except OSError:
                await asyncio.sleep(PAUSE)

    @asynccontextmanager
    async def flood() -> AsyncIterator[None]:
        tasks = [asyncio.create_task(send()) for _ in range(clients)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return flood


async def _measure(port: int, case: Case) -> list[float]:
    """Return the sorted seconds of the requests during an attack; infinite without an answer."""
    took = []
    async with case.disturb():
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            try:
                took.append(await probe(port, case.request, timeout=10.0))
            except (OSError, TimeoutError):
                took.append(float("inf"))
            await asyncio.sleep(PAUSE)
    return sorted(took)
