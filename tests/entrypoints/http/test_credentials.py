"""Passwords, e-mail addresses and terms of accounts, with the mails about them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import httpx
import pytest

from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.application.account_mails import MOST_AN_HOUR
from rebalancer.application.mail_texts import write_message
from rebalancer.application.ports.mail import Message
from rebalancer.domain.accounts.mail import MailKind
from rebalancer.domain.audit.events import Action
from rebalancer.entrypoints.http.pacing import SHORTEST
from tests.entrypoints.http.conftest import (
    PASSWORD,
    WITHOUT_LIMITS,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
    in_parallel,
)

USERS = "/api/users"
NEW = "four completely random words"
VERIFYING = attrs.evolve(
    WITHOUT_LIMITS, smtp_url="smtp://localhost", mail_from="a@b.example", public_url="https://app"
)


def post(api: RunningApi, path: str, **body: Any) -> httpx.Response:
    """Send a request of a stranger."""
    return checked(api.client.post(f"{USERS}/{path}", json=body))


def mails(api: RunningApi) -> list[Message]:
    """Return the mails that were written since the last call, but for notices of sign-ins."""
    found = []
    with api.work.begin() as tx:
        while (mail := tx.outbox.claim(api.time(), until=api.time())) is not None:
            tx.outbox.close(mail.id, api.time())
            if mail.kind is not MailKind.NEW_SIGN_IN:
                found.append(write_message(mail, "https://app"))
    return sorted(found, key=lambda message: (message.created, message.to))


def only_mail(api: RunningApi, to: str = "ada@example.org") -> Message:
    (message,) = mails(api)
    assert message.to == to
    return message


def token_in(message: Message) -> str:
    found = re.search("#token=(.+)", message.text)
    assert found is not None, message.text
    return found[1]


def sign_in(api: RunningApi, password: str, email: str = "ada@example.org") -> int:
    return post(api, "login", email=email, password=password).status_code


def actions(api: RunningApi, user: ApiUser) -> list[str]:
    with api.work.read() as tx:
        return [event.action for event in tx.audit.page(subject=user.id, limit=100)]


@pytest.fixture
def verifying(share_api: Callable[..., RunningApi]) -> RunningApi:
    """An application that has addresses confirmed."""
    return share_api(VERIFYING)


def register(api: RunningApi, email: str = "ada@example.org", **body: Any) -> httpx.Response:
    return post(api, "register", **{"email": email, "password": PASSWORD, "name": "Ada"} | body)


# Rules.


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("fourteen chars", "invalid_value"),
        ("x" * 129, "invalid_value"),
        ("passwordpassword", "guessable_password"),
        ("Password12345678", "guessable_password"),
        ("1234567890123456", "guessable_password"),
        ("aaaaaaaaaaaaaaaa", "guessable_password"),
        ("qwertyuiopasdfgh", "guessable_password"),
        ("letmeinletmein12", "guessable_password"),
        ("ada@example.org!", "guessable_password"),
        ("Lovelace.Lovelace", "guessable_password"),
        ("rebalancer-rebalancer", "guessable_password"),
        (" " * 16, "guessable_password"),
    ],
)
def test_password_that_breaks_a_rule_is_refused(api: RunningApi, password: str, code: str) -> None:
    answer = register(api, password=password, name="Ada Lovelace")
    assert answer.status_code in (400, 422), answer.text
    (error,) = answer.json()["errors"]
    assert (error["field"], error["code"]) == ("password", code)
    assert password not in answer.text


@pytest.mark.parametrize(
    "password", ["a long sentence is best", "zażółć gęślą jaźń 42", "x9$kQ!pW2#vL7&z"]
)
def test_password_of_any_characters_is_accepted(api: RunningApi, password: str) -> None:
    assert register(api, password=password).status_code == 201
    assert sign_in(api, password) == 200


def test_short_password_of_an_earlier_version_still_signs_in(api: RunningApi) -> None:
    user = api.register()
    hashed = ArgonPasswords(time_cost=1, memory_kib=64).hash("0123456789")
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(user.id), password=hashed))
    assert sign_in(api, "0123456789") == 200


def test_login_replaces_a_hash_of_weaker_parameters(api: RunningApi, ada: ApiUser) -> None:
    weak = ArgonPasswords(time_cost=1, memory_kib=32).hash(PASSWORD)
    with api.work.begin() as tx:
        tx.users.save(attrs.evolve(tx.users.get(ada.id), password=weak))
    assert sign_in(api, "wrong") == 401
    with api.work.read() as tx:
        assert tx.users.get(ada.id).password == weak
    assert sign_in(api, PASSWORD) == 200
    with api.work.read() as tx:
        replaced = tx.users.get(ada.id).password
    assert "m=64," in str(replaced)
    assert sign_in(api, PASSWORD) == 200
    with api.work.read() as tx:
        assert tx.users.get(ada.id).password == replaced


# Change of a password.


def change(user: ApiUser, current: str = PASSWORD, new: str = NEW) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return user.post(f"{USERS}/password", body)


def test_password_is_changed_and_other_sessions_end(api: RunningApi, ada: ApiUser) -> None:
    phone = api.log_in()
    api.time.advance(hours=1)
    phone = api.log_in()
    assert change(phone).status_code == 204
    assert phone.get(f"{USERS}/profile").status_code == 200
    expect_problem(ada.get(f"{USERS}/profile"), 401)
    assert (sign_in(api, PASSWORD), sign_in(api, NEW)) == (401, 200)
    assert Action.PASSWORD_CHANGED in actions(api, ada)
    assert "password of your account was changed" in only_mail(api).text


def test_wrong_current_password_changes_nothing(api: RunningApi, ada: ApiUser) -> None:
    expect_problem(change(ada, current="wrong"), 422, "current_password")
    assert sign_in(api, PASSWORD) == 200
    assert Action.PASSWORD_CHANGE_REFUSED in actions(api, ada)
    assert mails(api) == []


def test_new_password_must_follow_the_rules(ada: ApiUser) -> None:
    detail = expect_problem(change(ada, new="ten letter"), 422, "new_password")
    assert "15 to 128 characters" in detail
    expect_problem(change(ada, new="passwordpassword"), 422, "new_password")


def test_one_of_concurrent_changes_succeeds(api: RunningApi, ada: ApiUser) -> None:
    answers = in_parallel(4, lambda number: change(ada, new=f"{NEW} {number}"))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(204) == 1, statuses
    assert set(statuses) <= {204, 401, 409, 422}
    won = next(n for n, answer in enumerate(answers) if answer.status_code == 204)
    assert sign_in(api, f"{NEW} {won}") == 200


# Reset of a password.


def reset_link(api: RunningApi, email: str = "ada@example.org") -> str:
    answer = post(api, "password/forgotten", email=email)
    assert (answer.status_code, answer.json()) == (202, {"status": "check_mail"})
    return token_in(only_mail(api))


def test_password_is_reset_once_by_a_mailed_link(api: RunningApi, ada: ApiUser) -> None:
    token = reset_link(api, " ADA@Example.org")
    other = reset_link(api)
    assert post(api, "password/reset", token=token, new_password=NEW).status_code == 204
    expect_problem(ada.get(f"{USERS}/profile"), 401)
    assert (sign_in(api, PASSWORD), sign_in(api, NEW)) == (401, 200)
    assert "password of your account was changed" in only_mail(api).text
    for used in (token, other, "unknown"):
        answer = post(api, "password/reset", token=used, new_password=f"{NEW} 2")
        expect_problem(answer, 422, "token")
    assert {Action.PASSWORD_RESET, Action.PASSWORD_RESET_REQUESTED} <= {*actions(api, ada)}
    with api.work.read() as tx:
        assert tx.users.get(ada.id).verified == api.time()


def test_link_stays_valid_if_the_password_breaks_a_rule(api: RunningApi, ada: ApiUser) -> None:
    token = reset_link(api)
    answer = post(api, "password/reset", token=token, new_password="passwordpassword")
    expect_problem(answer, 422, "new_password")
    assert post(api, "password/reset", token=token, new_password=NEW).status_code == 204


def test_reset_opens_an_account_that_strangers_have_locked(api: RunningApi, ada: ApiUser) -> None:
    with api.work.begin() as tx:
        failures = tx.failures.get(f"user:{ada.id}", ada.id, api.time())
        tx.failures.save(attrs.evolve(failures, count=100))
    assert sign_in(api, PASSWORD) == 429
    assert post(api, "password/reset", token=reset_link(api), new_password=NEW).status_code == 204
    assert sign_in(api, NEW) == 200


def test_link_expires_after_an_hour(api: RunningApi, ada: ApiUser) -> None:
    token = reset_link(api)
    api.time.advance(hours=1)
    expect_problem(post(api, "password/reset", token=token, new_password=NEW), 422, "token")


def test_change_of_the_password_ends_links(api: RunningApi, ada: ApiUser) -> None:
    token = reset_link(api)
    assert change(ada).status_code == 204
    expect_problem(post(api, "password/reset", token=token, new_password=NEW), 422, "token")


def test_one_of_concurrent_resets_succeeds(api: RunningApi, ada: ApiUser) -> None:
    token = reset_link(api)
    statuses = [
        answer.status_code
        for answer in in_parallel(
            4, lambda n: post(api, "password/reset", token=token, new_password=f"{NEW} {n}")
        )
    ]
    assert sorted(statuses) == [204, 422, 422, 422]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_request_does_not_reveal_who_has_an_account(api: RunningApi, ada: ApiUser) -> None:
    answers, statements = [], []
    for email in ("ada@example.org", "eve@example.org"):
        with api.statements() as counted:
            answers.append(post(api, "password/forgotten", email=email))
        statements.append(len(counted.all))
    assert answers[0].json() == answers[1].json() == {"status": "check_mail"}
    assert statements[0] == statements[1]
    hers, none = sorted(mails(api), key=lambda message: message.to)
    assert "reset-password#token=" in hers.text
    assert "no account uses it" in none.text
    assert "token" not in none.text


def test_time_does_not_reveal_who_has_an_account(api: RunningApi, ada: ApiUser) -> None:
    for email in ("ada@example.org", "eve@example.org"):
        begun = time.monotonic()
        assert post(api, "password/forgotten", email=email).status_code == 202
        assert time.monotonic() - begun >= SHORTEST


def test_an_address_gets_few_mails(api: RunningApi, ada: ApiUser) -> None:
    for _ in range(MOST_AN_HOUR + 2):
        assert post(api, "password/forgotten", email="ada@example.org").status_code == 202
        assert post(api, "password/forgotten", email="eve@example.org").status_code == 202
    assert len(mails(api)) == 2 * MOST_AN_HOUR
    api.time.advance(hours=2)
    assert post(api, "password/forgotten", email="ada@example.org").status_code == 202
    assert len(mails(api)) == 1


def test_service_without_mail_names_the_remedy(share_api: Callable[..., RunningApi]) -> None:
    api = share_api(attrs.evolve(WITHOUT_LIMITS, environment="production"))
    answer = post(api, "password/forgotten", email="ada@example.org")
    assert "ask its operators" in expect_problem(answer, 409)


# Registration with a confirmed address.


def test_account_is_created_by_a_mailed_link(verifying: RunningApi) -> None:
    api = verifying
    answer = register(api)
    assert (answer.status_code, answer.json()) == (202, {"status": "check_mail"})
    assert sign_in(api, PASSWORD) == 401
    message = only_mail(api)
    assert "Ada" not in message.text
    token = token_in(message)
    confirmed = post(api, "email/verify", token=token)
    assert (confirmed.status_code, confirmed.json()) == (200, {"email": "ada@example.org"})
    expect_problem(post(api, "email/verify", token=token), 422, "token")
    user = api.log_in()
    profile = user.get(f"{USERS}/profile").json()
    assert (profile["name"], profile["email_verified"]) == ("Ada", True)
    assert sorted(actions(api, user)) == ["email_verified", "login", "register"]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_registration_does_not_reveal_who_has_an_account(verifying: RunningApi) -> None:
    api = verifying
    register(api)
    assert post(api, "email/verify", token=token_in(only_mail(api))).status_code == 200
    answers, statements = [], []
    for email in ("ada@example.org", "eve@example.org"):
        with api.statements() as counted:
            answers.append(register(api, email, password=NEW))
        statements.append(len(counted.all))
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    assert {*answers[0].headers} == {*answers[1].headers}
    assert statements[0] == statements[1]
    hers, new = mails(api)
    assert "already has one" in hers.text
    assert "#token=" not in hers.text
    assert "confirm-email#token=" in new.text
    assert (sign_in(api, NEW), sign_in(api, PASSWORD)) == (401, 200)


def test_stranger_cannot_claim_an_address(verifying: RunningApi) -> None:
    """Each link creates the account with the password of its own request."""
    api = verifying
    register(api, password="the password of a stranger")
    register(api, password=PASSWORD)
    strangers, own = mails(api)
    with api.work.read() as tx:
        assert tx.users.by_email("ada@example.org") is None
    links = {token_in(strangers), token_in(own)}
    assert len(links) == 2
    statuses = [post(api, "email/verify", token=token).status_code for token in links]
    assert sorted(statuses) == [200, 409]


def test_link_of_a_registration_expires(verifying: RunningApi) -> None:
    register(verifying)
    token = token_in(only_mail(verifying))
    verifying.time.advance(hours=24)
    expect_problem(post(verifying, "email/verify", token=token), 422, "token")


def test_account_without_a_confirmed_address_gets_a_link_at_its_next_login(
    verifying: RunningApi,
) -> None:
    api = verifying
    register(api)
    assert post(api, "email/verify", token=token_in(only_mail(api))).status_code == 200
    with api.work.begin() as tx:
        user = tx.users.by_email("ada@example.org")
        assert user is not None
        tx.users.save(attrs.evolve(user, verified=None))
    assert sign_in(api, "wrong") == 401
    assert mails(api) == []
    refused = post(api, "login", email="ada@example.org", password=PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (403, "email_unverified")
    assert post(api, "email/verify", token=token_in(only_mail(api))).status_code == 200
    assert sign_in(api, PASSWORD) == 200


# Change of an address.


def test_address_is_changed_at_once_where_none_is_confirmed(api: RunningApi, ada: ApiUser) -> None:
    token = reset_link(api)
    api.register("eve@example.org")
    expect_problem(ada.post(f"{USERS}/email", {"email": "EVE@example.org"}), 409)
    changed = ada.post(f"{USERS}/email", {"email": "Ada@New.example"})
    assert (changed.status_code, changed.json()["email"]) == (200, "ada@new.example")
    assert "address of your account was changed" in only_mail(api, "ada@example.org").text
    assert (sign_in(api, PASSWORD), sign_in(api, PASSWORD, "ada@new.example")) == (401, 200)
    expect_problem(post(api, "password/reset", token=token, new_password=NEW), 422, "token")
    assert Action.EMAIL_CHANGED in actions(api, ada)


def test_address_is_changed_by_a_link_to_the_new_one(verifying: RunningApi) -> None:
    api = verifying
    for email in ("ada@example.org", "eve@example.org"):
        register(api, email)
        assert post(api, "email/verify", token=token_in(only_mail(api, email))).status_code == 200
    ada = api.log_in()
    for email in ("eve@example.org", "ada@new.example"):
        answer = ada.post(f"{USERS}/email", {"email": email})
        assert (answer.status_code, answer.json()) == (202, {"status": "check_mail"})
    new, taken = sorted(mails(api), key=lambda message: message.to)
    assert (new.to, taken.to) == ("ada@new.example", "eve@example.org")
    assert "#token=" not in taken.text
    assert ada.get(f"{USERS}/profile").json()["email"] == "ada@example.org"
    assert post(api, "email/verify", token=token_in(new)).status_code == 200
    assert ada.get(f"{USERS}/profile").json()["email"] == "ada@new.example"
    assert only_mail(api, "ada@example.org").subject.endswith("address was changed")


def test_change_of_the_address_needs_a_recent_proof(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=11)
    answer = ada.post(f"{USERS}/email", {"email": "ada@new.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")


# Terms.


def test_terms_are_accepted_by_version(share_api: Callable[..., RunningApi]) -> None:
    api = share_api(attrs.evolve(WITHOUT_LIMITS, terms_version="2024-05"))
    assert api.client.get(f"{USERS}/terms").json() == {"version": "2024-05"}
    for terms in (None, "2023-01"):
        assert "2024-05" in expect_problem(register(api, terms=terms), 422, "terms")
    assert register(api, terms="2024-05").status_code == 201
    user = api.log_in()
    profile = user.get(f"{USERS}/profile").json()
    assert profile["terms"] == "2024-05"
    assert profile["terms_accepted"] == profile["created"]


def test_acceptance_is_recorded_once(api: RunningApi, ada: ApiUser) -> None:
    assert ada.get(f"{USERS}/profile").json()["terms"] is None
    for _ in range(2):
        accepted = ada.post(f"{USERS}/terms", {"version": "2024-05"})
        assert (accepted.status_code, accepted.json()["terms"]) == (200, "2024-05")
        api.time.advance(minutes=1)
    first = api.time() - timedelta(minutes=2)
    assert accepted.json()["terms_accepted"] == first.isoformat().replace("+00:00", "Z")
    assert actions(api, ada).count(Action.TERMS_ACCEPTED) == 1
    expect_problem(ada.post(f"{USERS}/terms", {"version": "not a version"}), 400, "version")
