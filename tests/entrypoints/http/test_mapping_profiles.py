"""Saved mapping profiles, sketches of tables, and imports by a saved profile."""

from __future__ import annotations

from typing import Any

import pytest

from rebalancer.application.quotas import Quotas
from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

PROFILE: dict[str, Any] = {
    "columns": {"date": "Day", "kind": "What", "amount": "Total"},
    "kinds": {"money in": "deposit"},
    "date_format": "DD.MM.YYYY",
    "decimal_mark": ",",
    "delimiter": ";",
}
TABLE = "Day;What;Total\n14.11.2022;Money in;1.000,50\n"
PATH = "/api/mapping-profiles"


def test_profile_is_saved_listed_replaced_and_deleted(api: RunningApi, ada: ApiUser) -> None:
    saved = ada.put(f"{PATH}/My bank", PROFILE)
    assert saved.status_code == 200, saved.text
    body = saved.json()
    assert (body["name"], body["profile"]["name"]) == ("My bank", "My bank")
    assert body["profile"]["kinds"] == {"money in": "deposit"}
    assert ada.get(PATH).json() == {"items": [body], "next": None}
    assert ada.get(f"{PATH}/MY  BANK").json() == body
    again = ada.put(f"{PATH}/my bank", body["profile"] | {"name": "my bank", "currency": "USD"})
    assert again.status_code == 200, again.text
    assert [one["name"] for one in ada.get(PATH).json()["items"]] == ["my bank"]
    other = api.register("bob@example.org")
    assert other.get(PATH).json()["items"] == []
    expect_problem(other.delete(f"{PATH}/My bank"), 404)
    assert ada.delete(f"{PATH}/My bank").status_code == 204
    gone = ada.delete(f"{PATH}/My bank")
    assert "no mapping profile is called 'My bank'" in expect_problem(gone, 404)


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_bad_profile_is_refused_by_field(ada: ApiUser) -> None:
    refused = ada.put(f"{PATH}/Bank", PROFILE | {"columns": {"kind": "What"}})
    expect_problem(refused, 422, "columns.date")
    expect_problem(ada.put(f"{PATH}/Bank", PROFILE | {"name": "Broker"}), 422, "name")
    expect_problem(ada.put(f"{PATH}/Bank", PROFILE | {"kinds": {"x": "y"}}), 422, "kinds.x")
    assert ada.put(f"{PATH}/Bank", PROFILE | {"made_up": 1}).status_code == 400
    assert ada.get(PATH).json()["items"] == []


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_import_names_a_saved_profile(ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio(cash='0')['id']}/imports"
    missing = ada.post(path, {"file": TABLE, "profile_name": "My bank"})
    expect_problem(missing, 404)
    ada.put(f"{PATH}/My bank", PROFILE)
    both = {"file": TABLE, "profile_name": "My bank", "profile": PROFILE}
    expect_problem(ada.post(path, both), 422, "profile_name")
    form = {"profile_name": "my bank", "dry_run": "false"}
    made = ada.ask("POST", path, files={"file": ("a.csv", TABLE.encode())}, data=form)
    assert made.status_code == 200, made.text
    assert made.json()["portfolio"]["cash"] == "1000.50"
    assert made.json()["preview"]["profile"]["name"] == "My bank"


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_table_with_unknown_titles_is_sketched(ada: ApiUser) -> None:
    text = (
        "Account 12\nWhen;Was;Betrag;Teil\n"
        "31.12.2022;Kauf;-1.250,50;A\n14.11.2022;Umbuchung;12,00;B\n"
    )
    file = {"file": ("table.csv", text.encode("latin-1"))}
    sketch = ada.ask("POST", "/api/table-sketches", files=file)
    assert sketch.status_code == 200, sketch.text
    assert sketch.json() == {
        "titles": ["When", "Was", "Betrag", "Teil"],
        "rows": [
            ["31.12.2022", "Kauf", "-1.250,50", "A"],
            ["14.11.2022", "Umbuchung", "12,00", "B"],
        ],
        "row_count": 2,
        "delimiter": ";",
        "columns": {"date": "When", "kind": "Was", "amount": "Betrag"},
        "words": {"kauf": "buy", "umbuchung": ""},
        "date_format": "DD.MM.YYYY",
        "decimal_mark": ",",
        "signs": "cash",
        "profile": {
            "version": 1,
            "name": "table.csv",
            "columns": {"date": "When", "kind": "Was", "amount": "Betrag"},
            "kinds": {"kauf": "buy"},
            "default_kind": "",
            "date_format": "",
            "decimal_mark": "",
            "delimiter": "",
            "currency": "",
            "signs": "cash",
            "amounts": "gross",
        },
    }
    for text in ("Dear customer", "1;2\n3;4\n"):
        refused = ada.post("/api/table-sketches", {"file": text})
        expect_problem(refused, 422, "file")


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_account_has_a_limited_number_of_profiles(api: RunningApi, ada: ApiUser) -> None:
    for number in range(Quotas().profiles):
        assert ada.put(f"{PATH}/P{number}", PROFILE).status_code == 200
    refused = ada.put(f"{PATH}/One more", PROFILE)
    assert "delete one first" in expect_problem(refused, 409)
    assert ada.put(f"{PATH}/P1", PROFILE).status_code == 200
