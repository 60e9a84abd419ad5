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
