"""Stress tests over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem


@pytest.fixture
def path(api: RunningApi, ada: ApiUser) -> str:
    opened = ada.portfolio(on=api.market.day(60), holdings={"C": "20"})
    return f"/api/portfolios/{opened['id']}/stress"


def test_a_shock_of_a_class_states_the_loss_and_the_proposal_after_it(
    ada: ApiUser, path: str
) -> None:
    found = ada.post(path, {"classes": {"equity": -0.5}, "costs": "free"})
    assert found.status_code == 200, found.text
    view = found.json()
    asset, cash = view["assets"]
    assert (asset["symbol"], asset["asset_class"], asset["move"]) == ("C", "equity", -0.5)
    assert asset["after"] == pytest.approx(asset["before"] / 2, abs=0.01)
    assert (cash["symbol"], cash["move"]) == (None, 0.0)
    assert view["after"] == pytest.approx(view["before"] - asset["before"] / 2, abs=0.02)
    assert view["proposal"]["policy"] == "monthly"
    assert "orders" in view["proposal"]
    assert ada.get("/api/rebalance").json()["items"] == []  # nothing is stored


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "episode"),
        ({"episode": "covid_2020"}, 422, "episode"),
        ({"episode": "flood"}, 400, "episode"),
        ({"assets": {"C": -2}}, 400, "assets.C"),
        ({"assets": {"ZZZ": -0.2}}, 422, "assets.ZZZ"),
        ({"factor": {"symbol": "ZZZ", "change": -0.2}}, 422, "factor.symbol"),
        ({"classes": {"houses": -0.2}}, 400, "classes.houses"),
        ({"currencies": {"EUR": "low"}}, 400, "currencies.EUR"),
    ],
)
def test_bad_input_names_its_field(
    ada: ApiUser, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    expect_problem(ada.post(path, body), status, field)
