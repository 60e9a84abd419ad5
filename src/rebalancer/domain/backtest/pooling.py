"""What several panels of prices come to together: one figure with one interval.

Panels that share days share their luck, so they are resampled together; see `evidence.pooled_gain`.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rebalancer.domain.backtest import evidence
from rebalancer.domain.backtest.evaluation import (
    Evaluation,
    Finding,
    Judged,
    Judgement,
    Verdict,
    doubt,
    told_deflated,
)
from rebalancer.domain.backtest.evidence import Interval
from rebalancer.domain.backtest.run import BASELINE


@attrs.frozen
class PooledContest:
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
    gain: Interval | None
    median: float | None
    probability: float | None
    deflated: float | None
    chosen: bool = False


@attrs.frozen
class Pooled:
    """A policy on all panels together.

    Attributes:
        policy: Its name.
        at_zero: Contests with cash at 0; as `Judgement.contests`.
        strictest: Contests with what cash truly earned, on panels where that is known.
        verdict: What it comes to.
    """

    policy: str
    at_zero: tuple[PooledContest, ...]
    strictest: tuple[PooledContest, ...]
    verdict: Verdict

    @property
    def best_rule(self) -> tuple[PooledContest, ...]:
        """Contests against the best rule on training data, with cash at each of its returns."""
        return tuple(each for each in (*self.at_zero, *self.strictest) if each.chosen)


def pool(panels: Sequence[Evaluation], *, seed: int = 0) -> tuple[Pooled, ...]:
    """Each policy on all panels together.

    Args:
        panels: The same policies judged beside the same sceptics, after the same trials.
        seed: Of the resampling behind intervals.
    """
    pooled = []
    for at, first in enumerate(panels[0].judged):
        every = [panel.judged[at] for panel in panels]
        at_zero = _contests(panels, [judged.judgements[0] for judged in every], seed)
        strictest = at_zero
        if any(len(judged.judgements) > 1 for judged in every):
            strictest = _contests(panels, [judged.strictest for judged in every], seed)
        verdict = _verdict(first, at_zero[0], strictest[0], panels[0].trials)
        pooled.append(Pooled(first.policy, at_zero, strictest, verdict))
    return tuple(pooled)


def _contests(
    panels: Sequence[Evaluation], judgements: Sequence[Judgement], seed: int
) -> tuple[PooledContest, ...]:
    found = []
    for at, contest in enumerate(judgements[0].contests):
        pairs = [
            judgement.pair(judgement.contests[at], panel.dates)
            for panel, judgement in zip(panels, judgements, strict=True)
            if judgement.contests[at].gain is not None
        ]
        gain = evidence.pooled_gain(pairs, seed=seed, trials=panels[0].trials)
        found.append(
            PooledContest(
                against=contest.against,
                panels=len(pairs),
                gain=gain.interval if gain else None,
                median=gain.median if gain else None,
                probability=gain.probability if gain else None,
                deflated=gain.deflated if gain else None,
                chosen=contest.chosen,
            )
        )
    return tuple(found)


def _verdict(
    judged: Judged, at_zero: PooledContest, strictest: PooledContest, trials: int
) -> Verdict:
    """As `verdict_on`, of the pooled gain on the baseline."""
    if judged.policy == BASELINE:
        return Verdict(Finding.NONE, f"this is {BASELINE} itself, which the others are held to.")
    both = (at_zero, strictest)
    gain, deflated = strictest.gain, strictest.deflated
    if gain is None or deflated is None or at_zero.gain is None:
        return Verdict(Finding.UNTOLD, "nothing can be told: no panel is long enough.")
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
            f"evidence of a gain on {BASELINE}: {told}, {told_deflated(deflated, trials)}.",
        )
    why = doubts[1] or ", but with cash at 0 it is not sure"
    return Verdict(Finding.NONE, f"no evidence of a gain on {BASELINE}: {told}{why}.")


def _panels(count: int) -> str:
    return "1 panel" if count == 1 else f"{count} panels"
