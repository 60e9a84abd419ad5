"""The way into a browser's session and out of it, against a small server."""

import asyncio
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from uuid import UUID

import httpx
import pytest
from fake_server import CODE, EMAIL, PASSWORD, FakeServer

from rebalancer_app.gateway.users import Credentials
from rebalancer_app.web.entrance import COOKIE, DEVICE_COOKIE, SECURE_PREFIX
from rebalancer_app.web.server import WebClient

SITE = "http://localhost:8000"
CREDENTIALS = {"email": EMAIL, "password": PASSWORD}


@asynccontextmanager
async def browse(server=None, **more):
    server = FakeServer() if server is None else server
    web = WebClient(server, b"secret", **more)
    transport = httpx.ASGITransport(web, client=("192.0.2.7", 1234))
    async with httpx.AsyncClient(
        transport=transport, base_url=SITE, headers={"Origin": SITE}
    ) as browser:
        browser.server, browser.web = server, web
        yield browser


def run(scenario, server=None, **more):
    async def whole():
        async with browse(server, **more) as browser:
            await scenario(browser)

    asyncio.run(whole())


def cookies_of(response):
    found = SimpleCookie()
    for line in response.headers.get_list("set-cookie"):
        found.load(line)
    return found


def test_password_opens_a_session_that_a_script_cannot_read():
    async def scenario(browser):
        response = await browser.post("/session/in/password", json=CREDENTIALS)
        assert response.json() == {"name": "Ada"}
        cookie = cookies_of(response)[COOKIE]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/")
        assert "access-1" not in response.text and "refresh-1" not in str(response.headers)
        assert (await browser.get("/portfolios/new")).status_code == 200

    run(scenario)


def test_a_secure_site_gets_a_secure_cookie():
    async def scenario(browser):
        browser.base_url = "https://localhost"
        headers = {"Origin": "https://localhost"}
        response = await browser.post("/session/in/password", json=CREDENTIALS, headers=headers)
        cookie = cookies_of(response)[SECURE_PREFIX + COOKIE]
        assert cookie["secure"] and cookie["path"] == "/" and not cookie["domain"]

    run(scenario)


def test_a_refusal_is_passed_on_with_its_fields_and_pause():
    async def scenario(browser):
        response = await browser.post("/session/in/password", json={"email": EMAIL, "password": ""})
        assert response.status_code == 401
        assert response.json()["fields"] == {"password": "is wrong"}
        assert response.headers["retry-after"] == "2"
        assert "set-cookie" not in response.headers

    run(scenario)


@pytest.mark.parametrize("proof", [{"code": CODE}, {"recovery_code": CODE}])
def test_the_second_step_makes_the_device_known(proof):
    async def scenario(browser):
        first = await browser.post("/session/in/password", json=CREDENTIALS)
        assert first.json()["ticket"] == "t-1"
        second = await browser.post("/session/in/second-factor", json={"ticket": "t-1"} | proof)
        assert second.status_code == 200
        assert cookies_of(second)[DEVICE_COOKIE]["httponly"]
        await browser.post("/session/in/password", json=CREDENTIALS)
        assert browser.server.requests[-1][2]["device-token"] == "device-1"

    run(scenario, FakeServer(second_step=True))


def test_passkeys_sign_in_and_register():
    async def scenario(browser):
        assert (await browser.post("/session/in/passkey", json={"credential": {}})).is_success
        created = await browser.post("/session/in/new-passkey", json={"credential": {}})
        assert created.json()["recovery_codes"] == ["aaaa-bbbb", "cccc-dddd"]

    run(scenario)


def test_a_guest_gets_in_only_where_there_is_a_guest_account():
    async def scenario(browser):
        assert (await browser.post("/session/in/guest", json={})).status_code == 400

    async def invited(browser):
        assert (await browser.post("/session/in/guest", content=b"")).status_code == 400
        assert (await browser.post("/session/in/guest", json={})).json() == {"name": "Ada"}

    run(scenario)
    run(invited, guest=Credentials(EMAIL, PASSWORD))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8001"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/session/in/password"),
        ("POST", "/session/own/confirm"),
        ("DELETE", "/session"),
    ],
)
def test_other_sites_are_refused(method, path, headers):
    async def scenario(browser):
        await browser.post("/session/in/password", json=CREDENTIALS)
        before = len(browser.server.requests)
        response = await browser.request(method, path, json=CREDENTIALS, headers=headers)
        assert response.status_code == 403
        assert len(browser.server.requests) == before
        assert (await browser.get("/")).status_code == 200  # the session is still there

    run(scenario)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/session/in/magic", {"json": CREDENTIALS}),
        ("/session/in/password", {"data": CREDENTIALS}),
        ("/session/in/password", {"json": [1]}),
        (
            "/session/in/password",
            {"content": b"{", "headers": {"Content-Type": "application/json"}},
        ),
        ("/session/own/delete-everything", {"json": {}}),
    ],
)
def test_other_requests_are_not_understood(path, sent):
    async def scenario(browser):
        assert (await browser.post(path, **sent)).status_code == 400

    run(scenario)


def test_what_needs_a_person_wants_a_session():
    async def scenario(browser):
        for cookie in (None, "made-up"):
            if cookie:
                browser.cookies.set(COOKIE, cookie)
            refused = await browser.post("/session/own/passkey-options", json={})
            assert (refused.status_code, refused.json()["code"]) == (401, "signed_out")
            led = await browser.get("/settings/data?tab=1")
            assert led.status_code == 303
            assert led.headers["location"] == "/sign-in?next=%2Fsettings%2Fdata%3Ftab%3D1"
            assert (await browser.get("/session/own/export")).headers["location"] == "/sign-in"
            assert (await browser.get("/passkey")).status_code == 303

    run(scenario)


def test_a_signed_in_person_proves_the_identity_again():
    async def scenario(browser):
        await browser.post("/session/in/password", json=CREDENTIALS)
        options = await browser.post("/session/own/passkey-options", json={})
        assert options.json() == {"public_key": {"challenge": "c"}}
        wrong = await browser.post("/session/own/confirm", json={"password": "x"})
        assert wrong.status_code == 401
        right = await browser.post("/session/own/confirm", json={"password": PASSWORD})
        assert right.status_code == 200

    run(scenario)


def test_the_export_is_saved_after_a_fresh_proof():
    async def scenario(browser):
        await browser.post("/session/in/password", json=CREDENTIALS)
        led = await browser.get("/session/own/export")
        assert (led.status_code, led.headers["location"]) == (303, "/confirm?next=/settings/data")
        await browser.post("/session/own/confirm", json={"password": PASSWORD})
        foreign = {"Sec-Fetch-Site": "cross-site"}
        refused = await browser.get("/session/own/export", headers=foreign)
        assert refused.status_code == 403
        saved = await browser.get("/session/own/export")
        assert saved.content == b"PK\x03\x04"
        assert saved.headers["content-disposition"].endswith('"rebalancer-2026-01-02.zip"')
        assert saved.headers["cache-control"] == "no-store"

    run(scenario, FakeServer(needs_proof=True))


def test_a_worksheet_is_saved_or_does_not_exist():
    async def scenario(browser):
        await browser.post("/session/in/password", json=CREDENTIALS)
        saved = await browser.get(f"/session/own/worksheet/{UUID(int=7)}")
        assert saved.text == "side,symbol\n"
        missing = await browser.get(f"/session/own/worksheet/{UUID(int=8)}")
        assert (missing.status_code, missing.json()["code"]) == (404, "proposal_not_found")

    run(scenario)


def test_gains_are_saved_by_the_method_that_is_shown():
    async def scenario(browser):
        await browser.post("/session/in/password", json=CREDENTIALS)
        saved = await browser.get(f"/session/own/gains/{UUID(int=7)}/lifo.csv")
        assert saved.text == "method=lifo&format=csv\n"

    run(scenario)


def test_a_login_that_was_ended_elsewhere_leads_a_download_to_the_sign_in():
    async def scenario(browser):
        await browser.post("/session/in/password", json=CREDENTIALS)
        browser.server.access.clear()
        browser.server.refresh.clear()
        response = await browser.get("/session/own/export")
        assert (response.status_code, response.headers["location"]) == (303, "/sign-in")

    run(scenario)


@pytest.mark.parametrize("ended_elsewhere", [False, True])
def test_signing_out_ends_the_session_here_and_at_the_server(ended_elsewhere):
    async def scenario(browser):
        await browser.post("/session/in/password", json=CREDENTIALS)
        if ended_elsewhere:
            browser.server.refresh.clear()
        response = await browser.delete("/session")
        assert response.status_code == 204
        removed = cookies_of(response)
        assert removed[COOKIE]["max-age"] == removed[SECURE_PREFIX + COOKIE]["max-age"] == "0"
        assert browser.server.refresh == set()
        assert (await browser.get("/")).status_code == 303
        assert (await browser.delete("/session")).status_code == 204

    run(scenario)


def test_a_server_that_fails_is_unreachable():
    async def broken(scope, receive, send):
        raise OSError("no disk")

    async def scenario(browser):
        response = await browser.post("/session/in/password", json=CREDENTIALS)
        assert (response.status_code, response.json()["code"]) == (503, "unreachable")

    run(scenario, broken)


def test_the_server_sees_the_browser():
    async def scenario(browser):
        headers = {"User-Agent": "Browser/1", "X-Forwarded-For": "198.51.100.1", "X-Evil": "1"}
        await browser.post("/session/in/password", json=CREDENTIALS, headers=headers)
        _, _, seen = browser.server.requests[-1]
        assert (seen["user-agent"], seen["x-forwarded-for"]) == ("Browser/1", "198.51.100.1")
        assert "x-evil" not in seen and "cookie" not in seen

    run(scenario)


def test_pages_are_guarded_by_their_headers():
    async def scenario(browser):
        response = await browser.get("/sign-in")
        policy = response.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "script-src 'self'" in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert "<script>" not in response.text

    run(scenario)


@pytest.mark.parametrize(
    ("site", "at_once"),
    [("same-origin", True), ("cross-site", False), ("none", False), ("", False)],
)
def test_only_the_app_itself_signs_out_without_a_question(site, at_once):
    async def scenario(browser):
        page = await browser.get("/sign-out", headers={"Sec-Fetch-Site": site})
        assert ("data-own" in page.text) == at_once

    run(scenario)
