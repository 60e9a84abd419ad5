import attrs
import numpy as np
import pytest

from rebalancer.domain.backtest import performance
from rebalancer.domain.backtest.evaluation import (
    AT_ITS_EXPOSURE,
    SWEEP_BPS,
    Cash,
    Challenger,
    Contest,
    Ensemble,
    Finding,
    Judgement,
    evaluate,
    summary,
    verdict_on,
)
from rebalancer.domain.backtest.evidence import Interval
from rebalancer.domain.backtest.run import Conditions, compare, run
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.rules import policy
from rebalancer.domain.portfolio.costs import CostModel
from tests.builders import prices

HISTORY = prices(4, 500, seed=3)
CONDITIONS = Conditions(
    prices=HISTORY,
    first=120,
    targets=np.full(4, 0.25),
    costs=CostModel.flat(10),
    risk_free=np.zeros(len(HISTORY)),
)
NOTHING = Cash("0", np.zeros(len(HISTORY)))
BILLS = Cash("BIL", np.full(len(HISTORY), 0.0001))


def judge(*names, cash=(NOTHING,), **options):
    return evaluate([policy(name) for name in names], CONDITIONS, cash, **options).judged


def test_the_three_sceptics_stand_beside_every_policy():
    (judged,) = judge("trend:window=60", against=[policy("quarterly"), policy("band")])
    names = [contest.against for contest in judged.strictest.contests]
    assert names == ["monthly", "band", AT_ITS_EXPOSURE, "quarterly"]


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
    (judged,) = judge("trend:window=60", chosen_rule="inverse_volatility")
    names = [contest.against for contest in judged.strictest.contests]
    best = "inverse_volatility (best on training data)"
    assert names == ["monthly", "band", AT_ITS_EXPOSURE, best]
    assert judged.chosen_rule == "inverse_volatility"
    contest = judged.strictest.best_rule
    assert contest is judged.strictest.contests[3] and contest.chosen
    (track,) = compare([policy("inverse_volatility")], CONDITIONS).tracks
    assert contest.performance == track.performance
    assert contest.values == pytest.approx(track.values)
    (without,) = judge("trend:window=60")
    assert (without.chosen_rule, without.strictest.best_rule) == (None, None)


def test_a_learned_policy_brings_its_own_choice_along_unless_another_is_given():
    own = learned("trend:window=60", chosen_rule="quarterly")
    assert isinstance(own, Challenger) and not isinstance(policy("band"), Challenger)
    found = evaluate([own, policy("weekly")], CONDITIONS, [NOTHING]).judged
    assert [judged.chosen_rule for judged in found] == ["quarterly", None]
    assert found[0].strictest.best_rule.against == "quarterly (best on training data)"
    (given,) = evaluate([own], CONDITIONS, [NOTHING], chosen_rule="band").judged
    assert given.chosen_rule == "band"
    (none,) = evaluate([learned("weekly")], CONDITIONS, [NOTHING]).judged
    assert none.chosen_rule is None


def test_each_seed_of_an_ensemble_is_judged_alone():
    names = ("trend:window=60", "weekly", "volatility_target")
    ensemble = learned(*names)
    assert isinstance(ensemble, Ensemble) and not isinstance(policy("band"), Ensemble)
    (judged,) = evaluate([ensemble], CONDITIONS, [NOTHING, BILLS]).judged
    for judgement, cash in zip(judged.judgements, (NOTHING, BILLS), strict=True):
        under = attrs.evolve(CONDITIONS, risk_free=cash.returns)
        monthly, *tracks = compare([policy(name) for name in ("monthly", *names)], under).tracks
        alone = [track.performance.sharpe - monthly.performance.sharpe for track in tracks]
        assert judgement.seeds == pytest.approx(alone)
    assert judge("weekly")[0].strictest.seeds == ()


def test_a_judgement_keeps_the_paths_that_its_figures_follow_from():
    (judged,) = judge("trend:window=60", cash=(NOTHING, BILLS))
    dates = HISTORY.dates[CONDITIONS.first :]
    for judgement in judged.judgements:
        assert judgement.values[-1] == pytest.approx(judgement.performance.final_value)
        for contest in judgement.contests:
            assert contest.values[-1] == pytest.approx(contest.performance.final_value)
            pair = judgement.pair(contest, dates)
            assert (pair.dates[0], pair.dates[-1]) == (dates[1], dates[-1])
            year = np.sqrt(252)
            mine, other = (
                year * each.mean() / each.std(ddof=1) for each in (pair.returns, pair.against)
            )
            assert mine == pytest.approx(judgement.performance.sharpe)
            assert other == pytest.approx(contest.performance.sharpe)


def test_figures_are_those_of_a_backtest():
    (judged,) = judge("trend:window=60")
    tracks = compare([policy("trend:window=60"), policy("band")], CONDITIONS).tracks
    assert judged.strictest.performance == tracks[0].performance
    assert judged.strictest.baseline.gain == tracks[0].gain
    assert judged.strictest.contests[1].performance == tracks[1].performance


def test_one_sceptic_is_as_exposed_as_the_policy():
    (judged,) = judge("trend:window=60")
    own = judged.strictest.performance.average_exposure
    sceptic = judged.strictest.contests[2].performance
    assert own < 0.8
    assert sceptic.average_exposure == pytest.approx(own, abs=0.01)
    assert sceptic.max_drawdown < judged.strictest.baseline.performance.max_drawdown


def test_the_baseline_against_itself_differs_by_nothing():
    (judged,) = judge("monthly")
    contest = judged.strictest.baseline
    assert contest.gain == Interval(0, 0, 0)
    assert (contest.probability, contest.probabilistic, contest.deflated) == (0.5, 0.5, 0.5)
    assert judged.strictest.contests[2].gain == Interval(0, 0, 0)
    assert judged.strictest.drawdown_beyond_exposure == pytest.approx(0)
    assert {part.gain for part in judged.strictest.parts} == {0.0}
    assert {charged.gain for charged in judged.strictest.sweep} == {0.0}
    assert judged.strictest.break_even_bps is None
    assert judged.verdict.finding is Finding.NONE
    assert "monthly itself" in judged.verdict.sentence


def test_thirds_cover_the_window_and_hold_the_gain_of_each():
    (judged,) = judge("trend:window=60")
    parts = judged.strictest.parts
    dates = [str(day) for day in HISTORY.dates[CONDITIONS.first + 1 :]]
    assert (parts[0].first, parts[-1].last) == (dates[0], dates[-1])
    paths = [run(policy(name), CONDITIONS) for name in ("trend:window=60", "monthly")]
    middle = slice(dates.index(parts[1].first), dates.index(parts[1].last) + 1)
    mine, other = (
        performance.sharpe(np.diff(p.values)[middle] / p.values[:-1][middle]) for p in paths
    )
    assert parts[1].gain == pytest.approx(mine - other)


def test_each_cost_of_the_sweep_is_paid_by_both():
    (judged,) = judge("weekly")
    sweep = judged.strictest.sweep
    assert [charged.bps for charged in sweep] == list(SWEEP_BPS)
    dear = attrs.evolve(CONDITIONS, costs=CostModel.flat(50))
    tracks = compare([policy("weekly"), policy("monthly")], dear).tracks
    expected = tracks[0].performance.sharpe - tracks[1].performance.sharpe
    assert sweep[-1].gain == pytest.approx(expected)
    assert sweep[-1].gain < sweep[0].gain  # weekly trades more


def test_cash_is_judged_at_each_of_its_returns():
    (judged,) = judge("trend:window=60", cash=(NOTHING, BILLS))
    without, above = judged.judgements
    assert (without.cash, above.cash) == ("0", "BIL")
    assert judged.strictest is above
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
    (judged,) = evaluate([policy("weekly")], short, [NOTHING]).judged
    assert judged.verdict.finding is Finding.UNTOLD
    assert "too short" in judged.verdict.sentence
    contest = judged.strictest.baseline
    assert (contest.gain, contest.probability, contest.deflated) == (None, None, None)
    assert judged.strictest.parts == ()


def test_a_portfolio_of_cash_alone_is_no_error():
    cash = attrs.evolve(CONDITIONS, targets=np.zeros(4))
    (judged,) = evaluate([policy("weekly")], cash, [NOTHING]).judged
    assert judged.verdict.finding is Finding.UNTOLD
    assert judged.strictest.drawdown_beyond_exposure is None


def test_targets_below_1_are_never_scaled_above_it():
    half = attrs.evolve(CONDITIONS, targets=np.full(4, 0.125))
    (judged,) = evaluate([policy("buy_and_hold")], half, [NOTHING]).judged
    sceptic = judged.strictest.contests[2].performance
    assert sceptic.average_exposure == pytest.approx(
        judged.strictest.performance.average_exposure, abs=0.01
    )


FIGURES = judge("weekly")[0].strictest.performance


def judgement(cash, estimate, reach, deflated, *, band=0.99, beyond=None):
    def contest(name, gain, sure):
        return Contest(name, FIGURES, gain, 0.9, 0.9, sure)

    gain = Interval(estimate, estimate - reach, estimate + reach)
    contests = (contest("monthly", gain, deflated), contest("band", gain, band))
    return Judgement(cash, FIGURES, contests, beyond, (), (), None)


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
    verdict = verdict_on("weekly", judgements, trials=3)
    assert verdict.finding == finding
    assert verdict.sentence.endswith(".") and "\n" not in verdict.sentence
    for fragment in fragments:
        assert fragment in verdict.sentence


def test_several_panels_are_summed_up_in_a_sentence():
    (judged,) = judge("weekly")
    sentence = summary("weekly", [judged, judged])
    assert "gain on monthly on 0 of 2 panels" in sentence
    assert f"median difference of Sharpe ratios {judged.strictest.baseline.gain.estimate:+.2f}" in (
        sentence
    )
    assert "monthly itself" in summary("monthly", [judged])


def test_skill_that_is_there_is_found():
    # Two assets; one of them grows, the other falls: a rule that drops what falls has skill.
    steps = np.random.default_rng(1).normal([0.002, -0.002], 0.008, (900, 2))
    history = prices(2, 900)
    history = type(history).of(history.symbols, history.dates, 100 * np.exp(steps.cumsum(axis=0)))
    conditions = Conditions(
        history, 250, np.full(2, 0.5), CostModel.flat(10), np.zeros(len(history))
    )
    nothing = Cash("0", np.zeros(len(history)))
    (judged,) = evaluate([policy("trend")], conditions, [nothing], trials=5).judged
    assert judged.verdict.finding is Finding.GAIN
    assert judged.strictest.baseline.probability > 0.99
