"""May a learned policy take a rule's place? Four criteria, each with its figure and threshold.

It has to be better than the best rule that was chosen on training data: on all validation panels
together, and clearly worse on none; it must fall less than its exposure explains; and it must not
buy that with turnover. Where cash was evaluated at two returns, the worse figure counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import attrs

from rebalancer.domain.backtest.engine import BASELINE
from rebalancer.domain.backtest.evaluation import Comparison, Judgement, PolicyEvaluation
from rebalancer.domain.backtest.pooling import PooledEvaluation
from rebalancer.domain.errors import InvalidRequest


@attrs.frozen
class PromotionThresholds:
    """What a policy has to reach.

    Attributes:
        probability: Least deflated probability of a gain on the best rule, pooled over panels.
        loss: No panel's 95% interval of that gain may lie wholly below minus this share of the
            best rule's Sharpe ratio there.
        drawdown: Most drawdown beyond exposure, median over panels; -0.1: a tenth shallower.
        turnover: Most turnover as a multiple of the baseline's, median over panels.
    """

    probability: float = 0.8
    loss: float = 0.05
    drawdown: float = -0.10
    turnover: float = 1.5

    def __attrs_post_init__(self) -> None:
        for name, low, high in (
            ("probability", 0.5, 1.0),
            ("loss", 0.0, 1.0),
            ("drawdown", -1.0, 1.0),
            ("turnover", 0.0, 100.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidRequest(f"must be from {low:g} to {high:g}, got {value}", field=name)


@attrs.frozen
class Criterion:
    """One thing that is asked of a policy.

    Attributes:
        name: In a word or two, for scripts.
        figure: What was found; None where nothing can be told, which is no pass.
        threshold: What it is held to.
        passed: Whether it suffices.
        sentence: The same in plain words.
    """

    name: str
    figure: float | None
    threshold: float
    passed: bool
    sentence: str


@attrs.frozen
class PromotionDecision:
    """Whether a policy may take the best rule's place.

    Attributes:
        policy: Its name.
        best_rule: The rule that it is held to; None where none was chosen on training data.
        criteria: What was asked; none without a rule to be held to.
    """

    policy: str
    best_rule: str | None
    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """Whether every criterion was met."""
        return bool(self.criteria) and all(each.passed for each in self.criteria)

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: what it comes to, then a line a criterion."""
        if not self.criteria:
            return (
                f"{self.policy}: promotion not evaluated, for no rule was chosen on training data.",
            )
        way = "passes" if self.passed else "does not pass"
        return (
            f"{self.policy}: {way} the promotion gate, held to {self.best_rule}.",
            *(f"{'pass' if each.passed else 'FAIL'}  {each.sentence}" for each in self.criteria),
        )


def apply_gate(
    panels: Mapping[str, PolicyEvaluation],
    pooled: PooledEvaluation,
    thresholds: PromotionThresholds,
) -> PromotionDecision:
    """Hold a policy to the promotion gate.

    Args:
        panels: The policy, evaluated on each validation panel, by the panel's name; one or more.
        pooled: The same policy on all of them together.
        thresholds: What it has to reach.
    """
    best = next(iter(panels.values())).chosen_rule
    if best is None:
        return PromotionDecision(pooled.policy, None, ())
    criteria = (
        _gain(best, pooled, thresholds.probability),
        _losses(best, panels, thresholds.loss),
        _drawdown(list(panels.values()), thresholds.drawdown),
        _turnover(list(panels.values()), thresholds.turnover),
    )
    return PromotionDecision(pooled.policy, best, criteria)


def _gain(best: str, pooled: PooledEvaluation, least: float) -> Criterion:
    told = [each.deflated for each in pooled.best_rule]
    sure = [each for each in told if each is not None]
    if not sure or len(sure) < len(told):
        why = f"whether it gains on {best} cannot be told: no panel is long enough"
        return Criterion("gain", None, least, False, f"{why}.")
    figure = min(sure)
    count = pooled.best_rule[0].panels
    return Criterion(
        "gain",
        figure,
        least,
        figure >= least,
        f"probability of a higher Sharpe ratio than {best}'s, pooled over "
        f"{count} panel{'' if count == 1 else 's'} and deflated for trials: {figure:.2f}, at least "
        f"{least:.2f} is asked.",
    )


def _losses(best: str, panels: Mapping[str, PolicyEvaluation], share: float) -> Criterion:
    worse = [
        name
        for name, evaluation in panels.items()
        if any(_clear_loss(each.best_rule, share) for each in evaluation.judgements)
    ]
    named = f" ({', '.join(worse)})" if worse else ""
    return Criterion(
        "losses",
        float(len(worse)),
        0.0,
        not worse,
        f"panels on which its Sharpe ratio lies clearly more than {share:.0%} below {best}'s: "
        f"{len(worse)} of {len(panels)}{named}, none is allowed.",
    )


def _clear_loss(comparison: Comparison | None, share: float) -> bool:
    if comparison is None or comparison.gain is None:
        return False
    return comparison.gain.high < -share * abs(comparison.performance.sharpe)


def _drawdown(panels: Sequence[PolicyEvaluation], most: float) -> Criterion:
    medians = []
    for every in _by_cash(panels):
        told = [each.drawdown_beyond_exposure for each in every]
        known = [each for each in told if each is not None]
        medians.append(median(known) if known else None)
    figures = [each for each in medians if each is not None]
    if len(figures) < len(medians):
        why = "its drawdown beyond exposure cannot be told: nothing fell"
        return Criterion("drawdown", None, most, False, f"{why}.")
    figure = max(figures)
    return Criterion(
        "drawdown",
        figure,
        most,
        figure <= most,
        f"drawdown beyond what exposure explains, median over panels: {figure:+.0%}, at most "
        f"{most:+.0%} is asked.",
    )


def _turnover(panels: Sequence[PolicyEvaluation], most: float) -> Criterion:
    figure = max(median(_times(each) for each in every) for every in _by_cash(panels))
    if math.isinf(figure):
        why = f"it trades where {BASELINE} does not, so that its turnover has no multiple"
        return Criterion("turnover", None, most, False, f"{why}.")
    return Criterion(
        "turnover",
        figure,
        most,
        figure <= most,
        f"turnover as a multiple of {BASELINE}'s, median over panels: {figure:.2f}, at most "
        f"{most:.2f} is allowed.",
    )


def _times(judgement: Judgement) -> float:
    own = judgement.performance.turnover_per_year
    usual = judgement.baseline.performance.turnover_per_year
    if usual > 0:
        return own / usual
    return math.inf if own > 0 else 0.0


def _by_cash(panels: Sequence[PolicyEvaluation]) -> tuple[list[Judgement], list[Judgement]]:
    """The judgements of all panels with cash at 0, and with what it truly earned."""
    return [each.judgements[0] for each in panels], [each.strictest for each in panels]
