"""The service behind Debian's nginx, with the configuration that ships with it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import attrs
import httpx
import pytest

from tests.e2e.conftest import TIMEOUT, Running, until
from tests.hostile import ONE_BYTE, SILENT, SLOW_BODIES, Attack, Held, holding, probe
from tests.proxies import Nginx

SETTINGS = {
    "REBALANCER_TRUSTED_PROXIES": "1",
    "REBALANCER_SECRET_KEY": "a key that is not the public one of development",
}
ACCOUNT = {"email": "ada@example.org", "password": "correct horse battery staple"}


@attrs.frozen
class Proxied:
    """A service and the proxy in front of it.

    Attributes:
        port: The proxy's port.
        tls: Trusts its certificate.
        service: The service.
    """

    port: int
    tls: ssl.SSLContext
    service: Running

    def client(self) -> httpx.Client:
        """Return a client of the proxy."""
        address = f"https://localhost:{self.port}"
        return httpx.Client(base_url=address, verify=self.tls, timeout=TIMEOUT, trust_env=False)


@pytest.fixture(scope="module")
def proxied(
    share_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    service = share_server(env=SETTINGS)
    proxy = Nginx(tmp_path_factory.mktemp("nginx"), int(service.address.rpartition(":")[2]))
    proxy.start()
    try:
        yield Proxied(proxy.port, ssl.create_default_context(cafile=proxy.authority), service)
    finally:
        proxy.stop()


def test_service_behind_nginx(proxied: Proxied) -> None:
    with proxied.client() as client:
        assert client.post("/api/users/register", json=ACCOUNT).status_code == 201
        login = client.post("/api/users/login", json=ACCOUNT)
        token = login.json()["access_token"]
        check_headers(client)
        check_events(client, {"Authorization": f"Bearer {token}"})
        large = client.post("/api/portfolios", content=b"[" * 1_100_000)
        assert large.status_code == 413
        check_doubled_host(proxied)
        check_forged_addresses(client)
    with (
        pytest.raises(httpx.ConnectError),
        httpx.Client(verify=proxied.tls, trust_env=False) as other,
    ):
        other.get(f"https://127.0.0.1:{proxied.port}/health/live")  # a name of another site
    networks = {line["network"] for line in proxied.service.lines if "network" in line}
    assert networks == {"127.0.0.0/24"}


def check_headers(client: httpx.Client) -> None:
    """The proxy names requests; names that clients choose are ignored."""
    answer = client.get("/health/live", headers={"X-Request-ID": "chosen-by-the-client"})
    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "includeSubDomains" in answer.headers["strict-transport-security"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def check_doubled_host(proxied: Proxied) -> None:
    """A request with two host names does not reach the service."""
    with (
        socket.create_connection(("127.0.0.1", proxied.port), timeout=TIMEOUT) as connection,
        proxied.tls.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        secured.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other.example\r\n\r\n")
        assert secured.recv(100).startswith(b"HTTP/1.1 400 ")


def check_forged_addresses(client: httpx.Client) -> None:
    """Attempts to log in count by the address of the connection, whatever headers say."""
    statuses = []
    for number in range(25):
        forged = {
            "X-Forwarded-For": f"192.0.2.{number}",
            "Forwarded": f"for=192.0.2.{number}",
            "X-Real-IP": f"192.0.2.{number}",
        }
        guess = {"email": f"user{number}@example.org", "password": "a guessed password"}
        answer = client.post("/api/users/login", json=guess, headers=forged)
        statuses.append(answer.status_code)
    assert statuses[0] == 401 and statuses[-1] == 429


def check_events(client: httpx.Client, headers: dict[str, str]) -> None:
    """Events arrive while their job runs."""
    portfolio = {"targets": {"KO": 0.5, "PG": 0.5}, "policies": ["monthly"]}
    started = client.post("/api/backtest", json=portfolio, headers=headers)
    assert started.status_code == 202, started.text
    events = f"/api/jobs/{started.json()['id']}/events"
    with client.stream("GET", events, headers=headers) as stream:
        lines = stream.iter_lines()
        first = [next(lines) for _ in range(2)]
    assert first[0].startswith("event: ")
    assert "state" in json.loads(first[1].removeprefix("data: "))


def test_attacks_through_nginx(proxied: Proxied) -> None:
    earlier = len(proxied.service.lines)

    async def suffer() -> tuple[list[float], list[Held]]:
        async with AsyncExitStack() as stack:

            async def hold(attack: Attack, number: int, tls: ssl.SSLContext | None) -> Held:
                held = holding(attack, proxied.port, number, tls=tls, at_once=20)
                return await stack.enter_async_context(held)

            silent = [await hold(SILENT, 1_100, None), await hold(ONE_BYTE, 1_100, None)]
            slow = await hold(SLOW_BODIES, 300, proxied.tls)
            took = []
            while len(slow.closed) < 200 or len(silent[0].closed) < 1_100:
                took.append(await probe(proxied.port, tls=proxied.tls, timeout=TIMEOUT))
                await asyncio.sleep(0.1)
            return took, [*silent, slow]

    took, held = asyncio.run(suffer())
    assert took  # each probe got its answer, after about 0.05 s
    assert sum(one.refused for one in held) == 0
    until(lambda: len(proxied.service.lines) > earlier)
    lines = proxied.service.lines[earlier:]
    requests = [line for line in lines if line["message"] == "request"]
    assert not [line for line in requests if line["path"] == "/api/users/login"]
