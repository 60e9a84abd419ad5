"""`/api/notices`: lists, choices, targets, and the link that ends mails."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from rebalancer.adapters.security.keys import HkdfKeys
from rebalancer.application.notices import raise_notice
from rebalancer.application.unsubscribing import write_token
from rebalancer.config import DEVELOPMENT_KEY
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.targets import MOST_TARGETS
from tests.contracts.stores import HOUR, NOW, a_notice
from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

WEBHOOK = {"kind": "webhook", "name": "Home", "address": "https://8.8.8.8/hook?token=abc"}
DEFAULTS = {
    "language": "en",
    "zone": "UTC",
    "digest": "immediately",
    "digest_at": "08:00",
    "quiet": None,
    "paused": False,
    "paused_until": None,
    "switches": [],
}
pytestmark = pytest.mark.parametrize("store", ["memory"], indirect=True)


def switch(channel: str, kind: str, on: bool) -> dict[str, Any]:
    return {"channel": channel, "kind": kind, "on": on}


def notify(api: RunningApi, user: ApiUser, *keys: str) -> list[str]:
    """Raise notices an hour apart; return their ids."""
    made = [a_notice(user.id, key, created=NOW + HOUR * at) for at, key in enumerate(keys)]
    with api.work.begin() as tx:
        for notice in made:
            raise_notice(tx, notice)
    return [str(notice.id) for notice in made]


def add_target(user: ApiUser, **others: Any) -> dict[str, Any]:
    added = user.post("/api/notices/targets", WEBHOOK | others)
    assert added.status_code == 201, added.text
    return dict(added.json())


def test_notices_are_listed_in_pages_with_their_texts(api: RunningApi, ada: ApiUser) -> None:
    ids = notify(api, ada, "a", "b", "c")
    first = ada.get("/api/notices", params={"limit": 2, "language": "de"}).json()
    assert [one["id"] for one in first["items"]] == [ids[2], ids[1]]
    assert first["unread"] == 3
    shown = first["items"][0]
    assert shown["text"] == "Sie haben automatische Entscheidungen für Pension angehalten."
    assert shown["kind"] == "kill_switch" and shown["parameters"]["portfolio_name"] == "Pension"
    rest = ada.get("/api/notices", params={"limit": 2, "before": first["next"]}).json()
    assert [one["id"] for one in rest["items"]] == [ids[0]]
    assert rest["next"] is None


def test_unread_notices_are_counted_and_unchanged_counts_cost_nothing(
    api: RunningApi, ada: ApiUser
) -> None:
    ids = notify(api, ada, "a", "b", "c")
    counted = ada.get("/api/notices/unread")
    assert counted.json() == {"unread": 3, "newest": ids[2]}
    known = {"If-None-Match": counted.headers["etag"]}
    assert ada.get("/api/notices/unread", headers=known).status_code == 304
    assert ada.post("/api/notices/read", {"through": ids[1]}).json()["unread"] == 1
    assert ada.get("/api/notices/unread", headers=known).json()["unread"] == 1
    assert ada.post("/api/notices/read", {"id": ids[2]}).json()["unread"] == 0
    assert ada.get("/api/notices", params={"unread": True}).json()["items"] == []
    notify(api, ada, "d")
    assert ada.post("/api/notices/read", {}).json()["unread"] == 0
    expect_problem(ada.post("/api/notices/read", {"id": ids[0], "through": ids[0]}), 422, "through")


def test_choices_are_replaced_and_shown_for_each_channel(api: RunningApi, ada: ApiUser) -> None:
    shown = ada.get("/api/notices/settings").json()
    channels = shown.pop("channels")
    assert shown == DEFAULTS
    assert {one["channel"] for one in channels} == {"app", "email"}
    assert switch("email", "drift", True) in channels and switch("email", "cash", False) in channels
    target = add_target(ada)["id"]
    chosen = DEFAULTS | {
        "language": "de",
        "zone": "Europe/Berlin",
        "digest": "daily",
        "quiet": {"start": "22:00", "end": "06:30"},
        "paused": True,
        "paused_until": "2023-02-01T00:00:00Z",
        "switches": [switch("email", "cash", True), switch(target, "drift", False)],
    }
    answer = ada.put("/api/notices/settings", chosen).json()
    assert answer == ada.get("/api/notices/settings").json()
    channels = answer.pop("channels")
    assert answer == chosen
    assert switch("email", "cash", True) in channels and switch(target, "drift", False) in channels
    assert ada.delete(f"/api/notices/targets/{target}").status_code == 204
    assert ada.get("/api/notices/settings").json()["switches"] == chosen["switches"][:1]
    events = [event["action"] for event in ada.get("/api/users/audit").json()["items"]]
    assert events[:3] == ["notice_target_removed", "notice_choices_changed", "notice_target_added"]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"quiet": {"start": "22:00", "end": "22:00"}}, "quiet.end"),
        ({"quiet": {"start": "24:00", "end": "22:00"}}, "quiet.start"),
        ({"digest_at": "8:00"}, "digest_at"),
        ({"paused_until": "2023-02-01T00:00:00"}, "paused_until"),
        ({"switches": [switch("fax", "drift", True)]}, "switches"),
    ],
)
def test_impossible_choices_are_refused(ada: ApiUser, sent: Any, field: str) -> None:
    refused = ada.put("/api/notices/settings", {"language": "en", "zone": "UTC"} | sent)
    assert refused.status_code in (400, 422)
    assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_target_shows_its_secret_once_and_never_its_address(ada: ApiUser) -> None:
    added = add_target(ada)
    assert added["secret"].startswith("whsec_") and len(added["secret"]) == 50
    listed = ada.get("/api/notices/targets")
    assert "token" not in listed.text and "secret" not in listed.text
    assert listed.json()["items"] == [{k: v for k, v in added.items() if k != "secret"}]
    assert added["host"] == "8.8.8.8"


@pytest.mark.parametrize(
    "others",
    [
        {"address": "https://127.0.0.1/"},
        {"address": "http://8.8.8.8/"},
        {"kind": "push", "address": "syslog://"},
        {"kind": "push", "address": "ntfys://192.168.1.1/x"},
    ],
)
def test_addresses_that_owners_may_not_reach_are_refused(ada: ApiUser, others: Any) -> None:
    refused = ada.post("/api/notices/targets", WEBHOOK | others)
    expect_problem(refused, 422, "address")
    assert refused.json()["code"] == "address_not_allowed"


def test_targets_and_tests_are_limited(api: RunningApi, ada: ApiUser) -> None:
    targets = [add_target(ada, name=f"n{n}")["id"] for n in range(MOST_TARGETS)]
    expect_problem(ada.post("/api/notices/targets", WEBHOOK), 409)
    with api.work.begin() as tx:
        target = tx.notice_targets.get(UUID(targets[0]), owner=ada.id)
        object.__setattr__(target, "address", "https://127.0.0.1/")  # it was allowed before
        tx.notice_targets.save(target)
    tests = [ada.post(f"/api/notices/targets/{targets[0]}/test") for _ in range(31)]
    assert [one.status_code for one in tests] == [200] * 30 + [429]
    assert not tests[0].json()["delivered"] and "private network" in tests[0].json()["fault"]
    listed = ada.get("/api/notices/targets").json()["items"]
    assert [one["id"] for one in listed if "private network" in one["fault"]] == [targets[0]]


def test_old_login_cannot_add_a_target(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=14)
    refused = ada.post("/api/notices/targets", WEBHOOK)
    expect_problem(refused, 403)
    assert refused.json()["code"] == "reauthentication_required"


def test_link_in_a_mail_ends_mails_without_a_login(api: RunningApi, ada: ApiUser) -> None:
    token = write_token(HkdfKeys((DEVELOPMENT_KEY,)), ada.id, NoticeKind.DRIFT)
    path = "/api/notices/unsubscribe"
    page = api.client.get(path, params={"token": token})
    assert page.status_code == 200 and '<form method="post">' in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    channels = ada.get("/api/notices/settings").json()["channels"]
    assert switch("email", "drift", True) in channels
    for body in ({"data": {"List-Unsubscribe": "One-Click"}}, {}):
        done = api.client.post(path, params={"token": token}, **body)
        assert done.status_code == 200 and "no more mails of the kind “drift”" in done.text
    channels = ada.get("/api/notices/settings").json()["channels"]
    assert switch("email", "drift", False) in channels
    assert switch("email", "drawdown", True) in channels
    expect_problem(api.client.post(path, params={"token": token[:-3]}), 404)


def test_failed_message_is_shown_and_sent_again(api: RunningApi, ada: ApiUser) -> None:
    notify(api, ada, "a")
    (message,) = ada.get("/api/notices/messages").json()["items"]
    assert (message["channel"], message["state"], message["attempts"]) == ("email", "waiting", 0)
    expect_problem(ada.post(f"/api/notices/messages/{message['id']}/retry"), 409)
    assert ada.get("/api/notices/messages", params={"state": "failed"}).json()["items"] == []
