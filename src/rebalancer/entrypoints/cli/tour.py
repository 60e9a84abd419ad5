"""A tour of the API: start a server, send requests, and print the responses."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
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

_TIMEOUT = 30.0
"""Seconds that the server may take to start, to respond, or to stop."""

_FIRST_DAY = "2021-01-04"
_PORTFOLIO = {
    "name": "Retirement",
    "on": _FIRST_DAY,
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
    """Start a server on an empty database, call the API, and stop the server.

    Raises:
        Unavailable: the server did not start, or rejected a request.
    """
    with running() as address:
        client = Client(address, screen)
        who = {"email": "ada@example.org", "password": "a long sentence is best"}
        known = client("POST", "/api/users/register", who | {"name": "Ada"})
        client.comment(f"{known['name']} is registered as {known['email']}")
        login = client("POST", "/api/users/login", who)
        client.token = login["access_token"]
        client.comment(f"an access token, valid for {login['expires_in'] // 60} minutes")
        asked = client("GET", "/api/risk/questionnaire")
        client.comment(f"{len(asked['questions'])} questions")
        risk = client("POST", "/api/risk/assessment", {"answers": _ANSWERS})
        limits = risk["profile"]
        client.comment(
            f"{limits['name']}: at most {limits['equity_ceiling']:.0%} in equities, "
            f"{limits['target_volatility']:.0%} volatility a year"
        )
        opened = client("POST", "/api/portfolios", _PORTFOLIO)
        client.comment(f"opened on {_FIRST_DAY} with 12,000.00 in cash, 40 AAPL and 60 KO")
        asked = {"portfolio_id": opened["id"], "as_of": _FIRST_DAY}
        proposal = client("POST", "/api/rebalance/predict", asked)
        client.comment(_describe_proposal(proposal))
        accepted = client("POST", f"/api/rebalance/{proposal['id']}/accept")
        client.comment(f"{accepted['stage']} on paper at the closes of {accepted['as_of']}")
        done = client("GET", f"/api/portfolios/{opened['id']}/performance")
        client.comment(
            f"{done['first']} to {done['last']}: {done['contributed']:,.2f} became "
            f"{done['portfolio']['final_value']:,.2f}, "
            f"{done['portfolio']['time_weighted_return_a_year']:+.1%} a year; monthly rebalancing "
            f"{done['benchmark']['time_weighted_return_a_year']:+.1%}, no rebalancing "
            f"{done['no_rebalancing']['time_weighted_return_a_year']:+.1%}"
        )
        proposal = client("POST", "/api/rebalance/predict", {"portfolio_id": opened["id"]})
        client.comment(_describe_proposal(proposal))


def _describe_proposal(proposal: dict[str, Any]) -> str:
    orders = [f"{one['side']} {one['quantity']} {one['symbol']}" for one in proposal["orders"]]
    return (
        f"{proposal['policy']}, closes of {proposal['as_of']}: "
        f"{', '.join(orders) or 'nothing to trade'}; costs {proposal['cost']}"
    )


class Client:
    """HTTP client that prints every request with its status and duration."""

    def __init__(self, address: str, screen: Console) -> None:
        found = urlsplit(address)
        self._connection = HTTPConnection(found.netloc, timeout=_TIMEOUT)
        self._screen = screen
        self.token: str | None = None

    def __call__(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request and return the body of the response.

        Raises:
            Unavailable: the server did not respond, or responded with an error.
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
            raise Unavailable(f"{method} {path}: {error}", code="server_not_reached") from None
        taken = (time.monotonic() - begun) * 1000
        self._screen.print(f"{method:<4} {path}  {response.status}, {taken:.0f} ms", soft_wrap=True)
        if response.status >= 400:
            raise Unavailable(
                f"{method} {path}: {answer.get('detail', answer)}", code="request_rejected"
            )
        return answer

    def comment(self, text: str) -> None:
        """Print a remark on the last response."""
        self._screen.print(f"     {text}", style="dim", soft_wrap=True)


@contextmanager
def running(imported: Sequence[str] = ()) -> Iterator[str]:
    """Run a server with an empty database on a free local port, and yield its address.

    Args:
        imported: Options of `rebalancer market import`, whose prices the server then uses; without
            any it uses the packaged prices.

    Raises:
        Unavailable: the server did not start; the message gives the reason.
    """
    clean = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    before = signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # so that SIGTERM stops the server too
    with TemporaryDirectory(prefix="rebalancer-") as folder:
        log = Path(folder, "log")
        clean[f"{PREFIX}DATABASE_URL"] = f"sqlite:///{folder}/demo.db"
        if imported:
            clean[f"{PREFIX}PRICES"] = "store"
            _import(imported, clean)
        with log.open("wb") as errors:
            server = subprocess.Popen(
                [sys.executable, "-m", __package__, "serve", "--upgrade", "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=clean,
            )
        try:
            yield _address(server, log)
        finally:
            server.terminate()
            try:
                server.wait(_TIMEOUT)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            if server.stdout is not None:
                server.stdout.close()
            signal.signal(signal.SIGTERM, before)


def _import(options: Sequence[str], settings: dict[str, str]) -> None:
    """Import prices into a new database."""
    for command in (["db", "upgrade"], ["market", "import", *options]):
        done = subprocess.run(
            [sys.executable, "-m", __package__, *command],
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(
                f"the example prices were not imported: {done.stderr.strip()}",
                code="import_failed",
            )


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """Wait until a server responds, and return its address; an error quotes its log."""
    deadline = time.monotonic() + _TIMEOUT
    assert server.stdout is not None
    line = b""
    if select.select([server.stdout], [], [], _TIMEOUT)[0]:
        line = server.stdout.readline()
    address = next((word for word in line.decode().split() if word.startswith("http")), "")
    address = address.rstrip(",")
    while address and server.poll() is None and time.monotonic() < deadline:
        try:
            connection = HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT)
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            connection.close()
            return address
        except OSError:
            time.sleep(0.02)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise Unavailable(
        f"the server did not start: {lines[-1] if lines else 'its log is empty'}",
        code="server_not_started",
    )
