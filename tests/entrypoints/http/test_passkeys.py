"""Logins with passkeys of a software authenticator, and every way to misuse them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from rebalancer.config import Environment, Settings
from rebalancer.domain.accounts.factors import MOST_PASSKEYS
from tests.authenticator import Authenticator, decode, encode
from tests.entrypoints.http.conftest import (
    WITHOUT_LIMITS,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
)

PASSKEYS = "/api/users/passkeys"
LOGIN = "/api/users/login/passkey"


@pytest.fixture
def phone() -> Authenticator:
    return Authenticator()


def post(api: RunningApi, path: str, json: Any = None) -> Any:
    return checked(api.client.post(path, json=json))


def challenge(api: RunningApi) -> dict[str, Any]:
    asked = post(api, f"{LOGIN}/options")
    assert asked.status_code == 200, asked.text
    options: dict[str, Any] = asked.json()["public_key"]
    return options


def log_in(api: RunningApi, authenticator: Authenticator, **faults: Any) -> Any:
    return post(api, LOGIN, {"credential": authenticator.get(challenge(api), **faults)})


def test_login_with_a_passkey_needs_no_password(api, ada, phone):
    added = ada.add_passkey(phone, "My phone")
    assert (added["name"], added["used"], added["transports"]) == (
        "My phone",
        None,
        ["hybrid", "internal"],
    )
    api.time.advance(hours=1)
    given = log_in(api, phone)
    assert given.status_code == 200, given.text
    assert given.headers["cache-control"] == "no-store"
    again = ApiUser(api.client, given.json())
    assert again.id == ada.id
    (listed,) = again.get(PASSKEYS).json()["items"]
    assert listed["used"] == "2026-11-02T10:00:00Z"
    assert listed["id"] == added["id"]
    assert "key" not in str(listed).replace("passkey", "")
    with api.work.read() as tx:
        (session,) = [
            one for one in tx.sessions.active(ada.id, api.time()) if one.method != "password"
        ]
    assert session.method == "passkey"


@pytest.mark.parametrize(
    "fault",
    [
        {"origin": "https://evil.example"},
        {"rp": "evil.example"},
        {"verified": False},
        {"kind": "webauthn.create"},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"count": 1},
        {"user": UUID(int=1).bytes},
        {"user": b""},
        {"challenge": encode(b"a challenge that was never given")},
    ],
    ids="-".join,
)
def test_faulty_signature_is_refused(api, ada, phone, fault):
    ada.add_passkey(phone)
    assert log_in(api, phone, count=5).status_code == 200
    refused = log_in(api, phone, **({"count": 6} | fault))
    expect_problem(refused, 401)
    assert refused.json()["code"] in ("passkey_rejected", "passkey_unknown", "challenge_invalid")
    assert log_in(api, phone, count=7).status_code == 200


def test_frame_of_another_site_is_refused(api, ada, phone):
    ada.add_passkey(phone)
    assert "frame" in expect_problem(log_in(api, phone, cross_origin=True), 422, "credential")


def test_challenge_is_answered_once(api, ada, phone):
    ada.add_passkey(phone)
    options = challenge(api)
    first = {"credential": phone.get(options)}
    assert post(api, LOGIN, first).status_code == 200
    for replay in (first, {"credential": phone.get(options)}):
        refused = post(api, LOGIN, replay)
        assert "answered before" in expect_problem(refused, 401)
        assert refused.json()["code"] == "challenge_invalid"


def test_wrong_answer_uses_the_challenge_up(api, ada, phone):
    ada.add_passkey(phone)
    options = challenge(api)
    expect_problem(post(api, LOGIN, {"credential": phone.get(options, verified=False)}), 401)
    refused = post(api, LOGIN, {"credential": phone.get(options)})
    assert refused.json()["code"] == "challenge_invalid"


def test_challenge_expires(api, ada, phone):
    ada.add_passkey(phone)
    options = challenge(api)
    api.time.advance(minutes=5)
    refused = post(api, LOGIN, {"credential": phone.get(options)})
    assert refused.json()["code"] == "challenge_invalid"


def test_challenges_have_one_purpose(api, ada, phone):
    ada.add_passkey(phone)
    for_login = challenge(api)
    created = phone.create(
        ada.post(f"{PASSKEYS}/options").json()["public_key"] | {"excludeCredentials": []},
        challenge=for_login["challenge"],
    )
    refused = ada.post(PASSKEYS, {"name": "Other", "credential": created})
    assert refused.json()["code"] == "challenge_invalid"
    for_creation = ada.post(f"{PASSKEYS}/options").json()["public_key"]
    signed = phone.get(challenge(api), which=0, challenge=for_creation["challenge"])
    assert post(api, LOGIN, {"credential": signed}).json()["code"] == "challenge_invalid"


def test_options_reveal_no_account(api, ada, phone):
    before = post(api, f"{LOGIN}/options").json()
    ada.add_passkey(phone)
    after = post(api, f"{LOGIN}/options").json()
    assert before["public_key"].pop("challenge") != after["public_key"].pop("challenge")
    assert before == after
    assert before["public_key"]["allowCredentials"] == []
    unknown = Authenticator()
    unknown.create(ada.post(f"{PASSKEYS}/options").json()["public_key"])
    assert log_in(api, unknown).json()["code"] == "passkey_unknown"


def test_passkey_of_another_challenge_owner_is_refused(api, ada, phone):
    eve = api.register("eve@example.org")
    hers = ada.post(f"{PASSKEYS}/options").json()["public_key"]
    refused = eve.post(PASSKEYS, {"name": "Eve's", "credential": phone.create(hers)})
    assert refused.json()["code"] == "challenge_invalid"
    assert eve.get(PASSKEYS).json() == {"items": []}


@pytest.mark.parametrize(
    "fault",
    [{"origin": "https://evil.example"}, {"rp": "evil.example"}, {"verified": False}],
    ids="-".join,
)
def test_faulty_new_passkey_is_refused(ada, phone, fault):
    created = phone.create(ada.post(f"{PASSKEYS}/options").json()["public_key"], **fault)
    refused = ada.post(PASSKEYS, {"name": "Phone", "credential": created})
    assert "could not be verified" in expect_problem(refused, 422, "credential")
    assert ada.get(PASSKEYS).json() == {"items": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Phone"}, "credential"),
        ({"name": "Phone", "credential": "text"}, "credential"),
        ({"name": "Phone", "credential": {}}, "credential"),
        ({"name": "Phone", "credential": {"id": 5, "response": []}}, "credential"),
        ({"name": "", "credential": {}}, "name"),
        ({"name": "x" * 101, "credential": {}}, "name"),
        ({"name": "a\u202eb", "credential": {}}, "name"),
        ({"name": "a\nb", "credential": {}}, "name"),
    ],
)
def test_silly_input_is_an_error_of_the_client(ada, body, field):
    refused = ada.post(PASSKEYS, body)
    assert refused.status_code in (400, 422), refused.text
    assert field in [error["field"] for error in refused.json()["errors"]]


def test_several_passkeys_are_named_and_removed(api, ada, phone):
    key = Authenticator(counts=False, backed_up=True)
    first = ada.add_passkey(phone, "Phone")
    api.time.advance(seconds=1)
    second = ada.add_passkey(key, " Schlüssel ")
    assert first["recovery_codes"] and second["recovery_codes"] == []
    renamed = ada.ask("PATCH", f"{PASSKEYS}/{first['id']}", json={"name": "Old phone"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Old phone")
    listed = ada.get(PASSKEYS).json()["items"]
    assert [one["name"] for one in listed] == ["Old phone", "Schlüssel"]
    assert [one["backed_up"] for one in listed] == [False, True]
    assert ada.delete(f"{PASSKEYS}/{first['id']}").status_code == 204
    expect_problem(ada.delete(f"{PASSKEYS}/{first['id']}"), 404)
    assert log_in(api, phone).json()["code"] == "passkey_unknown"
    assert log_in(api, key).status_code == 200
    assert log_in(api, key).status_code == 200  # without a counter


def test_known_authenticator_is_excluded(ada, phone):
    ada.add_passkey(phone)
    options = ada.post(f"{PASSKEYS}/options").json()["public_key"]
    with pytest.raises(ValueError, match="excluded"):
        phone.create(options)
    created = phone.create(options | {"excludeCredentials": []})
    created["id"] = created["rawId"] = encode(phone.credentials[0].id)
    refused = ada.post(PASSKEYS, {"name": "Twice", "credential": created})
    assert "another credential" in expect_problem(refused, 422, "credential")


def test_credential_of_another_user_cannot_be_registered(api, ada, phone):
    ada.add_passkey(phone)
    eve = api.register("eve@example.org")
    thief = Authenticator()
    options = eve.post(f"{PASSKEYS}/options").json()["public_key"]
    created = thief.create(options)
    stolen = phone.credentials[0].id
    own = thief.credentials[0].id
    attestation = decode(created["response"]["attestationObject"]).replace(own, stolen)
    created["response"]["attestationObject"] = encode(attestation)
    created["id"] = created["rawId"] = encode(stolen)
    refused = eve.post(PASSKEYS, {"name": "Stolen", "credential": created})
    expect_problem(refused, 409)
    assert refused.json()["code"] == "passkey_registered"
    assert log_in(api, phone).status_code == 200


def test_number_of_passkeys_is_limited(api, ada):
    for number in range(MOST_PASSKEYS):
        ada.add_passkey(Authenticator(), f"Key {number}")
    refused = ada.post(f"{PASSKEYS}/options")
    assert "remove one first" in expect_problem(refused, 409)


def test_changes_need_a_recent_login(api, ada, phone):
    added = ada.add_passkey(phone)
    options = ada.post(f"{PASSKEYS}/options").json()["public_key"]
    created = phone.create(options | {"excludeCredentials": []})
    api.time.advance(minutes=10, seconds=1)
    for answer in (
        ada.post(f"{PASSKEYS}/options"),
        ada.post(PASSKEYS, {"name": "Other", "credential": created}),
        ada.delete(f"{PASSKEYS}/{added['id']}"),
    ):
        expect_problem(answer, 403)
        assert answer.json()["code"] == "reauthentication_required"
    assert len(ada.get(PASSKEYS).json()["items"]) == 1


def test_disabled_account_cannot_log_in(api, ada, phone):
    ada.add_passkey(phone)
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(ada.id), disabled=api.time()))
    refused = log_in(api, phone)
    expect_problem(refused, 403)
    assert refused.json()["code"] == "account_disabled"


def test_last_way_to_sign_in_cannot_be_removed(api, ada, phone):
    added = ada.add_passkey(phone)
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(ada.id), password=None))
    refused = ada.delete(f"{PASSKEYS}/{added['id']}")
    assert "last way to sign in" in expect_problem(refused, 409)
    ada.add_passkey(Authenticator(), "Second")
    assert ada.delete(f"{PASSKEYS}/{added['id']}").status_code == 204


def test_short_password_forbids_removing_the_last_second_factor(api, ada, phone):
    added = ada.add_passkey(phone)
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(ada.id), short_password=True))
    refused = ada.delete(f"{PASSKEYS}/{added['id']}")
    assert "choose a longer password first" in expect_problem(refused, 409)
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(ada.id), short_password=False))
    assert ada.delete(f"{PASSKEYS}/{added['id']}").status_code == 204
    assert ada.get("/api/users/factors").json()["recovery_codes"] == 0


def test_service_without_an_origin_has_no_passkeys(share_api):
    api = share_api(attrs.evolve(WITHOUT_LIMITS, environment=Environment.PRODUCTION))
    refused = post(api, f"{LOGIN}/options")
    expect_problem(refused, 404)
    assert refused.json()["code"] == "passkeys_not_configured"


def test_options_count_as_attempts_to_log_in(start_api):
    api = start_api(settings=Settings(rate_limit=0, login_limit=3))
    answers = [post(api, f"{LOGIN}/options").status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]


def test_events_are_in_the_audit_trail(api, ada, phone):
    added = ada.add_passkey(phone)
    api.time.advance(seconds=1)
    ada.ask("PATCH", f"{PASSKEYS}/{added['id']}", json={"name": "Old phone"})
    api.time.advance(seconds=1)
    ada.delete(f"{PASSKEYS}/{added['id']}")
    with api.work.read() as tx:
        found = [event.action for event in tx.audit.page(ada.id, limit=20)]
    assert found[:2] == ["passkey_removed", "passkey_renamed"]
    assert {"passkey_added", "recovery_codes_created"} <= set(found[2:])


def test_refused_logins_are_in_the_audit_trail(api, ada, phone):
    ada.add_passkey(phone)
    log_in(api, phone, verified=False)
    with api.work.read() as tx:
        (refused,) = tx.audit.page(ada.id, action="login_refused", limit=20)
    assert (refused.outcome, refused.details["reason"]) == ("refused", "passkey_rejected")


def test_owner_is_notified_of_changes(api, ada, phone):
    added = ada.add_passkey(phone)
    api.time.advance(seconds=1)
    ada.delete(f"{PASSKEYS}/{added['id']}")
    kinds = []
    with api.work.begin() as tx:
        while (mail := tx.outbox.claim(api.time(), until=api.time())) is not None:
            tx.outbox.close(mail.id, api.time())
            kinds.append((mail.kind, mail.facts.get("factor")))
    assert ("factor_added", "passkey Phone") in kinds
    assert ("factor_removed", "passkey Phone") in kinds
