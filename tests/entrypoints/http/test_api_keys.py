"""API keys, their scopes on every route, and the proof of identity that creating one needs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest
from litestar.routes import HTTPRoute

from rebalancer.domain.accounts.api_keys import Scope
from rebalancer.entrypoints.http.scopes import scope_of
from tests.entrypoints.http.conftest import PASSWORD, ApiUser, RunningApi, expect_problem

PATH = "/api/users/api-keys"


def created(user: ApiUser, *scopes: str, **fields: Any) -> dict[str, Any]:
    answer = user.post(PATH, {"name": "Report", "scopes": scopes or ("read",)} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def program(user: ApiUser, *scopes: str, **fields: Any) -> ApiUser:
    """Return a client with an API key of a user."""
    return ApiUser(
        user.client, user.login | {"access_token": created(user, *scopes, **fields)["key"]}
    )


def test_key_is_shown_once(ada: ApiUser) -> None:
    made = created(ada, "trade", "read", "read", days=7)
    assert made["key"].startswith("rbk_")
    assert made["scopes"] == ["read", "trade"]
    assert made["used"] is None
    listed = ada.get(PATH)
    assert listed.json() == {"items": [{k: v for k, v in made.items() if k != "key"}]}
    assert made["key"] not in listed.text


def test_key_reads_and_does_not_write(ada: ApiUser) -> None:
    portfolio = ada.portfolio()
    reader = program(ada, "read")
    assert reader.get("/api/portfolios").json()["items"][0]["id"] == portfolio["id"]
    opened = reader.post("/api/portfolios", {"name": "Mine", "cash": "1", "targets": {}})
    assert (opened.status_code, opened.json()["code"]) == (403, "scope_missing")
    assert "lacks the scope trade" in opened.json()["detail"]
    asked = reader.post("/api/rebalance/predict", {"portfolio_id": portfolio["id"]})
    assert "lacks the scope propose" in expect_problem(asked, 403)
    assert len(ada.get("/api/portfolios").json()["items"]) == 1


def test_key_proposes_and_does_not_accept(ada: ApiUser) -> None:
    portfolio = ada.portfolio()
    proposal = program(ada, "propose").proposal(portfolio["id"])
    accept = f"/api/rebalance/{proposal['id']}/accept"
    expect_problem(program(ada, "propose").post(accept), 403)
    assert program(ada, "trade").post(accept).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/users/profile"),
        ("GET", PATH),
        ("POST", PATH),
        ("GET", "/api/users/sessions"),
        ("DELETE", "/api/users/sessions"),
        ("POST", "/api/users/reauthenticate"),
        ("GET", "/api/users/passkeys"),
        ("GET", "/api/users/audit"),
    ],
)
def test_key_never_reaches_the_account(ada: ApiUser, method: str, path: str) -> None:
    key = program(ada, *Scope)
    body = {"name": "More", "scopes": ["read"], "password": PASSWORD} if method == "POST" else None
    answer = key.ask(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "login_expected")


def test_expired_key_is_refused(api: RunningApi, ada: ApiUser) -> None:
    key = program(ada, "read", days=1)
    api.time.advance(hours=23, minutes=59)
    assert key.get("/api/portfolios").status_code == 200
    api.time.advance(minutes=1)
    answer = key.get("/api/portfolios")
    assert (answer.status_code, answer.json()["code"]) == (401, "api_key_invalid")


def test_revoked_key_is_refused_at_once(api: RunningApi, ada: ApiUser) -> None:
    made = created(ada)
    key = ApiUser(ada.client, ada.login | {"access_token": made["key"]})
    eve = api.register("eve@example.org")
    expect_problem(eve.delete(f"{PATH}/{made['id']}"), 404)
    assert key.get("/api/portfolios").status_code == 200
    assert ada.delete(f"{PATH}/{made['id']}").status_code == 204
    expect_problem(key.get("/api/portfolios"), 401)
    expect_problem(ada.delete(f"{PATH}/{made['id']}"), 404)


def test_key_survives_the_end_of_the_session(api: RunningApi, ada: ApiUser) -> None:
    key = program(ada)
    api.client.post("/api/users/logout", json={"refresh_token": ada.login["refresh_token"]})
    assert key.get("/api/portfolios").status_code == 200


@pytest.mark.parametrize(
    "text", ["rbk_", "rbk_x", "rbk_" + "0" * 49, "rbk_" + "0" * 5_000, "RBK_" + "0" * 49]
)
def test_invalid_key_is_refused(ada: ApiUser, text: str) -> None:
    key = ApiUser(ada.client, ada.login | {"access_token": text})
    expect_problem(key.get("/api/portfolios"), 401)


def test_key_of_a_disabled_account_is_refused(api: RunningApi, ada: ApiUser) -> None:
    key = program(ada)
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(ada.id), disabled=api.time.now))
    answer = key.get("/api/portfolios")
    assert (answer.status_code, answer.json()["code"]) == (403, "account_disabled")


def test_last_use_is_noted_every_ten_minutes(api: RunningApi, ada: ApiUser) -> None:
    key, seen = program(ada), []
    for _ in range(3):
        key.get("/api/portfolios")
        seen.append(ada.get(PATH).json()["items"][0]["used"])
        api.time.advance(minutes=6)
    assert seen[0] == seen[1] < seen[2]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": " "}, 422),
        ({"name": "x" * 61}, 400),
        ({"scopes": []}, 400),
        ({"scopes": ["write"]}, 400),
        ({"scopes": "read"}, 400),
        ({"days": 0}, 400),
        ({"days": 367}, 400),
        ({"days": "7"}, 400),
        ({"name": "a\u202eb"}, 400),
    ],
)
def test_invalid_key_is_not_created(ada: ApiUser, fields: dict[str, Any], status: int) -> None:
    answer = ada.post(PATH, {"name": "Report", "scopes": ["read"]} | fields)
    assert answer.status_code in (status, 422), answer.text
    assert ada.get(PATH).json()["items"] == []


def test_keys_are_limited(ada: ApiUser) -> None:
    for _ in range(20):
        created(ada)
    answer = ada.post(PATH, {"name": "One more", "scopes": ["read"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "quota_reached")


def test_creating_a_key_needs_a_recent_proof(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=11)
    body = {"name": "Report", "scopes": ["read"]}
    answer = ada.post(PATH, body)
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
    wrong = ada.post("/api/users/reauthenticate", {"password": "a guess"})
    assert (
        expect_problem(wrong, 422, "password") == "password: the password is wrong; enter it again"
    )
    right = ada.post("/api/users/reauthenticate", {"password": PASSWORD})
    assert right.status_code == 200, right.text
    until = api.time.now + timedelta(minutes=10)
    assert right.json()["recent_until"] == until.isoformat().replace("+00:00", "Z")
    assert ada.post(PATH, body).status_code == 201


@pytest.mark.parametrize(
    ("body", "fields", "code"),
    [
        ({}, ["password"], "proof_missing"),
        ({"code": "123456"}, ["password"], "proof_missing"),
        ({"password": PASSWORD, "code": "1", "recovery_code": "2"}, [], "one_proof_expected"),
        ({"password": PASSWORD, "code": "123456"}, ["code"], "wrong_code"),
        ({"password": ""}, ["password"], "wrong_password"),
    ],
)
def test_incomplete_proof_is_refused(
    ada: ApiUser, body: dict[str, str], fields: list[str], code: str
) -> None:
    answer = ada.post("/api/users/reauthenticate", body)
    assert answer.json()["code"] == code
    expect_problem(answer, 422, *fields)


def test_guesses_in_a_session_are_slowed_down(ada: ApiUser) -> None:
    codes = [
        ada.post("/api/users/reauthenticate", {"password": "a guess"}).json()["code"]
        for _ in range(9)
    ]
    assert codes == ["wrong_password"] * 5 + ["login_delayed"] * 4


def routes_by_scope(api: RunningApi) -> dict[Scope | None, set[str]]:
    """Return the method and path of each route of the API by the scope that it needs."""
    found: dict[Scope | None, set[str]] = {scope: set() for scope in (None, *Scope)}
    for route in api.app.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith("/api/"):
            for method in set(route.methods) - {"OPTIONS", "HEAD"}:
                found[scope_of(method, route.path)].add(f"{method} {route.path}")
    return found


def test_each_part_of_the_api_needs_known_scopes(api: RunningApi) -> None:
    """A new part, or a new request that only proposes, is added here on purpose."""
    routes = routes_by_scope(api)
    parts = {
        scope: {path.split("/")[2] for path in paths} - {""} for scope, paths in routes.items()
    }
    assert parts[None] - {"operators", "stream-tickets"} == {
        *("automation", "notices", "portfolios", "risk", "users"),
    }
    assert parts[Scope.TRADE] == {
        *("automation", "mapping-profiles", "models", "portfolios", "rebalance"),
    }
    assert parts[Scope.READ] - {"home"} == {
        *("automation", "backtest", "jobs", "mapping-profiles", "market", "models", "notices"),
        *("performance", "policies", "portfolios", "rebalance"),
    }
    assert routes[Scope.PROPOSE] == {
        "POST /api/backtest",
        "POST /api/jobs/{job_id:uuid}/cancel",
        "POST /api/jobs/{job_id:uuid}/requeue",
        "POST /api/market/assets",
        "POST /api/models/{model_id:uuid}/preview",
        "POST /api/portfolios/{portfolio_id:uuid}/projection",
        "POST /api/portfolios/{portfolio_id:uuid}/stress",
        "POST /api/portfolios/{portfolio_id:uuid}/targets",
        "POST /api/rebalance/predict",
        "POST /api/table-sketches",
    }
    assert all("/shares" in path for path in routes[None] if "/api/portfolios" in path)
    assert {path.partition(" ")[0] for path in routes[Scope.READ]} == {"GET"}
