"""A person with the app open sees values move: real browser, server and client of the stream."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from rebalancer.entrypoints.schemas import examples
from tests.app_window import open_window
from tests.browser import open_browser
from tests.e2e.conftest import serving, until
from tests.internet import Internet
from tests.yahoo_stream import Fault, YahooStreamServer

PORTFOLIO = f"/portfolios/{examples.PORTFOLIO}"


@pytest.fixture
def stream() -> YahooStreamServer:
    return YahooStreamServer()


def test_values_move_and_fall_back(tmp_path, sqlite_template, stream) -> None:
    with (
        Internet({}, sockets=stream.sockets()) as internet,
        serving(tmp_path, sqlite_template) as serve,
        open_browser() as browser,
    ):
        env = {
            **internet.environment(tmp_path),
            "REBALANCER_PRICES": "sample",
            "REBALANCER_QUOTES": "yahoo",
            "REBALANCER_RATE_LIMIT": "0",
            "REBALANCER_LOGIN_LIMIT": "0",
            "REBALANCER_CACHE": str(tmp_path),
        }
        running = serve("--demo", "--app", env=env)
        running.address = running.address.replace("127.0.0.1", "localhost")
        with running.client() as client:
            login = client.post(
                "/api/users/login",
                json={"email": examples.EMAIL, "password": examples.PASSWORD},
            )
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
            closes = prices_of(client)
        until(lambda: set(closes) <= stream.subscribed(), running.process)
        with open_window(browser, running.address) as window:
            window.sign_in(examples.EMAIL, examples.PASSWORD, PORTFOLIO)
            window.see("at the close of")
            for symbol, price in closes.items():
                stream.send(symbol, price * 1.02, currency="USD")
            window.see("up 1.7%")  # of all, cash included
            picture(window.page, "live")
            stream.end_all(Fault.CUT)  # the server connects again by itself
            until(lambda: set(closes) <= stream.subscribed(), running.process)
            for symbol, price in closes.items():
                stream.send(symbol, price * 1.04, currency="USD")
            window.see("up 3.5%")
            symbol = min(closes)
            window.open(f"/market/{symbol}")
            window.see("up 4.0%")
            stream.send(symbol, closes[symbol] * 1.06, currency="USD")
            window.see("up 6.0%")
            picture(window.page, "asset")
            window.open(f"{PORTFOLIO}/rebalance")
            window.tap("Work out at live prices")
            window.see("At live prices, the oldest")
            picture(window.page, "proposal")
            assert window.complaints == []
        assert running.stop() == 0


def prices_of(client: httpx.Client) -> dict[str, float]:
    """Return the closes of the holdings of the example."""
    shown = client.get(f"/api{PORTFOLIO}").raise_for_status().json()
    return {symbol: float(held["price"]) for symbol, held in shown["holdings"].items()}


def picture(page, name: str) -> None:
    """Keep a picture where the variable PICTURES names a folder."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))
