"""Cookies of the web client are safe over TLS, also where a proxy ends it."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.conftest import Running

WHO = {"email": "ada@example.org", "password": "correct horse battery staple"}


@pytest.fixture(scope="module")
def server(share_server) -> Running:
    """Serve the web client, with the account of Ada."""
    running = share_server("--app")
    with running.client() as client:
        assert client.post("/api/users/register", json=WHO).status_code == 201
    return running


def sign_in(client: httpx.Client, server: Running, scheme: str) -> httpx.Response:
    host = server.address.partition("//")[2]
    headers = {"Origin": f"{scheme}://{host}"}
    return client.post("/session/in/password", json=WHO, headers=headers)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_cookies_are_bound_to_the_host_over_tls(server: Running, scheme: str) -> None:
    with server.client() as client:
        answer = sign_in(client, server, scheme)
        assert answer.status_code == 200, answer.text
        cookies = answer.headers.get_list("set-cookie")
        assert len(cookies) == 2  # session and device
        for cookie in cookies:
            assert "httponly" in cookie.lower() and "path=/" in cookie.lower()
            assert "samesite=" in cookie.lower() and "domain" not in cookie.lower()
            assert cookie.startswith("__Host-") is (scheme == "https")
            assert ("secure" in cookie.lower().split("; ")) is (scheme == "https")
        shown = "; ".join(cookie.partition(";")[0] for cookie in cookies)
        client.cookies.clear()
        page = client.get("/", headers={"Cookie": shown})
        assert page.status_code == 200  # signed in, and not led to the sign-in


def test_other_sites_cannot_sign_in(server: Running) -> None:
    with server.client() as client:
        headers = {"Origin": "https://example.com"}
        answer = client.post("/session/in/password", json=WHO, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
