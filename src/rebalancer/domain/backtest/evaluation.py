"""Does a policy earn its place? Evaluated beside sceptics, and told in a sentence.

Sceptics stand beside every policy: ``monthly``, the baseline; ``band``, which trades less and needs
no more thought; ``monthly`` held at the policy's own average exposure, which shows what holding
less does without any skill; and, where one was chosen, the best rule on training data. What a
policy gains must hold with cash at 0 and, where the returns of cash are known, above those too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from statistics import median
from typing import Protocol, runtime_checkable

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest import evidence, metrics
from rebalancer.domain.backtest.engine import (
    BASELINE,
    BacktestSettings,
    EquityPath,
    Performance,
    measure_performance,
    simulate,
)
from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import policy as rule
from rebalancer.domain.portfolio.costs import CostModel

BAND = "band"
"""The sceptic that trades least and thinks least."""

EQUAL_EXPOSURE = "monthly at its exposure"
"""The sceptic that invests as much as the policy does on average, and keeps the rest in cash."""

BEST_RULE = "{} (best on training data)"
"""What a rule is called that was chosen on training data."""

SWEEP_BPS = (0.0, 5.0, 10.0, 20.0, 30.0, 50.0)
"""Costs of trading that are tried, basis points of traded value on each side."""

SURE = 0.95
"""Deflated probability from which a gain counts as evidence."""

SUBPERIODS = 3
_SHORTEST_SUBPERIOD = 21


@runtime_checkable
class Ensemble(Protocol):
    """A policy that decides by several of its kind, each learnt from another seed."""

    @property
    def members(self) -> tuple[Policy, ...]:
        """One policy a seed."""


@runtime_checkable
class KnowsBestRule(Protocol):
    """A policy that knows which rule did best on the data that it was learnt from."""

    @property
    def chosen_rule(self) -> str | None:
        """The rule's name; None where none was chosen."""


@attrs.frozen(eq=False)
class CashReturns:
    """What cash earns, and Sharpe ratios subtract.

    Attributes:
        label: "0", a rate, or the name of a column of bills.
        returns: (T,) simple, over each row of the history.
    """

    label: str
    returns: Floats


@attrs.frozen
class Comparison:
    """A policy against another, over the same days.

    Attributes:
        against: The other's name.
        performance: How the other did.
        gain: Sharpe ratio of the policy minus the other's, a year, with its 95% interval; None
            where the window is too short to tell, or one of the two does not move.
        probability: Of a gain above 0, by the same bootstrap.
        probabilistic: Probabilistic Sharpe ratio of the return difference at equal volatility.
        deflated: The same after the trials that there were.
        chosen: Whether the other is the best rule on training data.
        values: (R,) the other's wealth after each close, per 1 invested.
    """

    against: str
    performance: Performance
    gain: ConfidenceInterval | None
    probability: float | None
    probabilistic: float | None
    deflated: float | None
    chosen: bool = False
    values: Floats = attrs.field(factory=lambda: np.ones(0), eq=False, repr=False)


@attrs.frozen
class SubPeriod:
    """A stretch of the window.

    Attributes:
        first: Its first day.
        last: Its last.
        gain: Sharpe ratio of the policy minus the baseline's, a year.
    """

    first: str
    last: str
    gain: float


@attrs.frozen
class CostPoint:
    """What is left of the gain when trading costs this much.

    Attributes:
        bps: Of traded value, each side.
        gain: Sharpe ratio of the policy minus the baseline's, a year, both paying it.
    """

    bps: float
    gain: float


@attrs.frozen
class Judgement:
    """A policy, evaluated with cash at one return.

    Attributes:
        cash: What cash earned, see `CashReturns.label`.
        performance: How the policy did.
        comparisons: With the monthly rule first, then the other baselines, then requested policies.
        drawdown_beyond_exposure: See `evidence.drawdown_beyond_exposure`; below 0 is shallower.
        subperiods: Thirds of the window; none where they would be shorter than a month.
        sweep: The gain on the baseline at each of `SWEEP_BPS`.
        break_even_bps: Cost at which that gain vanishes; None where it does not within the sweep.
        seeds: Of an ensemble, the gain of each single seed on the baseline, in the seeds' order.
        values: (R,) the policy's wealth after each close, per 1 invested.
        risk_free: (R - 1,) simple return of cash over each row.
    """

    cash: str
    performance: Performance
    comparisons: tuple[Comparison, ...]
    drawdown_beyond_exposure: float | None
    subperiods: tuple[SubPeriod, ...]
    sweep: tuple[CostPoint, ...]
    break_even_bps: float | None
    seeds: tuple[float, ...] = ()
    values: Floats = attrs.field(factory=lambda: np.ones(0), eq=False, repr=False)
    risk_free: Floats = attrs.field(factory=lambda: np.zeros(0), eq=False, repr=False)

    @property
    def baseline(self) -> Comparison:
        """The comparison that counts most."""
        return self.comparisons[0]

    @property
    def best_rule(self) -> Comparison | None:
        """The comparison against the best rule on training data; None where none was chosen."""
        return next((comparison for comparison in self.comparisons if comparison.chosen), None)

    def pair(self, comparison: Comparison, dates: Dates) -> evidence.ReturnPair:
        """The policy and another in excess of cash; ``dates`` (R,) are the window's."""
        mine, other = (evidence.simple_returns(each.values) for each in (self, comparison))
        return evidence.ReturnPair(dates[1:], mine - self.risk_free, other - self.risk_free)


class Finding(StrEnum):
    """What the evidence says of a gain on the baseline."""

    GAIN = "gain"
    NONE = "none"
    LOSS = "loss"
    INCONCLUSIVE = "untold"


@attrs.frozen
class Verdict:
    """What the evidence comes to.

    Attributes:
        finding: In a word.
        sentence: In plain words, with its reason.
    """

    finding: Finding
    sentence: str


@attrs.frozen
class PolicyEvaluation:
    """All that was found out about a policy on one panel of prices.

    Attributes:
        policy: Its name.
        judgements: With cash at 0 first, then with what cash truly earned, where that was given.
        verdict: What it comes to.
        chosen_rule: The best rule on training data; None where none was chosen.
    """

    policy: str
    judgements: tuple[Judgement, ...]
    verdict: Verdict
    chosen_rule: str | None = None

    @property
    def strictest(self) -> Judgement:
        """The judgement that believes the most of cash."""
        return self.judgements[-1]


@attrs.frozen(eq=False)
class PanelEvaluation:
    """Policies evaluated on one panel of prices.

    Attributes:
        dates: (R,) trading days of the window.
        symbols: N assets.
        cost_label: What trading was charged.
        trials: How many policies luck could have chosen from.
        policies: One evaluation a policy, in the order asked for.
    """

    dates: Dates
    symbols: tuple[str, ...]
    cost_label: str
    trials: int
    policies: tuple[PolicyEvaluation, ...]


def evaluate(
    policies: Sequence[Policy],
    settings: BacktestSettings,
    cash: Sequence[CashReturns],
    *,
    against: Sequence[Policy] = (),
    chosen_rule: str | None = None,
    trials: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> PanelEvaluation:
    """Judge policies beside their sceptics.

    Args:
        policies: Whom to judge.
        settings: Under which settings; their own risk-free is not looked at.
        cash: Returns of cash, one a judgement, the most believable last.
        against: Others to judge them against, beside the sceptics.
        chosen_rule: The best rule on training data, for all policies; None: each policy's own
            choice, if it brings one along.
        trials: How many policies were tried in all; None: those evaluated here.
        seed: Of the resampling behind intervals.
        progress: Told the name of each policy whenever a judgement of it is made.

    Raises:
        InvalidRequest: fewer trials than policies, or the window holds fewer than 3 rows.
    """
    count = len(policies) if trials is None else trials
    check_trials(count, len(policies))
    others = [rule(BAND), *(one for one in against if one.name not in (BASELINE, BAND))]
    evaluators = [
        _Evaluator(attrs.evolve(settings, risk_free=each.returns), each.label, others, count, seed)
        for each in cash
    ]
    evaluation = []
    for policy in policies:
        chosen = chosen_rule
        if chosen is None and isinstance(policy, KnowsBestRule):
            chosen = policy.chosen_rule
        judgements = []
        for evaluator in evaluators:
            judgements.append(evaluator.evaluate(policy, chosen))
            progress(policy.name)
        verdict = reach_verdict(policy.name, judgements, count)
        evaluation.append(PolicyEvaluation(policy.name, tuple(judgements), verdict, chosen))
    return PanelEvaluation(
        dates=settings.prices.dates[settings.first :],
        symbols=settings.prices.symbols,
        cost_label=settings.costs.label,
        trials=count,
        policies=tuple(evaluation),
    )


def check_trials(trials: int, policies: int) -> None:
    """Refuse to have tried less than is tried now.

    Raises:
        InvalidRequest: fewer trials than policies.
    """
    if trials < policies:
        raise InvalidRequest(
            f"{policies} policies are tried here alone, so at least that many; got {trials}",
            field="trials",
        )


class _Evaluator:
    """One set of settings, and what the sceptics did under it."""

    def __init__(
        self,
        settings: BacktestSettings,
        cash: str,
        others: Sequence[Policy],
        trials: int,
        seed: int,
    ) -> None:
        self.settings, self.cash, self.trials, self.seed = settings, cash, trials, seed
        self.risk_free = settings.risk_free[settings.first :][1:]
        self.baseline = simulate(rule(BASELINE), settings)
        self.others = [(other.name, simulate(other, settings)) for other in others]
        self.charged = [self._sharpe(path) for path in self._sweep(rule(BASELINE))]
        self.chosen: dict[str, EquityPath] = {}

    def evaluate(self, policy: Policy, chosen: str | None) -> Judgement:
        """A policy beside the sceptics, the rule that was chosen on training data among them."""
        path = simulate(policy, self.settings)
        made = measure_performance(path, self.risk_free, self.baseline)
        base = measure_performance(self.baseline, self.risk_free, self.baseline)
        exposed = self._baseline_at(made.average_exposure, base.average_exposure)
        comparisons = [
            self._compare(path, name, other)
            for name, other in (
                (BASELINE, self.baseline),
                self.others[0],
                (EQUAL_EXPOSURE, exposed),
            )
        ]
        if chosen is not None:
            other = self._of_rule(chosen)
            comparison = self._compare(path, BEST_RULE.format(chosen), other)
            comparisons.append(attrs.evolve(comparison, chosen=True))
        comparisons += [self._compare(path, name, other) for name, other in self.others[1:]]
        left = [
            CostPoint(bps, self._sharpe(charged) - other)
            for bps, charged, other in zip(
                SWEEP_BPS, self._sweep(policy), self.charged, strict=True
            )
        ]
        return Judgement(
            cash=self.cash,
            performance=made,
            comparisons=tuple(comparisons),
            drawdown_beyond_exposure=evidence.drawdown_beyond_exposure(
                made.max_drawdown, made.average_exposure, base.max_drawdown, base.average_exposure
            ),
            subperiods=tuple(self._subperiods(path)),
            sweep=tuple(left),
            break_even_bps=evidence.break_even_cost(SWEEP_BPS, [each.gain for each in left]),
            seeds=tuple(self._seeds(policy)),
            values=path.values,
            risk_free=self.risk_free,
        )

    def _of_rule(self, name: str) -> EquityPath:
        if name not in self.chosen:
            self.chosen[name] = simulate(rule(name), self.settings)
        return self.chosen[name]

    def _seeds(self, policy: Policy) -> Iterator[float]:
        """What each seed of an ensemble gains on the baseline, alone."""
        if isinstance(policy, Ensemble):
            for member in policy.members:
                yield self._sharpe(simulate(member, self.settings)) - self._sharpe(self.baseline)

    def _compare(self, path: EquityPath, name: str, other: EquityPath) -> Comparison:
        returns, against = _returns(path), _returns(other)
        gain = evidence.sharpe_gain(
            returns - self.risk_free, against - self.risk_free, seed=self.seed
        )
        difference = evidence.difference_at_equal_volatility(returns, against, self.risk_free)
        probabilistic = deflated = None
        if gain is not None and difference is not None:
            probabilistic = evidence.probabilistic_sharpe(difference)
            deflated = evidence.deflated_sharpe(difference, self.trials)
        return Comparison(
            against=name,
            performance=measure_performance(other, self.risk_free, self.baseline),
            gain=gain.interval if gain else None,
            probability=gain.probability if gain else None,
            probabilistic=probabilistic,
            deflated=deflated,
            values=other.values,
        )

    def _baseline_at(self, exposure: float, of_baseline: float) -> EquityPath:
        """The baseline with its targets scaled to an exposure; never more than all is invested."""
        targets = self.settings.targets
        if not targets.any():
            return self.baseline
        scale = min(exposure / of_baseline, 1.0 / float(targets.sum()))
        return simulate(rule(BASELINE), attrs.evolve(self.settings, targets=targets * scale))

    def _subperiods(self, path: EquityPath) -> Iterator[SubPeriod]:
        dates = self.settings.prices.dates[self.settings.first :][1:]
        if len(dates) < SUBPERIODS * _SHORTEST_SUBPERIOD:
            return
        mine, other = _returns(path), _returns(self.baseline)
        for rows in np.array_split(np.arange(len(dates)), SUBPERIODS):
            yield SubPeriod(
                first=str(dates[rows[0]]),
                last=str(dates[rows[-1]]),
                gain=metrics.sharpe(mine[rows], self.risk_free[rows])
                - metrics.sharpe(other[rows], self.risk_free[rows]),
            )

    def _sweep(self, policy: Policy) -> Iterator[EquityPath]:
        for bps in SWEEP_BPS:
            yield simulate(policy, attrs.evolve(self.settings, costs=CostModel.flat(bps)))

    def _sharpe(self, path: EquityPath) -> float:
        return metrics.sharpe(_returns(path), self.risk_free)


def reach_verdict(policy: str, judgements: Sequence[Judgement], trials: int) -> Verdict:
    """What the evidence of one panel comes to.

    A gain is evidence only if, with cash at each of its returns, its interval lies above 0 and it
    stays probable after the trials that there were.

    Args:
        policy: Its name.
        judgements: With cash at each of its returns, the strictest last.
        trials: How many policies luck could have chosen from.
    """
    strictest = judgements[-1]
    if policy == BASELINE:
        return Verdict(Finding.NONE, f"this is {BASELINE} itself, which the others are held to.")
    comparisons = [judgement.baseline for judgement in judgements]
    gains = [comparison.gain for comparison in comparisons]
    last = gains[-1]
    if last is None or any(gain is None for gain in gains):
        return Verdict(
            Finding.INCONCLUSIVE,
            "nothing can be told: the window is too short (an interval wants "
            f"{10 * evidence.BLOCK} returns), or the policy does not move.",
        )
    doubts = [_doubt(comparison, trials) for comparison in comparisons]
    if all(gain is not None and gain.high < 0 for gain in gains):
        return Verdict(
            Finding.LOSS,
            f"evidence of a loss on {BASELINE}: {_told(last)}{_drawdown(strictest)}.",
        )
    if not any(doubts):
        weak = [
            comparison.against
            for comparison in strictest.comparisons[1:]
            if comparison.against != policy and _doubt(comparison, trials)
        ]
        but = f"; no evidence of one on {' or '.join(weak)}" if weak else ""
        return Verdict(
            Finding.GAIN,
            f"evidence of a gain on {BASELINE}: {_told(last)}, "
            f"{describe_deflated(comparisons[-1].deflated or 0.0, trials)}{but}"
            f"{_drawdown(strictest)}.",
        )
    why = f"{_told(last)}{doubts[-1]}"
    if not doubts[-1]:
        why = f"{_told(last)} above {strictest.cash}, but with cash at 0 it is not sure"
    elif not doubts[0]:
        why = f"the one with cash at 0 vanishes above {strictest.cash}, where {why}"
    return Verdict(
        Finding.NONE, f"no evidence of a gain on {BASELINE}: {why}{_drawdown(strictest)}."
    )


def summary(policy: str, evaluation: Sequence[PolicyEvaluation]) -> str:
    """What several panels come to, for one policy, in a sentence."""
    if policy == BASELINE:
        return f"this is {BASELINE} itself, which the others are held to."
    findings = [each.verdict.finding for each in evaluation]
    gains = [each.strictest.baseline.gain for each in evaluation]
    known = [gain.estimate for gain in gains if gain is not None]
    if not known:
        return "nothing can be told on any panel."
    untold = findings.count(Finding.INCONCLUSIVE)
    return (
        f"evidence of a gain on {BASELINE} on {findings.count(Finding.GAIN)} of {len(evaluation)} "
        f"panels, of a loss on {findings.count(Finding.LOSS)}"
        + (f", untold on {untold}" if untold else "")
        + f"; median difference of Sharpe ratios {median(known):+.2f}, "
        f"from {min(known):+.2f} to {max(known):+.2f}."
    )


def doubt(gain: ConfidenceInterval | None, deflated: float | None, trials: int) -> str:
    """Why a difference is no evidence of a gain, as the end of a sentence; empty when it is.

    Args:
        gain: On another, with its 95% interval.
        deflated: Probability of it after the trials that there were.
        trials: How many.
    """
    if gain is None or deflated is None:
        return ", over too short a window to tell"
    if gain.estimate <= 0:
        return ", which is no gain"
    if gain.low <= 0:
        return ", which chance alone may do"
    if deflated < SURE:
        return f", but {describe_deflated(deflated, trials)}, short of {SURE:g}"
    return ""


def _told(gain: ConfidenceInterval) -> str:
    way = "higher" if gain.estimate > 0 else "lower"
    return (
        f"its Sharpe ratio is {abs(gain.estimate):.2f} {way} "
        f"(95% from {gain.low:+.2f} to {gain.high:+.2f})"
    )


def describe_deflated(deflated: float, trials: int) -> str:
    """A deflated probability, as part of a sentence."""
    tried = "1 trial" if trials == 1 else f"{trials} trials"
    return f"its deflated probability after {tried} is {deflated:.2f}"


def _doubt(comparison: Comparison, trials: int) -> str:
    return doubt(comparison.gain, comparison.deflated, trials)


def _drawdown(judgement: Judgement) -> str:
    beyond = judgement.drawdown_beyond_exposure
    if beyond is None or abs(beyond) < 0.005:
        return ""
    way = "shallower" if beyond < 0 else "deeper"
    return f"; it fell {abs(beyond):.0%} {way} than its exposure explains"


def _returns(path: EquityPath) -> Floats:
    return evidence.simple_returns(path.values)
