"""A market day of a person with the app open: values, an alert, its proposal, and a look ahead.

The server shares quotes with two workers through Redis. The one that subscribes is killed, and
another one takes its place.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from rebalancer.entrypoints.schemas import examples
from tests.app_window import open_window
from tests.browser import open_browser
from tests.e2e.conftest import serving, until
from tests.e2e.test_app_quotes import picture
from tests.e2e.test_quote_streams import working
from tests.internet import Internet
from tests.servers import Valkey, running
from tests.yahoo_stream import YahooStreamServer

CLOSES = {"AAPL": 125.674, "JNJ": 174.085}
"""The last ones of the sample."""

ON_TARGET = {
    "name": "Pension",
    "targets": {"AAPL": 0.5, "JNJ": 0.5},
    "holdings": {"AAPL": "100", "JNJ": "72"},
    "cash": "0",
}
GOALS = [
    {"name": "House", "amount": "20000", "by": "2036-12-31"},
    {"name": "Island", "amount": "1000000000", "by": "2036-12-31"},
]


def test_from_a_moving_price_to_a_proposal_and_a_goal(
    tmp_path: Path, sqlite_template: Path
) -> None:
    stream = YahooStreamServer()
    with ExitStack() as stack:
        redis = stack.enter_context(running(Valkey))
        internet = stack.enter_context(Internet({}, sockets=stream.sockets()))
        serve = stack.enter_context(serving(tmp_path, sqlite_template))
        env = {
            **internet.environment(tmp_path),
            "REBALANCER_PRICES": "sample",
            "REBALANCER_QUOTES": "yahoo",
            "REBALANCER_REDIS_URL": redis.url,
            "REBALANCER_RATE_LIMIT": "0",
            "REBALANCER_LOGIN_LIMIT": "0",
            "REBALANCER_CACHE": str(tmp_path),
        }
        server = serve("--demo", "--app", env=env)
        server.address = server.address.replace("127.0.0.1", "localhost")
        client = stack.enter_context(server.client())
        login = client.post(
            "/api/users/login", json={"email": examples.EMAIL, "password": examples.PASSWORD}
        )
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        id = client.post("/api/portfolios", json=ON_TARGET).raise_for_status().json()["id"]
        page = f"/portfolios/{id}"
        put(client, f"{page}/goals", {"goals": GOALS})
        put(client, f"{page}/automation", {"on_alert": True})
        put(client, f"{page}/alerts", {"drift": 0.05, "live": True})
        first = stack.enter_context(working(tmp_path, env, "first"))
        until(lambda: set(CLOSES) <= stream.subscribed())
        stack.enter_context(working(tmp_path, env, "second"))
        browser = stack.enter_context(open_browser())
        window = stack.enter_context(open_window(browser, server.address))
        window.sign_in(examples.EMAIL, examples.PASSWORD, page)
        window.see("at the close of")
        trade(stream, AAPL=1.02, JNJ=1.02)
        window.see("up 2.0%")
        picture(window.page, "day-1-moved")

        connections = stream.connections
        first.kill()  # it subscribed
        until(lambda: stream.connections > connections and set(CLOSES) <= stream.subscribed())
        stack.enter_context(working(tmp_path, env, "third"))
        trade(stream, AAPL=1.10, JNJ=1.02)
        window.see("up 6.0%")
        assert notices_of(client) == []
        trade(stream, AAPL=1.30, JNJ=1.02)
        window.see("up 16.0%")
        picture(window.page, "day-2-drifted")

        until(lambda: len(notices_of(client)) > 1)
        assert sorted(one["kind"] for one in notices_of(client)) == ["drift", "proposal_made"]
        (proposal,) = client.get("/api/rebalance", params={"portfolio_id": id}).json()["items"]
        assert (proposal["origin"], proposal["prices"]) == ("alert", "live")
        window.tap("Back")
        bell = window.texts("notices.bell", count=2)
        window.see(bell)
        picture(window.page, "day-3-bell")
        window.tap(bell)
        window.see("Pension has drifted")
        picture(window.page, "day-4-notices")
        window.tap("New proposal")
        window.wait_for_route(f"{page}/proposals/{proposal['id']}")
        window.see("Hold to accept")
        window.see("At live prices, ")
        picture(window.page, "day-5-proposal")
        window.hold("Hold to accept")
        window.see("Done: the proposal is executed.")
        picture(window.page, "day-6-accepted")

        window.open(page)
        window.tap("Look ahead")
        window.see("House: ")
        window.see("In reach: ")
        window.see("Island: ")
        window.see("Out of reach: 0%")
        picture(window.page, "day-7-ahead")
        window.tap("Goals")
        window.see("Goals change no proposal")
        picture(window.page, "day-8-goals")
        assert [one["kind"] for one in notices_of(client)].count("drift") == 1
        assert window.complaints == []
        assert server.stop() == 0


def trade(stream: YahooStreamServer, **factors: float) -> None:
    """Send trades at multiples of the closes."""
    for symbol, factor in factors.items():
        stream.send(symbol, CLOSES[symbol] * factor, currency="USD")


def put(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    """Change a resource of the API."""
    found = client.get(f"/api{path}")
    headers = {"If-Match": tag} if (tag := found.headers.get("etag")) else {}
    client.put(f"/api{path}", json=body, headers=headers).raise_for_status()


def notices_of(client: httpx.Client) -> list[dict[str, Any]]:
    """Return all notices."""
    found: list[dict[str, Any]] = client.get("/api/notices").raise_for_status().json()["items"]
    return found
