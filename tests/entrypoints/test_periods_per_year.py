"""Figures a year of prices that have more or fewer rows a year than shares."""

import json
from datetime import date, timedelta
from math import sqrt

import numpy as np
import pytest

MONDAY = date(2020, 6, 1)


def as_csv(columns, *, step=1, start=MONDAY):
    lines = [",".join(("date", *columns))]
    for row, closes in enumerate(zip(*columns.values(), strict=True)):
        day = start + timedelta(days=step * row)
        lines.append(
            f"{day}," + ",".join("" if close is None else f"{close!r}" for close in closes)
        )
    return "\n".join(lines) + "\n"


def swinging(rows, size=0.01, growth=1.0):
    """Closes that rise and fall by turns, and grow by a factor over all rows."""
    swings = 1.0 + size * (np.arange(rows) % 2)
    return (100.0 * swings * growth ** (np.arange(rows) / (rows - 1))).tolist()


def deviation(closes):
    closes = np.append(closes[0], closes)  # the first return is the first close's costs, 0
    return float(np.std(closes[1:] / closes[:-1] - 1, ddof=1))


@pytest.mark.parametrize(
    ("step", "rows", "periods", "name"),
    [(1, 731, 365.25, "calendar days"), (7, 106, 365.25 / 7, "weeks"), (30.4375, 25, 12, "months")],
)
def test_backtest_follows_the_rows_of_a_year(quickly, write, step, rows, periods, name):
    closes = swinging(rows, growth=1.44)
    path = write("prices.csv", as_csv({"A": closes}, step=step))
    done = quickly(
        *("backtest", "--prices", path, "--policy", "buy_and_hold", "--cost-bps", "0", "--json")
    ).json
    (found,) = done["results"]
    assert (done["periods_per_year"], done["frequency"]) == (pytest.approx(periods), name)
    assert found["volatility"] == pytest.approx(deviation(closes) * sqrt(periods))
    days = (date.fromisoformat(done["to"]) - MONDAY).days
    assert found["cagr"] == pytest.approx((closes[-1] / closes[0]) ** (365.25 / days) - 1)


def test_stated_periods_a_year_replace_those_of_the_dates(quickly, write):
    path = write("prices.csv", as_csv({"A": swinging(400)}))
    command = ("backtest", "--prices", path, "--policy", "monthly", "--json")
    usual, stated = (quickly(*command, *more).json for more in ([], ["--periods-per-year", "252"]))
    assert (stated["periods_per_year"], stated["frequency"]) == (252, "stated")
    one, other = (each["results"][0] for each in (usual, stated))
    assert other["volatility"] == pytest.approx(one["volatility"] * sqrt(252 / 365.25))
    assert other["cagr"] == one["cagr"]
    assert quickly(*command, "--periods-per-year", "0").code == 2


def test_cash_earns_its_rate_by_elapsed_time(quickly, write):
    path = write("prices.csv", as_csv({"A": swinging(731)}))
    targets = write("cash.json", "{}")
    for prices in (path, write("weeks.csv", as_csv({"A": swinging(106)}, step=7))):
        done = quickly(
            *("backtest", "--prices", prices, "--policy", "monthly", "--targets", targets),
            *("--risk-free", "0.05", "--json"),
        ).json
        days = (date.fromisoformat(done["to"]) - MONDAY).days
        assert done["results"][0]["final_value"] == pytest.approx(1.05 ** (days / 365.25))


def test_less_than_a_year_has_no_figures_a_year(quickly, write):
    path = write("prices.csv", as_csv({"A": swinging(40, growth=1.1)}))
    command = ("backtest", "--prices", path, "--policy", "monthly")
    done = quickly(*command, "--json").json
    assert done["caution_codes"] == ["short_window", "less_than_a_year"]
    (found,) = done["results"]
    for figure in ("cagr", "calmar", "turnover_per_year", "orders_per_year"):
        assert found[figure] is None
    text = quickly(*command).stdout
    assert "shorter than" not in text and "less than a year" in " ".join(text.split())
    evaluated = quickly("evaluate", "--prices", path, "--policy", "band", "--json").json
    assert "less_than_a_year" in evaluated["caution_codes"]
    panel = evaluated["panels"][0]
    assert panel["policies"][0]["judgements"][0]["cagr"] is None
    assert panel["frequency"] == "calendar days"
    assert quickly("evaluate", "--prices", path, "--policy", "band").code == 0


def test_market_and_proposal_state_the_closes_of_a_year(quickly, write):
    closes = swinging(731, size=0.02)
    path = write("prices.csv", as_csv({"COIN": closes}))
    shown = quickly("market", "show", "COIN", "--prices", path, "--json").json["summary"]
    assert shown["periods_per_year"] == 365.25
    last = np.array(closes[-366:])
    expected = float(np.std(last[1:] / last[:-1] - 1, ddof=1)) * sqrt(365.25)
    assert shown["volatility"] == pytest.approx(expected)
    holder = {"id": "p", "cash": "0", "holdings": {"COIN": "10"}, "targets": {"COIN": 1.0}}
    file = write("p.json", json.dumps(holder))
    command = ("propose", file, "--prices", path, "--policy", "band")
    proposed = quickly(*command, "--json").json
    assert proposed["periods_per_year"] == 365.25
    assert proposed["volatility_before"] == pytest.approx(expected, rel=1e-6)
    assert "expected volatility a year (of 365.25 closes)" in quickly(*command).stdout
    stated = quickly(*command, "--periods-per-year", "252", "--json").json
    assert stated["volatility_before"] == pytest.approx(expected * sqrt(252 / 365.25), rel=0.01)
    assert stated["input_hash"] != proposed["input_hash"]


def test_share_with_a_coin_has_the_volatility_of_its_own_days(quickly, write):
    rows = 800
    days = np.datetime64(MONDAY) + np.arange(rows)
    walk = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, rows)))
    share = [close if np.is_busday(day) else None for close, day in zip(walk, days, strict=True)]
    coin = (100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.03, rows)))).tolist()
    share = [None if close is None else float(close) for close in share]
    mixed = write("mixed.csv", as_csv({"SHARE": share, "COIN": coin}))
    lines = as_csv({"SHARE": share}).splitlines()
    alone = write("alone.csv", "\n".join(line for line in lines if not line.endswith(",")) + "\n")
    shown = [
        quickly("market", "show", "SHARE", "--prices", path, "--json").json
        for path in (mixed, alone)
    ]
    assert shown[0] == shown[1]
    assert shown[0]["summary"]["periods_per_year"] == 252
    holder = {"id": "p", "cash": "50", "holdings": {"SHARE": "10"}, "targets": {"SHARE": 0.9}}
    file = write("p.json", json.dumps(holder))
    command = ("propose", file, "--policy", "volatility_target", "--as-of", "2022-06-30", "--json")
    found = [quickly(*command, "--prices", path).json for path in (mixed, alone)]
    for figure in ("orders", "notes", "volatility_before", "volatility_after", "periods_per_year"):
        assert found[0][figure] == found[1][figure]
