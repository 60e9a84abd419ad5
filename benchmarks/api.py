"""Load the HTTP API on SQLite, and compare it with a bare Litestar route with one query."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.load import Load, load, request
from benchmarks.processes import command

CLIENTS = 20
WORKERS = 2
SECONDS = 5.0
PORTFOLIOS = 100
PASSWORD = "a password for measuring"
STOCKS = tuple(
    "AAPL AMD BAC BBY CVX GE HD JNJ JPM KO LLY MRK MSFT PEP PFE PG UNH WMT XOM".split()  # noqa: SIM905  # easier to read
)


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "bench.db"
        with _ours(f"sqlite:///{database}") as port:
            token, ids = filled(port)
            asks = [_predict(token, name) for name in ids]
            alone = load(port, asks, clients=1, seconds=2.0, wanted=201)
            predict = load(port, asks, clients=CLIENTS, seconds=SECONDS, wanted=201)
            gets = [request("GET", f"/api/portfolios/{name}", token=token) for name in ids]
            read = load(port, gets, clients=CLIENTS, seconds=SECONDS)
        gets = [request("GET", f"/{name.replace('-', '')}") for name in ids]
        with _bare(database, "through_sqlalchemy") as port:
            usual = load(port, gets, clients=CLIENTS, seconds=SECONDS)
        with _bare(database, "through_the_driver") as port:
            least = load(port, gets, clients=CLIENTS, seconds=SECONDS)
    _sound(predict, alone, read, usual, least)
    yield Figure(
        subject="api",
        what=f"POST /api/rebalance/predict, {CLIENTS} concurrent: p50",
        unit="s",
        ours=predict.p50,
        aim=0.015,
        note=f"{WORKERS} worker processes on SQLite, {PORTFOLIOS} portfolios of 8 assets, each "
        f"proposal stored; {predict.rate:,.0f} proposals a second. The clients share the machine's "
        f"cores. A single client waits {alone.p50 * 1e3:.1f} ms.",
    )
    yield Figure(
        subject="api",
        what=f"POST /api/rebalance/predict, {CLIENTS} concurrent: p99",
        unit="s",
        ours=predict.p99,
        aim=0.060,
    )
    what = f"GET /api/portfolios/{{id}}, {CLIENTS} concurrent"
    yield Figure(
        subject="api",
        what=what,
        unit="/s",
        ours=read.rate,
        peer_name="bare Litestar route, one query through SQLAlchemy",
        peer=usual.rate,
        aim_ratio=0.5,
        note="The bare routes check no token, open no transaction and value no portfolio; they run "
        f"under the same server with as many workers. p50 {read.p50 * 1e3:.1f} ms against "
        f"{usual.p50 * 1e3:.1f} and {least.p50 * 1e3:.1f} ms.",
    )
    yield Figure(
        subject="api",
        what=what,
        unit="/s",
        ours=read.rate,
        peer_name="bare Litestar route, one query in the event loop",
        peer=least.rate,
    )


def _predict(token: str, portfolio: str) -> bytes:
    return request("POST", "/api/rebalance/predict", token=token, body={"portfolio_id": portfolio})


def _sound(*loads: Load) -> None:
    for one in loads:
        if one.errors:
            raise RuntimeError(f"{one.errors} responses had an unexpected status")


def filled(port: int) -> tuple[str, list[str]]:
    """Register a user with portfolios; return the access token and their ids."""
    who = {"email": "bench@example.org", "password": PASSWORD}
    _call(port, "POST", "/api/users/register", who)
    token = _call(port, "POST", "/api/users/login", who)["access_token"]
    dice = random.Random(7)
    ids = []
    for number in range(PORTFOLIOS):
        chosen = dice.sample(STOCKS, 8)
        body = {
            "name": f"portfolio {number}",
            "targets": dict.fromkeys(chosen, 0.12),
            "cash": str(dice.randint(500, 5_000)),
            "holdings": {symbol: str(dice.randint(1, 60)) for symbol in chosen[:6]},
        }
        ids.append(_call(port, "POST", "/api/portfolios", body, token)["id"])
    return token, ids


def _call(port: int, method: str, path: str, body: Any, token: str = "") -> Any:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), headers, method=method
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


@contextmanager
def _ours(url: str) -> Iterator[int]:
    port = free_port()
    arguments = [*command(), "serve", "--upgrade", "--port", str(port), "--workers", str(WORKERS)]
    settings = {
        "REBALANCER_DATABASE_URL": url,
        "REBALANCER_LOG_LEVEL": "warning",
        "REBALANCER_RATE_LIMIT": "0",  # all clients share one address
        "REBALANCER_LOGIN_LIMIT": "0",
        "REBALANCER_MOST_PROPOSALS": "0",
        "REBALANCER_MOST_PROPOSALS_A_DAY": "0",
        "REBALANCER_MOST_MEGABYTES_A_DAY": "0",
    }
    with serving(arguments, port, "/health/ready", settings):
        yield port


@contextmanager
def _bare(database: Path, which: str) -> Iterator[int]:
    port = free_port()
    arguments = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory"]
    arguments += ["--port", str(port), "--workers", str(WORKERS), "--no-ws"]
    arguments += [f"benchmarks.bare:{which}"]
    with serving(arguments, port, "/none", {"BARE_DATABASE": str(database)}):
        yield port


@contextmanager
def serving(
    arguments: list[str], port: int, path: str, settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the duration of the block."""
    with subprocess.Popen(
        arguments,
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait(process, arguments[0], port, path)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], program: str, port: int, path: str) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"{program} ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # any status means that it answers
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server did not answer within a minute")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
