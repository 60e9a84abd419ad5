import json
import math
import os
import re
import subprocess
import sys

import pytest

from tests.builders import as_csv, prices

FIGURES = {
    *("sharpe", "cagr", "volatility", "max_drawdown", "average_exposure"),
    *("turnover_per_year", "orders", "orders_per_year", "cost_paid", "final_value"),
}


@pytest.fixture
def evaluate(quickly, market):
    """Run `rebalancer evaluate --json` on the small market."""

    def run(names, *options):
        files = () if "--prices" in options else ("--prices", market)
        return quickly("evaluate", "--policy", names, *files, *options, "--json")

    return run


def test_json_output_has_documented_fields(rebalancer, market):
    done = rebalancer(
        *("evaluate", "--policy", "band:half,trend:window=20", "--against", "quarterly"),
        *("--prices", market, "--risk-free", "0.02", "--json"),
    )
    assert (done.code, done.stderr) == (0, "")
    found = done.json
    assert list(found) == [
        *("costs", "currency", "trials", "counted", "cautions", "caution_codes", "chosen_rule"),
        *("panels", "pooled", "promotion", "summary"),
    ]
    assert (found["costs"], found["trials"]) == ("10 bps of traded value, each side", 2)
    (panel,) = found["panels"]
    fields = ["panel", "from", "to", "assets", "periods_per_year", "frequency", "policies"]
    assert list(panel) == fields
    assert panel["panel"] == "prices.csv" and panel["assets"] == list("ABCDE")
    assert [each["policy"] for each in panel["policies"]] == ["band:half", "trend:window=20"]
    assert [each["policy"] for each in found["summary"]] == ["band:half", "trend:window=20"]
    for each in panel["policies"]:
        assert list(each) == ["policy", "finding", "verdict", "chosen_rule", "judgements"]
        assert each["finding"] in {"gain", "none", "loss", "untold"}
        assert [one["risk_free"] for one in each["judgements"]] == ["0", "2% a year"]
        for judgement in each["judgements"]:
            assert set(judgement) == FIGURES | {
                *("risk_free", "drawdown_beyond_exposure", "break_even_bps"),
                *("against", "thirds", "cost_sweep", "seeds"),
            }
            names = [contest["policy"] for contest in judgement["against"]]
            assert names == ["monthly", "band", "monthly at its exposure", "quarterly"]
            for contest in judgement["against"]:
                assert set(contest) == FIGURES | {
                    *("policy", "sharpe_gain", "probability"),
                    *("probabilistic_sharpe", "deflated_sharpe"),
                }
                gain = contest["sharpe_gain"]
                assert gain["low"] <= gain["estimate"] <= gain["high"]
                assert 0 <= contest["deflated_sharpe"] <= contest["probabilistic_sharpe"] <= 1
                assert 0 <= contest["probability"] <= 1
                assert all(math.isfinite(contest[name]) for name in FIGURES)
            assert [each["cost_bps"] for each in judgement["cost_sweep"]] == [0, 5, 10, 20, 30, 50]
            assert len(judgement["thirds"]) == 3

    assert found["chosen_rule"] is None
    for each in found["pooled"]:
        assert list(each) == ["policy", "finding", "verdict", "cash_at_0", "strictest"]
        for contest in (*each["cash_at_0"], *each["strictest"]):
            assert set(contest) == {
                *("policy", "panels", "sharpe_gain", "median"),
                *("probability", "deflated_probability"),
            }
    for each in found["promotion"]:
        assert each["passed"] is None and each["criteria"] == []


def test_same_command_gives_same_bytes(evaluate):
    assert evaluate("trend:window=20").stdout == evaluate("trend:window=20").stdout


def test_figures_match_backtest(evaluate, quickly, market):
    options = ("--policy", "weekly", "--prices", market, "--cost-bps", "25", "--json")
    (expected,) = quickly("backtest", *options).json["results"]
    (each,) = evaluate("weekly", "--cost-bps", "25").json["panels"][0]["policies"]
    (judgement,) = each["judgements"]
    assert {name: judgement[name] for name in FIGURES} == {name: expected[name] for name in FIGURES}
    assert judgement["against"][0]["sharpe_gain"] == expected["sharpe_gain"]


def test_each_panel_is_evaluated(evaluate, quickly, market, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(as_csv(prices(3, 400, seed=9)))
    one = evaluate("band", "--prices", market, "--prices", other)
    two = evaluate("band", "--prices", market, other)
    assert one.code == 0 and one.stdout == two.stdout
    assert [panel["panel"] for panel in one.json["panels"]] == ["prices.csv", "other.csv"]
    assert "of 2 panels" in one.json["summary"][0]["verdict"]
    done = quickly("evaluate", "--policy", "band", "--prices", market, other)
    assert (done.code, done.stderr) == (0, "")
    assert "All 2 panels together" in done.stdout
    assert "band: no evidence of a gain over monthly: over 2 panels" in done.stdout


def test_risk_free_column_is_not_traded(evaluate):
    found = evaluate("band", "--risk-free", "C").json["panels"][0]
    assert found["assets"] == ["A", "B", "D", "E"]
    labels = [each["risk_free"] for each in found["policies"][0]["judgements"]]
    assert labels == ["0", "C"]


def test_tables_show_figures_and_verdicts(quickly, market):
    done = quickly("evaluate", "--policy", "trend:window=20", "--prices", market)
    assert (done.code, done.stderr) == (0, "")
    for expected in (
        "prices.csv: 2020-01-01 to 2021-02-23, 5 assets, 10 bps",
        "trend:window=20: no evidence of a gain over monthly: ",
        "P(>0)",
        "PSR",
        "DSR after 1 trial.",
        "monthly, as exposed as trend:window=20",
    ):
        assert expected in done.stdout
    assert "survivors" not in done.stdout
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    gains = [row for row in rows if "±" in row[2]]
    assert len(gains) == 3
    assert "No rule was chosen on training data" in done.stdout
    assert "Choose one with --chosen-on FILE.csv." in " ".join(done.stdout.split())
    assert "is shown" not in done.stdout
    assert {len(row) for row in gains} == {8}  # policy, on, and the six figures
    assert re.fullmatch(r"[+-]\d\.\d\d ±\d\.\d\d", gains[0][2].strip())
    assert len(gains[0][6].split()) == 3  # thirds


def test_baseline_can_be_evaluated_alone(quickly, market):
    done = quickly("evaluate", "--policy", "monthly", "--prices", market)
    assert (done.code, done.stderr) == (0, "")
    assert "monthly itself" in done.stdout


def test_sample_results_carry_survivorship_caution(quickly):
    since = ("evaluate", "--policy", "band", "--from", "2021-06-01")
    assert "survivors" in quickly(*since).stdout
    found = quickly(*since, "--json").json
    assert "survivors" in found["cautions"][0]
    assert found["panels"][0]["panel"] == "packaged sample"


def test_short_window_gives_undefined_figures(evaluate):
    (each,) = evaluate("weekly", "--from", "2021-01-04").json["panels"][0]["policies"]
    assert each["finding"] == "untold"
    assert each["judgements"][0]["against"][0]["sharpe_gain"] is None


def test_tables_fit_narrow_terminal(quickly, market):
    done = quickly(
        "evaluate", "--policy", "volatility_target", "--prices", market, env={"COLUMNS": "80"}
    )
    assert done.code == 0 and "volatility_target: " in done.stdout


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--policy", "magic"], ["policy: unknown policy 'magic'"]),
        (["--policy", "band,band"], ["policy: band is given twice"]),
        (["--policy", ","], ["policy: no policy is given"]),
        (["--against", "magic"], ["against: unknown policy 'magic'"]),
        (["--trials", "0"], ["--trials"]),
        (["--policy", "band,weekly", "--trials", "1"], ["trials: 1 is less than the 2 policies"]),
        (["--trials", "some"], ["--trials"]),
        (["--cost-bps", "nan"], ["cost_bps", "basis points"]),
        (["--cost-bps", "5", "--costs", "retail"], ["costs", "exclude each other"]),
        (["--risk-free", "BIL"], ["risk_free", "BIL", "neither a price column"]),
        (["--risk-free", "nan"], ["risk_free", "a rate a year"]),
        (["--from", "2030-01-01"], ["from: 2030-01-01 is after the last close"]),
        (["--from", "2021-02-23"], ["from: the window holds 1 row"]),
        (["--from", "then"], ["YYYY-MM-DD"]),
        (["--prices", "none.csv"], ["prices", "none.csv"]),
        (["--risk-free", "C,BIL"], ["risk_free", "'BIL' is neither a price column"]),
        (["--risk-free", "0.01,0.02"], ["risk_free", "at most one"]),
        (["--targets", "none.json"], ["targets", "none.json"]),
        (["--max-departure", "2"], ["max_departure", "a fraction between 0 and 1"]),
        (["--risk-profile", "reckless"], ["reckless"]),
        (["--chosen-until", "2020-06-01"], ["--chosen-until needs --chosen-on"]),
        (["--chosen-on", "none.csv"], ["none.csv"]),
        (["elsewhere.csv"], ["prices", "elsewhere.csv"]),
    ],
)
def test_invalid_input_is_rejected_in_one_line(quickly, market, options, fragments):
    given = [] if "--policy" in options else ["--policy", "band"]
    files = [] if "--prices" in options else ["--prices", market]
    done = quickly("evaluate", *given, *files, *options)
    assert done.refused(*fragments)
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")


def test_error_names_its_panel(evaluate, market, write, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(as_csv(prices(3, 30)))
    late = evaluate("band", "--prices", market, other, "--from", "2020-06-01")
    assert late.refused("from: other.csv: 2020-06-01 is after")
    assert evaluate("band", "--prices", other, other).refused("prices:", "given twice")


def test_help_loads_no_heavy_package():
    program = (
        "import sys\n"
        "from rebalancer.entrypoints.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'numpy', 'scipy', 'rich', 'dishka'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "evaluate", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("Examples:", "--against", "--risk-free", "docs/evidence.md"):
        assert expected in done.stdout


def test_standard_output_is_json_only(evaluate):
    assert json.loads(evaluate("buy_and_hold").stdout)["panels"]


def test_rule_is_chosen_on_training_prices(quickly, market):
    options = (
        *("evaluate", "--policy", "weekly,trend:window=20", "--prices", market),
        *("--from", "2020-06-01", "--chosen-on", market, "--chosen-until", "2020-05-29"),
    )
    found = quickly(*options, "--json").json
    chosen = found["chosen_rule"]
    assert (chosen["panels"], chosen["from"], chosen["to"]) == (1, "2020-01-01", "2020-05-29")
    assert chosen["sharpe_gains"][0]["policy"] == chosen["policy"]
    label = f"{chosen['policy']} (best on training data)"
    for each in found["panels"][0]["policies"]:
        assert each["chosen_rule"] == chosen["policy"]
        names = [contest["policy"] for contest in each["judgements"][0]["against"]]
        assert names == ["monthly", "band", "monthly at its exposure", label]
    for each in found["promotion"]:
        assert each["best_rule"] == chosen["policy"]
        assert each["passed"] is all(one["passed"] for one in each["criteria"])
        assert [one["threshold"] for one in each["criteria"]] == [0.8, 0.0, -0.1, 1.5]
        assert each["criteria"][0]["figure"] is None  # the window is short
    assert found["caution_codes"] == ["less_than_a_year"]
    hindsight = quickly(*options[:-1], "2020-06-30").stdout
    assert "The best rule was chosen on prices up to 2020-06-30" in hindsight
    assert "Set their end with --chosen-until." in " ".join(hindsight.split())
    gate = {"REBALANCER_GATE_PROBABILITY": "0.9", "REBALANCER_GATE_TURNOVER": "3"}
    done = quickly(*options, env=gate)
    assert (done.code, done.stderr) == (0, "")
    for expected in (
        f"Best rule on training data (1 panel, 2020-01-01 to 2020-05-29): {chosen['policy']}",
        label,
        f"best rule: {chosen['policy']}",
        "weekly: a gain over ",
        "is undefined: no panel is long enough",
        "at most 3.00 is allowed",
    ):
        assert expected in " ".join(done.stdout.split()), expected


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("GATE_PROBABILITY", "0.2", "expected a number from 0.5 to 1"),
        ("GATE_LOSS", "much", "expected a number"),
        ("GATE_DRAWDOWN", "nan", "expected a number"),
        ("GATE_TURNOVER", "-1", "expected a number from 0 to 100"),
    ],
)
def test_invalid_thresholds_are_rejected(quickly, monkeypatch, name, value, told):
    monkeypatch.setenv(f"REBALANCER_{name}", value)
    done = quickly("evaluate", "--policy", "band")
    assert done.refused(f"REBALANCER_{name}: {told}")


def test_each_panel_has_its_own_cash_column(evaluate, market, tmp_path):
    other, third = tmp_path / "other.csv", tmp_path / "third.csv"
    other.write_text(as_csv(prices(3, 400, seed=9)))
    third.write_text(as_csv(prices(2, 400, seed=8)))
    files = ("--prices", market, other, third)
    found = evaluate("band", *files, "--risk-free", "D,C,0.02").json
    assert [panel["assets"] for panel in found["panels"]] == [
        ["A", "B", "E"],
        ["A", "B"],
        ["A", "B"],
    ]
    labels = [
        [each["risk_free"] for each in panel["policies"][0]["judgements"]]
        for panel in found["panels"]
    ]
    assert labels == [["0", "D"], ["0", "C"], ["0", "2% a year"]]
    without = evaluate("band", *files, "--risk-free", "D,C").json
    assert len(without["panels"][2]["policies"][0]["judgements"]) == 1
    assert without["caution_codes"] == ["cash_unknown_on_panel"]


def test_targets_and_limits_apply_as_in_backtest(evaluate, quickly, market, write):
    targets = write("targets.json", '{"A": 0.5, "B": 0.2, "C": 0.2}')
    options = ("--targets", targets, "--max-departure", "0.1", "--risk-profile", "conservative")
    options += ("--keep-limits",)
    (expected,) = quickly(
        "backtest", "--policy", "trend:window=20", "--prices", market, *options, "--json"
    ).json["results"]
    found = evaluate("trend:window=20", *options).json
    (judgement,) = found["panels"][0]["policies"][0]["judgements"]
    assert {name: judgement[name] for name in FIGURES} == {name: expected[name] for name in FIGURES}
    assert any("at most 10%" in caution for caution in found["cautions"])
    plain = evaluate("trend:window=20").json["panels"][0]["policies"][0]["judgements"][0]
    assert plain["sharpe"] != judgement["sharpe"]


def test_run_is_recorded_once(quickly, market, tmp_path):
    record = tmp_path / "trials.jsonl"

    def lines():
        return [json.loads(line) for line in record.read_text().splitlines()]

    options = ("evaluate", "--policy", "band,weekly", "--prices", market)
    first = quickly(*options)
    assert (first.code, first.stderr) == (0, "")
    assert "Trials: 2, as recorded in" in first.stdout
    (line,) = lines()
    assert (line["kind"], line["what"], line["trials"]) == ("evaluate", ["band", "weekly"], 2)
    assert line["note"] == "prices.csv 2020-01-01 to 2021-02-23"
    assert quickly(*options).stdout == first.stdout
    assert [line["trials"] for line in lines()] == [2, 0]
    third = quickly(*options, "--from", "2020-03-02", "--no-record", "--json").json
    assert third["trials"] == 4
    assert len(lines()) == 2


def test_default_record_is_used_if_it_exists(quickly, market, tmp_path):
    options = ("evaluate", "--policy", "band", "--prices", market)
    none = {"REBALANCER_TRIALS": ""}
    unrecorded = quickly(*options, env=none).stdout
    assert "No record of trials is stored here" in unrecorded
    assert "Give the number with --trials." in " ".join(unrecorded.split())
    assert not (tmp_path / "trials.jsonl").exists()
    usual = tmp_path / "docs" / "trials.jsonl"
    usual.parent.mkdir()
    usual.write_text(
        '{"on": "2026-01-31T12:00:00Z", "kind": "train", "what": ["x"], "trials": 7}\n'
    )
    assert quickly(*options, "--json", env=none).json["trials"] == 8
    assert len(usual.read_text().splitlines()) == 2
    usual.write_text("nonsense\n")
    assert quickly(*options, env=none).refused(
        "trials: ", "trials.jsonl, line 1", "correct the line"
    )


def test_results_are_printed_before_they_are_recorded(quickly, market, tmp_path):
    (tmp_path / "file").write_text("")
    done = quickly(
        *("evaluate", "--policy", "band", "--prices", market, "--json"),
        env={"REBALANCER_TRIALS": str(tmp_path / "file" / "trials.jsonl")},
    )
    assert done.code != 0
    assert "cannot" in done.stderr


def test_report_is_written_after_results(quickly, market, tmp_path):
    options = ("evaluate", "--policy", "band", "--prices", market, "--report")
    done = quickly(*options, "out/evidence.html", "--json")
    page = (tmp_path / "out" / "evidence.html").read_text(encoding="utf-8")
    assert done.json["panels"] and "Report: " in done.stderr
    assert "<h1>Evidence: 1 policy, 1 panel</h1>" in page
    assert "prices.csv: 2020-01-01 to 2021-02-23" in page
    assert quickly(*options, market).refused("report: ", "is also an input")
