"""Management of accounts by operators."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rebalancer.domain.accounts.roles import Role
from rebalancer.domain.audit.events import Action
from tests.entrypoints.http.conftest import (
    PASSWORD,
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    expect_problem,
    start_backtest,
)
from tests.entrypoints.http.test_sharing import set_user

OPERATOR = "root@example.org"


@pytest.fixture
def root(api: RunningApi) -> ApiUser:
    """Return an operator."""
    root = api.register(OPERATOR)
    set_user(api, root, role=Role.OPERATOR)
    return root


def path_of(user: ApiUser, action: str = "") -> str:
    return f"/api/operators/users/{user.id}{action}"


def actions_of(api: RunningApi, user: ApiUser) -> list[tuple[str, object]]:
    """Return the actions about a user and who did them, latest first."""
    with api.work.read() as tx:
        events = tx.audit.page(subject=user.id, limit=100)
    return [(event.action, event.actor) for event in events]


def test_operators_list_accounts(api: RunningApi, ada: ApiUser, root: ApiUser) -> None:
    pages = root.pages("/api/operators/users", "after", 1)
    assert {one["email"] for page in pages for one in page} == {"ada@example.org", OPERATOR}
    (found,) = root.get("/api/operators/users", params={"email": "ADA@example.org"}).json()["items"]
    assert (found["id"], found["role"], found["disabled"]) == (str(ada.id), "person", None)
    unknown = root.get("/api/operators/users", params={"email": "nobody@example.org"})
    assert unknown.json()["items"] == []
    (only,) = root.get("/api/operators/users", params={"role": "operator"}).json()["items"]
    assert only["email"] == OPERATOR


def test_operators_see_the_account_and_no_portfolio(
    api: RunningApi, ada: ApiUser, root: ApiUser
) -> None:
    portfolio = ada.portfolio()["id"]
    shown = root.get(path_of(ada)).json()
    assert set(shown) == {
        *("id", "email", "name", "role", "created", "disabled", "sessions", "last_used"),
        "failed_logins",
    }
    assert shown["sessions"] == 1
    assert (Action.ACCOUNT_VIEWED, root.id) in actions_of(api, ada)
    for path in ("", "/transactions", "/performance", "/actions", "/shares"):
        expect_problem(root.get(f"/api/portfolios/{portfolio}{path}"), 404)


def test_others_are_refused(api: RunningApi, ada: ApiUser) -> None:
    adviser = api.register("grace@example.org")
    set_user(api, adviser, role=Role.ADVISER)
    for user in (ada, adviser):
        for id in (ada.id, adviser.id, UNKNOWN_ID):
            refused = user.post(f"/api/operators/users/{id}/disable")
            expect_problem(refused, 403)
            assert refused.json()["code"] == "operator_required"
        expect_problem(user.put(path_of(user, "/role"), {"role": "operator"}), 403)
        expect_problem(user.get("/api/operators/users"), 403)


def test_role_is_read_from_the_store_each_time(
    api: RunningApi, ada: ApiUser, root: ApiUser
) -> None:
    assert root.get(path_of(ada)).status_code == 200
    set_user(api, root, role=Role.PERSON)
    expect_problem(root.get(path_of(ada)), 403)
    set_user(api, root, role=Role.OPERATOR, disabled=api.time.now)
    expect_problem(root.get(path_of(ada)), 403)


def test_registration_and_profile_give_no_role(api: RunningApi, ada: ApiUser) -> None:
    body = {"email": "eve@example.org", "password": PASSWORD, "role": "operator"}
    expect_problem(api.client.post("/api/users/register", json=body), 400)
    with api.work.read() as tx:
        assert tx.users.get(ada.id).role is Role.PERSON


def test_disabled_account_is_signed_out_and_cannot_sign_in(
    api: RunningApi, ada: ApiUser, root: ApiUser
) -> None:
    second = api.log_in()
    disabled = root.post(path_of(ada, "/disable"))
    assert disabled.status_code == 200, disabled.text
    assert (disabled.json()["disabled"], disabled.json()["sessions"]) != (None, 1)
    for user in (ada, second):
        assert user.get("/api/users/profile").status_code == 401
        token = {"refresh_token": user.login["refresh_token"]}
        assert api.client.post("/api/users/refresh", json=token).status_code in (401, 403)
    right = {"email": "ada@example.org", "password": PASSWORD}
    refused = api.client.post("/api/users/login", json=right)
    expect_problem(refused, 403)
    assert refused.json()["code"] == "account_disabled"
    wrong = api.client.post("/api/users/login", json=right | {"password": "x" * 20})
    unknown = api.client.post(
        "/api/users/login", json={"email": "nobody@example.org", "password": "x" * 20}
    )
    assert (wrong.status_code, wrong.json()) == (401, unknown.json())
    assert (Action.ACCOUNT_DISABLED, root.id) in actions_of(api, ada)
    assert root.post(path_of(ada, "/enable")).json()["disabled"] is None
    assert api.log_in().get("/api/users/profile").status_code == 200


def test_api_key_of_a_disabled_account_is_refused(
    api: RunningApi, ada: ApiUser, root: ApiUser
) -> None:
    made = ada.post("/api/users/api-keys", {"name": "Script", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert api.client.get("/api/portfolios", headers=headers).status_code == 200
    root.post(path_of(ada, "/disable"))
    refused = api.client.get("/api/portfolios", headers=headers)
    expect_problem(refused, 403)
    assert refused.json()["code"] == "account_disabled"


def test_mailed_link_sets_a_password(api: RunningApi, ada: ApiUser, root: ApiUser) -> None:
    root.post(path_of(ada, "/reset-password"))
    with api.work.begin() as tx:
        mail = tx.outbox.claim(api.time.now, until=api.time.now + timedelta(minutes=1))
    assert mail is not None
    chosen = {"token": mail.facts["token"], "new_password": "another horse, another battery"}
    assert api.client.post("/api/users/password/reset", json=chosen).status_code in (200, 204)
    expect_problem(ada.get("/api/users/profile"), 401)
    right = {"email": "ada@example.org", "password": chosen["new_password"]}
    assert api.client.post("/api/users/login", json=right).status_code == 200


def test_jobs_of_a_disabled_account_are_cancelled(
    api: RunningApi, ada: ApiUser, root: ApiUser
) -> None:
    job = start_backtest(ada)["id"]
    assert root.post(path_of(ada, "/disable")).status_code == 200
    with api.work.read() as tx:
        found = [one for one in tx.jobs.page(ada.id, limit=9) if str(one.id) == job]
    assert all(one.state.is_final or one.cancelling for one in found)


def test_locked_account_is_unlocked(api: RunningApi, ada: ApiUser, root: ApiUser) -> None:
    wrong = {"email": "ada@example.org", "password": "x" * 20}
    for _ in range(6):
        api.client.post("/api/users/login", json=wrong)
    right = wrong | {"password": PASSWORD}
    assert api.client.post("/api/users/login", json=right).status_code == 429
    assert root.get(path_of(ada)).json()["failed_logins"] > 0
    assert root.post(path_of(ada, "/unlock")).json()["failed_logins"] == 0
    assert (Action.ACCOUNT_UNLOCKED, root.id) in actions_of(api, ada)
    assert api.client.post("/api/users/login", json=right).status_code == 200


def test_operators_leave_their_own_account_alone(api: RunningApi, root: ApiUser) -> None:
    other = api.register("second@example.org")
    set_user(api, other, role=Role.OPERATOR)
    for refused in (
        root.post(path_of(root, "/disable")),
        root.put(path_of(root, "/role"), {"role": "person"}),
        root.put(path_of(root, "/role"), {"role": "operator"}),
    ):
        expect_problem(refused, 403)
        assert refused.json()["code"] == "own_account"


def test_changes_need_a_recent_proof_of_identity(
    api: RunningApi, ada: ApiUser, root: ApiUser
) -> None:
    api.time.advance(minutes=11)
    for refused in (
        root.post(path_of(ada, "/disable")),
        root.post(path_of(ada, "/enable")),
        root.post(path_of(ada, "/unlock")),
        root.post(path_of(ada, "/end-sessions")),
        root.post(path_of(ada, "/reset-password")),
        root.put(path_of(ada, "/role"), {"role": "adviser"}),
    ):
        expect_problem(refused, 403)
        assert refused.json()["code"] == "reauthentication_required"
    assert root.get(path_of(ada)).json()["role"] == "person"


def test_role_is_changed(api: RunningApi, ada: ApiUser, root: ApiUser) -> None:
    assert root.put(path_of(ada, "/role"), {"role": "adviser"}).json()["role"] == "adviser"
    expect_problem(root.put(path_of(ada, "/role"), {"role": "king"}), 400, "role")
    assert (Action.ROLE_CHANGED, root.id) in actions_of(api, ada)
    assert root.put(path_of(ada, "/role"), {"role": "operator"}).status_code == 200
    assert ada.put(path_of(root, "/role"), {"role": "person"}).status_code == 200
    expect_problem(root.get(path_of(ada)), 403)


def test_sessions_are_ended(api: RunningApi, ada: ApiUser, root: ApiUser) -> None:
    api.log_in()
    assert root.post(path_of(ada, "/end-sessions")).json() == {"ended": 2}
    assert ada.get("/api/users/profile").status_code == 401
    assert api.log_in().get("/api/users/profile").status_code == 200


def test_reset_mails_a_link_that_operators_do_not_see(
    api: RunningApi, ada: ApiUser, root: ApiUser
) -> None:
    sent = root.post(path_of(ada, "/reset-password"))
    assert (sent.status_code, sent.json()) == (202, {"status": "mailed"})
    with api.work.begin() as tx:
        mail = tx.outbox.claim(api.time.now, until=api.time.now + timedelta(minutes=1))
    assert mail is not None and mail.to == "ada@example.org" and mail.facts["token"]
    assert ada.get("/api/users/profile").status_code == 200  # nothing changes before its use
    root.post(path_of(ada, "/disable"))
    expect_problem(root.post(path_of(ada, "/reset-password")), 409)


def test_unknown_accounts_are_not_found(root: ApiUser) -> None:
    path = f"/api/operators/users/{UNKNOWN_ID}"
    for answer in (
        root.get(path),
        root.post(f"{path}/disable"),
        root.post(f"{path}/enable"),
        root.post(f"{path}/end-sessions"),
        root.post(f"{path}/reset-password"),
        root.put(f"{path}/role", {"role": "person"}),
    ):
        expect_problem(answer, 404)
        assert answer.json()["code"] == "user_not_found"


def test_token_that_is_still_accepted_does_nothing(api: RunningApi, ada: ApiUser) -> None:
    """Other processes accept an access token for a few seconds after its session has ended."""
    set_user(api, ada, disabled=api.time.now)
    expect_problem(ada.get("/api/users/profile"), 403)
    expect_problem(ada.post("/api/portfolios", {"name": "Mine", "targets": {"C": 1}}), 403)
