"""Accepted worksheets whose orders are filled in parts."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem


@attrs.frozen
class Worksheet:
    """An accepted worksheet that buys C and F for a deposit of 10,000."""

    user: ApiUser
    portfolio: str
    id: str
    orders: dict[str, dict[str, Any]]

    def record(self, *trades: tuple[str, str, str], **headers: str) -> dict[str, Any]:
        """Record trades, each a side, a symbol and a quantity, at the orders' prices."""
        body = {
            "proposal_id": self.id,
            "trades": [
                {"side": side, "symbol": symbol, "quantity": quantity, "price": self.price(symbol)}
                for side, symbol, quantity in trades
            ],
        }
        path = f"/api/portfolios/{self.portfolio}/transactions"
        answer = self.user.post(path, body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def price(self, symbol: str) -> str:
        return self.orders[symbol]["price"] if symbol in self.orders else "25"

    def state(self) -> dict[str, Any]:
        return self.user.get(f"/api/rebalance/{self.id}").json()

    def open(self) -> dict[str, str]:
        return {fill["symbol"]: fill["open"] for fill in self.state()["fills"]}

    def held(self) -> dict[str, Any]:
        return self.user.get(f"/api/portfolios/{self.portfolio}").json()

    def links(self) -> list[bool]:
        """Whether each trade is linked to the worksheet, in the order of recording."""
        path = f"/api/portfolios/{self.portfolio}/transactions"
        listed = self.user.get(path).json()["items"][::-1]
        return [one["proposal_id"] == self.id for one in listed if one["quantity"]]


@pytest.fixture
def sheet(ada: ApiUser) -> Worksheet:
    portfolio = ada.portfolio()["id"]
    proposal = ada.proposal(portfolio, policy="monthly")
    accepted = ada.post(f"/api/rebalance/{proposal['id']}/accept", {"mode": "worksheet"}).json()
    assert (accepted["stage"], accepted["open_until"][:10]) == ("accepted", "2026-12-02")
    orders = {order["symbol"]: order for order in accepted["orders"]}
    assert set(orders) == {"C", "F"}
    assert accepted["fills"] == [
        {"symbol": symbol, "side": "buy", "ordered": q, "filled": "0", "open": q}
        for symbol, q in ((one, orders[one]["quantity"]) for one in ("C", "F"))
    ]
    return Worksheet(ada, portfolio, proposal["id"], orders)


def test_worksheet_stays_open_until_its_orders_are_filled(sheet: Worksheet) -> None:
    all_c, all_f = (int(sheet.orders[symbol]["quantity"]) for symbol in "CF")
    sheet.record(("buy", "C", "100"))
    assert sheet.open() == {"C": str(all_c - 100), "F": str(all_f)}
    held = sheet.held()
    assert held["uninvested"] == held["cash"] != "0.00"  # the deposit, as far as it is not invested
    assert sheet.state()["stage"] == "accepted"

    sheet.record(("buy", "F", str(all_f)), ("buy", "C", str(all_c - 101)))
    assert sheet.open() == {"C": "1", "F": "0"}
    sheet.record(("buy", "C", "1"))
    done = sheet.state()
    assert (done["stage"], done["open_until"]) == ("executed", None)
    assert [fill["filled"] for fill in done["fills"]] == [str(all_c), str(all_f)]
    assert sheet.held()["uninvested"] == "0.00"
    assert sheet.links() == [True] * 4


def test_trades_beyond_and_outside_the_worksheet_are_trades_of_their_own(sheet: Worksheet) -> None:
    all_c = sheet.orders["C"]["quantity"]
    sheet.record(("buy", "C", all_c), ("buy", "C", "2"), ("buy", "D", "3"), ("sell", "C", "1"))
    assert sheet.links() == [True, False, False, False]
    assert sheet.state()["stage"] == "accepted"


def test_more_than_ordered_fills_the_order(sheet: Worksheet) -> None:
    ordered = int(sheet.orders["C"]["quantity"])
    sheet.record(("buy", "C", str(ordered + 5)))
    fill = sheet.state()["fills"][0]
    assert (fill["filled"], fill["open"]) == (str(ordered + 5), "0")


def test_order_is_filled_after_its_asset_lost_its_prices(api: RunningApi, sheet: Worksheet) -> None:
    api.market.lose("F")
    sheet.record(("buy", "F", "3"))
    assert sheet.links() == [True]
    assert sheet.held()["holdings"]["F"]["price"] == sheet.price("F")
    trade = {"side": "buy", "symbol": "NONE", "quantity": "1", "price": "5"}
    body = {"trades": [trade], "proposal_id": sheet.id}
    refused = sheet.user.post(f"/api/portfolios/{sheet.portfolio}/transactions", body)
    expect_problem(refused, 422, "trades[0].symbol")


def test_worksheet_is_cancelled_and_its_trades_stay(sheet: Worksheet) -> None:
    sheet.record(("buy", "C", "10"))
    path = f"/api/rebalance/{sheet.id}"
    cancelled = sheet.user.post(f"{path}/cancel", {"remark": "too dear"}).json()
    assert (cancelled["stage"], cancelled["remark"]) == ("cancelled", "too dear")
    assert [(fill["filled"], fill["open"]) for fill in cancelled["fills"]] == [
        ("10", "0"),
        ("0", "0"),
    ]
    assert sheet.held()["holdings"]["C"]["quantity"] == "10"
    sheet.record(("buy", "C", "1"))  # arrived late: a trade of its own
    assert sheet.links() == [True, False]
    for decision in ("cancel", "accept", "reject"):
        expect_problem(sheet.user.post(f"{path}/{decision}"), 409)
    assert sheet.held()["uninvested"] != "0.00"


def test_only_accepted_proposals_are_cancelled(ada: ApiUser) -> None:
    proposal = ada.proposal(ada.portfolio()["id"])
    path = f"/api/rebalance/{proposal['id']}"
    assert "only an accepted one" in expect_problem(ada.post(f"{path}/cancel"), 409)
    ada.post(f"{path}/accept")
    assert "is executed" in expect_problem(ada.post(f"{path}/cancel"), 409)


def test_worksheet_expires_after_thirty_days(api: RunningApi, sheet: Worksheet) -> None:
    sheet.record(("buy", "C", "10"))
    api.time.advance(days=30)
    later = attrs.evolve(sheet, user=api.log_in())
    assert later.state()["stage"] == "expired"
    assert [fill["filled"] for fill in later.state()["fills"]] == ["10", "0"]
    expect_problem(later.user.post(f"/api/rebalance/{sheet.id}/cancel"), 409)
    later.record(("buy", "C", "1"))
    assert later.links() == [True, False]


def test_void_trade_opens_its_order_again(sheet: Worksheet) -> None:
    quantities = {symbol: order["quantity"] for symbol, order in sheet.orders.items()}
    trades = [("buy", symbol, quantity) for symbol, quantity in quantities.items()]
    entries = sheet.record(*trades)["entries"]
    executed = sheet.held()
    assert sheet.state()["stage"] == "executed"
    path = f"/api/portfolios/{sheet.portfolio}/transactions"
    assert sheet.user.post(f"{path}/{entries[0]['id']}/void").status_code == 201
    assert sheet.state()["stage"] == "accepted"
    assert sheet.open() == {"C": quantities["C"], "F": "0"}
    assert sheet.held()["uninvested"] != "0.00"
    sheet.record(trades[0])
    assert sheet.state()["stage"] == "executed"
    same = ("cash", "uninvested", "holdings", "value", "last_rebalance")
    assert {name: sheet.held()[name] for name in same} == {name: executed[name] for name in same}


def test_repeated_fill_with_a_key_is_recorded_once(sheet: Worksheet) -> None:
    first = sheet.record(("buy", "C", "5"), **{"Idempotency-Key": "one"})
    again = sheet.record(("buy", "C", "5"), **{"Idempotency-Key": "one"})
    assert again["entries"] == first["entries"]
    assert sheet.state()["fills"][0]["filled"] == "5"


def test_trades_are_refused_for_a_proposal_that_was_never_accepted(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    proposal = ada.proposal(portfolio)
    one = {"side": "buy", "symbol": "C", "quantity": "1", "price": "7.77"}
    body = {"trades": [one], "proposal_id": proposal["id"]}
    path = f"/api/portfolios/{portfolio}/transactions"
    assert "only an accepted one" in expect_problem(ada.post(path, body), 409)
