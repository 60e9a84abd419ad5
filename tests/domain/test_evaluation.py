import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest import metrics
from rebalancer.domain.backtest.engine import BacktestSettings, compare_policies, simulate
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
    summary,
)
from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import policy
from rebalancer.domain.portfolio.costs import CostModel
from tests.builders import prices

HISTORY = prices(4, 500, seed=3)
CONDITIONS = BacktestSettings(
    prices=HISTORY,
    first=120,
    targets=np.full(4, 0.25),
    costs=CostModel.flat(10),
    risk_free=np.zeros(len(HISTORY)),
)
NOTHING = CashReturns("0", np.zeros(len(HISTORY)))
BILLS = CashReturns("BIL", np.full(len(HISTORY), 0.0001))


def judge(*names, cash=(NOTHING,), **options):
    return evaluate([policy(name) for name in names], CONDITIONS, cash, **options).policies


def test_the_three_sceptics_stand_beside_every_policy():
    (evaluation,) = judge("trend:window=60", against=[policy("quarterly"), policy("band")])
    names = [comparison.against for comparison in evaluation.strictest.comparisons]
    assert names == ["monthly", "band", EQUAL_EXPOSURE, "quarterly"]


@attrs.frozen
class Learned:
    """A policy that decides as its first member does, made of rules instead of networks."""

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
    return Learned(tuple(policy(name) for name in names), **fields)


def test_the_best_rule_on_training_data_is_one_more_sceptic():
    (evaluation,) = judge("trend:window=60", chosen_rule="inverse_volatility")
    names = [comparison.against for comparison in evaluation.strictest.comparisons]
    best = "inverse_volatility (best on training data)"
    assert names == ["monthly", "band", EQUAL_EXPOSURE, best]
    assert evaluation.chosen_rule == "inverse_volatility"
    comparison = evaluation.strictest.best_rule
    assert comparison is evaluation.strictest.comparisons[3] and comparison.chosen
    (result,) = compare_policies([policy("inverse_volatility")], CONDITIONS).results
    assert comparison.performance == result.performance
    assert comparison.values == pytest.approx(result.values)
    (without,) = judge("trend:window=60")
    assert (without.chosen_rule, without.strictest.best_rule) == (None, None)


def test_a_learned_policy_brings_its_own_choice_along_unless_another_is_given():
    own = learned("trend:window=60", chosen_rule="quarterly")
    assert isinstance(own, KnowsBestRule) and not isinstance(policy("band"), KnowsBestRule)
    found = evaluate([own, policy("weekly")], CONDITIONS, [NOTHING]).policies
    assert [evaluation.chosen_rule for evaluation in found] == ["quarterly", None]
    assert found[0].strictest.best_rule.against == "quarterly (best on training data)"
    (given,) = evaluate([own], CONDITIONS, [NOTHING], chosen_rule="band").policies
    assert given.chosen_rule == "band"
    (none,) = evaluate([learned("weekly")], CONDITIONS, [NOTHING]).policies
    assert none.chosen_rule is None


def test_each_seed_of_an_ensemble_is_judged_alone():
    names = ("trend:window=60", "weekly", "volatility_target")
    ensemble = learned(*names)
    assert isinstance(ensemble, Ensemble) and not isinstance(policy("band"), Ensemble)
    (evaluation,) = evaluate([ensemble], CONDITIONS, [NOTHING, BILLS]).policies
    for judgement, cash in zip(evaluation.judgements, (NOTHING, BILLS), strict=True):
        under = attrs.evolve(CONDITIONS, risk_free=cash.returns)
        monthly, *results = compare_policies(
            [policy(name) for name in ("monthly", *names)], under
        ).results
        alone = [result.performance.sharpe - monthly.performance.sharpe for result in results]
        assert judgement.seeds == pytest.approx(alone)
    assert judge("weekly")[0].strictest.seeds == ()


def test_a_judgement_keeps_the_paths_that_its_figures_follow_from():
    (evaluation,) = judge("trend:window=60", cash=(NOTHING, BILLS))
    dates = HISTORY.dates[CONDITIONS.first :]
    for judgement in evaluation.judgements:
        assert judgement.values[-1] == pytest.approx(judgement.performance.final_value)
        for comparison in judgement.comparisons:
            assert comparison.values[-1] == pytest.approx(comparison.performance.final_value)
            pair = judgement.pair(comparison, dates)
            assert (pair.dates[0], pair.dates[-1]) == (dates[1], dates[-1])
            year = np.sqrt(252)
            mine, other = (
                year * each.mean() / each.std(ddof=1) for each in (pair.returns, pair.against)
            )
            assert mine == pytest.approx(judgement.performance.sharpe)
            assert other == pytest.approx(comparison.performance.sharpe)


def test_figures_are_those_of_a_backtest():
    (evaluation,) = judge("trend:window=60")
    results = compare_policies([policy("trend:window=60"), policy("band")], CONDITIONS).results
    assert evaluation.strictest.performance == results[0].performance
    assert evaluation.strictest.baseline.gain == results[0].gain
    assert evaluation.strictest.comparisons[1].performance == results[1].performance


def test_one_sceptic_is_as_exposed_as_the_policy():
    (evaluation,) = judge("trend:window=60")
    own = evaluation.strictest.performance.average_exposure
    sceptic = evaluation.strictest.comparisons[2].performance
    assert own < 0.8
    assert sceptic.average_exposure == pytest.approx(own, abs=0.01)
    assert sceptic.max_drawdown < evaluation.strictest.baseline.performance.max_drawdown


def test_the_baseline_against_itself_differs_by_nothing():
    (evaluation,) = judge("monthly")
    comparison = evaluation.strictest.baseline
    assert comparison.gain == ConfidenceInterval(0, 0, 0)
    assert (comparison.probability, comparison.probabilistic, comparison.deflated) == (
        0.5,
        0.5,
        0.5,
    )
    assert evaluation.strictest.comparisons[2].gain == ConfidenceInterval(0, 0, 0)
    assert evaluation.strictest.drawdown_beyond_exposure == pytest.approx(0)
    assert {part.gain for part in evaluation.strictest.subperiods} == {0.0}
    assert {charged.gain for charged in evaluation.strictest.sweep} == {0.0}
    assert evaluation.strictest.break_even_bps is None
    assert evaluation.verdict.finding is Finding.NONE
    assert "monthly itself" in evaluation.verdict.sentence


def test_thirds_cover_the_window_and_hold_the_gain_of_each():
    (evaluation,) = judge("trend:window=60")
    parts = evaluation.strictest.subperiods
    dates = [str(day) for day in HISTORY.dates[CONDITIONS.first + 1 :]]
    assert (parts[0].first, parts[-1].last) == (dates[0], dates[-1])
    paths = [simulate(policy(name), CONDITIONS) for name in ("trend:window=60", "monthly")]
    middle = slice(dates.index(parts[1].first), dates.index(parts[1].last) + 1)
    mine, other = (metrics.sharpe(np.diff(p.values)[middle] / p.values[:-1][middle]) for p in paths)
    assert parts[1].gain == pytest.approx(mine - other)


def test_each_cost_of_the_sweep_is_paid_by_both():
    (evaluation,) = judge("weekly")
    sweep = evaluation.strictest.sweep
    assert [charged.bps for charged in sweep] == list(SWEEP_BPS)
    dear = attrs.evolve(CONDITIONS, costs=CostModel.flat(50))
    results = compare_policies([policy("weekly"), policy("monthly")], dear).results
    expected = results[0].performance.sharpe - results[1].performance.sharpe
    assert sweep[-1].gain == pytest.approx(expected)
    assert sweep[-1].gain < sweep[0].gain  # weekly trades more


def test_cash_is_judged_at_each_of_its_returns():
    (evaluation,) = judge("trend:window=60", cash=(NOTHING, BILLS))
    without, above = evaluation.judgements
    assert (without.cash, above.cash) == ("0", "BIL")
    assert evaluation.strictest is above
    assert without.performance.final_value < above.performance.final_value
    assert without.performance.sharpe != above.performance.sharpe


def test_luck_has_as_many_tries_as_policies_unless_there_were_more():
    few, many = (judge("trend:window=60", "weekly", trials=trials)[0] for trials in (None, 50))
    assert few.strictest.baseline.probabilistic == many.strictest.baseline.probabilistic
    assert few.strictest.baseline.deflated > many.strictest.baseline.deflated
    with pytest.raises(InvalidRequest, match="trials: 2 policies"):
        judge("trend:window=60", "weekly", trials=1)


def test_progress_is_told_of_each_judgement():
    told = []
    judge("weekly", "band", cash=(NOTHING, BILLS), progress=told.append)
    assert told == ["weekly", "weekly", "band", "band"]


def test_too_short_a_window_tells_nothing_and_says_so():
    short = attrs.evolve(CONDITIONS, first=len(HISTORY) - 40)
    (evaluation,) = evaluate([policy("weekly")], short, [NOTHING]).policies
    assert evaluation.verdict.finding is Finding.INCONCLUSIVE
    assert "too short" in evaluation.verdict.sentence
    comparison = evaluation.strictest.baseline
    assert (comparison.gain, comparison.probability, comparison.deflated) == (None, None, None)
    assert evaluation.strictest.subperiods == ()


def test_a_portfolio_of_cash_alone_is_no_error():
    cash = attrs.evolve(CONDITIONS, targets=np.zeros(4))
    (evaluation,) = evaluate([policy("weekly")], cash, [NOTHING]).policies
    assert evaluation.verdict.finding is Finding.INCONCLUSIVE
    assert evaluation.strictest.drawdown_beyond_exposure is None


def test_targets_below_1_are_never_scaled_above_it():
    half = attrs.evolve(CONDITIONS, targets=np.full(4, 0.125))
    (evaluation,) = evaluate([policy("buy_and_hold")], half, [NOTHING]).policies
    sceptic = evaluation.strictest.comparisons[2].performance
    assert sceptic.average_exposure == pytest.approx(
        evaluation.strictest.performance.average_exposure, abs=0.01
    )


FIGURES = judge("weekly")[0].strictest.performance


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
            ["evidence of a gain on monthly", "0.40 higher"],
        ),
        (
            [judgement("0", 0.4, 0.1, 0.99, band=0.5)],
            "gain",
            ["after 3 trials is 0.99", "no evidence of one on band"],
        ),
        (
            [judgement("0", 0.1, 0.2, 0.7)],
            "none",
            ["no evidence", "chance alone", "-0.10 to +0.30"],
        ),
        ([judgement("0", 0.3, 0.2, 0.7)], "none", ["after 3 trials is 0.70, short of 0.95"]),
        ([judgement("0", -0.1, 0.2, 0.2)], "none", ["0.10 lower", "no gain"]),
        ([judgement("0", -0.3, 0.2, 0.0)], "loss", ["evidence of a loss", "0.30 lower"]),
        (
            [judgement("0", 0.4, 0.1, 0.99), judgement("BIL", 0.1, 0.2, 0.7)],
            "none",
            ["no evidence", "with cash at 0 vanishes above BIL"],
        ),
        (
            [judgement("0", 0.1, 0.2, 0.7), judgement("BIL", 0.4, 0.1, 0.99)],
            "none",
            ["above BIL, but with cash at 0 it is not sure"],
        ),
        (
            [judgement("0", 0.4, 0.1, 0.99, beyond=-0.25)],
            "gain",
            ["it fell 25% shallower than its exposure explains"],
        ),
    ],
)
def test_verdicts(judgements, finding, fragments):
    verdict = reach_verdict("weekly", judgements, trials=3)
    assert verdict.finding == finding
    assert verdict.sentence.endswith(".") and "\n" not in verdict.sentence
    for fragment in fragments:
        assert fragment in verdict.sentence


def test_several_panels_are_summed_up_in_a_sentence():
    (evaluation,) = judge("weekly")
    sentence = summary("weekly", [evaluation, evaluation])
    assert "gain on monthly on 0 of 2 panels" in sentence
    assert (
        f"median difference of Sharpe ratios {evaluation.strictest.baseline.gain.estimate:+.2f}"
        in (sentence)
    )
    assert "monthly itself" in summary("monthly", [evaluation])


def test_skill_that_is_there_is_found():
    # Two assets; one of them grows, the other falls: a rule that drops what falls has skill.
    steps = np.random.default_rng(1).normal([0.002, -0.002], 0.008, (900, 2))
    history = prices(2, 900)
    history = type(history).of(history.symbols, history.dates, 100 * np.exp(steps.cumsum(axis=0)))
    settings = BacktestSettings(
        history, 250, np.full(2, 0.5), CostModel.flat(10), np.zeros(len(history))
    )
    nothing = CashReturns("0", np.zeros(len(history)))
    (evaluation,) = evaluate([policy("trend")], settings, [nothing], trials=5).policies
    assert evaluation.verdict.finding is Finding.GAIN
    assert evaluation.strictest.baseline.probability > 0.99
