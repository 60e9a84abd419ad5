"""What a server that runs does while others are away: it answers, and tells strangers nothing."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from rebalancer.adapters.mongo.connection import connect
from tests.e2e.conftest import Running, until
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT
from tests.servers import Mongo, Valkey, running

CREDENTIALS = {"email": "ada@example.org", "password": "a long sentence is best"}
STRANGERS = 60


def flood(server: Running, path: str) -> tuple[list[httpx.Response], float]:
    """What strangers are answered who ask at once, and the seconds until somebody is logged in."""

    def ask(_: int) -> httpx.Response:
        with server.client() as client:
            return client.get(path)

    with ThreadPoolExecutor(STRANGERS) as pool, server.client() as client:
        asked = [pool.submit(ask, number) for number in range(STRANGERS)]
        time.sleep(0.5)
        began = time.monotonic()
        login = client.post("/api/users/login", json=CREDENTIALS)
        took = time.monotonic() - began
        assert login.status_code == 200, login.text
        return [one.result() for one in asked], took


@pytest.mark.parametrize("shared", ["memory", "redis"])
def test_without_mongo_others_are_served_and_nobody_is_told_where_it_is(
    serve: Callable[..., Running], shared: str, redis_url: str
) -> None:
    gone = "mongodb://127.0.0.1:9/x"
    env = {"REBALANCER_MONGO_URL": gone, "REBALANCER_LOGIN_LIMIT": "0"}
    if shared == "redis":
        env |= {"REBALANCER_REDIS_URL": redis_url, "REBALANCER_REDIS_PREFIX": "outages"}
    server = serve("--upgrade", env=env)
    with server.client() as client:
        assert client.post("/api/users/register", json=CREDENTIALS).status_code == 201
        client.post("/api/users/login", json=CREDENTIALS)
        client.get("/health/ready")
    time.sleep(1.0)
    for path in ("/api/market/assets", "/health/ready"):
        answers, took = flood(server, path)
        assert {answer.status_code for answer in answers} == {503}
        assert took < 5.0, "nobody's thread waits for what is away, but for one"
        for answer in answers:
            assert "MongoDB does not answer" in answer.text
            assert "127.0.0.1" not in answer.text
    told = [line for line in server.log.read_text().splitlines() if "rebalancer.mongo" in line]
    assert len(told) == 1, told  # once, however many asked
    assert "MongoDB at 127.0.0.1:9 does not answer: " in told[0]


def test_a_server_that_was_there_before_mongo_finds_it_ready(
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
            until(lambda: client.get("/health/ready").json()["status"] == "degraded")
            ready = client.get("/health/ready")
            assert ready.status_code == 200
            said = ready.json()["parts"]["prices"]
            assert said == "MongoDB does not answer; prices that are known serve on"
            assert client.get("/api/market/assets").status_code == 200
            mongo.start()
            until(lambda: client.get("/health/ready").json()["status"] == "ok")
        database = connect(f"{mongo.url}later")
        assert database.bars.index_information()["symbol_year"]["unique"]
        database.client.close()


def test_two_deployments_on_one_server_know_nothing_of_each_other(
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
