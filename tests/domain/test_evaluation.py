import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.engine import compare_policies, simulate
from rebalancer.domain.backtest.evaluation import (
    EQUAL_EXPOSURE,
    SWEEP_BPS,
    CashReturns,
    Comparison,
    Ensemble,
    Finding,
    Judgement,
    KnowsBestRule,
    evaluate,
    reach_verdict,
    summarize,
)
from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.costs import CostModel
from tests.builders import backtest_settings, prices

HISTORY = prices(4, 500, seed=3)
SETTINGS = backtest_settings(HISTORY, first=120)
ZERO_CASH = CashReturns("0", np.zeros(len(HISTORY)))
BILLS = CashReturns("BIL", np.full(len(HISTORY), 0.0001))


def evaluate_rules(*names, cash=(ZERO_CASH,), **options):
    return evaluate([parse_rule(name) for name in names], SETTINGS, cash, **options).policies


def test_policy_is_compared_with_three_baselines_and_requested_policies():
    (evaluation,) = evaluate_rules(
        "trend:window=60", against=[parse_rule("quarterly"), parse_rule("band")]
    )
    names = [comparison.against for comparison in evaluation.strictest.comparisons]
    assert names == ["monthly", "band", EQUAL_EXPOSURE, "quarterly"]


@attrs.frozen
class Learned:
    """Stand-in for a learned ensemble; it decides as its first member, which is a rule."""

    members: tuple = ()
    chosen_rule: str | None = None
    name: str = "learned"

    @property
    def lookback(self):
        return self.members[0].lookback

    @property
    def frequency(self):
        return self.members[0].frequency

    def decide(self, book, market):
        return self.members[0].decide(book, market)

    def remarks(self, decision, book, market, row):
        return self.members[0].remarks(decision, book, market, row)


def learned(*names, **fields):
    return Learned(tuple(parse_rule(name) for name in names), **fields)


def test_best_rule_on_training_data_is_a_further_baseline():
    (evaluation,) = evaluate_rules("trend:window=60", chosen_rule="inverse_volatility")
    names = [comparison.against for comparison in evaluation.strictest.comparisons]
    best = "inverse_volatility (best on training data)"
    assert names == ["monthly", "band", EQUAL_EXPOSURE, best]
    assert evaluation.chosen_rule == "inverse_volatility"
    comparison = evaluation.strictest.best_rule
    assert comparison is evaluation.strictest.comparisons[3] and comparison.chosen
    (result,) = compare_policies([parse_rule("inverse_volatility")], SETTINGS).results
    assert comparison.performance == result.performance
    assert comparison.values == pytest.approx(result.path.values)
    (without,) = evaluate_rules("trend:window=60")
    assert (without.chosen_rule, without.strictest.best_rule) == (None, None)


def test_learned_policy_uses_its_own_best_rule_unless_another_is_given():
    own = learned("trend:window=60", chosen_rule="quarterly")
    assert isinstance(own, KnowsBestRule) and not isinstance(parse_rule("band"), KnowsBestRule)
    found = evaluate([own, parse_rule("weekly")], SETTINGS, [ZERO_CASH]).policies
    assert [evaluation.chosen_rule for evaluation in found] == ["quarterly", None]
    assert found[0].strictest.best_rule.against == "quarterly (best on training data)"
    (given,) = evaluate([own], SETTINGS, [ZERO_CASH], chosen_rule="band").policies
    assert given.chosen_rule == "band"
    (none,) = evaluate([learned("weekly")], SETTINGS, [ZERO_CASH]).policies
    assert none.chosen_rule is None


def test_each_member_of_an_ensemble_is_evaluated_alone():
    names = ("trend:window=60", "weekly", "volatility_target")
    ensemble = learned(*names)
    assert isinstance(ensemble, Ensemble) and not isinstance(parse_rule("band"), Ensemble)
    (evaluation,) = evaluate([ensemble], SETTINGS, [ZERO_CASH, BILLS]).policies
    for judgement, cash in zip(evaluation.judgements, (ZERO_CASH, BILLS), strict=True):
        under = attrs.evolve(SETTINGS, risk_free=cash.returns)
        monthly, *results = compare_policies(
            [parse_rule(name) for name in ("monthly", *names)], under
        ).results
        alone = [result.performance.sharpe - monthly.performance.sharpe for result in results]
        assert judgement.seeds == pytest.approx(alone)
    assert evaluate_rules("weekly")[0].strictest.seeds == ()


def test_judgement_holds_the_paths_behind_its_figures():
    (evaluation,) = evaluate_rules("trend:window=60", cash=(ZERO_CASH, BILLS))
    dates = HISTORY.dates[SETTINGS.first :]
    for judgement in evaluation.judgements:
        assert judgement.values[-1] == pytest.approx(judgement.performance.final_value)
        for comparison in judgement.comparisons:
            assert comparison.values[-1] == pytest.approx(comparison.performance.final_value)
            pair = judgement.pair(comparison)
            assert (pair.dates[0], pair.dates[-1]) == (dates[0], dates[-1])
            year = np.sqrt(252)
            mine, other = (
                year * each.mean() / each.std(ddof=1) for each in (pair.returns, pair.against)
            )
            assert mine == pytest.approx(judgement.performance.sharpe)
            assert other == pytest.approx(comparison.performance.sharpe)


def test_figures_are_those_of_a_backtest():
    (evaluation,) = evaluate_rules("trend:window=60")
    results = compare_policies(
        [parse_rule("trend:window=60"), parse_rule("band")], SETTINGS
    ).results
    assert evaluation.strictest.performance == results[0].performance
    assert evaluation.strictest.baseline.gain == results[0].gain
    assert evaluation.strictest.comparisons[1].performance == results[1].performance


def test_one_baseline_has_the_exposure_of_the_policy():
    (evaluation,) = evaluate_rules("trend:window=60")
    own = evaluation.strictest.performance.average_exposure
    baseline = evaluation.strictest.equal_exposure.performance
    assert own < 0.8
    assert baseline.average_exposure == pytest.approx(own, abs=0.01)
    assert baseline.max_drawdown < evaluation.strictest.baseline.performance.max_drawdown


def test_monthly_rule_has_no_gain_over_itself():
    (evaluation,) = evaluate_rules("monthly")
    comparison = evaluation.strictest.baseline
    assert comparison.gain == ConfidenceInterval(0, 0, 0)
    assert (comparison.probability, comparison.probabilistic, comparison.deflated) == (
        0.5,
        0.5,
        0.5,
    )
    assert evaluation.strictest.equal_exposure.gain == ConfidenceInterval(0, 0, 0)
    assert evaluation.strictest.drawdown_beyond_exposure == pytest.approx(0)
    assert {part.gain for part in evaluation.strictest.subperiods} == {0.0}
    assert {charged.gain for charged in evaluation.strictest.sweep} == {0.0}
    assert evaluation.strictest.break_even_bps is None
    assert evaluation.verdict.finding is Finding.NONE
    assert "monthly itself" in evaluation.verdict.sentence


def test_subperiods_cover_the_window_and_hold_their_gains():
    (evaluation,) = evaluate_rules("trend:window=60")
    parts = evaluation.strictest.subperiods
    dates = [str(day) for day in HISTORY.dates[SETTINGS.first :]]
    assert (parts[0].first, parts[-1].last) == (dates[0], dates[-1])
    paths = [simulate(parse_rule(name), SETTINGS) for name in ("trend:window=60", "monthly")]
    middle = slice(dates.index(parts[1].first), dates.index(parts[1].last) + 1)
    mine, other = (metrics.sharpe(SETTINGS.window.returns(p.values)[middle]) for p in paths)
    assert parts[1].gain == pytest.approx(mine - other)


def test_both_policies_pay_each_cost_of_the_sweep():
    (evaluation,) = evaluate_rules("weekly")
    sweep = evaluation.strictest.sweep
    assert [charged.bps for charged in sweep] == list(SWEEP_BPS)
    dear = attrs.evolve(SETTINGS, costs=CostModel.flat(50))
    results = compare_policies([parse_rule("weekly"), parse_rule("monthly")], dear).results
    expected = results[0].performance.sharpe - results[1].performance.sharpe
    assert sweep[-1].gain == pytest.approx(expected)
    assert sweep[-1].gain < sweep[0].gain  # weekly trades more


def test_each_return_of_cash_has_its_judgement():
    (evaluation,) = evaluate_rules("trend:window=60", cash=(ZERO_CASH, BILLS))
    without, above = evaluation.judgements
    assert (without.cash, above.cash) == ("0", "BIL")
    assert evaluation.strictest is above
    assert without.performance.final_value < above.performance.final_value
    assert without.performance.sharpe != above.performance.sharpe


def test_trials_default_to_the_number_of_policies():
    few, many = (
        evaluate_rules("trend:window=60", "weekly", trials=trials)[0] for trials in (None, 50)
    )
    assert few.strictest.baseline.probabilistic == many.strictest.baseline.probabilistic
    assert few.strictest.baseline.deflated > many.strictest.baseline.deflated
    with pytest.raises(InvalidRequest) as error:
        evaluate_rules("trend:window=60", "weekly", trials=1)
    assert (error.value.field, error.value.code) == ("trials", "too_few_trials")


def test_progress_reports_each_judgement():
    reported = []
    evaluate_rules("weekly", "band", cash=(ZERO_CASH, BILLS), progress=reported.append)
    assert reported == ["weekly", "weekly", "band", "band"]


def test_short_window_is_inconclusive():
    short = attrs.evolve(SETTINGS, first=len(HISTORY) - 40)
    (evaluation,) = evaluate([parse_rule("weekly")], short, [ZERO_CASH]).policies
    assert evaluation.verdict.finding is Finding.INCONCLUSIVE
    assert "too short" in evaluation.verdict.sentence
    comparison = evaluation.strictest.baseline
    assert (comparison.gain, comparison.probability, comparison.deflated) == (None, None, None)
    assert evaluation.strictest.subperiods == ()


def test_targets_of_cash_alone_are_inconclusive():
    cash = attrs.evolve(SETTINGS, targets=np.zeros(4))
    (evaluation,) = evaluate([parse_rule("weekly")], cash, [ZERO_CASH]).policies
    assert evaluation.verdict.finding is Finding.INCONCLUSIVE
    assert evaluation.strictest.drawdown_beyond_exposure is None


def test_targets_are_never_scaled_above_one():
    half = attrs.evolve(SETTINGS, targets=np.full(4, 0.125))
    (evaluation,) = evaluate([parse_rule("buy_and_hold")], half, [ZERO_CASH]).policies
    baseline = evaluation.strictest.equal_exposure.performance
    assert baseline.average_exposure == pytest.approx(
        evaluation.strictest.performance.average_exposure, abs=0.01
    )


FIGURES = evaluate_rules("weekly")[0].strictest.performance


def judgement(cash, estimate, reach, deflated, *, band=0.99, beyond=None):
    def comparison(name, gain, sure):
        return Comparison(name, FIGURES, gain, 0.9, 0.9, sure)

    gain = ConfidenceInterval(estimate, estimate - reach, estimate + reach)
    comparisons = (comparison("monthly", gain, deflated), comparison("band", gain, band))
    return Judgement(cash, FIGURES, comparisons, beyond, (), (), None)


@pytest.mark.parametrize(
    ("judgements", "finding", "fragments"),
    [
        (
            [judgement("0", 0.4, 0.1, 0.99)],
            "gain",
            ["evidence of a gain over monthly", "0.40 higher"],
        ),
        (
            [judgement("0", 0.4, 0.1, 0.99, band=0.5)],
            "gain",
            ["after 3 trials is 0.99", "no evidence of a gain over band"],
        ),
        (
            [judgement("0", 0.1, 0.2, 0.7)],
            "none",
            ["no evidence", "chance alone", "-0.10 to +0.30"],
        ),
        ([judgement("0", 0.3, 0.2, 0.7)], "none", ["after 3 trials is 0.70, below 0.95"]),
        ([judgement("0", -0.1, 0.2, 0.2)], "none", ["0.10 lower", "not a gain"]),
        ([judgement("0", -0.3, 0.2, 0.0)], "loss", ["evidence of a loss", "0.30 lower"]),
        (
            [judgement("0", 0.4, 0.1, 0.99), judgement("BIL", 0.1, 0.2, 0.7)],
            "none",
            ["no evidence", "with cash at 0 vanishes in excess of BIL"],
        ),
        (
            [judgement("0", 0.1, 0.2, 0.7), judgement("BIL", 0.4, 0.1, 0.99)],
            "none",
            ["in excess of BIL, but the evidence fails with cash at 0"],
        ),
        (
            [judgement("0", 0.4, 0.1, 0.99, beyond=-0.25)],
            "gain",
            ["its drawdown is 25% shallower than its exposure explains"],
        ),
    ],
)
def test_verdicts(judgements, finding, fragments):
    verdict = reach_verdict("weekly", judgements, trials=3)
    assert verdict.finding == finding
    assert verdict.sentence.endswith(".") and "\n" not in verdict.sentence
    for fragment in fragments:
        assert fragment in verdict.sentence


def test_summary_counts_findings_over_panels():
    (evaluation,) = evaluate_rules("weekly")
    sentence = summarize("weekly", [evaluation, evaluation])
    assert "gain over monthly on 0 of 2 panels" in sentence
    assert (
        f"median difference of Sharpe ratios {evaluation.strictest.baseline.gain.estimate:+.2f}"
        in (sentence)
    )
    assert "monthly itself" in summarize("monthly", [evaluation])


def test_skill_is_detected():
    # Two assets; one of them grows, the other falls: a rule that drops what falls has skill.
    steps = np.random.default_rng(1).normal([0.002, -0.002], 0.008, (900, 2))
    history = prices(2, 900)
    history = type(history).of(history.symbols, history.dates, 100 * np.exp(steps.cumsum(axis=0)))
    settings = backtest_settings(history, first=250)
    nothing = CashReturns("0", np.zeros(len(history)))
    (evaluation,) = evaluate([parse_rule("trend")], settings, [nothing], trials=5).policies
    assert evaluation.verdict.finding is Finding.GAIN
    assert evaluation.strictest.baseline.probability > 0.99
