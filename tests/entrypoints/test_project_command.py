"""`rebalancer project` and `rebalancer stress`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PORTFOLIO = {
    "currency": "USD",
    "cash": "5000",
    "holdings": {},
    "targets": {"AAPL": 0.3, "KO": 0.3, "PG": 0.3},
}
QUICK = ("--prices", "sample", "--paths", "200", "--years", "30")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(PORTFOLIO))
    return str(path)


def test_a_portfolio_file_is_projected(rebalancer, file):
    asked = ("project", file, *QUICK, "--deposit", "500", "--withdraw", "3000")
    printed = rebalancer(*asked, "--withdraw-from", "10", "--goal", "100000", "--goal-in", "10")
    assert printed.code == 0, printed.stderr
    text = " ".join(printed.stdout.split())
    for part in ("Value in USD of today, 200 paths", "after 10 years: reached on", "runs out on",
                 "A further 100 USD a month", "Past returns are no forecast"):  # fmt: skip
        assert part in text
    found = rebalancer(*asked, "--fixed", "--json").json
    # 500 a month are not paid beside a withdrawal that begins at once.
    assert found["paid_in"][-1] == -360 * 3000
    assert rebalancer(*asked, "--fixed", "--json").json == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--policy", "trend", "--model", "lognormal"), "trend decides by past prices"),
        (("--expect", "KO"), "'KO' is not SYMBOL=RATE"),
        (("--expect", "XOM=0.1"), "XOM is neither held nor targeted"),
        (("--goal", "5", "--goal-in", "31"), "month 372 is not within the projection"),
        (("--paths", "5"), "5 paths are out of range"),
    ],
)
def test_bad_options_are_refused_with_a_remedy(rebalancer, file, options, message):
    assert rebalancer("project", file, *QUICK, *options).refused(message)


def test_a_portfolio_is_stressed(rebalancer, file):
    held = json.loads(Path(file).read_text()) | {"holdings": {"AAPL": "10", "KO": "20"}}
    Path(file).write_text(json.dumps(held))
    printed = rebalancer("stress", file, "--prices", "sample", "--episode", "covid_2020")
    assert printed.code == 0, printed.stderr
    assert "After it, band would propose" in printed.stdout
    options = ("--class", "equity=-0.5", "--asset", "KO=0.1", "--policy", "monthly", "--json")
    found = rebalancer("stress", file, "--prices", "sample", *options).json
    assert {one["symbol"]: round(one["move"], 6) for one in found["assets"]} == {
        "AAPL": -0.5, "KO": 0.1, None: 0.0,
    }  # fmt: skip
    assert found["proposal"]["policy"] == "monthly"
    assert "covid_2020" in rebalancer("stress", "--list").stdout
    assert rebalancer("stress", "--episode", "covid_2020").refused("give the JSON file or the ID")
    assert rebalancer("stress", file, "--asset", "KO").refused("'KO' is not NAME=CHANGE")
    assert rebalancer("stress", file, "--class", "cars=0.1").refused("unknown asset class 'cars'")
