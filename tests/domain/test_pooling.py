from functools import cache

import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest.evaluation import CashReturns, Finding, evaluate
from rebalancer.domain.backtest.evidence import pooled_gain
from rebalancer.domain.backtest.findings import NO_RULE, conclude
from rebalancer.domain.backtest.pooling import pool
from rebalancer.domain.backtest.selection import choose_best_rule
from rebalancer.domain.backtest.thresholds import PromotionThresholds
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.rules import parse_rule
from tests.builders import backtest_settings, prices


def an_evaluation(*names, history, bills=False, **options):
    cash = [CashReturns("0", np.zeros(len(history)))]
    if bills:
        cash.append(CashReturns("BIL", np.full(len(history), 0.0002)))
    policies = [parse_rule(name) for name in names]
    return evaluate(policies, backtest_settings(history, first=60), cash, **options)


NAMES = ("trend:window=40", "weekly")


@cache
def two_panels():
    first, second = prices(4, 500, seed=1), prices(3, 400, seed=2)
    return [
        an_evaluation(*NAMES, history=first, bills=True, chosen_rule="band", trials=3),
        an_evaluation(*NAMES, history=second, chosen_rule="band", trials=3),
    ]


def test_each_comparison_is_pooled_over_panels():
    for at, pooled in enumerate(pool(two_panels(), seed=4)):
        assert pooled.policy == NAMES[at]
        for cash, comparisons in ((0, pooled.at_zero), (-1, pooled.strictest)):
            judgements = [panel.policies[at].judgements[cash] for panel in two_panels()]
            for place, comparison in enumerate(comparisons):
                pairs = [
                    judgement.pair(judgement.comparisons[place])
                    for judgement, panel in zip(judgements, two_panels(), strict=True)
                ]
                expected = pooled_gain(pairs, seed=4, trials=3)
                assert comparison.against == judgements[0].comparisons[place].against
                assert (comparison.gain, comparison.median) == (expected.interval, expected.median)
                assert comparison.probability == expected.probability
                assert comparison.deflated == expected.deflated
                assert comparison.panels == 2
        assert [each.against for each in pooled.best_rule] == ["band (best on training data)"] * 2


def test_strictest_uses_returns_of_cash_where_they_are_known():
    (pooled, _) = pool(two_panels())
    gains = [panel.policies[0].strictest.baseline.gain.estimate for panel in two_panels()]
    assert pooled.strictest[0].gain.estimate == pytest.approx(np.mean(gains))
    assert pooled.strictest[0].gain.estimate != pooled.at_zero[0].gain.estimate
    (plain, _) = pool(two_panels()[1:])
    assert plain.strictest is plain.at_zero


def test_pool_of_one_panel_equals_the_panel():
    (pooled, _) = pool(two_panels()[1:])
    comparison = two_panels()[1].policies[0].strictest.baseline
    assert pooled.strictest[0].gain.low == pytest.approx(comparison.gain.low, abs=1e-9)
    assert pooled.strictest[0].probability == comparison.probability


def test_short_panels_are_left_out():
    short = an_evaluation(*NAMES, history=prices(3, 200, seed=3), chosen_rule="band", trials=3)
    (pooled, _) = pool([*two_panels(), short])
    assert {comparison.panels for comparison in pooled.at_zero} == {2}
    (inconclusive, _) = pool([short])
    assert inconclusive.verdict.finding is Finding.INCONCLUSIVE
    assert (inconclusive.at_zero[0].panels, inconclusive.at_zero[0].gain) == (0, None)


def skilful(seed):
    """Two assets; one grows, the other falls: a rule that drops what falls has skill."""
    steps = np.random.default_rng(seed).normal([0.002, -0.002], 0.008, (700, 2))
    dates = prices(2, 700).dates
    return PriceHistory.of(("A", "B"), dates, 100 * np.exp(steps.cumsum(axis=0)))


def test_pooled_verdicts():
    good = [an_evaluation("trend:window=40", history=skilful(seed), trials=5) for seed in (1, 2)]
    (pooled,) = pool(good)
    assert pooled.verdict.finding is Finding.GAIN
    assert "over 2 panels its Sharpe ratio is on average" in pooled.verdict.sentence
    assert "after 5 trials" in pooled.verdict.sentence
    bad = [attrs.evolve(panel, policies=tuple(map(_swap, panel.policies))) for panel in good]
    (lost,) = pool(bad)
    assert lost.verdict.finding is Finding.LOSS
    assert "lower" in lost.verdict.sentence
    (_, weekly) = pool(two_panels())
    assert weekly.verdict.finding is Finding.NONE
    (monthly,) = pool([an_evaluation("monthly", history=prices(2, 400))])
    assert monthly.verdict.sentence.startswith("this is monthly itself")


def _swap(evaluation):
    """Swap the policy and the monthly rule."""
    judgement = evaluation.strictest
    comparison = attrs.evolve(judgement.baseline, values=judgement.values)
    comparisons = (comparison, *judgement.comparisons[1:])
    turned = attrs.evolve(judgement, values=judgement.baseline.values, comparisons=comparisons)
    return attrs.evolve(evaluation, judgements=(turned,))


def test_findings_name_the_chosen_rule():
    panels = dict(zip("ab", two_panels(), strict=True))
    choice = choose_best_rule([backtest_settings(prices(3, 120), first=60)], ["band", "weekly"])
    found = conclude(panels, PromotionThresholds(), choice=choice, counted="Trials: 3.")
    assert found.trials == 3
    assert f"(1 panel, {choice.first} to {choice.last}): {choice.rule}, with a" in found.chosen
    own = conclude(panels, PromotionThresholds())
    assert "as stored with the policy: band (trend:window=40), band (weekly)." in own.chosen
    none = conclude({"a": an_evaluation("weekly", history=prices(3, 400))}, PromotionThresholds())
    assert none.chosen == NO_RULE
    assert none.summaries == (("weekly", none.panels["a"].policies[0].verdict.sentence),)
    assert "of 2 panels" in found.summaries[0][1]
