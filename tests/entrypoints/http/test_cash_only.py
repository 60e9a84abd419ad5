"""A portfolio that holds only cash can be measured, valued and rebalanced."""

from __future__ import annotations

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, finished_job

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.mark.parametrize("profile", [{}, {"risk_profile": "balanced"}], ids=["free", "profile"])
@pytest.mark.parametrize("days", [0, 1, 60])
def test_cash_only_portfolio_answers_everywhere(
    api: RunningApi, ada: ApiUser, days: int, profile: dict[str, str]
) -> None:
    fields = {"targets": {}, "cash": "1250", "on": api.market.day(days)} | profile
    id = ada.portfolio(**fields)["id"]
    path = f"/api/portfolios/{id}"
    for query in ("", "?benchmark=C"):
        measured = ada.get(f"{path}/performance{query}")
        assert measured.status_code == 200, measured.text
    for part in ("", "/transactions", "/actions"):
        assert ada.get(path + part).status_code == 200
    for policy in ("monthly", "band", "buy_and_hold", "inverse_volatility"):
        asked = {"portfolio_id": id, "policy": policy}
        proposed = ada.post("/api/rebalance/predict", asked)
        assert proposed.status_code == 201, proposed.text
        assert proposed.json()["orders"] == []
        assert ada.get(f"/api/rebalance/{proposed.json()['id']}/worksheet").status_code == 200


def test_sold_out_portfolio_has_a_performance(api: RunningApi, ada: ApiUser) -> None:
    id = ada.portfolio(cash="100", holdings={"C": "1"}, targets={}, on=api.market.day(30))["id"]
    sale = {"side": "sell", "symbol": "C", "quantity": "1", "price": "7.5"}
    body = {"trades": [sale | {"on": api.market.day(10)}], "confirm_price": True}
    sold = ada.post(f"/api/portfolios/{id}/transactions", body)
    assert sold.status_code == 201, sold.text
    assert ada.get(f"/api/portfolios/{id}/performance").status_code == 200


def test_backtest_without_targets_succeeds(ada: ApiUser) -> None:
    asked = {"policies": ["monthly", "band"], "from": "2022-11-14", "targets": {}}
    started = ada.post("/api/backtest", asked)
    assert started.status_code == 202, started.text
    assert finished_job(ada, started.headers["location"])["state"] == "succeeded"
