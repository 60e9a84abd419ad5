"""Walk-forward evaluation: refit a procedure at several dates, judge each refit on later years.

A procedure is what produces a policy: a learning algorithm with its settings, a choice of rule, or
a fixed rule. Three years of prices cannot show whether one policy is good; the years after several
dates, on many panels, say more about the procedure that made it. The last refit is the policy that
serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import groupby
from statistics import median

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest import evidence
from rebalancer.domain.backtest.drawdown import FallPair, probability_of_shallower
from rebalancer.domain.backtest.evaluation import Comparison, Judgement, PolicyEvaluation
from rebalancer.domain.backtest.evidence import ConfidenceInterval, ReturnPair
from rebalancer.domain.errors import InvalidRequest

EMBARGO = 30
"""Calendar days between the last day that a refit may know and the first day of its judgement."""

CRASH = 105
"""Trading days of the worst part of a crash: five months."""

THIRDS = 3

_COMMON = 60
"""Fewest common days for a correlation between panels."""


@attrs.frozen
class Fold:
    """The days on which one refit is judged.

    Attributes:
        known_until: Last day that the refit may know.
        first: First day of the judgement.
        last: Last day of the judgement.
    """

    known_until: date
    first: date
    last: date


@attrs.frozen(eq=False)
class FoldPanel:
    """Evaluation of one refit of a procedure on one panel in the days of its fold.

    Attributes:
        evaluation: Without a cost sweep, with the comparison with the policy's skeleton.
    """

    fold: Fold
    panel: str
    evaluation: PolicyEvaluation

    @property
    def judgement(self) -> Judgement:
        """Judgement with the most realistic returns of cash."""
        return self.evaluation.strictest

    @property
    def orders(self) -> float | None:
        """Orders as a multiple of the monthly rule's; None if that rule did not trade."""
        judgement = self.judgement
        return _multiple(judgement.performance.orders, judgement.baseline.performance.orders)

    @property
    def turnover(self) -> float | None:
        """Turnover as a multiple of the monthly rule's; None if that rule did not trade."""
        judgement = self.judgement
        return _multiple(judgement.performance.turnover, judgement.baseline.performance.turnover)

    @property
    def falls(self) -> FallPair:
        """Returns of the policy and the monthly rule, for their drawdowns."""
        judgement = self.judgement
        window = judgement.window
        assert window is not None, "a judgement without a window has no returns"
        base = judgement.baseline
        return FallPair(
            window.measured_dates,
            window.returns(judgement.values),
            window.returns(base.values),
            judgement.performance.average_exposure,
            base.performance.average_exposure,
        )


@attrs.frozen
class Terms:
    """How Sharpe ratios are compared.

    Attributes:
        margin: Loss of annual Sharpe ratio that is tolerated.
        trials: Number of procedures tried in all.
        seed: Seed of the bootstrap.
    """

    margin: float
    trials: int
    seed: int


@attrs.frozen
class FoldComparison:
    """Comparison of a procedure with another over folds and panels.

    Attributes:
        count: Number of pairs of a fold and a panel that are long enough.
        gain: Mean over them of the difference of annual Sharpe ratios, with its 95% interval.
        median: Median over them of the same difference.
        probability: Probability that the mean is above 0.
        not_inferior: Probability that the mean is above minus the margin.
        deflated: Probability that the mean is above what the best of the trials shows by luck.
        quantiles: (99,) percentiles 1 to 99 of the mean.
    """

    count: int
    gain: ConfidenceInterval
    median: float
    probability: float
    not_inferior: float
    deflated: float
    quantiles: tuple[float, ...]


@attrs.frozen
class Medians:
    """Medians over folds and panels; None if undefined.

    Attributes:
        sharpe: Difference of annual Sharpe ratios to the monthly rule.
        drawdown: Drawdown beyond exposure.
        orders: Orders as a multiple of the monthly rule's.
        turnover: Turnover as a multiple of the monthly rule's.
        exposure: Mean invested share.
    """

    sharpe: float | None
    drawdown: float | None
    orders: float | None
    turnover: float | None
    exposure: float | None


@attrs.frozen
class PartOfTime:
    """Gain over the monthly rule from a first to a last day; None if too short."""

    first: date
    last: date
    comparison: FoldComparison | None


@attrs.frozen
class WithoutCrash:
    """Results without the worst five months of each panel's worst crash.

    Attributes:
        comparison: With the monthly rule; None if what remains is too short.
        drawdown: Drawdown beyond exposure, median over folds and panels.
    """

    comparison: FoldComparison | None
    drawdown: float | None


def plan_folds(dates: Sequence[date], last: date, *, embargo: int = EMBARGO) -> tuple[Fold, ...]:
    """Return one fold for each date; each ends where the next refit may know more.

    Args:
        dates: Last days that the refits may know, ascending.
        last: Last day of the last fold.
        embargo: Calendar days left out after each date, because features and volatility carry over.

    Raises:
        InvalidRequest: no date, dates that do not ascend, or a fold without days.
    """
    if not dates:
        raise InvalidRequest(
            "there is no date; give at least one, such as 2011-12-31",
            field="walk_forward",
            code="no_fold",
        )
    ends = [*dates[1:], last]
    folds = []
    for known, end in zip(dates, ends, strict=True):
        first = known + timedelta(days=1 + embargo)
        if end < first:
            raise InvalidRequest(
                f"the fold after {known} would begin on {first} and end on {end}; give ascending "
                "dates that are further apart, and a later end",
                field="walk_forward",
                code="fold_without_days",
            )
        folds.append(Fold(known, first, end))
    return tuple(folds)


def compare(pairs: Iterable[ReturnPair], terms: Terms) -> FoldComparison | None:
    """Pool the pairs that are long enough; None if no pair is."""
    enough = [pair for pair in pairs if pair.is_sufficient]
    gain = evidence.pooled_gain(enough, seed=terms.seed, trials=terms.trials, margin=terms.margin)
    if gain is None:
        return None
    return FoldComparison(
        count=len(enough),
        gain=gain.interval,
        median=gain.median,
        probability=gain.probability,
        not_inferior=gain.not_inferior,
        deflated=gain.deflated,
        quantiles=gain.quantiles,
    )


def pairs_with(results: Sequence[FoldPanel], which: str) -> list[ReturnPair]:
    """Return the excess returns of the policy and another one, where that one is known.

    ``which`` is the attribute of `Judgement` with the comparison: ``baseline``, ``best_rule`` or
    ``skeleton_comparison``.
    """
    pairs = []
    for result in results:
        comparison: Comparison | None = getattr(result.judgement, which)
        if comparison is not None:
            pairs.append(result.judgement.pair(comparison))
    return pairs


def find_medians(results: Sequence[FoldPanel]) -> Medians:
    """Return the medians over folds and panels."""
    judgements = [result.judgement for result in results]
    return Medians(
        sharpe=_median(
            each.performance.sharpe - each.baseline.performance.sharpe for each in judgements
        ),
        drawdown=_median(each.drawdown_beyond_exposure for each in judgements),
        orders=_median(each.orders for each in results),
        turnover=_median(each.turnover for each in results),
        exposure=_median(each.performance.average_exposure for each in judgements),
    )


def probability_of_smaller_drawdown(results: Sequence[FoldPanel], *, seed: int) -> float | None:
    """Return the probability that the median drawdown beyond exposure is below 0."""
    by_fold = groupby(sorted(results, key=_fold_order), key=_fold_order)
    return probability_of_shallower(
        [[result.falls for result in group] for _, group in by_fold], seed=seed
    )


def seed_drawdowns(results: Sequence[FoldPanel]) -> tuple[float | None, ...]:
    """Return the median drawdown beyond exposure of each seed; empty without an ensemble.

    Only seeds count that every refit has.
    """
    each = [result.judgement.seed_drawdowns for result in results]
    count = min((len(drawdowns) for drawdowns in each), default=0)
    return tuple(_median(drawdowns[place] for drawdowns in each) for place in range(count))


def split_time(results: Sequence[FoldPanel], terms: Terms) -> tuple[PartOfTime, ...]:
    """Return the gain over the monthly rule in each third of all judged days."""
    pairs = pairs_with(results, "baseline")
    calendar = np.unique(np.concatenate([pair.dates for pair in pairs]))
    parts = []
    for days in np.array_split(calendar, THIRDS):
        if not len(days):
            continue
        cut = [_within(pair, days[0], days[-1]) for pair in pairs]
        found = compare(cut, terms)
        parts.append(PartOfTime(days[0].item(), days[-1].item(), found))
    return tuple(parts)


def leave_out_crash(results: Sequence[FoldPanel], terms: Terms) -> WithoutCrash:
    """Return the results without the worst five months of each panel's worst crash.

    The crash of a panel is the largest drawdown of its monthly rule over all folds; its worst part
    are the `CRASH` consecutive days, at most all of it, over which that rule lost most.
    """
    pairs, falls = [], []
    for _, group in groupby(sorted(results, key=_panel_order), key=lambda each: each.panel):
        members = list(group)
        paths = [member.falls for member in members]
        days = worst_days(
            np.concatenate([path.dates for path in paths]),
            np.concatenate([path.against for path in paths]),
        )
        falls += [path.without(days).beyond_exposure for path in paths]
        for pair in pairs_with(members, "baseline"):
            kept = ~np.isin(pair.dates, days)
            pairs.append(
                attrs.evolve(
                    pair,
                    dates=pair.dates[kept],
                    returns=pair.returns[kept],
                    against=pair.against[kept],
                )
            )
    found = compare(pairs, terms)
    return WithoutCrash(found, _median(falls))


def worst_days(dates: Dates, returns: Floats, length: int = CRASH) -> Dates:
    """Return the days of the worst part of the largest drawdown of (T,) returns."""
    wealth = np.cumprod(np.append(1.0, 1.0 + returns))
    peaks = np.maximum.accumulate(wealth)
    trough = int(np.argmax(1.0 - wealth / peaks))
    peak = int(np.argmax(wealth[: trough + 1]))
    fallen = np.log(wealth[peak : trough + 1])
    width = min(length, trough - peak)
    if width < 1:
        return dates[:0]
    start = peak + int(np.argmin(fallen[width:] - fallen[:-width]))
    return dates[start : start + width]


def effective_panels(results: Sequence[FoldPanel]) -> float:
    """Return how many independent panels the panels are worth.

    ``n^2 / sum_ij r_ij^2`` with r the correlations of the panels' differences of daily returns,
    policy minus monthly rule, over all folds: n if no two panels move together, 1 if all do. It is
    the participation ratio of the eigenvalues of the correlations (Bell and Dean 1970, Atomic
    vibrations in vitreous silica). Panels with fewer than 60 common days count as independent.
    """
    columns = []
    for _, group in groupby(sorted(results, key=_panel_order), key=lambda each: each.panel):
        pairs = pairs_with(list(group), "baseline")
        dates = np.concatenate([pair.dates for pair in pairs])
        columns.append((dates, np.concatenate([pair.returns - pair.against for pair in pairs])))
    count = len(columns)
    squares = float(count)
    for place, (dates, moves) in enumerate(columns):
        for others, theirs in columns[:place]:
            _, mine, other = np.intersect1d(dates, others, return_indices=True)
            first, second = moves[mine], theirs[other]
            if len(mine) >= _COMMON and min(first.std(), second.std()) > 0:
                squares += 2.0 * float(np.corrcoef(first, second)[0, 1]) ** 2
    return count**2 / squares


def _within(pair: ReturnPair, first: np.datetime64, last: np.datetime64) -> ReturnPair:
    kept = (pair.dates >= first) & (pair.dates <= last)
    return attrs.evolve(
        pair, dates=pair.dates[kept], returns=pair.returns[kept], against=pair.against[kept]
    )


def _fold_order(result: FoldPanel) -> date:
    return result.fold.first


def _panel_order(result: FoldPanel) -> tuple[str, date]:
    return result.panel, result.fold.first


def _multiple(own: float, usual: float) -> float | None:
    return own / usual if usual > 0 else None


def _median(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return median(known) if known else None
