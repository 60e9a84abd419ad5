import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.engine import compare_policies
from rebalancer.domain.backtest.selection import RULES, choose_best_rule
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import parse_rule
from tests.builders import backtest_settings, prices


def settings(seed, *, assets=4, rows=400, first=0):
    return backtest_settings(prices(assets, rows, seed=seed), first=first)


NAMES = ("monthly", "band", "trend", "inverse_volatility")


def gains(panel):
    monthly, *others = compare_policies([parse_rule(name) for name in NAMES], panel).results
    base = monthly.performance.sharpe
    return [0.0, *(result.performance.sharpe - base for result in others)]


def test_every_rebalancing_rule_is_a_candidate():
    assert "buy_and_hold" not in RULES
    assert {"monthly", "band", "trend", "risk_parity"} <= set(RULES)
    choice = choose_best_rule([settings(1, rows=60)])
    assert {name for name, _ in choice.gains} == set(RULES)


def test_the_highest_median_gain_is_chosen():
    panels = [settings(seed, first=10) for seed in range(3)]
    by_hand = dict(zip(NAMES, np.median([gains(panel) for panel in panels], axis=0), strict=True))
    choice = choose_best_rule(panels, NAMES)
    assert dict(choice.gains) == pytest.approx(by_hand)
    assert choice.rule == max(by_hand, key=by_hand.get)
    assert [gain for _, gain in choice.gains] == sorted(by_hand.values(), reverse=True)
    assert choice.panels == 3
    history = panels[0].prices
    assert (choice.first, choice.last) == (str(history.dates[10]), str(history.dates[-1]))


def test_ties_go_to_the_first_name():
    # Prices that never move leave every rule with a Sharpe ratio of 0.
    history = prices(2, 60, volatility=0.0, drift=0.0)
    still = backtest_settings(history, bps=0)
    assert choose_best_rule([still], ["trend", "monthly", "band"]).rule == "band"


def test_cash_is_subtracted():
    panel = settings(2)
    rich = attrs.evolve(panel, risk_free=np.full(400, 0.0004))
    trend = [dict(choose_best_rule([each], NAMES).gains)["trend"] for each in (panel, rich)]
    assert trend[0] != pytest.approx(trend[1])


def test_choice_reports_progress_and_needs_panels_and_rules():
    reported = []
    choose_best_rule([settings(1), settings(2)], ["band", "monthly"], progress=reported.append)
    assert reported == ["band", "monthly"] * 2
    with pytest.raises(InvalidRequest) as error:
        choose_best_rule([])
    assert error.value.code == "no_rule_to_choose"
    with pytest.raises(InvalidRequest) as error:
        choose_best_rule([settings(1)], ["magic"])
    assert error.value.code == "unknown_policy"
