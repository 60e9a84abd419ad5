"""Whether it runs, whether it could serve, and what it says when it cannot."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from rebalancer.config import Settings
from tests.entrypoints.http.conftest import Person, World, problem
from tests.servers import Valkey, running


def test_it_runs(world: World) -> None:
    assert world.client.get("/health/live").json() == {"status": "ok"}


def test_it_is_ready_when_all_parts_are(world: World) -> None:
    ready = world.client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ok", "parts": {"store": "ok", "prices": "ok"}}
    world.work.away = True
    away = world.client.get("/health/ready")
    assert away.status_code == 503
    assert away.json()["parts"] == {"store": "the database did not answer", "prices": "ok"}
    assert world.client.get("/health/live").status_code == 200
    world.work.away, world.market.away = False, True
    assert world.client.get("/health/ready").json()["parts"]["prices"] == "the exchange is on fire"


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_without_redis_it_goes_on_and_says_how(in_world: Callable[..., World]) -> None:
    with running(Valkey) as server:
        wanted = {"rate_limit": 50, "login_limit": 10, "redis_url": server.url}
        world = in_world(settings=Settings(**wanted))
        client = world.client

        def state() -> tuple[int, str, dict[str, str]]:
            ready = client.get("/health/ready")
            return ready.status_code, ready.json()["status"], ready.json()["parts"]

        names = ["store", "prices", "cache", "limits", "queue"]
        assert state() == (200, "ok", dict.fromkeys(names, "ok"))
        ada = world.somebody()
        left = int(ada.get("/api/users/profile").headers["ratelimit-remaining"])
        assert left < 49

        server.kill()
        # Counts begin anew, in this process; logging in and out goes on.
        there = ada.get("/api/users/profile")
        assert (there.status_code, there.headers["ratelimit-remaining"]) == (200, "49")
        again = world.logged_in()
        body = {"refresh_token": again.login["refresh_token"]}
        assert client.post("/api/users/logout", json=body).status_code == 204
        problem(again.get("/api/users/profile"), 401)
        problem(client.post("/api/users/refresh", json=body), 401)
        status, how, parts = state()
        assert (status, how) == (200, "degraded")
        assert parts == {
            "store": "ok",
            "prices": "ok",
            "cache": "Redis does not answer; prices are read from where they are kept, each time",
            "limits": "Redis does not answer; each process limits on its own, and a login that was "
            "ended may serve out its minutes",
            "queue": "Redis does not answer; background jobs cannot be started",
        }
        world.work.away = True
        assert state()[:2] == (503, "unavailable")
        world.work.away = False

        server.start()
        latest = time.monotonic() + 20
        while state()[1] != "ok":
            assert time.monotonic() < latest
            time.sleep(0.05)
        problem(again.get("/api/users/profile"), 401)  # this process knows still
        body = {"refresh_token": ada.login["refresh_token"]}
        assert client.post("/api/users/logout", json=body).status_code == 204
        problem(ada.get("/api/users/profile"), 401)


def test_what_is_away_is_said(world: World, ada: Person) -> None:
    portfolio = ada.portfolio()["id"]
    world.market.away = True
    for answer in (
        ada.get(f"/api/portfolios/{portfolio}"),
        ada.post("/api/rebalance/predict", {"portfolio_id": portfolio}),
    ):
        assert problem(answer, 503) == "the exchange is on fire"
        assert answer.headers["retry-after"] == "5"
    world.work.away = True
    problem(ada.get("/api/users/profile"), 503)


def test_a_bug_is_told_to_the_log_and_not_to_the_caller(
    world: World, ada: Person, caplog: pytest.LogCaptureFixture
) -> None:
    world.work.broken = RuntimeError("SELECT * FROM secrets at /etc/passwd")
    with caplog.at_level(logging.ERROR, "rebalancer.http"):
        answer = ada.get("/api/users/profile")
    assert problem(answer, 500) == "something went wrong on our side; it has been logged"
    assert "secrets" not in answer.text
    (record,) = [one for one in caplog.records if one.name == "rebalancer.http"]
    assert record.getMessage() == "GET /api/users/profile failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is world.work.broken


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_errors_of_requests_are_no_errors_of_ours(
    world: World, ada: Person, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "rebalancer.http"):
        ada.get("/api/nope")
        ada.post("/api/portfolios", content=b"{")
        world.client.get("/api/users/profile")
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
