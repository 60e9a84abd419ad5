"""`rebalancer portfolio import-statement`, `imports` and `undo-import`."""

from __future__ import annotations

import json

import pytest

from tests.entrypoints.test_store_commands import PORTFOLIO, keep, register, store

__all__ = ["keep", "register", "store"]

HEADER = "date,kind,symbol,quantity,price,amount,cost,currency,note,id\n"
ROWS = "2021-02-22,deposit,,,,1000.00,,,,d1\n2021-02-23,buy,A,2,100,200.00,1.00,,,t1\n"


@pytest.fixture
def id(keep):
    """Return the id of a stored portfolio."""
    return keep(PORTFOLIO)[0]


@pytest.fixture
def statement(store, write, id):
    """Import a statement from a file with some rows."""

    def run(rows=ROWS, *options):
        write("year.csv", HEADER + rows)
        return store("portfolio", "import-statement", "year.csv", "--portfolio", id, *options)

    return run


def test_statement_is_previewed_committed_listed_and_undone(store, statement, id):
    shown = statement()
    assert shown.code == 0, shown
    text = " ".join(shown.stdout.split())
    assert "year.csv: Rebalancer ledger (CSV)" in text
    assert "New: 2 entries" in text
    assert "To import 2 entries, add --commit" in text
    assert "No imports." in store("portfolio", "imports", id).stdout
    made = statement(ROWS, "--commit", "--json")
    assert made.code == 0, made
    record = made.json["record"]
    assert (record["entries"], record["layout"]) == (2, "rebalancer_csv")
    assert [
        (one["symbol"], one["before"], one["after"]) for one in made.json["preview"]["changes"]
    ] == [(None, "500.00", "1299.00"), ("A", "20", "22")]
    again = statement(ROWS, "--commit")
    assert again.code == 0
    assert "Duplicates: 2 (2 recorded)" in again.stdout
    assert "Nothing is new in this file, so nothing changes." in again.stdout
    assert record["id"] in store("portfolio", "imports", id).stdout
    undone = store("portfolio", "undo-import", record["id"], "--portfolio", id)
    assert undone.stdout == "2 entries of year.csv voided.\n"
    (listed,) = store("portfolio", "imports", id, "--json").json
    assert listed["undone"] is not None
    refused = store("portfolio", "undo-import", record["id"], "--portfolio", id)
    assert refused.refused("already; import the file again")


def test_what_keeps_a_statement_from_being_imported_is_shown_and_has_an_exit_code(statement):
    rows = ROWS + "2021-02-23,buy,AX,1,x,5,,,,\n2021-02-23,buy,ZZ,1,5,5,,,,\n"
    shown = statement(rows)
    assert shown.code == 3
    text = " ".join(shown.stdout.split())
    assert "Error: line 4: price: 'x' is not a number" in text
    assert "Unknown: ZZ, lines 5" in text
    assert "Cannot be imported yet: 1 line has an error" in text
    assert statement(rows, "--commit", "--skip-errors").refused("no symbol is known of ZZ")
    for mapped in ("ZZ=", '{"ZZ": ""}'):
        assert statement(rows, "--map", mapped, "--skip-errors").code == 0
    made = statement(rows, "--map", "ZZ=B", "--skip-errors", "--commit", "--json")
    assert made.json["record"]["mapping"] == {"ZZ": "B"}


def test_bad_options_and_files_are_refused(statement, store, write, id):
    assert statement(ROWS, "--map", "ZZ").refused("does not name an instrument")
    assert statement(ROWS, "--map", '{"ZZ": 1}').refused("is not a JSON object of symbols")
    assert statement(ROWS, "--layout", "made_up").refused("unknown layout 'made_up'")
    write("letter.txt", "%PDF-1.7")
    done = store("portfolio", "import-statement", "letter.txt", "--portfolio", id)
    assert done.refused("the file is a PDF")
    done = store("portfolio", "import-statement", "missing.csv", "--portfolio", id)
    assert done.refused("cannot read missing.csv")


def test_overdrawn_result_is_shown_by_day(statement):
    rows = "2021-02-23,buy,A,20,100,2000.00,1.00,,,t1\n"
    shown = statement(rows)
    assert shown.code == 3
    assert "Overdrawn: cash in USD would be" in shown.stdout
    assert statement(rows, "--commit").refused("at the end of 2021-02-23")


def test_table_is_read_by_a_mapping_profile(store, write, id):
    write("table.csv", "Day;What;Total\n22.02.2021;Money in;1.000,50\n")
    profile = {
        "name": "Mine",
        "columns": {"date": "Day", "kind": "What", "amount": "Total"},
        "kinds": {"money in": "deposit"},
        "date_format": "DD.MM.YYYY",
        "decimal_mark": ",",
    }
    write("profile.json", json.dumps(profile))
    command = ("portfolio", "import-statement", "table.csv", "--portfolio", id)
    found = store(*command, "--profile", "profile.json", "--json")
    assert found.code == 0, found
    assert [one["entry"]["amount"] for one in found.json["preview"]["entries"]] == ["1000.50"]
    missing = store(*command, "--saved-profile", "Mine")
    assert missing.refused("no mapping profile is called 'Mine'")
    assert store(*command, "--saved-profile", "A", "--profile", "b.json").refused("give either")
    write("profile.json", json.dumps(profile | {"columns": {}}))
    assert store(*command, "--profile", "profile.json").refused("needs the column of dates")
