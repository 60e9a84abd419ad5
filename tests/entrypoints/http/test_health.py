"""Whether it runs, whether it could serve, and what it says when it cannot."""

from __future__ import annotations

import logging

import pytest

from tests.entrypoints.http.conftest import Person, World, problem


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
