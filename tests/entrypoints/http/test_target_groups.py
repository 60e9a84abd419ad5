"""Targets by groups over HTTP: create, read, change, propose."""

from __future__ import annotations

from typing import Any

import pytest

from tests.entrypoints.http.conftest import ApiUser, expect_problem

GROUPS: dict[str, Any] = {
    "groups": [
        {"name": "Shares", "weight": 0.6, "assets": {"C": 0.5, "F": 0.5}, "band": 0.05},
        {"name": "Gold", "weight": 0.3, "assets": {"G": 1}, "max_weight": 0.4},
    ],
    "assets": {},
}


@pytest.fixture
def opened(ada: ApiUser) -> dict[str, Any]:
    made = ada.post(
        "/api/portfolios", {"name": "Grouped", "cash": "10000", "target_groups": GROUPS}
    )
    assert made.status_code == 201, made.text
    return made.json()


def test_groups_are_returned_with_the_targets_that_follow(
    ada: ApiUser, opened: dict[str, Any]
) -> None:
    assert opened["targets"] == pytest.approx({"C": 0.3, "F": 0.3, "G": 0.3})
    shares, gold = opened["target_groups"]["groups"]
    assert shares == {
        "name": "Shares",
        "weight": 0.6,
        "groups": [],
        "assets": {"C": 0.5, "F": 0.5},
        "asset_class": None,
        "inside": "target",
        "band": 0.05,
        "min_weight": None,
        "max_weight": None,
    }
    assert gold["max_weight"] == 0.4
    now = ada.get(f"/api/portfolios/{opened['id']}/targets").json()
    assert [(one["name"], one["weight"], one["drift_points"]) for one in now["groups"]] == [
        ("Shares", 0.0, pytest.approx(-60)),
        ("Gold", 0.0, pytest.approx(-30)),
    ]
    assert now["targets"] == pytest.approx(opened["targets"])


def test_proposal_has_groups(ada: ApiUser, opened: dict[str, Any]) -> None:
    proposal = ada.proposal(opened["id"])
    shares = proposal["groups"][0]
    assert (shares["path"], shares["state"]) == (["Shares"], "under_target")
    assert shares["weight_after"] == pytest.approx(0.6, abs=0.01)
    assert all("points under target" in one["reason"] for one in proposal["orders"])
    assert ada.get(f"/api/rebalance/{proposal['id']}").json()["groups"] == proposal["groups"]


def test_client_that_does_not_know_groups_keeps_them(ada: ApiUser, opened: dict[str, Any]) -> None:
    path, any_version = f"/api/portfolios/{opened['id']}", {"If-Match": "*"}
    repeated = {"name": "Renamed", "targets": opened["targets"]}
    kept = ada.put(path, repeated, headers=any_version).json()
    assert (kept["name"], kept["target_groups"]) == ("Renamed", opened["target_groups"])
    whole = ada.put(path, kept | {"name": "Whole"}, headers=any_version).json()
    assert whole["target_groups"] == opened["target_groups"]
    flat = ada.put(path, repeated | {"targets": {"C": 1}}, headers=any_version).json()
    assert (flat["targets"], flat["target_groups"]) == ({"C": 1.0}, None)


def test_patch_replaces_all_targets_by_groups_and_back(
    ada: ApiUser, opened: dict[str, Any]
) -> None:
    path, any_version = f"/api/portfolios/{opened['id']}", {"If-Match": "*"}
    flat = ada.ask("PATCH", path, json={"target_groups": None}, headers=any_version).json()
    assert (flat["targets"], flat["target_groups"]) == (opened["targets"], None)
    groups = {"groups": [{"name": "All", "weight": 1, "assets": {"C": 1}}]}
    split = {"C": {"equity": 0.5, "bond": 0.5}}
    back = ada.ask(
        "PATCH",
        path,
        json={"target_groups": groups, "look_through": split},
        headers=any_version,
    )
    assert back.json()["targets"] == {"C": 1.0}
    assert back.json()["look_through"] == split
    named = ada.ask("PATCH", path, json={"name": "Other"}, headers=any_version).json()
    assert (named["targets"], named["look_through"]) == ({"C": 1.0}, split)


def test_faults_name_the_place_in_the_tree(ada: ApiUser, opened: dict[str, Any]) -> None:
    body = {"name": "X", "cash": "1", "targets": {"C": 1}, "target_groups": GROUPS}
    assert "leave out one" in expect_problem(ada.post("/api/portfolios", body), 422, "targets")
    empty = {"groups": [{"name": "Bonds", "weight": 0.4, "asset_class": "bond"}]}
    detail = expect_problem(
        ada.post("/api/portfolios", {"name": "X", "target_groups": empty}),
        422,
        "target_groups.groups[0].inside",
    )
    assert "lists no assets" in detail
    empty["groups"][0]["inside"] = "current"
    detail = expect_problem(
        ada.post("/api/portfolios", {"name": "X", "cash": "1", "target_groups": empty}),
        422,
        "target_groups.groups[0]",
    )
    assert "holds none of the class bond" in detail
    missing = ada.post("/api/portfolios", {"name": "X", "cash": "1"})
    expect_problem(missing, 400, "targets")


def test_other_groups_are_previewed_and_not_stored(ada: ApiUser, opened: dict[str, Any]) -> None:
    path = f"/api/portfolios/{opened['id']}/targets"
    groups = {"groups": [{"name": "All", "weight": 0.8, "assets": {"C": 0.25, "G": 0.75}}]}
    shown = ada.post(path, {"target_groups": groups})
    assert shown.status_code == 200, shown.text
    assert shown.json()["targets"] == pytest.approx({"C": 0.2, "G": 0.6})
    assert ada.get(path).json()["groups"][0]["name"] == "Shares"
    groups["groups"][0]["assets"] = {"NONE": 1}
    expect_problem(ada.post(path, {"target_groups": groups}), 422, "target_groups")
