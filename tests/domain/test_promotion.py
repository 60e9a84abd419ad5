import attrs
import pytest

from rebalancer.config import Settings
from rebalancer.domain.backtest.evaluation import (
    Comparison,
    Finding,
    Judgement,
    PolicyEvaluation,
    Verdict,
)
from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.backtest.pooling import PooledComparison, PooledEvaluation
from rebalancer.domain.backtest.promotion import apply_gate
from rebalancer.domain.backtest.result import Performance
from rebalancer.domain.backtest.thresholds import THRESHOLD_RANGES, PromotionThresholds
from rebalancer.domain.errors import InvalidRequest

FIGURES = Performance(**dict.fromkeys((field.name for field in attrs.fields(Performance)), 0.5))
VERDICT = Verdict(Finding.NONE, "whatever.")


def a_judgement(cash="0", *, high=0.3, drawdown=-0.2, turnover=0.4, usual=0.4, sharpe=0.8):
    """The policy turns over `turnover`, monthly `usual`; the best rule's Sharpe is `sharpe`."""

    def comparison(name, gain, **figures):
        chosen = name == "trend"
        return Comparison(name, attrs.evolve(FIGURES, **figures), gain, 0.9, 0.9, 0.9, chosen)

    gain = None if high is None else ConfidenceInterval(high - 0.2, high - 0.4, high)
    comparisons = (
        comparison("monthly", ConfidenceInterval(0.1, 0.0, 0.2), turnover=usual),
        comparison("trend", gain, sharpe=sharpe),
    )
    own = attrs.evolve(FIGURES, turnover=turnover)
    return Judgement(cash, own, comparisons, drawdown, (), (), None)


def evaluation(*judgements, best="trend"):
    return PolicyEvaluation("ppo", judgements or (a_judgement(),), VERDICT, best)


def pooled(deflated=0.9, at_zero=None):
    def comparisons(sure):
        gain = None if sure is None else ConfidenceInterval(0.1, -0.1, 0.3)
        return (PooledComparison("trend", 3, gain, 0.1, 0.95, sure, chosen=True),)

    zero = comparisons(deflated if at_zero is None else at_zero)
    return PooledEvaluation("ppo", zero, comparisons(deflated), VERDICT)


def promotion(panels=None, together=None, thresholds=None):
    return apply_gate(
        {"us.csv": evaluation()} if panels is None else panels,
        pooled() if together is None else together,
        PromotionThresholds() if thresholds is None else thresholds,
    )


def criterion(name, **arguments):
    return next(each for each in promotion(**arguments).criteria if each.name == name)


def test_a_policy_that_meets_every_criterion_passes():
    found = promotion()
    assert found.passed
    assert (found.policy, found.best_rule) == ("ppo", "trend")
    assert [each.name for each in found.criteria] == ["gain", "losses", "drawdown", "turnover"]
    assert [each.figure for each in found.criteria] == [0.9, 0.0, -0.2, 1.0]
    assert [each.threshold for each in found.criteria] == [0.8, 0.0, -0.1, 1.5]


@pytest.mark.parametrize(
    ("name", "arguments", "figure", "passed"),
    [
        ("gain", {"together": pooled(0.8)}, 0.8, True),
        ("gain", {"together": pooled(0.79)}, 0.79, False),
        ("gain", {"together": pooled(0.99, at_zero=0.5)}, 0.5, False),  # the worse of both
        ("gain", {"together": pooled(0.5, at_zero=0.99)}, 0.5, False),
        # The best rule's Sharpe ratio is 0.8: 5% of it is 0.04.
        ("losses", {"panels": {"a": evaluation(a_judgement(high=-0.039))}}, 0, True),
        ("losses", {"panels": {"a": evaluation(a_judgement(high=-0.041))}}, 1, False),
        ("losses", {"panels": {"a": evaluation(a_judgement(high=-0.041, sharpe=-0.8))}}, 1, False),
        ("losses", {"panels": {"a": evaluation(a_judgement(high=None))}}, 0, True),
        (
            "losses",
            {"panels": {"a": evaluation(), "b": evaluation(a_judgement(high=-1))}},
            1,
            False,
        ),
        ("losses", {"panels": {"a": evaluation(a_judgement(high=-1), a_judgement("B"))}}, 1, False),
        ("drawdown", {"panels": {"a": evaluation(a_judgement(drawdown=-0.1))}}, -0.1, True),
        ("drawdown", {"panels": {"a": evaluation(a_judgement(drawdown=-0.09))}}, -0.09, False),
        (
            "drawdown",
            {
                "panels": {
                    name: evaluation(a_judgement(drawdown=each))
                    for name, each in zip("abc", (-0.5, -0.11, 0.3), strict=True)
                }
            },
            -0.11,
            True,
        ),
        (
            "drawdown",
            {
                "panels": {
                    "a": evaluation(a_judgement(drawdown=-0.3), a_judgement("B", drawdown=0.1))
                }
            },
            0.1,
            False,
        ),
        ("turnover", {"panels": {"a": evaluation(a_judgement(turnover=0.6))}}, 1.5, True),
        ("turnover", {"panels": {"a": evaluation(a_judgement(turnover=0.7))}}, 1.75, False),
        ("turnover", {"panels": {"a": evaluation(a_judgement(turnover=0, usual=0))}}, 0, True),
        (
            "turnover",
            {
                "panels": {
                    name: evaluation(a_judgement(turnover=each))
                    for name, each in zip("abc", (4.0, 0.2, 0.4), strict=True)
                }
            },
            1.0,
            True,
        ),
    ],
)
def test_criteria_by_hand(name, arguments, figure, passed):
    found = criterion(name, **arguments)
    assert found.figure == pytest.approx(figure)
    assert found.passed is passed
    assert found.sentence.endswith(".")
    assert promotion(**arguments).passed is passed


@pytest.mark.parametrize(
    ("name", "arguments", "fragment"),
    [
        ("gain", {"together": pooled(None)}, "is undefined"),
        ("gain", {"together": pooled(None, at_zero=0.9)}, "is undefined"),
        ("drawdown", {"panels": {"a": evaluation(a_judgement(drawdown=None))}}, "is undefined"),
        ("turnover", {"panels": {"a": evaluation(a_judgement(usual=0))}}, "is undefined"),
    ],
)
def test_undefined_figure_fails(name, arguments, fragment):
    found = criterion(name, **arguments)
    assert (found.figure, found.passed) == (None, False)
    assert fragment in found.sentence


def test_custom_thresholds_apply_and_losing_panels_are_named():
    strict = PromotionThresholds(probability=0.95, loss=0.0, drawdown=-0.25, turnover=0.9)
    found = promotion({"us.csv": evaluation(a_judgement(high=-0.01))}, thresholds=strict)
    assert [each.passed for each in found.criteria] == [False] * 4
    assert "1 of 1 (us.csv)" in found.criteria[1].sentence


@pytest.mark.parametrize(
    ("field", "value"),
    [("probability", 0.4), ("loss", -0.1), ("drawdown", -2), ("turnover", float("nan"))],
)
def test_threshold_out_of_range_is_rejected(field, value):
    with pytest.raises(InvalidRequest) as error:
        PromotionThresholds(**{field: value})
    assert (error.value.field, error.value.code) == (field, "threshold_out_of_range")


def test_every_threshold_has_a_range_and_a_setting():
    names = [field.name for field in attrs.fields(PromotionThresholds)]
    assert names == list(THRESHOLD_RANGES)
    assert all(hasattr(Settings(), f"gate_{name}") for name in names)


def test_policy_without_best_rule_is_not_evaluated():
    found = promotion({"a": evaluation(best=None)})
    assert (found.best_rule, found.criteria, found.passed) == (None, (), False)
    assert "no rule was chosen on training data" in found.lines[0]


def test_lines_repeat_the_criteria():
    found = promotion(together=pooled(0.5))
    head, *lines = found.lines
    assert head == "ppo: a gain over trend is not shown."
    assert [line[:4] for line in lines] == ["FAIL", "pass", "pass", "pass"]
    for each, line in zip(found.criteria, lines, strict=True):
        assert line.endswith(each.sentence)
    assert promotion().lines[0] == "ppo: a gain over trend is shown."
