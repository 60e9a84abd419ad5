"""Portfolios that their owners share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs
import pytest

from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.accounts.roles import Role
from tests.entrypoints.http.conftest import ApiUser, RunningApi, expect_problem

ADVISER, STRANGER = "grace@example.org", "eve@example.org"


def set_user(api: RunningApi, user: ApiUser, **changes: Any) -> None:
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(user.id), **changes))


@pytest.fixture
def grace(api: RunningApi) -> ApiUser:
    """Return an adviser."""
    grace = api.register(ADVISER)
    set_user(api, grace, role=Role.ADVISER)
    return grace


def share(owner: ApiUser, portfolio: str, email: str = ADVISER, right: str = "read") -> Any:
    shared = owner.post(f"/api/portfolios/{portfolio}/shares", {"email": email, "right": right})
    assert shared.status_code == 201, shared.text
    return shared.json()


def accept(recipient: ApiUser, share_id: str) -> Any:
    accepted = recipient.post(f"/api/users/shares/{share_id}/accept")
    assert accepted.status_code == 200, accepted.text
    return accepted.json()


def test_person_accepts_and_reads_a_shared_portfolio(ada: ApiUser, grace: ApiUser) -> None:
    portfolio = ada.portfolio(name="Pension")["id"]
    share_id = share(ada, portfolio)["id"]
    (invited,) = grace.get("/api/users/shares").json()["items"]
    assert invited["portfolio_name"] == "Pension"
    assert invited["owner"] == {"email": "ada@example.org", "name": ""}
    assert (invited["right"], invited["accepted"]) == ("read", None)
    path = f"/api/portfolios/{portfolio}"
    expect_problem(grace.get(path), 404)
    assert accept(grace, share_id)["accepted"]
    assert grace.get(path).json() == ada.get(path).json()
    assert grace.get(path).headers["etag"] == ada.get(path).headers["etag"]
    assert grace.get("/api/portfolios").json()["items"] == []
    (listed,) = grace.get("/api/portfolios", params={"shared": "true"}).json()["items"]
    assert listed["id"] == portfolio
    for rest in ("/transactions", "/actions", "/performance"):
        assert grace.get(path + rest).json() == ada.get(path + rest).json()


def test_sharing_does_not_reveal_who_has_an_account(
    api: RunningApi, ada: ApiUser, grace: ApiUser
) -> None:
    portfolio = ada.portfolio()["id"]
    known = share(ada, portfolio)
    api.time.advance(seconds=1)
    unknown = share(ada, portfolio, "nobody@example.org")
    varying = {"id", "email", "created"}
    assert {k: v for k, v in known.items() if k not in varying} == {
        k: v for k, v in unknown.items() if k not in varying
    }
    listed = ada.get(f"/api/portfolios/{portfolio}/shares").json()
    assert listed == {"items": [known, unknown], "next": None}
    accept(grace, known["id"])
    (first, _) = ada.get(f"/api/portfolios/{portfolio}/shares").json()["items"]
    assert UUID(first["recipient"]) == grace.id


def test_invitation_does_not_wait_for_a_later_account(api: RunningApi, ada: ApiUser) -> None:
    share(ada, ada.portfolio()["id"], STRANGER)
    assert api.register(STRANGER).get("/api/users/shares").json()["items"] == []


def test_reader_changes_nothing(ada: ApiUser, grace: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    proposal = ada.proposal(portfolio)["id"]
    accept(grace, share(ada, portfolio)["id"])
    path = f"/api/portfolios/{portfolio}"
    assert grace.get(f"/api/rebalance/{proposal}").json()["id"] == proposal
    listed = grace.get("/api/rebalance", params={"portfolio_id": portfolio}).json()
    assert [one["id"] for one in listed["items"]] == [proposal]
    assert grace.get("/api/rebalance").json()["items"] == []
    refused = grace.post("/api/rebalance/predict", {"portfolio_id": portfolio})
    expect_problem(refused, 403)
    assert refused.json()["code"] == "right_missing"
    for answer in (
        grace.post(f"{path}/cash-flows", {"kind": "deposit", "amount": "1"}),
        grace.delete(path),
        grace.get(f"{path}/shares"),
        grace.post(f"{path}/shares", {"email": STRANGER}),
        grace.post(f"/api/rebalance/{proposal}/accept", {}),
        grace.post(f"/api/rebalance/{proposal}/reject", {}),
    ):
        expect_problem(answer, 403)
        assert answer.json()["code"] == "owner_required"


def test_adviser_proposes_and_the_owner_accepts(ada: ApiUser, grace: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    accept(grace, share(ada, portfolio, right="propose")["id"])
    made = grace.proposal(portfolio)
    assert UUID(made["actor"]) == grace.id
    assert ada.get(f"/api/rebalance/{made['id']}").json()["actor"] == made["actor"]
    expect_problem(grace.post(f"/api/rebalance/{made['id']}/accept", {}), 403)
    accepted = ada.post(f"/api/rebalance/{made['id']}/accept", {})
    assert accepted.json()["stage"] == "executed"


def test_adviser_rejects_own_proposals_only(ada: ApiUser, grace: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    accept(grace, share(ada, portfolio, right="propose")["id"])
    theirs, own = ada.proposal(portfolio)["id"], grace.proposal(portfolio)["id"]
    expect_problem(grace.post(f"/api/rebalance/{theirs}/reject", {}), 403)
    assert grace.post(f"/api/rebalance/{own}/reject", {}).json()["stage"] == "rejected"


def test_proposing_needs_the_role_of_an_adviser(
    api: RunningApi, ada: ApiUser, grace: ApiUser
) -> None:
    portfolio = ada.portfolio()["id"]
    accept(grace, share(ada, portfolio, right="propose")["id"])
    own = grace.proposal(portfolio)["id"]
    for role in (Role.PERSON, Role.OPERATOR):
        set_user(api, grace, role=role)
        refused = grace.post("/api/rebalance/predict", {"portfolio_id": portfolio})
        expect_problem(refused, 403)
        assert refused.json()["code"] == "adviser_required"
        expect_problem(grace.post(f"/api/rebalance/{own}/reject", {}), 403)
        assert grace.get(f"/api/portfolios/{portfolio}").status_code == 200


@pytest.mark.parametrize("end", ["withdrawn", "left", "closed", "disabled"])
def test_access_ends_at_once(api: RunningApi, ada: ApiUser, grace: ApiUser, end: str) -> None:
    portfolio = ada.portfolio()["id"]
    share_id = share(ada, portfolio, right="propose")["id"]
    accept(grace, share_id)
    key = {"Idempotency-Key": "monday"}
    body = {"portfolio_id": portfolio}
    made = grace.post("/api/rebalance/predict", body, headers=key)
    assert made.status_code == 201
    path = f"/api/portfolios/{portfolio}"
    if end == "withdrawn":
        assert ada.delete(f"{path}/shares/{share_id}").status_code == 204
    elif end == "left":
        assert grace.delete(f"/api/users/shares/{share_id}").status_code == 204
    elif end == "closed":
        assert ada.delete(path).status_code == 204
    else:
        set_user(api, ada, disabled=api.time.now)
    tag = grace.ask("GET", path, headers={"If-None-Match": '"1"'})
    for answer in (
        grace.get(path),
        tag,
        grace.get(f"/api/rebalance/{made.json()['id']}"),
        grace.get(f"/api/rebalance/{made.json()['id']}/worksheet"),
        grace.get("/api/rebalance", params=body),
        grace.post("/api/rebalance/predict", body, headers=key),  # not the stored answer
        grace.post("/api/rebalance/predict", body),
        grace.post(f"/api/rebalance/{made.json()['id']}/reject", {}),
    ):
        expect_problem(answer, 404)
    assert grace.get("/api/users/shares").json()["items"] == []
    assert grace.get("/api/portfolios", params={"shared": "true"}).json()["items"] == []
    expect_problem(grace.post(f"/api/users/shares/{share_id}/accept"), 404)


def test_only_the_owner_gets_a_notice(api: RunningApi, ada: ApiUser, grace: ApiUser) -> None:
    share(ada, ada.portfolio()["id"])
    with api.work.begin() as tx:
        until = api.time.now + timedelta(minutes=1)
        notices = [tx.outbox.claim(api.time.now, until=until) for _ in range(9)]
    sent = [(one.kind, one.to) for one in notices if one is not None]
    assert (MailKind.PORTFOLIO_SHARED, "ada@example.org") in sent
    assert not any(to == ADVISER for kind, to in sent if kind is MailKind.PORTFOLIO_SHARED)


def test_shares_of_others_do_not_exist(api: RunningApi, ada: ApiUser, grace: ApiUser) -> None:
    portfolio, other = ada.portfolio()["id"], ada.portfolio()["id"]
    share_id = share(ada, portfolio)["id"]
    eve = api.register(STRANGER)
    for answer in (
        eve.post(f"/api/users/shares/{share_id}/accept"),
        eve.delete(f"/api/users/shares/{share_id}"),
        eve.delete(f"/api/portfolios/{portfolio}/shares/{share_id}"),
        eve.get(f"/api/portfolios/{portfolio}/shares"),
        eve.post(f"/api/portfolios/{portfolio}/shares", {"email": ADVISER}),
        ada.delete(f"/api/portfolios/{other}/shares/{share_id}"),
        ada.post(f"/api/users/shares/{share_id}/accept"),
        grace.delete(f"/api/portfolios/{portfolio}/shares/{share_id}"),  # not yet accepted
    ):
        expect_problem(answer, 404)
    assert [one["id"] for one in grace.get("/api/users/shares").json()["items"]] == [share_id]


def test_sharing_again_changes_the_right(ada: ApiUser, grace: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    first = share(ada, portfolio, right="propose")
    accept(grace, first["id"])
    again = share(ada, portfolio, ADVISER.upper())
    assert (again["id"], again["right"]) == (first["id"], "read")
    expect_problem(grace.post("/api/rebalance/predict", {"portfolio_id": portfolio}), 403)


def test_invalid_addresses_are_refused(ada: ApiUser) -> None:
    path = f"/api/portfolios/{ada.portfolio()['id']}/shares"
    expect_problem(ada.post(path, {"email": "ADA@example.org"}), 422, "email")
    expect_problem(ada.post(path, {"email": "nobody"}), 422, "email")
    expect_problem(ada.post(path, {"email": ADVISER, "right": "trade"}), 400, "right")
    expect_problem(ada.post(path, {"email": ADVISER, "recipient": str(ada.id)}), 400)


def test_shares_of_a_portfolio_are_limited(ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    for number in range(20):
        share(ada, portfolio, f"friend{number}@example.org")
    refused = ada.post(f"/api/portfolios/{portfolio}/shares", {"email": ADVISER})
    expect_problem(refused, 409)
    assert refused.json()["code"] == "too_many_shares"
    share(ada, portfolio, "friend0@example.org", right="propose")


def test_sharing_needs_a_recent_proof_of_identity(api: RunningApi, ada: ApiUser) -> None:
    portfolio = ada.portfolio()["id"]
    api.time.advance(minutes=11)
    refused = ada.post(f"/api/portfolios/{portfolio}/shares", {"email": ADVISER})
    expect_problem(refused, 403)
    assert refused.json()["code"] == "reauthentication_required"


def test_repeated_request_shares_once(ada: ApiUser) -> None:
    path, key = f"/api/portfolios/{ada.portfolio()['id']}/shares", {"Idempotency-Key": "once"}
    first, again = (ada.post(path, {"email": ADVISER}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(ada.get(path).json()["items"]) == 1
