"""Faults of one request that need prices or stored data are reported together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.entrypoints.http.conftest import ApiUser, expect_problem

LONG_AGO = "1975-05-05"


@pytest.mark.parametrize(
    ("flow", "fields"),
    [
        ({"kind": "deposit", "amount": "7.001", "on": LONG_AGO}, ("amount", "on")),
        ({"kind": "fee", "amount": "0", "symbol": "C"}, ("amount", "symbol")),
        (
            {"kind": "dividend", "amount": "0.001", "on": LONG_AGO, "symbol": "NONE"},
            ("amount", "on", "symbol"),
        ),
    ],
)
def test_faults_of_a_cash_flow(ada: ApiUser, flow: dict[str, Any], fields: tuple[str, ...]) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}/cash-flows"
    expect_problem(ada.post(path, flow), 422, *fields)


def test_faults_of_one_trade(ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}/transactions"
    right = {"side": "buy", "symbol": "C", "quantity": "1", "price": "8"}
    other = {"symbol": "NONE", "quantity": "0", "price": "0", "cost": "0.001", "on": LONG_AGO}
    costly = {"amount": "9.001", "cost": "0.001"}
    names = ("[1].on", "[1].symbol", "[1].quantity", "[1].price", "[1].cost")
    fields = [f"trades{name}" for name in (*names, "[2].amount", "[2].cost")]
    refused = ada.post(path, {"trades": [right, right | other, right | costly]})
    expect_problem(refused, 422, *fields)


def test_faults_of_a_backtest(ada: ApiUser) -> None:
    body = {"policies": ["none", "band", "nothing"], "targets": {"NONE": 1}, "from": "2090-01-02"}
    refused = ada.post("/api/backtest", body)
    expect_problem(refused, 422, "policies", "policies", "from", "targets")


def test_faults_of_a_patch(ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    patch = {"name": "", "targets": {"C": 3}, "preferences": {"band": -1}}
    refused = ada.ask("PATCH", path, json=patch, headers={"If-Match": "*"})
    expect_problem(refused, 400, "name", "targets.C", "preferences.band")


@pytest.mark.parametrize("symbols", ["NONE", "C,NONE", "C,C", ""])
def test_symbols_of_a_regime_are_named(ada: ApiUser, symbols: str) -> None:
    expect_problem(ada.get(f"/api/market/regime?symbols={symbols}"), 422, "symbols")
