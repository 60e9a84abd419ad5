"""Backtests in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from dishka import Provider, Scope

from rebalancer.application.backtests import RunBacktest
from rebalancer.application.quotas import DEFAULT_QUOTAS
from rebalancer.domain.errors import InvalidRequest, Unavailable
from tests.entrypoints.http.conftest import (
    BACKTEST,
    ApiUser,
    RunningApi,
    expect_problem,
    finished_job,
)


def test_backtest_runs_in_the_background(api: RunningApi, ada: ApiUser) -> None:
    asked = ada.post("/api/backtest", BACKTEST)
    assert asked.status_code == 202
    assert (asked.json()["state"], asked.json()["progress"]) == ("queued", 0.0)
    assert asked.headers["location"] == f"/api/backtest/{asked.json()['id']}/status"
    job = finished_job(ada, asked.headers["location"])
    assert (job["state"], job["progress"], job["error"]) == ("succeeded", 1.0, None)
    assert [one["policy"] for one in job["result"]["results"]][:3] == BACKTEST["policies"]
    assert job["result"]["from"] == "2022-11-14"
    assert ada.get(asked.headers["location"]).json() == job


def test_backtest_has_a_base_currency(ada: ApiUser) -> None:
    asked = ada.post("/api/backtest", BACKTEST | {"currency": "USD"})
    job = finished_job(ada, asked.headers["location"])
    assert job["request"]["currency"] == job["result"]["currency"] == "USD"
    for other in ("EUR", "eur", "Euro"):
        refused = ada.post("/api/backtest", BACKTEST | {"currency": other})
        expect_problem(refused, 422 if other == "EUR" else 400, "currency")


def test_series_of_a_backtest(api: RunningApi, ada: ApiUser) -> None:
    asked = ada.post("/api/backtest", BACKTEST)
    job = finished_job(ada, asked.headers["location"])
    path = f"/api/backtest/{job['id']}/series"
    series = ada.get(path).json()
    assert series["id"] == job["id"]
    assert list(series["values"]) == [one["policy"] for one in job["result"]["results"]]
    assert (series["dates"][0], series["dates"][-1]) == (job["result"]["from"], job["result"]["to"])
    assert {len(values) for values in series["values"].values()} == {len(series["dates"])}
    figures = {one["policy"]: one for one in job["result"]["results"]}
    for policy, values in series["values"].items():
        assert values[-1] == figures[policy]["final_value"]
    band = ada.get(path, params={"policy": "band", "points": 5}).json()
    assert list(band["values"]) == ["band"]
    assert (len(band["dates"]), len(band["values"]["band"])) == (5, 5)
    assert (band["dates"][0], band["dates"][-1]) == (series["dates"][0], series["dates"][-1])
    at = series["dates"].index(band["dates"][2])
    assert band["values"]["band"][2] == series["values"]["band"][at]
    expect_problem(ada.get(path, params={"policy": "nil"}), 404)
    expect_problem(ada.get(path, params={"points": 1}), 400)


def test_series_of_unfinished_backtest_is_a_conflict(holding: RunningApi) -> None:
    ada = holding.register()
    job = ada.post("/api/backtest", BACKTEST).json()
    assert "queued" in expect_problem(ada.get(f"/api/backtest/{job['id']}/series"), 409)


class ObservedBacktest(RunBacktest):
    """Records the progress that a client sees after each policy."""

    seen: list[float]
    look: Callable[[int], float]

    def __call__(self, request: Any, *, progress: Any, **options: Any) -> Any:
        def noted(name: str) -> None:
            progress(name)
            self.seen.append(self.look(len(self.seen) + 1))

        return super().__call__(request, progress=noted, **options)


def test_job_is_rejected_when_the_queue_is_full(holding: RunningApi) -> None:
    runner, ada = holding.runner, holding.register()
    waiting = ada.post("/api/backtest", BACKTEST)
    assert ada.get(waiting.headers["location"]).json()["state"] == "queued"
    runner.full = True
    refused = ada.post("/api/backtest", BACKTEST)
    assert "try again" in expect_problem(refused, 503)
    assert refused.headers["retry-after"]
    left = ada.get("/api/jobs").json()["items"]  # the rejected job is not queued
    assert {job["state"]: job["error"] for job in left} == {
        "queued": None,
        "failed": "too many jobs are waiting; try again in a minute",
    }


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (
            InvalidRequest("the policy is invalid", field="policies"),
            "failed",
            "policies: the policy is invalid",
        ),
        (Unavailable("the exchange is on fire"), "dead", "the exchange is on fire"),
        (RuntimeError("secret internals"), "dead", "an internal error occurred"),
    ],
)
def test_failed_backtest_has_an_error(
    start_api: Callable[..., RunningApi], error: Exception, state: str, message: str
) -> None:
    class Failing(RunBacktest):
        def __call__(self, *_: Any, **__: Any) -> Any:
            raise error

    provider = Provider(scope=Scope.APP)
    provider.provide(Failing, provides=RunBacktest)
    ada = start_api(provider).register()
    asked = ada.post("/api/backtest", BACKTEST)
    job = finished_job(ada, asked.headers["location"])
    assert (job["state"], job["error"], job["result"]) == (state, message, None)


def test_progress_is_visible(start_api: Callable[..., RunningApi]) -> None:
    provider = Provider(scope=Scope.APP)
    provider.provide(ObservedBacktest, provides=RunBacktest)
    ada = start_api(provider).register()
    path: list[str] = []

    def look(done: int) -> float:
        while not path:  # until the answer with the job's address has come
            time.sleep(0.001)
        for _ in range(2000):
            job = ada.get(path[0]).json()
            assert job["state"] == "running"
            if job["progress"] >= done / 4:
                break
            time.sleep(0.001)
        return float(job["progress"])

    ObservedBacktest.seen, ObservedBacktest.look = [], staticmethod(look)
    path.append(ada.post("/api/backtest", BACKTEST).headers["location"])
    assert finished_job(ada, path[0])["progress"] == 1.0
    assert ObservedBacktest.seen == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"policies": ["nil"]}, "policies"),
        ({"policies": ["monthly", "monthly"]}, "policies"),
        ({"from": "2030-01-01"}, "from"),
        ({"to": "1990-01-01"}, "to"),
        ({"from": "2022-12-01", "to": "2022-11-01"}, "to"),
        ({"targets": {"NIL": 0.5}}, "targets"),
        ({"targets": {"A": 0.7, "B": 0.7}}, "targets"),
        ({"risk_free": 0.1, "risk_free_symbol": "B"}, "risk_free_symbol"),
        ({"risk_free_symbol": "NIL"}, "risk_free_symbol"),
        ({"costs": "free"}, "costs"),
    ],
)
def test_invalid_backtest_is_rejected_at_once(
    ada: ApiUser, change: dict[str, Any], field: str
) -> None:
    expect_problem(ada.post("/api/backtest", BACKTEST | change), 422, field)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_policies_are_listed_and_usable(api: RunningApi, ada: ApiUser) -> None:
    names = [one["name"] for one in api.client.get("/api/policies").json()]
    asked = ada.post("/api/backtest", {"policies": names[:20], "from": "2022-11-14"})
    assert asked.status_code == 202, asked.text


def test_repeated_request_returns_the_same_job(holding: RunningApi) -> None:
    runner, ada = holding.runner, holding.register()
    key = {"Idempotency-Key": "the first"}
    first, again = (ada.post("/api/backtest", BACKTEST, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert [one.headers.get("idempotent-replayed") for one in (first, again)] == [None, "true"]
    assert len(runner.waiting) == 1
    expect_problem(ada.post("/api/backtest", BACKTEST | {"cost_bps": 6}, headers=key), 409)
    runner.full = True
    key = {"Idempotency-Key": "the second"}
    expect_problem(ada.post("/api/backtest", BACKTEST, headers=key), 503)
    expect_problem(ada.post("/api/backtest", BACKTEST, headers=key), 503)
    runner.full = False
    third = ada.post("/api/backtest", BACKTEST, headers=key)
    assert (third.status_code, third.json()["state"]) == (202, "queued")
    assert [str(job.id) for job in runner.waiting] == [first.json()["id"], third.json()["id"]]
    assert len(ada.get("/api/jobs").json()["items"]) == 2


def test_unfinished_jobs_of_an_owner_are_limited(holding: RunningApi) -> None:
    ada, eve = holding.register(), holding.register("eve@example.org")
    first, *_ = (ada.post("/api/backtest", BACKTEST).json() for _ in range(DEFAULT_QUOTAS.jobs))
    assert "20 unfinished jobs" in expect_problem(ada.post("/api/backtest", BACKTEST), 409)
    assert eve.post("/api/backtest", BACKTEST).status_code == 202
    ada.post(f"/api/jobs/{first['id']}/cancel")
    assert ada.post("/api/backtest", BACKTEST).status_code == 202
