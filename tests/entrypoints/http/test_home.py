"""All portfolios in one answer."""

from __future__ import annotations

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


def tasks(summary):
    return [one["task"] for one in summary["to_do"]]


def test_a_new_person_has_an_empty_home(ada: ApiUser) -> None:
    home = ada.get("/api/home").json()
    assert home["portfolios"] == home["to_do"] == home["changes"] == []
    assert home["value"] == "0.00"
    assert home["history"] is None
    assert home["as_of"] is None


def test_home_agrees_with_portfolio_and_performance(api: RunningApi, ada: ApiUser) -> None:
    one = ada.portfolio(
        cash="1000", holdings={"C": "100"}, targets={"C": 0.9}, on=api.market.day(40)
    )
    home = ada.get("/api/home?period=max").json()
    summary = home["portfolios"][0]
    measured = ada.get(f"/api/portfolios/{one['id']}/performance").json()
    read = ada.get(f"/api/portfolios/{one['id']}").json()
    assert home["value"] == summary["value"] == read["value"]
    assert home["as_of"] == read["as_of"]
    changes = {change["period"]: change for change in summary["changes"]}
    assert float(changes["max"]["gain"]) == pytest.approx(measured["gain"], abs=0.01)
    expected = measured["portfolio"]["time_weighted_return"]
    assert changes["max"]["change"] == pytest.approx(expected, abs=1e-9)
    assert home["history"]["values"][-1] == pytest.approx(float(home["value"]), abs=0.01)
    assert home["history"]["dates"][0] == str(api.market.day(40))
    weight = read["holdings"]["C"]["weight"]
    assert summary["drift"] == pytest.approx(abs(weight - 0.9), abs=1e-9)


def test_two_portfolios_add_up(api: RunningApi, ada: ApiUser) -> None:
    for units, day in (("100", 40), ("50", 20)):
        ada.portfolio(cash="10", holdings={"C": units}, targets={"C": 1.0}, on=api.market.day(day))
    home = ada.get("/api/home").json()
    parts = sum(float(one["value"]) for one in home["portfolios"])
    assert float(home["value"]) == pytest.approx(parts)
    gains = [float(one["changes"][-1]["gain"]) for one in home["portfolios"]]
    assert float(home["changes"][-1]["gain"]) == pytest.approx(sum(gains), abs=0.02)


def test_the_next_thing_to_do_comes_first(api: RunningApi, ada: ApiUser) -> None:
    id = ada.portfolio(
        cash="5000", holdings={"C": "10"}, targets={"C": 0.5, "A": 0.5}, on=api.market.day(20)
    )["id"]
    home = ada.get("/api/home").json()
    assert "outside_band" in tasks(home) or "deposit_uninvested" in tasks(home)
    asked = {"portfolio_id": id, "policy": "monthly"}
    proposal = ada.post("/api/rebalance/predict", asked).json()
    first = ada.get("/api/home").json()["to_do"][0]
    assert first["task"] == "proposal_waits"
    assert first["proposal_id"] == proposal["id"]
    assert first["portfolio_id"] == id
    ada.post(f"/api/rebalance/{proposal['id']}/accept", {})
    after = ada.get("/api/home").json()
    assert "proposal_waits" not in tasks(after)
    assert "outside_band" not in tasks(after)


def test_a_currency_without_a_rate_is_missing_in_the_sum(ada: ApiUser, api: RunningApi) -> None:
    ada.portfolio(cash="10", targets={}, on=api.market.day(20))
    home = ada.get("/api/home?currency=CHF").json()
    assert home["value"] is None
    assert "no exchange rate" in home["notes"][0]


@pytest.mark.parametrize("query", ["period=2Y", "currency=euro", "currency=XXX1", "other=1"])
def test_unknown_choices_are_refused_by_name(ada: ApiUser, query: str) -> None:
    answer = ada.get(f"/api/home?{query}")
    assert answer.status_code in (400, 422)
    assert query.partition("=")[0] in answer.text


def test_strangers_see_nothing(api: RunningApi, ada: ApiUser) -> None:
    ada.portfolio(cash="10", targets={}, on=api.market.day(20))
    assert api.register("eve@example.org").get("/api/home").json()["portfolios"] == []
