"""Price files in other layouts, through the commands that read them."""

import json

import numpy as np
import pytest

from tests.builders import as_csv, prices

BARS = "Date,Open,High,Low,Close,Volume\n2024-03-05,4,6,3,5.5,900\n2024-03-04,4,6,3,5,800\n"


def test_market_list_names_the_layout_and_what_was_assumed(quickly, write):
    write("bars.csv", BARS)
    done = quickly("market", "list", "--prices", "bars.csv")
    assert "bars" in done.stdout and "5.50" in done.stdout
    assert "Prices: layout ohlcv." in done.stderr
    assert "Prices are those of 'Close'. The rows are newest first." in done.stderr
    listed = quickly("market", "list", "--prices", "bars.csv", "--json")
    assert [one["symbol"] for one in listed.json] == ["bars"]
    assert "newest first" in listed.stderr


def test_plain_file_is_read_without_remarks(quickly, write):
    write("plain.csv", "date,A\n2024-03-04,1\n2024-03-05,2\n")
    assert quickly("market", "list", "--prices", "plain.csv", "--json").stderr == ""
    assert "Prices: layout wide.\n" in quickly("market", "list", "--prices", "plain.csv").stderr


def test_layout_can_be_stated_by_option_and_by_setting(quickly, write, monkeypatch):
    write("bars.csv", BARS)
    write("early.csv", "date,A\n02/03/2024,1\n02/04/2024,2\n")
    command = ("market", "list", "--prices")
    assert "Volume" in quickly(*command, "bars.csv", "--layout", "wide").stdout
    assert quickly(*command, "early.csv").refused("dates=dmy", "State it with --layout")
    monkeypatch.setenv("REBALANCER_PRICES_LAYOUT", "auto:dates=mdy")
    assert quickly(*command, "early.csv", "--json").json[0]["last"] == "2024-02-04"
    assert quickly(*command, "early.csv", "--layout", "tall").refused("unknown layout 'tall'")
    assert quickly(*command, "sample", "--layout", "wide").refused("sample is not a file")
    assert quickly(*command, "sample").code == 0  # the setting is about files


def test_commands_read_a_folder_in_a_stated_layout(quickly, write, tmp_path):
    (tmp_path / "files").mkdir()
    for symbol, price in (("P", "1.250"), ("Q", "2.500")):
        write(f"files/{symbol}.csv", f"Date;Close\n04.03.2024;{price}\n05.03.2024;{price}\n")
    given = ("--prices", "files", "--layout", "auto:decimal=point")
    write("mine.csv", "symbol,quantity\nP,4\n")
    options = ("--holdings", "mine.csv", "--targets", "P=0.5,Q=0.5", "--policy", "monthly")
    done = quickly("propose", *options, *given, "--cost-bps", "0", "--json")
    assert [(it["side"], it["symbol"], it["quantity"]) for it in done.json["orders"]] == [
        ("sell", "P", "2"),
        ("buy", "Q", "1"),
    ]
    write("book.jsonl", json.dumps({"id": "x", "cash": "5", "holdings": {}, "targets": {"Q": 1}}))
    wanted = ("--portfolios", "book.jsonl", "--policy", "monthly", "--out", "out.jsonl")
    assert quickly("batch", *wanted, *given, "--workers", "2").code == 0
    assert '"as_of":"2024-03-05"' in (tmp_path / "out.jsonl").read_text()


@pytest.fixture
def with_bills(write):
    """Write prices of two assets beside yields of bills, which are 0 on some days."""
    history = prices(2, 300, seed=5)
    yields = [0.0 if row % 7 == 0 else 4.0 for row in range(len(history))]
    lines = as_csv(history).splitlines()
    rows = [f"{line},{rate}" for line, rate in zip(lines[1:], yields, strict=True)]
    write("bills.csv", "\n".join([f"{lines[0]},^IRX", *rows]))
    write("alone.csv", as_csv(history))
    return history, np.array(yields)


def test_yields_are_the_return_of_cash_and_no_asset(quickly, with_bills):
    history, yields = with_bills
    command = ("backtest", "--policy", "buy_and_hold", "--cost-bps", "0", "--json", "--prices")
    plain = quickly(*command, "alone.csv").json
    done = quickly(*command, "bills.csv", "--risk-free", "^IRX")
    assert "Yields in percent a year, not prices: ^IRX." in done.stderr
    assert done.json["assets"] == ["A", "B"]
    assert quickly(*command, "bills.csv").json["results"] == plain["results"]
    values = (history.closes / history.closes[0]).mean(axis=1)
    years = np.diff(history.dates).astype(float) / 365.25
    excess = values[1:] / values[:-1] - (1 + yields[:-1] / 100) ** years
    excess = np.insert(excess, 0, 0.0)  # the day of the purchase, which costs nothing here
    ratio = excess.mean() / excess.std(ddof=1) * np.sqrt(252)
    assert done.json["results"][0]["sharpe"] == pytest.approx(ratio, rel=1e-6)
    evaluated = quickly(
        *("evaluate", "--policy", "band", "--prices", "bills.csv", "--risk-free", "^IRX"),
        *("--no-record", "--json"),
    )
    assert evaluated.code == 0


@pytest.mark.parametrize(("rates", "cautioned"), [((4.0, 4.3), True), ((90.0, 90.02), False)])
def test_column_that_moves_unlike_cash_gets_a_caution(quickly, write, rates, cautioned):
    lines = as_csv(prices(2, 60)).splitlines()
    rows = [f"{line},{rates[at % 2]}" for at, line in enumerate(lines[1:])]
    write("p.csv", "\n".join([f"{lines[0]},RATE", *rows]))
    command = ("backtest", "--policy", "band", "--prices", "p.csv", "--risk-free", "RATE", "--json")
    assert ("cash_moves" in quickly(*command).json["caution_codes"]) == cautioned
