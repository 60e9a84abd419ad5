import json
import math
import re
from pathlib import Path

import attrs
import pytest

from rebalancer.application.backtests import BacktestRequest
from rebalancer.entrypoints.cli.commands.backtest import backtest as command
from tests.builders import as_csv, prices

FIXED = [
    "policy",
    "final_value",
    "cagr",
    "volatility",
    "sharpe",
    "max_drawdown",
    "turnover_per_year",
    "orders",
    "orders_per_year",
    "cost_paid",
    "average_exposure",
]
WHOLE = {"orders", "longest_drawdown"}
MANY = (
    "buy_and_hold,weekly,monthly,quarterly,yearly,band,band:edge,band:half,band:relative,"
    "volatility_target:target=0.10,window=42,trend:window=20,inverse_volatility,risk_parity,"
    "minimum_variance:window=60,hierarchical_risk_parity:window=60,band=0.01"
)


@pytest.fixture
def backtest(quickly, market):
    """Run `rebalancer backtest --json` on the small market."""

    def run(policy, *options, prices=market):
        return quickly("backtest", "--prices", prices, "--policy", policy, *options, "--json")

    return run


def test_json_output_has_documented_fields(quickly, market):
    done = quickly("backtest", "--prices", market, "--policy", MANY, "--json")
    assert (done.code, done.stderr) == (0, "")
    found = done.json
    assert list(found)[:4] == ["from", "to", "assets", "cost_bps"]
    assert list(found)[-1] == "results"
    assert (found["from"], found["to"]) == ("2020-01-01", "2021-02-23")
    assert (found["assets"], found["cost_bps"]) == (list("ABCDE"), 10.0)
    assert [result["policy"] for result in found["results"]] == [
        "buy_and_hold",
        "weekly",
        "monthly",
        "quarterly",
        "yearly",
        "band",
        "band:edge",
        "band:half",
        "band:relative",
        "volatility_target:target=0.10,window=42",
        "trend:window=20",
        "inverse_volatility",
        "risk_parity",
        "minimum_variance:window=60",
        "hierarchical_risk_parity:window=60,band=0.01",
    ]
    for result in found["results"]:
        assert set(FIXED) <= set(result)
        gain = result.pop("sharpe_gain")
        assert gain["low"] <= gain["estimate"] <= gain["high"]
        for name, value in result.items():
            if name != "policy":
                assert type(value) is (int if name in WHOLE else float), name
                assert math.isfinite(value), name
        assert 0.2 < result["final_value"] < 5
        assert 0 <= result["max_drawdown"] < 1
        assert 0 < result["cost_paid"] < 0.1
        assert 0 <= result["average_exposure"] <= 1 + 1e-9
        assert result["orders"] >= 0 and result["turnover_per_year"] >= 0
    held, weekly, monthly = found["results"][:3]
    assert held["orders"] == 0 and held["turnover_per_year"] == 0
    assert weekly["orders"] > monthly["orders"] > 0


def test_options_have_the_defaults_of_the_request():
    defaults = {field.name: field.default for field in attrs.fields(BacktestRequest)}
    options = {option.name: option.default for option in command.params}
    for name in ("capital", "max_departure", "risk_profile"):
        assert options[name] == defaults[name]


def test_same_command_gives_same_bytes(rebalancer, market):
    command = ("backtest", "--prices", market, "--policy", "monthly,risk_parity", "--json")
    assert rebalancer(*command).stdout == rebalancer(*command).stdout


def test_final_value_is_per_1_invested_after_costs(backtest, tmp_path):
    history = prices(1, 50)
    (tmp_path / "one.csv").write_text(as_csv(history))
    grown = history.closes[-1, 0] / history.closes[0, 0]
    for bps in (0, 10, 250):
        (result,) = backtest("buy_and_hold", "--cost-bps", bps, prices="one.csv").json["results"]
        bought = 1 / (1 + bps / 1e4)  # the purchase and its fee cost 1
        assert result["final_value"] == pytest.approx(grown * bought, rel=1e-12)
        assert result["cost_paid"] == pytest.approx(1 - bought, rel=1e-9)


def test_costs_reduce_final_value(backtest):
    finals = [
        backtest("weekly", "--cost-bps", bps).json["results"][0]["final_value"]
        for bps in (0, 10, 100)
    ]
    assert finals[0] > finals[1] > finals[2]
    free = backtest("weekly", "--cost-bps", "0").json
    assert (free["cost_bps"], free["results"][0]["cost_paid"]) == (0.0, 0.0)


def test_cost_preset_replaces_basis_points(backtest):
    found = backtest("monthly", "--costs", "retail").json
    assert (found["cost_bps"], found["costs"]) == (None, "retail")
    assert found["results"][0]["cost_paid"] > 0
    assert backtest("monthly", "--costs", "gratis").refused("gratis", "zero-commission")
    assert backtest("monthly", "--costs", "retail", "--cost-bps", "5").refused("exclude each other")


@pytest.mark.parametrize("bps", ["nan", "inf", "-1", "10000", "1e400"])
def test_invalid_costs_are_rejected(backtest, bps):
    assert backtest("monthly", "--cost-bps", bps).refused("cost_bps", "basis points")


def test_targets_default_to_equal_weights(backtest, write):
    write("equal.json", json.dumps(dict.fromkeys("ABCDE", 0.2)))
    plain = backtest("monthly").json["results"]
    assert plain == backtest("monthly", "--targets", "equal.json").json["results"]


def test_rest_of_targets_stays_in_cash(backtest, write):
    write("some.json", '\ufeff{"A": 0.3, "C": "0.2"}')
    (result,) = backtest("weekly", "--targets", "some.json", "--cost-bps", "0").json["results"]
    assert result["average_exposure"] == pytest.approx(0.5, abs=0.01)
    write("none.json", "{}")
    (result,) = backtest("weekly", "--targets", "none.json").json["results"]
    assert (result["final_value"], result["sharpe"], result["average_exposure"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("targets", "fragments"),
    [
        ('{"A": 0.5, "Z": 0.1}', ["targets", "unknown symbol Z"]),
        ('{"A": 0.7, "B": 0.31}', ["targets", "sum to 1.01"]),
        ('{"A": 1.2}', ["targets.A", "between 0 and 1"]),
        ('{"A": -0.1}', ["targets.A", "between 0 and 1"]),
        ('{"A": 0.5, "A": 0.1}', ["A", "twice"]),
        ('{"A": NaN}', ["A", "NaN"]),
        ('{"A": Infinity}', ["A", "Infinity"]),
        ('{"A": 1e999999}', ["A", "1E+999999"]),
        ('{"A": 1e99999999999999999999}', ["A", "Infinity"]),
        ('{"A": "NaN"}', ["A", "NaN"]),
        ('{"A": null}', ["A", "null"]),
        ('{"A": true}', ["A", "true"]),
        ('{"A": [0.5]}', ["A", "list"]),
        ('{"A": "half"}', ["A", "half"]),
        ("[0.5, 0.5]", ["targets", "JSON object"]),
        ("A=0.5", ["targets", "not JSON"]),
        ("", ["targets", "not JSON"]),
        (b"\xff\xfe", ["targets", "UTF-8"]),
        ('{"A": ' + "[" * 100_000, ["targets", "nested too deeply"]),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_invalid_targets_are_rejected(backtest, write, targets, fragments):
    write("bad.json", targets)
    assert backtest("monthly", "--targets", "bad.json").refused(*fragments)


def test_window_starts_and_ends_at_closes_inside_it(backtest):
    # 2020-03-07 is a Saturday, 2020-11-01 a Sunday.
    found = backtest("monthly", "--from", "2020-03-07", "--to", "2020-11-01").json
    assert (found["from"], found["to"]) == ("2020-03-09", "2020-10-30")
    inside = backtest("monthly", "--from", "2020-03-09", "--to", "2020-10-30").json
    assert inside == found


def test_rows_before_window_are_history(backtest, tmp_path):
    history = prices(5, 300)
    cut = history.since(int(sum(str(day) < "2020-06-01" for day in history.dates)))
    (tmp_path / "cut.csv").write_text(as_csv(cut))
    known = backtest("trend:window=60", "--from", "2020-06-01").json
    blind = backtest("trend:window=60", prices="cut.csv").json
    assert (known["from"], known["to"]) == (blind["from"], blind["to"])
    assert known["results"] != blind["results"]
    plain = backtest("monthly", "--from", "2020-06-01").json
    assert plain == backtest("monthly", prices="cut.csv").json


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--from", "2020-09-01", "--to", "2020-08-01"], "to: 2020-08-01 is before the window"),
        (["--from", "2030-01-01"], "from: 2030-01-01 is after the last close; choose 2021-02-23"),
        (["--to", "1999-01-01"], "to: 1999-01-01 is before the first close; choose 2020-01-01"),
        (["--from", "2021-02-23"], "from: the window holds 1 row"),
        (["--from", "2020-1"], "YYYY-MM-DD"),
    ],
)
def test_invalid_windows_are_rejected(backtest, options, fragment):
    assert backtest("monthly", *options).refused(fragment)


def test_cash_earns_the_risk_free_rate_and_sharpe_subtracts_it(backtest, write):
    write("half.json", '{"A": 0.5}')
    options = ("monthly", "--targets", "half.json")
    (without,) = backtest(*options).json["results"]
    (with_rate,) = backtest(*options, "--risk-free", "0.05").json["results"]
    assert with_rate["final_value"] > without["final_value"]
    write("cash.json", "{}")
    (cash,) = backtest("monthly", "--targets", "cash.json", "--risk-free", "0.05").json["results"]
    assert cash["cagr"] == pytest.approx(0.05, rel=1e-9)
    assert cash["sharpe"] == 0


def test_risk_free_column_is_not_traded(backtest, write, tmp_path):
    found = backtest("monthly", "--risk-free", "C").json
    assert found["assets"] == ["A", "B", "D", "E"]
    history = prices(5, 300)
    grown = history.closes[-1, 2] / history.closes[0, 2]
    write("cash.json", "{}")
    (cash,) = backtest("monthly", "--targets", "cash.json", "--risk-free", "C").json["results"]
    assert cash["final_value"] == pytest.approx(grown, rel=1e-12)
    write("c.json", '{"C": 0.5}')
    assert backtest("monthly", "--targets", "c.json", "--risk-free", "C").refused("targets", "C")


def test_column_name_may_look_like_number(backtest, tmp_path):
    text = as_csv(prices(2, 30)).replace("date,A,B", "date,0700,nan")
    (tmp_path / "numbers.csv").write_text(text)
    found = backtest("monthly", "--risk-free", "0700", prices="numbers.csv").json
    assert found["assets"] == ["nan"]
    found = backtest("monthly", "--risk-free", "nan", prices="numbers.csv").json
    assert found["assets"] == ["0700"]


@pytest.mark.parametrize("rate", ["2%", "BIL", "nan", "inf", "-1", "11", ""])
def test_invalid_risk_free_rates_are_rejected(backtest, rate):
    assert backtest("monthly", "--risk-free", rate).refused("risk_free", "a rate a year")


def test_as_live_orders_are_whole_shares(backtest):
    poor = backtest("monthly", "--as-live", "--capital", "700").json["results"][0]
    rich = backtest("monthly", "--as-live", "--capital", "1e9").json["results"][0]
    exact = backtest("monthly").json["results"][0]
    assert rich["final_value"] == pytest.approx(exact["final_value"], rel=1e-4)
    assert poor["average_exposure"] < 0.97 < rich["average_exposure"]


def test_as_live_orders_may_be_fractions(backtest):
    exact = backtest("monthly").json["results"][0]
    fine = backtest("monthly", "--as-live", "--capital", "700", "--quantity-step", "0.0001")
    found = fine.json["results"][0]
    assert found["final_value"] == pytest.approx(exact["final_value"], rel=1e-3)
    for step in ("0", "-1", "nan"):
        done = backtest("monthly", "--as-live", "--quantity-step", step)
        assert done.refused("quantity_step:", "more than zero")


@pytest.mark.parametrize("capital", ["0", "-5", "nan", "inf"])
def test_invalid_capital_is_rejected(backtest, capital):
    assert backtest("monthly", "--capital", capital).refused("capital:", "enter more than 0")


def test_table_shows_all_policies(quickly, market):
    done = quickly("backtest", "--prices", market, "--policy", "monthly,band:edge")
    assert (done.code, done.stderr) == (0, "")
    for expected in ("2020-01-01 to 2021-02-23, 5 assets, 10 bps", "monthly", "band:edge"):
        assert expected in done.stdout
    assert re.search(r"policy.*CAGR.*Sharpe.*exposure", done.stdout)
    assert "survivors" not in done.stdout


def test_report_is_one_self_contained_file(quickly, market, tmp_path):
    arguments = ("--prices", market, "--policy", "monthly,band", "--report", "deep/down/out.html")
    done = quickly("backtest", *arguments)
    report = tmp_path / "deep" / "down" / "out.html"
    assert done.code == 0 and f"Report: {report}" in done.stdout
    page = report.read_text(encoding="utf-8")
    assert not re.search(r"""<(script|link|img|iframe)[^>]+(src|href)=["']?(https?:)?//""", page)
    assert "monthly" in page and "band" in page
    first = report.read_bytes()
    again = quickly("backtest", *arguments, "--json")
    assert report.read_bytes() == first
    assert again.json["results"] and "Report:" in again.stderr


def test_results_are_printed_before_report_is_written(quickly, market, tmp_path):
    (tmp_path / "file").write_text("")
    for path in ("file/out.html", "."):
        done = quickly("backtest", "--prices", market, "--policy", "monthly", "--report", path)
        assert done.code == 2 and "monthly" in done.stdout
        assert f"report: cannot write {path}" in done.stderr


def test_report_does_not_overwrite_input(quickly, market, write):
    before = market.read_bytes()
    done = quickly("backtest", "--prices", market, "--policy", "monthly", "--report", market)
    assert done.refused("report", "is also an input")
    targets = write("t.json", '{"A": 1}')
    done = quickly(
        *("backtest", "--prices", market, "--policy", "monthly"),
        *("--targets", targets, "--report", targets),
    )
    assert done.refused("report", "is also an input")
    assert market.read_bytes() == before and targets.read_text() == '{"A": 1}'


def test_sample_results_carry_survivorship_caution(quickly, tmp_path):
    since = ("--from", "2021-01-01", "--policy", "monthly")
    table = quickly("backtest", *since, "--report", "out.html")
    assert "survivors" in table.stdout
    assert "survivors" in (tmp_path / "out.html").read_text(encoding="utf-8")
    found = quickly("backtest", *since, "--json").json
    assert found["caution_codes"] == ["survivorship_bias"]


def test_gzipped_prices_are_read(backtest, market, tmp_path):
    import gzip

    packed = tmp_path / "prices.csv.gz"
    packed.write_bytes(gzip.compress(Path(market).read_bytes()))
    assert backtest("band", prices=packed).stdout == backtest("band").stdout


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("", "empty"),
        ("date,A\n", "no rows"),
        ("A,B\n1,2\n", "has no column date"),
        ("date,A\n2022-01-03,1\n2022-01-03,2\n", "also on line 2"),
        ("date,A\n2022-01-04,1\n2022-01-05,2\n2022-01-03,2\n", "sort the rows"),
        ("date,A\n2022-01-03,1\n2022-01-04,x\n", "'x' is not a price"),
        ("date,A\n2022-01-03,0\n2022-01-04,-1\n", "'0' is not a price"),
        ("date,A\n2022-01-03,1e999\n", "'1e999' is not a price"),
        ("date,A\n2022-01-03,1\n", "1 row"),
        (b"date,A\n\xff,1\n", "UTF-8"),
    ],
)
def test_invalid_prices_are_rejected(backtest, write, content, fragment):
    write("bad.csv", content)
    assert backtest("monthly", prices="bad.csv").refused(fragment)


def test_prices_with_bom_and_crlf_are_read(backtest, market, write):
    write("excel.csv", b"\xef\xbb\xbf" + Path(market).read_bytes().replace(b"\n", b"\r\n"))
    assert backtest("band", prices="excel.csv").stdout == backtest("band").stdout


def test_portfolio_consumed_by_fees_is_rejected(backtest):
    done = backtest("weekly,monthly", "--costs", "full-service", "--capital", "30")
    assert done.code == 0
    assert all(result["final_value"] >= 0 for result in done.json["results"])


def test_proposal_limits_apply_in_backtest(quickly, market):
    def tried(*options):
        done = quickly(
            *("backtest", "--prices", market, "--policy", "monthly,trend:window=50", "--json"),
            *("--from", "2020-06-01", *options),
        )
        assert done.code == 0, done.stderr
        monthly, trend = done.json["results"]
        assert done.json["caution_codes"][-1] == "less_than_a_year"
        return done.json["cautions"][:-1], monthly["final_value"], trend["average_exposure"]

    said, free, exposure = tried()
    assert said == []
    said, held, closer = tried("--max-departure", "0.1")
    assert said == ["Policies may depart from the targets by at most 10%, one-way."]
    assert held == pytest.approx(free, rel=1e-12) and closer > max(exposure, 0.85)
    said, unbound, _ = tried("--risk-profile", "conservative")
    assert said == [] and unbound == free  # rules ignore risk aversion
    said, _, careful = tried("--risk-profile", "conservative", "--keep-limits")
    assert said == ["The limits of the risk profile conservative apply to every policy."]
    assert careful <= 0.3  # assets of unknown class count as equity


@pytest.mark.parametrize(
    ("option", "fragment"),
    [
        (
            ["--max-departure", "2"],
            "max_departure: 2.0 is out of range; enter a fraction between 0 and 1",
        ),
        (["--risk-profile", "bold"], "risk_profile: unknown risk profile 'bold'"),
    ],
)
def test_invalid_limits_are_rejected(quickly, market, option, fragment):
    done = quickly("backtest", "--prices", market, "--policy", "monthly", *option)
    assert done.refused(fragment)


def test_prices_that_are_not_daily_get_caution(quickly, write, market):
    lines = market.read_text().splitlines()
    weekly = write("weekly.csv", "\n".join([lines[0], *lines[1::5]]) + "\n")
    done = quickly("backtest", "--prices", weekly, "--policy", "monthly", "--json")
    assert done.json["caution_codes"] == ["prices_not_daily", "short_window"]
    assert "a look-back of 63 trading days takes 13 weeks" in done.json["cautions"][0]
    assert done.json["frequency"] == "weeks"


def test_coins_and_shares_that_begin_within_a_week_are_bought_together(quickly, write):
    # 2022-01-01 is a Saturday. A share bought on Monday gains 10%, the coin nothing.
    days = [f"2022-01-{day:02}" for day in range(1, 15)]
    shares = ["", "", *["100"] * 5, "", "", *["110"] * 5]
    coins = ["40", *["50"] * 13]
    rows = "\n".join(map(",".join, zip(days, coins, shares, strict=True)))
    file = write("coins.csv", f"date,COIN,SHARE\n{rows}\n")
    args = ("backtest", "--prices", file, "--policy", "buy_and_hold", "--cost-bps", "0", "--json")
    found = quickly(*args).json
    assert found["from"] == "2022-01-03"
    assert found["results"][0]["final_value"] == pytest.approx(1.05)
    assert "universe_changes" not in found["caution_codes"]


def test_cash_earns_over_a_gap_of_its_prices(quickly, write):
    # A gap of 20 weekdays is too long for the last price to stay current.
    rows = [f"2022-{month:02}-{day:02}" for month in (1, 2, 3) for day in range(1, 29)]
    bills = ["100", *["" for _ in rows[2:]], "103"]
    lines = [f"{day},50,{bill}" for day, bill in zip(rows, bills, strict=True)]
    file = write("gap.csv", "\n".join(["date,A,BILLS", *lines]) + "\n")
    targets = write("targets.json", '{"A": 0}')
    args = ("backtest", "--prices", file, "--policy", "monthly", "--targets", targets)
    found = quickly(*args, "--risk-free", "BILLS", "--cost-bps", "0", "--json").json
    assert found["results"][0]["final_value"] == pytest.approx(1.03)
