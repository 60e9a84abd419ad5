"""Liveness, readiness, and errors while a dependency is down."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dishka import Container
from litestar import Litestar
from litestar.testing import TestClient

from rebalancer.application.health import CheckHealth, Health, State
from rebalancer.application.market_import import ImportMarket
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Database
from rebalancer.application.revision_cache import CHECK_INTERVAL
from rebalancer.config import Settings
from rebalancer.domain.market.instruments import Instruments
from rebalancer.entrypoints.http.health import Readiness
from rebalancer.wiring.container import build_container
from rebalancer.wiring.market import STORE, Sources
from tests.contracts.redises import Clock
from tests.entrypoints.http.conftest import HISTORY, ApiUser, RunningApi, expect_problem
from tests.servers import Mongo, Valkey, running


def test_process_is_live(api: RunningApi) -> None:
    assert api.client.get("/health/live").json() == {"status": "ok"}


def ready(client: TestClient[Litestar], status: int = 200) -> dict[str, Any]:
    """Wait until readiness has a status; return the body."""
    latest = time.monotonic() + 120
    while True:
        answer = client.get("/health/ready")
        if answer.status_code == status or time.monotonic() > latest:
            assert answer.status_code == status, answer.text
            return answer.json()  # type: ignore[no-any-return]  # JSON
        time.sleep(0.05)


def test_readiness_follows_its_dependencies(api: RunningApi) -> None:
    fine = {"status": "ok", "parts": {"store": "ok", "prices": "ok"}, "notes": {}}
    assert ready(api.client) == fine
    api.work.is_down = True
    is_down = ready(api.client, 503)
    assert is_down["parts"] == {"store": "the database did not answer", "prices": "ok"}
    assert api.client.get("/health/live").status_code == 200
    api.work.is_down = False
    assert ready(api.client) == fine
    api.market.is_down = True
    assert ready(api.client, 503)["parts"]["prices"] == "the exchange is on fire"


class FakeCheck:
    """A check that waits until it is released; it counts its calls and those at the same time."""

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()
        self.count = self.running = self.most = 0
        self.fails = False

    def __call__(self) -> Health:
        self.count += 1
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        assert self.released.wait(120)
        self.running -= 1
        if self.fails:
            raise ZeroDivisionError
        return Health(State.OK, {"checks": str(self.count)})

    def block(self) -> None:
        self.started.clear()
        self.released.clear()

    async def until_started(self) -> None:
        assert await asyncio.to_thread(self.started.wait, 120)


def test_concurrent_readiness_requests_share_one_check() -> None:
    async def scenario() -> None:
        check, clock = FakeCheck(), Clock()
        readiness = Readiness(check, clock=clock)

        async def checks() -> str:
            return (await readiness()).parts["checks"]

        async def flood() -> set[str]:
            return set(await asyncio.gather(*(checks() for _ in range(300))))

        first = asyncio.create_task(flood())  # the first result is missing: all wait
        await check.until_started()
        check.released.set()
        assert await first == {"1"}
        check.block()
        assert await flood() == {"1"}  # the result is valid for a second
        clock.now += 1.0
        checking = asyncio.create_task(checks())
        await check.until_started()
        assert await flood() == {"1"}  # others do not wait for the new check
        check.released.set()
        assert await checking == "2"
        assert await flood() == {"2"}
        check.block()
        clock.now += 60.0
        again = asyncio.create_task(flood())  # a result a minute old is too old: all wait
        await check.until_started()
        check.released.set()
        assert await again == {"3"}
        assert (check.count, check.most) == (3, 1)

    asyncio.run(scenario())


def test_disconnected_client_does_not_stop_the_check() -> None:
    async def scenario() -> None:
        check, clock = FakeCheck(), Clock()
        readiness = Readiness(check, clock=clock)
        first = asyncio.create_task(readiness())
        second = asyncio.create_task(readiness())
        await check.until_started()
        first.cancel()
        check.released.set()
        assert (await second).parts["checks"] == "1"
        clock.now += 1.0
        check.fails = True
        with pytest.raises(ZeroDivisionError):
            await readiness()
        check.fails = False
        assert (await readiness()).parts["checks"] == "3"

    asyncio.run(scenario())


def test_known_prices_are_used_while_mongo_is_down(tmp_path: Path) -> None:
    with running(Mongo) as server, ExitStack() as at_the_end:
        settings = Settings(
            database_url=f"sqlite:///{tmp_path / 'x.db'}", mongo_url=f"{server.url}health"
        )

        def wired() -> Container:
            made = build_container(Sources(prices=STORE), settings=settings)
            at_the_end.callback(made.close)
            return made

        knows, knows_nothing = wired(), wired()
        knows.get(Database).upgrade()
        knows.get(ImportMarket)(HISTORY, usual=Instruments())
        fine = dict.fromkeys(["store", "prices", "reports"], "ok")
        assert knows.get(CheckHealth)() == Health(State.OK, fine)
        server.kill()
        time.sleep(CHECK_INTERVAL)  # for which it is taken to be there
        health = knows.get(CheckHealth)()
        assert health == Health(
            State.DEGRADED,
            {
                "store": "ok",
                "prices": "MongoDB does not answer; serving the prices read last",
                "reports": "MongoDB does not answer; reports can be neither stored nor read",
            },
        )
        assert knows.get(PriceSource).closes().digest == HISTORY.digest
        health = knows_nothing.get(CheckHealth)()
        assert health.state is State.UNAVAILABLE
        assert health.parts["prices"] == "MongoDB does not answer"
        server.start()
        latest = time.monotonic() + 120
        while {one.get(CheckHealth)().state for one in (knows, knows_nothing)} != {State.OK}:
            assert time.monotonic() < latest
            time.sleep(0.1)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_server_continues_without_redis(start_api: Callable[..., RunningApi]) -> None:
    with running(Valkey) as server:
        wanted = {"rate_limit": 50, "login_limit": 10, "redis_url": server.url}
        api = start_api(settings=Settings(**wanted))
        client = api.client

        def becomes(how: str, status: int = 200) -> dict[str, str]:
            latest = time.monotonic() + 120
            while (response := client.get("/health/ready")).json()["status"] != how:
                assert time.monotonic() < latest
                time.sleep(0.05)
            assert response.status_code == status
            parts: dict[str, str] = response.json()["parts"]
            return parts

        names = ["store", "prices", "cache", "limits", "queue"]
        assert becomes("ok") == dict.fromkeys(names, "ok")
        ada = api.register()
        left = int(ada.get("/api/users/profile").headers["ratelimit-remaining"])
        assert left < 49

        server.kill()
        # This process counts from zero again; logging in and out still works.
        there = ada.get("/api/users/profile")
        assert (there.status_code, there.headers["ratelimit-remaining"]) == (200, "49")
        again = api.log_in()
        body = {"refresh_token": again.login["refresh_token"]}
        assert client.post("/api/users/logout", json=body).status_code == 204
        expect_problem(again.get("/api/users/profile"), 401)
        expect_problem(client.post("/api/users/refresh", json=body), 401)
        assert becomes("degraded") == {
            "store": "ok",
            "prices": "ok",
            "cache": "Redis is unavailable; each process reads prices from the store",
            "limits": "Redis is unavailable; each process counts its own rate limits, and a "
            "revoked login may stay valid for a few seconds",
            "queue": "Redis is unavailable; background jobs cannot be started",
        }
        api.work.is_down = True
        becomes("unavailable", 503)
        api.work.is_down = False

        server.start()
        becomes("ok")
        expect_problem(again.get("/api/users/profile"), 401)  # this process knows still
        body = {"refresh_token": ada.login["refresh_token"]}
        assert client.post("/api/users/logout", json=body).status_code == 204
        expect_problem(ada.get("/api/users/profile"), 401)


def test_unavailable_dependency_is_named(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    api.market.is_down = True
    for answer in (
        ada.get(f"/api/portfolios/{portfolio}"),
        ada.post("/api/rebalance/predict", {"portfolio_id": portfolio}),
    ):
        assert expect_problem(answer, 503) == "the exchange is on fire"
        assert answer.headers["retry-after"] == "5"
    api.work.is_down = True
    expect_problem(ada.get("/api/users/profile"), 503)


def test_defect_is_logged_and_hidden_from_the_client(
    api: RunningApi, ada: ApiUser, caplog: pytest.LogCaptureFixture
) -> None:
    api.work.failure = RuntimeError("SELECT * FROM secrets at /etc/passwd")
    with caplog.at_level(logging.ERROR, "rebalancer.http"):
        answer = ada.get("/api/users/profile")
    assert expect_problem(answer, 500) == "an internal error occurred and has been logged"
    assert "secrets" not in answer.text
    (record,) = [one for one in caplog.records if one.name == "rebalancer.http"]
    assert record.getMessage() == "GET /api/users/profile failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is api.work.failure


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_client_errors_are_not_logged(
    api: RunningApi, ada: ApiUser, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "rebalancer.http"):
        ada.get("/api/nope")
        ada.post("/api/portfolios", content=b"{")
        api.client.get("/api/users/profile")
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
