"""Void entries over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.entrypoints.http.conftest import UNKNOWN_ID, ApiUser, RunningApi, expect_problem


def trade(user: ApiUser, portfolio: str, quantity: str, price: str, **more: Any) -> dict[str, Any]:
    one = {"side": "buy", "symbol": "C", "quantity": quantity, "price": price} | more
    answer = user.post(f"/api/portfolios/{portfolio}/transactions", {"trades": [one]})
    assert answer.status_code == 201, answer.text
    (entry,) = answer.json()["entries"]
    return entry


def entries(user: ApiUser, portfolio: str) -> list[dict[str, Any]]:
    return user.get(f"/api/portfolios/{portfolio}/transactions").json()["items"]


def test_mistyped_purchase_is_voided_with_its_cost(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio(on=api.market.day(9))["id"]
    day = api.market.day(5)
    mistyped = trade(ada, portfolio, "100", "7.1", cost="4", on=day)
    path = f"/api/portfolios/{portfolio}/transactions/{mistyped['id']}/void"
    done = ada.post(path, {"note": "a slip"})
    assert done.status_code == 201
    reversal = done.json()["entry"]
    assert (reversal["voids"], reversal["note"]) == (mistyped["id"], "a slip")
    assert (reversal["kind"], reversal["cash"], reversal["on"]) == ("buy", "714.00", day)
    assert done.json()["portfolio"]["cash"] == "10000.00"
    assert done.headers["ETag"] == ada.get(f"/api/portfolios/{portfolio}").headers["ETag"]

    trade(ada, portfolio, "100", "7.5", cost="4", on=day)
    listed = entries(ada, portfolio)
    assert [(one["voids"], one["voided_by"]) for one in listed] == [
        (None, None),
        (mistyped["id"], None),
        (None, reversal["id"]),
        (None, None),
    ]
    assert ada.get(f"/api/portfolios/{portfolio}").json()["cash"] == "9246.00"
    assert ada.get(f"/api/portfolios/{portfolio}/performance").json()["costs"] == 4


def test_mistyped_day_leaves_no_trace_in_the_performance(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio(on=api.market.day(9))["id"]
    path = f"/api/portfolios/{portfolio}"
    before = ada.get(f"{path}/performance").json()
    early = {"kind": "deposit", "amount": "100", "on": api.market.day(200)}
    entry = ada.post(f"{path}/cash-flows", early).json()["entry"]
    assert ada.get(f"{path}/performance").json()["first"] == api.market.day(200)
    assert ada.post(f"{path}/transactions/{entry['id']}/void").status_code == 201
    assert ada.get(f"{path}/performance").json() == before


def test_entry_that_others_need_is_not_voided(ada: ApiUser) -> None:
    portfolio = ada.portfolio(cash="800")["id"]
    trade(ada, portfolio, "100", "7.1")
    deposit = entries(ada, portfolio)[-1]["id"]
    answer = ada.post(f"/api/portfolios/{portfolio}/transactions/{deposit}/void")
    detail = expect_problem(answer, 409)
    assert "the deposit of 800" in detail and "void the purchase of 100 C of" in detail
    assert answer.json()["code"] == "entry_needed"
    assert len(entries(ada, portfolio)) == 2


def test_entry_is_voided_once(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    entry = trade(ada, portfolio, "1", "7.1")
    path = f"/api/portfolios/{portfolio}/transactions/{entry['id']}/void"
    key = {"Idempotency-Key": "tap"}
    first = ada.post(path, headers=key)
    again = ada.post(path, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["entry"] == first.json()["entry"]
    assert "is void already" in expect_problem(ada.post(path), 409)
    reversal = first.json()["entry"]["id"]
    refused = ada.post(f"/api/portfolios/{portfolio}/transactions/{reversal}/void")
    assert "voids another one" in expect_problem(refused, 409)
    assert len(entries(ada, portfolio)) == 3


def test_entry_of_another_portfolio_or_owner_does_not_exist(api: RunningApi, ada: ApiUser) -> None:
    mine, other = ada.portfolio()["id"], ada.portfolio(name="Other")["id"]
    entry = entries(ada, mine)[0]["id"]
    expect_problem(ada.post(f"/api/portfolios/{other}/transactions/{entry}/void"), 404)
    expect_problem(ada.post(f"/api/portfolios/{mine}/transactions/{UNKNOWN_ID}/void"), 404)
    bob = api.register("bob@example.org")
    expect_problem(bob.post(f"/api/portfolios/{mine}/transactions/{entry}/void"), 404)


@pytest.mark.parametrize("what", ["fee", "dividend", "withdrawal"])
def test_any_kind_of_entry_is_voided_without_prices(
    api: RunningApi, ada: ApiUser, what: str
) -> None:
    portfolio = ada.portfolio()["id"]
    path = f"/api/portfolios/{portfolio}"
    entry = ada.post(f"{path}/cash-flows", {"kind": what, "amount": "12.34"}).json()["entry"]
    api.market.is_down = True
    done = ada.post(f"{path}/transactions/{entry['id']}/void")
    assert done.status_code == 201
    assert (done.json()["portfolio"]["cash"], done.json()["portfolio"]["value"]) == (
        "10000.00",
        None,
    )
    api.market.reset()
    assert ada.get(path).json()["value"] == "10000.00"
