"""Splits, dividends and currencies of stored portfolios, as their owners see them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.instruments import Instrument, Instruments
from tests.builders import quoted_prices
from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

FIRST = date(2026, 10, 1)
EX_DAY = date(2026, 10, 11)
LISTED = Instruments.of([Instrument("EUX", currency="EUR"), Instrument("LSE", currency="GBX")])
TERMS = PricingTerms("USD", LISTED)


def serve(api: RunningApi, *actions: CorporateAction, days: int = 20) -> None:
    """Let the market have prices as traded: SPL falls to a quarter on the ex-day."""
    before = (EX_DAY - FIRST).days
    has_split = any(one.kind is ActionKind.SPLIT for one in actions)
    closes: dict[str, list[float | None]] = {
        "SPL": [400.0] * before + [100.0 if has_split else 400.0] * (days - before),
        "BBB": [50.0] * days,
        "EUX": [20.0] * days,
        "LSE": [500.0] * days,
        "EURUSD": [1.25] * days,
        "GBPUSD": [1.5] * days,
    }
    api.market.serve(quoted_prices(closes, start=FIRST, actions=actions, terms=TERMS))


def action(kind: str, value: str, symbol: str = "SPL", **others: Any) -> CorporateAction:
    return CorporateAction(symbol, EX_DAY, ActionKind(kind), Decimal(value), **others)


SPLIT = action("split", "4")


def opened(api: RunningApi, ada: ApiUser, **fields: Any) -> dict[str, Any]:
    """Open a portfolio that holds 12 SPL and 100 BBB, and 200 in cash."""
    serve(api)
    body = {"targets": {"SPL": 0.5, "BBB": 0.5}, "cash": "200", "on": str(FIRST)}
    return ada.portfolio(**body | {"holdings": {"SPL": "12", "BBB": "100"}} | fields)


def holdings(portfolio: dict[str, Any]) -> dict[str, str]:
    return {symbol: one["quantity"] for symbol, one in portfolio["holdings"].items()}


def test_split_is_booked_when_the_portfolio_is_read(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada)
    assert (before["value"], before["version"]) == ("10000.00", 1)
    serve(api, SPLIT)
    path = f"/api/portfolios/{before['id']}"
    first = ada.get(path)
    found = first.json()
    assert (found["value"], found["version"]) == ("10000.00", 2)
    assert holdings(found) == {"BBB": "100", "SPL": "48"}
    assert ada.get(path).headers["ETag"] == first.headers["ETag"]
    (listed,) = ada.get("/api/portfolios").json()["items"]
    assert listed["version"] == 2
    entry = ada.get(path + "/transactions").json()["items"][0]
    assert (entry["kind"], entry["ratio"], entry["action"]) == (
        "split",
        "4",
        "SPL 2026-10-11 split",
    )
    record = ada.get(path + "/performance").json()
    assert record["portfolio"]["time_weighted_return"] == pytest.approx(0.0, abs=1e-12)


def test_split_arrives_with_a_proposal_or_in_a_list(api: RunningApi, ada: ApiUser) -> None:
    one, other = (opened(api, ada, cash="0") for _ in range(2))
    serve(api, SPLIT)
    assert ada.proposal(one["id"], policy="band")["stage"] == "nothing_to_do"
    items = ada.get("/api/portfolios").json()["items"]
    assert {item["id"]: item["version"] for item in items} == {one["id"]: 2, other["id"]: 2}


def test_dividend_is_credited_once_and_corrected(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada)
    path = f"/api/portfolios/{before['id']}"
    serve(api, action("dividend", "2"))
    assert ada.get(path).json()["cash"] == "224.00"
    assert ada.get(path).json()["cash"] == "224.00"
    serve(api, action("dividend", "2.50"))
    assert ada.get(path).json()["cash"] == "230.00"
    record = ada.get(path + "/performance").json()
    assert record["dividends"] == 30.0


def test_dividend_that_its_owner_voids_stays_void(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{opened(api, ada, cash={'EUR': '0', 'USD': '200'})['id']}"
    serve(api, action("dividend", "2", currency="EUR"))
    assert ada.get(path).json()["cash_by_currency"] == {"USD": "230.00"}
    exchange, dividend, *_ = ada.get(path + "/transactions").json()["items"]
    assert (exchange["kind"], exchange["counter_amount"]) == ("exchange", "30.00")
    assert (dividend["amount"], dividend["currency"]) == ("24.00", "EUR")
    done = ada.post(f"{path}/transactions/{dividend['id']}/void")
    assert done.status_code == 201, done.text
    assert ada.get(path).json()["cash_by_currency"] == {"USD": "200.00"}
    (found,) = ada.get(path + "/actions").json()["items"]
    assert found["state"] == "dismissed"


def test_backdated_trade_changes_what_a_dividend_paid(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{opened(api, ada)['id']}"
    serve(api, action("dividend", "2"))
    ada.get(path)
    trade = {"side": "sell", "symbol": "SPL", "quantity": "2", "price": "400", "on": "2026-10-05"}
    sold = ada.post(path + "/transactions", {"trades": [trade]})
    assert sold.json()["portfolio"]["cash"] == "1020.00"  # 200 + 800 + 20
    assert ada.get(path).headers["ETag"] == sold.headers["ETag"]


def test_actions_wait_for_confirmation(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada, corporate_actions="confirm")
    path = f"/api/portfolios/{before['id']}"
    serve(api, SPLIT, action("dividend", "2", symbol="BBB"))
    found = ada.get(path).json()
    assert (found["version"], found["corporate_actions"]) == (1, "confirm")
    assert "2 corporate actions wait for confirmation" in found["notes"][-1]
    items = ada.get(path + "/actions").json()["items"]
    assert [(one["key"], one["state"], one["units"]) for one in items] == [
        ("BBB 2026-10-11 dividend", "pending", "100"),
        ("SPL 2026-10-11 split", "pending", "12"),
    ]
    assert [one["amount"] for one in items[0]["due"]] == ["200.00"]
    decisions = [
        {"key": "SPL 2026-10-11 split"},
        {"key": "BBB 2026-10-11 dividend", "amount": "198", "withheld": "30"},
    ]
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        done = ada.post(path + "/actions", {"decisions": decisions}, headers=headers)
        assert done.status_code == 201, done.text
        assert holdings(done.json()["portfolio"])["SPL"] == "48"
        assert done.json()["portfolio"]["cash"] == "368.00"
        assert [one["state"] for one in done.json()["items"]] == ["booked", "booked"]
    again = ada.post(path + "/actions", {"decisions": decisions[:1]})
    expect_problem(again, 409)
    unknown = ada.post(path + "/actions", {"decisions": [{"key": "nothing"}]})
    expect_problem(unknown, 422, "decisions[0].key")
    expect_problem(ada.post(path + "/actions", {}), 422, "decisions")


def test_pending_action_is_dismissed(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{opened(api, ada, corporate_actions='confirm')['id']}"
    serve(api, action("dividend", "2"))
    key = "SPL 2026-10-11 dividend"
    decided = {"decisions": [{"key": key, "decision": "dismiss"}]}
    done = ada.post(path + "/actions", decided).json()
    assert (done["items"][0]["state"], done["portfolio"]["cash"]) == ("dismissed", "200.00")
    assert ada.get(path).json()["notes"] == []


def test_action_that_the_market_does_not_know_is_recorded(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{opened(api, ada)['id']}"
    own = [
        {"kind": "split", "symbol": "BBB", "on": "2026-10-06", "ratio": "2"},
        {"kind": "dividend", "symbol": "SPL", "on": "2026-10-07", "amount": "5", "withheld": "1"},
        {"kind": "rename", "symbol": "BBB", "other": "LSE", "on": "2026-10-08"},
    ]
    done = ada.post(path + "/actions", {"record": own})
    assert done.status_code == 201, done.text
    portfolio = done.json()["portfolio"]
    assert holdings(portfolio) == {"LSE": "200", "SPL": "12"}
    assert portfolio["cash"] == "204.00"
    assert portfolio["targets"] == {"SPL": 0.5, "LSE": 0.5}
    assert [one["kind"] for one in done.json()["items"]] == ["split", "rename"]
    wrong = [
        {"kind": "split", "symbol": "SPL"},
        {"kind": "rename", "symbol": "SPL", "other": "X"},
        {"kind": "split", "symbol": "BBB", "ratio": "2"},
    ]
    refused = ada.post(path + "/actions", {"record": wrong}).json()
    fields = [one["field"] for one in refused["errors"]]
    assert fields == ["record[0].ratio", "record[1].other", "record[2].symbol"]


def test_split_cancels_an_open_worksheet(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada, targets={"SPL": 0.9, "BBB": 0.1})
    proposal = ada.proposal(before["id"], policy="monthly")
    path = f"/api/rebalance/{proposal['id']}"
    accepted = ada.post(path + "/accept", {"mode": "worksheet"})
    assert accepted.json()["stage"] == "accepted"
    serve(api, SPLIT)
    trade = {"side": "sell", "symbol": "BBB", "quantity": "80", "price": "50"}
    body = {"trades": [trade], "proposal_id": proposal["id"]}
    done = ada.post(f"/api/portfolios/{before['id']}/transactions", body)
    assert done.status_code == 201, done.text
    assert done.json()["entries"][0]["proposal_id"] is None
    cancelled = ada.get(path).json()
    assert cancelled["stage"] == "cancelled"
    assert "split of SPL of 2026-10-11" in cancelled["remark"]


def test_foreign_assets_are_bought_and_sold_with_conversions(api: RunningApi, ada: ApiUser) -> None:
    serve(api)
    body = {"targets": {"EUX": 0.5}, "cash": {"USD": "1000", "EUR": "40"}, "on": str(FIRST)}
    path = f"/api/portfolios/{ada.portfolio(**body)['id']}/transactions"
    buy = {"side": "buy", "symbol": "EUX", "quantity": "10", "price": "20", "cost": "2"}
    bought = ada.post(path, {"trades": [buy]}).json()
    assert [one["currency"] for one in bought["entries"]] == ["EUR"]
    # 202 EUR, of which 162 are bought for 202.50 USD
    assert bought["portfolio"]["cash_by_currency"] == {"USD": "797.50"}
    held = bought["portfolio"]["holdings"]["EUX"]
    assert (held["price"], held["currency"], held["value"]) == ("20.0", "EUR", "250.00")
    assert bought["portfolio"]["value"] == "1047.50"
    pounds = {"side": "buy", "symbol": "LSE", "quantity": "3", "price": "5"}  # 500 pence
    done = ada.post(path, {"trades": [pounds, buy | {"side": "sell"}]}).json()
    assert done["portfolio"]["cash_by_currency"] == {"USD": "1022.50"}  # - 22.50 + 247.50
    assert done["portfolio"]["holdings"]["LSE"]["value"] == "22.50"
    first = done["entries"][0]["id"]
    void = ada.post(f"{path}/{first}/void").json()
    assert void["portfolio"]["cash_by_currency"] == {"USD": "1045.00"}
    refused = ada.post(path, {"trades": [pounds | {"price": "500"}]})
    expect_problem(refused, 422, "trades[0].price")


def test_listed_conversions_are_recorded_by_the_owner(api: RunningApi, ada: ApiUser) -> None:
    serve(api)
    body = {"targets": {"EUX": 0.5}, "cash": "1000", "on": str(FIRST), "conversions": "listed"}
    path = f"/api/portfolios/{ada.portfolio(**body)['id']}"
    trade = {"side": "buy", "symbol": "EUX", "quantity": "10", "price": "20"}
    refused = ada.post(path + "/transactions", {"trades": [trade]})
    assert "cash in EUR would be -200" in expect_problem(refused, 409)
    exchange = {"kind": "exchange", "amount": "251", "counter_amount": "200"}
    done = ada.post(path + "/cash-flows", exchange | {"counter_currency": "EUR"})
    assert done.json()["portfolio"]["cash_by_currency"] == {"USD": "749.00", "EUR": "200.00"}
    bought = ada.post(path + "/transactions", {"trades": [trade]}).json()
    assert bought["portfolio"]["cash_by_currency"] == {"USD": "749.00"}


def test_income_taxes_and_transfers_are_recorded(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{opened(api, ada)['id']}"
    for flow, cash in (
        ({"kind": "interest", "amount": "10", "withheld": "2"}, {"USD": "208.00"}),
        ({"kind": "tax", "amount": "8", "symbol": "SPL"}, {"USD": "200.00"}),
        ({"kind": "return_of_capital", "amount": "5", "symbol": "BBB"}, {"USD": "205.00"}),
        (
            {"kind": "deposit", "amount": "30", "currency": "EUR"},
            {"USD": "205.00", "EUR": "30.00"},
        ),
        (
            {"kind": "deposit", "amount": "0", "symbol": "LSE", "quantity": "4", "cost_basis": "9"},
            {"USD": "205.00", "EUR": "30.00"},
        ),
    ):
        done = ada.post(path + "/cash-flows", flow)
        assert done.status_code == 201, done.text
        assert done.json()["portfolio"]["cash_by_currency"] == cash
    entry = done.json()["entry"]
    assert (entry["amount"], entry["currency"], entry["price"]) == ("20.00", "GBP", "5.0")
    assert entry["cost_basis"] == "9"
    # 10,000 + 5 and 30 EUR and 20 GBP
    assert done.json()["portfolio"]["value"] == "10072.50"
    for wrong, field in (
        ({"kind": "deposit", "amount": "1", "currency": "CHF"}, "currency"),
        ({"kind": "deposit", "amount": "1", "symbol": "SPL"}, "symbol"),
        ({"kind": "fee", "amount": "1", "withheld": "1"}, "withheld"),
        ({"kind": "return_of_capital", "amount": "1"}, "symbol"),
        ({"kind": "fee", "amount": "1", "symbol": "SPL", "quantity": "1"}, "quantity"),
        ({"kind": "exchange", "amount": "1", "counter_currency": "EUR"}, "counter_amount"),
    ):
        expect_problem(ada.post(path + "/cash-flows", wrong), 422, field)


def test_failure_to_book_leaves_the_portfolio_readable(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{opened(api, ada)['id']}"
    serve(api, action("dividend", "2"))
    assert ada.get(path).json()["cash"] == "224.00"
    spent = ada.post(path + "/cash-flows", {"kind": "withdrawal", "amount": "224"})
    assert spent.status_code == 201
    serve(api, action("dividend", "1"))
    found = ada.get(path).json()
    assert found["cash"] == "0.00"
    assert "SPL 2026-10-11 dividend could not be booked: cash would be -12" in found["notes"][-1]


def test_proposal_for_a_past_day_knows_no_later_action(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada, targets={"SPL": 0.9, "BBB": 0.1})
    serve(api, SPLIT, action("dividend", "2", symbol="BBB"))
    path = f"/api/portfolios/{before['id']}"
    assert ada.get(path).json()["cash"] == "400.00"
    proposal = ada.proposal(before["id"], policy="monthly", as_of="2026-10-05")
    assert proposal["seen"]["holdings"] == {"BBB": "100", "SPL": "12"}
    assert Decimal(proposal["seen"]["cash_flow"]) == 200
    orders = {one["symbol"]: one for one in proposal["orders"]}
    assert (orders["SPL"]["quantity"], orders["SPL"]["price"]) == ("10", "400.0")
    accepted = ada.post(f"/api/rebalance/{proposal['id']}/accept", {})
    assert accepted.json()["stage"] == "executed"
    found = ada.get(path).json()
    sold = Decimal(orders["BBB"]["quantity"])
    assert holdings(found) == {"BBB": str(100 - sold), "SPL": "88"}
    # The dividend is that of the units that were left.
    assert Decimal(found["cash"]) == Decimal(proposal["cash_after"]) + 2 * (100 - sold)


def test_pending_split_is_stated_everywhere_and_prevents_proposals(
    api: RunningApi, ada: ApiUser
) -> None:
    before = opened(api, ada, corporate_actions="confirm")
    path = f"/api/portfolios/{before['id']}"
    serve(api, SPLIT)
    (note,) = ada.get(path).json()["notes"]
    assert note.startswith("1 corporate action waits for confirmation")
    assert note in ada.get(path + "/performance").json()["notes"]
    paid = ada.post(path + "/cash-flows", json={"kind": "deposit", "amount": "10"})
    assert paid.json()["portfolio"]["notes"] == [note]
    body = {"portfolio_id": before["id"], "policy": "band"}
    refused = ada.post("/api/rebalance/predict", json=body)
    expect_problem(refused, 409)
    assert refused.json()["code"] == "action_pending"
    confirmed = {"decisions": [{"key": "SPL 2026-10-11 split"}]}
    assert ada.post(path + "/actions", json=confirmed).json()["portfolio"]["notes"] == []
    bought = ada.proposal(before["id"], policy="band")["orders"]
    assert [one["quantity"] for one in bought] == ["2"]  # with the deposit


def test_pending_dividend_is_stated_in_proposals(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada, corporate_actions="confirm")
    serve(api, action("dividend", "2"))
    notes = ada.proposal(before["id"], policy="band")["notes"]
    assert any("waits for confirmation" in note for note in notes)


def test_change_of_a_portfolio_books_its_actions(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada)
    path = f"/api/portfolios/{before['id']}"
    tag = ada.get(path).headers["ETag"]
    serve(api, SPLIT)
    changed = ada.ask("PATCH", path, json={"name": "Renamed"}, headers={"If-Match": tag})
    assert (changed.json()["value"], changed.json()["version"]) == ("10000.00", 2)
    assert holdings(changed.json())["SPL"] == "48"
    assert ada.get(path).json() == changed.json()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": "500"}, "amount"),
        ({"amount": "0", "currency": "USD"}, "price"),
    ],
)
def test_transfer_in_kind_agrees_with_its_price(
    api: RunningApi, ada: ApiUser, fields: dict[str, str], field: str
) -> None:
    path = f"/api/portfolios/{opened(api, ada)['id']}/cash-flows"
    body = {"kind": "deposit", "symbol": "LSE", "quantity": "10"}
    expect_problem(ada.post(path, json=body | fields), 422, field)


def test_etag_changes_with_a_corrected_exchange_rate(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada, holdings={"EUX": "10"})
    path = f"/api/portfolios/{before['id']}"
    tag = ada.get(path).headers["ETag"]
    serve(api)
    assert ada.get(path, headers={"If-None-Match": tag}).status_code == 304
    closes = {"SPL": [400.0] * 20, "BBB": [50.0] * 20, "EUX": [20.0] * 20}
    rates = {"EURUSD": [1.25] * 19 + [1.5]}
    api.market.serve(quoted_prices(closes | rates, start=FIRST, terms=TERMS))
    changed = ada.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["value"]) == (200, "500.00")


def test_void_of_a_proposals_trade_voids_its_conversion(api: RunningApi, ada: ApiUser) -> None:
    serve(api)
    body = {"targets": {"EUX": 0.5, "LSE": 0.2}, "cash": "1000", "on": str(FIRST)}
    id = ada.portfolio(**body)["id"]
    proposal = ada.proposal(id, policy="band")
    ada.post(f"/api/rebalance/{proposal['id']}/accept")
    path = f"/api/portfolios/{id}/transactions"
    bought = [one for one in ada.get(path).json()["items"] if one["kind"] == "buy"]
    assert sorted(one["currency"] for one in bought) == ["EUR", "GBP"]
    for one in bought:
        void = ada.post(f"{path}/{one['id']}/void").json()
    assert void["portfolio"]["cash_by_currency"] == {"USD": "1000.00"}
    assert void["portfolio"]["holdings"] == {}


def test_delisted_asset_keeps_its_last_price_with_a_note(api: RunningApi, ada: ApiUser) -> None:
    before = opened(api, ada)
    gone = CorporateAction("SPL", EX_DAY, ActionKind.DELISTING)
    closes = {"SPL": [400.0] * 10 + [None] * 10, "BBB": [50.0] * 20}
    api.market.serve(quoted_prices(closes, start=FIRST, actions=(gone,), terms=TERMS))
    found = ada.get(f"/api/portfolios/{before['id']}").json()
    assert (found["value"], found["holdings"]["SPL"]["stale"]) == ("10000.00", True)
    assert any("it is delisted since 2026-10-11" in note for note in found["notes"])


def test_jump_that_may_be_a_split_is_stated_until_it_is_recorded(
    api: RunningApi, ada: ApiUser
) -> None:
    before = opened(api, ada)
    closes = {"SPL": [400.0] * 10 + [100.0] * 10, "BBB": [50.0] * 20}
    api.market.serve(quoted_prices(closes, start=FIRST, terms=TERMS))
    path = f"/api/portfolios/{before['id']}"
    (note,) = ada.get(path).json()["notes"]
    assert note == (
        "SPL fell from 400.0 to 100.0 on 2026-10-11, a factor near 4: a split may not be adjusted; "
        "if it was a split, record it."
    )
    split = {"kind": "split", "symbol": "SPL", "on": str(EX_DAY), "ratio": "4"}
    recorded = ada.post(path + "/actions", json={"record": [split]}).json()["portfolio"]
    assert (recorded["value"], recorded["notes"]) == ("10000.00", [])
