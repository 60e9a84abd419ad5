"""Assets that the store lacks are fetched by a job, with real clients and a local internet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from litestar.testing import TestClient

from rebalancer.adapters.security.passwords import ArgonPasswords
from rebalancer.application.job_worker import JobSettings
from rebalancer.application.ports.accounts import Passwords
from rebalancer.application.ports.clock import Clock
from rebalancer.entrypoints.http.app import application
from rebalancer.wiring.container import build_async_container
from rebalancer.wiring.market import Sources
from tests.contracts.provider_hosts import KEY, FredHost
from tests.entrypoints.http.conftest import (
    PASSWORD,
    WITHOUT_LIMITS,
    ApiUser,
    FakeClock,
    ThreadExecutor,
    checked,
    expect_problem,
    finished_job,
    provide_values,
)
from tests.internet import Internet, environment
from tests.yahoo_world import World

PATH = "/api/market/assets"
NOON = "2024-03-09T12:00:00+00:00"


@attrs.frozen
class Network:
    """A user of an application whose prices come from the store, and the faked servers."""

    user: ApiUser
    world: World
    internet: Internet
    time: FakeClock

    def fetch(self, *symbols: str, **options: Any) -> dict[str, Any]:
        """Ask for assets, and return the finished job."""
        asked = self.user.post(PATH, {"symbols": list(symbols)} | options)
        assert asked.status_code == 202, asked.text
        return finished_job(self.user, asked.headers["location"])


@pytest.fixture
def network(tmp_path: Path, sqlite_template: Path) -> Iterator[Network]:
    yield from open_network(tmp_path, sqlite_template)


def open_network(folder: Path, template: Path, **settings: Any) -> Iterator[Network]:
    """Run the application over SQLite, with a local internet."""
    url = f"sqlite:///{shutil.copy(template, folder / 'rebalancer.db')}"
    time, world = FakeClock(), World()
    time.now = time.now.fromisoformat(NOON)
    chosen = {"database_url": url, "cache": folder / "cache", "providers": ("yahoo", "ecb")}
    values = attrs.evolve(WITHOUT_LIMITS, **chosen | settings)
    ports = {
        Clock: time,
        Passwords: ArgonPasswords(time_cost=1, memory_kib=64),
        JobSettings: JobSettings(attempts=1, poll_interval=0.005),
    }
    wired = build_async_container(
        Sources("store"), provide_values(ports), ThreadExecutor(), settings=values
    )
    hosts = world.hosts() | dict.fromkeys(FredHost().hosts(), FredHost().answer)
    with Internet(hosts) as internet, environment(internet.environment(folder)):
        app = application(wired, fetches_assets=True)
        with TestClient(app, raise_server_exceptions=False) as client:
            credentials = {"email": "ada@example.org", "password": PASSWORD}
            checked(client.post("/api/users/register", json=credentials))
            login = checked(client.post("/api/users/login", json=credentials)).json()
            yield Network(ApiUser(client, login), world, internet, time)


def test_portfolio_of_unknown_assets_opens_after_a_fetch(network: Network) -> None:
    body = {"name": "Mine", "cash": "1000", "currency": "EUR", "targets": {"VWCE.DE": 0.5}}
    network.fetch("VTI")
    refused = network.user.post("/api/portfolios", body)
    assert "POST /api/market/assets" in expect_problem(refused, 422)
    job = network.fetch("VWCE.DE", "BTC-USD", currency="EUR")
    assert (job["kind"], job["state"]) == ("fetch", "succeeded")
    fetched = {one["symbol"]: one for one in job["result"]["assets"]}
    assert set(fetched) == {"VWCE.DE", "BTC-USD", "EURUSD"}
    assert fetched["VWCE.DE"]["days"] > 200
    assert fetched["VWCE.DE"]["through"] == "2024-03-08"
    assert network.user.post("/api/portfolios", body).status_code == 201


def test_empty_store_names_the_route_and_searches_providers(network: Network) -> None:
    body = {"name": "Mine", "targets": {"VTI": 1}}
    refused = network.user.post("/api/portfolios", body)
    assert "POST /api/market/assets" in expect_problem(refused, 503)
    found = network.user.get(PATH, params={"query": "VTI", "everywhere": True}).json()
    assert [(one["symbol"], one["known"]) for one in found["items"]] == [("VTI", False)]


def test_repeated_request_submits_one_job(network: Network) -> None:
    headers, body = {"Idempotency-Key": "monday"}, {"symbols": ["VTI"]}
    first, again = (network.user.post(PATH, body, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = network.user.post(PATH, {"symbols": ["VOD.L"]}, headers=headers)
    expect_problem(other, 409)
    finished_job(network.user, first.headers["location"])


def test_job_about_unknown_symbols_fails_and_names_them(network: Network) -> None:
    job = network.fetch("NOSUCH")
    assert job["state"] == "failed"
    assert "NOSUCH" in job["error"]


def test_job_stores_known_symbols_next_to_an_unknown_one(network: Network) -> None:
    job = network.fetch("NOSUCH", "VTI")
    assert job["state"] == "succeeded"
    outcomes = {one["symbol"]: one["unknown"] for one in job["result"]["assets"]}
    assert outcomes == {"NOSUCH": True, "VTI": False}


def test_job_fails_while_providers_are_down(network: Network) -> None:
    network.world.down = True
    job = network.fetch("VTI")
    assert job["state"] == "dead"
    assert "503" in job["error"]


def test_requests_without_symbols_are_rejected(network: Network) -> None:
    expect_problem(network.user.post(PATH, {"symbols": []}), 400, "symbols")


def test_assets_of_other_sources_cannot_be_fetched(ada: ApiUser) -> None:
    expect_problem(ada.post(PATH, {"symbols": ["VTI"]}), 409)
    refused = ada.post("/api/portfolios", {"name": "x", "targets": {"NOSUCH": 1}})
    assert "/api/market/assets" not in expect_problem(refused, 422)


@pytest.fixture
def library(tmp_path: Path, sqlite_template: Path) -> Iterator[Network]:
    """As `network`, with FRED."""
    yield from open_network(tmp_path, sqlite_template, providers=("yahoo", "fred"), fred_key=KEY)


def test_economic_series_has_what_was_known_on_a_day(library: Network) -> None:
    path = "/api/market/series/ABC%2FRATE"
    found = library.user.get(path).json()
    assert (found["title"], found["provider"], found["note"]) == ("Rate", "fred", "")
    assert found["observations"] == [
        {"date": "2024-01-31", "value": 5.25, "known": "2024-02-01"},
        {"date": "2024-03-31", "value": 5.5, "known": "2024-04-01"},
    ]
    earlier = library.user.get(path, params={"known_by": "2024-03-01"}).json()
    assert [one["value"] for one in earlier["observations"]] == [5.25]
    later = library.user.get(path, params={"since": "2024-03-01"}).json()
    assert [one["value"] for one in later["observations"]] == [5.5]
    assert len(library.internet.requests("api.stlouisfed.org")) == 2  # it is stored
    expect_problem(library.user.get("/api/market/series/NOSUCH"), 404)


def test_fundamentals_are_stored(library: Network) -> None:
    path = "/api/market/fundamentals/VTI"
    found = library.user.get(path).json()
    assert found["figures"]["price_to_earnings"] == 21.5
    assert (found["texts"]["sector"], found["provider"]) == ("Everything", "yahoo")
    library.world.down = True
    assert library.user.get(path).json() == found


def test_fundamentals_of_a_provider_that_is_down_are_unavailable(library: Network) -> None:
    library.world.down = True
    expect_problem(library.user.get("/api/market/fundamentals/VTI"), 503)


def test_search_merges_assets_of_providers(network: Network) -> None:
    network.fetch("VTI")
    alone = network.user.get(PATH, params={"query": "world"}).json()
    assert (alone["items"], alone["notes"]) == ([], [])
    found = network.user.get(PATH, params={"query": "world", "everywhere": True}).json()
    (asset,) = found["items"]
    assert (asset["symbol"], asset["known"], asset["provider"]) == ("VWCE.DE", False, "yahoo")
    assert (asset["name"], asset["price"], asset["as_of"]) == ("All World", None, None)
    both = network.user.get(PATH, params={"query": "o", "everywhere": True}).json()["items"]
    assert [one["symbol"] for one in both if one["known"]] == ["VTI"]
    assert len({one["symbol"] for one in both}) == len(both) == 4


def test_search_by_a_number_that_only_the_provider_knows_finds_the_known_asset(
    network: Network,
) -> None:
    network.fetch("VTI")
    (found,) = network.user.get(PATH, params={"query": "US9229087690", "everywhere": True}).json()[
        "items"
    ]
    assert (found["symbol"], found["known"], found["currency"]) == ("VTI", True, "USD")


def test_search_without_an_answer_of_a_provider_has_a_note(network: Network) -> None:
    network.fetch("VTI")
    network.world.down = True
    asked = network.user.get(PATH, params={"query": "VTI", "everywhere": True})
    assert asked.status_code == 200
    assert [one["symbol"] for one in asked.json()["items"]] == ["VTI"]
    (note,) = asked.json()["notes"]
    assert "Yahoo Finance" in note
    assert len(network.internet.requests("query2.finance.yahoo.com")) == 2  # and no retry


def test_search_of_providers_needs_a_token(network: Network) -> None:
    path = f"{PATH}?query=VTI&everywhere=true"
    expect_problem(checked(network.user.client.get(path)), 401)


def test_search_filters_by_class_and_currency(network: Network) -> None:
    network.fetch("VTI", "VOD.L", "BTC-USD")

    def symbols(**filters: str) -> list[str]:
        return [one["symbol"] for one in network.user.get(PATH, params=filters).json()["items"]]

    assert symbols(currency="GBP") == ["VOD.L"]
    assert symbols(asset_class="equity") == ["VOD.L"]
    assert symbols(asset_class="other", currency="USD") == ["BTC-USD"]
    assert symbols(asset_class="gold") == []
    expect_problem(network.user.get(PATH, params={"asset_class": "cars"}), 400, "asset_class")
