"""How often the database is asked does not depend on how much is in it."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)


def fill(api: RunningApi, person: ApiUser, portfolio: str, count: int) -> None:
    for number in range(count):
        other = person.portfolio(name=f"Other {number}")["id"]
        person.proposal(other)
        person.proposal(portfolio)
        deposit = {"kind": "deposit", "amount": "500", "on": api.market.day(number)}
        assert person.post(f"/api/portfolios/{portfolio}/cash-flows", deposit).is_success


ASKED: dict[str, tuple[int, Callable[[ApiUser, str, str], httpx.Response]]] = {
    "portfolios": (1, lambda ada, mine, _: ada.get("/api/portfolios?limit=200")),
    "a portfolio": (1, lambda ada, mine, _: ada.get(f"/api/portfolios/{mine}")),
    "transactions": (3, lambda ada, mine, _: ada.get(f"/api/portfolios/{mine}/transactions")),
    "performance": (4, lambda ada, mine, _: ada.get(f"/api/portfolios/{mine}/performance")),
    "gains": (4, lambda ada, mine, _: ada.get(f"/api/portfolios/{mine}/gains")),
    "proposals": (2, lambda ada, mine, _: ada.get("/api/rebalance?limit=200")),
    "its proposals": (3, lambda ada, mine, _: ada.get(f"/api/rebalance?portfolio_id={mine}")),
    "a proposal": (2, lambda ada, _, made: ada.get(f"/api/rebalance/{made}")),
    "profile": (1, lambda ada, _, __: ada.get("/api/users/profile")),
    "policies": (0, lambda ada, _, __: ada.get("/api/policies")),
    "predict": (
        6,
        lambda ada, mine, _: ada.post("/api/rebalance/predict", {"portfolio_id": mine}),
    ),
    "deposit": (
        8,
        lambda ada, mine, _: ada.post(
            f"/api/portfolios/{mine}/cash-flows", {"kind": "deposit", "amount": "1"}
        ),
    ),
    "accept": (13, lambda ada, _, made: ada.post(f"/api/rebalance/{made}/accept")),
}
"""Requests, and how many statements each may take."""


@pytest.mark.parametrize("name", ASKED)
def test_number_of_statements_is_constant(api: RunningApi, ada: ApiUser, name: str) -> None:
    most, ask = ASKED[name]
    mine = ada.portfolio(on=api.market.day(30))["id"]
    counts = []
    for more in (1, 12):
        fill(api, ada, mine, more)
        made = ada.proposal(mine)["id"]
        with api.statements() as statements:
            answer = ask(ada, mine, made)
        assert answer.is_success, answer.text
        counts.append(len(statements.all))
    assert counts[0] == counts[1] <= most, statements.all
