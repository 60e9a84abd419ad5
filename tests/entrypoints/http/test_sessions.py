"""`/api/users/sessions`: list and end logins."""

from __future__ import annotations

from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

PATH = "/api/users/sessions"


def test_sessions_are_listed(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=1)
    phone = api.log_in()
    items = phone.get(PATH).json()["items"]
    assert [one["current"] for one in items] == [True, False]
    assert {one["method"] for one in items} == {"password"}
    assert items[0]["created"] == items[0]["used"] > items[1]["used"]
    assert [one["current"] for one in ada.get(PATH).json()["items"]] == [False, True]
    assert api.register("eve@example.org").get(PATH).json()["items"][0]["current"]


def test_one_session_is_ended(api: RunningApi, ada: ApiUser) -> None:
    phone = api.log_in()
    id = next(one["id"] for one in phone.get(PATH).json()["items"] if not one["current"])
    assert phone.delete(f"{PATH}/{id}").status_code == 204
    expect_problem(ada.get("/api/users/profile"), 401)
    expect_problem(phone.delete(f"{PATH}/{id}"), 404)
    assert phone.get("/api/users/profile").status_code == 200


def test_other_sessions_are_ended(api: RunningApi, ada: ApiUser) -> None:
    others = [api.log_in(), api.log_in()]
    stranger = api.register("eve@example.org")
    ended = ada.delete(PATH)
    assert (ended.status_code, ended.json()) == (200, {"ended": 2})
    for one in others:
        expect_problem(one.get("/api/users/profile"), 401)
    assert ada.get("/api/users/profile").status_code == 200
    assert stranger.get("/api/users/profile").status_code == 200


def test_ending_others_needs_a_recent_proof(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=11)
    answer = ada.delete(PATH)
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
    current = ada.get(PATH).json()["items"][0]["id"]
    assert ada.delete(f"{PATH}/{current}").status_code == 204
    expect_problem(ada.get("/api/users/profile"), 401)


def test_session_of_another_user_is_not_found(api: RunningApi, ada: ApiUser) -> None:
    eve = api.register("eve@example.org")
    id = ada.get(PATH).json()["items"][0]["id"]
    expect_problem(eve.delete(f"{PATH}/{id}"), 404)
    assert ada.get("/api/users/profile").status_code == 200
