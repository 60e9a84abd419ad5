"""Proposals on the command line for portfolios in several currencies, computed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import as_csv, flat_prices
from tests.entrypoints.conftest import Run

CLOSES = {"ALV": 250.5, "BTC": 52345.67, "LON": 1234.5, "NYS": 180.25, "TKY": 2875.0}
RATES = {"EURUSD": 1.085, "EURJPY": 162.35, "EURGBP": 0.8555}
ASSETS = """symbol,name,currency,market,quantity_step
ALV,Frankfurt,EUR,,
BTC,Bitcoin,USD,,0.0001
LON,London,GBX,,
NYS,New York,USD,,
TKY,Tokyo,JPY,,
"""
PORTFOLIO: dict[str, Any] = {
    "id": "mixed",
    "currency": "EUR",
    "cash": {"EUR": "2500.00", "USD": "1000.00", "JPY": 50000},
    "holdings": {"NYS": 40, "LON": 300, "TKY": 100},
    "targets": {"ALV": 0.2, "NYS": 0.2, "TKY": 0.2, "LON": 0.2, "BTC": 0.15},
}


@pytest.fixture
def files(write: Callable[[str, str | bytes], Path]) -> tuple[str, ...]:
    write("prices.csv", as_csv(flat_prices({**CLOSES, **RATES})))
    write("assets.csv", ASSETS)
    write("mixed.json", json.dumps(PORTFOLIO))
    write("listed.json", json.dumps(PORTFOLIO | {"conversions": "listed"}))
    return ("--prices", "prices.csv", "--assets", "assets.csv", "--policy", "monthly")


def test_orders_are_in_their_currency_and_conversions_are_listed(
    quickly: Run, files: tuple[str, ...]
) -> None:
    found = quickly("propose", "mixed.json", *files, "--fx-spread-bps", "20", "--json").json
    orders = {order["symbol"]: order for order in found["orders"]}
    assert {name: orders["LON"][name] for name in ("price", "currency", "amount", "value")} == {
        "price": "12.345",
        "currency": "GBP",
        "amount": "876.50",
        "value": "1024.55",
    }
    assert found["conversions"][0] == {
        "from_currency": "EUR",
        "to_currency": "USD",
        "from_amount": "1554.05",
        "to_amount": "1682.78",
        "rate": "1.085",
        "cost": "3.10",
        "automatic": True,
    }
    assert found["cash_after_by_currency"] == {"EUR": found["cash_after"]} == {"EUR": "801.36"}
    listed = quickly("propose", "listed.json", *files, "--fx-spread-bps", "20", "--json").json
    assert listed["orders"] == found["orders"]
    assert listed["cash_after_by_currency"] == {"EUR": "0.00", "USD": "880.62"}
    table = quickly("propose", "listed.json", *files, "--fx-spread-bps", "20").stdout
    for text in ("12.345 GBP", "Conversions to make", "825.99 USD", "759.76 EUR", "22.6%"):
        assert text in table, text


def test_a_book_may_have_portfolios_of_several_base_currencies(
    quickly: Run, files: tuple[str, ...], write: Callable[[str, str | bytes], Path]
) -> None:
    lines = [
        PORTFOLIO,
        PORTFOLIO | {"id": "dollars", "currency": "USD"},
        {"id": "plain", "currency": "EUR", "cash": "1000", "holdings": {}, "targets": {"ALV": 0.5}},
        PORTFOLIO | {"id": "francs", "cash": {"CHF": 1, "XAU": 1}},
    ]
    write("book.jsonl", "\n".join(map(json.dumps, lines)))
    done = quickly("batch", "--portfolios", "book.jsonl", *files, "--out", "out.jsonl")
    assert "3 proposed, 0 with nothing to do, 1 failed" in done.stderr
    euros, dollars, plain, francs = map(json.loads, Path("out.jsonl").read_text().splitlines())
    alone = quickly("propose", "mixed.json", *files, "--json").json
    assert {name: euros[name] for name in ("orders", "conversions", "input_hash")} == {
        name: alone[name] for name in ("orders", "conversions", "input_hash")
    }
    assert dollars["cash_after_by_currency"].keys() == {"USD"}
    assert "conversions" not in plain
    assert "currency" not in plain["orders"][0]
    assert francs["error"].startswith("cash.XAU: no exchange rate from XAU to EUR")
