"""Gains over HTTP: years, methods, named lots, and CSV."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem


def trade(side: str, quantity: int, price: str, on: str, cost: str = "0") -> dict[str, Any]:
    fields = {"side": side, "symbol": "C", "quantity": str(quantity), "price": price}
    return fields | {"on": on, "cost": cost, "confirm_price": True}


@pytest.fixture
def path(api: RunningApi, ada: ApiUser) -> str:
    """Buy 10 at 8.00 and 10 at 9.00, and sell 15 at 10.00."""
    path = f"/api/portfolios/{ada.portfolio(on=api.market.day(60))['id']}"
    trades = [
        trade("buy", 10, "8.00", api.market.day(50), cost="1.00"),
        trade("buy", 10, "9.00", api.market.day(40)),
        trade("sell", 15, "10.00", api.market.day(30), cost="3.00"),
    ]
    done = ada.post(f"{path}/transactions", {"trades": trades})
    assert done.status_code == 201, done.text
    dividend = {"kind": "dividend", "amount": "4", "withheld": "1", "symbol": "C"}
    assert ada.post(f"{path}/cash-flows", dividend).status_code == 201
    return path


def test_gains_are_stated_by_sale_and_lot(api: RunningApi, ada: ApiUser, path: str) -> None:
    found = ada.get(f"{path}/gains").json()
    (sold,) = found["disposals"]
    # 150 - 3, and 81 + 45
    assert (sold["proceeds"], sold["cost"], sold["gain"]) == ("147.00", "126.00", "21.00")
    assert [(use["quantity"], use["gain"], use["rule"]) for use in sold["lots"]] == [
        ("10", "17.00", "lot"),
        ("5", "4.00", "lot"),
    ]
    assert (found["method"], found["year"], found["currency"]) == ("fifo", None, "USD")
    (lot,) = found["open_lots"]
    close = Decimal(str(ada.get("/api/market/data/C").json()["closes"][-1]["close"]))
    assert (lot["quantity"], lot["cost"]) == ("5", "45.00")
    assert Decimal(lot["value"]) == (5 * close).quantize(Decimal("0.01"))
    assert found["unrealised"]["gain"] == lot["gain"]
    (paid,) = found["income"]
    assert (paid["kind"], paid["amount"], paid["withheld"]) == ("dividend", "4.00", "1.00")
    (year,) = found["years"]
    assert (year["gain"], year["short_term"], year["dividends"]) == ("21.00", "21.00", "4.00")


def test_method_and_year_are_parameters(ada: ApiUser, path: str) -> None:
    costs = {}
    for method in ("fifo", "lifo", "highest_cost", "average_cost", "uk_pool"):
        found = ada.get(f"{path}/gains", params={"method": method}).json()
        costs[method] = found["disposals"][0]["cost"]
    # (81 + 90) x 15 / 20
    average = "128.25"
    assert costs == {
        "fifo": "126.00",
        "lifo": "130.50",
        "highest_cost": "130.50",
        "average_cost": average,
        "uk_pool": average,
    }
    pooled = ada.get(f"{path}/gains?method=uk_pool").json()
    assert [year["year"] for year in pooled["years"]] == ["2022-23"]
    other = ada.get(f"{path}/gains?year=2021").json()
    assert (other["year"], other["disposals"], other["income"]) == ("2021", [], [])
    for year in ("2021-23", "22", "0000", "9999-00"):
        refused = ada.get(f"{path}/gains", params={"year": year})
        assert "is not a tax year" in expect_problem(refused, 422, "year")
    assert ada.get(f"{path}/gains?method=best").status_code == 400


def test_lots_of_a_sale_can_be_named(ada: ApiUser, path: str) -> None:
    before = ada.get(f"{path}/gains").json()
    sale, second = before["disposals"][0]["entry_id"], before["open_lots"][0]["lot_id"]
    first = before["disposals"][0]["lots"][0]["lot_id"]
    named = {"method": "specific", "lots": f"{sale}:{second}:10,{sale}:{first}:5"}
    (sold,) = ada.get(f"{path}/gains", params=named).json()["disposals"]
    assert (sold["cost"], [use["lot_id"] for use in sold["lots"]]) == ("130.50", [second, first])
    for lots in ("x", f"{sale}:{second}", f"{sale}:{second}:11", f"{sale}:{sale}:1"):
        refused = ada.get(f"{path}/gains", params={"method": "specific", "lots": lots})
        expect_problem(refused, 422, "lots")
    twice = {"method": "specific", "lots": f"{sale}:{second}:1,{sale}:{second}:1"}
    assert "twice" in expect_problem(ada.get(f"{path}/gains", params=twice), 422, "lots")
    wrong = {"method": "lifo", "lots": f"{sale}:{second}:1"}
    expect_problem(ada.get(f"{path}/gains", params=wrong), 422, "lots")


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_gains_are_also_csv(ada: ApiUser, path: str) -> None:
    by_parameter = ada.get(f"{path}/gains?format=csv")
    by_header = ada.get(f"{path}/gains", headers={"Accept": "text/csv"})
    assert by_parameter.text == by_header.text
    assert by_header.headers["content-type"].startswith("text/csv")
    assert "gains-all-fifo.csv" in by_header.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(by_header.text)))
    assert [(row["symbol"], row["quantity"], row["gain"]) for row in rows] == [
        ("C", "10", "17.00"),
        ("C", "5", "4.00"),
    ]
    json = ada.get(f"{path}/gains?format=json", headers={"Accept": "text/csv"})
    assert json.headers["content-type"].startswith("application/json")
    assert ada.get(f"{path}/gains?format=xml").status_code == 400


def test_empty_portfolio_has_no_gains(ada: ApiUser) -> None:
    found = ada.get(f"/api/portfolios/{ada.portfolio(cash='0')['id']}/gains").json()
    assert (found["years"], found["open_lots"], found["unrealised"]["gain"]) == ([], [], "0.00")


def test_unknown_cost_is_stated(ada: ApiUser) -> None:
    id = ada.portfolio(holdings={"C": "10"})["id"]
    found = ada.get(f"/api/portfolios/{id}/gains").json()
    assert (found["open_lots"][0]["cost"], found["unrealised"]["unknown"]) == (None, 1)
    assert "The cost of 10 units of C moved in" in found["notes"][0]


def test_portfolio_has_a_method_of_its_own(ada: ApiUser, path: str) -> None:
    opened = ada.get(path)
    assert opened.json()["preferences"]["lot_method"] == "fifo"
    patch = {"preferences": {"lot_method": "uk_pool"}}
    changed = ada.ask("PATCH", path, json=patch, headers={"If-Match": opened.headers["ETag"]})
    assert changed.json()["preferences"]["lot_method"] == "uk_pool", changed.text
    found = ada.get(f"{path}/gains").json()
    assert (found["method"], found["disposals"][0]["cost"]) == ("uk_pool", "128.25")
    assert ada.get(f"{path}/gains?method=lifo").json()["method"] == "lifo"
    wrong = {"preferences": {"lot_method": "best"}}
    refused = ada.ask("PATCH", path, json=wrong, headers={"If-Match": "*"})
    expect_problem(refused, 400, "preferences.lot_method")


def test_proposal_states_what_its_sales_would_realise(
    api: RunningApi, ada: ApiUser, path: str
) -> None:
    id = path.rpartition("/")[2]
    targets = {"targets": {"C": None, "F": 0.5}}
    done = ada.ask("PATCH", path, json=targets, headers={"If-Match": "*"})
    assert done.is_success, done.text
    made = ada.proposal(id, policy="monthly", cost_bps=10)
    orders = {one["symbol"]: one for one in made["orders"]}
    sold, bought = orders["C"], orders["F"]
    assert (sold["side"], sold["quantity"], sold["lot_method"]) == ("sell", "5", "fifo")
    # The lot that is left cost 9.00 a share.
    gain = Decimal(sold["amount"]) - Decimal(sold["cost_amount"]) - 45
    assert (Decimal(sold["gain"]), sold["long_term_gain"]) == (gain, "0.00")
    assert (bought["gain"], bought["lot_method"]) == (None, None)
    assert ada.get(f"/api/rebalance/{made['id']}").json()["orders"] == made["orders"]
    accepted = ada.post(f"/api/rebalance/{made['id']}/accept")
    assert accepted.is_success, accepted.text
    realised = ada.get(f"{path}/gains").json()["disposals"][-1]
    assert Decimal(realised["gain"]) == gain


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_proposal_keeps_within_the_limit_on_realised_gains(
    api: RunningApi, ada: ApiUser, path: str
) -> None:
    more = {"trades": [trade("buy", 10, "5.00", api.market.day(20))]}
    assert ada.post(f"{path}/transactions", more).status_code == 201
    change = {"targets": {"C": None}, "preferences": {"max_realised_gain": "3.00"}}
    done = ada.ask("PATCH", path, json=change, headers={"If-Match": "*"})
    assert done.is_success, done.text
    assert done.json()["preferences"]["max_realised_gain"] == "3.00"
    made = ada.proposal(path.rpartition("/")[2], policy="monthly", cost_bps=10)
    (sold,) = (one for one in made["orders"] if one["side"] == "sell")
    # 5 shares cost 9.00 each, and lose; the others cost 5.00 each, and gain.
    units = int(sold["quantity"])
    assert 5 < units < 15
    one_more = Decimal(sold["price"]) * Decimal("0.999") - 5
    assert 3 - one_more < Decimal(sold["gain"]) <= 3
    assert f"Selling {15 - units} more C would realise" in sold["reason"]
    assert "the limit is 3.00 USD." in sold["reason"]
    accepted = ada.post(f"/api/rebalance/{made['id']}/accept")
    assert accepted.is_success, accepted.text
    assert ada.get(f"{path}/gains").json()["disposals"][-1]["gain"] == sold["gain"]
    wrong = {"preferences": {"max_realised_gain": "-1"}}
    refused = ada.ask("PATCH", path, json=wrong, headers={"If-Match": "*"})
    expect_problem(refused, 400, "preferences.max_realised_gain")
