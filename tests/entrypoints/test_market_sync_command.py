"""`rebalancer market sync` and `providers`, with real clients and a local internet."""

from __future__ import annotations

import io
import json
import sys
from datetime import date

import pytest

from tests.contracts.provider_hosts import KEY as FRED_KEY
from tests.contracts.provider_hosts import FredHost
from tests.internet import Internet, environment
from tests.yahoo_world import ASSETS, RATES, World

KEY = "planted-key-0123456789"


@pytest.fixture
def world():
    return World()


@pytest.fixture
def internet(world, tmp_path):
    with Internet(world.hosts()) as running, environment(running.environment(tmp_path)):
        yield running


def test_a_newcomer_gets_a_proposal_at_the_last_closes_of_four_markets(quickly, write, internet):
    synced = quickly("market", "sync", "--symbols", ",".join(ASSETS))
    assert synced.code == 0, synced
    assert "4 assets from yahoo" in synced.stdout or "6 assets from ecb, yahoo" in synced.stdout
    assert "personal use" in synced.stderr
    shares = {"VTI": "4", "VWCE.DE": "10", "VOD.L": "1000", "BTC-USD": "0.01"}
    portfolio = {
        "id": "me",
        "currency": "EUR",
        "cash": "1000",
        "holdings": shares,
        "targets": dict.fromkeys(ASSETS, 0.25),
    }
    write("me.json", json.dumps(portfolio))
    made = quickly("propose", "me.json", "--policy", "monthly", "--as-of", "2024-03-08", "--json")
    assert made.code == 0, made.stderr
    proposal = made.json
    assert {order["symbol"] for order in proposal["orders"]} <= set(ASSETS)
    assert proposal["as_of"] == "2024-03-08"
    day = date(2024, 3, 8)
    euros = {
        "VTI": 4 * ASSETS["VTI"].price(day) / RATES["USD"],
        "VWCE.DE": 10 * ASSETS["VWCE.DE"].price(day),
        "VOD.L": 1000 * ASSETS["VOD.L"].price(day) / 100 / RATES["GBP"],
        "BTC-USD": 0.01 * ASSETS["BTC-USD"].price(day) / RATES["USD"],
    }
    total = sum(euros.values()) + 1000
    for symbol, value in euros.items():
        assert proposal["weights_before"][symbol] == pytest.approx(value / total, abs=1e-6)


def test_a_repeated_sync_makes_no_request(quickly, internet, world):
    assert quickly("market", "sync", "--symbols", "VTI").code == 0
    internet.forget()
    again = quickly("market", "sync", "--json")
    assert [one["current"] for one in again.json] == [True]
    assert internet.requests("query2.finance.yahoo.com") == []


def test_failures_are_reported_and_end_with_exit_code_3(quickly, internet, world):
    failed = quickly("market", "sync", "--symbols", "VTI,NOSUCH")
    assert failed.code == 3
    assert "NOSUCH was not synchronized" in failed.stderr
    assert "VTI" not in failed.stderr
    world.down = True
    down = quickly("market", "sync", "--symbols", "VWCE.DE", "--json")
    assert down.code == 3
    (outcome,) = (one for one in down.json if one["symbol"] == "VWCE.DE")
    assert "status 503" in outcome["fault"]
    world.down = False
    assert quickly("market", "sync", "--symbols", "VWCE.DE").code == 0


def test_nothing_to_synchronize_names_the_remedy(quickly, internet):
    assert quickly("market", "sync").refused("--symbols")


def test_an_unknown_provider_lists_the_known_ones(quickly, internet):
    asked = ("market", "sync", "--symbols", "VTI")
    assert quickly(*asked, "--provider", "nobody").refused("provider", "nobody", "yahoo")


def test_providers_show_what_they_need_and_what_is_left(quickly, internet, monkeypatch):
    before = {one["name"]: one for one in quickly("market", "providers", "--json").json}
    assert before["yahoo"]["ready"]
    assert before["tiingo"]["missing"] == "REBALANCER_TIINGO_KEY"
    assert before["alpha_vantage"]["quota_left"] == 25
    monkeypatch.setenv("REBALANCER_TIINGO_KEY", KEY)
    asked = ("market", "sync", "--symbols", "VTI", "--provider", "tiingo")
    refused = quickly(*asked)  # there is no such host here
    assert refused.code == 3
    assert KEY not in refused.stdout + refused.stderr
    after = {one["name"]: one for one in quickly("market", "providers", "--json").json}
    assert after["tiingo"]["ready"]
    assert after["tiingo"]["quota_left"] < after["tiingo"]["quota"]
    assert "yahoo" in quickly("market", "providers").stdout


def test_an_unknown_name_among_the_providers_is_refused(quickly, internet, monkeypatch):
    monkeypatch.setenv("REBALANCER_PROVIDERS", "yahoo,nobody")
    assert quickly("market", "providers").refused("REBALANCER_PROVIDERS", "nobody")


def test_the_schedule_runs_what_is_due(quickly, internet, world):
    empty = quickly("market", "schedule")
    assert (empty.code, "Nothing is scheduled yet" in empty.stdout) == (0, True)
    quickly("market", "sync", "--symbols", "VTI,EURUSD")
    planned = quickly("market", "schedule", "--run", "--json")
    assert planned.code == 0
    assert {task["name"] for task in planned.json} == {"bars:ARCX", "clean-up", "rates"}
    assert "bars:ARCX" in quickly("market", "schedule").stdout


class Terminal(io.StringIO):
    """Standard input or error of a person at a terminal."""

    def isatty(self):
        return True


def unknown_portfolio(write):
    write(
        "mine.json",
        json.dumps({"id": "me", "cash": "1000", "holdings": {}, "targets": {"VOD.L": 1}}),
    )
    return "propose", "mine.json", "--policy", "monthly", "--as-of", "2024-03-08"


def test_unknown_symbol_names_the_command_that_fetches_it(quickly, write, internet):
    quickly("market", "sync", "--symbols", "VTI")
    remedy = "rebalancer market sync --symbols VOD.L"
    assert quickly(*unknown_portfolio(write)).refused("targets.VOD.L", remedy)


@pytest.mark.parametrize(("reply", "code"), [("y", 0), ("n", 2)])
def test_person_at_a_terminal_is_asked_for_a_fetch(
    quickly, write, internet, monkeypatch, reply, code
):
    quickly("market", "sync", "--symbols", "VTI")
    monkeypatch.setattr(sys, "stdin", Terminal(f"{reply}\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    made = quickly(*unknown_portfolio(write))
    assert made.code == code
    assert ("VOD.L" in made.stdout) == (code == 0)
    assert "fetch it now?" in sys.stderr.getvalue()


def test_search_lists_assets_of_providers_and_how_to_fetch_them(quickly, internet, world):
    quickly("market", "sync", "--symbols", "VTI")
    found = quickly("market", "search", "world", "--everywhere")
    assert "market sync --symbols VWCE.DE" in found.stdout
    assert "No assets found" in quickly("market", "search", "world").stdout
    world.down = True
    noted = quickly("market", "search", "VTI", "--everywhere", "--json")
    assert [one["symbol"] for one in noted.json["assets"]] == ["VTI"]
    assert "Yahoo Finance" in noted.json["notes"][0]
    assert "Caution" in quickly("market", "search", "VTI", "--everywhere").stderr


def test_search_of_providers_works_before_anything_is_stored(quickly, internet, monkeypatch):
    monkeypatch.setenv("REBALANCER_ALPHA_VANTAGE_KEY", KEY)  # whose quota is counted
    found = quickly("market", "search", "world", "--everywhere", "--json")
    assert [one["symbol"] for one in found.json["assets"] if not one["known"]] == ["VWCE.DE"]
    assert KEY not in found.stdout + found.stderr


def test_fundamentals_are_shown_and_stored(quickly, internet, world):
    shown = quickly("market", "fundamentals", "VTI")
    assert shown.code == 0, shown
    assert "price to earnings" in shown.stdout and "21.5" in shown.stdout
    world.down = True
    document = quickly("market", "fundamentals", "VTI", "--json").json
    assert document["figures"] == {"price_to_earnings": 21.5}
    assert (document["provider"], document["note"]) == ("yahoo", "")
    missing = quickly("market", "fundamentals", "VOD.L")
    assert (missing.code, "Yahoo Finance" in missing.stderr) == (1, True)


def test_series_is_shown_as_it_was_known(quickly, internet, monkeypatch):
    monkeypatch.setenv("REBALANCER_FRED_KEY", FRED_KEY)
    internet.hosts |= dict.fromkeys(FredHost().hosts(), FredHost().answer)
    shown = quickly("market", "series", "ABC/RATE")
    assert shown.code == 0, shown
    assert "2024-03-31" in shown.stdout and "2024-04-01" in shown.stdout
    asked = ("market", "series", "ABC/RATE", "--json")
    earlier = quickly(*asked, "--known-by", "2024-03-01").json
    assert [one["value"] for one in earlier["observations"]] == [5.25]
    later = quickly(*asked, "--since", "2024-03-01").json
    assert [one["date"] for one in later["observations"]] == ["2024-03-31"]
    assert quickly("market", "series", "NOSUCH").refused("FRED does not know NOSUCH")


def test_series_without_a_key_names_the_remedy(quickly, internet):
    missing = quickly("market", "series", "DGS10")
    assert (missing.code, "add one" in missing.stderr) == (1, True)
