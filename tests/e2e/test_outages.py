"""A server continues while others are down, and its responses name no addresses."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from rebalancer.adapters.mongo.connection import connect
from tests.e2e.conftest import Running, until
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.servers import Mongo, Valkey, running

CREDENTIALS = {"email": "ada@example.org", "password": "a long sentence is best"}
CLIENTS = 60


def flood(server: Running, paths: Sequence[str]) -> tuple[list[httpx.Response], float]:
    """Send concurrent requests; return their responses and the seconds of a login meanwhile."""

    clients = CLIENTS * len(paths)
    limits = httpx.Limits(max_connections=clients + 1)
    with ThreadPoolExecutor(clients) as pool, server.client(limits=limits) as client:
        asked = [pool.submit(client.get, paths[number % len(paths)]) for number in range(clients)]
        time.sleep(0.5)
        began = time.monotonic()
        login = client.post("/api/users/login", json=CREDENTIALS)
        took = time.monotonic() - began
        assert login.status_code == 200, login.text
        return [one.result() for one in asked], took


@pytest.mark.parametrize("shared", ["memory", "redis"])
def test_mongo_outage_does_not_block_logins_or_reveal_its_address(
    serve: Callable[..., Running], shared: str, redis_url: str
) -> None:
    # A thread that looks for this server waits so long that logins behind it would be late.
    gone = "mongodb://127.0.0.1:9/x?serverSelectionTimeoutMS=15000"
    env = {"REBALANCER_MONGO_URL": gone, "REBALANCER_LOGIN_LIMIT": "0"}
    if shared == "redis":
        env |= {"REBALANCER_REDIS_URL": redis_url, "REBALANCER_REDIS_PREFIX": "outages"}
    server = serve("--upgrade", env=env)
    with server.client() as client:
        assert client.post("/api/users/register", json=CREDENTIALS).status_code == 201
        client.post("/api/users/login", json=CREDENTIALS)
        client.get("/health/ready")
    time.sleep(1.0)
    # Both at once, as each waits for the time-out.
    answers, took = flood(server, ("/api/market/assets", "/health/ready"))
    assert {answer.status_code for answer in answers} == {503}
    assert took < 14, "only one thread of each may wait for the server that is down"
    for answer in answers:
        assert "MongoDB does not answer" in answer.text
        assert "127.0.0.1" not in answer.text
    logged = [line for line in server.log.read_text().splitlines() if "rebalancer.mongo" in line]
    assert len(logged) == 1, logged  # once for all requests
    assert "MongoDB at 127.0.0.1:9 does not answer: " in logged[0]


def test_server_started_before_mongo_uses_it_when_ready(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    def rebalancer(*arguments: str) -> str:
        done = subprocess.run(
            [COMMAND, *arguments],
            capture_output=True,
            encoding="utf-8",
            env=ENVIRONMENT | env,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    with running(Mongo) as mongo:
        mongo.kill()
        env = {"REBALANCER_MONGO_URL": f"{mongo.url}later", "REBALANCER_RATE_LIMIT": "0"}
        assert "Caution: MongoDB does not answer" in rebalancer("db", "upgrade")
        server = serve(env=env)
        with server.client() as client:
            assert client.get("/api/market/assets").status_code == 503
            mongo.start()
            rebalancer("market", "import", "--prices", "sample")
            until(lambda: client.get("/api/market/assets").status_code == 200)
            until(lambda: client.get("/health/ready").json()["status"] == "ok")
            mongo.kill()
            # Each part finds out by itself.
            stale = "MongoDB does not answer; serving the prices read last"
            until(lambda: client.get("/health/ready").json()["parts"]["prices"] == stale)
            ready = client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
            assert ready.json()["parts"]["prices"] == stale
            assert client.get("/api/market/assets").status_code == 200
            mongo.start()
            until(lambda: client.get("/health/ready").json()["status"] == "ok")
        database = connect(f"{mongo.url}later")
        assert database.bars.index_information()["symbol_year"]["unique"]
        database.client.close()


def test_deployments_with_different_prefixes_do_not_share_limits(
    serve: Callable[..., Running],
) -> None:
    with running(Valkey) as valkey:
        env = {"REBALANCER_REDIS_URL": valkey.url, "REBALANCER_RATE_LIMIT": "50"}
        servers = [
            serve("--upgrade", env=env | {"REBALANCER_REDIS_PREFIX": name}) for name in ("a", "b")
        ]
        for server in servers:
            with server.client() as client:
                left = client.get("/api/risk/questionnaire").headers["ratelimit-remaining"]
                assert left == "49"
