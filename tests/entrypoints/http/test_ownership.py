"""Resources of other users are not found, and requests without a token are rejected."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from rebalancer.domain.notices.deliveries import DeliveryState
from rebalancer.entrypoints.http.app import application
from rebalancer.wiring.container import build_async_container
from rebalancer.wiring.market import Sources
from tests.authenticator import Authenticator
from tests.contracts.stores import NOW, a_delivery, a_notice
from tests.entrypoints.http.conftest import (
    PLANNED,
    STATEMENT,
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
)
from tests.entrypoints.http.test_authorization import ROUTES

DOCS = ("/docs",)

LISTS = ("/api/portfolios", "/api/rebalance", "/api/jobs")

MANDATE = {"name": "Taken", "targets": {"C": 1}}
BODIES: dict[str, Any] = {
    "revise_portfolio": MANDATE,
    "change_portfolio": MANDATE,
    "record_cash_flow": {"kind": "deposit", "amount": "1"},
    "decide_actions": {"record": [{"kind": "split", "symbol": "C", "ratio": "2"}]},
    "record_trades": {"trades": [{"side": "buy", "symbol": "C", "quantity": "1", "price": "7.7"}]},
    "open_portfolio": MANDATE,
    "fetch_assets": {"symbols": ["C"]},
    "predict": {"portfolio_id": str(UNKNOWN_ID)},
    "accept": {},
    "reject": {},
    "cancel": {},
    "void_entry": {},
    "import_statement": {"file": STATEMENT, "dry_run": False},
    "start": {"policies": ["monthly"], "from": "2022-11-14"},
    "assess": {"answers": {}},
    "change_role": {"role": "adviser"},
    "share_portfolio": {"email": "grace@example.org"},
    "mark_read": {},
    "choose_notices": {"language": "en", "zone": "UTC"},
    "add_notice_target": {"kind": "webhook", "name": "Home", "address": "https://8.8.8.8/"},
    "add_passkey": {"name": "Phone", "credential": {}},
    "rename_passkey": {"name": "Taken"},
    "confirm_totp": {"code": "123456"},
    "rename_model": {"name": "Half"},
    "preview_model": {"targets": {"C": 0.5}},
    "publish_model": {"targets": {"C": 0.5}},
    "follow_model": {"model_id": str(UNKNOWN_ID)},
    "change_alerts": {},
    "change_automation": {},
    "change_plan_terms": {"horizon": 30},
    "plan_flow": PLANNED,
    "change_planned_flow": PLANNED,
    "confirm_flow": {"scheduled": "2026-12-01"},
    "skip_flow": {"scheduled": "2026-12-01"},
    "set_goals": {"goals": []},
    "project": {},
    "stress": {"classes": {"equity": -0.5}},
    "preview_targets": {
        "target_groups": {"groups": [{"name": "All", "weight": 0.5, "assets": {"C": 1}}]}
    },
}
"""A body that each route with one accepts."""


def handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if route.path == "/" or route.path.startswith(DOCS):
            continue
        for method, (handler, _) in route.route_handler_map.items():
            if method != "OPTIONS":
                yield method, route.path, handler


def plain(path: str, **values: object) -> str:
    """Return a path with values, or with an unknown id, in place of its parameters."""
    return re.sub(r"\{(\w+):\w+\}", lambda found: str(values.get(found[1], UNKNOWN_ID)), path)


ALL = sorted(
    handlers(application(build_async_container(Sources()))), key=lambda route: (route[1], route[0])
)
PUBLIC = [
    (method, path)
    for method, path, _ in ALL
    if ROUTES[f"{method} {re.sub(':[a-z]+', '', path)}"].right == "public"
]
PRIVATE = [(method, path, handler) for method, path, handler in ALL if (method, path) not in PUBLIC]
OWNED = [(method, path, handler) for method, path, handler in PRIVATE if "_id:" in path]


def named(routes: list[Any]) -> list[str]:
    return [f"{method} {path}" for method, path, _ in routes]


@pytest.mark.parametrize(("method", "path", "handler"), PRIVATE, ids=named(PRIVATE))
@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_requests_without_token_are_rejected(
    api: RunningApi, method: str, path: str, handler: HTTPRouteHandler
) -> None:
    body = BODIES.get(handler.handler_name)
    answer = checked(api.client.request(method, plain(path), json=body))
    expect_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    without = checked(api.client.request(method, plain(path), content=b"{"))
    assert without.status_code in (400, 401)
    assert api.client.request(method, plain(path)).status_code in (400, 401)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_public_routes_need_no_token(api: RunningApi) -> None:
    for method, path in sorted(PUBLIC):
        answer = api.client.request(method, plain(path, symbol="C", name="trend"), json={})
        assert answer.status_code in (200, 400), (path, answer.text)


def create_resources(api: RunningApi, person: ApiUser) -> dict[str, str]:
    portfolio = person.portfolio()["id"]
    job = person.post("/api/backtest", {"policies": ["monthly"], "from": "2022-11-14"})
    assert job.status_code == 202, job.text
    while person.get(job.headers["location"]).json()["finished"] is None:
        time.sleep(0.005)
    return {
        "portfolio_id": portfolio,
        "import_id": person.imported(portfolio)["id"],
        "proposal_id": person.proposal(portfolio)["id"],
        "entry_id": person.get(f"/api/portfolios/{portfolio}/transactions").json()["items"][0][
            "id"
        ],
        "job_id": job.json()["id"],
        "share_id": person.post(
            f"/api/portfolios/{portfolio}/shares", BODIES["share_portfolio"]
        ).json()["id"],
        "passkey_id": person.add_passkey(Authenticator())["id"],
        "target_id": person.post("/api/notices/targets", BODIES["add_notice_target"]).json()["id"],
        "message_id": failed_message(api, person),
    }


def failed_message(api: RunningApi, person: ApiUser) -> str:
    """Store a message with a notice that could not be delivered; return its id."""
    message = a_delivery(a_notice(person.id))
    with api.work.begin() as tx:
        tx.notice_deliveries.add(message)
        tx.notice_deliveries.close(message.id, DeliveryState.FAILED, NOW)
    return str(message.id)


def resources_of(person: ApiUser, things: dict[str, str]) -> list[Any]:
    """Return all resources of a user."""
    portfolio = f"/api/portfolios/{things['portfolio_id']}"
    return [
        person.get("/api/portfolios").json(),
        person.get("/api/rebalance").json(),
        person.get(f"{portfolio}/transactions").json(),
        person.get(f"{portfolio}/imports").json(),
        person.get("/api/jobs").json(),
        person.get("/api/users/passkeys").json(),
        person.get("/api/notices/targets").json(),
        person.get("/api/notices/messages").json(),
        person.get("/api/users/profile").json(),
    ]


def test_resources_of_other_users_are_not_found(api: RunningApi) -> None:
    ada, eve = api.register(), api.register("eve@example.org")
    her_ids = create_resources(api, ada)
    before = resources_of(ada, her_ids)
    nothing = dict.fromkeys(her_ids, str(UNKNOWN_ID))
    for method, path, handler in OWNED:
        body = BODIES.get(handler.handler_name)
        headers = {"If-Match": '"1"'} if method in ("PUT", "PATCH", "DELETE") else {}
        there = eve.ask(method, plain(path, **her_ids), json=body, headers=headers)
        nowhere = eve.ask(method, plain(path, **nothing), json=body, headers=headers)
        expected = 403 if path.startswith("/api/operators") else 404
        assert (there.status_code, nowhere.status_code) == (expected, expected), (path, there.text)
        known = her_ids | {"other": str(UNKNOWN_ID)}
        assert without_ids(there.text, known) == without_ids(nowhere.text, nothing), path
        varying = {"x-request-id": ""}
        assert {**there.headers, **varying} == {**nowhere.headers, **varying}, path
    assert resources_of(ada, her_ids) == before


def without_ids(text: str, ids: dict[str, str]) -> str:
    for id in ids.values():
        text = text.replace(id, "...")
    return text


def test_ids_of_other_users_in_bodies_and_queries_are_not_found(api: RunningApi) -> None:
    ada, eve = api.register(), api.register("eve@example.org")
    her_ids, my_ids = create_resources(api, ada), create_resources(api, eve)
    for other_id in (her_ids["portfolio_id"], str(UNKNOWN_ID)):
        expect_problem(eve.post("/api/rebalance/predict", {"portfolio_id": other_id}), 404)
        expect_problem(eve.get("/api/rebalance", params={"portfolio_id": other_id}), 404)
    trades = BODIES["record_trades"]
    for other_id in (her_ids["proposal_id"], str(UNKNOWN_ID)):
        answer = eve.post(
            f"/api/portfolios/{my_ids['portfolio_id']}/transactions",
            trades | {"proposal_id": other_id},
        )
        expect_problem(answer, 404)
        for path, cursor in (
            ("/api/rebalance", "before"),
            ("/api/jobs", "before"),
            ("/api/portfolios", "after"),
            (f"/api/portfolios/{my_ids['portfolio_id']}/transactions", "before"),
        ):
            page = eve.get(path, params={cursor: other_id}).json()
            assert page == {"items": [], "next": None}
    opened = eve.get(f"/api/portfolios/{my_ids['portfolio_id']}").json()
    assert opened["version"] == 2  # no trade was recorded after the import
    lists = json.dumps([eve.get(path).json() for path in LISTS])
    assert not any(id in lists for id in her_ids.values())


def test_idempotency_keys_belong_to_one_user(api: RunningApi) -> None:
    deposit, key = {"kind": "deposit", "amount": "5"}, {"Idempotency-Key": "monday"}
    for email in ("ada@example.org", "eve@example.org"):
        person = api.register(email)
        path = f"/api/portfolios/{person.portfolio()['id']}/cash-flows"
        done = person.post(path, deposit, headers=key)
        assert done.status_code == 201
        assert "idempotent-replayed" not in done.headers
        assert UUID(done.json()["entry"]["id"])
