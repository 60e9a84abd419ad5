"""Planned flows over HTTP: list, plan, change, confirm, skip, and what waits at home."""

from __future__ import annotations

import pytest

from tests.entrypoints.http.conftest import DUE, PLANNED, UNKNOWN_ID, ApiUser, RunningApi


@pytest.fixture
def portfolio(ada: ApiUser) -> str:
    return str(ada.portfolio()["id"])


@pytest.fixture
def path(portfolio: str) -> str:
    return f"/api/portfolios/{portfolio}/flows"


def to_do(ada: ApiUser) -> list[dict[str, object]]:
    tasks = ada.get("/api/home").json()["to_do"]
    return [one for one in tasks if one["task"] == "flow_due"]


def test_due_flow_waits_until_it_is_confirmed(ada: ApiUser, portfolio: str, path: str) -> None:
    version = ada.get(f"/api/portfolios/{portfolio}").json()["version"]
    planned = ada.planned(portfolio, note="Salary")
    assert (planned["first"], planned["currency"], planned["day"]) == ("2026-11-02", "USD", 2)
    listed = ada.get(path, params={"days": 31}).json()
    assert [one["scheduled"] for one in listed["due"]] == ["2026-11-02"]
    assert [one["due"] for one in listed["coming"]] == ["2026-12-02"]
    (task,) = to_do(ada)
    assert task["flow"] == {
        "flow_id": planned["id"],
        "kind": "deposit",
        "amount": "50.00",
        "currency": "USD",
        "scheduled": "2026-11-02",
        "due": "2026-11-02",
        "note": "Salary",
    }
    done = ada.post(f"{path}/{planned['id']}/confirm", DUE)
    assert done.status_code == 200, done.text
    assert done.json()["portfolio"]["uninvested"] == "10050.00"
    assert done.json()["entry"]["note"] == "Salary"
    assert done.json()["portfolio"]["version"] == version + 2
    again = ada.post(f"{path}/{planned['id']}/confirm", DUE)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["portfolio"]["version"] == version + 2
    assert to_do(ada) == []
    (decision,) = ada.get(path).json()["decided"]
    assert decision["entry_id"] == done.json()["entry"]["id"]


def test_skipped_flow_books_nothing(ada: ApiUser, portfolio: str, path: str) -> None:
    flow = ada.planned(portfolio)["id"]
    done = ada.post(f"{path}/{flow}/skip", DUE)
    assert (done.status_code, done.json()["decision"]["outcome"]) == (200, "skipped")
    assert len(ada.get(f"/api/portfolios/{portfolio}/transactions").json()["items"]) == 1
    assert to_do(ada) == []


def test_imported_payment_is_named_by_its_entry(ada: ApiUser, portfolio: str, path: str) -> None:
    flow = ada.planned(portfolio, amount="1")["id"]
    paid = ada.post(f"/api/portfolios/{portfolio}/cash-flows", {"kind": "deposit", "amount": "1"})
    assert paid.status_code == 201
    refused = ada.post(f"{path}/{flow}/confirm", DUE | {"entry_id": str(UNKNOWN_ID)})
    assert refused.status_code == 404
    done = ada.post(f"{path}/{flow}/confirm", DUE | {"entry_id": paid.json()["entry"]["id"]})
    assert done.json()["decision"]["outcome"] == "matched"


def test_flow_is_changed_and_removed(ada: ApiUser, portfolio: str, path: str) -> None:
    flow = ada.planned(portfolio)["id"]
    tag = ada.get(f"/api/portfolios/{portfolio}").headers["ETag"]
    body = PLANNED | {"amount": "75", "every": "quarter"}
    changed = ada.put(f"{path}/{flow}", body, headers={"If-Match": tag})
    assert (changed.json()["amount"], changed.json()["every"]) == ("75.00", "quarter")
    stale = ada.put(f"{path}/{flow}", body, headers={"If-Match": tag})
    assert stale.status_code == 412
    assert ada.delete(f"{path}/{flow}").status_code == 204
    assert ada.delete(f"{path}/{flow}").status_code == 404
    assert ada.put(f"{path}/{flow}", body).status_code == 404
    assert ada.get(path).json()["flows"] == []


def test_terms_keep_what_is_not_sent(ada: ApiUser, path: str) -> None:
    first = ada.ask("PATCH", path, json={"horizon": 30})
    assert first.json() == {"horizon": 30, "automatic": False}
    second = ada.ask("PATCH", path, json={"automatic": True})
    assert second.json() == {"horizon": 30, "automatic": True}
    assert ada.ask("PATCH", path, json={"horizon": 367}).status_code == 400


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"amount": "5.001"}, "amount"),
        ({"every": "day"}, "every"),
        ({"every": "week", "day": 9}, "day"),
        ({"last": "2026-01-01"}, "last"),
        ({"currency": "XXX"}, "currency"),
    ],
)
def test_invalid_flow_names_its_field(
    ada: ApiUser, path: str, fields: dict[str, object], field: str
) -> None:
    refused = ada.post(path, PLANNED | fields)
    assert refused.status_code in (400, 422), refused.text
    assert field in refused.text


def test_proposal_keeps_cash_for_a_withdrawal(ada: ApiUser, portfolio: str) -> None:
    ada.planned(portfolio, kind="withdrawal", amount="4000", first="2026-11-10", day=10)
    made = ada.proposal(portfolio)
    assert float(made["cash_after"]) >= 4000
    assert "4000.00 USD are kept for the withdrawal of 2026-11-10." in made["notes"]


@pytest.mark.parametrize("store", ["memory"])
def test_flows_of_others_are_not_found(api: RunningApi, ada: ApiUser, path: str) -> None:
    alan = api.register("alan@example.org")
    assert alan.get(path).status_code == 404
    assert alan.post(path, PLANNED).status_code == 404
