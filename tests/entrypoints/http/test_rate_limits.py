"""How often somebody may ask, and what they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import TestClient

from rebalancer.adapters.memory.limits import MemoryRateLimits
from rebalancer.application.ports.limits import RateLimits
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
    """A clock of limits that somebody moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def store() -> str:
    """One is as good as another."""
    return "memory"


@pytest.fixture
def limited(start_api: Callable[..., RunningApi], seconds: Seconds) -> Callable[..., RunningApi]:
    """The application with limits as a test sets them; all else is as many as they like."""

    def start(**settings: int) -> RunningApi:
        limits = provide_values({RateLimits: MemoryRateLimits(clock=seconds)})
        unlimited = {"rate_limit": 0, "login_limit": 0}
        return start_api(limits, settings=Settings(**(unlimited | settings)))

    return start


def told(answer: httpx.Response) -> dict[str, str]:
    """What an answer says of the limits."""
    return {
        name.removeprefix("ratelimit-"): value
        for name, value in answer.headers.items()
        if name.startswith("ratelimit-")
    }


def test_every_answer_says_what_is_left(
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
        assert told(answer) == {
            "limit": "5",
            "remaining": str(4 - left),
            "reset": "60",
            "policy": "5;w=60",
        }
    seconds.now += 20.5
    for path in ("/api/risk/questionnaire", "/no/such/path", "/docs", "//api/users/profile"):
        refused = checked(client.get(path))
        said = expect_problem(refused, 429)
        assert said == "more than 5 requests within a minute; try again in 40 seconds"
        assert refused.json()["title"] == "Too many requests"
        assert refused.headers["retry-after"] == "40"
        assert told(refused)["remaining"] == "0"
        assert told(refused)["reset"] == "40"
    seconds.now += 39.5
    assert client.get("/api/risk/questionnaire").status_code == 200


def test_a_refusal_to_look_at_heads_has_no_body(limited: Callable[..., RunningApi]) -> None:
    client = limited(rate_limit=1).client
    client.head("/docs")
    refused = client.head("/docs")
    assert (refused.status_code, refused.content) == (429, b"")
    assert int(refused.headers["content-length"]) > 0


def test_without_limits_nothing_is_said_of_them(limited: Callable[..., RunningApi]) -> None:
    client = limited().client
    for _ in range(30):
        answer = client.post("/api/users/login", json={"email": "a@b.org", "password": "x"})
        assert answer.status_code == 401
        assert told(answer) == {}


def test_users_count_apart_from_where_they_are(limited: Callable[..., RunningApi]) -> None:
    api = limited(rate_limit=50)
    ada, bob = api.register(), api.register("bob@example.org")
    used = 4  # to register and to log in, which nobody is yet

    def left(**headers: str) -> str:
        return told(api.client.get("/api/users/profile", headers=headers))["remaining"]

    assert told(ada.get("/api/users/profile"))["remaining"] == str(49 - used)
    for _ in range(3):
        ada.get("/api/users/profile")
    assert told(bob.get("/api/users/profile"))["remaining"] == str(49 - used - 4)
    # Whoever shows what is no token, or one that has ended, is nobody but an address.
    assert left(Authorization="Bearer nonsense") == str(49 - used - 5)
    api.time.advance(minutes=15)
    assert left(**ada.headers) == str(49 - used - 6)


def test_a_user_is_limited_wherever_they_ask_from(limited: Callable[..., RunningApi]) -> None:
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
def test_whatever_somebody_shows_is_counted_and_answered(
    limited: Callable[..., RunningApi], header: str
) -> None:
    client = limited(rate_limit=9).client
    headers = [(b"authorization", header.encode("latin-1"))]
    said = []
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
        said.append(told(answer)["remaining"])
    assert said == ["8", "7", "6", "5", "4", "89"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("login", {"email": "eve@example.org", "password": "wrong"}, 401),
        ("register", {"email": "nobody", "password": "long enough"}, 422),
        ("login", {"no": "sense"}, 400),
    ],
)
def test_few_may_try_to_get_in(
    limited: Callable[..., RunningApi], seconds: Seconds, path: str, body: Any, status: int
) -> None:
    client = limited(login_limit=3, rate_limit=100).client
    answers = [checked(client.post(f"/api/users/{path}", json=body)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [status] * 3 + [429] * 2
    assert [told(answer)["remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert {told(answer)["limit"] for answer in answers} == {"3"}
    assert answers[-1].headers["retry-after"] == "60"
    said = answers[-1].json()["detail"]
    assert said == (
        "more than 3 attempts to log in or register within a minute; try again in 60 seconds"
    )
    for other in ("login", "login/", "register"):  # all of them are one door
        assert client.post(f"/api/users/{other}", json=body).status_code == 429
    assert client.get("/api/risk/questionnaire").status_code == 200
    seconds.now += 60
    assert client.post(f"/api/users/{path}", json=body).status_code == status


def test_a_secret_that_cannot_be_guessed_counts_as_any_request(
    limited: Callable[..., RunningApi],
) -> None:
    api = limited(login_limit=2, rate_limit=100)
    secret = api.register().login["refresh_token"]
    for _ in range(22):  # of an office whose people share an address
        answer = api.client.post("/api/users/refresh", json={"refresh_token": secret})
        assert (answer.status_code, told(answer)["limit"]) == (200, "100")
        secret = answer.json()["refresh_token"]
    wrong = [api.client.post("/api/users/refresh", json={"refresh_token": "x"}) for _ in range(9)]
    assert {answer.status_code for answer in wrong} == {401}


def trying(client: TestClient[Any]) -> Callable[..., int]:
    """Tries to log in from a place, and tells the status."""

    def attempt(number: int, email: str, password: str = "wrong") -> int:
        return checked(
            client.post(
                "/api/users/login",
                json={"email": email, "password": password},
                headers={"X-Forwarded-For": f"203.0.113.{number}"},
            )
        ).status_code

    return attempt


def test_whoever_tries_passwords_keeps_nobody_out_who_is_elsewhere(
    limited: Callable[..., RunningApi],
) -> None:
    api = limited(login_limit=20, trusted_proxies=1)
    api.register("ada@example.org")
    attempt = trying(api.client)
    tried = [attempt(1, "ada@example.org") for _ in range(25)]
    assert tried == [401] * 20 + [429] * 5
    assert attempt(2, "ada@example.org", PASSWORD) == 200
    assert attempt(1, "bob@example.org") == 429


def test_an_account_is_guarded_wherever_they_try_from(limited: Callable[..., RunningApi]) -> None:
    attempt = trying(limited(login_limit=3, trusted_proxies=1).client)
    emails = ["Ada@example.org ", "ada@Example.org", "ada@example.org"]
    tried = [attempt(n, emails[n % 3]) for n in range(33)]
    assert tried == [401] * 30 + [429] * 3
    assert attempt(99, "bob@example.org") == 401


def test_redis_is_told_no_addresses_of_mail(
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
        assert kinds == {"requests", "login", "account"}
        assert not [name for name in names if "ada" in name or "@" in name]


def test_who_watches_our_health_may_do_so_more_often(limited: Callable[..., RunningApi]) -> None:
    client = limited(rate_limit=2).client
    answers = [client.get("/health/live") for _ in range(21)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert told(answers[0]) == {
        "limit": "20",
        "remaining": "19",
        "reset": "60",
        "policy": "20;w=60",
    }
    assert client.get("/api/risk/questionnaire").status_code == 200


def test_nobody_is_believed_who_says_where_they_ask_from(
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
def test_where_somebody_asks_from(proxies: int, forwarded: list[str], address: str) -> None:
    assert address_of(scope(*forwarded), proxies) == address


@given(said=st.lists(st.text(st.characters(codec="latin-1"), max_size=300), max_size=4))
def test_whatever_they_say_is_some_place(said: list[str]) -> None:
    headers = [(b"x-forwarded-for", one.encode("latin-1")) for one in said]
    for proxies in range(4):
        found = address_of({"client": None, "headers": headers}, proxies)
        assert len(found) <= 100


def test_people_who_behave_are_in_nobodys_way(start_api: Callable[..., RunningApi]) -> None:
    api = start_api(settings=Settings())
    ada = api.register()
    for _ in range(100):
        assert ada.get("/api/users/profile").status_code == 200
    for _ in range(5):
        credentials = {"email": "ada@example.org", "password": PASSWORD}
        assert api.client.post("/api/users/login", json=credentials).status_code == 200
