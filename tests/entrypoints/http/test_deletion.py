"""Deletion of an account over HTTP."""

from __future__ import annotations

from datetime import timedelta

from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.application.account_deletion import EraseAccounts
from rebalancer.domain.accounts.deletion import DeletionTerms
from tests.entrypoints.http.conftest import (
    PASSWORD,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
)

CREDENTIALS = {"email": "ada@example.org", "password": PASSWORD}


def erase(api: RunningApi) -> int:
    terms = DeletionTerms(timedelta(days=14))
    return EraseAccounts(api.work, MemoryReports(), terms)(api.time())


def test_deletion_ends_all_logins_and_erases_after_the_grace_period(
    api: RunningApi, ada: ApiUser
) -> None:
    ada.portfolio()
    other = api.log_in()
    asked = ada.delete("/api/users/account")
    assert asked.status_code == 202
    assert asked.json()["erased_after"] == "2026-11-16T09:00:00Z"
    for login in (ada, other):
        assert "log in again" in expect_problem(login.get("/api/portfolios"), 401)
    api.time.advance(days=13, hours=23)
    assert erase(api) == 0
    api.time.advance(hours=1)
    assert erase(api) == 1
    refused = api.client.post("/api/users/login", json=CREDENTIALS)
    expect_problem(refused, 401)
    assert api.client.post("/api/users/register", json=CREDENTIALS).status_code == 201


def test_signing_in_shows_and_cancels_the_deletion(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    assert ada.delete("/api/users/account").status_code == 202
    api.time.advance(days=3)
    back = api.log_in()
    assert back.login["deletion_cancelled"] is True
    assert api.log_in().login["deletion_cancelled"] is False
    api.time.advance(days=30)
    assert erase(api) == 0
    again = api.log_in()
    assert again.get(f"/api/portfolios/{portfolio}").status_code == 200
    events = [one["action"] for one in again.get("/api/users/audit").json()["items"]]
    assert events.count("deletion_requested") == events.count("deletion_cancelled") == 1


def test_deletion_needs_a_recent_proof_of_identity(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=11)
    refused = ada.delete("/api/users/account")
    assert "proof of identity" in expect_problem(refused, 403)
    assert checked(api.client.delete("/api/users/account")).status_code == 401
