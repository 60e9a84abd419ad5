from datetime import UTC, date, datetime
from uuid import UUID

import attrs
import numpy as np
import pytest

from rebalancer.adapters.jsonl.trials import JsonlTrials
from rebalancer.adapters.memory.market import MemoryInstruments, MemoryPrices
from rebalancer.adapters.memory.reports import MemoryReports
from rebalancer.adapters.memory.trials import MemoryTrials
from rebalancer.application.backtests import BacktestRequest, RunBacktest
from rebalancer.application.evaluation import (
    EvaluatePolicies,
    StoreEvidenceReports,
    count_steps,
)
from rebalancer.application.panels import Panel, PanelCash, assign_panel_cash
from rebalancer.application.ports.trials import Trial, TrialKind
from rebalancer.application.reporting import tables
from rebalancer.application.reporting.evaluation import evaluation_document, promotion_document
from rebalancer.domain.backtest.thresholds import PromotionThresholds
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.gaps import history_of
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import parse_rule
from tests.builders import prices


class Rules:
    """Catalogue of rules, and of policies that a test adds."""

    def __init__(self, **added):
        self.added = added

    def policy(self, text):
        return self.added.get(text) or parse_rule(text)


RULES = Rules()
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def a_panel(history, *policies, hidden=(), **options):
    request = BacktestRequest(policies or ("weekly",), **options)
    return Panel(
        request, RunBacktest(MemoryPrices(history), MemoryInstruments(Instruments()), RULES), hidden
    )


def run(panels, record=None, **options):
    evaluate = EvaluatePolicies(
        RULES, MemoryTrials() if record is None else record, PromotionThresholds()
    )
    return evaluate(panels, now=NOW, **options)


MARKET = prices(4, 300, seed=1)


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        (None, ["AB"], [PanelCash()]),
        ("0.02", ["AB", "CD"], [PanelCash(0.02), PanelCash(0.02)]),
        ("A", ["AB", "CD"], [PanelCash("A"), PanelCash(0.0)]),
        ("A,C", ["AB", "CD"], [PanelCash("A"), PanelCash("C")]),
        ("A, C ,0.02", ["AB", "CD", "EF"], [PanelCash("A"), PanelCash("C"), PanelCash(0.02)]),
        ("0.02,B,A", ["AB"], [PanelCash("B", ("A",))]),  # both are cash, none is invested in
        ("7", [["7", "A"]], [PanelCash("7")]),  # a column that looks like a number
        ("A,B", [["A,B", "C"]], [PanelCash("A,B")]),
    ],
)
def test_panel_uses_its_first_column_of_cash_else_the_rate(text, columns, expected):
    assert assign_panel_cash(text, columns) == expected


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("BIL", "'BIL' is neither a price column nor a rate"),
        ("A,BIL,0.02", "'BIL' is neither"),
        ("A,", "'' is neither"),
        ("0.01,0.02", "contains 2 rates; enter at most one"),
    ],
)
def test_unknown_cash_is_rejected(text, fragment):
    with pytest.raises(InvalidRequest, match=f"risk_free: .*{fragment}"):
        assign_panel_cash(text, ["AB", "CD"])


def test_further_columns_of_cash_leave_the_universe():
    panel = a_panel(MARKET, risk_free="B", hidden=("D",))
    assert panel.settings().prices.symbols == ("A", "C")
    findings, _ = run({"us": panel})
    assert findings.panels["us"].symbols == ("A", "C")


def test_panel_without_cash_column_has_a_caution():
    findings, _ = run({"us": a_panel(MARKET, risk_free="B"), "eu": a_panel(MARKET)})
    assert [each.code for each in findings.cautions] == ["cash_unknown_on_panel"]
    assert "Cash earns 0 on eu" in findings.cautions[0].text
    assert len(findings.panels["us"].policies[0].judgements) == 2
    assert len(findings.panels["eu"].policies[0].judgements) == 1


def test_training_starts_when_every_column_has_a_price():
    closes = MARKET.closes.copy()
    closes[:30, 2] = np.nan
    late = PriceHistory.of(MARKET.symbols, MARKET.dates, closes)
    until = MARKET.dates[200].item()
    settings = a_panel(late, last=until).training_settings()
    assert settings.first == 30
    assert settings.prices.dates[-1] == MARKET.dates[200]
    early = a_panel(late, last=until).settings()
    assert early.first == 0
    caution, _ = early.cautions  # the other one: less than a year
    assert caution.text.startswith(f"C begins on {MARKET.dates[30]}")


def test_rule_chosen_on_training_data_is_a_baseline_of_every_policy():
    until, first = MARKET.dates[150].item(), MARKET.dates[151].item()
    training = {"old": a_panel(MARKET, last=until)}
    panels = {"new": a_panel(MARKET, "weekly", "trend:window=20", first=first)}
    reported = []
    findings, _ = run(panels, training=training, progress=reported.append)
    assert len(reported) == count_steps(panels, training)
    assert findings.choice.last == str(until)
    for evaluation in findings.panels["new"].policies:
        assert evaluation.chosen_rule == findings.choice.rule
    assert [each.best_rule for each in findings.promotions] == [findings.choice.rule] * 2
    assert [each.code for each in findings.cautions] == ["less_than_a_year"]
    overlapping, _ = run({"new": a_panel(MARKET)}, training=training)
    assert overlapping.cautions[0].code == "rule_chosen_with_hindsight"


def test_errors_in_training_prices_name_the_training_field():
    early = a_panel(MARKET, last=date(2001, 1, 1))
    with pytest.raises(InvalidRequest, match=r"chosen_until: old\.csv: 2001-01-01 is before"):
        run({"new": a_panel(MARKET)}, training={"old.csv": early})
    with pytest.raises(InvalidRequest, match=r"chosen_on: old\.csv: the window holds 2 row"):
        run({"new": a_panel(MARKET)}, training={"old.csv": a_panel(prices(2, 2))})


def test_limit_on_departure_has_a_caution():
    findings, _ = run({"us": a_panel(MARKET, max_departure=0.2)})
    assert findings.cautions[0].code == "departure_limited"
    assert "by at most 20%" in findings.cautions[0].text


def test_repeated_evaluation_is_not_a_new_trial(tmp_path):
    trials = JsonlTrials(tmp_path / "trials.jsonl")
    trials.append(Trial(NOW, TrialKind.PROTOTYPE, ("sketches",), trials=12))
    panels = {"us.csv": a_panel(MARKET, "weekly", "trend:window=20")}
    first, trial = run(panels, trials)
    assert (first.trials, trial.trials, trial.what) == (14, 2, ("weekly", "trend:window=20"))
    assert trial.note == f"us.csv {MARKET.dates[0]} to {MARKET.dates[-1]}"
    trials.append(trial)
    again, repeated = run(panels, trials)
    assert (again.trials, repeated.trials) == (14, 0)
    assert again.counted == first.counted
    assert "Trials: 14, as recorded in" in first.counted
    # One of the two is new, or something has other settings.
    for other, new in (
        (a_panel(MARKET, "weekly", "band"), 1),
        (a_panel(MARKET, "weekly", first=MARKET.dates[9].item()), 1),
        (a_panel(MARKET, "weekly", max_departure=0.2), 1),
        (a_panel(MARKET, "weekly", risk_free=0.01), 1),
        (a_panel(MARKET, "weekly", targets={"A": 0.5}), 1),
        (attrs.evolve(a_panel(MARKET), request=BacktestRequest(("weekly",), cost_bps=5)), 1),
        (a_panel(prices(4, 300, seed=2), "weekly"), 1),
        (a_panel(MARKET, "weekly"), 0),
    ):
        findings, trial = run({"us.csv": other}, trials)
        assert trial.trials == new
        assert findings.trials == 14 + new


@attrs.frozen
class Learned:
    """A policy whose weights may change under the same name, made of a rule."""

    identity: str
    name: str = "ppo"
    chosen_rule: str | None = "band"
    rule: Policy = attrs.field(factory=lambda: parse_rule("trend:window=20"))

    @property
    def members(self):
        return (self.rule, parse_rule("weekly"))

    def __getattr__(self, name):
        return getattr(self.rule, name)


def test_learned_policy_with_other_weights_is_a_new_trial(tmp_path):
    trials = JsonlTrials(tmp_path / "trials.jsonl")
    panels = {"us": a_panel(MARKET, "ppo")}
    new = []
    for weights in ("ppo 1", "ppo 1", "ppo 2"):
        evaluate = EvaluatePolicies(Rules(ppo=Learned(weights)), trials, PromotionThresholds())
        findings, trial = evaluate(panels, now=NOW)
        trials.append(trial)
        new.append(trial.trials)
    assert new == [1, 0, 1]
    (evaluation,) = findings.panels["us"].policies
    assert (evaluation.policy, evaluation.chosen_rule, len(evaluation.strictest.seeds)) == (
        "ppo",
        "band",
        2,
    )
    assert findings.chosen.endswith("as stored with the policy: band (ppo).")
    (promotion,) = findings.promotions
    assert promotion_document(promotion)["best_rule"] == "band"
    assert len(evaluation_document(findings)["promotion"][0]["criteria"]) == 4
    seeds = tables.verdicts(findings.panels["us"])[1]
    assert seeds.startswith("ppo: its 2 seeds alone gain")


def test_digest_ignores_names_and_order_of_panels():
    us, eu = a_panel(MARKET), a_panel(prices(3, 280, seed=2))
    digests = [run(panels)[1].digest for panels in ({"a": us, "b": eu}, {"c": eu, "d": us})]
    assert digests[0] == digests[1]
    assert run({"/home/me/us.csv": us})[1].note.startswith("us.csv ")


def test_digest_of_settings_stays_as_recorded():
    # In cents: the last digits of exponentials differ between processors.
    market = PriceHistory.of(MARKET.symbols, MARKET.dates, np.round(MARKET.closes, 2))
    panel = a_panel(market, "weekly", cost_bps=10)
    terms = {"costs": "retail", "max_departure": 0.2, "keep_limits": True, "risk_free": 0.02}
    limited = a_panel(market, "weekly", risk_profile="growth", **terms)
    digests = [run({"us": each})[1].digest[:16] for each in (panel, limited)]
    assert digests == ["0ad716fd6c3057d2", "2c0afd481a7e1b62"]


def test_stored_backtest_request_is_read():
    stored = {
        "policies": ["band"],
        "cost_bps": None,
        "costs": "retail",
        "targets": {"A": 0.5},
        "first": "2020-01-02",
        "last": None,
        "risk_free": 0.0,
        "capital": 100000.0,
        "as_live": False,
        "max_departure": 1.0,
        "risk_profile": None,
        "keep_limits": True,
    }
    request = BacktestRequest.from_json(stored)
    assert (request.policies, request.first) == (("band",), date(2020, 1, 2))
    assert request.to_json() == stored | {"risk_profile": "balanced"}
    assert BacktestRequest.from_json(request.to_json()) == request


def test_recorded_trials_are_a_lower_bound(tmp_path):
    trials = JsonlTrials(tmp_path / "trials.jsonl")
    trials.append(Trial(NOW, TrialKind.TRAIN, ("ppo",), trials=5))
    panels = {"us": a_panel(MARKET)}
    assert run(panels, trials, trials=1)[0].trials == 6
    given, _ = run(panels, trials, trials=30)
    assert given.trials == 30
    assert "Trials: 30, as given; 6 recorded in" in given.counted
    with pytest.raises(InvalidRequest) as error:
        run({"us": a_panel(MARKET, "weekly", "band")}, trials, trials=1)
    assert error.value.code == "too_few_trials"


def test_without_record_only_the_evaluated_policies_count():
    panels = {"us": a_panel(MARKET, "weekly", "band")}
    findings, _ = run(panels)
    assert findings.trials == 2
    assert "No record of trials is stored here" in findings.counted
    given, _ = run(panels, trials=9)
    assert (given.trials, given.counted[:19]) == (9, "Trials: 9, as given")


def test_unknown_policy_names_its_field():
    with pytest.raises(InvalidRequest, match="policy: unknown policy 'magic'"):
        run({"us": a_panel(MARKET, "magic")})
    with pytest.raises(InvalidRequest, match="against: unknown policy 'magic'"):
        run({"us": a_panel(MARKET)}, against=["magic"])


def test_document_holds_the_spread_of_seeds():
    findings, _ = run({"us": a_panel(MARKET)})
    (evaluation,) = findings.panels["us"].policies
    spread = attrs.evolve(evaluation.strictest, seeds=(0.3, -0.1, 0.1, 0.2))
    panel = attrs.evolve(
        findings.panels["us"], policies=(attrs.evolve(evaluation, judgements=(spread,)),)
    )
    found = evaluation_document(attrs.evolve(findings, panels={"us": panel}))
    assert found["panels"][0]["policies"][0]["judgements"][0]["seeds"] == {
        "sharpe_gains": [0.3, -0.1, 0.1, 0.2],
        "min": -0.1,
        "median": pytest.approx(0.15),
        "max": 0.3,
    }
    assert (
        evaluation_document(findings)["panels"][0]["policies"][0]["judgements"][0]["seeds"] is None
    )


def test_report_stores_document_and_curves():
    findings, _ = run({"here": a_panel(MARKET, "weekly", "band")})
    reports, now = MemoryReports(), datetime(2026, 1, 31, tzinfo=UTC)
    (made,) = StoreEvidenceReports(reports, lambda: UUID(int=7))(findings, ["weekly"], now=now)
    stored = reports.get(UUID(int=7))
    assert made.id == stored.id
    assert (stored.kind, stored.subject, stored.schema, stored.created) == (
        "evidence",
        "weekly",
        1,
        now,
    )
    assert stored.document == evaluation_document(findings)
    done = findings.panels["here"]
    assert np.array_equal(stored.dates, done.dates)
    evaluation = next(each for each in done.policies if each.policy == "weekly")
    own = f"here/{evaluation.judgements[0].cash}/weekly"
    assert stored.series[own].tobytes() == evaluation.judgements[0].values.tobytes()
    assert len(stored.series[own]) == len(done.dates)
    assert f"here/{evaluation.judgements[0].cash}/monthly" in stored.series


def test_report_of_several_panels_has_days_of_each():
    other = prices(3, 280, seed=5)
    findings, _ = run({"one": a_panel(MARKET), "two": a_panel(other)})
    reports = MemoryReports()
    (made,) = StoreEvidenceReports(reports, lambda: UUID(int=8))(
        findings, ["weekly"], now=datetime(2026, 1, 31, tzinfo=UTC)
    )
    assert made.dates is None
    for name, done in findings.panels.items():
        days = made.series[f"{name}/days"].astype(np.int64).astype("datetime64[D]")
        assert np.array_equal(days, done.dates)


@pytest.mark.parametrize(
    ("change", "codes", "text"),
    [
        ((200, 100.0), ["cash_prices_missing", "doubtful_prices"], "after 2024-10-04"),
        ((200, np.nan), ["cash_prices_missing"], "after 2024-10-04; cash earns nothing from then"),
        ((0, 1.0), [], ""),
    ],
)
def test_prices_of_cash_that_jump_or_end_have_a_caution(change, codes, text):
    first, factor = change
    days = np.busday_offset(np.datetime64("2024-01-01"), np.arange(300), roll="forward")
    bills = 90 * 1.0001 ** np.arange(300)
    bills[first:] *= factor
    market = history_of(["A", "BILLS"], days, np.column_stack([np.full(300, 50.0), bills]))
    panel = a_panel(market, risk_free="BILLS")
    backtest = panel.run_backtest(panel.request)
    for found in (backtest, run({"us": panel})[0]):
        own = [each for each in found.cautions if each.text.startswith("BILLS")]
        assert [each.code for each in own] == codes
        assert text in (own[0].text if own else "")
