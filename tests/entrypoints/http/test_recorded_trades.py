"""Trades at implausible prices need a confirmation; the total of the broker is kept."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.entrypoints.http.conftest import ApiUser, expect_problem


@pytest.fixture
def path(ada: ApiUser) -> str:
    return f"/api/portfolios/{ada.portfolio()['id']}/transactions"


def trade(**fields: Any) -> dict[str, Any]:
    return {"side": "buy", "symbol": "C", "quantity": "10", "price": "7.8325"} | fields


def test_total_of_the_broker_is_stored(ada: ApiUser, path: str) -> None:
    for amount, booked in ((None, "78.32"), ("78.33", "78.33"), ("78.32", "78.32")):
        done = ada.post(path, {"trades": [trade(amount=amount, cost="1.05")]})
        (entry,) = done.json()["entries"]
        assert (entry["amount"], entry["cost"]) == (booked, "1.05")
        assert Decimal(entry["cash"]) == -Decimal(booked) - Decimal("1.05")
    refused = ada.post(path, {"trades": [trade(), trade(amount="78.40")]})
    expect_problem(refused, 422, "trades[1].amount")
    assert len(ada.get(path).json()["items"]) == 4


@pytest.mark.parametrize(
    "fields", [{"price": "0.0000001"}, {"price": "78.325", "quantity": "1"}, {"price": "0.9"}]
)
def test_implausible_price_needs_a_confirmation(
    ada: ApiUser, path: str, fields: dict[str, str]
) -> None:
    refused = ada.post(path, {"trades": [trade(**fields)]})
    detail = expect_problem(refused, 422, "trades[0].price")
    assert "send confirm_price: true" in detail
    assert len(ada.get(path).json()["items"]) == 1  # the first deposit
    confirmed = ada.post(path, {"trades": [trade(**fields, confirm_price=True)]})
    assert confirmed.status_code == 201, confirmed.text
    whole = ada.post(path, {"trades": [trade(**fields)], "confirm_price": True})
    assert whole.status_code == 201, whole.text
