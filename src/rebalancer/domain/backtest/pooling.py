"""Pooled evaluation: one figure with one interval for several panels of prices.

Panels that share days are not independent, so they are resampled together; see
`evidence.pooled_gain`.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rebalancer.domain.backtest import evidence
from rebalancer.domain.backtest.engine import BASELINE
from rebalancer.domain.backtest.evaluation import (
    IS_BASELINE,
    Finding,
    Judgement,
    PanelEvaluation,
    PolicyEvaluation,
    Verdict,
    describe_deflated,
    describe_difference,
    explain_doubt,
)
from rebalancer.domain.backtest.evidence import ConfidenceInterval


@attrs.frozen
class PooledComparison:
    """Comparison of a policy with another, ``against``, over all panels that are long enough.

    Attributes:
        panels: Number of panels that are long enough.
        gain: Mean over panels of the annual Sharpe ratio of the policy minus the other's, with its
            95% interval; None if no panel is long enough.
        median: Median over panels of the same difference.
        probability: Probability that the mean is above 0.
        deflated: Probability that the mean is above what the best of the trials shows by luck.
        chosen: Whether the other policy is the best rule on training data.
    """

    against: str
    panels: int
    gain: ConfidenceInterval | None
    median: float | None
    probability: float | None
    deflated: float | None
    chosen: bool = False


@attrs.frozen
class PooledEvaluation:
    """Evaluation of a policy on all panels together.

    Attributes:
        at_zero: Comparisons with cash at 0, in the order of `Judgement.comparisons`.
        strictest: Comparisons with the returns of cash, on panels where they are known.
    """

    policy: str
    at_zero: tuple[PooledComparison, ...]
    strictest: tuple[PooledComparison, ...]
    verdict: Verdict

    @property
    def best_rule(self) -> tuple[PooledComparison, ...]:
        """Comparisons with the best rule on training data, one a return of cash."""
        return tuple(each for each in (*self.at_zero, *self.strictest) if each.chosen)


def pool(panels: Sequence[PanelEvaluation], *, seed: int = 0) -> tuple[PooledEvaluation, ...]:
    """Pool each policy's evaluations over all panels, whose policies and trials are the same.

    The seed is that of the bootstrap behind intervals.
    """
    pooled = []
    for at, first in enumerate(panels[0].policies):
        evaluations = [panel.policies[at] for panel in panels]
        at_zero = _pool_comparisons(panels, [each.judgements[0] for each in evaluations], seed)
        strictest = at_zero
        if any(len(each.judgements) > 1 for each in evaluations):
            strictest = _pool_comparisons(panels, [each.strictest for each in evaluations], seed)
        verdict = _reach_pooled_verdict(first, at_zero[0], strictest[0], panels[0].trials)
        pooled.append(PooledEvaluation(first.policy, at_zero, strictest, verdict))
    return tuple(pooled)


def _pool_comparisons(
    panels: Sequence[PanelEvaluation], judgements: Sequence[Judgement], seed: int
) -> tuple[PooledComparison, ...]:
    pooled = []
    for at, comparison in enumerate(judgements[0].comparisons):
        pairs = [
            judgement.pair(judgement.comparisons[at])
            for judgement in judgements
            if judgement.comparisons[at].gain is not None
        ]
        gain = evidence.pooled_gain(pairs, seed=seed, trials=panels[0].trials)
        pooled.append(
            PooledComparison(
                against=comparison.against,
                panels=len(pairs),
                gain=gain.interval if gain else None,
                median=gain.median if gain else None,
                probability=gain.probability if gain else None,
                deflated=gain.deflated if gain else None,
                chosen=comparison.chosen,
            )
        )
    return tuple(pooled)


def _reach_pooled_verdict(
    evaluation: PolicyEvaluation,
    at_zero: PooledComparison,
    strictest: PooledComparison,
    trials: int,
) -> Verdict:
    """Conclude from the pooled gain over the monthly rule, as `reach_verdict` does for a panel."""
    if evaluation.policy == BASELINE:
        return Verdict(Finding.NONE, IS_BASELINE)
    both = (at_zero, strictest)
    gain, deflated = strictest.gain, strictest.deflated
    if gain is None or deflated is None or at_zero.gain is None:
        return Verdict(Finding.INCONCLUSIVE, "no conclusion: no panel is long enough.")
    panels = "1 panel" if strictest.panels == 1 else f"{strictest.panels} panels"
    difference = f"over {panels} {describe_difference(gain, 'on average ')}"
    if all(each.gain is not None and each.gain.high < 0 for each in both):
        return Verdict(Finding.LOSS, f"evidence of a loss against {BASELINE}: {difference}.")
    doubts = [explain_doubt(each.gain, each.deflated, trials) for each in both]
    if not any(doubts):
        return Verdict(
            Finding.GAIN,
            f"evidence of a gain over {BASELINE}: {difference}, "
            f"{describe_deflated(deflated, trials)}.",
        )
    why = doubts[1] or ", but the evidence fails with cash at 0"
    return Verdict(Finding.NONE, f"no evidence of a gain over {BASELINE}: {difference}{why}.")
