"""Proven gain: four criteria by which a gain over the best rule counts as shown.

On all validation panels together it must have a higher Sharpe ratio than the best rule that was
chosen on training data, and on no panel a clearly lower one; its drawdown must be shallower than
its exposure explains; and its turnover must be moderate. With two returns of cash, the worse figure
counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import attrs

from rebalancer.domain.backtest.engine import BASELINE
from rebalancer.domain.backtest.evaluation import Comparison, Judgement, PolicyEvaluation
from rebalancer.domain.backtest.pooling import PooledEvaluation
from rebalancer.domain.backtest.thresholds import PromotionThresholds
from rebalancer.domain.number_text import text_beside


@attrs.frozen
class Criterion:
    """One criterion of a gate, with its result.

    Attributes:
        name: Stable code: "gain", "losses", "drawdown" or "turnover" here; `serving` has others.
        figure: Measured figure; None if undefined, which is a failure.
        threshold: Required figure.
        sentence: The result in a sentence.
    """

    name: str
    figure: float | None
    threshold: float
    passed: bool
    sentence: str


@attrs.frozen
class PromotionDecision:
    """Whether a policy's gain over the best rule is shown.

    Attributes:
        best_rule: The rule that it is compared with; None if no rule was chosen.
        criteria: Empty without a rule.
    """

    policy: str
    best_rule: str | None
    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """Whether every criterion is met."""
        return bool(self.criteria) and all(each.passed for each in self.criteria)

    @property
    def lines(self) -> tuple[str, ...]:
        """The decision as a sentence, then a line for each criterion."""
        if not self.criteria:
            return (
                f"{self.policy}: a gain was not tested, because no rule was chosen on "
                "training data.",
            )
        shown = "shown" if self.passed else "not shown"
        return (
            f"{self.policy}: a gain over {self.best_rule} is {shown}.",
            *(f"{'pass' if each.passed else 'FAIL'}  {each.sentence}" for each in self.criteria),
        )


def apply_gate(
    panels: Mapping[str, PolicyEvaluation],
    pooled: PooledEvaluation,
    thresholds: PromotionThresholds,
) -> PromotionDecision:
    """Test the gain of a policy that was evaluated on at least one validation panel."""
    best = next(iter(panels.values())).chosen_rule
    if best is None:
        return PromotionDecision(pooled.policy, None, ())
    criteria = (
        _check_gain(best, pooled, thresholds.probability),
        _check_losses(best, panels, thresholds.loss),
        _check_drawdown(list(panels.values()), thresholds.drawdown),
        _check_turnover(list(panels.values()), thresholds.turnover),
    )
    return PromotionDecision(pooled.policy, best, criteria)


def _check_gain(best: str, pooled: PooledEvaluation, least: float) -> Criterion:
    deflated = [each.deflated for each in pooled.best_rule]
    known = [each for each in deflated if each is not None]
    if not known or len(known) < len(deflated):
        sentence = f"the gain over {best} is undefined: no panel is long enough."
        return Criterion("gain", None, least, False, sentence)
    figure = min(known)
    count = pooled.best_rule[0].panels
    return Criterion(
        "gain",
        figure,
        least,
        figure >= least,
        f"probability of a higher Sharpe ratio than {best}, pooled over "
        f"{count} panel{'' if count == 1 else 's'} and deflated for trials: "
        f"{text_beside(figure, least)}; at least "
        f"{least:.2f} is required.",
    )


def _check_losses(best: str, panels: Mapping[str, PolicyEvaluation], share: float) -> Criterion:
    worse = [
        name
        for name, evaluation in panels.items()
        if any(_is_clear_loss(each.best_rule, share) for each in evaluation.judgements)
    ]
    named = f" ({', '.join(worse)})" if worse else ""
    return Criterion(
        "losses",
        float(len(worse)),
        0.0,
        not worse,
        f"panels with a Sharpe ratio clearly more than {share:.0%} below that of {best}: "
        f"{len(worse)} of {len(panels)}{named}; at most 0 are allowed.",
    )


def _is_clear_loss(comparison: Comparison | None, share: float) -> bool:
    if comparison is None or comparison.gain is None:
        return False
    return comparison.gain.high < -share * abs(comparison.performance.sharpe)


def _check_drawdown(panels: Sequence[PolicyEvaluation], most: float) -> Criterion:
    medians = []
    for judgements in _judgements_by_cash(panels):
        figures = [each.drawdown_beyond_exposure for each in judgements]
        known = [each for each in figures if each is not None]
        medians.append(median(known) if known else None)
    defined = [each for each in medians if each is not None]
    if len(defined) < len(medians):
        sentence = "drawdown beyond exposure is undefined: nothing fell."
        return Criterion("drawdown", None, most, False, sentence)
    figure = max(defined)
    return Criterion(
        "drawdown",
        figure,
        most,
        figure <= most,
        f"drawdown beyond what exposure explains, median over panels: "
        f"{text_beside(figure, most, 0, '%')}; at most "
        f"{most:+.0%} is allowed.",
    )


def _check_turnover(panels: Sequence[PolicyEvaluation], most: float) -> Criterion:
    figure = max(
        median(_turnover_multiple(each) for each in judgements)
        for judgements in _judgements_by_cash(panels)
    )
    if math.isinf(figure):
        sentence = f"turnover as a multiple of {BASELINE}'s is undefined: {BASELINE} did not trade."
        return Criterion("turnover", None, most, False, sentence)
    return Criterion(
        "turnover",
        figure,
        most,
        figure <= most,
        f"turnover as a multiple of {BASELINE}'s, median over panels: "
        f"{text_beside(figure, most)}; at most "
        f"{most:.2f} is allowed.",
    )


def _turnover_multiple(judgement: Judgement) -> float:
    own = judgement.performance.turnover
    usual = judgement.baseline.performance.turnover
    if usual > 0:
        return own / usual
    return math.inf if own > 0 else 0.0


def _judgements_by_cash(
    panels: Sequence[PolicyEvaluation],
) -> tuple[list[Judgement], list[Judgement]]:
    """Return the judgements of all panels with cash at 0, and with the returns of cash."""
    return [each.judgements[0] for each in panels], [each.strictest for each in panels]
