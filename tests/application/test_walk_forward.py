"""Walk-forward: folds without look-ahead, refits that are found again, evidence that is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import attrs
import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.memory.trials import MemoryTrials
from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.application.fold_panels import JudgedPrices, prepare_fold, split_universes
from rebalancer.application.ports.trials import TrialKind
from rebalancer.application.refits import RefitOptions
from rebalancer.application.reporting.walk_forward import walk_forward_document
from rebalancer.application.serving_evidence import StoreWalkForward
from rebalancer.application.training import TrainPolicy
from rebalancer.application.walk_forward import (
    EvaluateWalkForward,
    Progress,
    WalkForwardRequest,
)
from rebalancer.domain.backtest.thresholds import PromotionThresholds, ServingThresholds
from rebalancer.domain.backtest.walk_forward import Fold
from rebalancer.domain.errors import InvalidRequest, NotFound
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.model_card import TrainingData, TrainingStage
from rebalancer.domain.policy.training import TrainedPolicy
from tests.builders import prices
from tests.networks import REGIMES, TRAINING, a_learned

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
MARKET = prices(4, 1_700, seed=2, start=date(2010, 1, 4))
FIRST, SECOND, LAST = date(2013, 6, 28), date(2014, 12, 31), date(2016, 6, 1)


class Regimes:
    """A model that was fitted after all dates."""

    def model(self):
        return attrs.evolve(REGIMES, start=(0.4, 0.4, 0.2))

    def known_until(self):
        return date(2030, 1, 1)


@attrs.define
class Trainer:
    """Draws weights from the prices that it is given, and can be interrupted."""

    fits: list = attrs.field(factory=list)
    stops_after: int | None = None
    regimes: RegimeModel = REGIMES

    def check(self):
        pass

    def stages(self, plan):
        return (
            TrainingStage("worlds", plan.worlds),
            TrainingStage("warm start", plan.warm_start),
            TrainingStage(plan.algorithm, plan.steps),
        )

    def fit_regimes(self, panels):
        return self.regimes

    def train(self, panels, plan, out, *, regimes, chosen_rule, command, name, **_):
        if len(self.fits) == self.stops_after:
            raise KeyboardInterrupt
        self.fits.append((name, out.name, max(one.last_date for one in panels.values())))
        digest = "".join(one.digest for one in panels.values())
        learned = a_learned(int(digest[:8], 16), name=name, chosen_rule=chosen_rule)
        made = attrs.evolve(
            TRAINING,
            algorithm=plan.algorithm,
            stages=self.stages(plan),
            seeds=plan.seeds,
            reward=plan.reward,
            command=command,
            trained_until=self.fits[-1][-1],
            data=tuple(
                TrainingData(key, one.digest, one.dates[0].item(), one.last_date, len(one.symbols))
                for key, one in panels.items()
            ),
        )
        learned = attrs.evolve(learned, regimes=regimes)
        return TrainedPolicy(learned, made, (), {}, {})


@attrs.define
class Folders:
    """One catalogue of refits, whatever the folder."""

    refits: MemoryPolicies = attrs.field(factory=MemoryPolicies)

    def open(self, folder):
        return self.refits


def judged(history=MARKET, **terms):
    run = RunBacktest(MemoryPrices(history), MemoryInstruments(Instruments()), MemoryPolicies())
    return JudgedPrices(BacktestRequest((), **terms), run)


@attrs.define
class Bench:
    """A walk-forward on small prices, with everything that it stores."""

    trainer: Trainer = attrs.field(factory=Trainer)
    folders: Folders = attrs.field(factory=Folders)
    policies: MemoryPolicies = attrs.field(factory=MemoryPolicies)
    trials: MemoryTrials = attrs.field(factory=MemoryTrials)

    def run(self, *names, history=MARKET, training=None, progress=None, terms=None, **changes):
        train = TrainPolicy(self.policies, self.trials, self.trainer, Regimes())
        evaluate = EvaluateWalkForward(
            self.policies,
            self.folders,
            train,
            self.trainer,
            Regimes(),
            self.trials,
            ServingThresholds(),
            PromotionThresholds(),
        )
        request = WalkForwardRequest(
            policies=names,
            **{
                "dates": (FIRST, SECOND),
                "last": LAST,
                "work": Path("work"),
                "command": lambda plan, name, panels, until: f"train {name}",
                "options": RefitOptions(seeds=2),
            }
            | changes,
        )
        return evaluate(
            {"market": judged(history, **(terms or {}))},
            {"past": MemoryPrices(history if training is None else training)},
            request,
            now=NOW,
            **({} if progress is None else {"progress": progress}),
        )


@pytest.fixture(scope="module")
def bench():
    """A bench after one walk-forward of a learned policy and two kinds of rules."""
    bench = Bench()
    return bench, *bench.run("ppo", "risk_parity", "best_rule")


def changed_after(day, history=MARKET):
    """The same prices up to a day, and others afterwards."""
    dates = history.dates
    later = dates > np.datetime64(day, "D")
    factors = np.where(later, np.random.default_rng(9).uniform(0.97, 1.03, len(dates)), 1.0)
    return PriceHistory.of(history.symbols, dates, history.closes * np.cumprod(factors)[:, None])


def test_each_fold_is_judged_by_its_own_refit_after_the_embargo(bench):
    _, findings, _ = bench
    folds = findings.folds
    assert [each.fold for each in folds] == [
        Fold(FIRST, date(2013, 7, 29), SECOND),
        Fold(SECOND, date(2015, 1, 31), LAST),
    ]
    assert [each.refits["ppo"].policy.version for each in folds] == [
        "ppo_20130628@1",
        "ppo_20141231@1",
    ]
    for each in folds:
        assert each.refits["ppo"].card.training.trained_until <= each.fold.known_until
        (panel,) = each.panels
        days = panel.settings.prices.dates
        assert days[panel.settings.first] >= np.datetime64(each.fold.first)
        assert days[-1] <= np.datetime64(each.fold.last)
    assert [each.policy for each in findings.evidence] == ["ppo", "risk_parity", "best_rule"]
    for evidence in findings.evidence:
        for record, result in zip(folds, evidence.results, strict=True):
            assert result.evaluation.policy == evidence.policy
            assert result.evaluation.chosen_rule == record.choice.rule


def test_refits_of_one_procedure_are_one_trial(bench):
    used, findings, trial = bench
    (training,) = used.trials.all()
    assert (training.kind, training.what, training.trials) == (
        TrialKind.TRAIN,
        ("ppo_20141231@1",),
        1,
    )
    assert (trial.kind, trial.trials) == (TrialKind.EVALUATE, 3)
    assert trial.what[1:] == ("risk_parity", "best_rule")
    assert findings.trials >= 3


def test_second_run_finds_all_refits(bench):
    used, findings, trial = bench
    trained = len(used.trainer.fits)
    again, repeated = used.run("ppo", "risk_parity", "best_rule", trains=False)
    assert len(used.trainer.fits) == trained
    assert repeated.digest == trial.digest
    first, second = map(walk_forward_document, (findings, again))
    assert first == second


def test_interrupted_run_continues_with_the_refits_that_are_ready(bench):
    done = []
    stopped = Bench(Trainer(stops_after=1))
    progress = Progress(refitting=lambda ready, total: done.append((ready, total)))
    with pytest.raises(KeyboardInterrupt):
        stopped.run("ppo", progress=progress)
    assert done == [(0, 2), (1, 2)]
    stopped.trainer.stops_after = None
    findings, _ = stopped.run("ppo", progress=progress)
    assert done[2:] == [(1, 2), (2, 2)]
    _, whole, _ = bench
    weights = [
        [each.refits["ppo"].card.weights for each in found.folds] for found in (findings, whole)
    ]
    assert weights[0] == weights[1]


def test_other_plan_or_other_prices_are_another_refit(bench):
    used, *_ = bench
    with pytest.raises(InvalidRequest, match="holds no refit of ppo at 2013-06-28"):
        used.run("ppo", trains=False, options=RefitOptions(seeds=2, worlds=7_000))
    with pytest.raises(InvalidRequest, match="or train it into that folder: train ppo_20130628"):
        used.run("ppo", trains=False, training=changed_after(date(2012, 1, 2)))


def test_refit_with_regimes_of_later_years_is_not_used():
    bench = Bench(Trainer(regimes=Regimes().model()))
    bench.run("ppo", dates=(FIRST,), last=SECOND)
    with pytest.raises(InvalidRequest, match="holds no refit of ppo at 2013-06-28"):
        bench.run("ppo", trains=False)


def test_prices_after_the_date_change_neither_the_refit_nor_the_chosen_rule(bench):
    _, findings, _ = bench
    other, _ = Bench().run("ppo", history=changed_after(FIRST), dates=(FIRST,), last=SECOND)
    mine, theirs = findings.folds[0], other.folds[0]
    assert mine.refits["ppo"].card.weights == theirs.refits["ppo"].card.weights
    assert mine.choice == theirs.choice


def test_prices_after_a_fold_do_not_change_its_results(bench):
    _, findings, _ = bench
    other, _ = Bench().run("ppo", "best_rule", history=changed_after(SECOND))
    documents = [walk_forward_document(each) for each in (findings, other)]
    assert documents[0]["folds"][0] == documents[1]["folds"][0]
    mine, theirs = ({each["policy"]: each for each in one["policies"]} for one in documents)
    for name, two in theirs.items():
        one = mine[name]
        assert one["results"][0] == two["results"][0]
        assert one["results"][1] != two["results"][1]


@pytest.mark.parametrize(
    ("changes", "field", "fragment"),
    [
        ({"dates": (SECOND, FIRST)}, "walk_forward", "give ascending"),
        ({"dates": ()}, "walk_forward", "there is no date"),
        ({"dates": (date(2016, 7, 20),), "last": date(2017, 1, 2)}, "walk_forward", "end on 2016"),
        ({"dates": (date(2010, 12, 31),)}, "walk_forward", "no panel has enough prices by 2010"),
        ({"dates": (FIRST,), "last": date(2013, 9, 1)}, "walk_forward", "an interval needs 210"),
        ({"last": date(2014, 6, 1)}, "walk_forward", "give ascending"),
    ],
)
def test_unusable_dates_are_refused(changes, field, fragment):
    bench = Bench()
    with pytest.raises(InvalidRequest, match=fragment) as refused:
        bench.run("ppo", **changes)
    assert refused.value.field == field
    assert bench.trainer.fits == []


@pytest.mark.parametrize(
    ("name", "fragment"),
    [("learned", "stands for another policy"), ("magic", "unknown policy 'magic'")],
)
def test_unknown_procedures_are_refused(name, fragment):
    with pytest.raises(InvalidRequest, match=fragment):
        Bench().run(name)


def test_evidence_is_stored_with_the_last_refit(bench):
    used, findings, _ = bench
    (card,) = StoreWalkForward(used.policies)(findings, now=NOW)
    assert card.name == "my_ppo@1"
    stored = card.model_card.evidence["walk_forward"]
    assert stored["on"] == "2026-11-02"
    assert (stored["policy"], stored["version"]) == ("ppo", "ppo_20141231@1")
    assert stored["criteria"] and stored["passed"] == findings.evidence[0].passed
    assert [each["policy"] for each in stored["folds"][0]["refits"]] == ["ppo"]
    assert stored["folds"][0]["panels"][0]["assets"] == 4
    assert card.model_card.weights == findings.last_refits["ppo"].card.weights

    # The stored version is the refit of the last date from now on, under its own name, too.
    again, _ = used.run("ppo", "my_ppo@1", trains=False)
    assert again.last_refits["ppo"].policy.version == "my_ppo@1"
    assert again.last_refits["my_ppo@1"].stored
    assert again.folds[0].refits["my_ppo@1"].policy.version == "ppo_20130628@1"
    (same, *_) = StoreWalkForward(used.policies)(again, now=NOW)
    assert same.name == "my_ppo@1"
    with pytest.raises(InvalidRequest, match="after the last date 2013-06-28"):
        used.run("my_ppo@1", dates=(FIRST,), last=SECOND)


def test_only_learned_policies_without_limits_have_evidence(bench):
    used, findings, _ = bench
    rules, _ = used.run("risk_parity")
    with pytest.raises(NotFound, match="was learned"):
        StoreWalkForward(used.policies)(rules, now=NOW)
    limited = attrs.evolve(findings, unlimited=False)
    with pytest.raises(InvalidRequest, match="limited departures"):
        StoreWalkForward(used.policies)(limited, now=NOW)


# Panels of folds.


def test_panel_that_ends_before_a_fold_is_left_out():
    late = Fold(LAST, date(2016, 8, 1), date(2017, 8, 1))
    left_out = prepare_fold(late, "market", judged(), MARKET.symbols)
    assert left_out == "market: the prices end on 2016-07-08, before the fold begins."


def test_universe_of_a_fold_has_the_assets_that_are_known_when_it_begins():
    closes = MARKET.closes.copy()
    closes[: 900 - 100, 3] = np.nan  # D begins 100 rows before the fold
    closes[:500, 2] = np.nan
    history = PriceHistory.of(MARKET.symbols, MARKET.dates, closes)
    first = MARKET.dates[900].item()
    found = prepare_fold(Fold(FIRST, first, LAST), "market", judged(history), MARKET.symbols)
    assert found.settings.prices.symbols == ("A", "B", "C")
    assert found.settings.first == 900


def test_window_begins_when_two_assets_have_a_look_back():
    begins = 1_000
    part = PriceHistory.of(MARKET.symbols, MARKET.dates[begins:], MARKET.closes[begins:])
    fold = Fold(FIRST, date(2013, 7, 29), LAST)
    found = prepare_fold(fold, "market", judged(part), MARKET.symbols)
    assert found.settings.first == 252
    early = Fold(FIRST, date(2013, 7, 29), date(2014, 6, 2))
    assert prepare_fold(early, "market", judged(part), MARKET.symbols).startswith("market: by 2014")


def test_cash_is_the_first_column_with_a_price_at_the_start():
    closes = MARKET.closes.copy()
    closes[:950, 3] = np.nan
    history = PriceHistory.of(("A", "B", "OLD", "BILL"), MARKET.dates, closes)
    prices = attrs.evolve(judged(history), cash=("BILL", "OLD"), rate=0.02)
    early = prepare_fold(Fold(FIRST, MARKET.dates[900].item(), LAST), "m", prices, ("A", "B"))
    late = prepare_fold(Fold(FIRST, MARKET.dates[1_000].item(), LAST), "m", prices, ("A", "B"))
    assert [[each.label for each in one.cash] for one in (early, late)] == [
        ["0", "OLD"],
        ["0", "BILL"],
    ]
    assert early.settings.prices.symbols == ("A", "B")
    rate = prepare_fold(
        Fold(FIRST, MARKET.dates[900].item(), LAST),
        "m",
        attrs.evolve(prices, cash=("BILL",)),
        ("A", "B"),
    )
    assert [each.label for each in rate.cash] == ["0", "2% a year"]


def test_many_assets_are_split_into_disjoint_universes():
    wide = prices(70, 30, seed=1)
    panels = {"wide": judged(wide), "narrow": judged()}
    found = split_universes(panels, 2, seed=3)
    assert list(found) == ["wide #1", "wide #2", "narrow"]
    one, two = (set(found[f"wide #{at}"][1]) for at in (1, 2))
    assert (len(one), len(two)) == (30, 30) and not one & two
    backwards = PriceHistory.of(wide.symbols[::-1], wide.dates, wide.closes[:, ::-1])
    same = split_universes({"wide": judged(backwards)}, 2, seed=3)
    assert set(same["wide #1"][1]) == one
    assert set(split_universes(panels, 2, seed=4)["wide #1"][1]) != one
    assert list(split_universes(panels, 0, seed=3)) == ["wide", "narrow"]
    with pytest.raises(InvalidRequest, match="enter at most 35"):
        split_universes(panels, 36, seed=3)
