"""`rebalancer portfolio actions`, over prices as traded in a database."""

import json

import pytest

from tests.entrypoints.test_store_commands import ADA, register, store

__all__ = ["register", "store"]

ACTIONS = "symbol,ex_date,kind,value,currency\nA,2022-01-05,split,2,\nB,2022-01-06,dividend,0.50,\n"


def bars(*closes):
    days = [f"2022-01-{day:02}" for day in (3, 4, 5, 6, 7)]
    lines = [
        f"{day},{symbol},,,,{close},"
        for symbol, of_symbol in zip("AB", closes, strict=True)
        for day, close in zip(days, of_symbol, strict=True)
    ]
    return "date,symbol,open,high,low,close,volume\n" + "\n".join(lines) + "\n"


@pytest.fixture
def held(store, write, monkeypatch):
    """Import prices and a portfolio that confirms its actions; return its id."""
    monkeypatch.setenv("REBALANCER_PRICES", "store")
    write("bars.csv", bars([20, 20, 10, 10, 10], [5, 5, 5, 5, 5]))
    assert store("market", "import", "--bars", "bars.csv").code == 0
    portfolio = {
        "id": "mine",
        "cash": "10",
        "holdings": {"A": "3", "B": "4"},
        "targets": {"A": 0.5},
        "corporate_actions": "confirm",
    }
    write("mine.json", json.dumps(portfolio))
    done = store("portfolio", "import", "mine.json", "--on", "2022-01-03", *ADA, "--json")
    assert done.code == 0, done
    write("actions.csv", ACTIONS)
    assert store("market", "import", "--actions", "actions.csv").code == 0
    return done.json["opened"][0]["id"]


def test_pending_actions_are_listed_confirmed_and_dismissed(store, held):
    shown = store("portfolio", "show", held)
    assert "2 corporate actions wait for confirmation" in shown.stdout.replace("\n", " ")
    listed = store("portfolio", "actions", held)
    assert 'To book one, add --confirm "A 2022-01-05 split"' in listed.stdout
    done = store("portfolio", "actions", held, "--confirm", "A 2022-01-05 split", "--json")
    assert [(one["symbol"], one["state"]) for one in done.json] == [
        ("A", "booked"),
        ("B", "pending"),
    ]
    store("portfolio", "actions", held, "--dismiss", "B 2022-01-06 dividend")
    record = store("portfolio", "show", held, "--json").json
    assert (record["holdings"], record["cash"]) == ({"A": "6", "B": "4"}, "10.00")
    assert record["ledger"][2]["ratio"] == "2"
    table = store("portfolio", "show", held).stdout
    assert "split" in table
    again = store("portfolio", "actions", held, "--confirm", "A 2022-01-05 split")
    assert (again.code, "is booked already" in again.stderr) == (2, True)


def test_all_pending_actions_are_confirmed(store, held):
    done = store("portfolio", "actions", held, "--confirm-all", "--json")
    assert {one["state"] for one in done.json} == {"booked"}
    record = store("portfolio", "show", held, "--json").json
    assert (record["holdings"], record["cash"]) == ({"A": "6", "B": "4"}, "12.00")
    assert store("db", "check").code == 0
    exported = json.loads(store("portfolio", "export", held).stdout)
    assert exported["corporate_actions"] == "confirm"
