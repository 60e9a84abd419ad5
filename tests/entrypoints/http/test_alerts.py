"""Alerts and automation over HTTP: settings, history, the kill switch, and proofs of identity."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rebalancer.domain.accounts.roles import Role
from tests.contracts.stores import an_episode
from tests.entrypoints.http.conftest import PASSWORD, ApiUser, RunningApi, expect_problem
from tests.entrypoints.http.test_sharing import set_user

LIMITS = {"max_turnover": 0.1, "max_cost": "20.00", "max_order": "1000"}


@pytest.fixture
def path(ada: ApiUser) -> str:
    return f"/api/portfolios/{ada.portfolio()['id']}"


def test_alerts_are_chosen_and_read(api: RunningApi, ada: ApiUser, path: str) -> None:
    first = ada.get(f"{path}/alerts").json()
    assert (first["settings"]["band"], first["settings"]["margin"]) == (False, 0.2)
    assert (first["watches"], first["evaluated"]) == ([], None)

    chosen = ada.put(f"{path}/alerts", {"band": True, "drawdown": 0.15, "proposal_waits": 6})
    assert chosen.status_code == 200, chosen.text
    assert chosen.json()["settings"]["drawdown"] == 0.15
    assert ada.get(f"{path}/alerts").json() == chosen.json()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"drift": 0}, 422, "drift"),
        ({"drift": 2}, 400, "drift"),
        ({"cash_below": 0.3, "cash_above": 0.2}, 422, "cash_below"),
        ({"margin": 1}, 422, "margin"),
    ],
)
def test_invalid_alert_names_its_field(
    ada: ApiUser, path: str, body: dict[str, object], status: int, field: str
) -> None:
    expect_problem(ada.put(f"{path}/alerts", body), status, field)


def test_history_is_paged(api: RunningApi, ada: ApiUser, path: str) -> None:
    with api.work.begin() as tx:
        portfolio = tx.portfolios.page(ada.id, limit=1)[0]
        tx.alerts.begin_episodes(ada.id, [an_episode(portfolio, number) for number in (1, 2, 3)])

    pages = ada.pages(f"{path}/alerts/history", "before", 2)
    assert [[one["number"] for one in page] for page in pages] == [[3, 2], [1]]


def test_auto_accept_needs_a_recent_proof_and_lower_limits_do_not(
    api: RunningApi, ada: ApiUser, path: str
) -> None:
    on = {"frequency": "weekly", "auto_accept": LIMITS}
    chosen = ada.put(f"{path}/automation", on)
    assert chosen.status_code == 200, chosen.text
    assert chosen.json()["auto_accept"] == {**LIMITS, "max_turnover": 0.1}
    assert chosen.json()["stop"] == {"stopped": False, "by": None, "since": None}

    api.time.now += timedelta(minutes=11)
    higher = {**on, "auto_accept": {**LIMITS, "max_order": "1001"}}
    assert "proof of identity" in expect_problem(ada.put(f"{path}/automation", higher), 403)
    lower = {**on, "auto_accept": {**LIMITS, "max_order": "999"}}
    assert ada.put(f"{path}/automation", lower).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"auto_accept": LIMITS}, "auto_accept"),
        ({"frequency": "weekly", "policy": "nonsense"}, "policy"),
        (
            {"frequency": "weekly", "auto_accept": {**LIMITS, "max_cost": "0"}},
            "auto_accept.max_cost",
        ),
    ],
)
def test_invalid_automation_names_its_field(
    ada: ApiUser, path: str, body: dict[str, object], field: str
) -> None:
    expect_problem(ada.put(f"{path}/automation", body), 422, field)


def test_owner_stops_at_once_and_resumes_with_a_recent_proof(
    api: RunningApi, ada: ApiUser, path: str
) -> None:
    api.time.now += timedelta(minutes=11)
    stopped = ada.post("/api/automation/stop").json()
    assert (stopped["stopped"], stopped["by"]) == (True, "owner")
    assert ada.post("/api/automation/stop").json() == stopped
    assert ada.get(f"{path}/automation").json()["stop"] == stopped

    expect_problem(ada.post("/api/automation/resume"), 403)
    assert ada.post("/api/users/reauthenticate", {"password": PASSWORD}).status_code == 200
    assert ada.post("/api/automation/resume").json()["stopped"] is False
    assert ada.get("/api/automation").json()["stopped"] is False


def test_operator_stops_the_deployment(api: RunningApi, ada: ApiUser, path: str) -> None:
    root = api.register("root@example.org")
    set_user(api, root, role=Role.OPERATOR)
    expect_problem(ada.post("/api/operators/automation/stop"), 403)

    assert root.post("/api/operators/automation/stop").json()["by"] == "operator"
    assert ada.get("/api/automation").json()["by"] == "operator"
    assert ada.post("/api/automation/resume").json()["by"] == "operator"  # it stays stopped
    assert root.get("/api/operators/automation").json()["stopped"] is True
    assert root.post("/api/operators/automation/resume").json()["stopped"] is False
    assert ada.get("/api/automation").json()["stopped"] is False
