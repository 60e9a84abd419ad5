"""Policy evaluation: compare a policy with baselines and reach a verdict.

Every policy is compared with these baselines: ``monthly``, the main one; ``band``, which trades
less; ``monthly`` held at the policy's own average exposure, which shows the effect of holding less
without any skill; and, where one was chosen, the best rule on training data. A gain must hold with
cash at 0 and, where the returns of cash are known, in excess of those too.
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
from rebalancer.domain.backtest.engine import BASELINE, BacktestSettings, simulate
from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.backtest.result import (
    EquityPath,
    MeasuredWindow,
    Performance,
    measure_performance,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.frequency import DAILY, ObservationFrequency
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.observation import MarketViews
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.policy.skeleton import RecordedPolicy, Skeleton, find_skeleton
from rebalancer.domain.portfolio.costs import CostModel

BAND = "band"
"""The baseline that trades least."""

EQUAL_EXPOSURE = "monthly at its exposure"
"""The baseline that invests the policy's average exposure and holds the rest in cash."""

SKELETON = "its own average"
"""The baseline that holds a learned policy's average mix and exposure, see `policy.skeleton`."""

BEST_RULE = "{} (best on training data)"
"""Label of a rule that was chosen on training data."""

SWEEP_BPS = (0.0, 5.0, 10.0, 20.0, 30.0, 50.0)
"""Trading costs of the sweep, basis points of traded value on each side."""

EVIDENCE_THRESHOLD = 0.95
"""Deflated probability from which a gain counts as evidence."""

SUBPERIODS = 3

_SHORTEST_SUBPERIOD = 21
"""Trading days of a part of the window."""

_FEWEST_RETURNS = 12
"""Fewest returns of a part, for prices that are rarer than daily."""

IS_BASELINE = f"this is {BASELINE} itself, the baseline of the other policies."


@runtime_checkable
class Ensemble(Protocol):
    """A policy that averages members trained with different seeds."""

    @property
    def members(self) -> tuple[Policy, ...]:
        """One policy a seed."""


@runtime_checkable
class KnowsBestRule(Protocol):
    """A policy that knows which rule did best on its training data."""

    @property
    def chosen_rule(self) -> str | None:
        """Name of the rule; None if no rule was chosen."""


@attrs.frozen(eq=False)
class CashReturns:
    """Returns of cash, which Sharpe ratios subtract.

    Attributes:
        label: "0", a rate, or the name of a price column of treasury bills.
        returns: (T,) simple return over each row of the history.
    """

    label: str
    returns: Floats


@attrs.frozen
class Comparison:
    """Comparison of a policy with another policy, ``against``, over the same days.

    Attributes:
        performance: Performance of the other policy.
        gain: Annual Sharpe ratio of the policy minus the other's, with its 95% interval; None if
            the window is too short, or one of the two does not move.
        probability: Probability of a gain above 0, by the same bootstrap.
        probabilistic: Probabilistic Sharpe ratio of the return difference at equal volatility.
        deflated: The same, deflated for the number of trials.
        chosen: Whether the other policy is the best rule on training data.
        values: (R,) the other policy's wealth after each close, per 1 invested.
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
    """Gain of annual Sharpe ratio over the monthly rule, from a first to a last day."""

    first: str
    last: str
    gain: float


@attrs.frozen
class CostPoint:
    """Gain of annual Sharpe ratio over the monthly rule, both at this cost on each side."""

    bps: float
    gain: float


@attrs.frozen
class Judgement:
    """Evaluation of a policy with one return of cash.

    Attributes:
        cash: Label of the cash returns, see `CashReturns.label`.
        comparisons: With the monthly rule first, then the other baselines, then requested policies.
        drawdown_beyond_exposure: See `evidence.drawdown_beyond_exposure`; negative is shallower.
        subperiods: Thirds of the window; empty if they would be shorter than a month.
        sweep: Gain over the monthly rule at each of `SWEEP_BPS`.
        break_even_bps: Cost at which that gain vanishes; None if it does not within the sweep.
        seeds: Gain over the monthly rule of each member of an ensemble, in the seeds' order.
        seed_drawdowns: Drawdown beyond exposure of each of these members.
        skeleton: What a learned policy holds on average; None for a rule.
        skeleton_comparison: Comparison with it; None for a rule, and where it was not requested.
        values: (R,) the policy's wealth after each close, per 1 invested.
        window: The window's rows and the returns of cash; None if unknown.
    """

    cash: str
    performance: Performance
    comparisons: tuple[Comparison, ...]
    drawdown_beyond_exposure: float | None
    subperiods: tuple[SubPeriod, ...]
    sweep: tuple[CostPoint, ...]
    break_even_bps: float | None
    seeds: tuple[float, ...] = ()
    seed_drawdowns: tuple[float | None, ...] = ()
    skeleton: Skeleton | None = attrs.field(default=None, eq=False, repr=False)
    skeleton_comparison: Comparison | None = None
    values: Floats = attrs.field(factory=lambda: np.ones(0), eq=False, repr=False)
    window: MeasuredWindow | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def baseline(self) -> Comparison:
        """Comparison with the monthly rule."""
        return self.comparisons[0]

    @property
    def equal_exposure(self) -> Comparison:
        """Comparison with the monthly rule at the policy's exposure."""
        return next(each for each in self.comparisons if each.against == EQUAL_EXPOSURE)

    @property
    def best_rule(self) -> Comparison | None:
        """Comparison with the best rule on training data; None if no rule was chosen."""
        return next((each for each in self.comparisons if each.chosen), None)

    def pair(self, comparison: Comparison) -> evidence.ReturnPair:
        """Return excess returns of the policy and of another."""
        window = self.window
        assert window is not None, "a judgement without a window has no returns"
        mine, other = (window.returns(each.values) for each in (self, comparison))
        return evidence.ReturnPair(
            window.measured_dates,
            mine - window.risk_free,
            other - window.risk_free,
            window.frequency,
        )


class Finding(StrEnum):
    """Conclusion on a gain over the monthly rule."""

    GAIN = "gain"
    NONE = "none"
    LOSS = "loss"
    INCONCLUSIVE = "untold"


@attrs.frozen
class Verdict:
    """Conclusion of an evaluation: its code, and a sentence with the reason."""

    finding: Finding
    sentence: str


@attrs.frozen
class PolicyEvaluation:
    """Evaluation of a policy on one panel of prices.

    Attributes:
        judgements: With cash at 0 first, then, if known, with the returns of cash.
        chosen_rule: The best rule on training data; None if no rule was chosen.
    """

    policy: str
    judgements: tuple[Judgement, ...]
    verdict: Verdict
    chosen_rule: str | None = None

    @property
    def strictest(self) -> Judgement:
        """Judgement with the most realistic returns of cash."""
        return self.judgements[-1]


@attrs.frozen(eq=False)
class PanelEvaluation:
    """Evaluations of policies on one panel of prices.

    Attributes:
        dates: (R,) trading days of the window.
        cost_label: Name of the cost model.
        trials: Number of policies tried, for deflated probabilities.
        policies: In the requested order.
        window: The window's rows; None if unknown.
        currency: ISO 4217 code of the base currency; None if the prices do not state one.
    """

    dates: Dates
    symbols: tuple[str, ...]
    cost_label: str
    trials: int
    policies: tuple[PolicyEvaluation, ...]
    window: MeasuredWindow | None = None
    currency: str | None = None

    @property
    def frequency(self) -> ObservationFrequency:
        """Number of measured rows in a year."""
        return DAILY if self.window is None else self.window.frequency


def evaluate(
    policies: Sequence[Policy],
    settings: BacktestSettings,
    cash: Sequence[CashReturns],
    *,
    against: Sequence[Policy] = (),
    chosen_rule: str | None = None,
    trials: int | None = None,
    seed: int = 0,
    sweep: bool = True,
    skeletons: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> PanelEvaluation:
    """Compare policies with their baselines.

    Args:
        policies: Policies to evaluate.
        settings: Backtest settings; their risk-free returns are replaced by those of ``cash``.
        cash: Returns of cash, one a judgement, the most realistic last.
        against: Further policies to compare with.
        chosen_rule: The best rule on training data, for all policies; None: each policy's own
            choice, if it has one.
        trials: Number of policies tried in all; None: the number of ``policies``.
        seed: Seed of the bootstrap behind intervals.
        sweep: Whether to repeat the simulation at each of `SWEEP_BPS`.
        skeletons: Whether to compare learned policies with what they hold on average.
        progress: Receives the name of each policy after each of its judgements.

    Raises:
        InvalidRequest: fewer trials than policies.
    """
    count = len(policies) if trials is None else trials
    check_trials(count, len(policies))
    others = [parse_rule(BAND), *(one for one in against if one.name not in (BASELINE, BAND))]
    evaluators = [
        _Evaluator(
            attrs.evolve(settings, risk_free=each.returns),
            each.label,
            others,
            trials=count,
            seed=seed,
            sweep=SWEEP_BPS if sweep else (),
            skeletons=skeletons,
        )
        for each in cash
    ]
    evaluations = []
    for policy in policies:
        chosen = chosen_rule
        if chosen is None and isinstance(policy, KnowsBestRule):
            chosen = policy.chosen_rule
        judgements = []
        for evaluator in evaluators:
            judgements.append(evaluator.evaluate(policy, chosen))
            progress(policy.name)
        verdict = reach_verdict(policy.name, judgements, count)
        evaluations.append(PolicyEvaluation(policy.name, tuple(judgements), verdict, chosen))
    return PanelEvaluation(
        dates=settings.prices.dates[settings.first :],
        symbols=settings.prices.symbols,
        cost_label=settings.costs.label,
        currency=settings.currency,
        trials=count,
        policies=tuple(evaluations),
        window=evaluators[-1].window,
    )


def check_trials(trials: int, policies: int) -> None:
    """Raise InvalidRequest if the trials are fewer than the policies evaluated now."""
    if trials < policies:
        raise InvalidRequest(
            f"{trials} is less than the {policies} policies of this evaluation; enter at least "
            f"{policies}",
            field="trials",
            code="too_few_trials",
        )


class _Evaluator:
    """Evaluates policies with one set of settings; simulates the baselines once."""

    def __init__(
        self,
        settings: BacktestSettings,
        cash: str,
        others: Sequence[Policy],
        *,
        trials: int,
        seed: int,
        sweep: Sequence[float],
        skeletons: bool,
    ) -> None:
        self.settings, self.cash, self.trials, self.seed = settings, cash, trials, seed
        self.costs, self.skeletons = sweep, skeletons
        self.window = settings.window
        self.baseline = simulate(parse_rule(BASELINE), settings)
        self.others = [(other.name, simulate(other, settings)) for other in others]
        self.sweep = [self._sharpe(path) for path in self._simulate_sweep(parse_rule(BASELINE))]
        self.rules: dict[str, EquityPath] = {}

    def evaluate(self, policy: Policy, chosen: str | None) -> Judgement:
        """Compare a policy with the baselines; ``chosen`` is the best rule on training data."""
        if isinstance(policy, LearnedPolicy):  # the cache is of these prices and this policy
            policy = attrs.evolve(policy, views=MarketViews())
        path, skeleton = self._simulate_with_skeleton(policy)
        own = measure_performance(path, self.window, self.baseline)
        base = measure_performance(self.baseline, self.window, self.baseline)
        exposed = self._simulate_baseline_at(own.average_exposure, base.average_exposure)
        band, *requested = self.others
        baselines = ((BASELINE, self.baseline), band, (EQUAL_EXPOSURE, exposed))
        comparisons = [self._compare(path, name, other) for name, other in baselines]
        if chosen is not None:
            if chosen not in self.rules:
                self.rules[chosen] = simulate(parse_rule(chosen), self.settings)
            compared = self._compare(path, BEST_RULE.format(chosen), self.rules[chosen])
            comparisons.append(attrs.evolve(compared, chosen=True))
        comparisons += [self._compare(path, name, other) for name, other in requested]
        sweep = [
            CostPoint(bps, self._sharpe(charged) - other)
            for bps, charged, other in zip(
                self.costs, self._simulate_sweep(policy), self.sweep, strict=True
            )
        ]
        members = list(self._simulate_members(policy))
        usual = self._sharpe(self.baseline)
        return Judgement(
            cash=self.cash,
            performance=own,
            comparisons=tuple(comparisons),
            drawdown_beyond_exposure=self._drawdown_beyond_exposure(path),
            subperiods=tuple(self._split_gain(path)),
            sweep=tuple(sweep),
            break_even_bps=evidence.break_even_cost(self.costs, [each.gain for each in sweep]),
            seeds=tuple(self._sharpe(each) - usual for each in members),
            seed_drawdowns=tuple(self._drawdown_beyond_exposure(each) for each in members),
            skeleton=skeleton,
            skeleton_comparison=None
            if skeleton is None
            else self._compare(path, SKELETON, simulate(skeleton.policy, self.settings)),
            values=path.values,
            window=self.window,
        )

    def _simulate_with_skeleton(self, policy: Policy) -> tuple[EquityPath, Skeleton | None]:
        """Simulate a policy, and find what it holds on average if that was requested."""
        if not (self.skeletons and isinstance(policy, LearnedPolicy)):
            return simulate(policy, self.settings), None
        recorded = RecordedPolicy(policy)
        path = simulate(recorded, self.settings)
        return path, find_skeleton(policy, recorded.decisions)

    def _simulate_members(self, policy: Policy) -> Iterator[EquityPath]:
        """Simulate each member of an ensemble."""
        if isinstance(policy, Ensemble):
            for member in policy.members:
                yield simulate(member, self.settings)

    def _drawdown_beyond_exposure(self, path: EquityPath) -> float | None:
        own, base = (
            measure_performance(each, self.window, self.baseline) for each in (path, self.baseline)
        )
        return evidence.drawdown_beyond_exposure(
            own.max_drawdown, own.average_exposure, base.max_drawdown, base.average_exposure
        )

    def _compare(self, path: EquityPath, name: str, other: EquityPath) -> Comparison:
        window = self.window
        returns, against = window.returns(path.values), window.returns(other.values)
        gain = evidence.sharpe_gain(
            returns - window.risk_free,
            against - window.risk_free,
            seed=self.seed,
            frequency=window.frequency,
        )
        difference = evidence.difference_at_equal_volatility(returns, against, window.risk_free)
        probabilistic = deflated = None
        if gain is not None and difference is not None:
            probabilistic = evidence.probabilistic_sharpe(difference)
            deflated = evidence.deflated_sharpe(difference, self.trials)
        return Comparison(
            against=name,
            performance=measure_performance(other, self.window, self.baseline),
            gain=gain.interval if gain else None,
            probability=gain.probability if gain else None,
            probabilistic=probabilistic,
            deflated=deflated,
            values=other.values,
        )

    def _simulate_baseline_at(self, exposure: float, of_baseline: float) -> EquityPath:
        """Simulate the monthly rule with targets scaled to an exposure; they sum to at most 1."""
        targets = self.settings.targets
        if not targets.any():
            return self.baseline
        scale = min(exposure / of_baseline, 1.0 / float(targets.sum()))
        return simulate(parse_rule(BASELINE), attrs.evolve(self.settings, targets=targets * scale))

    def _split_gain(self, path: EquityPath) -> Iterator[SubPeriod]:
        window = self.window
        dates, yearly = window.measured_dates, window.frequency.periods_per_year
        shortest = max(
            window.frequency.rows(_SHORTEST_SUBPERIOD), min(_SHORTEST_SUBPERIOD, _FEWEST_RETURNS)
        )
        if len(dates) <= SUBPERIODS * shortest:
            return
        mine, other = window.returns(path.values), window.returns(self.baseline.values)
        for rows in np.array_split(np.arange(len(dates)), SUBPERIODS):
            yield SubPeriod(
                first=str(dates[rows[0]]),
                last=str(dates[rows[-1]]),
                gain=metrics.sharpe(mine[rows], window.risk_free[rows], yearly)
                - metrics.sharpe(other[rows], window.risk_free[rows], yearly),
            )

    def _simulate_sweep(self, policy: Policy) -> Iterator[EquityPath]:
        for bps in self.costs:
            yield simulate(policy, attrs.evolve(self.settings, costs=CostModel.flat(bps)))

    def _sharpe(self, path: EquityPath) -> float:
        window = self.window
        yearly = window.frequency.periods_per_year
        return metrics.sharpe(window.returns(path.values), window.risk_free, yearly)


def reach_verdict(policy: str, judgements: Sequence[Judgement], trials: int) -> Verdict:
    """Conclude from the judgements on one panel.

    A gain is evidence only if, with each return of cash, its interval lies above 0 and its deflated
    probability reaches `EVIDENCE_THRESHOLD`. The judgement with the most realistic cash comes last.
    """
    strictest = judgements[-1]
    if policy == BASELINE:
        return Verdict(Finding.NONE, IS_BASELINE)
    comparisons = [judgement.baseline for judgement in judgements]
    gains = [comparison.gain for comparison in comparisons]
    last = gains[-1]
    if last is None or any(gain is None for gain in gains):
        frequency = DAILY if strictest.window is None else strictest.window.frequency
        return Verdict(
            Finding.INCONCLUSIVE,
            "no conclusion: the window is too short (an interval needs "
            f"{evidence.fewest_returns(frequency)} returns), or the policy does not move.",
        )
    doubts = [_doubt(comparison, trials) for comparison in comparisons]
    difference = describe_difference(last)
    drawdown = _describe_drawdown(strictest)
    if all(gain is not None and gain.high < 0 for gain in gains):
        return Verdict(
            Finding.LOSS, f"evidence of a loss against {BASELINE}: {difference}{drawdown}."
        )
    if not any(doubts):
        weak = [
            comparison.against
            for comparison in strictest.comparisons[1:]
            if comparison.against != policy and _doubt(comparison, trials)
        ]
        but = f"; no evidence of a gain over {' or '.join(weak)}" if weak else ""
        deflated = describe_deflated(comparisons[-1].deflated or 0.0, trials)
        return Verdict(
            Finding.GAIN,
            f"evidence of a gain over {BASELINE}: {difference}, {deflated}{but}{drawdown}.",
        )
    why = f"{difference}{doubts[-1]}"
    if not doubts[-1]:
        why = f"{difference} in excess of {strictest.cash}, but the evidence fails with cash at 0"
    elif not doubts[0]:
        why = f"a gain with cash at 0 vanishes in excess of {strictest.cash}, where {why}"
    return Verdict(Finding.NONE, f"no evidence of a gain over {BASELINE}: {why}{drawdown}.")


def summarize(policy: str, evaluations: Sequence[PolicyEvaluation]) -> str:
    """Summarize a policy's evaluations on several panels in a sentence."""
    if policy == BASELINE:
        return IS_BASELINE
    findings = [each.verdict.finding for each in evaluations]
    gains = [each.strictest.baseline.gain for each in evaluations]
    known = [gain.estimate for gain in gains if gain is not None]
    if not known:
        return "no conclusion on any panel."
    inconclusive = findings.count(Finding.INCONCLUSIVE)
    return (
        f"evidence of a gain over {BASELINE} on {findings.count(Finding.GAIN)} of "
        f"{len(evaluations)} panels, of a loss on {findings.count(Finding.LOSS)}"
        + (f", no conclusion on {inconclusive}" if inconclusive else "")
        + f"; median difference of Sharpe ratios {median(known):+.2f}, "
        f"from {min(known):+.2f} to {max(known):+.2f}."
    )


def explain_doubt(gain: ConfidenceInterval | None, deflated: float | None, trials: int) -> str:
    """Return why a difference is not evidence of a gain, as the end of a sentence; "" if it is."""
    if gain is None or deflated is None:
        return ", but the window is too short for an interval"
    if gain.estimate <= 0:
        return ", which is not a gain"
    if gain.low <= 0:
        return ", which can be chance alone"
    if deflated < EVIDENCE_THRESHOLD:
        return f", but {describe_deflated(deflated, trials)}, below {EVIDENCE_THRESHOLD:g}"
    return ""


def describe_difference(gain: ConfidenceInterval, average: str = "") -> str:
    """Return a difference of Sharpe ratios as part of a sentence."""
    direction = "higher" if gain.estimate > 0 else "lower"
    return (
        f"its Sharpe ratio is {average}{abs(gain.estimate):.2f} {direction} "
        f"(95% from {gain.low:+.2f} to {gain.high:+.2f})"
    )


def describe_deflated(deflated: float, trials: int) -> str:
    """Return a deflated probability as part of a sentence."""
    tried = "1 trial" if trials == 1 else f"{trials} trials"
    return f"its deflated probability after {tried} is {deflated:.2f}"


def _doubt(comparison: Comparison, trials: int) -> str:
    return explain_doubt(comparison.gain, comparison.deflated, trials)


def _describe_drawdown(judgement: Judgement) -> str:
    beyond = judgement.drawdown_beyond_exposure
    if beyond is None or abs(beyond) < 0.005:
        return ""
    direction = "shallower" if beyond < 0 else "deeper"
    return f"; its drawdown is {abs(beyond):.0%} {direction} than its exposure explains"
