"""Whatever the prices call an asset is accepted in every route that takes a symbol."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from rebalancer.application.ports.market import PriceSource
from rebalancer.domain.market.prices import PriceHistory
from tests.entrypoints.http.conftest import (
    HISTORY,
    ApiUser,
    FakePriceSource,
    RunningApi,
    expect_problem,
    finished_job,
    provide_values,
)

SYMBOLS = (
    "L&T.NS",
    "ETH/EUR",
    "CITROËN",
    "BF B",
    "CL=F",
    "^FTSE",
    "A//B?#",
    "100%+",
    "株式 7203",
    "x, y",
)
"""In place of the assets A to J."""

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


@pytest.fixture
def lin(start_api: Callable[..., RunningApi]) -> ApiUser:
    history = PriceHistory(SYMBOLS, HISTORY.dates, HISTORY.closes)
    return start_api(provide_values({PriceSource: FakePriceSource(history)})).register()


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_symbol_is_accepted_everywhere(lin: ApiUser, symbol: str, form: Any) -> None:
    sent = unicodedata.normalize(form, symbol)
    preferences = {"do_not_buy": [sent], "whole_shares": False}
    opened = lin.portfolio(
        targets={sent: 0.5},
        holdings={sent: "0.0001"},
        cash="1000000",
        preferences=preferences,
        acknowledge_limits=True,
    )
    path = f"/api/portfolios/{opened['id']}"
    assert list(opened["targets"]) == list(opened["holdings"]) == [symbol]
    assert opened["preferences"]["do_not_buy"] == [symbol]
    changed = lin.ask(
        "PATCH", path, json={"targets": {sent: 0.4}}, headers={"If-Match": "*"}
    ).json()
    assert changed["targets"] == {symbol: 0.4}

    flow = {"kind": "dividend", "amount": "1", "symbol": sent}
    assert lin.post(f"{path}/cash-flows", flow).json()["entry"]["symbol"] == symbol
    price = opened["holdings"][symbol]["price"]
    trade = {"side": "buy", "symbol": sent, "quantity": "1", "price": price}
    traded = lin.post(f"{path}/transactions", {"trades": [trade]})
    assert traded.status_code == 201, traded.text
    assert traded.json()["portfolio"]["holdings"][symbol]["quantity"] == "1.0001"
    found = lin.get(f"{path}/performance", params={"benchmark": sent})
    assert found.json()["benchmark"]["name"] == symbol
    proposed = lin.proposal(opened["id"], policy="monthly")
    assert symbol in str(proposed["orders"]) + str(proposed["not_traded"])

    closes = lin.get(f"/api/market/data/{quote(sent, safe='')}")
    assert (closes.status_code, closes.json()["symbol"]) == (200, symbol)
    assets = lin.get("/api/market/assets", params={"query": sent}).json()["items"]
    assert [one["symbol"] for one in assets] == [symbol]
    after = lin.get("/api/market/assets", params={"after": sent}).json()["items"]
    assert [one["symbol"] for one in after] == sorted(s for s in SYMBOLS if s > symbol)
    other = SYMBOLS[5 if symbol == SYMBOLS[4] else 4]
    regime = lin.get("/api/market/regime", params={"symbols": f"{other},{sent}"})
    assert regime.json()["symbols"] == [other, symbol]


def test_symbols_are_accepted_in_backtests(lin: ApiUser) -> None:
    body = {
        "policies": ["monthly"],
        "from": "2022-11-14",
        "targets": {SYMBOLS[2]: 0.5, SYMBOLS[0]: 0.2},
        "risk_free_symbol": SYMBOLS[1],
    }
    started = lin.post("/api/backtest", body)
    assert started.status_code == 202, started.text
    job = finished_job(lin, started.headers["location"])
    assert (job["state"], job["error"]) == ("succeeded", None)


def test_symbol_with_slashes_needs_no_encoding(lin: ApiUser) -> None:
    assert lin.get("/api/market/data/ETH/EUR").json()["symbol"] == "ETH/EUR"
    for unknown in ("ETH", "ETH//EUR", "ETH%2F", "A/B%3F%23", "BF+B"):
        expect_problem(lin.get(f"/api/market/data/{unknown}"), 404)


def test_lists_of_symbols_may_hold_one_with_a_comma(lin: ApiUser) -> None:
    found = lin.get("/api/market/regime", params={"symbols": "x, y,^FTSE"})
    assert found.json()["symbols"] == ["x, y", "^FTSE"]
    found = lin.get("/api/market/regime", params={"symbols": " ^FTSE , CL=F,"})
    assert found.json()["symbols"] == ["^FTSE", "CL=F"]


def test_symbols_that_cannot_be_meant_are_malformed(lin: ApiUser) -> None:
    for symbol in ("", " KO", "KO ", "K\nO", "K\tO", "K\x7fO", "K" * 201):
        body = {"name": "N", "targets": {symbol: 0.1}}
        expect_problem(lin.post("/api/portfolios", body), 400)


def test_one_symbol_in_two_spellings_is_a_duplicate(lin: ApiUser) -> None:
    spellings = [unicodedata.normalize(form, "CITROËN") for form in ("NFC", "NFD")]
    body = {"name": "N", "targets": dict.fromkeys(spellings, 0.1)}
    detail = expect_problem(lin.post("/api/portfolios", body), 400, "CITROËN")
    assert "occurs twice" in detail
