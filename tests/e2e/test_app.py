"""The web client in a real browser, on a real server: the whole way of a person."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from rebalancer.entrypoints.schemas import examples
from tests.app_window import open_window
from tests.browser import open_browser, virtual_authenticator
from tests.e2e.conftest import Running

EMAIL, PASSWORD = examples.EMAIL, examples.PASSWORD
EXAMPLE = f"/portfolios/{examples.PORTFOLIO}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def server(serve) -> Running:
    env = {"REBALANCER_PRICES": "sample", "REBALANCER_RATE_LIMIT": "0"}
    running = serve("--upgrade", "--demo", "--app", env=env)
    address = running.address.replace("127.0.0.1", "localhost")  # passkeys need a name
    running.address = address
    return running


def api(server: Running) -> httpx.Client:
    """Return a client of the API that is signed in as the same person on another device."""
    client = server.client()
    login = client.post("/api/users/login", json={"email": EMAIL, "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {login.raise_for_status().json()['access_token']}"
    return client


def test_from_registration_to_an_executed_rebalance(server, browser) -> None:
    with open_window(browser, server.address) as window, virtual_authenticator(window.page):
        window.open()
        page = window.page
        page.get_by_role("link", name="Create an account").click()
        page.get_by_label("Your name").fill("Grace")
        page.get_by_label("E-mail address").fill("grace@example.org")
        page.get_by_role("button", name="Continue with a passkey").click()
        page.get_by_role("button", name="I have stored them").click()
        window.wait_for_app()

        window.tap("Open a portfolio")
        window.fill("Name", "Retirement")
        window.fill("Cash in USD", "10,000")
        for symbol in ("AAPL", "JNJ"):
            window.fill("Add an asset: symbol or name", symbol)
            window.tap(f"{symbol}, ")
            window.see(f"Remove {symbol}")
        window.tap("Suggest equal targets")
        window.see("100% in all")
        window.tap("Open a portfolio")
        window.wait_for_route(r"/portfolios/[0-9a-f-]{36}$")

        window.tap("Rebalance")
        window.tap("Work out a proposal")
        window.see("Buy")
        window.see("JNJ")
        window.hold("Hold to accept")
        window.see("Done: the proposal is executed.")

        window.page.go_back()
        window.page.go_back()
        window.see("On target")
        window.tap("Performance")
        window.see("Your portfolio")
        window.tap("Back")
        window.tap("Activity")
        window.see("Bought")
        assert window.complaints == []


def test_a_change_on_another_device_is_not_overwritten(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, f"{EXAMPLE}/targets")
        window.see("Save targets")
        other = api(server)
        changed = other.patch(
            f"/api{EXAMPLE}",
            json={"name": "Changed elsewhere"},
            headers={"If-Match": other.get(f"/api{EXAMPLE}").headers["ETag"]},
        )
        assert changed.status_code == 200, changed.text
        window.tap("Save targets")
        window.see("This was changed on another device.")
        assert other.get(f"/api{EXAMPLE}").json()["name"] == "Changed elsewhere"
        window.complaints.clear()


def test_a_session_that_is_ended_elsewhere_leads_to_the_sign_in(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, EXAMPLE)
        window.see("Rebalance")
        assert api(server).delete("/api/users/sessions").json()["ended"] >= 1
        window.tap("Activity")
        window.wait_for_route("/sign-in")


def test_a_lost_connection_comes_back(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, EXAMPLE)
        window.see("Rebalance")
        window.page.context.set_offline(True)
        window.page.wait_for_timeout(1500)
        window.page.context.set_offline(False)
        window.open(EXAMPLE)
        window.tap("Deposit")
        window.see("Amount in USD")


def test_silly_input_gets_a_sentence(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.open()
        window.page.get_by_label("E-mail address").fill(EMAIL)
        window.page.get_by_label("Password").fill("wrong " * 5)
        window.page.get_by_role("button", name="Sign in", exact=True).click()
        window.page.get_by_text("The e-mail address or the password is wrong.").wait_for()
        window.sign_in(EMAIL, PASSWORD, f"{EXAMPLE}/deposit")
        window.fill("Amount in USD", "a lot")
        window.tap("Deposit", exact=True)
        window.see("Enter an amount above zero")
        window.fill("Amount in USD", "0.001")
        window.tap("Deposit", exact=True)
        window.see("finer than the smallest amount")


@pytest.mark.parametrize(
    ("width", "height", "dark", "locale", "words"),
    [
        (390, 844, False, "en-GB", ("Total value", "Look")),
        (820, 1180, True, "de-DE", ("Gesamtwert", "Aussehen")),
        (1440, 900, False, "en-GB", ("Total value", "Look")),
    ],
    ids=["phone", "dark German tablet", "desktop"],
)
def test_every_tab_is_drawn_without_complaint(
    server, browser, width, height, dark, locale, words
) -> None:
    total, look = words
    with open_window(
        browser, server.address, width=width, height=height, dark=dark, locale=locale
    ) as window:
        window.sign_in(EMAIL, PASSWORD)
        window.see(total)
        for name in ("activity", "market", "risk", "settings"):
            window.open(f"/{name}")
        window.see(look)
        assert window.complaints == []


def test_the_keyboard_is_enough_to_reach_a_portfolio(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD)
        window.see("Total value")
        target = window.button("Example")
        target.focus()
        window.page.keyboard.press("Enter")
        window.wait_for_route(EXAMPLE)
