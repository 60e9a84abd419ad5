"""PATCH changes the fields that it names; PUT accepts what GET returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest

from rebalancer.entrypoints.schemas.revision import merge_patch
from tests.entrypoints.http.conftest import WITHOUT_LIMITS, ApiUser, RunningApi, expect_problem

WISHES = {"min_trade": "40", "max_turnover": 0.6, "do_not_sell": ["F"], "whole_shares": False}


@pytest.fixture
def opened(ada: ApiUser) -> dict[str, Any]:
    return ada.portfolio(
        holdings={"C": "3"},
        targets={"C": 0.3, "F": 0.2},
        risk_profile="growth",
        preferences=WISHES,
    )


def patched(ada: ApiUser, portfolio: dict[str, Any], body: Any, **headers: str) -> httpx.Response:
    path = f"/api/portfolios/{portfolio['id']}"
    return ada.ask("PATCH", path, json=body, headers={"If-Match": "*"} | headers)


def test_rename_keeps_everything_else(ada: ApiUser, opened: dict[str, Any]) -> None:
    for kind in ("application/json", "application/merge-patch+json"):
        renamed = patched(ada, opened, {"name": "Nest egg"}, **{"Content-Type": kind})
        assert renamed.status_code == 200, renamed.text
    found = ada.get(f"/api/portfolios/{opened['id']}").json()
    assert found == renamed.json()
    changed = {name for name in found if found[name] != opened[name]}
    assert changed == {"name", "version"}
    assert found["name"] == "Nest egg"
    assert renamed.headers["etag"].startswith('"3.')


def test_patch_merges_nested_fields(ada: ApiUser, opened: dict[str, Any]) -> None:
    body = {
        "targets": {"F": None, "G": 0.1},
        "preferences": {"min_trade": None, "band": 0.07, "do_not_sell": ["C"]},
        "risk_profile": None,
    }
    changed = patched(ada, opened, body).json()
    assert changed["targets"] == {"C": 0.3, "G": 0.1}
    assert changed["risk_profile"] is None
    wanted = {"min_trade": "0", "band": 0.07, "do_not_sell": ["C"], "max_turnover": 0.6}
    assert changed["preferences"] == opened["preferences"] | wanted
    assert patched(ada, opened, {"preferences": None}).json()["preferences"]["whole_shares"]


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_invalid_patch_is_refused(ada: ApiUser, opened: dict[str, Any]) -> None:
    path = f"/api/portfolios/{opened['id']}"
    before = ada.get(path).json()
    for body, status, fields in (
        ({"name": None}, 400, ["name"]),
        ({"colour": "red", "targets": {"C": 2}}, 400, ["colour", "targets.C"]),
        ({"preferences": {"band": 3, "x": 1}}, 400, ["preferences.x", "preferences.band"]),
        ({"targets": {"C": 0.9}}, 422, ["targets"]),
        ({"targets": {"XYZ": 0.1}}, 422, ["targets.XYZ"]),
        ({"currency": "EUR"}, 422, ["currency"]),
        ({"targets": None}, 400, ["targets"]),
        ({"cash": "5"}, 422, ["cash"]),
    ):
        expect_problem(patched(ada, opened, body), status, *fields)
    kind = {"Content-Type": "application/json-patch+json"}
    expect_problem(patched(ada, opened, [{"op": "remove", "path": "/targets"}], **kind), 415)
    assert ada.get(path).json() == before


def test_put_accepts_what_get_returned(ada: ApiUser, opened: dict[str, Any]) -> None:
    path = f"/api/portfolios/{opened['id']}"
    got = ada.get(path)
    sent = got.json() | {"name": "Other", "targets": {"C": 0.25, "F": 0.25}}
    done = ada.put(path, sent, headers={"If-Match": got.headers["etag"]})
    assert done.status_code == 200, done.text
    assert done.json() == sent | {"version": 2}


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_read_only_fields_cannot_be_changed(ada: ApiUser, opened: dict[str, Any]) -> None:
    path = f"/api/portfolios/{opened['id']}"
    for name, value in (
        ("id", "1b4e28ba-2fa1-41d2-883f-0016d3cca427"),
        ("cash", "9999.99"),
        ("uninvested", 5),
        ("holdings", {"C": {"quantity": "4"}}),
        ("holdings", {}),
    ):
        for method in ("PUT", "PATCH"):
            answer = ada.ask(method, path, json=opened | {name: value}, headers={"If-Match": "*"})
            assert "read-only" in expect_problem(answer, 422, name)
    # These follow from prices and time, and may be of another moment.
    moved = opened | {"as_of": "2022-01-03", "value": "1", "version": 9, "changed": "x"}
    assert ada.put(path, moved, headers={"If-Match": "*"}).status_code == 200


def test_currency_stays_unless_another_is_named(ada: ApiUser, opened: dict[str, Any]) -> None:
    path, body = f"/api/portfolios/{opened['id']}", {"name": "N", "targets": {"C": 0.4}}
    assert opened["currency"] == "USD"
    assert ada.put(path, body, headers={"If-Match": "*"}).json()["currency"] == "USD"
    refused = ada.put(path, body | {"currency": "CHF"}, headers={"If-Match": "*"})
    expect_problem(refused, 422, "currency")


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "foo"}, "bar", "bar"),
    ],
)
def test_merge_patch_follows_the_standard(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_currency_defaults_to_that_of_the_prices(start_api: Callable[..., RunningApi]) -> None:
    user = start_api(settings=attrs.evolve(WITHOUT_LIMITS, currency="CHF")).register()
    body = {"name": "Franken", "targets": {"C": 0.4}, "cash": "500"}
    opened = user.post("/api/portfolios", body)
    assert (opened.status_code, opened.json()["currency"]) == (201, "CHF")
    revised = patched(user, opened.json(), {"name": "Other"})
    assert (revised.status_code, revised.json()["currency"]) == (200, "CHF")
    expect_problem(user.post("/api/portfolios", body | {"currency": "USD"}), 422, "currency")


@pytest.mark.parametrize("store", ["memory"], indirect=True)
def test_performance_has_the_digits_of_the_currency(start_api: Callable[..., RunningApi]) -> None:
    user = start_api(settings=attrs.evolve(WITHOUT_LIMITS, currency="JPY")).register()
    held = {"C": "3.5", "D": "0.3"}
    opened = user.portfolio(cash="500", holdings=held, on="2022-12-01")
    found = user.get(f"/api/portfolios/{opened['id']}/performance").json()
    amounts = [found["gain"], found["contributed"], *found["contributions"]]
    for line in ("portfolio", "no_rebalancing", "benchmark"):
        amounts += [found[line]["final_value"], *found[line]["values"]]
    assert all(amount == int(amount) for amount in amounts)
