import json
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import attrs
import numpy as np
import pytest

from rebalancer.adapters.jsonl.trials import JsonlTrials
from rebalancer.adapters.memory.market import MemoryPrices
from rebalancer.adapters.memory.policies import MemoryPolicies
from rebalancer.adapters.memory.trials import MemoryTrials
from rebalancer.application.background import TRAIN, TrainJobHandler, TrainJobRequest
from rebalancer.application.ports.trials import TrialKind
from rebalancer.application.reporting.training import describe_choice, training_document
from rebalancer.application.training import (
    FEWEST_ROWS,
    TrainPolicy,
    TrainRequest,
    panels_of,
)
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.jobs.job import Job
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.training import CurvePoint, TrainedPolicy, TrainingPlan
from tests.builders import prices
from tests.networks import REGIMES, TRAINING, a_learned

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
PLAN = TrainingPlan("ppo", steps=1, seeds=(0, 1))


@attrs.define
class Trainer:
    """Learns nothing, and remembers what it was given."""

    given: list = attrs.field(factory=list)
    installed: bool = True

    def check(self):
        if not self.installed:
            raise Unavailable("torch is not installed")

    def train(
        self, panels, plan, out, *, chosen_rule, command, today, name, progress, drawn, **more
    ):
        self.given.append((panels, more["regimes"], chosen_rule, command, today))
        drawn(plan.worlds)
        curve = tuple(CurvePoint(seed, "ppo", 8, 8, 0.02 + seed) for seed in plan.seeds)
        for point in curve:
            progress(point)
        made = attrs.evolve(
            TRAINING,
            command=command,
            trained_until=max(panel.last_date for panel in panels.values()),
        )
        learned = a_learned(name=name, chosen_rule=chosen_rule)
        worth = {seed: 0.02 + seed for seed in plan.seeds}
        return TrainedPolicy(learned, made, curve, dict.fromkeys(plan.seeds, 0.01), worth)

    def fit_regimes(self, panels):
        return attrs.evolve(REGIMES, names=("a", "b", "c"), start=(0.4, 0.4, 0.2))


class Regimes:
    def model(self):
        return REGIMES


def named(history, *symbols):
    return MemoryPrices(PriceHistory(symbols, history.dates, history.closes))


def request(**changes):
    return TrainRequest(
        **({"plan": PLAN, "name": "mine", "out": Path("out"), "command": "again"} | changes)
    )


def a_training(trials=None, trainer=None):
    trials = MemoryTrials() if trials is None else trials
    return TrainPolicy(MemoryPolicies(), trials, trainer or Trainer(), Regimes())


WHOLE = prices(4, 900, seed=2)
PRICES = {"four": named(WHOLE, "A", "B", "C", "BIL"), "five": MemoryPrices(prices(5, 850, seed=3))}
UNTIL = WHOLE.dates[820].item()


def test_training_uses_prices_up_to_the_day_without_cash(tmp_path):
    trainer, trials = Trainer(), JsonlTrials(tmp_path / "trials.jsonl")
    tried, drawn, points = [], [], []
    made = a_training(trials, trainer)(
        PRICES,
        request(until=UNTIL),
        now=NOW,
        cautions=["Beware."],
        tried=tried.append,
        drawn=drawn.append,
        progress=points.append,
    )
    ((panels, regimes, chosen, command, today),) = trainer.given
    assert {name: panel.symbols for name, panel in panels.items()} == {
        "four": ("A", "B", "C"),
        "five": tuple("ABCDE"),
    }
    assert all(panel.last_date == UNTIL and len(panel) == 821 for panel in panels.values())
    assert regimes is REGIMES and (command, today) == ("again", date(2026, 11, 2))
    assert chosen == made.choice.rule == made.trained.learned.chosen_rule
    assert made.choice.first == str(WHOLE.dates[253])  # a year has passed
    assert made.choice.last == str(UNTIL)
    assert len(tried) == 2 * len(made.choice.gains) and drawn == [PLAN.worlds]
    assert points == list(made.trained.curve)
    assert (made.version, made.location, made.cautions) == ("mine@1", None, ("Beware.",))
    (trial,) = trials.all()
    assert (trial.on, trial.kind, trial.what, trial.trials) == (
        NOW,
        TrialKind.TRAIN,
        ("mine@1",),
        1,
    )
    assert (
        trial.note == f"ppo, drawdown_beyond_exposure, 2 seeds, 1 steps, four, five until {UNTIL}"
    )
    assert made.counted == (
        f"Trials: 1 in {trials.location}; this training counts as one, whatever its seeds."
    )
    assert f"has to beat: {chosen} (Sharpe ratio +" in describe_choice(made.choice)
    kept = training_document(made)
    assert kept["seeds"] == [
        {"seed": 0, "before": 0.01, "after": 0.02},
        {"seed": 1, "before": 0.01, "after": 1.02},
    ]
    assert kept["policy"] == "mine@1" and kept["place"] is None


def test_repetition_does_not_count_as_a_trial(tmp_path):
    trials = JsonlTrials(tmp_path / "trials.jsonl")
    train = a_training(trials)
    for name in ("mine", "mine", "other"):
        train(PRICES, request(name=name), now=NOW)
    assert [trial.what for trial in trials.all()] == [("mine@1",), ("mine@2",), ("other@1",)]
    assert [trial.trials for trial in trials.all()] == [1, 0, 0]
    for changed in (
        request(fit_regimes=True, until=UNTIL),
        request(until=UNTIL),
        request(plan=attrs.evolve(PLAN, reward="drawdown")),
        request(plan=attrs.evolve(PLAN, workers=2)),
    ):
        train(PRICES, changed, now=NOW)
    assert [trial.trials for trial in trials.all()][3:] == [1, 1, 1, 0]
    train(PRICES, request(plan=attrs.evolve(PLAN, steps=9), recorded=False), now=NOW)
    assert len(trials.all()) == 7


def test_regimes_are_fitted_if_that_is_asked():
    trainer = Trainer()
    a_training(trainer=trainer)(PRICES, request(fit_regimes=True), now=NOW)
    assert trainer.given[0][1].names == ("a", "b", "c")


def test_missing_log_of_trials_is_reported():
    made = a_training()(PRICES, request(), now=NOW)
    assert made.counted.endswith("there is no log of trials here.")


def test_unusable_request_fails_before_training(tmp_path):
    (tmp_path / "trials.jsonl").write_text("nonsense")
    trainer = Trainer()
    with pytest.raises(InvalidRequest, match="line 1"):
        a_training(JsonlTrials(tmp_path / "trials.jsonl"), trainer)(PRICES, request(), now=NOW)
    with pytest.raises(InvalidRequest, match="the name band is taken"):
        a_training(trainer=trainer)(PRICES, request(name="band"), now=NOW)
    assert trainer.given == []
    with pytest.raises(Unavailable, match="torch"):
        a_training(trainer=Trainer(installed=False))(PRICES, request(), now=NOW)


def test_cash_is_named_by_its_columns():
    history = prices(4, 900, seed=2)
    source = {"one": named(history, "A", "B", "C, D", "TBILL3M")}

    def left(cash):
        return panels_of(source, until=None, cash=cash)["one"].symbols

    assert left(None) == ("A", "B", "C, D")
    assert left("A, TBILL3M") == ("B", "C, D")
    assert left("C, D") == ("A", "B", "TBILL3M")
    with pytest.raises(InvalidRequest, match="cash: unknown symbols X, Y: no price data"):
        left("Y,A,X")


def test_assets_that_begin_later():
    late = prices(4, 900, seed=2)
    closes = late.closes.copy()
    closes[:400, 1] = np.nan
    closes[:850, 2] = np.nan
    source = {"one": MemoryPrices(PriceHistory(late.symbols, late.dates, closes))}
    cut = panels_of(source, until=late.dates[840].item(), cash=None)["one"]
    assert cut.symbols == ("A", "B", "D")  # C is not there yet
    with pytest.raises(InvalidRequest, match=r"prices of C begin on .* remove the column"):
        a_training()(source, request(), now=NOW)
    made = a_training()(source, request(until=late.dates[840].item()), now=NOW)
    assert made.choice.first == str(late.dates[400])


def test_assets_with_a_gap_or_a_jump_or_an_end_are_left_out():
    whole = prices(5, 900, seed=2)
    closes = whole.closes.copy()
    closes[400:415, 1] = np.nan
    closes[891:, 2] = np.nan
    closes[700:, 3] /= 100
    ended = {"one": MemoryPrices(history_of(whole.symbols, whole.dates, closes))}
    assert panels_of(ended, until=None, cash=None)["one"].symbols == ("A", "C", "E")
    closes[880:, 2] = np.nan
    ended = {"one": MemoryPrices(history_of(whole.symbols, whole.dates, closes))}
    assert panels_of(ended, until=None, cash=None)["one"].symbols == ("A", "E")


@pytest.mark.parametrize("rows", [FEWEST_ROWS - 1, FEWEST_ROWS])
def test_the_fewest_rows(rows):
    source = {"one": MemoryPrices(prices(3, rows))}
    if rows == FEWEST_ROWS:
        assert len(panels_of(source, until=None, cash=None)["one"]) == rows
        return
    with pytest.raises(InvalidRequest, match=f"prices: one: {rows} rows"):
        panels_of(source, until=None, cash=None)


def test_short_panels_are_left_out_with_a_sentence():
    long, short = (MemoryPrices(prices(3, rows)) for rows in (FEWEST_ROWS, FEWEST_ROWS - 1))
    said = []
    found = panels_of({"short": short, "long": long}, until=None, cash=None, left_out=said.append)
    assert list(found) == ["long"]
    (sentence,) = said
    assert sentence.startswith("prices: short: 782 rows of prices")
    before = prices(1, 1).dates[0].item()
    with pytest.raises(InvalidRequest, match="lies before the first close"):
        panels_of({"long": long}, until=before.replace(year=1990), cash=None)


class Failing(MemoryTrials):
    """Cannot be written to for so many times."""

    left = 2

    def append(self, trial):
        if self.left:
            self.left -= 1
            raise Unavailable("the disk is full")
        super().append(trial)


def test_repeated_training_adds_no_version(tmp_path):
    """However often it was cut off, and wherever: before the trial was recorded, or after all."""
    policies, trials = MemoryPolicies(), Failing()
    train = TrainPolicy(policies, trials, Trainer(), Regimes())
    order = TrainJobRequest(request(out=tmp_path), {"five": Path("five")})
    job = Job.new(TRAIN, order.to_json(), id=uuid4(), owner=None, now=NOW)
    do = TrainJobHandler(train, lambda path, _: PRICES[str(path)], lambda: NOW)
    for attempt in (1, 2):
        (tmp_path / str(job.id)).mkdir(exist_ok=True)
        with pytest.raises(Unavailable):
            do(attrs.evolve(job, attempts=attempt), lambda _: None)
    made = do(attrs.evolve(job, attempts=3), lambda _: None)
    assert made["policy"] == "mine@1"
    noted = tmp_path / str(job.id) / "made.json"
    assert do(attrs.evolve(job, attempts=4), lambda _: None) == json.loads(noted.read_text())
    noted.unlink()  # as if it had been killed before it came to that
    assert do(attrs.evolve(job, attempts=5), lambda _: None)["policy"] == "mine@1"
    assert [one.name for one in policies.versions()] == ["mine"]
    assert [trial.trials for trial in trials.all()] == [1, 0]
    another = Job.new(TRAIN, order.to_json(), id=uuid4(), owner=None, now=NOW)
    (tmp_path / str(another.id)).mkdir()
    assert do(attrs.evolve(another, attempts=1), lambda _: None)["policy"] == "mine@2"
