"""Requests at the same time, over a real database: no update is lost, nothing happens twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.entrypoints.http.conftest import ApiUser, RunningApi, in_parallel
from tests.entrypoints.http.test_flow import cash_of, ledger

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)


@pytest.mark.parametrize("with_keys", [False, True])
def test_proposal_is_executed_once(ada: ApiUser, with_keys: bool) -> None:
    portfolio = ada.portfolio()["id"]
    proposal = ada.proposal(portfolio)
    path = f"/api/rebalance/{proposal['id']}/accept"

    def accept(number: int) -> object:
        headers = {"Idempotency-Key": f"key {number}"} if with_keys else {}
        return ada.post(path, headers=headers)

    answers = in_parallel(20, accept)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    entries = ledger(ada, portfolio)
    assert len(entries) == 1 + len(proposal["orders"])
    portfolio_now = ada.get(f"/api/portfolios/{portfolio}").json()
    assert Decimal(portfolio_now["cash"]) == cash_of(entries) == Decimal(proposal["cash_after"])
    assert portfolio_now["version"] == 2


def test_concurrent_decisions_on_a_proposal_succeed_once(ada: ApiUser) -> None:
    proposal = ada.proposal(ada.portfolio()["id"])["id"]
    verbs = ("accept", "reject")
    answers = in_parallel(10, lambda n: ada.post(f"/api/rebalance/{proposal}/{verbs[n % 2]}"))
    (won,) = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 409}
    assert ada.get(f"/api/rebalance/{proposal}").json() == won.json()


def test_concurrent_deposits_are_all_recorded(ada: ApiUser) -> None:
    portfolio = ada.portfolio(cash="0")["id"]
    path = f"/api/portfolios/{portfolio}/cash-flows"
    answers = in_parallel(
        30, lambda n: ada.post(path, {"kind": "deposit", "amount": f"{n + 1}.01"})
    )
    assert {answer.status_code for answer in answers} == {201}
    entries = ledger(ada, portfolio)
    assert len(entries) == 30
    assert cash_of(entries) == sum(Decimal(f"{n + 1}.01") for n in range(30))
    portfolio_now = ada.get(f"/api/portfolios/{portfolio}").json()
    assert (Decimal(portfolio_now["cash"]), portfolio_now["version"]) == (cash_of(entries), 31)


def test_concurrent_withdrawals_do_not_overdraw(ada: ApiUser) -> None:
    portfolio = ada.portfolio(cash="100")["id"]
    path = f"/api/portfolios/{portfolio}/cash-flows"
    answers = in_parallel(12, lambda _: ada.post(path, {"kind": "withdrawal", "amount": "30"}))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 9
    assert ada.get(f"/api/portfolios/{portfolio}").json()["cash"] == "10.00"


def test_concurrent_updates_of_a_version_succeed_once(ada: ApiUser) -> None:
    opened = ada.portfolio()
    path, tag = f"/api/portfolios/{opened['id']}", {"If-Match": '"1"'}

    def revise(number: int) -> object:
        return ada.put(path, {"name": f"Name {number}", "targets": {"C": 1}}, headers=tag)

    answers = in_parallel(10, revise)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert ada.get(path).json() == won


def test_concurrent_registrations_of_one_email_create_one_user(api: RunningApi) -> None:
    body = {"email": "eve@example.org", "password": "long enough for all"}
    answers = in_parallel(10, lambda _: api.client.post("/api/users/register", json=body))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


def test_reads_are_consistent_during_writes(ada: ApiUser) -> None:
    portfolio = ada.portfolio(cash="0")["id"]
    path = f"/api/portfolios/{portfolio}"

    def ask(number: int) -> object:
        if number % 2:
            return ada.post(f"{path}/cash-flows", {"kind": "deposit", "amount": "1"})
        return ada.get(path)

    for answer in in_parallel(24, ask):
        assert answer.is_success, answer.text
        seen = answer.json().get("portfolio", answer.json())
        assert Decimal(seen["cash"]) == seen["version"] - 1


def test_concurrent_users_get_their_own_proposals(api: RunningApi) -> None:
    people = [api.register(f"{name}@example.org") for name in ("ada", "bob", "eve")]
    mine = [person.portfolio(cash=f"{n + 1}000")["id"] for n, person in enumerate(people)]

    def ask(number: int) -> object:
        person, theirs = people[number % 3], mine[(number // 3) % 3]
        policy = ("band", "monthly", "nonsense")[number % 2 if number < 24 else 2]
        return person.post("/api/rebalance/predict", {"portfolio_id": theirs, "policy": policy})

    for number, answer in enumerate(in_parallel(27, ask)):
        if number >= 24:
            assert answer.status_code in (404, 422)
        elif number % 3 == (number // 3) % 3:
            assert answer.status_code == 201, answer.text
            assert answer.json()["portfolio_id"] == mine[number % 3]
            assert answer.json()["policy"] == ("band", "monthly")[number % 2]
            assert answer.json()["seen"]["cash_flow"] == f"{number % 3 + 1}000.00"
        else:
            assert answer.status_code == 404
