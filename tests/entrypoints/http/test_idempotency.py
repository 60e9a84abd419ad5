"""Each POST honours an idempotency key, or refuses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rebalancer.entrypoints.http.idempotency import WITHOUT_KEY
from tests.entrypoints.http.conftest import (
    BACKTEST,
    DUE,
    MODEL,
    PASSWORD,
    PLANNED,
    STATEMENT,
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    expect_problem,
    in_parallel,
    start_backtest,
)
from tests.entrypoints.http.test_ownership import ALL, plain

ANSWERS = {
    "horizon": "from_10_to_20_years",
    "needed_soon": "none",
    "emergency_fund": "over_6_months",
    "income": "fairly_steady",
    "share_of_wealth": "quarter_to_half",
    "need_for_return": "moderate",
    "goal": "grow",
    "accepted_loss": "up_to_35_percent",
    "reaction": "hold",
    "past_falls": "held",
    "experience": "from_3_to_10_years",
    "riskiest_held": "equity_funds",
}
MANDATE = {"name": "Tapped", "targets": {"C": 0.5, "F": 0.4}, "cash": "900"}
TRADE = {"side": "buy", "symbol": "C", "quantity": "1", "price": "7.9"}

Sent = tuple[str, Any, Any]
"""Path, body, and another body."""


def cancelled(ada: ApiUser) -> str:
    job = start_backtest(ada)["id"]
    ada.post(f"/api/jobs/{job}/cancel")
    return str(job)


def proposal(ada: ApiUser) -> str:
    return str(ada.proposal(ada.portfolio()["id"])["id"])


def worksheet(ada: ApiUser) -> str:
    made = proposal(ada)
    ada.post(f"/api/rebalance/{made}/accept", {"mode": "worksheet"})
    return made


def entry(ada: ApiUser) -> str:
    path = f"/api/portfolios/{ada.portfolio()['id']}/transactions"
    return f"{path}/{ada.get(path).json()['items'][0]['id']}"


def flow(ada: ApiUser) -> str:
    path = f"/api/portfolios/{(id := ada.portfolio()['id'])}/flows"
    return f"{path}/{ada.planned(id)['id']}"


DIVIDEND = {"kind": "dividend", "symbol": "C", "amount": "7"}
HONOURED: dict[str, Callable[[ApiUser], Sent]] = {
    "open_portfolio": lambda ada: ("/api/portfolios", MANDATE, MANDATE | {"cash": "901"}),
    "record_cash_flow": lambda ada: (
        f"/api/portfolios/{ada.portfolio()['id']}/cash-flows",
        {"kind": "deposit", "amount": "5"},
        {"kind": "deposit", "amount": "6"},
    ),
    "record_trades": lambda ada: (
        f"/api/portfolios/{ada.portfolio()['id']}/transactions",
        {"trades": [TRADE]},
        {"trades": [TRADE, TRADE]},
    ),
    "share_portfolio": lambda ada: (
        f"/api/portfolios/{ada.portfolio()['id']}/shares",
        {"email": "alan@example.org"},
        {"email": "grace@example.org"},
    ),
    "decide_actions": lambda ada: (
        f"/api/portfolios/{ada.portfolio()['id']}/actions",
        {"record": [DIVIDEND]},
        {"record": [DIVIDEND | {"amount": "8"}]},
    ),
    "import_statement": lambda ada: (
        f"/api/portfolios/{ada.portfolio()['id']}/imports",
        {"file": STATEMENT, "dry_run": False},
        {"file": f"{STATEMENT}2022-11-15,deposit,,,,2\n", "dry_run": False},
    ),
    "undo_import": lambda ada: (
        f"/api/portfolios/{(id := ada.portfolio()['id'])}/imports/{ada.imported(id)['id']}/undo",
        None,
        None,
    ),
    "create_model": lambda ada: ("/api/models", MODEL, MODEL | {"name": "Other"}),
    "publish_model": lambda ada: (
        f"/api/models/{ada.model()['id']}/publish",
        {"targets": {"C": 1}},
        {"targets": {"F": 1}},
    ),
    "plan_flow": lambda ada: (
        f"/api/portfolios/{ada.portfolio()['id']}/flows",
        PLANNED,
        PLANNED | {"amount": "51"},
    ),
    "confirm_flow": lambda ada: (f"{flow(ada)}/confirm", DUE, DUE | {"amount": "51"}),
    "skip_flow": lambda ada: (f"{flow(ada)}/skip", DUE, {"scheduled": "2026-12-02"}),
    "void_entry": lambda ada: (f"{entry(ada)}/void", {"note": "slip"}, {"note": "error"}),
    "cancel": lambda ada: (
        f"/api/rebalance/{worksheet(ada)}/cancel",
        {"remark": "No"},
        {"remark": "Never"},
    ),
    "predict": lambda ada: (
        "/api/rebalance/predict",
        {"portfolio_id": (id := ada.portfolio()["id"]), "policy": "band", "compare": True},
        {"portfolio_id": id, "policy": "monthly"},
    ),
    "accept": lambda ada: (
        f"/api/rebalance/{proposal(ada)}/accept",
        {"mode": "paper"},
        {"mode": "worksheet"},
    ),
    "reject": lambda ada: (
        f"/api/rebalance/{proposal(ada)}/reject",
        {"remark": "No"},
        {"remark": "Never"},
    ),
    "start": lambda ada: ("/api/backtest", BACKTEST, BACKTEST | {"cost_bps": 6}),
    "cancel_job": lambda ada: (f"/api/jobs/{start_backtest(ada)['id']}/cancel", None, None),
    "requeue_job": lambda ada: (f"/api/jobs/{cancelled(ada)}/requeue", None, None),
    "assess": lambda ada: (
        "/api/risk/assessment",
        {"answers": ANSWERS},
        {"answers": ANSWERS | {"goal": "income"}},
    ),
    "register": lambda ada: (
        "/api/users/register",
        {"email": "new@example.org", "password": PASSWORD, "name": "New"},
        {"email": "new@example.org", "password": PASSWORD, "name": "Other"},
    ),
}
"""Requests that take effect once."""

REFUSED = {
    handler.handler_name: handler.opt[WITHOUT_KEY]
    for _, _, handler in ALL
    if WITHOUT_KEY in handler.opt
} | dict.fromkeys(("revise_portfolio", "change_portfolio", "close_portfolio"), "If-Match")
"""Requests without a key, and why."""

ELSEWHERE = ("fetch_assets", "project")
"""Requests that need other prices, see `test_fetched_assets` and `test_projection`."""

WRITES = [(method, path, handler.handler_name) for method, path, handler in ALL if method != "GET"]


def test_each_write_honours_or_refuses_a_key() -> None:
    assert sorted(name for *_, name in WRITES) == sorted([*HONOURED, *REFUSED, *ELSEWHERE])


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.parametrize("name", REFUSED)
def test_key_is_refused_where_it_has_no_effect(ada: ApiUser, name: str) -> None:
    ((method, path),) = [(method, path) for method, path, known in WRITES if known == name]
    headers = {"Idempotency-Key": "a tap", "If-Match": "*"}
    body = {"refresh_token": "x"} if name in ("refresh", "log_out") else MANDATE
    refused = ada.ask(method, plain(path), json=body, headers=headers)
    detail = expect_problem(refused, 400, "Idempotency-Key")
    assert REFUSED[name] in detail and "omit the header" in detail
    assert refused.json()["code"] == "idempotency_key_not_supported"


@pytest.fixture
def api(holding: RunningApi) -> RunningApi:
    """Return an application whose jobs stay queued."""
    return holding


@pytest.mark.parametrize("name", HONOURED)
def test_repeated_request_gets_the_first_answer(api: RunningApi, name: str) -> None:
    ada = api.register()
    path, body, other = HONOURED[name](ada)
    key = {"Idempotency-Key": "a tap"}
    first = ada.post(path, body, headers=key)
    assert first.is_success, first.text
    assert "idempotent-replayed" not in first.headers
    api.time.advance(minutes=1)
    for _ in range(2):
        again = ada.post(path, body, headers=key)
        assert again.headers["idempotent-replayed"] == "true"
        assert (again.status_code, again.content) == (first.status_code, first.content)
        for header in ("location", "etag", "content-type", "content-length"):
            assert again.headers.get(header) == first.headers.get(header)
    if other is not None:
        refused = ada.post(path, other, headers=key)
        assert refused.status_code == 409, refused.text
        if name != "register":
            assert "the idempotency key 'a tap' was used" in refused.json()["detail"]
    taken = ada.post("/api/portfolios", MANDATE | {"name": "Y"}, headers=key)
    assert taken.status_code == (201 if name == "register" else 409)  # a key of another user


@pytest.mark.parametrize("name", HONOURED)
def test_simultaneous_requests_take_effect_once(api: RunningApi, name: str) -> None:
    ada = api.register()
    path, body, _ = HONOURED[name](ada)
    key = {"Idempotency-Key": "a double tap"}
    answers = in_parallel(4, lambda _: ada.post(path, body, headers=key))
    done = [answer for answer in answers if answer.is_success]
    assert {answer.status_code for answer in answers} - {answer.status_code for answer in done} <= {
        409
    }
    assert len([one for one in done if "idempotent-replayed" not in one.headers]) == 1
    if name not in ("cancel_job", "requeue_job"):  # whose effect shows in their state
        assert len(done) == 4, [answer.text for answer in answers]


def test_answer_is_the_first_one_although_the_resource_has_changed(ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", MANDATE, headers={"Idempotency-Key": "open"})
    path = f"/api/portfolios/{opened.json()['id']}"
    deposit = {"kind": "deposit", "amount": "5"}
    first = ada.post(f"{path}/cash-flows", deposit, headers={"Idempotency-Key": "deposit"})
    ada.post(f"{path}/cash-flows", deposit)
    for again, before in (
        (ada.post("/api/portfolios", MANDATE, headers={"Idempotency-Key": "open"}), opened),
        (
            ada.post(f"{path}/cash-flows", deposit, headers={"Idempotency-Key": "deposit"}),
            first,
        ),
    ):
        assert again.content == before.content
        assert again.headers["etag"] == before.headers["etag"]
    assert ada.get(path).json()["cash"] == "910.00"


def test_request_whose_portfolio_is_closed_opens_no_other(ada: ApiUser) -> None:
    key = {"Idempotency-Key": "open"}
    opened = ada.post("/api/portfolios", MANDATE, headers=key).json()["id"]
    assert ada.delete(f"/api/portfolios/{opened}").status_code == 204
    detail = expect_problem(ada.post("/api/portfolios", MANDATE, headers=key), 409)
    assert f"has opened portfolio {opened}, which is closed" in detail


def test_equal_numbers_are_the_same_request(ada: ApiUser) -> None:
    key = {"Idempotency-Key": "open"}
    first = ada.post("/api/portfolios", MANDATE, headers=key)
    again = ada.post("/api/portfolios", MANDATE | {"cash": "900.00"}, headers=key)
    assert again.content == first.content


def test_registration_is_repeated_with_its_password_only(api: RunningApi) -> None:
    body = {"email": "kim@example.org", "password": PASSWORD}
    key = {"Idempotency-Key": "k"}
    first = api.client.post("/api/users/register", json=body, headers=key)
    wrong = body | {"password": "another long sentence"}
    assert api.client.post("/api/users/register", json=wrong, headers=key).status_code == 409
    assert api.client.post("/api/users/register", json=body).status_code == 409
    assert api.client.post("/api/users/register", json=body, headers=key).json() == first.json()


def test_refused_request_does_not_use_up_its_key(ada: ApiUser) -> None:
    key = {"Idempotency-Key": "open"}
    expect_problem(ada.post("/api/portfolios", MANDATE | {"cash": "0.001"}, headers=key), 422)
    unknown = {"portfolio_id": str(UNKNOWN_ID)}
    expect_problem(ada.post("/api/rebalance/predict", unknown, headers=key), 404)
    assert ada.post("/api/portfolios", MANDATE, headers=key).status_code == 201
