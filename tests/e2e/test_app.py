"""The web client in a real browser, on a real server: the whole way of a person."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, WebSocketRoute

from rebalancer.entrypoints.schemas import examples
from tests.app_window import open_window
from tests.browser import open_browser, virtual_authenticator
from tests.e2e.conftest import Running, serving

EMAIL, PASSWORD = examples.EMAIL, examples.PASSWORD
ROUTES = ("/", "/activity", "/market", "/risk", "/settings")
ENGLISH = {
    "Home": "Total value",
    "Activity": "Example",
    "Market": "Symbol or name",
    "Risk": "How much risk suits you?",
    "Settings": "Look",
}
GERMAN = {
    "Start": "Gesamtwert",
    "Verlauf": "Example",
    "Markt": "Symbol oder Name",
    "Risiko": "Wie viel Risiko passt zu Ihnen?",
    "Einstellungen": "Aussehen",
}
EXAMPLE = f"/portfolios/{examples.PORTFOLIO}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory, sqlite_template) -> Iterator[Running]:
    """Run one server for all tests: each signs in on its own, and the account is big enough."""
    folder = tmp_path_factory.mktemp("app")
    env = {
        "REBALANCER_PRICES": "sample",
        "REBALANCER_RATE_LIMIT": "0",
        "REBALANCER_LOGIN_LIMIT": "0",
        "REBALANCER_JOBS_AT_ONCE": "1",
        "REBALANCER_CACHE": str(folder),  # of sessions, too
    }
    with serving(folder, sqlite_template) as serve:
        running = serve("--demo", "--app", env=env)
        # Passkeys need a name.
        running.address = running.address.replace("127.0.0.1", "localhost")
        yield running


@pytest.fixture
def device(server) -> Iterator[httpx.Client]:
    """Return a client of the API that is signed in as the same person on another device."""
    with server.client() as client:
        login = client.post("/api/users/login", json={"email": EMAIL, "password": PASSWORD})
        token = login.raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


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

        window.sign_out()
        page.get_by_role("button", name="Sign in with a passkey").click()
        window.wait_for_app()
        window.see("Retirement")


def test_a_change_on_another_device_is_not_overwritten(server, device, browser) -> None:
    opened = device.post("/api/portfolios", json={"name": "Shared", "targets": {"KO": 0.9}})
    shared = f"/portfolios/{opened.raise_for_status().json()['id']}"
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, f"{shared}/targets")
        window.see("Save targets")
        changed = device.patch(
            f"/api{shared}",
            json={"name": "Changed elsewhere"},
            headers={"If-Match": device.get(f"/api{shared}").headers["ETag"]},
        )
        assert changed.status_code == 200, changed.text
        window.tap("Save targets")
        window.see("This was changed on another device.")
        assert device.get(f"/api{shared}").json()["name"] == "Changed elsewhere"
        window.complaints.clear()


def test_a_session_that_is_ended_elsewhere_leads_to_the_sign_in(server, device, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, EXAMPLE)
        window.see("Rebalance")
        assert device.delete("/api/users/sessions").json()["ended"] >= 1
        window.tap("Activity")
        window.wait_for_route("/sign-in")


def test_a_lost_connection_comes_back(server, browser) -> None:
    sockets: list[WebSocketRoute] = []

    def connect(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    with open_window(browser, server.address) as window:
        window.page.route_web_socket(re.compile("/ws$"), connect)
        window.sign_in(EMAIL, PASSWORD, EXAMPLE)
        window.tap("Deposit")
        window.see("Amount in USD")
        sockets[0].close()
        while len(sockets) < 2:
            window.page.wait_for_timeout(50)
        window.wait_for_app()
        window.see("Amount in USD")
        window.tap("Back")
        window.see("Allocation against targets")


def test_a_statement_is_reviewed_mapped_and_added(server, device, browser, tmp_path) -> None:
    opened = device.post("/api/portfolios", json={"name": "Broker", "targets": {"KO": 0.9}})
    portfolio = f"/portfolios/{opened.raise_for_status().json()['id']}"
    file = tmp_path / "statement.csv"
    file.write_text(
        "date,kind,symbol,quantity,price,amount,name\n"
        "2022-01-03,deposit,,,,1000,\n"
        "2022-01-04,buy,COKE1,2,60,120,Coca Cola\n",
        encoding="utf-8",
    )
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, portfolio)
        window.tap("Import a statement")
        with window.page.expect_file_chooser() as chooser:
            window.tap("Choose a file")
        chooser.value.set_files(file)
        window.see("1 new entry")
        window.see("No symbol is known of COKE1")
        window.fill("Symbol of COKE1 · Coca Cola", "KO")
        window.tap("Check again")
        window.see("2 new entries")
        window.tap("Add to the ledger")
        window.wait_for_route(r"/activity$")
        window.see("Bought")
        assert window.complaints == []
    held = device.get(f"/api{portfolio}").json()
    assert (held["cash"], held["holdings"]["KO"]["quantity"]) == ("880.00", "2")


def test_a_table_is_described_and_its_import_undone(server, device, browser) -> None:
    opened = device.post("/api/portfolios", json={"name": "Bank", "targets": {"KO": 0.9}})
    portfolio = f"/portfolios/{opened.raise_for_status().json()['id']}"
    table = "When;Was;Betrag\n03.01.2022;Einzahlung;1.000,50\n31.01.2022;Einzahlung;20,00\n"
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, f"{portfolio}/import")
        with window.page.expect_file_chooser() as chooser:
            window.tap("Choose a file")
        file = {"name": "table.csv", "mimeType": "text/csv", "buffer": table.encode()}
        chooser.value.set_files(file)
        window.tap("Describe the columns of this table")
        window.see("When: 03.01.2022")
        window.tap("Save and check")
        window.see("2 new entries")
        window.tap("Add to the ledger")
        window.wait_for_route(r"/activity$")
        window.tap("Imports")
        window.tap("Undo: table.csv")
        window.tap("Undo the import")
        window.see("undone")
        assert window.complaints == []
    assert device.get(f"/api{portfolio}").json()["cash"] == "0.00"
    (profile,) = device.get("/api/mapping-profiles").json()["items"]
    assert profile["profile"]["columns"] == {"date": "When", "kind": "Was", "amount": "Betrag"}


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


def test_problems_before_the_sign_in_are_in_the_language_of_the_browser(server, browser) -> None:
    with open_window(browser, server.address, locale="de-DE") as window:
        page = window.page
        window.open("/register")
        page.get_by_text("Lieber ein Passwort").click()
        page.get_by_label("E-Mail-Adresse").fill("keine")
        page.get_by_label("Passwort").fill("kurz")
        page.get_by_role("button", name="Konto anlegen").click()
        page.get_by_text("Das ist keine E-Mail-Adresse.").wait_for()
        page.get_by_text("Ein Passwort hat 15 bis 128 Zeichen.").wait_for()
        page.get_by_label("E-Mail-Adresse").fill("greta@example.org")
        page.get_by_label("Passwort").fill("passwordpassword")
        page.get_by_role("button", name="Konto anlegen").click()
        page.get_by_text("Dieses Passwort ist leicht zu erraten").wait_for()


@pytest.mark.parametrize(
    ("width", "height", "dark", "locale", "words"),
    [
        (390, 844, False, "en-GB", ENGLISH),
        (820, 1180, True, "de-DE", GERMAN),
        (1440, 900, False, "en-GB", ENGLISH),
        (1440, 900, True, "en-GB", ENGLISH),
    ],
    ids=["phone", "dark German tablet", "desktop", "dark desktop"],
)
def test_every_tab_is_drawn_without_complaint(
    server, browser, width, height, dark, locale, words
) -> None:
    with open_window(
        browser, server.address, width=width, height=height, dark=dark, locale=locale
    ) as window:
        window.sign_in(EMAIL, PASSWORD)
        window.see(next(iter(words.values())))
        for (tab, shown), route in zip(words.items(), ROUTES, strict=True):
            window.open_tab(tab)
            window.wait_for_route(f"{route}$")
            window.see(shown)
        assert window.complaints == []


def test_the_keyboard_is_enough_to_reach_a_portfolio(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD)
        window.see("Total value")
        target = window.button("Example")
        target.focus()
        window.page.keyboard.press("Enter")
        window.wait_for_route(EXAMPLE)


def test_look_around_opens_the_wanted_screen_and_back_works(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.open(f"{EXAMPLE}/performance?period=max")
        window.page.get_by_role("button", name="Look around").click()
        window.wait_for_app()
        window.wait_for_route(rf"{EXAMPLE}/performance")
        window.see("Your portfolio")
        window.tap("Back")
        window.wait_for_route(rf"{EXAMPLE}$")
        window.tap("Deposit")
        window.wait_for_route(rf"{EXAMPLE}/deposit$")
        window.page.go_back()
        window.wait_for_route(rf"{EXAMPLE}$")
        window.see("Allocation against targets")
        window.tap("Gains")
        window.see("Realised by year")
        window.tap("Rules for gains")
        window.see("Save rules")
        assert window.complaints == []


def test_passkey_as_the_second_step_of_a_password(server, browser) -> None:
    who = {"email": "edith@example.org", "password": "a long sentence is best", "name": "Edith"}
    with server.client() as client:
        assert client.post("/api/users/register", json=who).status_code == 201
    with open_window(browser, server.address) as window, virtual_authenticator(window.page):
        page = window.page
        window.sign_in(who["email"], who["password"])
        window.see("No portfolio yet")
        page.goto(f"{server.address}/passkey")
        page.get_by_label("Name of the passkey").fill("Laptop")
        page.get_by_role("button", name="Add it").click()
        page.get_by_role("button", name="I have stored them").click()
        window.wait_for_app()
        window.sign_out()
        page.get_by_label("E-mail address").fill(who["email"])
        page.get_by_label("Password").fill(who["password"])
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.get_by_role("button", name="Use a passkey").click()
        window.wait_for_app()
        window.see("No portfolio yet")


def test_large_text_stays_within_the_window(server, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD)
        window.see("Total value")
        window.enlarge_text(2)
        window.see("Total value")
        assert window.beyond_edges() == []
        window.tap("Example")
        window.see("Allocation against targets")
        assert window.beyond_edges() == []
        window.tap("Rebalance")
        window.see("Work out a proposal")
        assert window.beyond_edges() == []


def test_trades_made_elsewhere_are_recorded_in_parts(server, device, browser) -> None:
    opened = device.post(
        "/api/portfolios",
        json={"name": "Elsewhere", "targets": {"AAPL": 0.5, "KO": 0.4}, "cash": "10000"},
    )
    portfolio = opened.raise_for_status().json()["id"]
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, f"/portfolios/{portfolio}/rebalance")
        window.tap("Work out a proposal")
        window.see("Hold to accept")
        window.tap("I trade elsewhere")
        window.see("Record your trades when they are done.")
        window.tap("Record trades")
        window.see("Change what differs from the proposal")
        window.fill("Quantity", "3")
        window.tap("Record", exact=True)
        window.see("3 of ")
    held = device.get(f"/api/portfolios/{portfolio}").json()["holdings"].values()
    assert 3 in [float(one["quantity"]) for one in held]


def test_a_portfolio_is_opened_from_a_file(server, browser) -> None:
    file = b"symbol,quantity,target\nAAPL,12,40%\nKO,30,50%\nno line\n"
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, "/portfolios/new")
        window.fill("Name", "From a file")
        with window.page.expect_file_chooser() as chosen:
            window.tap("Read a file")
        chosen.value.set_files({"name": "mine.csv", "mimeType": "text/csv", "buffer": file})
        window.see("2 assets were read.")
        window.see("Line 4 cannot be read")
        window.tap("Open a portfolio")
        window.wait_for_route(r"/portfolios/[0-9a-f-]{36}$")
        window.see("From a file")


def test_a_backtest_is_followed_and_another_is_cancelled(server, device, browser) -> None:
    with open_window(browser, server.address) as window:
        window.sign_in(EMAIL, PASSWORD, "/backtests")
        window.tap("3 years")
        window.tap("Start the test")
        window.see("Reward for risk (Sharpe)")
        long = {"policies": ["hierarchical_risk_parity", "minimum_variance", "risk_parity"]}
        jobs = [device.post("/api/backtest", json=long).raise_for_status().json() for _ in range(8)]
        window.tap("Back")
        window.tap("Start the test")
        window.see("Waiting")
        window.tap("Cancel", exact=True)
        window.see("Cancelled")
        for job in jobs:
            device.post(f"/api/jobs/{job['id']}/cancel")
        assert window.complaints == []
