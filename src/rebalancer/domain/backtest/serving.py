"""Serving gate: what a procedure must show by walk-forward for its policy to serve.

The claim is the same reward for risk with smaller drawdowns and fewer trades, so the gate asks for
exactly that: a Sharpe ratio that is not inferior by more than a margin, a drawdown that is
shallower than exposure explains, and few orders at moderate turnover. A higher Sharpe ratio is a
separate question, `WalkForwardEvidence.proven`, and the answer is stated next to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import attrs
import numpy as np

from rebalancer.domain.backtest.engine import BASELINE
from rebalancer.domain.backtest.evidence import pooled_gain
from rebalancer.domain.backtest.promotion import Criterion
from rebalancer.domain.backtest.thresholds import PromotionThresholds, ServingThresholds
from rebalancer.domain.backtest.walk_forward import (
    Fold,
    FoldComparison,
    FoldPanel,
    Medians,
    PartOfTime,
    Terms,
    WithoutCrash,
    compare,
    effective_panels,
    find_medians,
    leave_out_crash,
    pairs_with,
    probability_of_smaller_drawdown,
    seed_drawdowns,
    split_time,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.number_text import text_beside

BEST_RULE = "the best rule on past data"
AVERAGE = "its own average mix and exposure"


@attrs.frozen
class Summary:
    """Figures over some folds and panels; comparisons are None if nothing is long enough.

    Attributes:
        monthly: Comparison with the monthly rule.
        best_rule: Comparison with the rule that was best on the past data of each fold.
        skeleton: Comparison with the policy's own average; None for a rule.
        smaller_drawdown: Probability that the median drawdown beyond exposure is below 0.
    """

    medians: Medians
    monthly: FoldComparison | None
    best_rule: FoldComparison | None
    skeleton: FoldComparison | None
    smaller_drawdown: float | None


@attrs.frozen
class SkeletonFigures:
    """How a learned policy relates to its own average, means over folds and panels.

    Attributes:
        differs: Share of decisions whose targets are more than two points away from it.
        distance: One-way distance of the targets from it.
        invested: Its invested share.
        parts: Parts of its mix, the strategic weights first.
    """

    differs: float
    distance: float
    invested: float
    parts: tuple[float, ...]


@attrs.frozen(eq=False)
class WalkForwardEvidence:
    """What the walk-forward shows about a procedure.

    Attributes:
        results: Evaluations of each refit on each panel of its fold.
        whole: Over all folds.
        by_fold: Over each fold; the last one is that of the policy that serves.
        criteria: What serving requires.
        proven: Whether a higher Sharpe ratio than that of the best rule is shown.
        proven_sentence: The same in a sentence.
        panels: Number of panels.
        effective_panels: How many independent panels they are worth.
        without_crash: Without the worst five months of each panel's worst crash.
        thirds: Gain over the monthly rule by thirds of time.
        seeds: Median drawdown beyond exposure of each seed.
        skeleton: Relation to the policy's own average; None for a rule.
    """

    policy: str
    results: tuple[FoldPanel, ...]
    whole: Summary
    by_fold: tuple[tuple[Fold, Summary], ...]
    criteria: tuple[Criterion, ...]
    proven: bool
    proven_sentence: str
    panels: int
    effective_panels: float
    without_crash: WithoutCrash
    thirds: tuple[PartOfTime, ...]
    seeds: tuple[float | None, ...]
    skeleton: SkeletonFigures | None

    @property
    def passed(self) -> bool:
        """Whether the policy may serve: every criterion is met."""
        return all(each.passed for each in self.criteria)

    @property
    def lines(self) -> tuple[str, ...]:
        """The decision as a sentence, then a line for each criterion, then the higher Sharpe."""
        verb = "may serve" if self.passed else "may not serve"
        return (
            f"{self.policy}: {verb}, by walk-forward over {len(self.by_fold)} "
            f"refit{'' if len(self.by_fold) == 1 else 's'} and {self.panels} "
            f"panel{'' if self.panels == 1 else 's'}.",
            *(f"{'pass' if each.passed else 'FAIL'}  {each.sentence}" for each in self.criteria),
            self.proven_sentence,
        )


def judge_walk_forward(
    policy: str,
    results: Sequence[FoldPanel],
    thresholds: ServingThresholds,
    promotion: PromotionThresholds,
    *,
    trials: int,
    seed: int = 0,
) -> WalkForwardEvidence:
    """Judge a procedure by all its refits.

    Args:
        policy: Name of the procedure.
        results: Its evaluations; at least one.
        thresholds: What serving requires.
        promotion: Its ``probability`` is what a proven gain requires.
        trials: Number of procedures tried in all, for deflated probabilities.
        seed: Seed of the bootstraps.

    Raises:
        InvalidRequest: no evaluation.
    """
    if not results:
        raise InvalidRequest(
            f"{policy} was judged on no panel; give prices that reach into the folds",
            field="prices",
            code="no_panel_in_folds",
        )
    ordered = sorted(results, key=lambda each: each.fold.first)
    terms = Terms(thresholds.margin, trials, seed)
    whole = _summarize(ordered, terms)
    folds = [
        (fold, _summarize(list(group), terms))
        for fold, group in groupby(ordered, key=lambda each: each.fold)
    ]
    seeds = seed_drawdowns(ordered)
    criteria = [
        _check_sharpe("sharpe_monthly", BASELINE, whole.monthly, thresholds),
        _check_sharpe("sharpe_best_rule", BEST_RULE, whole.best_rule, thresholds),
    ]
    figures = _skeleton_figures(ordered)
    if figures is not None:
        criteria.append(_check_sharpe("sharpe_average", AVERAGE, whole.skeleton, thresholds))
    criteria += [
        _check_drawdown(whole.medians, thresholds.drawdown),
        _check_drawdown_probability(whole.smaller_drawdown, thresholds.drawdown_probability),
        _check_multiple("orders", whole.medians.orders, thresholds.orders),
        _check_multiple("turnover", whole.medians.turnover, thresholds.turnover),
        _check_panels(ordered, terms),
    ]
    if figures is not None:
        criteria.append(_check_seeds(seeds))
    proven, sentence = _check_proven(whole.best_rule, promotion.probability)
    return WalkForwardEvidence(
        policy=policy,
        results=tuple(ordered),
        whole=whole,
        by_fold=tuple(folds),
        criteria=tuple(criteria),
        proven=proven,
        proven_sentence=sentence,
        panels=len({each.panel for each in ordered}),
        effective_panels=effective_panels(ordered),
        without_crash=leave_out_crash(ordered, terms),
        thirds=split_time(ordered, terms),
        seeds=seeds,
        skeleton=figures,
    )


def _summarize(results: Sequence[FoldPanel], terms: Terms) -> Summary:
    monthly, best_rule, skeleton = (
        compare(pairs_with(results, which), terms)
        for which in ("baseline", "best_rule", "skeleton_comparison")
    )
    return Summary(
        medians=find_medians(results),
        monthly=monthly,
        best_rule=best_rule,
        skeleton=skeleton,
        smaller_drawdown=probability_of_smaller_drawdown(results, seed=terms.seed),
    )


def _skeleton_figures(results: Sequence[FoldPanel]) -> SkeletonFigures | None:
    known = [each.judgement.skeleton for each in results if each.judgement.skeleton is not None]
    if not known:
        return None
    count = len(known)
    return SkeletonFigures(
        differs=sum(each.differs for each in known) / count,
        distance=sum(each.distance for each in known) / count,
        invested=sum(each.invested for each in known) / count,
        parts=tuple(np.mean([each.parts for each in known], axis=0).tolist()),
    )


def _check_sharpe(
    name: str, other: str, comparison: FoldComparison | None, thresholds: ServingThresholds
) -> Criterion:
    least = thresholds.probability
    if comparison is None:
        sentence = f"the Sharpe ratio relative to {other} is undefined: no panel is long enough."
        return Criterion(name, None, least, False, sentence)
    figure = comparison.not_inferior
    return Criterion(
        name,
        figure,
        least,
        figure >= least,
        f"probability that its Sharpe ratio is at most {thresholds.margin:.2f} below that of "
        f"{other}: {text_beside(figure, least)} (difference "
        f"{comparison.gain.estimate:+.2f}, 95% from {comparison.gain.low:+.2f} to "
        f"{comparison.gain.high:+.2f}); at least {least:.2f} is required.",
    )


def _check_drawdown(medians: Medians, most: float) -> Criterion:
    figure = medians.drawdown
    if figure is None:
        sentence = "drawdown beyond exposure is undefined: nothing fell."
        return Criterion("drawdown", None, most, False, sentence)
    return Criterion(
        "drawdown",
        figure,
        most,
        figure <= most,
        f"drawdown beyond what exposure explains, median over folds and panels: "
        f"{text_beside(figure, most, 0, '%')}; at "
        f"most {most:+.0%} is allowed.",
    )


def _check_drawdown_probability(figure: float | None, least: float) -> Criterion:
    if figure is None:
        sentence = "the probability of a smaller drawdown is undefined: nothing fell."
        return Criterion("drawdown_probability", None, least, False, sentence)
    return Criterion(
        "drawdown_probability",
        figure,
        least,
        figure >= least,
        f"probability that this median is below 0: {text_beside(figure, least)}; at least "
        f"{least:.2f} is required.",
    )


def _check_multiple(name: str, figure: float | None, most: float) -> Criterion:
    if figure is None:
        sentence = f"{name} as a multiple of {BASELINE}'s: undefined, {BASELINE} did not trade."
        return Criterion(name, None, most, False, sentence)
    return Criterion(
        name,
        figure,
        most,
        figure <= most,
        f"{name} as a multiple of {BASELINE}'s, median over folds and panels: "
        f"{text_beside(figure, most)}; at "
        f"most {most:.2f} is allowed.",
    )


def _check_panels(results: Sequence[FoldPanel], terms: Terms) -> Criterion:
    """Check that no panel, over all its folds, has an interval wholly below minus the margin."""
    worse = []
    names = sorted({each.panel for each in results})
    for name in names:
        own = [each for each in results if each.panel == name]
        pairs = [pair for pair in pairs_with(own, "baseline") if pair.is_sufficient]
        gain = pooled_gain(pairs, seed=terms.seed, trials=terms.trials)
        if gain is not None and gain.interval.high < -terms.margin:
            worse.append(name)
    named = f" ({', '.join(worse)})" if worse else ""
    return Criterion(
        "panels",
        float(len(worse)),
        0.0,
        not worse,
        f"panels on which the 95% interval of the difference to {BASELINE} lies wholly below "
        f"-{terms.margin:.2f}: {len(worse)} of {len(names)}{named}; at most 0 are allowed.",
    )


def _check_seeds(seeds: Sequence[float | None]) -> Criterion:
    """Check that each seed alone has a drawdown that is shallower than its exposure explains."""
    known = [each for each in seeds if each is not None]
    if not seeds or len(known) < len(seeds):
        sentence = "seeds: undefined, because the policy has fewer than two networks."
        return Criterion("seeds", None, 0.0, False, sentence)
    return Criterion(
        "seeds",
        max(known),
        0.0,
        max(known) < 0,
        f"drawdown beyond exposure of each of {len(known)} seeds alone, median over folds and "
        f"panels: {min(known):+.0%} to {max(known):+.0%}; all must be below 0.",
    )


def _check_proven(comparison: FoldComparison | None, least: float) -> tuple[bool, str]:
    if comparison is None:
        return False, "Higher Sharpe ratio: not shown, no panel is long enough."
    figure = comparison.deflated
    proven = figure >= least
    return proven, (
        f"Higher Sharpe ratio than {BEST_RULE}: {'shown' if proven else 'not shown'} (deflated "
        f"probability {text_beside(figure, least)}, at least {least:.2f} is required)."
    )
