"""`rebalancer evaluate --walk-forward`: refits, resumption, evidence and refusals."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from rebalancer.adapters.rl import regimes
from rebalancer.adapters.rl.algorithms import ppo
from rebalancer.adapters.rl.algorithms.ppo import Ppo
from rebalancer.domain.market.prices import PriceHistory
from tests.builders import as_csv, prices

TINY = ("--steps", 1, "--seeds", 2, "--worlds", 14, "--warm-start", 2, "--workers", 1)
WALK = ("--walk-forward", "2015-03-31", "--to", "2016-06-30")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shorten a segment from ten seconds to one, and fit regimes to fewer mixes."""
    monkeypatch.setattr(ppo, "ALGORITHM", Ppo(environments=256, segment=256 * 16))
    monkeypatch.setattr(regimes, "fit_regimes", partial(regimes.fit_regimes, mixes=5))


@pytest.fixture
def closes(tmp_path):
    """Closes of A to E over five years, with a column of T-bills."""
    history = prices(6, 1_200, seed=3, start=np.datetime64("2012-01-02").item())
    bills = np.linspace(100.0, 101.0, len(history))[:, None]
    table = np.hstack([history.closes[:, :5], bills])
    path = tmp_path / "six.csv"
    path.write_text(as_csv(PriceHistory.of((*"ABCDE", "BIL"), history.dates, table)))
    return path


def test_toy_refit_is_trained_judged_stored_and_found_again(quickly, closes, tmp_path):
    names = ("evaluate", "--policy", "ppo,best_rule", "--prices", closes)
    command = (*names, *WALK, *TINY, "--risk-free", "BIL")
    done = quickly(*command, "--keep")
    assert done.code == 0, done.stderr
    text = " ".join(done.stdout.split())
    for expected in (
        "Known until 2015-03-31, judged from 2015-05-01 to 2016-06-30",
        "Trained on six.csv; best rule there: ",
        "ppo is ppo_20150331@1, of out/walk-forward/refits/ppo_20150331-1",
        "by walk-forward over 1 refit and 1 panel",
        "orders as a multiple of monthly's, median over folds and panels",
        "Higher Sharpe ratio than the best rule on past data: not shown",
        "Stored evidence with my_ppo@1.",
    ):
        assert expected in text, expected
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["trials"]) for line in lines] == [("train", 1), ("evaluate", 2)]

    page = tmp_path / "walk.html"
    again = quickly(*command, "--no-training", "--no-record", "--json", "--report", page)
    assert (again.code, again.stderr) == (0, f"Report: {page}\n")
    found = again.json
    assert list(found) == [
        *("costs", "trials", "counted", "seed", "cautions", "caution_codes"),
        *("thresholds", "folds", "policies"),
    ]
    (fold,) = found["folds"]
    (refit,) = fold["refits"]
    assert (refit["version"], refit["stored"]) == ("my_ppo@1", True)
    assert fold["panels"][0]["risk_free"] == ["0", "BIL"]
    assert fold["panels"][0]["assets"] == list("ABCDE")
    learned, rule = found["policies"]
    assert list(learned) == [
        *("policy", "version", "weights", "passed", "verdict", "criteria", "higher_sharpe"),
        *("panels", "effective_panels", "whole", "by_fold", "without_crash", "thirds"),
        *("seeds", "skeleton", "results"),
    ]
    assert len(learned["seeds"]) == 2 and learned["skeleton"] is not None
    assert (rule["version"], rule["skeleton"], rule["seeds"]) == (None, None, [])
    assert list(learned["results"][0]) == [
        *("known_until", "panel", "risk_free", "sharpe", "monthly_sharpe"),
        *("max_drawdown", "monthly_max_drawdown", "drawdown_beyond_exposure"),
        *("average_exposure", "monthly_average_exposure", "orders_per_year"),
        *("monthly_orders_per_year", "orders_of_monthly", "turnover_of_monthly", "against"),
        "seeds",
    ]

    card = quickly("policies", "show", "my_ppo", "--json").json["learning"]
    stored = card["evidence"]["walk_forward"]
    assert stored["policy"] == "ppo" and stored["criteria"] == learned["criteria"]
    assert "--fit-regimes" in card["command"] and "--until 2015-03-31" in card["command"]
    drawn = page.read_text()
    for heading in (
        "Drawdown against monthly at the same exposure",
        "Seeds",
        "best_rule",
        ">margin",
    ):
        assert heading in drawn, heading
    assert "<script" not in drawn.partition("</head>")[2]
    own = tmp_path / "own.html"
    assert quickly("policies", "show", "my_ppo", "--report", own).code == 0
    assert "Walk-forward: 1 policy, 1 refit" in own.read_text()
    assert "its own years" in quickly("policies", "show", "my_ppo").stdout
    assert quickly("policies", "show", "ppo@1", "--report", own).refused("no stored walk-forward")

    if not stored["passed"]:
        refused = quickly("policies", "promote", "my_ppo")
        assert refused.refused("my_ppo@1 failed the criteria for serving: ")
        assert "ppo@2" in quickly("policies", "show", "learned").stdout


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--steps", "9"], ["--steps needs --walk-forward"]),
        (["--warm-start", "9"], ["--warm-start needs --walk-forward"]),
        (["--no-training"], ["--no-training needs --walk-forward"]),
        ([*WALK, "--from", "2016-01-01"], ["--from cannot be combined with --walk-forward"]),
        ([*WALK, "--against", "band"], ["--against cannot be combined"]),
        (["--walk-forward", "2015-03-31,then"], ["YYYY-MM-DD"]),
        (["--walk-forward", "2015-03-31,2014-03-31"], ["walk_forward: ", "give ascending"]),
        (["--walk-forward", "2030-01-01", "--to", "2031-01-01"], ["the prices end on"]),
        (["--walk-forward", "2012-06-29"], ["no panel has enough prices by 2012-06-29"]),
    ],
)
def test_invalid_walk_forward_is_rejected_in_one_line(quickly, closes, options, fragments):
    done = quickly("evaluate", "--policy", "band", "--prices", closes, *options)
    assert done.refused(*fragments)


def test_missing_refit_names_the_command_that_trains_it(quickly, closes):
    walk = ("--policy", "ppo", "--prices", closes, *WALK, "--no-training")
    done = quickly("evaluate", *walk)
    assert done.refused(
        "out/walk-forward/refits holds no refit of ppo at 2015-03-31",
        "rebalancer train --algorithm ppo --prices",
        "--seeds 5 --reward",
        "Leave --no-training out to train it.",
    )
