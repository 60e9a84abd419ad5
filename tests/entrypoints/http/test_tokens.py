"""Logins, tokens and their revocation."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from rebalancer.adapters.security.keys import HkdfKeys
from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.adapters.security.tokens import JwtTokens
from rebalancer.application.ports.accounts import Passwords
from rebalancer.application.ports.keys import ACCESS_TOKENS, RATE_LIMITS
from rebalancer.config import DEVELOPMENT_KEY
from tests.entrypoints.http.conftest import (
    PASSWORD,
    START,
    UNKNOWN_ID,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
    in_parallel,
    provide_values,
)

KEYS = HkdfKeys((DEVELOPMENT_KEY,))
KEY = KEYS.of(ACCESS_TOKENS)[0]


def signed(
    key: bytes | str = KEY.value,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A token with ordinary claims but for some; None leaves one out."""
    ordinary = {
        "iss": "rebalancer",
        "aud": "rebalancer",
        "client_id": "rebalancer",
        "jti": "1",
        "sub": str(UNKNOWN_ID),
        "fam": str(UNKNOWN_ID),
        "iat": START,
        "exp": START.timestamp() + 60,
    }
    given = {name: value for name, value in (ordinary | claims).items() if value is not None}
    named = {"typ": "at+jwt", "kid": KEY.id} | (headers or {})
    if named["kid"] is None:
        del named["kid"]
    return jwt.encode(given, key, algorithm=algorithm, headers=named)


def unsigned(algorithm: str) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": "rebalancer", "sub": str(UNKNOWN_ID), "exp": START.timestamp() + 60}
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}."


FORGED = {
    "another key": signed("x" * 40),
    "another algorithm": signed("x" * 64, "HS512"),
    "our key with another algorithm": signed(KEY.value * 2, "HS512"),
    "the secret itself": signed(DEVELOPMENT_KEY),
    "the secret itself without an id": signed(DEVELOPMENT_KEY, headers={"kid": None}),
    "the key of another purpose": signed(KEYS.of(RATE_LIMITS)[0].value),
    "the id of another purpose": signed(headers={"kid": KEYS.of(RATE_LIMITS)[0].id}),
    "an unknown key": signed(headers={"kid": "0123456789ab"}),
    "a path for a key": signed(headers={"kid": "/dev/null"}),
    "another type": signed(headers={"typ": "JWT"}),
    "no type": signed(headers={"typ": None}),
    "another deployment": signed(aud="https://other.example"),
    "two deployments with another first": signed(aud=["https://other.example"]),
    "no audience": signed(aud=None),
    "no client": signed(client_id=None),
    "no id of a token": signed(jti=None),
    "no algorithm": unsigned("none"),
    "No algorithm": unsigned("None"),
    "no signature": unsigned("HS256"),
    "another issuer": signed(iss="somebody"),
    "no issuer": signed(iss=None),
    "no end": signed(exp=None),
    "no session": signed(fam=None),
    "no id of a session": signed(fam="mine"),
    "a number for a login": signed(fam=7),
    "a start to come": signed(nbf=START.timestamp() + 10**9),
    "no start": signed(iat=None),
    "a start in the future": signed(
        iat=START.timestamp() + 3600, exp=START.timestamp() + 3600 + 60
    ),
    "ten years": signed(exp=START.timestamp() + 10 * 365 * 86_400),
    "longer than ours": signed(exp=START.timestamp() + 15 * 60 + 1),
    "an end before its start": signed(exp=START.timestamp() - 1),
    "an infinite end": signed(exp=float("inf")),
    "a huge end": signed(exp=10**400),
    "no number": signed(exp="x"),
    "nobody": signed(sub=None),
    "no id": signed(sub="ada"),
    "garbage": "garbage",
    "dots": "..",
    "not ASCII": "ÿ.ÿ.ÿ",
    "long": "a" * 50_000,
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_token_is_rejected(api: RunningApi, name: str) -> None:
    header = {"Authorization": f"Bearer {FORGED[name]}".encode("latin-1")}
    answer = checked(api.client.get("/api/users/profile", headers=header))
    expect_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer", "Bearer  ", "\x00"]
)
def test_invalid_authorization_header_is_rejected(api: RunningApi, header: str) -> None:
    expect_problem(api.client.get("/api/users/profile", headers={"Authorization": header}), 401)


def test_scheme_is_case_insensitive(ada: ApiUser) -> None:
    token = ada.login["access_token"]
    for scheme in ("bearer", "BEARER", "Bearer "):
        header = {"Authorization": f"{scheme} {token}"}
        assert ada.client.get("/api/users/profile", headers=header).status_code == 200


def test_type_and_a_list_of_audiences_are_accepted(api: RunningApi, ada: ApiUser) -> None:
    claims = {"sub": str(ada.id)}
    for token in (
        signed(**claims, headers={"typ": "AT+JWT"}),
        signed(**claims, aud=["another", "rebalancer"]),
    ):
        user = ApiUser(api.client, ada.login | {"access_token": token})
        assert user.get("/api/users/profile").status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        signed(DEVELOPMENT_KEY, headers={"typ": "JWT", "kid": None}, aud=None, jti=None),
        signed(headers={"kid": "0123456789ab"}),
    ],
    ids=["earlier version", "replaced key"],
)
def test_token_of_an_earlier_version_or_key_is_refreshed(api: RunningApi, token: str) -> None:
    answer = api.client.get("/api/users/profile", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "access_token_expired")


def test_access_token_expires(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=14, seconds=59)
    assert ada.get("/api/users/profile").status_code == 200
    api.time.advance(seconds=1)
    assert "has expired" in expect_problem(ada.get("/api/users/profile"), 401)


def test_clock_of_the_issuer_may_be_a_little_ahead(api: RunningApi, ada: ApiUser) -> None:
    tokens = JwtTokens(KEYS)
    for ahead, status in ((30, 200), (90, 401)):
        token, _ = tokens.create_access_token(ada.id, ada.id, START + timedelta(seconds=ahead))
        user = ApiUser(api.client, ada.login | {"access_token": token})
        assert user.get("/api/users/profile").status_code == status


def test_token_of_deleted_user_is_rejected(api: RunningApi, ada: ApiUser) -> None:
    token, _ = JwtTokens(KEYS).create_access_token(UNKNOWN_ID, UNKNOWN_ID, START)
    gone = ApiUser(api.client, ada.login | {"access_token": token})
    answers = {
        one["id"]: one["answers"][0]["id"]
        for one in api.client.get("/api/risk/questionnaire").json()["questions"]
    }
    for profile in ({}, {"risk_profile": None}):
        opening = {"name": "Mine", "targets": {"C": 1}} | profile
        expect_problem(gone.post("/api/portfolios", opening), 401)
    expect_problem(gone.get("/api/users/profile"), 401)
    expect_problem(gone.post("/api/risk/assessment", {"answers": answers}), 401)
    expect_problem(gone.post("/api/backtest", {"policies": ["monthly"], "from": "2022-11-14"}), 401)
    assert gone.get("/api/portfolios").json()["items"] == []
    expect_problem(gone.get(f"/api/portfolios/{ada.portfolio()['id']}"), 404)


def test_login_does_not_reveal_registered_users(api: RunningApi, ada: ApiUser) -> None:
    answers = [
        checked(api.client.post("/api/users/login", json={"email": email, "password": password}))
        for email, password in (
            ("ada@example.org", "wrong password"),
            ("bob@example.org", PASSWORD),
            ("no address", PASSWORD),
            ("ada@example.org", ""),
        )
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


def test_passwords_are_not_revealed(api: RunningApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hunter2 walks on thin ice"
    client, email = api.client, "eve@example.org"
    responses = [
        client.post("/api/users/register", json={"email": email, "password": secret}),
        client.post("/api/users/register", json={"email": email, "password": secret}),
        client.post("/api/users/register", json={"email": "eve", "password": secret}),
        client.post("/api/users/register", json={"email": [secret], "password": [secret]}),
        client.post("/api/users/register", json={"email": email, "password": {"x": secret}}),
        client.post("/api/users/register", json={"email": email, "password": secret * 9}),
        client.post("/api/users/login", json={"email": email, "password": secret}),
        client.post("/api/users/login", json={"email": email, "password": secret + "?"}),
    ]
    profile = ApiUser(client, responses[6].json()).get("/api/users/profile")
    api.work.failure = RuntimeError("boom")
    responses.append(client.post("/api/users/register", json={"email": email, "password": secret}))
    assert [answer.status_code for answer in responses] == [
        201,
        409,
        422,
        400,
        400,
        400,
        200,
        401,
        500,
    ]
    for answer in (*responses, profile):
        assert "hunter2" not in answer.text
        assert "argon2" not in answer.text
    assert "boom" in caplog.text
    assert "hunter2" not in caplog.text


def refreshed(api: RunningApi, token: str) -> Any:
    return checked(api.client.post("/api/users/refresh", json={"refresh_token": token}))


def test_refresh_token_is_exchanged_for_another(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(minutes=20)
    second = refreshed(api, ada.login["refresh_token"]).json()
    assert second["refresh_token"] != ada.login["refresh_token"]
    assert ApiUser(api.client, second).get("/api/users/profile").status_code == 200
    third = refreshed(api, second["refresh_token"])
    assert third.status_code == 200


def test_reused_refresh_token_revokes_its_login(api: RunningApi, ada: ApiUser) -> None:
    elsewhere = api.log_in()
    second = refreshed(api, ada.login["refresh_token"]).json()
    expect_problem(refreshed(api, ada.login["refresh_token"]), 401)
    expect_problem(refreshed(api, second["refresh_token"]), 401)
    assert refreshed(api, elsewhere.login["refresh_token"]).status_code == 200


def test_refresh_token_expires(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(days=30)
    expect_problem(refreshed(api, ada.login["refresh_token"]), 401)


def test_access_and_refresh_tokens_are_not_interchangeable(api: RunningApi, ada: ApiUser) -> None:
    expect_problem(refreshed(api, ada.login["access_token"][:200]), 401)
    header = {"Authorization": f"Bearer {ada.login['refresh_token']}"}
    expect_problem(api.client.get("/api/users/profile", headers=header), 401)


def test_concurrent_refreshes_succeed_once(api: RunningApi, ada: ApiUser) -> None:
    answers = in_parallel(6, lambda _: refreshed(api, ada.login["refresh_token"]))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401, 401]


def test_refresh_after_logout_is_rejected(api: RunningApi, ada: ApiUser) -> None:
    token = {"refresh_token": ada.login["refresh_token"]}
    elsewhere = api.log_in()
    for _ in range(2):
        left = api.client.post("/api/users/logout", json=token)
        assert (left.status_code, left.text) == (204, "")
    expect_problem(refreshed(api, token["refresh_token"]), 401)
    assert refreshed(api, elsewhere.login["refresh_token"]).status_code == 200


def test_access_tokens_are_revoked_with_their_login(api: RunningApi, ada: ApiUser) -> None:
    elsewhere = api.log_in()
    second = refreshed(api, ada.login["refresh_token"]).json()
    later = ApiUser(api.client, second)
    assert {one.get("/api/users/profile").status_code for one in (ada, later, elsewhere)} == {200}
    body = {"refresh_token": second["refresh_token"]}
    assert api.client.post("/api/users/logout", json=body).status_code == 204
    for one in (ada, later):
        assert "has ended" in expect_problem(one.get("/api/users/profile"), 401)
    assert elsewhere.get("/api/users/profile").status_code == 200
    assert api.log_in().get("/api/users/profile").status_code == 200


def test_reused_refresh_token_revokes_access_tokens(api: RunningApi, ada: ApiUser) -> None:
    thief = ApiUser(api.client, refreshed(api, ada.login["refresh_token"]).json())
    assert thief.get("/api/users/profile").status_code == 200
    expect_problem(refreshed(api, ada.login["refresh_token"]), 401)
    expect_problem(thief.get("/api/users/profile"), 401)
    expect_problem(ada.get("/api/users/profile"), 401)


def test_expired_refresh_token_revokes_nothing(api: RunningApi, ada: ApiUser) -> None:
    api.time.advance(days=29, hours=23, minutes=59)
    second = ApiUser(api.client, refreshed(api, ada.login["refresh_token"]).json())
    api.time.advance(minutes=2)
    expect_problem(refreshed(api, ada.login["refresh_token"]), 401)
    assert second.get("/api/users/profile").status_code == 200


def test_login_to_unknown_account_computes_a_hash(start_api: Callable[..., RunningApi]) -> None:
    compared: list[bool] = []

    class RecordingPasswords(ArgonPasswords):
        def verify(self, password: str, hashed: str | None) -> bool:
            compared.append(hashed is None)
            return super().verify(password, hashed)

    api = start_api(provide_values({Passwords: RecordingPasswords(time_cost=1, memory_kib=64)}))
    api.register()
    for email in ("ada@example.org", "eve@example.org"):
        api.client.post("/api/users/login", json={"email": email, "password": "wrong"})
    assert compared == [False, False, True]  # a hash is computed for an unknown account too


def test_login_states_when_its_tokens_expire(api: RunningApi, ada: ApiUser) -> None:
    assert ada.login["refresh_expires"] == (START + timedelta(days=30)).isoformat().replace(
        "+00:00", "Z"
    )


def test_responses_with_tokens_are_not_cached(api: RunningApi, ada: ApiUser) -> None:
    for answer in (
        api.client.post(
            "/api/users/login", json={"email": "ada@example.org", "password": PASSWORD}
        ),
        refreshed(api, ada.login["refresh_token"]),
    ):
        assert answer.headers["cache-control"] == "no-store"
