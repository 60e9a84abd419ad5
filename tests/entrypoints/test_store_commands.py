"""`rebalancer db`, `user`, `portfolio`, and commands on stored portfolios."""

import csv
import io
import json
import os
import pty
import re
import select
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from rebalancer.adapters.memory.quote_feed import MemoryQuoteFeed
from rebalancer.adapters.sql.migrations import head
from rebalancer.domain.market.live_quotes import Tick
from rebalancer.entrypoints.cli import quote_collection
from rebalancer.wiring import quotes
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT

ADA = ("--owner", "ada@example.org")
PASSWORD = "correct horse battery staple"
PORTFOLIO = {
    "id": "mine",
    "name": "Retirement",
    "cash": "500.00",
    "holdings": {"A": "20", "B": "5.250"},
    "targets": {"A": 0.4, "C": 0.5},
}


@pytest.fixture
def register(quickly, monkeypatch):
    """Register a user."""

    def run(email, password=PASSWORD, *options):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        return quickly("user", "create", "--email", email, *options)

    return run


@pytest.fixture
def store(quickly, register, market, database, monkeypatch):
    """Run a command on a new database with the user Ada."""
    monkeypatch.setenv("REBALANCER_PRICES", str(market))
    assert register("ada@example.org").code == 0
    return quickly


@pytest.fixture
def keep(store, write):
    """Import portfolios, and return their ids."""

    def run(*portfolios):
        write("book.jsonl", "\n".join(json.dumps(one) for one in portfolios))
        done = store("portfolio", "import", "book.jsonl", *ADA, "--json")
        assert done.code == 0, done
        return [one["id"] for one in done.json["opened"]]

    return run


def change(sql):
    connection = sqlite3.connect("rebalancer.db")
    connection.execute(sql)
    connection.commit()
    connection.close()


NEWEST = head()


# Tables


def test_tables_are_upgraded_and_downgraded(quickly, monkeypatch):
    needed = f"no tables; this version needs {NEWEST}, run `rebalancer db upgrade`\n"
    assert quickly("db", "current").stdout == needed
    done = quickly("db", "check")
    assert (done.code, done.stdout.count("\n")) == (3, 1) and "rebalancer db upgrade" in done.stderr
    assert quickly("db", "upgrade", "0001").stdout == "Moved from revision base to 0001.\n"
    assert quickly("db", "upgrade").stdout == f"Moved from revision 0001 to {NEWEST}.\n"
    assert quickly("db", "upgrade").stdout == f"Already at revision {NEWEST}.\n"
    assert quickly("db", "current").stdout == f"{NEWEST} (newest)\n"
    assert quickly("db", "current", "--json").json == {"revision": NEWEST, "newest": NEWEST}
    done = quickly("db", "check")
    assert (done.code, done.stdout, done.stderr) == (0, "No findings.\n", "")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    done = quickly("db", "downgrade")
    assert done.code == 0 and "Nothing was changed." in done.stdout
    assert quickly("db", "current").stdout == f"{NEWEST} (newest)\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert f"Moved from revision {NEWEST} to " in quickly("db", "downgrade").stdout
    assert quickly("db", "upgrade").code == 0
    done = quickly("db", "downgrade", "base", "--yes")
    assert done.stdout == f"Moved from revision {NEWEST} to base.\n"


def test_downgrade_without_confirmation_changes_nothing(quickly, database, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert quickly("db", "downgrade").code == 130
    assert quickly("db", "current").stdout == f"{NEWEST} (newest)\n"


def test_unknown_revision_is_rejected(quickly, database):
    assert quickly("db", "upgrade", "nope").refused("nope")
    assert quickly("db", "downgrade", "nope", "--yes").refused("nope")
    change("UPDATE alembic_version SET version_num = '9999'")
    for command in ("upgrade", "downgrade"):
        done = quickly("db", command, *["--yes"][: command == "downgrade"])
        assert done.refused("revision 9999, which this version of rebalancer does not know")
    assert "9999" in quickly("db", "check").stdout


def test_check_finds_damaged_ledger(store, keep):
    first, second = sorted(keep(PORTFOLIO, PORTFOLIO | {"id": "other"}))
    assert store("db", "check").code == 0
    change(f"UPDATE portfolios SET cash = '1', uninvested = '1' WHERE id = '{UUID(second).hex}'")
    done = store("db", "check")
    assert done.code == 3
    (line,) = done.stdout.splitlines()
    assert second in line and "cash" in line and "500.00" in line and first not in line
    assert store("db", "check", "--json").json == [line]
    change("DROP INDEX ix_jobs_state_created")
    done = store("db", "check")
    assert done.code == 3 and "ix_jobs_state_created" in done.stdout


@pytest.mark.parametrize(
    ("url", "code", "fragment"),
    [
        ("nonsense", 2, "REBALANCER_DATABASE_URL: expected a URL"),
        ("mysql://host/db", 2, "database: the URL names no database"),
        ("sqlite:////nowhere/at/all.db", 1, "did not answer; try again (unable to open database"),
        ("postgresql://nobody@127.0.0.1:1/nowhere", 1, "did not answer; try again (connection fa"),
    ],
)
def test_unreachable_database_is_reported(quickly, monkeypatch, url, code, fragment):
    monkeypatch.setenv("REBALANCER_DATABASE_URL", url)
    done = quickly("db", "current")
    assert (done.code, done.stdout) == (code, "") and fragment in done.stderr


def test_command_without_tables_names_remedy(quickly, market, monkeypatch):
    monkeypatch.setenv("REBALANCER_PRICES", str(market))
    for command in (
        ["portfolio", "list"],
        ["batch", "--all", "--policy", "band"],
        ["accept", str(uuid4())],
    ):
        done = quickly(*command)
        assert (done.code, done.stdout) == (1, "") and "rebalancer db upgrade" in done.stderr


# Users


def test_user_is_registered_once(database, register, quickly):
    done = register(" Ada@Example.org ", PASSWORD, "--name", "Ada", "--json")
    assert done.code == 0
    assert done.json == {"id": done.json["id"], "email": "ada@example.org", "name": "Ada"}
    assert register("ada@example.org").refused("already registered")
    done = register("bob@example.org")
    assert re.fullmatch(r"Registered bob@example.org, id [0-9a-f-]{36}\.\n", done.stdout)
    assert register("nobody").refused("email: invalid e-mail address")
    assert register("eve@example.org", "short").refused("a password has 15 to 128 characters")
    assert register("eve@example.org", "").refused("a password has 15 to 128 characters")
    assert quickly("user", "create").refused("Missing option '--email'")


def test_password_is_entered_twice_and_not_shown(database, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "user", "create", "--email", "ada@example.org"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=ENVIRONMENT,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""

    def read_until(text):
        nonlocal seen
        while text not in seen:
            assert select.select([ours], [], [], 120)[0], seen
            seen += os.read(ours, 1000)

    read_until(b"Password: ")
    os.write(ours, f"{PASSWORD}\n".encode())
    read_until(b"Repeat for confirmation: ")
    os.write(ours, f"{PASSWORD}\n".encode())
    read_until(b"Registered ada@example.org")
    assert process.wait(120) == 0
    assert PASSWORD.encode() not in seen
    os.close(ours)


# Portfolios


def test_exported_portfolio_imports_unchanged(store, keep, register, write, tmp_path):
    full = PORTFOLIO | {
        "id": str(uuid4()),
        "risk_profile": "aggressive",
        "acknowledge_limits": True,
        "last_rebalance": "2020-11-30",
        "preferences": {
            "whole_shares": False,
            "quantity_step": "0.00100",
            "min_trade": "50.00",
            "do_not_sell": ["B", "A"],
            "do_not_buy": ["C"],
            "max_turnover": 0.3,
            "cash_reserve": "100.00",
            "max_weight": 0.6,
            "band": 0.02,
            "max_departure": 0.1,
            "skip_unprofitable": True,
            "sell_remainders": False,
            "lot_method": "uk_pool",
            "max_realised_gain": "500.00",
            "max_realised_gain_year": "2000.00",
        },
    }
    ids = keep(full, PORTFOLIO, {"id": "bare", "cash": 0, "holdings": {}, "targets": {}})
    assert ids[0] == full["id"]
    exported = store("portfolio", "export", *ids).stdout
    first, second, third = map(json.loads, exported.splitlines())
    full["preferences"]["do_not_sell"] = ["A", "B"]
    del full["last_rebalance"]
    assert first == full | {"currency": "USD"}
    assert second == PORTFOLIO | {
        "id": ids[1],
        "currency": "USD",
        "preferences": second["preferences"],
    }
    assert third["name"] == "bare" and third["cash"] == "0"

    # Import into another database.
    (tmp_path / "rebalancer.db").rename(tmp_path / "before.db")
    assert store("db", "upgrade").code == 0
    assert store("portfolio", "list", *ADA).refused(
        "no user is registered as ada@example.org", "user create"
    )
    write("again.jsonl", exported)
    assert register("ada@example.org").code == 0
    assert store("portfolio", "import", "again.jsonl", *ADA).code == 0
    assert store("portfolio", "export", *ids).stdout == exported
    assert store("portfolio", "export", *ADA, "--out", "all.jsonl").stdout == ""
    kept = (tmp_path / "all.jsonl").read_text().splitlines()
    assert sorted(kept) == sorted(exported.splitlines())


def test_failed_import_is_reported_and_others_continue(store, write):
    lines = [
        PORTFOLIO,
        PORTFOLIO | {"id": "flow", "cash_flow": "5"},
        PORTFOLIO | {"id": "unknown", "targets": {"Z": 0.5}},
        PORTFOLIO,
        PORTFOLIO | {"id": "fine", "cash": "0.001"},
        PORTFOLIO | {"id": "name", "name": ""},
        PORTFOLIO | {"id": "debit", "cash": "-5"},
        PORTFOLIO | {"id": "limits", "risk_profile": "conservative"},
        PORTFOLIO | {"id": "gold", "currency": "XAU"},
        PORTFOLIO | {"id": "extra", "colour": "red"},
    ]
    write("book.jsonl", "\n\n".join(json.dumps(one) for one in lines) + "\n{\n")
    write("single.json", json.dumps({k: v for k, v in PORTFOLIO.items() if k != "id"}, indent=2))
    done = store("portfolio", "import", "book.jsonl", "single.json", *ADA)
    assert done.code == 3
    assert len(done.stdout.splitlines()) == 2
    *failures, summary = done.stderr.splitlines()
    assert summary == "2 opened, 10 failed"
    for failure, (line, fragment) in zip(
        failures,
        [
            (3, "cash_flow: a planned cash flow cannot be imported"),
            (5, "targets.Z: unknown symbol"),
            (7, "a portfolio with the id mine exists"),
            (9, "cash: 0.001 is finer than the smallest amount"),
            (11, "name: expected text"),
            (13, "cash: -5 is out of range"),
            (15, "targets: the targets exceed the limits of the profile conservative"),
            (17, "currency: no exchange rate from USD to XAU"),
            (19, "colour: unknown field"),
            (20, "not JSON"),
        ],
        strict=True,
    ):
        assert failure.startswith(f"book.jsonl, line {line}: ") and fragment in failure
    again = store("portfolio", "import", "book.jsonl", *ADA, "--json")
    assert again.code == 3 and again.json["opened"] == [] and len(again.json["failed"]) == 11
    assert again.json["failed"][0]["line"] == 1
    assert len(store("portfolio", "list", "--json").json) == 2
    assert store("portfolio", "import", "missing.json", *ADA).refused("cannot read missing.json")
    assert store("portfolio", "import", "single.json", "--owner", "x").refused(
        "no user is registered as x"
    )


def test_stored_portfolio_is_shown(store, keep):
    (id,) = keep(PORTFOLIO | {"holdings": {"A": "20"}})
    assert keep() == []
    (line,) = store("portfolio", "list", "--json").json
    shown = store("portfolio", "show", id, "--json").json
    assert (line["id"], line["name"], line["owner"]) == (id, "Retirement", "ada@example.org")
    price = float(shown["prices"]["A"])
    assert float(shown["value"]) == pytest.approx(500 + 20 * price, abs=0.005)
    assert line["value"] == shown["value"]
    assert (shown["version"], shown["as_of"], shown["uninvested"]) == (1, "2021-02-23", "500.00")
    assert [(one["kind"], one["symbol"], one["cash"]) for one in shown["ledger"]] == [
        ("deposit", "A", "0"),
        ("deposit", None, "500.00"),
    ]
    table = store("portfolio", "show", id).stdout
    for text in ("Retirement", "of ada@example.org", "Positions", "40.0%", "cash", "Ledger"):
        assert text in table
    assert "Ledger" not in store("portfolio", "show", id, "--entries", "0").stdout
    assert id in store("portfolio", "list").stdout
    missing = str(uuid4())
    for command in (["show"], ["export"]):
        assert store("portfolio", *command, missing).refused(f"portfolio {missing} does not exist")
    assert store("portfolio", "show", "x").refused("'x' is not a valid UUID")
    assert store("portfolio", "export").refused("give either ids or --owner")
    assert store("portfolio", "export", id, *ADA).refused("give either ids or --owner")


def test_performance_of_all_portfolios_of_an_owner_is_measured(store, write):
    both = (PORTFOLIO, PORTFOLIO | {"id": "other", "name": "Other"})
    write("book.jsonl", "\n".join(json.dumps(one) for one in both))
    done = store("portfolio", "import", "book.jsonl", *ADA, "--on", "2021-01-04", "--json")
    first = done.json["opened"][0]["id"]
    alone = store("portfolio", "performance", first, "--json").json
    both = store("portfolio", "performance", *ADA, "--json").json
    assert both["value"] == pytest.approx(2 * alone["portfolio"]["final_value"], abs=0.01)
    change = alone["portfolio"]["time_weighted_return"]
    assert both["time_weighted_return"] == pytest.approx(change)
    assert {one["name"] for one in both["portfolios"]} == {"Retirement", "Other"}
    told = store("portfolio", "performance", *ADA, "--benchmark", "A").stdout
    assert "All portfolios of ada@example.org" in told and "Contributions by portfolio" in told
    assert store("portfolio", "performance").refused("give either an id or --owner")
    assert store("portfolio", "performance", first, *ADA).refused("give either an id or --owner")
    assert store("portfolio", "performance", first, "--currency", "EUR").refused("--currency")


def test_performance_of_a_stored_portfolio_is_measured(store, keep):
    (id,) = keep(PORTFOLIO)
    found = store("portfolio", "performance", id, "--benchmark", "A", "--json").json
    assert found["portfolio_id"] == id
    assert found["portfolio"]["final_value"] == found["contributed"]  # opened at the last close
    assert found["benchmark"]["name"] == "A"
    assert {"local_return", "currency_effect"} <= set(found["portfolio"])
    table = store("portfolio", "performance", id)
    assert table.code == 0
    assert "no rebalancing" in table.stdout
    assert "Splits and dividends of A, B are known only" in " ".join(table.stdout.split())
    for title in ("Contributions by holding", "by asset class", "by currency", "of months"):
        assert title in table.stdout
    assert store("portfolio", "performance", id, "--benchmark", "X").refused("unknown symbol X")
    mix = ["--benchmark", "A:0.5,B:0.5", "--interval", "month", "--json"]
    assert store("portfolio", "performance", id, *mix).json["benchmark"]["name"] == "A 50%, B 50%"
    assert store("portfolio", "performance", id, "--to", "1999-01-01").refused("before")


def test_long_list_is_paged(store, keep):
    ids = sorted(keep(*(PORTFOLIO | {"id": str(number)} for number in range(5))))
    table = store("portfolio", "list", "--limit", "3").stdout
    assert f"To list more, add --after {ids[2]}" in table and ids[3] not in table
    rest = store("portfolio", "list", "--limit", "3", "--after", ids[2], "--json").json
    assert [one["id"] for one in rest] == ids[3:]


def test_day_of_first_deposit_can_be_set(store, write):
    write("p.json", json.dumps(PORTFOLIO))
    done = store("portfolio", "import", "p.json", *ADA, "--on", "2020-03-02", "--json")
    (one,) = done.json["opened"]
    ledger = store("portfolio", "show", one["id"], "--json").json["ledger"]
    assert {entry["on"] for entry in ledger} == {"2020-03-02"}
    write("q.json", json.dumps(PORTFOLIO | {"id": "q"}))
    done = store("portfolio", "import", "q.json", *ADA, "--on", "2035-01-01")
    assert done.code == 3 and "on: 2035-01-01 is outside the prices" in done.stderr


# Proposals


def test_proposal_is_stored_and_accepted(store, keep, write):
    (id,) = keep(PORTFOLIO)
    table = store("propose", id)
    assert (table.code, table.stderr) == (0, "")
    for text in (
        "Orders",
        "Before and after",
        "What simple rules would trade",
        "proposed, valid until",
    ):
        assert text in table.stdout
    (number,) = re.findall("^Proposal ([0-9a-f-]{36}),", table.stdout, re.MULTILINE)
    made = store("propose", id, "--policy", "monthly", "--cash-flow", "250.00", "--json").json
    assert (made["portfolio_id"], made["stage"], made["policy"]) == (id, "proposed", "monthly")
    assert made["orders"] and [other["policy"] for other in made["others"]] == ["band"]

    done = store("accept", number)
    assert done.code == 0 and done.stdout.startswith("Executed: ")
    shown = store("portfolio", "show", id, "--json").json
    assert shown["version"] == 2 and shown["ledger"][0]["proposal"] == number
    assert store("accept", number).refused("is already executed")
    assert store("accept", made["id"]).refused("the portfolio has changed since it was proposed")
    assert store("db", "check").code == 0


def test_proposal_at_quotes_names_and_fills_at_them(store, keep, monkeypatch):
    (id,) = keep(PORTFOLIO)
    prices = store("propose", id, "--json").json
    assert "live" not in prices
    refused = store("propose", id, "--prices-at", "live")
    assert refused.refused("no quote of A, B, C is known; request the proposal at closes")
    monkeypatch.setattr(quotes, "create_feed", lambda *_: send_quotes(A=101.5, C=99.25))
    monkeypatch.setattr(quote_collection, "WAIT", 0.05)
    made = store("propose", id, "--prices-at", "live", "--json", env={"REBALANCER_QUOTES": "yahoo"})
    assert made.code == 0, made
    live = made.json["live"]
    assert {one["symbol"]: one["price"] for one in live["quotes"]} == {"A": "101.5", "C": "99.25"}
    codes = {one["symbol"]: one["reason_code"] for one in made.json["not_traded"]}
    assert codes["B"] == "quote_missing"
    assert {one["price"] for one in made.json["orders"]} <= {"101.5", "99.25"}
    table = store("propose", id, "--prices-at", "live", env={"REBALANCER_QUOTES": "yahoo"})
    assert " quotes of " in table.stdout
    assert store("accept", made.json["id"]).code == 0
    store("propose", "p.json", "--prices-at", "live").refused("needs the ID of a stored portfolio")


def send_quotes(**prices):
    """Return a feed that delivers trades of a moment ago."""
    feed, traded = MemoryQuoteFeed(), datetime.now(UTC)
    feed.send([Tick(symbol, price, traded, "test") for symbol, price in prices.items()])
    return feed


def test_accepted_worksheet_is_written(store, keep, tmp_path):
    (id,) = keep(PORTFOLIO)
    made = store("propose", id, "--as-of", "2021-02-23", "--cash-flow", "-100", "--json").json
    done = store("accept", made["id"], "--mode", "worksheet", "--out", "orders.csv")
    assert done.code == 0 and done.stdout.startswith("Accepted: ")
    text = (tmp_path / "orders.csv").read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if line[0] != "#"))
    assert [row["symbol"] for row in rows] == [order["symbol"] for order in made["orders"]]
    again = store("propose", id, "--json").json
    found = store("accept", again["id"], "--json").json
    assert (found["id"], found["stage"]) == (again["id"], "executed")


def test_open_orders_of_a_worksheet_are_cancelled(store, keep):
    (id,) = keep(PORTFOLIO)
    made = store("propose", id, "--json").json
    assert store("cancel", made["id"]).refused("only an accepted one can be cancelled")
    assert store("accept", made["id"], "--mode", "worksheet").code == 0
    done = store("cancel", made["id"], "--remark", "too dear")
    order = made["orders"][0]
    assert f"{order['quantity']} {order['symbol']}" in done.stdout
    assert store("cancel", made["id"]).refused("is cancelled; only an accepted one")
    again = store("propose", id, "--json").json
    store("accept", again["id"], "--mode", "worksheet")
    assert store("cancel", again["id"], "--json").json["stage"] == "cancelled"
    assert store("cancel", str(uuid4())).refused("does not exist")


def test_entry_is_voided(store, keep):
    (id,) = keep(PORTFOLIO)
    made = store("propose", id, "--json").json
    store("accept", made["id"])
    before, ledger = (
        store("portfolio", "show", id, "--json").json[name] for name in ("value", "ledger")
    )
    deposit, trade = ledger[-1], ledger[0]
    if deposit["cash"] != "0":
        assert store("portfolio", "void", id, deposit["id"]).refused("cannot be voided: without it")
    done = store("portfolio", "void", id, trade["id"], "--note", "a slip")
    assert done.code == 0 and done.stdout.startswith("Void: ")
    shown = store("portfolio", "show", id, "--json").json
    newest, *_ = shown["ledger"]
    assert (newest["voids"], newest["note"]) == (trade["id"], "a slip")
    marks = {entry["id"]: entry["voided_by"] for entry in shown["ledger"]}
    assert marks[trade["id"]] == newest["id"] and list(marks.values()).count(None) == len(marks) - 1
    assert float(shown["value"]) == pytest.approx(float(before) + float(trade["cost"]), abs=0.01)
    assert "(void)" in store("portfolio", "show", id).stdout
    assert store("portfolio", "void", id, trade["id"], "--json").refused("is void already")
    assert store("db", "check").code == 0


def test_commands_work_around_an_asset_that_the_prices_lost(store, keep, market, monkeypatch):
    (id,) = keep(PORTFOLIO)
    value = store("portfolio", "show", id, "--json").json["value"]
    rows = list(csv.DictReader(market.read_text().splitlines()))
    lost = market.with_name("lost.csv")
    with lost.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, [name for name in rows[0] if name != "B"], extrasaction="ignore"
        )
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setenv("REBALANCER_PRICES", str(lost))
    shown = store("portfolio", "show", id, "--json").json
    assert shown["value"] == value and "B is valued at" in shown["notes"][0]
    assert "B is valued at" in " ".join(store("portfolio", "show", id).stdout.split())
    assert store("portfolio", "list", "--json").json[0]["value"] == value
    made = store("propose", id)
    assert (made.code, made.stderr) == (0, "")
    assert "B is not tradable (no price data)" in " ".join(made.stdout.split())
    assert store("batch", "--all", "--policy", "monthly", "--json").json["proposed"] == 1


def test_invalid_proposals_are_rejected(store, keep, write):
    (id,) = keep(PORTFOLIO)
    missing = str(uuid4())
    assert store("propose", missing).refused(f"portfolio {missing} does not exist")
    assert store("propose", id, "--cash", "5").refused(
        "--cash cannot be given for a stored portfolio"
    )
    assert store("propose", id, "--input-hash", "x").refused(
        "--input-hash cannot be given for a stored portfolio"
    )
    assert store("propose", id, "--cash-flow", "lots").refused("cash_flow: expected a decimal")
    assert store("propose", id, "--cash-flow", "0.001").refused(
        "cash_flow: 0.001 has more decimals"
    )
    assert store("propose", id, "--policy", "nope").refused("unknown policy 'nope'")
    assert store("propose", id, "--as-of", "2021-02-22").refused("as_of: ", "last entry")
    assert store("accept", missing).refused(f"proposal {missing} does not exist")
    assert store("accept", missing, "--out", "x").refused("--out needs --mode worksheet")
    assert store("accept", "x").refused("'x' is not a valid UUID")
    write(id, json.dumps({"cash": "100", "holdings": {}, "targets": {"A": 1}}))
    assert "Proposal" not in store("propose", id).stdout  # a file of this name takes precedence


def test_batch_proposes_for_every_stored_portfolio(store, keep):
    keep(*(PORTFOLIO | {"id": str(number)} for number in range(4)))
    vanished = "UPDATE portfolios SET targets = json('{\"gone\": 0.5}') WHERE id = "
    change(vanished + "(SELECT max(id) FROM portfolios)")  # which its proposal works around
    change(
        "UPDATE portfolios SET preferences = json_set(preferences, '$.cash_reserve', '9999999')"
        " WHERE id = (SELECT min(id) FROM portfolios)"
    )
    done = store("batch", "--all", "--policy", "band", "--json")
    assert done.code == 3
    found = done.json
    assert (found["proposed"], found["nothing_to_do"], found["failed"]) == (3, 0, 1)
    (failure,) = found["failures"]
    assert "a reserve of 9999999 exceeds" in failure["error"]
    table = store("batch", "--all", "--policy", "monthly", "--cost-bps", "5")
    assert table.code == 3 and table.stdout.startswith("Run ") and "1 failed" in table.stdout
    assert failure["portfolio_id"] in table.stderr
    again = store("batch", "--all", "--policy", "band", "--resume")
    assert again.refused("resume: no unfinished run has these prices")


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ([], "give either --portfolios and --out, or --all"),
        (["--portfolios", "x"], "give either --portfolios and --out, or --all"),
        (["--all", "--portfolios", "x"], "--portfolios cannot be combined with --all"),
        (["--all", "--out", "x"], "--out cannot be combined with --all"),
        (["--portfolios", "x", "--out", "y", "--json"], "--json needs --all"),
        (["--all", "--as-of", "2035-01-01"], "weekdays earlier; at most 9 are allowed"),
    ],
    ids=" ".join,
)
def test_invalid_batches_are_rejected(store, options, fragment):
    assert store("batch", "--policy", "band", *options).refused(fragment)


def test_portfolio_is_exported_for_other_tools(store, keep, tmp_path):
    (id,) = keep(PORTFOLIO)
    told = store("portfolio", "export", id, "--format", "ghostfolio")
    assert json.loads(told.stdout)["accounts"][0]["currency"] == "USD"
    assert "Targets, preferences, proposals" in told.stderr
    out = tmp_path / "new" / "portfolio.zip"
    told = store("portfolio", "export", id, "--format", "portfolio_performance", "--out", out)
    assert (told.stdout, out.read_bytes()[:2]) == ("", b"PK")
    refused = store("portfolio", "export", *ADA, "--format", "ghostfolio")
    assert refused.refused("exports one portfolio; give one id")


def test_statement_is_written_to_a_file(store, keep, tmp_path):
    (id,) = keep(PORTFOLIO)
    out = tmp_path / "2021.html"
    told = store("portfolio", "statement", id, "--from", "2021-01-01", "-o", out)
    assert told.stdout == f"Statement: {out}\n"
    assert "Retirement" in out.read_text()
    refused = store("portfolio", "statement", id, "--from", "2031-01-01", "-o", out)
    assert refused.refused("2031-01-01 is after")


def test_operators_are_not_limited_by_quotas_of_accounts(store, write, monkeypatch):
    monkeypatch.setenv("REBALANCER_MOST_PORTFOLIOS", "1")
    write("book.jsonl", "\n".join(json.dumps(PORTFOLIO | {"id": id}) for id in ("a", "b")))
    done = store("portfolio", "import", "book.jsonl", *ADA)
    assert done.code == 0
    assert done.stderr == "2 opened, 0 failed\n"
