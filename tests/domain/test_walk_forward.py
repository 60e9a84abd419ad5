"""Walk-forward: folds, pooled figures, and what a policy needs in order to serve."""

from datetime import date
from functools import cache

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.evaluation import CashReturns, evaluate
from rebalancer.domain.backtest.serving import judge_walk_forward
from rebalancer.domain.backtest.thresholds import PromotionThresholds, ServingThresholds
from rebalancer.domain.backtest.walk_forward import (
    FoldPanel,
    Terms,
    compare,
    effective_panels,
    find_medians,
    leave_out_crash,
    pairs_with,
    plan_folds,
    worst_days,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.rules import parse_rule
from tests.builders import backtest_settings, prices

DATES = (date(2011, 12, 31), date(2013, 6, 30))
FOLDS = plan_folds(DATES, date(2014, 12, 31))
TERMS = Terms(margin=0.1, trials=5, seed=0)


def _window(seed, fold):
    made = prices(3, 330, seed=seed)
    days = np.busday_offset(np.datetime64(fold.first), np.arange(-70, 260), roll="forward")
    return PriceHistory.of(made.symbols, days, made.closes)


@cache
def results(rule="band", *, seeds=(1, 2)):
    found = []
    for place, fold in enumerate(FOLDS):
        for seed in seeds:
            history = _window(10 * place + seed, fold)
            cash = [CashReturns("0", np.zeros(len(history)))]
            panel = evaluate(
                [parse_rule(rule)],
                backtest_settings(history, first=70),
                cash,
                chosen_rule="monthly",
                sweep=False,
            )
            found.append(FoldPanel(fold, f"panel {seed}", panel.policies[0]))
    return tuple(found)


def judged(found, *, trials=5, **thresholds):
    limits = ServingThresholds(**thresholds)
    return judge_walk_forward("band", found, limits, PromotionThresholds(), trials=trials)


def test_folds_begin_after_the_embargo_and_end_at_the_next_date():
    assert [(fold.known_until, fold.first, fold.last) for fold in FOLDS] == [
        (date(2011, 12, 31), date(2012, 1, 31), date(2013, 6, 30)),
        (date(2013, 6, 30), date(2013, 7, 31), date(2014, 12, 31)),
    ]


@pytest.mark.parametrize("dates", [(), DATES[::-1], (DATES[0], DATES[0]), (date(2014, 12, 15),)])
def test_folds_without_days_are_refused(dates):
    with pytest.raises(InvalidRequest) as refused:
        plan_folds(dates, date(2014, 12, 31))
    assert refused.value.field == "walk_forward"


def test_medians_are_those_of_the_single_evaluations():
    found = find_medians(results())
    judgements = [each.judgement for each in results()]
    own = [each.performance for each in judgements]
    base = [each.baseline.performance for each in judgements]
    gains = [a.sharpe - b.sharpe for a, b in zip(own, base, strict=True)]
    orders = [a.orders / b.orders for a, b in zip(own, base, strict=True)]
    turned = [a.turnover / b.turnover for a, b in zip(own, base, strict=True)]
    assert found.sharpe == pytest.approx(np.median(gains))
    assert found.orders == pytest.approx(np.median(orders))
    assert found.turnover == pytest.approx(np.median(turned))
    assert found.drawdown == pytest.approx(
        np.median([each.drawdown_beyond_exposure for each in judgements])
    )


def test_pooled_difference_is_the_mean_over_folds_and_panels():
    found = compare(pairs_with(results(), "baseline"), TERMS)
    assert found is not None and found.count == 4
    gains = [each.judgement.baseline.gain.estimate for each in results()]
    assert found.gain.estimate == pytest.approx(np.mean(gains))
    assert found.not_inferior >= found.probability >= found.deflated


def test_a_policy_is_never_inferior_to_itself():
    found = compare(pairs_with(results("monthly"), "best_rule"), TERMS)
    assert found is not None
    assert (found.gain.estimate, found.not_inferior) == (0.0, 1.0)


def test_a_wider_margin_makes_it_easier():
    pairs = pairs_with(results(), "baseline")
    chances = []
    for margin in (0.0, 0.1, 0.5):
        found = compare(pairs, attrs.evolve(TERMS, margin=margin))
        assert found is not None
        chances.append(found.not_inferior)
    assert chances == sorted(chances)
    found = compare(pairs, attrs.evolve(TERMS, margin=0.0))
    assert found is not None and found.not_inferior == found.probability


def test_same_panel_twice_is_worth_one_panel():
    single = [each for each in results() if each.panel == "panel 1"]
    double = [*single, *(attrs.evolve(each, panel="copy") for each in single)]
    assert effective_panels(single) == 1.0
    assert effective_panels(double) == pytest.approx(1.0)
    assert 1.9 < effective_panels(results()) <= 2.0


def test_worst_days_are_the_steepest_part_of_the_largest_drawdown():
    days = np.arange("2020-01-01", "2020-01-09", dtype="datetime64[D]")
    returns = np.array([0.05, -0.01, -0.10, -0.20, -0.01, 0.50, -0.05, 0.01])
    assert worst_days(days, returns, 2).tolist() == days[2:4].tolist()
    assert worst_days(days, returns).tolist() == days[1:5].tolist()
    assert len(worst_days(days, np.zeros(8))) == 0


def test_days_of_the_crash_are_left_out():
    whole = compare(pairs_with(results(), "baseline"), TERMS)
    rest = leave_out_crash(results(), TERMS)
    assert whole is not None and rest.comparison is not None
    assert rest.comparison.gain != whole.gain
    assert rest.drawdown != find_medians(results()).drawdown


def test_criteria_name_the_reasons_of_a_failure():
    found = judged(results(), drawdown=1.0, drawdown_probability=0.5)
    names = [each.name for each in found.criteria]
    assert names == [
        "sharpe_monthly",
        "sharpe_best_rule",
        "drawdown",
        "drawdown_probability",
        "orders",
        "turnover",
        "panels",
    ]
    strict = judged(results(), drawdown=-0.9)
    failed = {each.name for each in strict.criteria if not each.passed}
    assert "drawdown" in failed and not strict.passed
    assert any(line.startswith("FAIL  drawdown beyond") for line in strict.lines)
    assert found.lines[-1].startswith("Higher Sharpe ratio than the best rule on past data:")


@pytest.mark.parametrize(("name", "limit"), [("orders", 0.01), ("turnover", 0.01)])
def test_too_much_trading_fails(name, limit):
    found = judged(results(), **{name: limit})
    assert name in {each.name for each in found.criteria if not each.passed}


def test_more_trials_deflate_a_proven_gain_and_nothing_else():
    few, many = judged(results(), trials=1), judged(results(), trials=10_000)
    assert few.whole.best_rule is not None and many.whole.best_rule is not None
    assert few.whole.best_rule.deflated > many.whole.best_rule.deflated
    assert [each.figure for each in few.criteria] == [each.figure for each in many.criteria]


def test_each_fold_is_summarized_alone():
    found = judged(results())
    assert [fold for fold, _ in found.by_fold] == list(FOLDS)
    last = [each for each in results() if each.fold == FOLDS[-1]]
    assert found.by_fold[-1][1].medians == find_medians(last)


def test_order_of_the_evaluations_changes_nothing():
    one, other = judged(results()), judged(results()[::-1])
    assert one.lines == other.lines


def test_no_evaluation_is_refused():
    with pytest.raises(InvalidRequest) as refused:
        judged([])
    assert refused.value.code == "no_panel_in_folds"


@pytest.mark.parametrize(
    ("name", "value"), [("margin", -0.1), ("probability", 0.4), ("orders", -1.0)]
)
def test_thresholds_out_of_range_are_refused(name, value):
    with pytest.raises(InvalidRequest) as refused:
        ServingThresholds(**{name: value})
    assert refused.value.field == name
