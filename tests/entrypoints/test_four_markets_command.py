"""Currencies on the command line: prices of four markets, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.entrypoints.conftest import Run

PRICES = """\
date,NYC,TYO,LSE,BTC-USD,EURUSD,EURJPY,EURGBP
2022-01-03,100.00,2600,850.0,46000,1.15,130.0,0.85
2022-01-04,101.00,2610,855.0,46500,1.15,131.0,0.85
2022-01-05,102.00,2620,860.0,43500,1.14,131.0,0.84
2022-01-06,101.50,,862.5,43100,1.13,131.2,0.84
2022-01-07,103.00,2590,870.0,41600,1.13,131.5,0.835
2022-01-08,,,,41700,,,
2022-01-09,,,,41900,,,
"""
ASSETS = """\
symbol,name,currency,market
NYC,New York,USD,XNYS
TYO,Tokyo,JPY,XTKS
LSE,London,GBX,XLON
BTC-USD,Bitcoin,USD,24/7
"""
PORTFOLIO = {
    "id": "P",
    "currency": "EUR",
    "cash": "1000.00",
    "holdings": {"NYC": "10", "TYO": "20", "LSE": "100", "BTC-USD": "0.1"},
    "targets": {"NYC": 0.25, "TYO": 0.25, "LSE": 0.25, "BTC-USD": 0.25},
    "preferences": {"whole_shares": False},
}
IN_EUROS = {
    "NYC": 10 * 103 / 1.13,
    "TYO": 20 * 2590 / 131.5,
    "LSE": 100 * 8.70 / 0.835,
    "BTC-USD": 0.1 * 41900 / 1.13,
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "prices.csv").write_text(PRICES)
    (tmp_path / "assets.csv").write_text(ASSETS)
    (tmp_path / "p.json").write_text(json.dumps(PORTFOLIO))
    return ("--prices", "prices.csv", "--assets", "assets.csv")


def test_assets_are_listed_in_their_own_currency(quickly: Run, files: tuple[str, ...]) -> None:
    listed = quickly("market", "list", *files, "--json").json
    assert [(one["symbol"], one["price"], one["currency"]) for one in listed] == [
        ("NYC", 103.0, "USD"),
        ("TYO", 2590.0, "JPY"),
        ("LSE", 8.7, "GBP"),
        ("BTC-USD", 41900.0, "USD"),
    ]
    assert quickly("market", "show", "EURUSD", *files).refused("1 EUR was 1.13 USD on 2022-01-07")


def test_a_portfolio_in_euros_by_hand(quickly: Run, files: tuple[str, ...]) -> None:
    made = quickly("propose", "p.json", *files, "--policy", "monthly", "--cost-bps", "0", "--json")
    proposal = made.json
    total = 1000 + sum(IN_EUROS.values())
    assert proposal["as_of"] == "2022-01-09"
    assert proposal["weights_before"] == {
        symbol: pytest.approx(value / total, abs=1e-9) for symbol, value in IN_EUROS.items()
    }
    assert not [note for note in proposal["notes"] if "not tradable" in note]


def test_a_backtest_in_euros_by_hand(quickly: Run, files: tuple[str, ...]) -> None:
    done = quickly(
        *("backtest", *files, "--currency", "EUR", "--policy", "buy_and_hold", "--json"),
        *("--cost-bps", "0", "--capital", "100000"),
    ).json
    growth = [
        103 / 1.13 / (100 / 1.15),
        2590 / 131.5 / (2600 / 130),
        8.70 / 0.835 / (8.50 / 0.85),
        41900 / 1.13 / (46000 / 1.15),
    ]
    assert done["currency"] == "EUR"
    assert round(100_000 * done["results"][0]["final_value"], 2) == round(25_000 * sum(growth), 2)


def test_a_stated_currency_is_that_of_prices_without_one(
    quickly: Run, files: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "p.json").write_text(
        json.dumps({"cash": "100", "holdings": {}, "targets": {"NYC": 0.5}})
    )
    plain = files[:2]
    made = quickly("propose", "p.json", *plain, "--currency", "GBP", "--json").json
    assert [order["symbol"] for order in made["orders"]] == []
    assert not [note for note in made["notes"] if "not stated" in note]
    (tmp_path / "p.json").write_text(
        json.dumps({"currency": "GBP", "cash": "1000", "holdings": {}, "targets": {"NYC": 0.5}})
    )
    made = quickly("propose", "p.json", *plain, "--json").json
    assert [note for note in made["notes"] if "not stated" in note] == [
        "The currency of NYC is not stated; prices are taken to be in USD, and converted into GBP."
    ]


def test_the_sample_is_in_dollars_and_converts(quickly: Run, tmp_path: Path) -> None:
    dollars = quickly("backtest", "--policy", "buy_and_hold", "--json").json
    euros = quickly("backtest", "--policy", "buy_and_hold", "--currency", "EUR", "--json").json
    ratio = euros["results"][0]["final_value"] / dollars["results"][0]["final_value"]
    assert ratio == pytest.approx(1.0090 / 1.0640, rel=1e-3)  # of 2000-01-03 and 2022-12-28
    assert (dollars["currency"], euros["currency"]) == ("USD", "EUR")
    refused = quickly("backtest", "--policy", "buy_and_hold", "--currency", "XAU")
    assert refused.refused("currency: no exchange rate from USD to XAU is known")
