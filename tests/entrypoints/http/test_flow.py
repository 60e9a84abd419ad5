"""From registration to performance, step by step."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from rebalancer.domain.portfolio.questions import load_questionnaire
from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

QUESTIONNAIRE = load_questionnaire()
BOLD = {question.id: question.answers[-1].id for question in QUESTIONNAIRE.questions}
CAREFUL = {question.id: question.answers[0].id for question in QUESTIONNAIRE.questions}


def cash_of(entries: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(entry["cash"]) for entry in entries), Decimal(0))


def ledger(person: ApiUser, portfolio: str) -> list[dict[str, Any]]:
    pages = person.pages(f"/api/portfolios/{portfolio}/transactions", "before", 200)
    return [entry for page in pages for entry in page]


def test_from_registration_to_performance(api: RunningApi) -> None:
    registered = api.client.post(
        "/api/users/register",
        json={"email": " Ada@Example.org ", "password": "a long sentence", "name": "Ada"},
    )
    assert registered.status_code == 201
    assert registered.json()["email"] == "ada@example.org"
    login = api.client.post(
        "/api/users/login", json={"email": "ADA@example.org", "password": "a long sentence"}
    )
    assert login.json()["token_type"] == "Bearer"
    assert login.json()["expires_in"] == 900
    ada = ApiUser(api.client, login.json())
    assert ada.get("/api/users/profile").json() == registered.json()

    asked = api.client.get("/api/risk/questionnaire").json()
    answers = {one["id"]: one["answers"][-1]["id"] for one in asked["questions"]}
    assessed = ada.post("/api/risk/assessment", {"answers": answers}).json()
    assert assessed["profile"]["name"] == "aggressive"
    assert ada.get("/api/users/profile").json()["assessment"] == assessed

    portfolio = ada.portfolio(holdings={"C": "10"})
    assert portfolio["risk_profile"] == "aggressive"
    assert portfolio["as_of"] == api.market.last

    proposal = ada.proposal(portfolio["id"], compare=True)
    assert proposal["stage"] == "proposed"
    assert proposal["orders"]
    assert [other["policy"] for other in proposal["others"]] == ["monthly"]
    assert ada.get(f"/api/rebalance/{proposal['id']}").json() == proposal | {"others": []}

    accepted = ada.post(f"/api/rebalance/{proposal['id']}/accept")
    assert accepted.status_code == 200
    assert accepted.json()["stage"] == "executed"
    held = ada.get(f"/api/portfolios/{portfolio['id']}").json()
    assert held["cash"] == proposal["cash_after"]
    assert held["uninvested"] == "0.00"
    assert held["last_rebalance"] == api.market.last
    weights = {symbol: position["weight"] for symbol, position in held["holdings"].items()}
    assert weights == pytest.approx(proposal["weights_after"], abs=1e-3)  # of value before costs

    for _ in range(3):
        api.market.reveal_day()
    performance = ada.get(f"/api/portfolios/{portfolio['id']}/performance").json()
    assert performance["last"] == api.market.last
    assert len(performance["dates"]) == 4 == len(performance["portfolio"]["values"])
    assert performance["costs"] == pytest.approx(float(proposal["cost"]))
    now = ada.get(f"/api/portfolios/{portfolio['id']}").json()
    assert performance["portfolio"]["final_value"] == pytest.approx(float(now["value"]), abs=0.01)
    against = f"/api/portfolios/{portfolio['id']}/performance?benchmark=C"
    assert ada.get(against).json()["benchmark"]["name"].startswith("C")
    expect_problem(ada.get(f"/api/portfolios/{portfolio['id']}/performance?benchmark=nil"), 422)

    entries = ledger(ada, portfolio["id"])
    assert [entry["kind"] for entry in entries][-2:] == ["deposit", "deposit"]
    assert {entry["proposal_id"] for entry in entries} == {None, proposal["id"]}
    in_kind = Decimal(
        next(
            entry["amount"]
            for entry in entries
            if entry["symbol"] == "C" and entry["kind"] == "deposit"
        )
    )
    assert in_kind > 0
    assert cash_of(entries) == Decimal(now["cash"])


def test_new_portfolio_takes_the_assessed_profile_by_default(
    ada: ApiUser,
) -> None:
    assert ada.portfolio()["risk_profile"] is None
    assessed = ada.post("/api/risk/assessment", {"answers": BOLD}).json()
    assert assessed["profile"]["name"] == "aggressive"
    assert ada.portfolio()["risk_profile"] == "aggressive"
    own = ada.portfolio(risk_profile="balanced", acknowledge_limits=True)
    assert own["risk_profile"] == "balanced"
    assert ada.portfolio(risk_profile=None)["risk_profile"] is None


def test_targets_above_limits_must_be_acknowledged(ada: ApiUser) -> None:
    ada.post("/api/risk/assessment", {"answers": CAREFUL})
    greedy = {"name": "Greedy", "targets": {"C": 0.5, "F": 0.5}, "cash": "1000"}
    assert "acknowledge_limits" in expect_problem(
        ada.post("/api/portfolios", greedy), 422, "targets"
    )
    known = ada.post("/api/portfolios", greedy | {"acknowledge_limits": True})
    assert known.status_code == 201
    path = f"/api/portfolios/{known.json()['id']}"
    mandate = {"name": "Greedy", "targets": {"C": 0.9}, "risk_profile": "conservative"}
    tag = {"If-Match": known.headers["etag"]}
    expect_problem(ada.put(path, mandate, headers=tag), 422, "targets")
    acknowledged = ada.put(path, mandate | {"acknowledge_limits": True}, headers=tag)
    assert acknowledged.status_code == 200
    proposal = ada.proposal(known.json()["id"])
    assert sum(proposal["weights_after"].values()) < 0.9


def test_incomplete_questionnaire_is_rejected(ada: ApiUser) -> None:
    some = dict(list(BOLD.items())[1:])
    expect_problem(ada.post("/api/risk/assessment", {"answers": some}), 422)
    expect_problem(ada.post("/api/risk/assessment", {"answers": BOLD | {"shoe_size": "41"}}), 422)
    first = next(iter(BOLD))
    wrong = ada.post("/api/risk/assessment", {"answers": BOLD | {first: "maybe"}})
    expect_problem(wrong, 422, f"answers.{first}")
    assert ada.get("/api/users/profile").json()["assessment"] is None


def test_worksheet_is_executed_elsewhere(ada: ApiUser) -> None:
    portfolio = ada.portfolio()
    proposal = ada.proposal(portfolio["id"])
    path = f"/api/rebalance/{proposal['id']}"
    accepted = ada.post(f"{path}/accept", {"mode": "worksheet"}).json()
    assert (accepted["stage"], accepted["executed"]) == ("accepted", None)
    assert ada.get(f"/api/portfolios/{portfolio['id']}").json()["cash"] == "10000.00"

    sheet = ada.get(f"{path}/worksheet")
    assert sheet.headers["content-type"].startswith("text/csv")
    assert "attachment" in sheet.headers["content-disposition"]
    lines = sheet.text.splitlines()
    assert any("not personal advice" in line for line in lines if line.startswith("#"))
    assert "# Stands: accepted" in lines
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [row["reason"] for row in rows] == [order["reason"] for order in proposal["orders"]]
    assert {row["currency"] for row in rows} == {"USD"}

    trades = [
        {
            "side": row["side"],
            "symbol": row["symbol"],
            "quantity": row["quantity"],
            "price": row["reference_price"],
            "cost": "1.50",
        }
        for row in rows
    ]
    body = {"trades": trades, "proposal_id": proposal["id"]}
    recorded = ada.post(f"/api/portfolios/{portfolio['id']}/transactions", body)
    assert recorded.status_code == 201, recorded.text
    assert {entry["proposal_id"] for entry in recorded.json()["entries"]} == {proposal["id"]}
    assert ada.get(path).json()["stage"] == "executed"
    again = ada.post(f"/api/portfolios/{portfolio['id']}/transactions", body)
    assert "executed" in expect_problem(again, 409)
    now = ada.get(f"/api/portfolios/{portfolio['id']}").json()
    assert Decimal(now["cash"]) == cash_of(ledger(ada, portfolio["id"]))
    assert now["last_rebalance"] == now["as_of"]


def test_worksheet_names_the_planned_cash_flow(ada: ApiUser) -> None:
    portfolio = ada.portfolio()
    asked = {"portfolio_id": portfolio["id"], "cash_flow": "250.50"}
    proposal = ada.post("/api/rebalance/predict", asked).json()
    sheet = ada.get(f"/api/rebalance/{proposal['id']}/worksheet").text.splitlines()
    assert "# Includes a deposit of 250.50 USD; record it as well" in sheet
    assert len(list(csv.reader(line for line in sheet if not line.startswith("#")))) > 1


def test_trades_without_proposal_are_recorded(ada: ApiUser) -> None:
    mine = ada.portfolio()["id"]
    path = f"/api/portfolios/{mine}/transactions"
    buy = {"side": "buy", "symbol": "C", "quantity": "3", "price": "8.10", "note": "on a whim"}
    done = ada.post(path, {"trades": [buy]}).json()
    assert done["portfolio"]["cash"] == "9975.70"
    assert done["entries"][0]["note"] == "on a whim"
    too_many = {**buy, "side": "sell", "quantity": "4"}
    expect_problem(ada.post(path, {"trades": [buy, too_many, too_many]}), 409)
    assert len(ledger(ada, mine)) == 2  # all or none
    other = ada.proposal(ada.portfolio(name="Other")["id"])
    expect_problem(
        ada.post(path, {"trades": [buy], "proposal_id": other["id"]}), 422, "proposal_id"
    )
    unknown = ada.post(path, {"trades": [buy, {**buy, "symbol": "NIL"}]})
    expect_problem(unknown, 422, "trades[1].symbol")


def test_proposal_is_rejected_once(ada: ApiUser) -> None:
    proposal = ada.proposal(ada.portfolio()["id"])
    path = f"/api/rebalance/{proposal['id']}"
    rejected = ada.post(f"{path}/reject", {"remark": "not now"}).json()
    assert (rejected["stage"], rejected["remark"]) == ("rejected", "not now")
    assert "rejected" in expect_problem(ada.post(f"{path}/reject"), 409)
    assert "rejected" in expect_problem(ada.post(f"{path}/accept"), 409)


def test_decisions_without_body_are_accepted(ada: ApiUser) -> None:
    first, second = (ada.proposal(ada.portfolio()["id"]) for _ in range(2))
    empty = ada.post(f"/api/rebalance/{first['id']}/accept", content=b"")
    assert empty.json()["stage"] == "executed"
    assert ada.post(f"/api/rebalance/{second['id']}/reject", {}).json()["stage"] == "rejected"


def test_proposal_expires_after_a_day(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    late, later = ada.proposal(portfolio), ada.proposal(portfolio)
    api.time.advance(hours=23, minutes=59)
    ada = api.log_in()
    assert ada.get(f"/api/rebalance/{late['id']}").json()["stage"] == "proposed"
    assert ada.post(f"/api/rebalance/{late['id']}/reject").status_code == 200
    api.time.advance(minutes=1)
    assert ada.get(f"/api/rebalance/{later['id']}").json()["stage"] == "expired"
    assert "expired" in expect_problem(ada.post(f"/api/rebalance/{later['id']}/accept"), 409)
    assert "expired" in expect_problem(ada.post(f"/api/rebalance/{later['id']}/reject"), 409)


def test_proposal_is_stale_after_a_change_of_the_portfolio(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    proposal = ada.proposal(portfolio)
    deposit = {"kind": "deposit", "amount": "1"}
    assert ada.post(f"/api/portfolios/{portfolio}/cash-flows", deposit).status_code == 201
    stale = ada.get(f"/api/rebalance/{proposal['id']}").json()
    assert stale["stage"] == "proposed"
    assert "the portfolio has changed" in stale["stale"]
    refused = expect_problem(ada.post(f"/api/rebalance/{proposal['id']}/accept"), 409)
    assert "the portfolio has changed" in refused


def test_proposal_is_stale_after_a_new_close(api: RunningApi, ada: ApiUser) -> None:
    proposal = ada.proposal(ada.portfolio()["id"])
    api.market.reveal_day()
    assert api.market.last in ada.get(f"/api/rebalance/{proposal['id']}").json()["stale"]
    assert "newer closes" in expect_problem(
        ada.post(f"/api/rebalance/{proposal['id']}/accept"), 409
    )


def test_proposal_without_orders_cannot_be_accepted(ada: ApiUser) -> None:
    portfolio = ada.portfolio(targets={}, cash="100")
    proposal = ada.proposal(portfolio["id"])
    assert (proposal["stage"], proposal["orders"]) == ("nothing_to_do", [])
    assert "nothing" in expect_problem(ada.post(f"/api/rebalance/{proposal['id']}/accept"), 409)


@pytest.mark.parametrize("flow", ["2500.01", "-2500.01"])
def test_planned_cash_flow_is_recorded_on_acceptance(ada: ApiUser, flow: str) -> None:
    portfolio = ada.portfolio(holdings={"C": "100"})["id"]
    proposal = ada.proposal(portfolio, cash_flow=flow)
    assert proposal["seen"]["planned"] == flow
    before = ada.get(f"/api/portfolios/{portfolio}").json()
    assert before["cash"] == "10000.00"
    ada.post(f"/api/rebalance/{proposal['id']}/accept")
    after = ada.get(f"/api/portfolios/{portfolio}").json()
    assert after["cash"] == proposal["cash_after"]
    entries = ledger(ada, portfolio)
    assert cash_of(entries) == Decimal(after["cash"])
    planned = [entry for entry in entries if entry["cash"] == flow]
    assert [entry["proposal_id"] for entry in planned] == [proposal["id"]]


def test_planned_cash_flow_must_be_an_amount(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    for flow in ("0.001", "-0.005"):
        asked = ada.post("/api/rebalance/predict", {"portfolio_id": portfolio, "cash_flow": flow})
        expect_problem(asked, 422, "cash_flow")
    too_much = {"portfolio_id": portfolio, "cash_flow": "-10000.01"}
    expect_problem(ada.post("/api/rebalance/predict", too_much), 422)


def test_past_proposal_is_executed_on_paper(api: RunningApi, ada: ApiUser) -> None:
    first, then = api.market.day(60), api.market.day(30)
    portfolio = ada.portfolio(on=first)["id"]
    past = ada.proposal(portfolio, as_of=first)
    assert past["as_of"] == first
    assert any("can be executed on paper only" in note for note in past["notes"])
    assert ada.post(f"/api/rebalance/{past['id']}/accept").json()["stage"] == "executed"
    assert {entry["on"] for entry in ledger(ada, portfolio)} == {first}
    assert ada.proposal(portfolio, as_of=then)["as_of"] == then
    before = {"portfolio_id": portfolio, "as_of": api.market.day(90)}
    expect_problem(ada.post("/api/rebalance/predict", before), 422, "as_of")
    ages_ago = {"portfolio_id": portfolio, "as_of": "1999-01-04"}
    assert ada.post("/api/rebalance/predict", ages_ago).status_code == 422
    performance = ada.get(f"/api/portfolios/{portfolio}/performance").json()
    assert (performance["first"], len(performance["dates"])) == (first, 61)


def test_deposit_is_invested_regardless_of_the_schedule(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    first = ada.proposal(portfolio, policy="monthly")
    ada.post(f"/api/rebalance/{first['id']}/accept")
    assert ada.proposal(portfolio, policy="monthly")["stage"] == "nothing_to_do"
    deposit = ada.post(
        f"/api/portfolios/{portfolio}/cash-flows", {"kind": "deposit", "amount": "5000"}
    ).json()
    assert deposit["portfolio"]["uninvested"] == "5000.00"
    for policy in ("monthly", "band", "buy_and_hold"):
        proposal = ada.proposal(portfolio, policy=policy)
        assert {order["side"] for order in proposal["orders"]} == {"buy"}
        assert Decimal(proposal["cash_after"]) < 1000
    ada.post(f"/api/rebalance/{proposal['id']}/accept")
    assert ada.get(f"/api/portfolios/{portfolio}").json()["uninvested"] == "0.00"


def test_withdrawal_above_cash_is_rejected(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    path = f"/api/portfolios/{portfolio}/cash-flows"
    expect_problem(ada.post(path, {"kind": "withdrawal", "amount": "10000.01"}), 409)
    expect_problem(ada.post(path, {"kind": "fee", "amount": "10000.01"}), 409)
    assert ada.post(path, {"kind": "withdrawal", "amount": "10000"}).json()["portfolio"][
        "cash"
    ] in ("0.00",)
    expect_problem(
        ada.post(path, {"kind": "dividend", "amount": "1", "symbol": "NIL"}), 422, "symbol"
    )
    expect_problem(ada.post(path, {"kind": "deposit", "amount": "1", "symbol": "C"}), 422, "symbol")
    expect_problem(ada.post(path, {"kind": "deposit", "amount": "0"}), 422, "amount")
    expect_problem(ada.post(path, {"kind": "deposit", "amount": "0.001"}), 422, "amount")
    expect_problem(
        ada.post(path, {"kind": "deposit", "amount": "1", "on": "1990-01-01"}), 422, "on"
    )


def test_excess_of_a_planned_withdrawal_counts_deposits_that_wait(ada: ApiUser) -> None:
    portfolio = ada.portfolio(cash="800")["id"]
    ask = {"portfolio_id": portfolio, "policy": "monthly", "cash_flow": "-2000.50"}
    detail = expect_problem(ada.post("/api/rebalance/predict", ask), 422, "cash_flow")
    assert "exceeds the portfolio's value by 1200.50" in detail
    assert ada.proposal(portfolio, cash_flow="-800")["cash_after"] == "0.00"

    kept = ada.portfolio(cash="800", holdings={"C": "9"}, preferences={"do_not_sell": ["C"]})["id"]
    ask = {"portfolio_id": kept, "policy": "monthly", "cash_flow": "-801"}
    detail = expect_problem(ada.post("/api/rebalance/predict", ask), 422, "cash_flow")
    assert "exceeds by 1.00 what can be paid out after costs" in detail


def test_note_nets_a_planned_withdrawal_with_deposits_that_wait(ada: ApiUser) -> None:
    portfolio = ada.portfolio(cash="1000")["id"]

    def note(flow: str) -> str:
        return ada.proposal(portfolio, cash_flow=flow)["notes"][0]

    netted = "the net deposit of 600.00 (deposits of 1000.00 less a withdrawal of 400.00)"
    assert netted in note("-400")
    paid = "The withdrawal of 1000.00 is paid from deposits that are not invested."
    assert note("-1000") == paid
    assert "the deposit of 1250.50" in note("250.50")


def test_departure_from_targets_is_capped(ada: ApiUser) -> None:
    targets = {"A": 0.25, "B": 0.25, "C": 0.25, "F": 0.25}
    for most in (0.0, 0.1, 0.2):
        portfolio = ada.portfolio(
            targets=targets, cash="1000000", preferences={"max_departure": most}
        )["id"]
        made = ada.proposal(portfolio, policy="minimum_variance")
        weights = made["weights_after"]
        is_down = sum(abs(weights.get(symbol, 0.0) - 0.25) for symbol in targets) / 2
        assert is_down <= most + 0.01, made


def test_portfolio_is_updated_and_closed(ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", {"name": "One", "targets": {"C": 1}, "cash": "5"})
    path = f"/api/portfolios/{opened.json()['id']}"
    assert opened.headers["location"] == path
    body = {"name": "Two", "targets": {"F": 1}, "preferences": {"band": 0.1}}
    revised = ada.put(path, body, headers={"If-Match": opened.headers["etag"]})
    assert revised.json()["name"] == "Two"
    assert revised.json()["preferences"]["band"] == 0.1
    assert revised.json() == ada.get(path).json()
    other = body | {"currency": "EUR"}
    assert "differs from the ledger's USD" in expect_problem(
        ada.put(path, other, headers={"If-Match": revised.headers["etag"]}), 422, "currency"
    )
    assert ada.delete(path).status_code == 204
    expect_problem(ada.get(path), 404)
    expect_problem(ada.delete(path), 404)
    assert ada.get("/api/portfolios").json()["items"] == []


def test_proposals_of_closed_portfolio_are_not_found(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    proposal = ada.proposal(portfolio)["id"]
    ada.delete(f"/api/portfolios/{portfolio}")
    expect_problem(ada.get(f"/api/rebalance/{proposal}"), 404)
    expect_problem(ada.post(f"/api/rebalance/{proposal}/accept"), 404)
    assert ada.get("/api/rebalance").json()["items"] == []


def test_empty_portfolio_has_no_performance(ada: ApiUser) -> None:
    portfolio = ada.portfolio(cash="0")["id"]
    expect_problem(ada.get(f"/api/portfolios/{portfolio}/performance"), 422)


def test_email_is_registered_once(api: RunningApi, ada: ApiUser) -> None:
    again = api.client.post(
        "/api/users/register",
        json={"email": "Ada@example.ORG", "password": "another long sentence"},
    )
    expect_problem(again, 409)
    for email, password in (
        ("nonsense", "long enough for all"),
        ("bobby@example.org", "bobby@example.org"),
    ):
        refused = api.client.post(
            "/api/users/register", json={"email": email, "password": password}
        )
        expect_problem(refused, 422, "email" if email == "nonsense" else "password")


def test_ids_of_jobs_do_not_collide(api: RunningApi, ada: ApiUser) -> None:
    assert UUID(ada.portfolio()["id"]).version == 5  # the test's own: no id is made elsewhere
