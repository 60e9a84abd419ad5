"""Periods of a portfolio that was measured before."""

from __future__ import annotations

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_other_periods_of_an_unchanged_portfolio_read_no_entries(
    api: RunningApi, ada: ApiUser
) -> None:
    id = ada.portfolio(holdings={"C": "100"}, on=api.market.day(60))["id"]
    paths = (f"/api/portfolios/{id}/performance", "/api/performance")
    for path in paths:
        assert ada.get(path).status_code == 200
    for path in paths:
        with api.statements() as log:
            found = ada.get(path, params={"from": api.market.day(20)})
        assert found.status_code == 200, found.text
        assert not [one for one in log.all if "ledger_entries" in one], log.all
    paid = {"kind": "deposit", "amount": "500", "on": api.market.day(40)}  # back-dated
    assert ada.post(f"/api/portfolios/{id}/cash-flows", paid).status_code == 201
    for path in paths:
        with api.statements() as log:
            found = ada.get(path, params={"from": api.market.day(41)})
        assert found.json()["contributed"] == 500
        assert [one for one in log.all if "ledger_entries" in one]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_later_entries_continue_what_was_measured_of_all_portfolios(
    api: RunningApi, ada: ApiUser
) -> None:
    id = ada.portfolio(holdings={"C": "100"}, on=api.market.day(120))["id"]
    ada.portfolio(holdings={"F": "10"}, on=api.market.day(90))
    before = ada.get("/api/performance").json()
    paid = {"kind": "interest", "amount": "7", "on": api.market.last}
    for body in ({"kind": "deposit", "amount": "500", "on": api.market.day(2)}, paid):
        done = ada.post(f"/api/portfolios/{id}/cash-flows", body)
        assert done.status_code == 201, done.text
    with api.statements() as log:
        both = ada.get("/api/performance").json()
    read = [one for one in log.all if "ledger_entries" in one]
    assert not [one for one in read if "portfolio IN" in one], read
    assert both["contributed"] == before["contributed"] + 500
    assert both["index"][:-3] == before["index"][:-3]
    parts = {one["portfolio_id"]: one["gain"] for one in both["portfolios"]}
    alone = ada.get(f"/api/portfolios/{id}/performance").json()
    assert parts[id] == pytest.approx(alone["gain"], abs=0.011)
    whole = ada.get("/api/performance?currency=EUR")  # which nothing is known of
    assert whole.status_code == 200
    assert [one["amount"] for one in both["income"]] == [7]
