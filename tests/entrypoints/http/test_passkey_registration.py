"""Registration with a passkey and without a password."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.authenticator import Authenticator
from tests.entrypoints.http.conftest import (
    PASSWORD,
    WITHOUT_LIMITS,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
)

REGISTER = "/api/users/register/passkey"
GRACE = {"email": "Grace@Example.org", "name": " Grace "}


@pytest.fixture
def phone() -> Authenticator:
    return Authenticator()


def post(api: RunningApi, path: str, json: Any = None) -> Any:
    return checked(api.client.post(path, json=json))


def options(api: RunningApi, **asked: Any) -> dict[str, Any]:
    begun = post(api, f"{REGISTER}/options", GRACE | asked)
    assert begun.status_code == 200, begun.text
    found: dict[str, Any] = begun.json()["public_key"]
    return found


def register(api: RunningApi, phone: Authenticator, **asked: Any) -> Any:
    return post(api, REGISTER, {"credential": phone.create(options(api, **asked))})


def test_account_is_created_and_logged_in(api, phone):
    created = register(api, phone)
    assert created.status_code == 201, created.text
    grace = ApiUser(api.client, created.json())
    profile = grace.get("/api/users/profile").json()
    assert (profile["email"], profile["name"]) == ("grace@example.org", "Grace")
    assert len(created.json()["recovery_codes"]) == 10
    assert grace.get("/api/users/factors").json() == {
        "password": False,
        "passkeys": 1,
        "totp": False,
        "recovery_codes": 10,
    }
    (passkey,) = grace.get("/api/users/passkeys").json()["items"]
    assert passkey["name"] == "First passkey"
    challenge = post(api, "/api/users/login/passkey/options").json()["public_key"]
    again = post(api, "/api/users/login/passkey", {"credential": phone.get(challenge)})
    assert again.json()["user"] == created.json()["user"]
    refused = grace.delete(f"/api/users/passkeys/{passkey['id']}")
    assert refused.json()["code"] == "last_way_to_sign_in"


@pytest.mark.parametrize("password", ["", "!", "a password of no user", PASSWORD])
def test_no_password_fits_an_account_without_one(api, phone, password):
    register(api, phone)
    refused = post(api, "/api/users/login", {"email": "grace@example.org", "password": password})
    expect_problem(refused, 401)
    assert refused.json()["code"] == "wrong_credentials"


def test_options_are_the_same_for_registered_addresses(api, phone):
    api.register("taken@example.org")
    new, taken = options(api), options(api, email="taken@example.org")
    for one in (new, taken):
        assert one.pop("challenge") and one["user"].pop("id")
        assert one["excludeCredentials"] == []
        one.pop("user")
    assert new == taken


def test_registered_address_is_refused_and_keeps_its_account(api, phone):
    ada = api.register()
    refused = register(api, phone, email="ADA@example.org")
    expect_problem(refused, 409)
    assert refused.json()["code"] == "email_taken"
    assert ada.get("/api/users/passkeys").json() == {"items": []}


def test_challenge_registers_once(api, phone):
    begun = options(api)
    created = {"credential": phone.create(begun)}
    assert post(api, REGISTER, created).status_code == 201
    assert post(api, REGISTER, created).json()["code"] == "challenge_invalid"
    ada = api.register()
    stolen = phone.create(options(api, email="new@example.org"))
    refused = ada.post("/api/users/passkeys", {"name": "x", "credential": stolen})
    assert refused.json()["code"] == "challenge_invalid"


@pytest.mark.parametrize(
    "fault", [{"verified": False}, {"origin": "https://evil.example"}], ids="-".join
)
def test_faulty_passkey_registers_no_account(api, phone, fault):
    created = phone.create(options(api), **fault)
    expect_problem(post(api, REGISTER, {"credential": created}), 422, "credential")
    with api.work.read() as tx:
        assert tx.users.by_email("grace@example.org") is None


@pytest.mark.parametrize(
    "asked",
    [
        {"email": "grace"},
        {"email": 5},
        {"name": "x" * 101},
        {"name": "a\u202eb"},
        {"password": "x"},
    ],
)
def test_silly_input_is_an_error_of_the_client(api, asked):
    refused = post(api, f"{REGISTER}/options", GRACE | asked)
    assert refused.status_code in (400, 422), refused.text
    assert refused.json()["errors"]


# Where addresses must be confirmed.


@pytest.fixture
def verifying(share_api):
    settings = attrs.evolve(
        WITHOUT_LIMITS,
        smtp_url="smtp://localhost",
        mail_from="a@b.example",
        public_url="https://app.example",
        terms_version="2",
    )
    return share_api(settings)


def mail_of(api: RunningApi) -> Any:
    """Return the only mail that waits."""
    with api.work.begin() as tx:
        mail = tx.outbox.claim(api.time(), until=api.time())
        assert mail is not None
        tx.outbox.close(mail.id, api.time())
        assert tx.outbox.claim(api.time(), until=api.time()) is None
    return mail


def sign_in(api: RunningApi, phone: Authenticator) -> Any:
    challenge = post(api, "/api/users/login/passkey/options").json()["public_key"]
    return post(api, "/api/users/login/passkey", {"credential": phone.get(challenge)})


def test_link_creates_the_account(verifying, phone):
    asked = register(verifying, phone, terms="2")
    assert (asked.status_code, asked.json()) == (202, {"status": "check_mail"})
    assert sign_in(verifying, phone).json()["code"] == "passkey_unknown"
    mail = mail_of(verifying)
    assert (mail.kind, mail.to) == ("confirm_registration", "grace@example.org")
    confirmed = post(verifying, "/api/users/email/verify", {"token": mail.facts["token"]})
    assert confirmed.status_code == 200, confirmed.text
    given = sign_in(verifying, phone)
    assert given.status_code == 200, given.text
    grace = ApiUser(verifying.client, given.json())
    profile = grace.get("/api/users/profile").json()
    assert (profile["email_verified"], profile["terms"]) == (True, "2")
    assert grace.get("/api/users/factors").json()["password"] is False
    renewed = grace.post("/api/users/recovery-codes")
    assert len(renewed.json()["recovery_codes"]) == 10


def test_registered_address_gets_the_same_answer(verifying, phone):
    first = register(verifying, phone, terms="2")
    post(verifying, "/api/users/email/verify", {"token": mail_of(verifying).facts["token"]})
    again = register(verifying, Authenticator(), terms="2")
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert mail_of(verifying).kind == "already_registered"
    grace = ApiUser(verifying.client, sign_in(verifying, phone).json())
    assert len(grace.get("/api/users/passkeys").json()["items"]) == 1


def test_terms_must_be_accepted(verifying):
    refused = post(verifying, f"{REGISTER}/options", GRACE | {"terms": "1"})
    expect_problem(refused, 422, "terms")


def test_unconfirmed_address_cannot_log_in(verifying, phone):
    register(verifying, phone, terms="2")
    post(verifying, "/api/users/email/verify", {"token": mail_of(verifying).facts["token"]})
    with verifying.work.begin() as tx:
        user = tx.users.by_email("grace@example.org")
        tx.users.save(attrs.evolve(user, verified=None))
    refused = sign_in(verifying, phone)
    expect_problem(refused, 403)
    assert refused.json()["code"] == "email_unverified"
    assert mail_of(verifying).kind == "confirm_address"
