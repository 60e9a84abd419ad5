"""Authenticator apps, recovery codes, and the second step of a login."""

from __future__ import annotations

from typing import Any

import pyotp
import pytest

from tests.authenticator import Authenticator
from tests.entrypoints.http.conftest import (
    PASSWORD,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
    in_parallel,
)

LOGIN = "/api/users/login"
SECOND = "/api/users/login/second-factor"


def post(api: RunningApi, path: str, json: Any = None) -> Any:
    return checked(api.client.post(path, json=json))


def code_of(api: RunningApi, secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(api.time(), counter_offset=steps)


def wrong(api: RunningApi, secret: str) -> str:
    """Return a code that is not valid now."""
    near = {code_of(api, secret, steps) for steps in range(-2, 3)}
    return next(code for code in (str(digit) * 6 for digit in range(6)) if code not in near)


def set_up(api: RunningApi, person: ApiUser) -> tuple[str, list[str]]:
    """Set up an authenticator app; return its secret and the recovery codes."""
    secret = person.post("/api/users/totp").json()["secret"]
    confirmed = person.post("/api/users/totp/confirm", {"code": code_of(api, secret)})
    assert confirmed.status_code == 200, confirmed.text
    api.time.advance(seconds=60)
    return secret, confirmed.json()["recovery_codes"]


def ticket(api: RunningApi, email: str = "ada@example.org") -> str:
    asked = post(api, LOGIN, {"email": email, "password": PASSWORD})
    expect_problem(asked, 401)
    assert asked.json()["code"] == "second_factor_required"
    assert asked.headers["cache-control"] == "no-store"
    return str(asked.json()["ticket"])


def complete(api: RunningApi, held: str, **proof: Any) -> Any:
    return post(api, SECOND, {"ticket": held, **proof})


def method_of(api: RunningApi, login: Any) -> str:
    """Return how the session of a login was authenticated."""
    owner = ApiUser(api.client, login.json()).id
    with api.work.read() as tx:
        sessions = tx.sessions.active(owner, api.time())
    return max(sessions, key=lambda session: session.created).method


def test_app_is_confirmed_by_its_first_code(api, ada):
    started = ada.post("/api/users/totp")
    assert started.status_code == 201
    secret, uri = started.json()["secret"], started.json()["uri"]
    assert uri.startswith("otpauth://totp/rebalancer:ada%40example.org?secret=" + secret)
    assert ada.get("/api/users/factors").json() == {
        "password": True,
        "passkeys": 0,
        "totp": False,
        "recovery_codes": 0,
    }
    refused = ada.post("/api/users/totp/confirm", {"code": wrong(api, secret)})
    assert "check the clock" in expect_problem(refused, 422, "code")
    assert api.log_in().id == ada.id  # not yet a second factor
    confirmed = ada.post("/api/users/totp/confirm", {"code": code_of(api, secret)})
    assert len(set(confirmed.json()["recovery_codes"])) == 10
    expect_problem(ada.post("/api/users/totp/confirm", {"code": code_of(api, secret)}), 409)
    expect_problem(ada.post("/api/users/totp"), 409)
    assert ada.get("/api/users/factors").json() == {
        "password": True,
        "passkeys": 0,
        "totp": True,
        "recovery_codes": 10,
    }


def test_unconfirmed_secret_is_replaced(api, ada):
    first, second = (ada.post("/api/users/totp").json()["secret"] for _ in range(2))
    expect_problem(ada.post("/api/users/totp/confirm", {"code": code_of(api, first)}), 422)
    assert ada.post("/api/users/totp/confirm", {"code": code_of(api, second)}).status_code == 200


def test_password_and_code_log_in(api, ada):
    secret, _ = set_up(api, ada)
    asked = post(api, LOGIN, {"email": "ada@example.org", "password": PASSWORD})
    assert asked.json()["methods"] == ["totp", "recovery_code"]
    assert asked.json()["expires_in"] == 300
    assert "access_token" not in asked.text
    code = code_of(api, secret)
    given = complete(api, asked.json()["ticket"], code=f" {code[:3]} {code[3:]}")
    assert given.status_code == 200, given.text
    assert ApiUser(api.client, given.json()).id == ada.id
    assert method_of(api, given) == "password+totp"


def test_code_is_accepted_once(api, ada):
    secret, _ = set_up(api, ada)
    code = code_of(api, secret)
    assert complete(api, ticket(api), code=code).status_code == 200
    refused = complete(api, ticket(api), code=code)
    assert "used before" in expect_problem(refused, 401)
    assert refused.json()["code"] == "wrong_code"
    earlier = complete(api, ticket(api), code=code_of(api, secret, -1))
    expect_problem(earlier, 401)
    api.time.advance(seconds=30)
    assert complete(api, ticket(api), code=code_of(api, secret)).status_code == 200


def test_code_that_confirmed_the_app_is_used_up(api, ada):
    secret = ada.post("/api/users/totp").json()["secret"]
    code = code_of(api, secret)
    ada.post("/api/users/totp/confirm", {"code": code})
    expect_problem(complete(api, ticket(api), code=code), 401)


def test_simultaneous_logins_with_one_code_succeed_once(api, ada):
    secret, _ = set_up(api, ada)
    held, code = [ticket(api) for _ in range(4)], code_of(api, secret)
    answers = in_parallel(4, lambda number: complete(api, held[number], code=code))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 401, 401, 401]


def test_ticket_completes_one_login(api, ada):
    secret, codes = set_up(api, ada)
    held = ticket(api)
    assert complete(api, held, code=code_of(api, secret)).status_code == 200
    refused = complete(api, held, recovery_code=codes[0])
    assert refused.json()["code"] == "ticket_invalid"
    assert complete(api, ticket(api), recovery_code=codes[0]).status_code == 200


def test_ticket_expires(api, ada):
    secret, _ = set_up(api, ada)
    held = ticket(api)
    api.time.advance(minutes=5)
    assert complete(api, held, code=code_of(api, secret)).json()["code"] == "ticket_invalid"


def test_five_wrong_codes_end_a_login(api, ada):
    secret, codes = set_up(api, ada)
    held = ticket(api)
    for _ in range(5):
        assert complete(api, held, code=wrong(api, secret)).json()["code"] == "wrong_code"
    refused = complete(api, held, code=code_of(api, secret))
    assert "enter the password again" in expect_problem(refused, 401)
    assert complete(api, ticket(api), recovery_code=codes[0]).status_code == 200


def test_wrong_codes_slow_down_further_ones(api, ada):
    secret, codes = set_up(api, ada)
    held = ticket(api)
    for _ in range(4):
        complete(api, held, code=wrong(api, secret))
    held = ticket(api)
    assert complete(api, held, code=wrong(api, secret)).json()["code"] == "wrong_code"
    api.time.advance(seconds=0.5)
    delayed = complete(api, held, code=code_of(api, secret))
    assert "too many wrong passwords or codes" in expect_problem(delayed, 429)
    assert delayed.headers["retry-after"] == "1"
    assert complete(api, held, recovery_code=codes[0]).status_code == 200
    held = ticket(api)
    assert complete(api, held, code=wrong(api, secret)).json()["code"] == "wrong_code"


def test_right_code_ends_the_pauses(api, ada):
    secret, _ = set_up(api, ada)
    held = ticket(api)
    for _ in range(4):
        complete(api, held, code=wrong(api, secret))
    assert complete(api, held, code=code_of(api, secret)).status_code == 200
    held = ticket(api)
    for _ in range(4):
        assert complete(api, held, code=wrong(api, secret)).json()["code"] == "wrong_code"


def test_ticket_of_another_user_does_not_help(api, ada):
    secret, codes = set_up(api, ada)
    eve = api.register("eve@example.org")
    set_up(api, eve)
    held = ticket(api, "eve@example.org")
    for proof in ({"code": code_of(api, secret)}, {"recovery_code": codes[0]}):
        expect_problem(complete(api, held, **proof), 401)


def test_recovery_code_logs_in_once(api, ada):
    _, codes = set_up(api, ada)
    typed = codes[3].replace("-", " ").lower()
    given = complete(api, ticket(api), recovery_code=typed)
    assert given.status_code == 200, given.text
    assert method_of(api, given) == "password+recovery_code"
    assert "used before" in expect_problem(complete(api, ticket(api), recovery_code=typed), 401)
    assert ada.get("/api/users/factors").json()["recovery_codes"] == 9


def test_new_recovery_codes_replace_the_old_ones(api, ada):
    expect_problem(ada.post("/api/users/recovery-codes"), 409)
    _, old = set_up(api, ada)
    renewed = ada.post("/api/users/recovery-codes")
    assert renewed.status_code == 201
    new = renewed.json()["recovery_codes"]
    assert len(set(new) | set(old)) == 20
    expect_problem(complete(api, ticket(api), recovery_code=old[0]), 401)
    assert complete(api, ticket(api), recovery_code=new[0]).status_code == 200


def test_stored_codes_cannot_be_read(api, ada):
    secret, codes = set_up(api, ada)
    shown = str(ada.get("/api/users/factors").json()) + str(ada.get("/api/users/profile").json())
    assert secret not in shown and not [code for code in codes if code in shown]


def test_passkey_is_a_second_factor(api, ada):
    phone = Authenticator()
    added = ada.add_passkey(phone)
    api.time.advance(seconds=1)
    asked = post(api, LOGIN, {"email": "ada@example.org", "password": PASSWORD})
    assert asked.json()["methods"] == ["passkey", "recovery_code"]
    options = post(api, f"{LOGIN}/passkey/options").json()["public_key"]
    given = complete(api, asked.json()["ticket"], credential=phone.get(options))
    assert given.status_code == 200, given.text
    assert method_of(api, given) == "password+passkey"
    assert len(added["recovery_codes"]) == 10
    assert complete(api, ticket(api), recovery_code=added["recovery_codes"][0]).status_code == 200


def test_passkey_of_another_user_is_refused_as_second_factor(api, ada):
    ada.add_passkey(Authenticator())
    eve, hers = api.register("eve@example.org"), Authenticator()
    eve.add_passkey(hers)
    options = post(api, f"{LOGIN}/passkey/options").json()["public_key"]
    refused = complete(api, ticket(api), credential=hers.get(options))
    assert refused.json()["code"] == "passkey_unknown"
    options = post(api, f"{LOGIN}/passkey/options").json()["public_key"]
    forged = hers.get(options, user=ada.id.bytes)
    assert complete(api, ticket(api), credential=forged).json()["code"] == "passkey_unknown"


def test_app_is_removed(api, ada):
    assert ada.delete("/api/users/totp").status_code == 204
    _, codes = set_up(api, ada)
    assert ada.delete("/api/users/totp").status_code == 204
    assert ada.get("/api/users/factors").json()["recovery_codes"] == 0
    assert api.log_in().id == ada.id
    assert set(set_up(api, ada)[1]).isdisjoint(codes)


def test_recovery_codes_stay_while_another_factor_does(api, ada):
    _, codes = set_up(api, ada)
    added = ada.add_passkey(Authenticator())
    assert added["recovery_codes"] == []
    assert ada.delete("/api/users/totp").status_code == 204
    assert complete(api, ticket(api), recovery_code=codes[0]).status_code == 200
    assert ada.delete(f"/api/users/passkeys/{added['id']}").status_code == 204
    assert api.log_in().id == ada.id


def test_changes_need_a_recent_login(api, ada):
    secret = ada.post("/api/users/totp").json()["secret"]
    api.time.advance(minutes=10, seconds=1)
    for answer in (
        ada.post("/api/users/totp"),
        ada.post("/api/users/totp/confirm", {"code": code_of(api, secret)}),
        ada.delete("/api/users/totp"),
        ada.post("/api/users/recovery-codes"),
    ):
        expect_problem(answer, 403)
        assert answer.json()["code"] == "reauthentication_required"


def test_wrong_password_does_not_reveal_the_second_factor(api, ada):
    set_up(api, ada)
    refused = post(api, LOGIN, {"email": "ada@example.org", "password": "not the right password"})
    assert refused.json()["code"] == "wrong_credentials"
    assert "ticket" not in refused.json() and "methods" not in refused.json()


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"code": "123456", "recovery_code": "x"},
        {"code": "1" * 21},
        {"code": ""},
        {"code": 123456},
        {"recovery_code": "x" * 61},
        {"credential": {}},
        {"credential": "x"},
        {"password": "x"},
    ],
    ids=str,
)
def test_silly_proof_is_an_error_of_the_client(api, ada, proof):
    set_up(api, ada)
    refused = complete(api, ticket(api), **proof)
    assert refused.status_code in (400, 422), refused.text


@pytest.mark.parametrize("code", ["123", "abcdef", "\uff11" * 6, "é" * 20, "-", "0x1e24"])
def test_text_that_is_not_a_code_is_wrong(api, ada, code):
    set_up(api, ada)
    expect_problem(complete(api, ticket(api), code=code), 401)


def test_unknown_ticket_is_refused(api):
    for text in ("x", "é", "\u200b", "a" * 200):
        assert complete(api, text, code="123456").json()["code"] == "ticket_invalid"


def test_refused_second_factors_are_in_the_audit_trail(api, ada):
    secret, codes = set_up(api, ada)
    complete(api, ticket(api), code=wrong(api, secret))
    api.time.advance(seconds=1)
    complete(api, ticket(api), recovery_code=codes[0])
    with api.work.read() as tx:
        events = {event.action: event for event in tx.audit.page(ada.id, limit=20)}
    refused = events["second_factor_refused"]
    assert (refused.outcome, refused.details["reason"]) == ("refused", "wrong_code")
    assert {"totp_enabled", "recovery_code_used", "recovery_codes_created"} <= set(events)
    assert not [code for code in codes if code in str(events)]
