"""The account for looking around is offered only where the server has one."""

import asyncio
import json

import httpx

from rebalancer_app.gateway.users import Credentials
from rebalancer_app.web.server import WebClient

ORIGIN = "http://localhost:8000"
GUEST = Credentials("ada@example.org", "a public password")


def ask(guest: Credentials | None, method: str, path: str) -> tuple[httpx.Response, list[object]]:
    """Return the answer of the web client, and the bodies that it sent to the server."""
    sent: list[object] = []

    async def server(scope, receive, send) -> None:
        sent.append(json.loads((await receive())["body"]))
        body = json.dumps({"status": 401, "code": "refused", "detail": "no"}).encode()
        headers = [(b"content-type", b"application/problem+json")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(WebClient(server, guest=guest))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            headers = {"Origin": ORIGIN, "Content-Type": "application/json"}
            return await client.request(method, path, headers=headers, content=b"{}")

    return asyncio.run(run()), sent


def test_sign_in_page_offers_it_only_where_it_exists():
    assert '<div id="guest" hidden>' in ask(None, "GET", "/sign-in")[0].text
    assert '<div id="guest" >' in ask(GUEST, "GET", "/sign-in")[0].text


def test_route_is_refused_without_it():
    answer, sent = ask(None, "POST", "/session/in/guest")
    assert (answer.status_code, sent) == (400, [])


def test_route_signs_in_with_its_password():
    answer, sent = ask(GUEST, "POST", "/session/in/guest")
    assert answer.status_code == 401
    assert sent == [{"email": GUEST.email, "password": GUEST.password}]
