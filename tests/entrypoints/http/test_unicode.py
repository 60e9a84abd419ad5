"""Text in requests: one form of each, and nothing that cannot be seen."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import attrs
import pytest

from rebalancer.adapters.security.passwords import ArgonPasswords
from tests.entrypoints.http.conftest import ApiUser, RunningApi, checked, expect_problem

pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def sign_in(api: RunningApi, email: str, password: str) -> int:
    body = {"email": email, "password": password}
    return checked(api.client.post("/api/users/login", json=body)).status_code


def register(api: RunningApi, **body: str) -> Any:
    return checked(api.client.post("/api/users/register", json=body))


def test_names_and_notes_are_composed(ada: ApiUser) -> None:
    opened = ada.post("/api/portfolios", {"name": nfd("Älter"), "targets": {"C": 0.1}}).json()
    assert opened["name"] == "Älter"
    escaped = json.dumps({"kind": "deposit", "amount": "5", "note": nfd("für später")})
    path = f"/api/portfolios/{opened['id']}/cash-flows"
    flow = ada.post(path, content=escaped, headers={"Content-Type": "application/json"})
    assert flow.json()["entry"]["note"] == "für später"


def test_invisible_characters_are_refused(ada: ApiUser, api: RunningApi) -> None:
    body: dict[str, Any] = {"name": "Ren\u200bte", "targets": {"C\u202e": 0.1}, "cash": "x"}
    refused = ada.post("/api/portfolios", body)
    detail = expect_problem(refused, 400, "name", "targets.C\u202e", "cash")
    assert "name: character 4 is invisible: U+200B ZERO WIDTH SPACE; remove it" in detail
    valid = {"name": "Ren\u2066te", "targets": {"C": 0.1}}
    expect_problem(ada.post("/api/portfolios", valid), 422, "name")
    path = f"/api/portfolios/{ada.portfolio()['id']}"
    changed = ada.ask("PATCH", path, json={"name": "\u2800"}, headers={"If-Match": "*"})
    expect_problem(changed, 422, "name")
    hidden = {"kind": "deposit", "amount": "5", "note": "a\u00adb"}
    expect_problem(ada.post(f"{path}/cash-flows", hidden), 422, "note")
    who = {"email": "eve@example.org", "password": "long enough for all", "name": "E\u200dve"}
    expect_problem(register(api, **who), 422, "name")
    secret = who | {"name": "Eve", "password": "long\u200b enough for all"}
    expect_problem(register(api, **secret), 422, "password")


def test_user_logs_in_with_any_spelling(api: RunningApi) -> None:
    password = "l\u00e4ngliches Pa\u00dfwort"
    found = register(api, email="J\u00f6rg@B\u00fccher.example", password=password)
    assert found.json()["email"] == "j\u00f6rg@b\u00fccher.example"
    for email in ("j\u00f6rg@xn--bcher-kva.example", nfd("J\u00d6RG@B\u00dcCHER.example")):
        assert sign_in(api, email, password) == 200
        expect_problem(register(api, email=email, password="another long sentence"), 409)
    assert sign_in(api, "j\u00f6rg@b\u00fccher.example", nfd(password)) == 200
    spaced = password.replace(" ", "\u00a0")
    assert sign_in(api, "j\u00f6rg@b\u00fccher.example", spaced) == 200
    assert sign_in(api, "j\u00f6rg@b\u00fccher.example", password.upper()) == 401


def test_password_hashed_by_an_earlier_version_is_accepted(api: RunningApi) -> None:
    typed = nfd("l\u00e4ngliches Pa\u00dfwort")
    register(api, email="old@example.org", password="to be replaced some day")
    with api.work.begin() as tx:
        user = tx.users.by_email("old@example.org")
        hashed = ArgonPasswords(time_cost=1, memory_kib=64).hash(typed)
        tx.users.save(attrs.evolve(user, password=hashed, email="old@fussball.example"))
    assert sign_in(api, "old@fu\u00dfball.example", typed) == 200
    assert sign_in(api, "old@fu\u00dfball.example", "to be replaced some day") == 401
