"""Symbols with marks of their own: in options and files, and hints at those that are meant."""

import json
import unicodedata

import pytest

SYMBOLS = ["SI=F", "BF B", "T&T.NS", "ETH/USDT", "^NDX", "ÖTKER", "USDJPY=X"]
APART = unicodedata.normalize("NFD", "ÖTKER")


@pytest.fixture
def odd(quickly, write):
    """Run a command on prices of odd symbols, the last one written as two characters."""
    header = ",".join(["date", *SYMBOLS]).replace("ÖTKER", APART)
    days = [f"2024-03-{day:02},{','.join(str(20 + day + at) for at in range(7))}" for day in (4, 5)]
    write("odd.csv", "\n".join([header, *days]))
    write("none.csv", "symbol,quantity\n")
    return lambda *command: quickly(*command, "--prices", "odd.csv")


@pytest.mark.parametrize("symbol", [*SYMBOLS, APART])
def test_every_symbol_works_in_options_and_files(odd, write, symbol):
    name = unicodedata.normalize("NFC", symbol)
    given = ["propose", "--holdings", "mine.csv", "--cash", "1000", "--policy", "monthly"]
    write("mine.csv", f"symbol,quantity\n{symbol},3\n")
    text = odd(*given, "--targets", f" {symbol} = 0.5", "--json").json
    write("wanted.json", json.dumps({symbol: 0.5}))
    assert odd(*given, "--targets", "wanted.json", "--json").json == text
    assert name in text["weights_after"]
    whole = {"id": "x", "cash": "1000", "holdings": {symbol: "3"}, "targets": {symbol: 0.5}}
    kept = whole | {"preferences": {"do_not_buy": [symbol]}}
    write("mine.json", json.dumps(kept))
    assert not odd("propose", "mine.json", "--json").json["orders"]
    write("book.jsonl", json.dumps(whole, ensure_ascii=False))
    assert odd("batch", "--portfolios", "book.jsonl", "--policy", "monthly", "--out", "o").code == 0
    assert f"{name}" in odd("market", "show", symbol).stdout


def test_several_symbols_with_an_equals_sign(odd, write):
    write("mine.csv", "symbol,quantity\nSI=F,1\n")
    given = ["propose", "--holdings", "mine.csv", "--cash", "50", "--json"]
    found = odd(*given, "--targets", "SI=F=0.25,USDJPY=X=0.5").json
    assert set(found["weights_after"]) == {"SI=F", "USDJPY=X"}


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [("BF.B", "BF B"), ("si=f", "SI=F"), ("ndx", "^NDX"), ("OTKR", "ÖTKER"), ("ETH", "ETH/USDT")],
)
def test_unknown_symbol_gets_the_nearest_known_ones(odd, write, tmp_path, symbol, meant):
    hint = f"did you mean {meant}?"
    values = {"id": "x", "cash": "10", "holdings": {symbol: "1"}, "targets": {}}
    write("mine.json", json.dumps(values))
    assert odd("propose", "mine.json").refused(f"holdings.{symbol}: unknown symbol", hint)
    write("wanted.json", json.dumps({symbol: 1}))
    command = ("backtest", "--policy", "band", "--targets", "wanted.json")
    assert odd(*command).refused("targets", symbol, hint)
    assert odd("market", "show", symbol).refused(symbol, hint + " Run `rebalancer market list`")
    assert odd("market", "regime", "--symbols", symbol).refused(symbol, hint)
    assert odd("backtest", "--policy", "band", "--risk-free", symbol).refused(symbol, hint)
    write("book.jsonl", json.dumps(values))
    odd("batch", "--portfolios", "book.jsonl", "--policy", "band", "--out", "out.jsonl")
    assert hint in (tmp_path / "out.jsonl").read_text(encoding="utf-8")
