"""One bad column of a price file harms no command and no portfolio that does not need it."""

import json

import numpy as np
import pytest

from rebalancer.adapters.market_data.registry import provider_of
from rebalancer.application.history_provider import AcceptedJumps
from tests.builders import prices


@pytest.fixture
def incomplete(write):
    """A file with GOOD and LATE, OLD which has ended, PENCE in another unit, and blank rows."""
    walk = prices(4, 300)
    cells = [[f"{close:.4f}" for close in row] for row in walk.closes.tolist()]
    for row in range(300):
        if row < 100:
            cells[row][1] = ""
        if row >= 200:
            cells[row][2] = ""
        if row >= 295:
            cells[row][3] = f"{walk.closes[row, 3] / 100:.4f}"
    lines = [f"{day},{','.join(row)}" for day, row in zip(walk.dates, cells, strict=True)]
    lines += [f"{day},,,," for day in np.busday_offset(walk.dates[-1], [1, 2, 30])]
    return write("prices.csv", "\n".join(["date,GOOD,LATE,OLD,PENCE", *lines]) + "\n")


def a_file(write, holdings, targets, **fields):
    document = {"id": "p", "cash": "1000", "holdings": holdings, "targets": targets, **fields}
    return write("portfolio.json", json.dumps(document))


def test_market_list_names_what_is_not_tradable(quickly, incomplete):
    found = {
        one["symbol"]: one
        for one in quickly("market", "list", "--prices", incomplete, "--json").json
    }
    assert list(found) == ["GOOD", "LATE", "OLD", "PENCE"]
    assert found["GOOD"]["withheld"] is None
    assert (found["LATE"]["closes"], found["LATE"]["withheld"]) == (200, None)
    assert found["OLD"]["withheld"].startswith("no close since")
    assert found["PENCE"]["findings"][0]["rule"] == "unit_change"
    shown = quickly("market", "list", "--prices", incomplete).stdout.replace("\n", " ")
    assert "Caution: OLD is not tradable: no close since" in shown
    assert "Caution: PENCE fell from" in shown


def test_proposal_is_made_at_the_last_close_and_names_its_bad_assets(quickly, incomplete, write):
    last = str(prices(4, 300).dates[-1])
    plain = a_file(write, {}, {"GOOD": 1.0})
    made = quickly("propose", plain, "--prices", incomplete, "--json").json
    assert (made["as_of"], made["notes"], len(made["orders"])) == (last, [], 1)
    holder = a_file(write, {"OLD": "5"}, {"GOOD": 0.5, "PENCE": 0.5})
    made = quickly("propose", holder, "--prices", incomplete, "--json").json
    assert [one["symbol"] for one in made["orders"]] == ["GOOD"]
    assert {one["reason_code"] for one in made["not_traded"]} == {"withheld"}
    assert [note.split()[0] for note in made["notes"]] == ["OLD", "PENCE"]


def test_accepted_jumps_are_traded(quickly, incomplete, write, monkeypatch):
    portfolio = a_file(write, {}, {"PENCE": 1.0})
    asked = ("propose", portfolio, "--prices", incomplete, "--json")
    assert quickly(*asked).json["orders"] == []
    made = quickly(*asked, "--accept-jumps", "PENCE").json
    assert (len(made["orders"]), made["notes"]) == (1, [])
    monkeypatch.setenv("REBALANCER_ACCEPT_JUMPS", "NOPE, PENCE")
    assert len(quickly(*asked).json["orders"]) == 1


def test_accepted_jumps_of_an_unknown_symbol_are_an_error(quickly, incomplete, write, market):
    portfolio = a_file(write, {}, {"PENCE": 1.0})
    unknown = ("--accept-jumps", "PENC")
    for asked in (
        ("propose", portfolio, "--prices", incomplete),
        ("market", "list", "--prices", incomplete),
        ("evaluate", "--policy", "weekly", "--prices", incomplete, market),
        ("train", "--algorithm", "ppo", "--prices", incomplete),
    ):
        hint = "did you mean PENCE?"
        assert quickly(*asked, *unknown).refused("accept_jumps: unknown symbol PENC", hint)


def test_accepted_jumps_of_one_panel_are_valid_for_all(quickly, incomplete, market):
    files = ("--prices", incomplete, market)
    asked = ("evaluate", "--policy", "weekly", *files, "--no-record", "--json")
    assert quickly(*asked, "--accept-jumps", "PENCE").code == 0


def test_accepted_jumps_of_the_settings_without_prices_are_logged(incomplete, caplog):
    prices = provider_of(str(incomplete)).prices()
    accepted = AcceptedJumps(prices, ("PENCE", "OLE"), ("PENCE", "OLE"))
    assert accepted.symbols()
    assert caplog.messages == ["jumps of OLE are accepted, but it has no prices; did you mean OLD?"]


def test_batch_answers_every_portfolio(quickly, incomplete, write, tmp_path):
    book = [
        {"id": "a", "cash": "1000", "holdings": {}, "targets": {"GOOD": 1.0}},
        {"id": "b", "cash": "10", "holdings": {"OLD": "3"}, "targets": {"GOOD": 1.0}},
        {"id": "c", "cash": "1000", "holdings": {}, "targets": {"LATE": 1.0}},
    ]
    lines = write("book.jsonl", "".join(json.dumps(one) + "\n" for one in book))
    out = tmp_path / "out.jsonl"
    asked = ("batch", "--portfolios", lines, "--prices", incomplete, "--policy", "monthly")
    assert quickly(*asked, "--out", out, "--workers", "1").code == 0
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["status"] for one in records] == ["proposed", "nothing_to_do", "proposed"]
    assert records[1]["notes"][0].startswith("OLD is not tradable")


def test_backtest_takes_a_universe_that_changes(quickly, incomplete):
    asked = ("backtest", "--prices", incomplete, "--policy", "monthly", "--json")
    found = quickly(*asked).json
    assert found["assets"] == ["GOOD", "LATE", "OLD", "PENCE"]
    assert [text.split()[0] for text in found["cautions"]][:3] == ["LATE", "OLD", "PENCE"]
    in_cash = quickly(*asked, "--unlisted", "cash").json
    assert in_cash["results"][0]["average_exposure"] < found["results"][0]["average_exposure"]
    assert quickly(*asked, "--unlisted", "nowhere").refused("nowhere")


def test_as_of_on_a_blank_row_means_the_last_close(quickly, incomplete, write):
    portfolio = a_file(write, {}, {"GOOD": 1.0})
    days = np.busday_offset(prices(4, 300).dates[-1], [2, 12])
    asked = ("propose", portfolio, "--prices", incomplete, "--json", "--as-of")
    assert quickly(*asked, str(days[0])).json["as_of"] == str(prices(4, 300).dates[-1])
    assert quickly(*asked, str(days[1])).refused("12 weekdays earlier; at most 9")
