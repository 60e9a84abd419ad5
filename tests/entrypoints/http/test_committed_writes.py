"""A request that is rejected has written nothing, and one that has written is not rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
from litestar.routes import HTTPRoute

from tests.entrypoints.http.conftest import STATEMENT, ApiUser, FakePriceSource, RunningApi

WITHOUT_A_VALUE = (
    "/api/market/assets",
    "/api/users",
    "/api/risk",
    "/api/backtest",
    "/api/jobs",
    "/api/notices",
    "/api/operators",
    "/api/mapping-profiles",
    "/api/models",
    "/api/automation",
    "/api/portfolios/{portfolio_id:uuid}/alerts",
    "/api/portfolios/{portfolio_id:uuid}/automation",
    "/api/portfolios/{portfolio_id:uuid}/flows",
    "/api/portfolios/{portfolio_id:uuid}/goals",
    "/api/portfolios/{portfolio_id:uuid}/projection",
    "/api/portfolios/{portfolio_id:uuid}/stress",
    "/api/portfolios/{portfolio_id:uuid}/targets",
    "/api/portfolios/{portfolio_id:uuid}/shares",
    "/api/stream-tickets",
    "/api/table-sketches",
    "/api/rebalance/{proposal_id:uuid}/reject",
    "/api/rebalance/{proposal_id:uuid}/cancel",
)
"""Routes that write nothing, or whose answers compute nothing from prices after the write."""


@attrs.frozen
class Stored:
    """What a user has before a request."""

    user: ApiUser
    portfolio: str
    tag: str
    entry: str
    statement: str
    proposal: str
    model: str
    followed: str

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.user.post(path.format_map(attrs.asdict(self, recurse=False)), body)


REQUESTS: dict[tuple[str, str], Callable[[Stored], httpx.Response]] = {
    ("POST", "/api/portfolios"): lambda it: it.post(
        "/api/portfolios", {"name": "New", "targets": {"F": 0.5}, "cash": "5"}
    ),
    ("PUT", "/api/portfolios/{portfolio_id:uuid}"): lambda it: it.user.put(
        f"/api/portfolios/{it.portfolio}",
        {"name": "Other", "targets": {"C": 0.5, "F": 0.5}},
        headers={"If-Match": it.tag},
    ),
    ("PATCH", "/api/portfolios/{portfolio_id:uuid}"): lambda it: it.user.ask(
        "PATCH", f"/api/portfolios/{it.portfolio}", json={"name": "X"}, headers={"If-Match": it.tag}
    ),
    ("DELETE", "/api/portfolios/{portfolio_id:uuid}"): lambda it: it.user.delete(
        f"/api/portfolios/{it.portfolio}"
    ),
    ("PUT", "/api/portfolios/{portfolio_id:uuid}/model"): lambda it: it.user.put(
        f"/api/portfolios/{it.portfolio}/model", {"model_id": it.model}
    ),
    ("DELETE", "/api/portfolios/{portfolio_id:uuid}/model"): lambda it: it.user.delete(
        f"/api/portfolios/{it.followed}/model"
    ),
    ("POST", "/api/portfolios/{portfolio_id:uuid}/cash-flows"): lambda it: it.post(
        "/api/portfolios/{portfolio}/cash-flows", {"kind": "deposit", "amount": "7"}
    ),
    ("POST", "/api/portfolios/{portfolio_id:uuid}/actions"): lambda it: it.post(
        "/api/portfolios/{portfolio}/actions",
        {"record": [{"kind": "dividend", "symbol": "C", "amount": "7"}]},
    ),
    ("POST", "/api/portfolios/{portfolio_id:uuid}/transactions"): lambda it: it.post(
        "/api/portfolios/{portfolio}/transactions",
        {"trades": [{"side": "sell", "symbol": "C", "quantity": "1", "price": "7.77"}]},
    ),
    (
        "POST",
        "/api/portfolios/{portfolio_id:uuid}/transactions/{entry_id:uuid}/void",
    ): lambda it: it.post("/api/portfolios/{portfolio}/transactions/{entry}/void"),
    ("POST", "/api/portfolios/{portfolio_id:uuid}/imports"): lambda it: it.post(
        "/api/portfolios/{portfolio}/imports",
        {"file": f"{STATEMENT}2022-11-15,deposit,,,,2\n", "dry_run": False},
    ),
    (
        "POST",
        "/api/portfolios/{portfolio_id:uuid}/imports/{import_id:uuid}/undo",
    ): lambda it: it.post("/api/portfolios/{portfolio}/imports/{statement}/undo"),
    ("POST", "/api/rebalance/predict"): lambda it: it.post(
        "/api/rebalance/predict", {"portfolio_id": it.portfolio, "policy": "monthly"}
    ),
    ("POST", "/api/rebalance/{proposal_id:uuid}/accept"): lambda it: it.post(
        "/api/rebalance/{proposal}/accept"
    ),
}
"""A valid request to each route that writes what an answer values."""

FAILURES: dict[str, Callable[[FakePriceSource], object]] = {
    "no prices at all": lambda market: setattr(market, "is_down", True),
    "no prices after the first answer": lambda market: setattr(market, "answers_left", 1),
    "a held asset is gone": lambda market: market.lose("C"),
    "a defect of the provider": lambda market: setattr(market, "is_unvaluable", True),
}


def test_each_writing_route_is_tried(api: RunningApi) -> None:
    writing = {
        (method, route.path)
        for route in api.app.routes
        if isinstance(route, HTTPRoute) and route.path.startswith("/api")
        for method in route.methods
        if method in {"POST", "PUT", "PATCH", "DELETE"}
    }
    known = {(method, path) for method, path in writing if path.startswith(WITHOUT_A_VALUE)}
    assert writing - known == set(REQUESTS)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("route", REQUESTS, ids=" ".join)
@pytest.mark.parametrize("store", ["memory"])
def test_answer_agrees_with_what_was_written(
    api: RunningApi, ada: ApiUser, route: tuple[str, str], failure: str
) -> None:
    stored = stored_by(ada)
    before = contents(api, ada)
    FAILURES[failure](api.market)
    answer = REQUESTS[route](stored)
    api.market.reset()
    after = contents(api, ada)

    assert (answer.status_code < 400) == (after != before), answer.text
    if failure == "a defect of the provider" and "/api/portfolios" in route[1]:
        assert answer.status_code < 400, answer.text
        if answer.status_code != 204:
            body = answer.json()
            shown = body.get("portfolio", body)
            assert (shown["value"], shown["as_of"]) == (None, None)
            assert "value could not be computed" in shown["notes"][0]


@pytest.mark.parametrize("store", ["memory"])
def test_repeated_request_with_a_key_gets_its_entry_although_it_cannot_be_valued(
    api: RunningApi, ada: ApiUser
) -> None:
    path = f"/api/portfolios/{stored_by(ada).portfolio}/cash-flows"
    flow, key = {"kind": "deposit", "amount": "7"}, {"Idempotency-Key": "tap"}
    api.market.is_unvaluable = True
    first = ada.post(path, flow, headers=key)
    again = ada.post(path, flow, headers=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json() == first.json()
    assert again.json()["portfolio"]["value"] is None


def stored_by(user: ApiUser) -> Stored:
    opened = user.portfolio(holdings={"C": "10", "F": "20"})
    statement = user.imported(opened["id"])["id"]
    made = user.proposal(opened["id"], policy="monthly")
    assert made["stage"] == "proposed"
    path = f"/api/portfolios/{opened['id']}"
    tag = user.get(path).headers["ETag"]
    entry = user.get(f"{path}/transactions").json()["items"][0]["id"]
    model, followed = user.model()["id"], user.portfolio()["id"]
    user.put(f"/api/portfolios/{followed}/model", {"model_id": model})
    return Stored(user, opened["id"], tag, entry, statement, made["id"], model, followed)


def contents(api: RunningApi, user: ApiUser) -> object:
    """Return what the store holds of a user."""
    with api.work.read() as tx:
        portfolios = tx.portfolios.page(user.id, limit=99)
        proposals = tx.proposals.page(user.id, limit=99)
        return (
            [(one, tx.portfolios.ledger(one.id)) for one in portfolios],
            {one.id: one.stage for one in proposals},
        )
