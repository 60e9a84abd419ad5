"""The person's account in a real browser: password, address, events, data, and shares."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

import attrs
import httpx
import pytest
from playwright.sync_api import Browser

from tests.app_window import open_window
from tests.browser import open_browser
from tests.e2e.conftest import Running, serving

PASSWORD, OTHER = "a long sentence is best", "another sentence is good"


@attrs.frozen
class Account:
    """An account of one test.

    Attributes:
        api: A client of the API that is signed in to it.
    """

    email: str
    api: httpx.Client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory, sqlite_template) -> Iterator[Running]:
    """Run one server for all tests: each has accounts of its own."""
    folder = tmp_path_factory.mktemp("account")
    env = {
        "REBALANCER_PRICES": "sample",
        "REBALANCER_RATE_LIMIT": "0",
        "REBALANCER_LOGIN_LIMIT": "0",
        "REBALANCER_CACHE": str(folder),
    }
    with serving(folder, sqlite_template) as serve:
        running = serve("--app", env=env)
        running.address = running.address.replace("127.0.0.1", "localhost")
        yield running


@pytest.fixture
def account(server, request) -> Iterator[Account]:
    """Return an account that is named after the test."""
    with server.client() as client:
        yield register(client, request.node.name.removeprefix("test_")[:40])


def register(client: httpx.Client, name: str) -> Account:
    """Register an account and sign a client in to it."""
    email = f"{name}@example.org"
    who = {"email": email, "password": PASSWORD, "name": name.replace("_", " ").capitalize()}
    client.post("/api/users/register", json=who).raise_for_status()
    login = client.post("/api/users/login", json={"email": email, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {login.raise_for_status().json()['access_token']}"
    return Account(email, client)


def login_status(server: Running, email: str, password: str) -> int:
    """Return how the server answers a sign-in on another device."""
    with server.client() as client:
        return client.post(
            "/api/users/login", json={"email": email, "password": password}
        ).status_code


def test_all_data_is_saved_as_an_archive(server, browser, account) -> None:
    opened = account.api.post(
        "/api/portfolios", json={"name": "Nest egg", "targets": {"KO": 0.9}, "cash": "500"}
    )
    opened.raise_for_status()
    with open_window(browser, server.address) as window:
        window.sign_in(account.email, PASSWORD, "/settings/data")
        with window.page.expect_download() as chosen:
            window.tap("Download everything")
        archive = zipfile.ZipFile(io.BytesIO(chosen.value.path().read_bytes()))
        assert archive.testzip() is None
        text = "".join(archive.read(name).decode("utf-8") for name in archive.namelist())
        assert "Nest egg" in text and account.email in text
        assert window.complaints == []


def test_deletion_is_asked_about_and_can_be_taken_back(server, browser, account) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(account.email, PASSWORD, "/settings/data")
        window.tap("Delete the account")
        window.see("Delete your account?")
        window.tap("Cancel", exact=True)
        window.see_no_more("Delete your account?")
        assert account.api.get("/api/users/profile").status_code == 200  # nothing has happened

        window.tap("Delete the account")
        window.see("Delete your account?")
        window.page.get_by_role("button", name="Delete the account").last.click()
        window.see("Your account is erased after")
        assert account.api.get("/api/users/profile").status_code == 401  # signed out everywhere

        window.tap("Sign out")
        window.wait_for_route("/sign-in")
    assert login_status(server, account.email, PASSWORD) == 200  # this keeps the account


def test_password_is_changed_after_the_present_one(server, browser, account) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(account.email, PASSWORD, "/settings/password")
        window.fill("Present password", "not this one at all")
        window.fill("New password", OTHER)
        window.tap("Change the password")
        window.see("The password is wrong.")
        assert login_status(server, account.email, PASSWORD) == 200

        window.fill("Present password", PASSWORD)
        window.fill("New password", "short")
        window.tap("Change the password")
        window.see("A password has 15 to 128 characters")

        window.fill("New password", OTHER)
        window.tap("Change the password")
        window.see("The password is changed.")
    assert login_status(server, account.email, PASSWORD) == 401
    assert login_status(server, account.email, OTHER) == 200


def test_another_email_address_signs_in(server, browser, account) -> None:
    fresh = f"new_{account.email}"
    with open_window(browser, server.address) as window:
        window.sign_in(account.email, PASSWORD, "/settings/email")
        window.see(f"{account.email} · not confirmed")
        window.fill("New e-mail address", "nonsense")
        window.tap("Change the address")
        window.see("This is not an e-mail address.")
        window.fill("New e-mail address", fresh)
        window.tap("Change the address")
        window.see("The address is changed.")
        window.see(f"{fresh} · not confirmed")
    assert login_status(server, account.email, PASSWORD) == 401
    assert login_status(server, fresh, PASSWORD) == 200


def test_events_show_what_happened_and_what_was_refused(server, browser, account) -> None:
    assert login_status(server, account.email, "not this one at all") == 401
    with open_window(browser, server.address) as window:
        window.sign_in(account.email, PASSWORD, "/settings")
        window.tap("What happened")
        window.wait_for_route("/settings/events$")
        for event in ("Account registered", "Signed in", "Sign-in refused"):
            window.see(event)
        window.tap("Where you are signed in")
        window.wait_for_route("/settings/sessions$")
        window.see("This one")
        assert window.complaints == []


def test_a_share_is_accepted_used_and_ended(server, browser, account) -> None:
    opened = account.api.post(
        "/api/portfolios", json={"name": "Family savings", "targets": {"KO": 0.9}, "cash": "900"}
    )
    portfolio = f"/portfolios/{opened.raise_for_status().json()['id']}"
    with (
        server.client() as client,
        open_window(browser, server.address) as owner,
        open_window(browser, server.address) as guest,
    ):
        invited = register(client, "invited_to_a_share")
        owner.sign_in(account.email, PASSWORD, portfolio)
        owner.see("Family savings")
        owner.tap("Share", exact=True)
        owner.see("Only you see this portfolio.")
        owner.fill("E-mail address of the other person", invited.email)
        owner.tap("Invite", exact=True)
        owner.see("invited on")

        guest.sign_in(invited.email, PASSWORD, "/shares")
        guest.see("Family savings")
        guest.tap("Accept", exact=True)
        guest.tap("Open", exact=True)
        guest.page.wait_for_url(re.compile(portfolio))
        guest.see("900.00")

        owner.tap("End sharing")
        owner.see("Only you see this portfolio.")
        assert client.get(f"/api{portfolio}").status_code == 404
        guest.page.go_back()
        guest.see("Nothing is shared with you")
