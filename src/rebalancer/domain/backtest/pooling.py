"""What several panels of prices come to together: one figure with one interval.

Panels that share days share their luck, so they are resampled together; see `evidence.pooled_gain`.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rebalancer.domain.backtest import evidence
from rebalancer.domain.backtest.engine import BASELINE
from rebalancer.domain.backtest.evaluation import (
    Finding,
    Judgement,
    PanelEvaluation,
    PolicyEvaluation,
    Verdict,
    describe_deflated,
    doubt,
)
from rebalancer.domain.backtest.evidence import ConfidenceInterval


@attrs.frozen
class PooledComparison:
    """A policy against another, over all panels that can tell them apart.

    Attributes:
        against: The other's name.
        panels: How many panels that are.
        gain: Mean over panels of the Sharpe ratio of the policy minus the other's, a year, with its
            95% interval; None where no panel can tell.
        median: The median over panels of the same.
        probability: That the mean is above 0.
        deflated: That it is above what the best of the trials shows by luck.
        chosen: Whether the other is the best rule on training data.
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
    """A policy on all panels together.

    Attributes:
        policy: Its name.
        at_zero: Contests with cash at 0; as `Judgement.comparisons`.
        strictest: Contests with what cash truly earned, on panels where that is known.
        verdict: What it comes to.
    """

    policy: str
    at_zero: tuple[PooledComparison, ...]
    strictest: tuple[PooledComparison, ...]
    verdict: Verdict

    @property
    def best_rule(self) -> tuple[PooledComparison, ...]:
        """Contests against the best rule on training data, with cash at each of its returns."""
        return tuple(each for each in (*self.at_zero, *self.strictest) if each.chosen)


def pool(panels: Sequence[PanelEvaluation], *, seed: int = 0) -> tuple[PooledEvaluation, ...]:
    """Each policy on all panels together.

    Args:
        panels: The same policies evaluated beside the same sceptics, after the same trials.
        seed: Of the resampling behind intervals.
    """
    pooled = []
    for at, first in enumerate(panels[0].policies):
        every = [panel.policies[at] for panel in panels]
        at_zero = _compare_pooled(panels, [evaluation.judgements[0] for evaluation in every], seed)
        strictest = at_zero
        if any(len(evaluation.judgements) > 1 for evaluation in every):
            strictest = _compare_pooled(
                panels, [evaluation.strictest for evaluation in every], seed
            )
        verdict = _verdict(first, at_zero[0], strictest[0], panels[0].trials)
        pooled.append(PooledEvaluation(first.policy, at_zero, strictest, verdict))
    return tuple(pooled)


def _compare_pooled(
    panels: Sequence[PanelEvaluation], judgements: Sequence[Judgement], seed: int
) -> tuple[PooledComparison, ...]:
    found = []
    for at, comparison in enumerate(judgements[0].comparisons):
        pairs = [
            judgement.pair(judgement.comparisons[at], panel.dates)
            for panel, judgement in zip(panels, judgements, strict=True)
            if judgement.comparisons[at].gain is not None
        ]
        gain = evidence.pooled_gain(pairs, seed=seed, trials=panels[0].trials)
        found.append(
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
    return tuple(found)


def _verdict(
    evaluation: PolicyEvaluation,
    at_zero: PooledComparison,
    strictest: PooledComparison,
    trials: int,
) -> Verdict:
    """As `reach_verdict`, of the pooled gain on the baseline."""
    if evaluation.policy == BASELINE:
        return Verdict(Finding.NONE, f"this is {BASELINE} itself, which the others are held to.")
    both = (at_zero, strictest)
    gain, deflated = strictest.gain, strictest.deflated
    if gain is None or deflated is None or at_zero.gain is None:
        return Verdict(Finding.INCONCLUSIVE, "nothing can be told: no panel is long enough.")
    told = (
        f"over {_panels(strictest.panels)} its Sharpe ratio is on average "
        f"{abs(gain.estimate):.2f} {'higher' if gain.estimate > 0 else 'lower'} "
        f"(95% from {gain.low:+.2f} to {gain.high:+.2f})"
    )
    if all(each.gain is not None and each.gain.high < 0 for each in both):
        return Verdict(Finding.LOSS, f"evidence of a loss on {BASELINE}: {told}.")
    doubts = [doubt(each.gain, each.deflated, trials) for each in both]
    if not any(doubts):
        return Verdict(
            Finding.GAIN,
            f"evidence of a gain on {BASELINE}: {told}, {describe_deflated(deflated, trials)}.",
        )
    why = doubts[1] or ", but with cash at 0 it is not sure"
    return Verdict(Finding.NONE, f"no evidence of a gain on {BASELINE}: {told}{why}.")


def _panels(count: int) -> str:
    return "1 panel" if count == 1 else f"{count} panels"
