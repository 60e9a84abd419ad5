"""The audit trail of one's own account."""

from __future__ import annotations

from rebalancer.application.audit_trail import SealAuditTrail
from rebalancer.domain.audit.events import Action
from tests.entrypoints.http.conftest import PASSWORD, ApiUser, RunningApi


def events_of(user: ApiUser) -> list[dict[str, object]]:
    items: list[dict[str, object]] = user.get("/api/users/audit?limit=200").json()["items"]
    return items


def actions_of(user: ApiUser) -> list[object]:
    return [event["action"] for event in reversed(events_of(user))]


def test_sign_ins_decisions_and_changes_are_recorded(api: RunningApi, ada: ApiUser) -> None:
    path = f"/api/portfolios/{(portfolio := ada.portfolio()['id'])}"
    accepted, rejected = (ada.proposal(portfolio)["id"] for _ in range(2))
    assert ada.post(f"/api/rebalance/{rejected}/reject", {}).status_code == 200
    assert ada.post(f"/api/rebalance/{accepted}/accept").status_code == 200
    assert ada.delete(path).status_code == 204
    wrong = {"email": "ada@example.org", "password": "not the password at all"}
    assert api.client.post("/api/users/login", json=wrong).status_code == 401
    assert actions_of(ada) == [
        "register",
        "login",
        "portfolio_opened",
        "proposal_rejected",
        "proposal_accepted",
        "portfolio_closed",
        "login_refused",
    ]
    refused, closed, *_ = events_of(ada)
    assert (refused["outcome"], refused["by"]) == ("refused", "unknown")
    assert refused["details"] == {"reason": "wrong_password"}
    assert refused["description"] == "Sign-in refused"
    assert (closed["by"], closed["target"]) == ("you", f"portfolio:{portfolio}")


def test_reuse_of_a_refresh_token_and_the_end_of_a_session_are_recorded(api: RunningApi) -> None:
    ada = api.register()
    old = {"refresh_token": ada.login["refresh_token"]}
    assert api.client.post("/api/users/refresh", json=old).status_code == 200
    api.time.advance(minutes=5)
    assert api.client.post("/api/users/refresh", json=old).status_code == 401
    again = api.log_in()
    secret = {"refresh_token": again.login["refresh_token"]}
    assert "refresh_reused" in actions_of(again)
    assert api.client.post("/api/users/logout", json=secret).status_code == 204
    assert actions_of(api.log_in())[-2:] == ["logout", "login"]


def test_events_of_others_are_not_shown(api: RunningApi, ada: ApiUser) -> None:
    bob = api.register("bob@example.org")
    assert actions_of(bob) == ["register", "login"]
    cursor = events_of(ada)[0]["id"]
    assert bob.get(f"/api/users/audit?before={cursor}").status_code == 200
    assert len(bob.pages("/api/users/audit", "before", 1)) == 2


def test_events_name_the_request_and_no_secret(api: RunningApi, ada: ApiUser) -> None:
    answer = api.client.post("/api/users/login", json={"email": "x@example.org", "password": "?"})
    with api.work.read() as tx:
        (event,) = tx.audit.page(action=Action.LOGIN_REFUSED.value, limit=9)
    assert event.origin.request == answer.headers["X-Request-ID"]
    assert (event.subject, event.details) == (None, {"reason": "unknown_account"})
    assert not {PASSWORD, "ada@example.org"} & set(str(events_of(ada)).split("'"))


def test_trail_of_a_running_service_is_whole(api: RunningApi, ada: ApiUser) -> None:
    ada.portfolio()
    assert SealAuditTrail(api.work, batch=2)(api.time()) is not None
    with api.work.read() as tx:
        found = tx.audit.verify()
    assert (found.events, found.faults) == (len(events_of(ada)), ())
