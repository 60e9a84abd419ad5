"""Rate limits and the headers that state them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import TestClient

from rebalancer.adapters.memory.rate_limits import MemoryRateLimits
from rebalancer.application.ports.rate_limits import RateLimits
from rebalancer.config import Settings
from rebalancer.entrypoints.http.rate_limits import address_of
from tests.contracts.redises import connected
from tests.entrypoints.http.conftest import (
    PASSWORD,
    ApiUser,
    RunningApi,
    checked,
    expect_problem,
    provide_values,
)


class Seconds:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def store() -> str:
    """Use memory: the store does not matter here."""
    return "memory"


@pytest.fixture
def limited(start_api: Callable[..., RunningApi], seconds: Seconds) -> Callable[..., RunningApi]:
    """Start the application with the limits of a test, and no others."""

    def start(**settings: int) -> RunningApi:
        limits = provide_values({RateLimits: MemoryRateLimits(clock=seconds)})
        unlimited = {"rate_limit": 0, "login_limit": 0}
        return start_api(limits, settings=Settings(**(unlimited | settings)))

    return start


def limit_headers(answer: httpx.Response) -> dict[str, str]:
    """Return the rate limit headers of a response."""
    return {
        name.removeprefix("ratelimit-"): value
        for name, value in answer.headers.items()
        if name.startswith("ratelimit-")
    }


def test_each_response_states_the_remaining_requests(
    limited: Callable[..., RunningApi], seconds: Seconds
) -> None:
    client = limited(rate_limit=5).client
    for left, (method, path) in enumerate(
        [
            ("GET", "/api/risk/questionnaire"),
            ("GET", "/api/no/such/path"),
            ("DELETE", "/api/users/profile"),
            ("GET", "/docs/openapi.json"),
            ("POST", "/api/users/login"),
        ]
    ):
        answer = client.request(method, path)
        assert limit_headers(answer) == {
            "limit": "5",
            "remaining": str(4 - left),
            "reset": "60",
            "policy": "5;w=60",
        }
    seconds.now += 20.5
    for path in ("/api/risk/questionnaire", "/no/such/path", "/docs", "//api/users/profile"):
        refused = checked(client.get(path))
        detail = expect_problem(refused, 429)
        assert detail == "more than 5 requests within a minute; try again in 40 seconds"
        assert refused.json()["title"] == "Too many requests"
        assert refused.headers["retry-after"] == "40"
        assert limit_headers(refused)["remaining"] == "0"
        assert limit_headers(refused)["reset"] == "40"
    seconds.now += 39.5
    assert client.get("/api/risk/questionnaire").status_code == 200


def test_rejected_head_request_has_no_body(limited: Callable[..., RunningApi]) -> None:
    client = limited(rate_limit=1).client
    client.head("/docs")
    refused = client.head("/docs")
    assert (refused.status_code, refused.content) == (429, b"")
    assert int(refused.headers["content-length"]) > 0


def test_responses_without_limits_have_no_limit_headers(limited: Callable[..., RunningApi]) -> None:
    client = limited().client
    for _ in range(30):
        answer = client.post("/api/users/login", json={"email": "a@b.org"})
        assert answer.status_code == 400
        assert limit_headers(answer) == {}


def test_users_and_addresses_are_counted_separately(limited: Callable[..., RunningApi]) -> None:
    api = limited(rate_limit=50)
    ada, bob = api.register(), api.register("bob@example.org")
    used = 4  # two registrations and two logins, counted by address

    def left(**headers: str) -> str:
        return limit_headers(api.client.get("/api/users/profile", headers=headers))["remaining"]

    assert limit_headers(ada.get("/api/users/profile"))["remaining"] == str(49 - used)
    for _ in range(3):
        ada.get("/api/users/profile")
    assert limit_headers(bob.get("/api/users/profile"))["remaining"] == str(49 - used - 4)
    # An invalid or expired token counts against the address only.
    assert left(Authorization="Bearer nonsense") == str(49 - used - 5)
    api.time.advance(minutes=15)
    assert left(**ada.headers) == str(49 - used - 6)


def test_user_is_limited_across_addresses(limited: Callable[..., RunningApi]) -> None:
    api = limited(rate_limit=6, trusted_proxies=1)

    def ask(who: ApiUser, place: str) -> int:
        return who.get("/api/users/profile", headers={"X-Forwarded-For": place}).status_code

    ada, bob = api.register(), api.register("bob@example.org")
    assert [ask(ada, f"203.0.113.{n}") for n in range(7)] == [200] * 6 + [429]
    assert ask(bob, "203.0.113.7") == 200
    assert ask(ada, "203.0.113.7") == 429


@pytest.mark.parametrize(
    "header",
    [
        "Basic YTpi",
        "Bearer",
        "Bearer ",
        "Token x",
        "Bearer nonsense",
        "bearer\tx",
        "",
        " ",
        "\xff",
        "Bearer \xff.\xe9.\x80",
        "Bearer " + "x" * 4000,
    ],
)
def test_requests_with_any_authorization_header_are_counted(
    limited: Callable[..., RunningApi], header: str
) -> None:
    client = limited(rate_limit=9).client
    headers = [(b"authorization", header.encode("latin-1"))]
    detail = []
    for path, status in (
        ("/api/users/profile", 401),
        ("/api/portfolios", 401),
        ("/api/risk/questionnaire", 200),
        ("/docs/openapi.json", 200),
        ("/api/no/such/path", 404),
        ("/health/live", 200),
    ):
        answer = checked(client.get(path, headers=headers))
        assert answer.status_code == status, (path, answer.text)
        detail.append(limit_headers(answer)["remaining"])
    assert detail == ["8", "7", "6", "5", "4", "89"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("login", {"email": "eve@example.org", "password": "wrong"}, 401),
        ("register", {"email": "nobody", "password": "long enough for all"}, 422),
        ("login", {"no": "sense"}, 400),
    ],
)
def test_login_attempts_are_limited(
    limited: Callable[..., RunningApi], seconds: Seconds, path: str, body: Any, status: int
) -> None:
    client = limited(login_limit=3, rate_limit=100).client
    answers = [checked(client.post(f"/api/users/{path}", json=body)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [status] * 3 + [429] * 2
    assert [limit_headers(answer)["remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {limit_headers(answer)["limit"] for answer in answers} == {"3"}
    assert answers[-1].headers["retry-after"] == "60"
    detail = answers[-1].json()["detail"]
    assert detail == (
        "more than 3 attempts to log in or register within a minute; try again in 60 seconds"
    )
    for other in ("login", "login/", "register"):  # they share one limit
        assert client.post(f"/api/users/{other}", json=body).status_code == 429
    assert client.get("/api/risk/questionnaire").status_code == 200
    seconds.now += 60
    assert client.post(f"/api/users/{path}", json=body).status_code == status


@pytest.mark.parametrize(
    ("address", "most"),
    [("2001:db8:1:2::{:x}", 3), ("2001:db8:1:{:x}::1", 6), ("2001:db8:1:{:x}00::1", 12)],
    ids=["a /64", "a /56", "a /48"],
)
def test_login_attempts_of_larger_networks_are_limited(
    limited: Callable[..., RunningApi], address: str, most: int
) -> None:
    client = limited(login_limit=3, trusted_proxies=1).client
    statuses = [
        client.post(
            "/api/users/login", json={}, headers={"X-Forwarded-For": address.format(number + 1)}
        ).status_code
        for number in range(15)
    ]
    assert statuses == [400] * most + [429] * (15 - most)


def test_refresh_counts_against_the_usual_limit(
    limited: Callable[..., RunningApi],
) -> None:
    api = limited(login_limit=2, rate_limit=100)
    secret = api.register().login["refresh_token"]
    for _ in range(22):  # users of one office share an address
        answer = api.client.post("/api/users/refresh", json={"refresh_token": secret})
        assert (answer.status_code, limit_headers(answer)["limit"]) == (200, "100")
        secret = answer.json()["refresh_token"]
    wrong = [api.client.post("/api/users/refresh", json={"refresh_token": "x"}) for _ in range(9)]
    assert {answer.status_code for answer in wrong} == {401}


def trying(client: TestClient[Any]) -> Callable[..., int]:
    """Return a function that tries to log in from an address and returns the status."""

    def attempt(number: int, email: str, password: str = "wrong") -> int:
        return checked(
            client.post(
                "/api/users/login",
                json={"email": email, "password": password},
                headers={"X-Forwarded-For": f"203.0.113.{number}"},
            )
        ).status_code

    return attempt


def test_guesses_do_not_lock_out_the_owner(limited: Callable[..., RunningApi]) -> None:
    api = limited(login_limit=20, trusted_proxies=1)
    device = api.register("ada@example.org").login["device_token"]
    attempt = trying(api.client)
    tried = [attempt(number, "ada@example.org") for number in range(1, 26)]
    assert tried == [401] * 5 + [429] * 20
    assert attempt(99, "ada@example.org", PASSWORD) == 429
    right = {"email": "ada@example.org", "password": PASSWORD}
    known = {"Device-Token": device, "X-Forwarded-For": "203.0.113.99"}
    login = api.client.post("/api/users/login", json=right, headers=known)
    assert (login.status_code, login.json()["device_token"]) == (200, None)
    assert attempt(99, "bob@example.org") == 401


def test_pause_is_stated(limited: Callable[..., RunningApi]) -> None:
    api = limited(login_limit=20, trusted_proxies=1)
    attempt = trying(api.client)
    for number in range(5):
        attempt(number, "ada@example.org")
    answer = api.client.post(
        "/api/users/login", json={"email": "ada@example.org", "password": "wrong"}
    )
    assert expect_problem(answer, 429) == (
        "too many wrong passwords or codes in a row; try again in 1 s"
    )
    assert (answer.headers["retry-after"], answer.json()["code"]) == ("1", "login_delayed")


def test_redis_keys_hold_no_email_addresses(
    start_api: Callable[..., RunningApi], redis_url: str
) -> None:
    with connected(redis_url) as connection:
        api = start_api(settings=Settings(redis_url=redis_url, redis_prefix=connection.prefix))
        api.register("ada@example.org")
        names = [
            name.decode()
            for name in connection.ask(lambda client: client.keys(connection.name("*")))
        ]
        kinds = {name.split(":")[2] for name in names if name.split(":")[1] == "limits"}
        assert kinds == {"requests", "login", "registration"}
        texts = [name.removeprefix(connection.prefix) for name in names]  # which is random
        assert not [text for text in texts if "ada" in text or "@" in text]


def test_health_checks_have_a_higher_limit(limited: Callable[..., RunningApi]) -> None:
    client = limited(rate_limit=2).client
    answers = [client.get("/health/live") for _ in range(21)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert limit_headers(answers[0]) == {
        "limit": "20",
        "remaining": "19",
        "reset": "60",
        "policy": "20;w=60",
    }
    assert client.get("/api/risk/questionnaire").status_code == 200


def test_forwarded_address_is_ignored_without_proxies(
    limited: Callable[..., RunningApi],
) -> None:
    client = limited(rate_limit=2).client
    statuses = [
        client.get(
            "/api/risk/questionnaire", headers={"X-Forwarded-For": f"203.0.113.{n}"}
        ).status_code
        for n in range(3)
    ]
    assert statuses == [200, 200, 429]


def scope(*forwarded: str, client: str | None = "10.0.0.1") -> dict[str, Any]:
    return {
        "client": (client, 4000) if client else None,
        "headers": [(b"x-forwarded-for", one.encode()) for one in forwarded],
    }


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, ["198.51.100.1"], "10.0.0.1"),
        (1, [], "10.0.0.1"),
        (1, ["198.51.100.1"], "198.51.100.1"),
        (1, ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        (2, ["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        (2, ["6.6.6.6", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        (2, ["198.51.100.1"], "10.0.0.1"),  # past one of the proxies
        (1, ["198.51.100.1:5678"], "198.51.100.1"),
        (1, ["[2001:db8:1:2:3:4:5:6]:5678"], "2001:db8:1:2::/64"),
        (1, ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        (1, ["::ffff:198.51.100.1"], "198.51.100.1"),
        (1, ["unknown"], "unknown"),
        (1, ["_hidden:1:2"], "_hidden:1:2"),
    ],
)
def test_client_address(proxies: int, forwarded: list[str], address: str) -> None:
    assert address_of(scope(*forwarded), proxies) == address


@given(detail=st.lists(st.text(st.characters(codec="latin-1"), max_size=300), max_size=4))
def test_any_forwarded_header_gives_a_short_address(detail: list[str]) -> None:
    headers = [(b"x-forwarded-for", one.encode("latin-1")) for one in detail]
    for proxies in range(4):
        found = address_of({"client": None, "headers": headers}, proxies)
        assert len(found) <= 100


def test_default_limits_allow_usual_traffic(start_api: Callable[..., RunningApi]) -> None:
    api = start_api(settings=Settings())
    ada = api.register()
    for _ in range(100):
        assert ada.get("/api/users/profile").status_code == 200
    for _ in range(5):
        credentials = {"email": "ada@example.org", "password": PASSWORD}
        assert api.client.post("/api/users/login", json=credentials).status_code == 200
