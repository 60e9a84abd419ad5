"""Passkeys in a real browser with a virtual authenticator, against a real server.

The page calls the browser's own WebAuthn with the JSON that the server sends, as a client would.
"""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from tests.browser import open_browser, virtual_authenticator

PASSWORD = "a long sentence is best"

CREATE = """async (options) => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return (await navigator.credentials.create({publicKey})).toJSON();
}"""
GET = """async (options) => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({publicKey})).toJSON();
}"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def origin(share_server):
    """Return the origin of a server on a port that its settings name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    origin = f"http://localhost:{port}"
    share_server("--port", str(port), env={"REBALANCER_ORIGINS": origin})
    return origin


@pytest.fixture
def page(browser, origin):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{origin}/health/live")
        yield page


@pytest.fixture
def client(origin):
    with httpx.Client(
        base_url=f"{origin}/api/users", verify=False, timeout=60, trust_env=False
    ) as client:
        yield client


def answer(client: httpx.Client, path: str, json: Any = None, *, status: int = 200) -> Any:
    answered = client.post(path, json=json)
    assert answered.status_code == status, answered.text
    return answered.json()


def carry(client: httpx.Client, login: Any) -> None:
    """Send the access token of a login from now on."""
    client.headers["Authorization"] = f"Bearer {login['access_token']}"


def signed(client: httpx.Client, page: Any) -> Any:
    options = answer(client, "/login/passkey/options")["public_key"]
    return page.evaluate(GET, options)


def add_passkey(client: httpx.Client, page: Any, name: str) -> Any:
    options = answer(client, "/passkeys/options")["public_key"]
    created = page.evaluate(CREATE, options)
    return answer(client, "/passkeys", {"name": name, "credential": created}, status=201)


def test_account_without_a_password(page, client):
    with virtual_authenticator(page):
        options = answer(
            client, "/register/passkey/options", {"email": "ada@example.org", "name": "Ada"}
        )["public_key"]
        assert options["rp"]["id"] == "localhost"
        created = page.evaluate(CREATE, options)
        login = answer(client, "/register/passkey", {"credential": created}, status=201)
        assert login["user"]["email"] == "ada@example.org"
        assert len(login["recovery_codes"]) == 10

        again = answer(client, "/login/passkey", {"credential": signed(client, page)})
        assert again["user"] == login["user"]
        carry(client, again)
        assert client.get("/factors").json()["password"] is False
        (passkey,) = client.get("/passkeys").json()["items"]
        assert passkey["used"] is not None
        refused = client.delete(f"/passkeys/{passkey['id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "last_way_to_sign_in")


def test_passkey_as_a_second_factor_and_its_removal(page, client):
    credentials = {"email": "grace@example.org", "password": PASSWORD}
    answer(client, "/register", credentials, status=201)
    carry(client, answer(client, "/login", credentials))
    with virtual_authenticator(page):
        first = add_passkey(client, page, "Laptop")
        with pytest.raises(Exception, match="InvalidStateError"):  # the browser knows it already
            page.evaluate(CREATE, answer(client, "/passkeys/options")["public_key"])
    with virtual_authenticator(page):
        second = add_passkey(client, page, "Phone")
        names = [one["name"] for one in client.get("/passkeys").json()["items"]]
        assert names == ["Laptop", "Phone"]

        asked = answer(client, "/login", credentials, status=401)
        assert asked["code"] == "second_factor_required"
        assert asked["methods"] == ["passkey", "recovery_code"]
        proof = {"ticket": asked["ticket"], "credential": signed(client, page)}
        login = answer(client, "/login/second-factor", proof)
        assert login["user"]["email"] == "grace@example.org"
        assert client.post("/login/second-factor", json=proof).status_code == 401

        assert client.delete(f"/passkeys/{second['id']}").status_code == 204
        refused = client.post("/login/passkey", json={"credential": signed(client, page)})
        assert (refused.status_code, refused.json()["code"]) == (401, "passkey_unknown")
    assert client.delete(f"/passkeys/{first['id']}").status_code == 204
    answer(client, "/login", credentials)


def test_page_of_another_origin_cannot_register(page, client):
    other = "http://localhost:9"  # the same domain on another port
    page.route(f"{other}/**", lambda route: route.fulfill(body="a page"))
    with virtual_authenticator(page):
        options = answer(client, "/register/passkey/options", {"email": "eve@example.org"})
        page.goto(f"{other}/")
        created = page.evaluate(CREATE, options["public_key"])
        refused = client.post("/register/passkey", json={"credential": created})
        assert (refused.status_code, refused.json()["code"]) == (422, "passkey_rejected")
