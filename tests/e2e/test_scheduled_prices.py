"""Prices of a portfolio in three currencies arrive by schedule, from a local internet alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import attrs
import httpx
import pytest

from tests import watchdog
from tests.e2e.conftest import until
from tests.e2e.simulated import SIMULATED_CLOCK, FileClock
from tests.entrypoints.conftest import ENVIRONMENT
from tests.internet import Internet
from tests.survival.system import free_port
from tests.yahoo_world import ASSETS, RATES, World

SHARES = {"VTI": 4, "VWCE.DE": 10, "VOD.L": 1000, "BTC-USD": 0.01}
CASH = 1000
FRIDAY, SUNDAY, MONDAY, TUESDAY = (date(2024, 3, day) for day in (8, 10, 11, 12))
CREDENTIALS = {"email": "ada@example.org", "password": "correct horse battery staple"}


def at(day, hour=22, minute=30):
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def value_on(day, *, coin):
    """Return the value in euros at the closes of a day, and of another one for the coin."""
    per_unit = {"USD": 1 / RATES["USD"], "EUR": 1.0, "GBp": 1 / RATES["GBP"] / 100}
    found = CASH
    for symbol, shares in SHARES.items():
        asset = ASSETS[symbol]
        found += shares * asset.price(coin if asset.every_day else day) * per_unit[asset.currency]
    return found


@attrs.frozen
class Simulation:
    """A running server, its servers of prices and its time."""

    client: httpx.Client
    world: World
    internet: Internet
    clock: FileClock
    process: subprocess.Popen
    log: object

    def schedule(self):
        return {one["name"]: one for one in self.client.get("/api/market/schedule").json()}

    def wait_for_schedule(self):
        """Wait until every task has run that is due by the simulated time."""
        now = self.clock()

        def is_done():
            tasks = self.schedule().values()
            return all(
                task["state"] != "running" and datetime.fromisoformat(task["due"]) > now
                for task in tasks
            )

        until(is_done, self.process)

    def pass_time(self, time):
        """Set the time; the access token has expired by then."""
        self.clock.set(time)
        self.log_in()

    def log_in(self):
        login = self.client.post("/api/users/login", json=CREDENTIALS).json()
        self.client.headers["Authorization"] = f"Bearer {login['access_token']}"

    def lines(self, *loggers):
        text = self.log.read_text(encoding="utf-8").splitlines()
        records = (json.loads(line) for line in text if line.startswith("{"))  # mails lie between
        return [one["message"] for one in records if one["logger"] in loggers]


@pytest.fixture
def simulation(tmp_path, sqlite_template):
    url = f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'rebalancer.db')}"
    clock, world, port = FileClock(tmp_path / "clock"), World(), free_port()
    clock.set(at(FRIDAY + timedelta(1), 12, 0))
    log = tmp_path / "log.jsonl"
    with Internet(world.hosts()) as internet:
        settings = {
            "REBALANCER_DATABASE_URL": url,
            "REBALANCER_PRICES": "store",
            "REBALANCER_RATE_LIMIT": "0",
            "REBALANCER_LOGIN_LIMIT": "0",
            "REBALANCER_LOG_LEVEL": "info",
            SIMULATED_CLOCK: str(clock.path),
        }
        command = [sys.executable, "-m", "granian", "--interface", "asgi", "--factory"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--no-log"]
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, "tests.e2e.simulated:application"],
                env=ENVIRONMENT | internet.environment(tmp_path) | settings,
                stderr=errors,
                stdout=errors,
            )
        watchdog.watch(process)
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:

            def answers():
                try:
                    return client.get("/health/live").status_code == 200
                except httpx.TransportError:
                    return False

            try:
                until(answers, process)
                assert client.post("/api/users/register", json=CREDENTIALS).status_code == 201
                running = Simulation(client, world, internet, clock, process, log)
                running.log_in()
                yield running
            finally:
                process.terminate()
                process.wait(60)
                watchdog.release(process)


def test_prices_of_the_next_day_arrive_by_schedule_and_an_outage_stops_nothing(simulation):
    client, world = simulation.client, simulation.world
    fetch = {"symbols": list(SHARES), "currency": "EUR"}
    job = client.post("/api/market/assets", json=fetch).headers["location"]
    until(lambda: client.get(job).json()["finished"] is not None, simulation.process)
    assert client.get(job).json()["state"] == "succeeded"
    opened = client.post(
        "/api/portfolios",
        json={
            "name": "Everything",
            "currency": "EUR",
            "cash": str(CASH),
            "holdings": {symbol: str(shares) for symbol, shares in SHARES.items()},
            "targets": dict.fromkeys(SHARES, 0.25),
        },
    )
    assert opened.status_code == 201, opened.text
    path = opened.headers["location"]

    def value():
        return float(client.get(path).json()["value"])

    assert value() == pytest.approx(value_on(FRIDAY, coin=FRIDAY), abs=0.05)
    asked = {"portfolio_id": opened.json()["id"]}
    proposed = client.post("/api/rebalance/predict", json=asked)
    assert proposed.status_code == 201, proposed.text
    assert proposed.json()["as_of"] == str(FRIDAY)
    assert {order["symbol"] for order in proposed.json()["orders"]} <= set(SHARES)

    until(lambda: {"bars:ARCX", "rates"} <= set(simulation.schedule()), simulation.process)
    simulation.internet.forget()
    world.today = MONDAY
    simulation.pass_time(at(MONDAY))
    simulation.wait_for_schedule()
    expected = value_on(MONDAY, coin=SUNDAY)
    until(lambda: value() == pytest.approx(expected, abs=0.05), simulation.process)
    assert expected != pytest.approx(value_on(FRIDAY, coin=FRIDAY), abs=1)
    charts = [one.path for one in simulation.internet.requests("query2.finance.yahoo.com")]
    assert len(charts) == len(set(charts)) == len(SHARES)
    again = client.post("/api/rebalance/predict", json=asked)
    assert again.json()["as_of"] == str(MONDAY), again.text

    holdings = client.get(path).json()["holdings"]
    days = {symbol: one["price_date"] for symbol, one in holdings.items()}
    assert days == dict.fromkeys(SHARES, str(MONDAY)) | {"BTC-USD": str(SUNDAY)}

    world.down, world.today = True, TUESDAY
    simulation.pass_time(at(TUESDAY))
    until(
        lambda: simulation.schedule().get("bars:ARCX", {}).get("state") == "failed",
        simulation.process,
    )
    simulation.wait_for_schedule()
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok"), ready.text
    assert value() == pytest.approx(expected, abs=0.05)  # at the last prices
    failures = simulation.lines("rebalancer.market", "rebalancer.schedule")
    assert any("status 503" in line for line in failures)
    assert len([line for line in failures if "503" in line]) <= 16
    failed = simulation.schedule()["bars:ARCX"]
    assert datetime.fromisoformat(failed["due"]) == at(TUESDAY) + timedelta(hours=1)
