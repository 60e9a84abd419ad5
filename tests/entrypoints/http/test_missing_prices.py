"""Portfolios that hold an asset without a current price."""

from __future__ import annotations

from typing import Any

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem


@pytest.fixture
def held(ada: ApiUser, api: RunningApi) -> dict[str, Any]:
    """Open a portfolio of 20 D bought at 25 and 1,500 of cash; D has no prices any more."""
    opened = ada.portfolio(cash="2000", targets={"C": 0.5, "D": 0.3}, on=api.market.day(5))
    ada.portfolio(name="Unconcerned")
    bought = trade(ada, opened, "buy", "20", "25", on=api.market.day(5))
    assert bought.status_code == 201
    api.market.lose("D")
    return opened


def trade(user: ApiUser, portfolio: dict[str, Any], side: str, quantity: str, price: str, **more):
    one = {"side": side, "symbol": "D", "quantity": quantity, "price": price} | more
    return user.post(f"/api/portfolios/{portfolio['id']}/transactions", {"trades": [one]})


def test_portfolio_stays_readable_at_the_last_known_price(
    api: RunningApi, ada: ApiUser, held: dict[str, Any]
) -> None:
    found = ada.get(f"/api/portfolios/{held['id']}").json()
    day = api.market.day(5)
    assert found["value"] == "2000.00"
    assert found["holdings"]["D"] == {
        "quantity": "20",
        "price": "25.0",
        "currency": "USD",
        "price_date": day,
        "stale": True,
        "value": "500.00",
        "weight": 0.25,
    }
    assert found["notes"] == [f"D is valued at 25.0 of {day}, its last known price: no price data."]
    listed = ada.get("/api/portfolios").json()["items"]
    assert {one["name"]: (one["value"], len(one["notes"])) for one in listed} == {
        "Mine": ("2000.00", 1),
        "Unconcerned": ("10000.00", 0),
    }

    performance = ada.get(f"/api/portfolios/{held['id']}/performance").json()
    assert performance["gain"] == 0
    assert any("D has no price data" in note for note in performance["notes"])
    expect_problem(ada.get(f"/api/portfolios/{held['id']}/performance?benchmark=D"), 422)


def test_position_is_closed_at_a_stated_price_and_its_history_stays(
    api: RunningApi, ada: ApiUser, held: dict[str, Any]
) -> None:
    sold = trade(ada, held, "sell", "15", "12.50", on=api.market.day(2))
    assert sold.status_code == 201
    left = sold.json()["portfolio"]
    assert (left["value"], left["cash"]) == ("1750.00", "1687.50")  # 5 D at 12.50, the latest price
    assert left["holdings"]["D"]["price_date"] == api.market.day(2)

    assert trade(ada, held, "sell", "5", "10").status_code == 201
    now = ada.get(f"/api/portfolios/{held['id']}").json()
    assert (now["value"], now["holdings"], now["notes"]) == ("1737.50", {}, [])
    performance = ada.get(f"/api/portfolios/{held['id']}/performance").json()
    assert performance["portfolio"]["values"][0] == 2000
    assert performance["gain"] == -262.5

    too_many = trade(ada, held, "sell", "1", "10")
    expect_problem(too_many, 409)


def test_purchase_of_a_symbol_that_nothing_knows_is_rejected(
    ada: ApiUser, held: dict[str, Any]
) -> None:
    unknown = {"side": "buy", "symbol": "ZZZ", "quantity": "1", "price": "10"}
    path = f"/api/portfolios/{held['id']}"
    answer = ada.post(f"{path}/transactions", {"trades": [unknown]})
    expect_problem(answer, 422, "trades[0].symbol")
    expect_problem(ada.post("/api/portfolios", {"name": "N", "targets": {"D": 0.5}}), 422)
    paid = {"kind": "dividend", "amount": "3", "symbol": "D"}
    assert ada.post(f"{path}/cash-flows", paid).status_code == 201


def test_mandate_may_keep_a_target_without_a_price(ada: ApiUser, held: dict[str, Any]) -> None:
    path = f"/api/portfolios/{held['id']}"
    tag = ada.get(path).headers["ETag"]
    revised = {"name": "Renamed", "targets": {"C": 0.5, "D": 0.3}}
    answer = ada.put(path, revised, headers={"If-Match": tag})
    assert (answer.status_code, answer.json()["name"]) == (200, "Renamed")
    worse = revised | {"targets": {"ZZZ": 0.3}}
    tag = answer.headers["ETag"]
    expect_problem(ada.put(path, worse, headers={"If-Match": tag}), 422, "targets.ZZZ")
    assert ada.get(path).headers["ETag"] == tag


@pytest.mark.parametrize("policy", ["monthly", "band", "minimum_variance"])
def test_proposal_works_around_a_holding_without_a_price(
    api: RunningApi, ada: ApiUser, held: dict[str, Any], policy: str
) -> None:
    made = ada.proposal(held["id"], policy=policy, compare=True)
    (order,) = made["orders"]
    assert (order["side"], order["symbol"]) == ("buy", "C")
    assert made["weights_before"]["D"] == 0.25
    # Half of 2,000 buys C at 7.81; D keeps its 500 and the rest stays in cash.
    if policy != "minimum_variance":
        assert made["weights_after"]["C"] == pytest.approx(0.5, abs=0.005)
    assert any(note.startswith("D is not tradable") for note in made["notes"])
    assert made["seen"]["prices"]["D"] == "25.0"
    accepted = ada.post(f"/api/rebalance/{made['id']}/accept")
    assert accepted.json()["stage"] == "executed"
    assert ada.get(f"/api/portfolios/{held['id']}").json()["holdings"]["D"]["quantity"] == "20"


def test_price_stated_on_the_last_day_does_not_make_an_asset_tradable(
    api: RunningApi, ada: ApiUser, held: dict[str, Any]
) -> None:
    trade(ada, held, "sell", "15", "24")
    made = ada.proposal(held["id"], policy="monthly")
    assert [order["symbol"] for order in made["orders"]] == ["C"]
    assert made["seen"]["prices"]["D"] == "24.0"
    assert "D is not tradable (no price data): its holding stays" in " ".join(made["notes"])


def test_proposal_leaves_a_target_that_vanished_before_its_purchase_in_cash(
    api: RunningApi, ada: ApiUser
) -> None:
    portfolio = ada.portfolio(targets={"C": 0.5, "E": 0.4})["id"]
    other = ada.portfolio(name="Other")["id"]
    api.market.lose("E")
    made = ada.proposal(portfolio, policy="monthly")
    assert [order["symbol"] for order in made["orders"]] == ["C"]
    assert made["weights_after"] == {"C": pytest.approx(0.5, abs=0.005), "E": 0}
    assert "E" not in made["seen"]["prices"]
    assert any("E is not tradable" in note for note in made["notes"])
    assert not any("tradable" in note for note in ada.proposal(other)["notes"])
