"""How the API answers when an account has reached a quota."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import httpx
import pytest

from rebalancer.adapters.memory.rate_limits import MemoryRateLimits
from rebalancer.application.ports.rate_limits import RateLimits
from rebalancer.application.quotas import UNLIMITED, Quotas
from rebalancer.config import Settings
from tests.entrypoints.http.conftest import (
    PASSWORD,
    RunningApi,
    checked,
    expect_problem,
    provide_values,
)

Start = Callable[..., RunningApi]


@pytest.fixture
def limited(start_api: Start) -> Start:
    """Start the application with some quotas, and no others."""

    def start(**few: int) -> RunningApi:
        return start_api(provide_values({Quotas: attrs.evolve(UNLIMITED, **few)}))

    return start


def detail_of(answer: httpx.Response, status: int, code: str) -> str:
    """Check the status and the code of a problem; return its detail."""
    detail = expect_problem(answer, status)
    assert answer.json()["code"] == code
    return detail


def test_account_may_have_a_number_of_portfolios(limited: Start) -> None:
    ada = limited(portfolios=2).register()
    first, _ = ada.portfolio(), ada.portfolio()
    body = {"name": "Third", "targets": {}}
    refused = detail_of(ada.post("/api/portfolios", body), 409, "quota_reached")
    assert "you have 2 portfolios, the maximum; close one first" in refused
    checked(ada.delete(f"/api/portfolios/{first['id']}"))
    checked(ada.post("/api/portfolios", body))


def test_ledger_may_have_a_number_of_entries(limited: Start) -> None:
    ada = limited(entries=3).register()
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    flow = {"kind": "deposit", "amount": "10"}
    while (answer := ada.post(f"{path}/cash-flows", flow)).status_code == 201:
        pass
    refused = detail_of(answer, 409, "quota_reached")
    assert "exceed the maximum of 3; open another portfolio" in refused
    assert len(ada.get(f"{path}/transactions").json()["items"]) == 3
    checked(ada.post(f"/api/portfolios/{ada.portfolio()['id']}/cash-flows", flow))


def test_account_may_request_a_number_of_proposals_in_a_day(limited: Start) -> None:
    api = limited(proposals_a_day=2)
    ada, eve = api.register(), api.register("eve@example.org")
    mine = {"portfolio_id": ada.portfolio()["id"]}
    for _ in range(2):
        checked(ada.post("/api/rebalance/predict", mine))
    answer = ada.post("/api/rebalance/predict", mine)
    refused = detail_of(answer, 429, "daily_quota_reached")
    assert "this would exceed 2 proposals in one day" in refused
    assert answer.headers["RateLimit-Limit"] == "2"
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert 1 <= int(answer.headers["Retry-After"]) <= 86_400
    assert answer.headers["RateLimit-Reset"] == answer.headers["Retry-After"]
    checked(eve.post("/api/rebalance/predict", {"portfolio_id": eve.portfolio()["id"]}))


def test_account_may_keep_a_number_of_proposals(limited: Start) -> None:
    ada = limited(proposals=2).register()
    mine = {"portfolio_id": ada.portfolio()["id"]}
    made = checked(ada.post("/api/rebalance/predict", mine)).json()
    checked(ada.post("/api/rebalance/predict", mine))
    detail_of(ada.post("/api/rebalance/predict", mine), 409, "quota_reached")
    checked(ada.post(f"/api/rebalance/{made['id']}/accept"))  # accepted ones do not count
    checked(ada.post("/api/rebalance/predict", mine))


def test_account_may_store_a_number_of_bytes_in_a_day(limited: Start) -> None:
    ada = limited(bytes_a_day=3_000).register()
    path = f"/api/portfolios/{ada.portfolio()['id']}/cash-flows"
    flow = {"kind": "deposit", "amount": "10", "note": "x" * 400}
    while (answer := ada.post(path, flow)).status_code == 201:
        pass
    detail_of(answer, 429, "daily_quota_reached")


def test_address_may_register_a_number_of_accounts_in_a_day(start_api: Start) -> None:
    limits = provide_values({RateLimits: MemoryRateLimits()})
    settings = Settings(most_registrations_a_day=2)
    api = start_api(limits, settings=settings)
    for name in ("ada", "eve"):
        api.register(f"{name}@example.org")
    body = {"email": "bob@example.org", "password": PASSWORD}
    answer = api.client.post("/api/users/register", json=body)
    assert "more than 2 registrations within a day" in expect_problem(answer, 429)
    assert answer.headers["RateLimit-Policy"] == "2;w=86400"
