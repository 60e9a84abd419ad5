"""A weekend or a holiday means the last close before it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

FRIDAY, SATURDAY, SUNDAY = "2022-12-16", "2022-12-17", "2022-12-18"
LAST = "2022-12-23"

TRADE = {"side": "buy", "symbol": "C", "quantity": "2", "price": "7.8"}


@pytest.mark.parametrize(
    ("day", "close"),
    [(FRIDAY, FRIDAY), (SATURDAY, FRIDAY), (SUNDAY, FRIDAY), ("2022-12-24", LAST)],
)
def test_entries_take_effect_at_the_close_before(ada: ApiUser, day: str, close: str) -> None:
    path = f"/api/portfolios/{ada.portfolio(on=day, holdings={'C': '5'})['id']}"
    ada.post(f"{path}/cash-flows", {"kind": "deposit", "amount": "5", "on": day})
    ada.post(f"{path}/transactions", {"trades": [TRADE | {"on": day}]})
    entries = ada.get(f"{path}/transactions").json()["items"]
    assert [entry["on"] for entry in entries] == [close] * 4
    assert ada.get(f"{path}/performance").json()["first"] == close


@pytest.mark.parametrize("day", [SATURDAY, SUNDAY])
def test_portfolio_opened_on_a_weekend_is_rebalanced_as_of_it(ada: ApiUser, day: str) -> None:
    portfolio = ada.portfolio(on=day)["id"]
    proposal = ada.proposal(portfolio, as_of=day)
    assert proposal["as_of"] == FRIDAY
    accepted = ada.post(f"/api/rebalance/{proposal['id']}/accept")
    assert accepted.json()["stage"] == "executed", accepted.text


def test_routes_that_read_prices_accept_weekends(ada: ApiUser) -> None:
    regime = ada.get("/api/market/regime", params={"as_of": SUNDAY})
    assert regime.json()["as_of"] == FRIDAY
    closes = ada.get("/api/market/data/C", params={"end": SUNDAY}).json()["closes"]
    assert closes[-1]["date"] == FRIDAY
    backtest = {"policies": ["monthly"], "from": "2022-11-12", "to": SUNDAY}
    assert ada.post("/api/backtest", backtest).status_code == 202


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_days_outside_the_prices_are_refused(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}"

    def deposit(day: str) -> int:
        body = {"kind": "deposit", "amount": "5", "on": day}
        answer = ada.post(f"{path}/cash-flows", body)
        if answer.status_code == 422:
            expect_problem(answer, 422, "on")
        return answer.status_code

    assert deposit("2020-01-01") == 422  # before the first close
    assert deposit("2022-12-26") == 201  # a close is still missing
    assert deposit("2023-03-01") == 422  # and here too many are
    api.time.now = datetime(2022, 12, 24, 13, tzinfo=UTC)
    ada.headers = api.log_in().headers  # a token from later is not accepted
    assert deposit("2022-12-25") == 201  # east of here it is Sunday already
    assert deposit("2022-12-26") == 422  # a day to come
