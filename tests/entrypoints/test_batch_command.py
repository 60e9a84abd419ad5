import json
import os
import random
import signal
import subprocess
import sys
import time
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest

from rebalancer.entrypoints.cli.batch_file import CHUNK, PARALLEL_FROM
from tests.builders import as_csv, prices
from tests.entrypoints.conftest import COMMAND, ENVIRONMENT, running

KEYS = [
    "line",
    "portfolio_id",
    "status",
    "as_of",
    "policy",
    "orders",
    "not_traded",
    "weights_before",
    "weights_after",
    "cash_after",
    "turnover",
    "cost",
    "notes",
    "input_hash",
    "error",
]
ORDER_KEYS = ["symbol", "side", "quantity", "price", "value", "cost", "reason", "reason_code"]
FULL = {
    "id": "full",
    "currency": "USD",
    "cash": "1000.00",
    "holdings": {"A": "10", "B": "2.5"},
    "targets": {"A": 0.4, "C": 0.3},
    "risk_profile": "aggressive",
    "cash_flow": "500.00",
    "last_rebalance": "2020-11-30",
    "preferences": {
        "whole_shares": True,
        "quantity_step": "0.0001",
        "min_trade": "50.00",
        "do_not_sell": [],
        "do_not_buy": [],
        "max_turnover": 0.3,
        "cash_reserve": "100.00",
        "max_weight": 0.6,
        "band": 0.02,
        "max_departure": 0.2,
        "skip_unprofitable": False,
        "sell_remainders": True,
        "lot_method": "fifo",
        "max_realised_gain": "500.00",
        "max_realised_gain_year": "2000.00",
    },
    "lots": {
        "A": [{"quantity": "10", "cost": "900.00", "acquired": "2020-03-02"}],
        "B": [{"quantity": "2.5"}],
    },
    "gain_this_year": "150.00",
}


def a_line(id="b", /, **fields):
    """Return a portfolio as JSON with the given preferences; omit fields with the value None."""
    values = {"id": id, "cash": "1000.00", "holdings": {"A": "10"}, "targets": {"A": 0.4, "B": 0.5}}
    values = {key: value for key, value in (values | fields).items() if value is not None}
    return json.dumps(values).encode()


def raw(field, text):
    """Return a portfolio with ``text`` as the literal value of a field."""
    text = text if isinstance(text, bytes) else text.encode()
    return a_line(**{field: "@"}).replace(b'"@"', text)


def wishing(**preferences):
    """Return a portfolio with preferences."""
    return a_line(preferences=preferences)


def random_lines(count, seed=0, *, width=0):
    """Return random portfolios, one in fifty of them invalid, padded to a width."""
    dice = random.Random(seed)
    lines = []
    for number in range(count):
        symbols = dice.sample("ABCDE", dice.randint(0, 5))
        room, targets = 1.0, {}
        for symbol in symbols:
            targets[symbol] = round(dice.random() * room, 4)
            room -= targets[symbol]
        preferences = dice.choice(
            [
                {},
                {"whole_shares": False},
                {"min_trade": "50"},
                {"max_turnover": 0.1, "cash_reserve": "10.5"},
                {"do_not_sell": symbols[:1], "do_not_buy": symbols[1:2], "max_weight": 0.3},
            ]
        )
        held = {symbol: dice.choice(["1", "7", "0.25", "40"]) for symbol in symbols[1:]}
        line = a_line(
            f"p{number}",
            cash=dice.choice(["0", "12.34", "5000", "1e4"]),
            cash_flow=dice.choice([None, None, "250", "-1.5"]),
            holdings=held,
            targets=targets,
            last_rebalance=dice.choice([None, "2021-02-01", "2020-12-31"]),
            risk_profile=dice.choice([None, None, "balanced", "conservative"]),
            preferences=preferences,
        )
        bad = dice.random() < 0.02
        lines.append((b"{oops" if bad else line).ljust(width))
    return lines


@pytest.fixture
def batch(quickly, market, tmp_path):
    """Run `rebalancer batch` on lines, and return the result and the records."""

    def run(lines, *options, policy="monthly", content=None, using=quickly):
        data = b"".join(line + b"\n" for line in lines) if content is None else content
        (tmp_path / "book.jsonl").write_bytes(data)
        done = using(*command("book.jsonl", market, policy), *options)
        out = tmp_path / "out.jsonl"
        text = out.read_bytes() if out.exists() else b""
        return done, [json.loads(line) for line in text.splitlines()]

    return run


def command(name, market, policy="monthly"):
    """Return the arguments of a run."""
    return (
        *("batch", "--portfolios", name, "--prices", market),
        *("--policy", policy, "--out", "out.jsonl"),
    )


def test_output_has_documented_fields(batch, rebalancer):
    lines = [a_line("first"), b"nonsense", json.dumps(FULL).encode()]
    done, records = batch(lines, using=rebalancer)
    assert (done.code, done.stdout) == (3, "")
    assert "3 portfolios, 2 proposed, 0 with nothing to do, 1 failed" in done.stderr
    with_gains = [*KEYS[:-2], "sale_gains", *KEYS[-2:]]
    assert [list(record) for record in records] == [KEYS, KEYS, with_gains]
    assert [record["line"] for record in records] == [1, 2, 3]
    assert [record["portfolio_id"] for record in records] == ["first", None, "full"]
    assert [record["status"] for record in records] == ["proposed", "failed", "proposed"]
    for record in records:
        assert (record["as_of"], record["policy"]) == ("2021-02-23", "monthly")
        assert len(record["input_hash"]) == 64
    good, failed, full = records
    (sold,) = full["sale_gains"]
    # 250 are left of the year, after 150: those are less than the limit of a proposal.
    assert sold["symbol"] == "B" and sold["gain"] is None
    assert list(good["orders"][0]) == ORDER_KEYS
    assert full["not_traded"] == [] or list(full["not_traded"][0]) == [
        "symbol",
        "reason",
        "reason_code",
    ]
    assert good["error"] is None and isinstance(failed["error"], str)
    assert (failed["orders"], failed["cash_after"], failed["cost"]) == ([], None, None)
    for money in ("cash_after", "cost"):
        assert isinstance(good[money], str) and "E" not in good[money]
    assert isinstance(good["turnover"], float)
    assert all(isinstance(weight, float) for weight in good["weights_after"].values())


def test_money_is_conserved_and_every_asset_is_explained(batch):
    lines = random_lines(300)
    done, records = batch(lines, "--cost-bps", "37")
    assert done.code == 3 and len(records) == 300
    cent = Decimal("0.01")
    sound = 0
    for line, record in zip(lines, records, strict=True):
        if record["status"] == "failed":
            continue
        sound += 1
        given = json.loads(line)
        cash = Decimal(given["cash"]) + Decimal(given.get("cash_flow", "0"))
        costs = Decimal(0)
        held = {symbol: Decimal(quantity) for symbol, quantity in given["holdings"].items()}
        for order in record["orders"]:
            quantity, price, value, cost = (
                Decimal(order[key]) for key in ("quantity", "price", "value", "cost")
            )
            assert value == (quantity * price).quantize(cent, ROUND_HALF_EVEN)
            sign = {"buy": 1, "sell": -1}[order["side"]]
            cash -= sign * value + cost
            costs += cost
            held[order["symbol"]] = held.get(order["symbol"], Decimal(0)) + sign * quantity
            assert quantity > 0 and cost >= 0 and order["reason"]
        assert Decimal(record["cash_after"]) == cash >= 0
        assert Decimal(record["cost"]) == costs
        assert all(quantity >= 0 for quantity in held.values())
        traded = [order["symbol"] for order in record["orders"]]
        others = [other["symbol"] for other in record["not_traded"]]
        assert sorted(traded + others) == sorted(given["holdings"].keys() | given["targets"].keys())
        assert all(other["reason"] for other in record["not_traded"])
        assert set(record["weights_before"]) == set(record["weights_after"]) == {*traded, *others}
        assert (record["status"] == "proposed") == bool(traded)
    assert sound > 250


def test_run_without_failures_exits_with_0(batch):
    done, records = batch([a_line("a"), a_line("b", last_rebalance="2021-02-22")])
    assert done.code == 0
    assert [record["status"] for record in records] == ["proposed", "nothing_to_do"]


def test_empty_input_gives_empty_output(batch, tmp_path):
    done, records = batch([])
    assert (done.code, records) == (0, [])
    assert (tmp_path / "out.jsonl").read_bytes() == b""


BAD = {
    # Lines that cannot be parsed have no id.
    "not JSON": (b"{nope", None, "not JSON"),
    "a list": (b"[1, 2]", None, "expected a JSON object, got a list"),
    "text": (b'"x"', None, "expected a JSON object"),
    "null": (b"null", None, "expected a JSON object, got null"),
    "two objects": (a_line() + a_line(), None, "not JSON"),
    "empty": (b"", None, "empty"),
    "spaces": (b" \t ", None, "empty"),
    "zero bytes": (b"\0\0\0", None, "not JSON"),
    "invalid UTF-8": (b'{"id": "\xff"}', None, "UTF-8"),
    "half a surrogate pair": (raw("id", r'"\ud800"'), None, "surrogate"),
    "a character that cannot be stored": (
        raw("id", r'"a\u0000b"'),
        None,
        "id: the text contains the character U+0000",
    ),
    "the same in a symbol": (
        raw("holdings", r'{"\u0000": "1"}'),
        None,
        "holdings: the text contains",
    ),
    "half a surrogate pair in a symbol": (raw("holdings", r'{"\udfff": "1"}'), None, "surrogate"),
    "a field twice": (b'{"id": "b", "id": "c"}', None, "id: the key occurs twice"),
    "a symbol twice": (raw("holdings", '{"A": "1", "A": "2"}'), None, "A: the key occurs twice"),
    "nested deeply": (raw("cash", "[" * 200_000 + "]" * 200_000), None, "nested too deeply"),
    "2 MiB": (a_line(note="x" * (2 << 20)), None, "longer than 1048576 bytes"),
    "2 MiB of line ends": (b"\r" * (2 << 20), None, "longer than 1048576 bytes"),
    "no id": (raw("id", "null"), None, "id: the field is required"),
    "an empty id": (raw("id", '""'), None, "id: expected text"),
    "a number as id": (raw("id", "7"), None, "id: expected text, got a whole number"),
    "an endless id": (a_line("x" * 10_000), None, "id: expected text of at most 200 characters"),
    # Lines that can be parsed have an id, and the error names the field.
    "no cash": (a_line(cash=None), "b", "cash: the field is required"),
    "no holdings": (a_line(holdings=None), "b", "holdings: the field is required"),
    "no targets": (a_line(targets=None), "b", "targets: the field is required"),
    "null cash": (raw("cash", "null"), "b", "cash: the field is required"),
    "unknown field": (a_line(cahs="1"), "b", "cahs: unknown field; did you mean cash?"),
    "quite unknown field": (
        a_line(zzzzzz="1"),
        "b",
        "zzzzzz: unknown field; known fields: name, targets",
    ),
    "endless unknown field": (a_line(**{"x" * 9000: 1}), "b", "xxx"),
    "unknown preference": (
        wishing(min_trad="1"),
        "b",
        "preferences.min_trad: unknown field; did you mean min_trade?",
    ),
    "NaN": (raw("cash", "NaN"), "b", "cash: NaN is not a finite amount"),
    "Infinity": (raw("cash", "Infinity"), "b", "is not a finite amount"),
    "-Infinity": (raw("cash_flow", "-Infinity"), "b", "is not a finite amount"),
    "1e999999": (raw("cash", "1e999999"), "b", "cash: the number is too large"),
    "1e99999999999999999999": (
        raw("cash", "1e99999999999999999999"),
        "b",
        "is not a finite amount",
    ),
    "NaN in quotes": (a_line(cash="NaN"), "b", "is not a finite amount"),
    "sNaN in quotes": (a_line(cash="sNaN"), "b", "is not a finite amount"),
    "Infinity in quotes": (a_line(cash="Infinity"), "b", "is not a finite amount"),
    "1e999999 in quotes": (a_line(cash="1e999999"), "b", "cash: the number is too large"),
    "1e99999999999999999999 in quotes": (a_line(cash="1e99999999999999999999"), "b", "cash: "),
    "5,000 digits": (raw("cash", "9" * 5000), "b", "cash: the number is too large"),
    "5,000 digits in quotes": (a_line(cash="9" * 5000), "b", "cash: the number is too large"),
    "13 decimals": (
        a_line(cash="0.0000000000001"),
        "b",
        "cash: the number has more than 12 decimals",
    ),
    "cash in words": (a_line(cash="lots"), "b", "cash: expected a decimal number"),
    "cash in a list": (a_line(cash=[1] * 50_000), "b", "cash: expected a decimal number"),
    "foreign cash in words": (
        a_line(cash={"USD": "x"}),
        "b",
        "cash.USD: expected a decimal number",
    ),
    "cash true": (a_line(cash=True), "b", "cash: expected a decimal number"),
    "deep cash": (raw("cash", "[" * 900 + "]" * 900), "b", "cash: expected a decimal number"),
    "cash flow in words": (a_line(cash_flow="x"), "b", "cash_flow: expected a decimal number"),
    "another currency": (
        a_line(currency="XAU"),
        "b",
        "currency: no exchange rate from USD to XAU",
    ),
    "a wrong currency": (a_line(currency="usd"), "b", "currency: expected a currency code"),
    "a number as currency": (a_line(currency=1), "b", "currency: expected text"),
    "holdings in a list": (a_line(holdings=["A"]), "b", "holdings: expected an object"),
    "a negative holding": (a_line(holdings={"A": "-1"}), "b", "holdings.A: -1 is negative"),
    "an unknown holding": (a_line(holdings={"ZZZ": "1"}), "b", "holdings.ZZZ: unknown symbol"),
    "a holding of nothing unknown": (a_line(holdings={"ZZZ": "0"}), "b", "holdings.ZZZ"),
    "a holding without a name": (a_line(holdings={"": "1"}), "b", "holdings."),
    "a holding of null": (a_line(holdings={"A": None}), "b", "holdings.A: expected a decimal"),
    "a holding of text": (a_line(holdings={"A": "ten"}), "b", "holdings.A: expected a decimal"),
    "targets in a list": (a_line(targets=[0.5]), "b", "targets: expected an object"),
    "a target of text": (a_line(targets={"A": "x"}), "b", "targets.A: expected a fraction"),
    "a target of null": (a_line(targets={"A": None}), "b", "targets.A: expected a fraction"),
    "a target of NaN": (raw("targets", '{"A": NaN}'), "b", "targets.A"),
    "a target of 1e400": (raw("targets", '{"A": 1e400}'), "b", "targets.A"),
    "a negative target": (a_line(targets={"A": -0.1}), "b", "is not between 0 and 1"),
    "a target above 1": (a_line(targets={"A": 1.1}), "b", "is not between 0 and 1"),
    "targets above 1": (
        a_line(targets={"A": 0.6, "B": 0.5}),
        "b",
        "targets: the targets sum to 1.1",
    ),
    "an unknown target": (a_line(targets={"ZZZ": 0.1}), "b", "targets.ZZZ: unknown symbol"),
    "an unknown profile": (
        a_line(risk_profile="bold"),
        "b",
        "risk_profile: expected one of conservative",
    ),
    "a number as profile": (a_line(risk_profile=3), "b", "risk_profile: expected"),
    "no such day": (a_line(last_rebalance="2022-02-30"), "b", "last_rebalance: expected"),
    "a week": (a_line(last_rebalance="2022-W01-1"), "b", "last_rebalance: expected"),
    "a time": (a_line(last_rebalance="2022-01-01T00:00"), "b", "last_rebalance: expected"),
    "a number as day": (a_line(last_rebalance=20220101), "b", "last_rebalance: expected"),
    "a withdrawal above value": (a_line(cash_flow="-99999"), "b", "cash_flow: "),
    "a debit above value": (a_line(cash="-99999"), "b", "cash: "),
    "preferences in a list": (a_line(preferences=[]), "b", "preferences: expected an object"),
    "whole shares 1": (wishing(whole_shares=1), "b", "preferences.whole_shares: expected true"),
    "skipping 'no'": (wishing(skip_unprofitable="no"), "b", "preferences.skip_unprofitable: "),
    "step 0": (wishing(quantity_step="0"), "b", "is not more than zero"),
    "step -1": (wishing(quantity_step="-1"), "b", "is not more than zero"),
    "step in words": (wishing(quantity_step="x"), "b", "preferences.quantity_step: expected"),
    "minimum trade -1": (wishing(min_trade="-1"), "b", "is not zero or more"),
    "turnover -1": (wishing(max_turnover=-1), "b", "max_turnover: "),
    "turnover 2": (wishing(max_turnover=2), "b", "max_turnover: "),
    "turnover in words": (wishing(max_turnover="x"), "b", "preferences.max_turnover: expected"),
    "reserve -1": (wishing(cash_reserve="-1"), "b", "is not zero or more"),
    "reserve above value": (wishing(cash_reserve="99999"), "b", "preferences.cash_reserve: "),
    "weight 1.5": (wishing(max_weight=1.5), "b", "max_weight: "),
    "band -0.1": (wishing(band=-0.1), "b", "is not between 0 and 1"),
    "departure 1.5": (wishing(max_departure=1.5), "b", "max_departure: "),
    "departure in words": (wishing(max_departure="x"), "b", "preferences.max_departure: expected"),
    "lock of text": (wishing(do_not_sell="A"), "b", "preferences.do_not_sell: expected a list"),
    "lock of numbers": (wishing(do_not_buy=[1]), "b", "preferences.do_not_buy[0]: expected text"),
    "a debit under locks": (
        a_line(cash="-100", preferences={"do_not_sell": ["A"]}),
        "b",
        "cash: a debit of 100",
    ),
}


def test_invalid_line_gives_failed_record_with_field(batch):
    lines = []
    for at, (line, _, _) in enumerate(BAD.values()):
        # Each has its own id and is followed by a valid portfolio.
        lines += [line.replace(b'{"id": "b"', b'{"id": "b%d"' % at), a_line(f"good{at}")]
    done, records = batch(lines)
    assert done.code == 3 and len(records) == 2 * len(BAD)
    assert f"{len(BAD)} proposed, 0 with nothing to do, {len(BAD)} failed" in done.stderr
    _, (good,) = batch([a_line("good")])
    for at, (label, (_, portfolio_id, fragment)) in enumerate(BAD.items()):
        record, neighbour = records[2 * at : 2 * at + 2]
        assert (label, record["status"]) == (label, "failed")
        assert (label, record["portfolio_id"]) == (label, portfolio_id and f"b{at}")
        assert fragment in record["error"], (label, record["error"])
        assert len(record["error"]) <= 500
        assert neighbour["status"] == "proposed"
        unlike = {"line", "portfolio_id", "input_hash"}
        assert {key: neighbour[key] for key in KEYS if key not in unlike} == {
            key: good[key] for key in KEYS if key not in unlike
        }


@pytest.mark.parametrize("depth", [970, 978, *range(980, 1000)])
def test_deep_nesting_fails_only_its_line(quickly, market, tmp_path, depth):
    # Close to the limit of Python, where parsing succeeds and describing the value would fail.
    nested = b"[" * depth + b"]" * depth
    lines = [
        raw("cash", nested),
        raw("last_rebalance", nested),
        raw("preferences", b'{"band": %s, "whole_shares": %s}' % (nested, nested)),
        raw("id", nested),
        a_line("good"),
    ]
    (tmp_path / "book.jsonl").write_bytes(b"\n".join(lines))
    assert quickly(*command("book.jsonl", market)).code == 3
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [record["status"] for record in records] == ["failed"] * 4 + ["proposed"]


def test_duplicate_id_fails(batch):
    bad = a_line("twice", cash="x")
    lines = [a_line("once"), bad, a_line("x"), a_line("twice"), a_line("x"), a_line("x")]
    lines += [a_line(f"p{number}") for number in range(CHUNK)] + [a_line("once")]
    _, records = batch(lines)
    failed = {record["line"]: record["error"] for record in records if record["error"]}
    assert sorted(failed) == [2, 4, 5, 6, len(lines)]
    assert failed[2].startswith("cash: ")
    assert "id: 'twice' is already used on line 2" in failed[4]
    assert "id: 'x' is already used on line 3" in failed[6]
    assert "id: 'once' is already used on line 1" in failed[len(lines)]
    assert records[3]["portfolio_id"] == "twice"


def test_line_ends_and_byte_order_marks_are_ignored(batch, tmp_path):
    lines = random_lines(20)
    batch(lines)
    plain = (tmp_path / "out.jsonl").read_bytes()
    content = b"\xef\xbb\xbf" + b"\r\n".join(lines)  # the last line has no line end
    done, records = batch([], content=content)
    bad = [record["line"] for record in records if record["error"]]
    for ours, theirs in zip(records, map(json.loads, plain.splitlines()), strict=True):
        assert ours == theirs
    assert done.code == (3 if bad else 0)


def test_output_does_not_depend_on_number_of_workers(batch, quickly, rebalancer, tmp_path):
    lines = random_lines(2 * CHUNK + 100, width=1100)
    assert sum(map(len, lines)) > PARALLEL_FROM
    outputs = []
    for workers, using in ((1, quickly), (3, rebalancer)):
        options = ("--workers", workers)
        done, records = batch(lines, *options, policy="inverse_volatility", using=using)
        assert done.code == 3 and len(records) == len(lines)
        outputs.append((tmp_path / "out.jsonl").read_bytes())
    assert outputs[0] == outputs[1]


def test_batch_gives_same_proposal_as_propose(batch, quickly, market, write):
    lines = random_lines(60, seed=7)
    _, records = batch(lines, "--cost-bps", "25", policy="band")
    statuses = set()
    for line, record in zip(lines, records, strict=True):
        if record["portfolio_id"] is None:
            continue
        write("one.json", line)
        single = quickly(
            *("propose", "one.json", "--prices", market, "--policy", "band"),
            *("--cost-bps", "25", "--json"),
        )
        statuses.add(record["status"])
        if record["status"] == "failed":
            assert single.refused(record["error"])
        else:
            assert {key: single.json[key] for key in KEYS[1:]} == {
                key: record[key] for key in KEYS[1:]
            }
    assert len(statuses) > 1


def test_as_of_day_without_trading_uses_last_close(batch):
    done, (record,) = batch([a_line()], "--as-of", "2020-09-06")  # a Sunday
    assert (done.code, record["as_of"]) == (0, "2020-09-04")
    assert batch([a_line()], "--as-of", "2021-03-30")[0].refused(
        "25 weekdays earlier; at most 9 are allowed"
    )


def test_currency_and_cost_presets_apply(batch):
    done, (record,) = batch([a_line(currency="JPY")], "--currency", "JPY", "--costs", "retail")
    assert done.code == 0
    assert all("." not in order["value"] for order in record["orders"])
    assert batch([a_line()], "--currency", "Yen")[0].refused("currency: 'Yen'")


# --- Kill and resume ---------------------------------------------------------------------


def repeating(lines):
    """Return the portfolios with the first id repeated on the last line."""
    return [*lines[:-1], a_line(json.loads(lines[0])["id"]).ljust(len(lines[-1]))]


@pytest.fixture
def whole(batch, tmp_path):
    """Write three chunks of portfolios, and return the output of one run."""
    _, records = batch(repeating(random_lines(2 * CHUNK + 90, seed=3)))
    assert "is already used on line 1" in records[-1]["error"]
    return (tmp_path / "out.jsonl").read_bytes()


def test_incomplete_output_is_completed(whole, quickly, market, tmp_path):
    out = tmp_path / "out.jsonl"
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    cuts = [0, 1, ends[0], ends[0] - 1, ends[CHUNK - 1] - 1, ends[CHUNK - 1], ends[CHUNK - 1] + 5]
    cuts += [ends[2 * CHUNK - 1], ends[-1] - 1, len(whole)]
    for cut in cuts:
        out.write_bytes(whole[:cut])
        done = quickly(*command("book.jsonl", market), "--resume")
        assert (cut, done.code) == (cut, 3)
        assert f"{2 * CHUNK + 90} portfolios" in done.stderr
        assert out.read_bytes() == whole, cut


def test_damaged_output_is_repeated_from_the_damage(whole, quickly, market, tmp_path):
    out = tmp_path / "out.jsonl"
    lines = whole.splitlines(keepends=True)
    for at, instead in ((3, b"\0\0\0\0\n"), (700, b"[]\n"), (700, b'{"line": 701}\n'), (0, b"\n")):
        out.write_bytes(b"".join([*lines[:at], instead, *lines[at + 1 :]]))
        assert quickly(*command("book.jsonl", market), "--resume").code == 3
        assert out.read_bytes() == whole


def test_resume_without_earlier_run_starts_new_run(whole, quickly, market, tmp_path):
    (tmp_path / "out.jsonl").unlink()
    assert quickly(*command("book.jsonl", market), "--resume").code == 3
    assert (tmp_path / "out.jsonl").read_bytes() == whole


def test_run_without_resume_starts_over(batch, tmp_path):
    batch(random_lines(30))
    done, records = batch([a_line("only")])
    assert done.code == 0 and [record["portfolio_id"] for record in records] == ["only"]


def test_changed_inputs_cannot_be_resumed(whole, quickly, market, tmp_path, write):
    out, book = tmp_path / "out.jsonl", tmp_path / "book.jsonl"
    part = whole[: len(whole) // 2]
    out.write_bytes(part)
    write("other.csv", as_csv(prices(5, 300, seed=1)))
    write("assets.csv", "symbol,asset_class\nA,bond\n")
    same = command("book.jsonl", market)
    changes = [
        [*command("book.jsonl", "other.csv"), "--resume"],
        [*command("book.jsonl", market, "band"), "--resume"],
        [*same, "--resume", "--cost-bps", "11"],
        [*same, "--resume", "--costs", "retail"],
        [*same, "--resume", "--as-of", "2021-02-22"],
        [*same, "--resume", "--currency", "EUR"],
        [*same, "--resume", "--assets", "assets.csv"],
    ]
    for change in changes:
        assert quickly(*change).refused("cannot resume", "inputs changed since that run", "prices")
        assert out.read_bytes() == part
    text = book.read_bytes()
    book.write_bytes(text + a_line("one more") + b"\n")
    assert quickly(*same, "--resume").refused("changed since that run: portfolios")
    assert out.read_bytes() == part
    book.write_bytes(text)
    assert quickly(*same, "--resume").code == 3
    assert out.read_bytes() == whole


def test_run_without_record_of_inputs_cannot_be_resumed(whole, quickly, market, tmp_path):
    out, note = tmp_path / "out.jsonl", tmp_path / "out.jsonl.run"
    note.unlink()
    assert quickly(*command("book.jsonl", market), "--resume").refused("out.jsonl.run", "missing")
    for damage in ("", "{", "[]", "null", "3", '"x"'):
        note.write_text(damage)
        refused = quickly(*command("book.jsonl", market), "--resume")
        assert refused.refused("cannot resume")
    assert out.read_bytes() == whole


def kill_when(process, condition):
    """Kill a process when a condition holds, and return whether it was still running."""
    until = time.monotonic() + 120
    while process.poll() is None and not condition() and time.monotonic() < until:
        time.sleep(0.002)
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def start(market, folder, *options):
    """Start a run in the background, in its own process group."""
    return subprocess.Popen(
        [COMMAND, *map(str, command("book.jsonl", market)), *options],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_run_killed_at_random_and_resumed_gives_same_bytes(
    batch, rebalancer, market, tmp_path, workers
):
    lines = repeating(random_lines(3 * CHUNK + 10, seed=5, width=700 if workers == "2" else 0))
    out = tmp_path / "out.jsonl"
    batch(lines)
    whole = out.read_bytes()
    out.unlink()
    dice = random.Random(int(workers))
    killed = 0
    for _ in range(2):
        least = dice.randrange(len(whole))
        process = start(market, tmp_path, "--resume", "--workers", workers)
        killed += kill_when(process, lambda: out.exists() and out.stat().st_size >= least)  # noqa: B023
        process.stderr.close()
        assert whole.startswith(out.read_bytes())
    assert killed
    done = rebalancer(*command("book.jsonl", market), "--resume", "--workers", workers)
    assert done.code == 3 and out.read_bytes() == whole


def children(process):
    """Return the ids of the children of a process."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in listed.read_text().split()]


@pytest.fixture
def pool(market, tmp_path):
    """Start a run on two workers, and return it with its worker processes."""
    lines = random_lines(30 * CHUNK, width=600)
    (tmp_path / "book.jsonl").write_bytes(b"\n".join(lines))
    process = start(market, tmp_path, "--workers", "2")
    out = tmp_path / "out.jsonl"
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.01)
    yield process, children(process)
    process.kill()
    process.wait()
    process.stderr.close()


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def all_gone(workers):
    """Return whether all processes end."""
    until = time.monotonic() + 120
    while any(map(running, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    return not any(map(running, workers))


@linux
def test_workers_end_with_killed_run(pool):
    process, workers = pool
    assert len(workers) >= 2 and all(map(running, workers))
    process.kill()
    process.wait()
    assert all_gone(workers)


@linux
def test_interrupted_run_ends_without_traceback(pool):
    process, workers = pool
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in complaint and b"Interrupted." in complaint
    assert all_gone(workers)


@linux
def test_killed_worker_is_reported_and_run_can_be_resumed(pool, market, tmp_path):
    process, workers = pool
    victims = [pid for pid in workers if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(victims[0], signal.SIGKILL)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"Continue with --resume" in complaint and b"Traceback" not in complaint
    assert (tmp_path / "out.jsonl").stat().st_size


# --- Files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--portfolios", "missing.jsonl"], "portfolios: cannot use missing.jsonl"),
        (["--portfolios", "."], "portfolios: cannot use .: Is a directory"),
        (["--out", "."], "out: "),
        (["--out", "no/such/folder/out.jsonl"], "out: cannot use no/such/folder"),
        (["--out", "book.jsonl/out.jsonl"], "out: cannot use book.jsonl/out.jsonl"),
        (["--out", "book.jsonl"], "out: book.jsonl is also an input"),
        (["--out", "./../%s/book.jsonl"], "is also an input"),
        (["--out", "/dev/null"], "out: /dev/null is not a regular file"),
        (["--prices", "missing.csv"], "prices: missing.csv"),
        (["--assets", "missing.csv"], "assets: missing.csv"),
        (["--policy", "monthly,band"], "unknown policy 'monthly,band'"),
        (["--cost-bps", "nan"], "cost_bps"),
        (["--currency", ""], ""),
        (["--workers", "0"], "--workers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_files_and_options_are_rejected(
    quickly, market, tmp_path, write, options, fragment
):
    book = write("book.jsonl", a_line() + b"\n")
    options = [option.replace("%s", tmp_path.name) for option in options]
    done = quickly(*command("book.jsonl", market), *options)
    if fragment:
        assert done.refused(fragment)
        assert not (tmp_path / "out.jsonl").exists()
    assert book.read_bytes() == a_line() + b"\n"


def test_output_never_overwrites_input(quickly, market, write, tmp_path):
    closes = write("prices.csv", market.read_bytes())
    book = write("out.jsonl.run", a_line() + b"\n")  # where the run records its inputs
    write("book.jsonl", a_line() + b"\n")
    assets = write("assets.csv", "symbol\nA\n")
    link = tmp_path / "link.jsonl"
    link.hardlink_to(closes)
    run = ("batch", "--policy", "monthly", "--prices", closes, "--assets", assets)
    for portfolios, out in (
        (book, "out.jsonl"),
        (tmp_path / "book.jsonl", closes),
        (tmp_path / "book.jsonl", assets),
        (tmp_path / "book.jsonl", link),
    ):
        done = quickly(*run, "--portfolios", portfolios, "--out", out)
        assert done.refused("is also an input; choose another")
    assert closes.read_bytes() == market.read_bytes()
    assert book.read_bytes() == a_line() + b"\n" and assets.read_text() == "symbol\nA\n"


def test_rejected_run_keeps_earlier_output(whole, quickly, market, tmp_path):
    for options in (
        ["--policy", "nope"],
        ["--portfolios", "missing"],
        ["--prices", "missing"],
        ["--as-of", "1999-01-01"],
        ["--cost-bps", "-1"],
    ):
        assert quickly(*command("book.jsonl", market), *options).code == 2
        assert (tmp_path / "out.jsonl").read_bytes() == whole


def test_pipe_is_rejected_as_input(market, tmp_path):
    done = subprocess.run(
        [COMMAND, *map(str, command("/dev/stdin", market))],
        input=a_line(),
        capture_output=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert done.returncode == 2 and b"is a pipe or a device" in done.stderr


def test_memory_does_not_grow_with_file(market, tmp_path):
    def peak(count):
        lines = [a_line(f"p{number}", holdings={}, targets={}) for number in range(300)]
        # The error of a line quotes part of its long key.
        key = b"n" * 4_000
        lines += [b'{"id": "p%d", "cash": 1, "%b": 0}' % (number, key) for number in range(count)]
        (tmp_path / "book.jsonl").write_bytes(b"\n".join(lines))
        program = (
            "import resource, subprocess, sys\n"
            "subprocess.run(sys.argv[1:])\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        )
        arguments = map(str, command("book.jsonl", market))
        done = subprocess.run(
            [sys.executable, "-c", program, COMMAND, *arguments, "--workers", "1"],
            capture_output=True,
            check=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
        )
        return int(done.stdout)

    few, many = peak(900), peak(9_000)
    assert many < 1.3 * few  # the file grows by 32 MB
