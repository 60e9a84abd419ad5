"""The API as a client meets it: a server of its own, and each request with what came of it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rebalancer.config import PREFIX
from rebalancer.domain.errors import Unavailable

if TYPE_CHECKING:
    from rich.console import Console

_PATIENCE = 30.0
"""Seconds that the server may take to start, to answer, or to stop."""

_BEGINNING = "2021-01-04"
_OPENED = {
    "name": "Retirement",
    "on": _BEGINNING,
    "cash": "12000.00",
    "holdings": {"AAPL": "40", "KO": "60"},
    "targets": {"AAPL": 0.15, "JNJ": 0.2, "KO": 0.2, "PG": 0.2},
}
_ANSWERS = {
    "horizon": "over_20_years",
    "needed_soon": "none",
    "emergency_fund": "over_6_months",
    "income": "fairly_steady",
    "share_of_wealth": "quarter_to_half",
    "need_for_return": "low",
    "goal": "grow",
    "accepted_loss": "up_to_35_percent",
    "reaction": "hold",
    "past_falls": "held",
    "experience": "from_3_to_10_years",
    "riskiest_held": "equity_funds",
}


def tour(screen: Console) -> None:
    """Start a server on a database of its own, walk through the API, and stop the server.

    Raises:
        Unavailable: the server did not start, or refused a request.
    """
    with running() as address:
        client = Client(address, screen)
        who = {"email": "ada@example.org", "password": "a long sentence is best"}
        known = client("POST", "/api/users/register", who | {"name": "Ada"})
        client.say(f"{known['name']} is registered as {known['email']}")
        login = client("POST", "/api/users/login", who)
        client.token = login["access_token"]
        client.say(f"an access token, good for {login['expires_in'] // 60} minutes")
        asked = client("GET", "/api/risk/questionnaire")
        client.say(f"{len(asked['questions'])} questions")
        risk = client("POST", "/api/risk/assessment", {"answers": _ANSWERS})
        limits = risk["profile"]
        client.say(
            f"{limits['name']}: at most {limits['equity_ceiling']:.0%} in equities, "
            f"{limits['target_volatility']:.0%} volatility a year"
        )
        opened = client("POST", "/api/portfolios", _OPENED)
        client.say(f"opened on {_BEGINNING} with 12,000.00 in cash, 40 AAPL and 60 KO")
        asked = {"portfolio_id": opened["id"], "as_of": _BEGINNING}
        proposal = client("POST", "/api/rebalance/predict", asked)
        client.say(_proposed(proposal))
        accepted = client("POST", f"/api/rebalance/{proposal['id']}/accept")
        client.say(f"{accepted['stage']} on paper at the closes of {accepted['as_of']}")
        done = client("GET", f"/api/portfolios/{opened['id']}/performance")
        client.say(
            f"{done['first']} to {done['last']}: {done['contributed']:,.2f} became "
            f"{done['portfolio']['final_value']:,.2f}, "
            f"{done['portfolio']['time_weighted_return_a_year']:+.1%} a year; targets kept monthly "
            f"{done['benchmark']['time_weighted_return_a_year']:+.1%}, no rebalancing "
            f"{done['no_rebalancing']['time_weighted_return_a_year']:+.1%}"
        )
        proposal = client("POST", "/api/rebalance/predict", {"portfolio_id": opened["id"]})
        client.say(_proposed(proposal))


def _proposed(proposal: dict[str, Any]) -> str:
    orders = [f"{one['side']} {one['quantity']} {one['symbol']}" for one in proposal["orders"]]
    return (
        f"{proposal['policy']}, closes of {proposal['as_of']}: "
        f"{', '.join(orders) or 'nothing to trade'}; costs {proposal['cost']}"
    )


class Client:
    """Sends requests one after the other, and prints each."""

    def __init__(self, address: str, screen: Console) -> None:
        found = urlsplit(address)
        self._connection = HTTPConnection(found.netloc, timeout=_PATIENCE)
        self._screen = screen
        self.token: str | None = None

    def __call__(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer's body.

        Raises:
            Unavailable: there is none, or it is a refusal.
        """
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        text = None if body is None else json.dumps(body)
        begun = time.monotonic()
        try:
            self._connection.request(method, path, text, headers)
            response = self._connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable(f"{method} {path}: {error}") from None
        taken = (time.monotonic() - begun) * 1000
        self._screen.print(f"{method:<4} {path}  {response.status}, {taken:.0f} ms", soft_wrap=True)
        if response.status >= 400:
            raise Unavailable(f"{method} {path}: {answer.get('detail', answer)}")
        return answer

    def say(self, what: str) -> None:
        """Print what a request brought."""
        self._screen.print(f"     {what}", style="dim", soft_wrap=True)


@contextmanager
def running() -> Iterator[str]:
    """A server with an empty database on a free port of this machine; its address.

    Raises:
        Unavailable: it did not start; says why.
    """
    clean = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server is stopped too
    with TemporaryDirectory(prefix="rebalancer-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as errors:
            server = subprocess.Popen(
                [sys.executable, "-m", __package__, "serve", "--upgrade", "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=clean | {f"{PREFIX}DATABASE_URL": f"sqlite:///{folder}/demo.db"},
            )
        try:
            yield _address(server, log)
        finally:
            server.terminate()
            try:
                server.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            if server.stdout is not None:
                server.stdout.close()
            signal.signal(signal.SIGTERM, before)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Where a server that was just started listens, once it answers.

    Raises:
        Unavailable: it does not; says why.
    """
    latest = time.monotonic() + _PATIENCE
    assert server.stdout is not None
    line = b""
    if select.select([server.stdout], [], [], _PATIENCE)[0]:
        line = server.stdout.readline()
    address = next((word for word in line.decode().split() if word.startswith("http")), "")
    address = address.rstrip(",")
    while address and server.poll() is None and time.monotonic() < latest:
        try:
            connection = HTTPConnection(urlsplit(address).netloc, timeout=_PATIENCE)
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            connection.close()
            return address
        except OSError:
            time.sleep(0.02)
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise Unavailable(f"the server did not start: {said[-1] if said else 'it says nothing'}")
