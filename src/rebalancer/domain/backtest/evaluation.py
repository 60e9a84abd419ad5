"""Does a policy earn its place? Judged beside sceptics, and told in a sentence.

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
from numpy.typing import NDArray

from rebalancer.domain.backtest import evidence, performance
from rebalancer.domain.backtest.evidence import Interval
from rebalancer.domain.backtest.run import (
    BASELINE,
    Conditions,
    Path,
    Performance,
    measure,
    run,
)
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import policy as rule
from rebalancer.domain.portfolio.costs import CostModel

Floats = NDArray[np.float64]
Dates = NDArray[np.datetime64]

PLAIN = "band"
"""The sceptic that trades least and thinks least."""

AT_ITS_EXPOSURE = "monthly at its exposure"
"""The sceptic that invests as much as the policy does on average, and keeps the rest in cash."""

BEST_RULE = "{} (best on training data)"
"""What a rule is called that was chosen on training data."""

SWEEP_BPS = (0.0, 5.0, 10.0, 20.0, 30.0, 50.0)
"""Costs of trading that are tried, basis points of traded value on each side."""

SURE = 0.95
"""Deflated probability from which a gain counts as evidence."""

PARTS = 3
_SHORTEST_PART = 21


@runtime_checkable
class Ensemble(Protocol):
    """A policy that decides by several of its kind, each learnt from another seed."""

    @property
    def members(self) -> tuple[Policy, ...]:
        """One policy a seed."""


@runtime_checkable
class Challenger(Protocol):
    """A policy that knows which rule did best on the data that it was learnt from."""

    @property
    def chosen_rule(self) -> str | None:
        """The rule's name; None where none was chosen."""


@attrs.frozen(eq=False)
class Cash:
    """What cash earns, and Sharpe ratios subtract.

    Attributes:
        label: "0", a rate, or the name of a column of bills.
        returns: (T,) simple, over each row of the history.
    """

    label: str
    returns: Floats


@attrs.frozen
class Contest:
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
    gain: Interval | None
    probability: float | None
    probabilistic: float | None
    deflated: float | None
    chosen: bool = False
    values: Floats = attrs.field(factory=lambda: np.ones(0), eq=False, repr=False)


@attrs.frozen
class Part:
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
class Charged:
    """What is left of the gain when trading costs this much.

    Attributes:
        bps: Of traded value, each side.
        gain: Sharpe ratio of the policy minus the baseline's, a year, both paying it.
    """

    bps: float
    gain: float


@attrs.frozen
class Judgement:
    """A policy, judged with cash at one return.

    Attributes:
        cash: What cash earned, see `Cash.label`.
        performance: How the policy did.
        contests: Against the baseline first, then the other sceptics, then whom else was asked for.
        drawdown_beyond_exposure: See `evidence.drawdown_beyond_exposure`; below 0 is shallower.
        parts: Thirds of the window; none where they would be shorter than a month.
        sweep: The gain on the baseline at each of `SWEEP_BPS`.
        break_even_bps: Cost at which that gain vanishes; None where it does not within the sweep.
        seeds: Of an ensemble, the gain of each single seed on the baseline, in the seeds' order.
        values: (R,) the policy's wealth after each close, per 1 invested.
        risk_free: (R - 1,) simple return of cash over each row.
    """

    cash: str
    performance: Performance
    contests: tuple[Contest, ...]
    drawdown_beyond_exposure: float | None
    parts: tuple[Part, ...]
    sweep: tuple[Charged, ...]
    break_even_bps: float | None
    seeds: tuple[float, ...] = ()
    values: Floats = attrs.field(factory=lambda: np.ones(0), eq=False, repr=False)
    risk_free: Floats = attrs.field(factory=lambda: np.zeros(0), eq=False, repr=False)

    @property
    def baseline(self) -> Contest:
        """The contest that counts most."""
        return self.contests[0]

    @property
    def best_rule(self) -> Contest | None:
        """The contest against the best rule on training data; None where none was chosen."""
        return next((contest for contest in self.contests if contest.chosen), None)

    def pair(self, contest: Contest, dates: Dates) -> evidence.Pair:
        """The policy and another in excess of cash; ``dates`` (R,) are the window's."""
        mine, other = (evidence.simple_returns(each.values) for each in (self, contest))
        return evidence.Pair(dates[1:], mine - self.risk_free, other - self.risk_free)


class Finding(StrEnum):
    """What the evidence says of a gain on the baseline."""

    GAIN = "gain"
    NONE = "none"
    LOSS = "loss"
    UNTOLD = "untold"


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
class Judged:
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
class Evaluation:
    """Policies judged on one panel of prices.

    Attributes:
        dates: (R,) trading days of the window.
        symbols: N assets.
        cost_label: What trading was charged.
        trials: How many policies luck could have chosen from.
        judged: One a policy, in the order asked for.
    """

    dates: Dates
    symbols: tuple[str, ...]
    cost_label: str
    trials: int
    judged: tuple[Judged, ...]


def evaluate(
    policies: Sequence[Policy],
    conditions: Conditions,
    cash: Sequence[Cash],
    *,
    against: Sequence[Policy] = (),
    chosen_rule: str | None = None,
    trials: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Judge policies beside their sceptics.

    Args:
        policies: Whom to judge.
        conditions: Under which conditions; their own risk-free is not looked at.
        cash: Returns of cash, one a judgement, the most believable last.
        against: Others to judge them against, beside the sceptics.
        chosen_rule: The best rule on training data, for all policies; None: each policy's own
            choice, if it brings one along.
        trials: How many policies were tried in all; None: those judged here.
        seed: Of the resampling behind intervals.
        progress: Told the name of each policy whenever a judgement of it is made.

    Raises:
        InvalidRequest: fewer trials than policies, or the window holds fewer than 3 rows.
    """
    count = len(policies) if trials is None else trials
    check_trials(count, len(policies))
    others = [rule(PLAIN), *(one for one in against if one.name not in (BASELINE, PLAIN))]
    courts = [
        _Court(attrs.evolve(conditions, risk_free=each.returns), each.label, others, count, seed)
        for each in cash
    ]
    judged = []
    for policy in policies:
        chosen = chosen_rule
        if chosen is None and isinstance(policy, Challenger):
            chosen = policy.chosen_rule
        judgements = []
        for court in courts:
            judgements.append(court.judge(policy, chosen))
            progress(policy.name)
        verdict = verdict_on(policy.name, judgements, count)
        judged.append(Judged(policy.name, tuple(judgements), verdict, chosen))
    return Evaluation(
        dates=conditions.prices.dates[conditions.first :],
        symbols=conditions.prices.symbols,
        cost_label=conditions.costs.label,
        trials=count,
        judged=tuple(judged),
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


class _Court:
    """One set of conditions, and what the sceptics did under it."""

    def __init__(
        self, conditions: Conditions, cash: str, others: Sequence[Policy], trials: int, seed: int
    ) -> None:
        self.conditions, self.cash, self.trials, self.seed = conditions, cash, trials, seed
        self.risk_free = conditions.risk_free[conditions.first :][1:]
        self.baseline = run(rule(BASELINE), conditions)
        self.others = [(other.name, run(other, conditions)) for other in others]
        self.charged = [self._sharpe(path) for path in self._sweep(rule(BASELINE))]
        self.chosen: dict[str, Path] = {}

    def judge(self, policy: Policy, chosen: str | None) -> Judgement:
        """A policy beside the sceptics, the rule that was chosen on training data among them."""
        path = run(policy, self.conditions)
        made = measure(path, self.risk_free, self.baseline)
        base = measure(self.baseline, self.risk_free, self.baseline)
        exposed = self._baseline_at(made.average_exposure, base.average_exposure)
        contests = [
            self._contest(path, name, other)
            for name, other in (
                (BASELINE, self.baseline),
                self.others[0],
                (AT_ITS_EXPOSURE, exposed),
            )
        ]
        if chosen is not None:
            other = self._of_rule(chosen)
            contest = self._contest(path, BEST_RULE.format(chosen), other)
            contests.append(attrs.evolve(contest, chosen=True))
        contests += [self._contest(path, name, other) for name, other in self.others[1:]]
        left = [
            Charged(bps, self._sharpe(charged) - other)
            for bps, charged, other in zip(
                SWEEP_BPS, self._sweep(policy), self.charged, strict=True
            )
        ]
        return Judgement(
            cash=self.cash,
            performance=made,
            contests=tuple(contests),
            drawdown_beyond_exposure=evidence.drawdown_beyond_exposure(
                made.max_drawdown, made.average_exposure, base.max_drawdown, base.average_exposure
            ),
            parts=tuple(self._parts(path)),
            sweep=tuple(left),
            break_even_bps=evidence.break_even_cost(SWEEP_BPS, [each.gain for each in left]),
            seeds=tuple(self._seeds(policy)),
            values=path.values,
            risk_free=self.risk_free,
        )

    def _of_rule(self, name: str) -> Path:
        if name not in self.chosen:
            self.chosen[name] = run(rule(name), self.conditions)
        return self.chosen[name]

    def _seeds(self, policy: Policy) -> Iterator[float]:
        """What each seed of an ensemble gains on the baseline, alone."""
        if isinstance(policy, Ensemble):
            for member in policy.members:
                yield self._sharpe(run(member, self.conditions)) - self._sharpe(self.baseline)

    def _contest(self, path: Path, name: str, other: Path) -> Contest:
        returns, against = _returns(path), _returns(other)
        gain = evidence.sharpe_gain(
            returns - self.risk_free, against - self.risk_free, seed=self.seed
        )
        difference = evidence.difference_at_equal_volatility(returns, against, self.risk_free)
        probabilistic = deflated = None
        if gain is not None and difference is not None:
            probabilistic = evidence.probabilistic_sharpe(difference)
            deflated = evidence.deflated_sharpe(difference, self.trials)
        return Contest(
            against=name,
            performance=measure(other, self.risk_free, self.baseline),
            gain=gain.interval if gain else None,
            probability=gain.probability if gain else None,
            probabilistic=probabilistic,
            deflated=deflated,
            values=other.values,
        )

    def _baseline_at(self, exposure: float, of_baseline: float) -> Path:
        """The baseline with its targets scaled to an exposure; never more than all is invested."""
        targets = self.conditions.targets
        if not targets.any():
            return self.baseline
        scale = min(exposure / of_baseline, 1.0 / float(targets.sum()))
        return run(rule(BASELINE), attrs.evolve(self.conditions, targets=targets * scale))

    def _parts(self, path: Path) -> Iterator[Part]:
        dates = self.conditions.prices.dates[self.conditions.first :][1:]
        if len(dates) < PARTS * _SHORTEST_PART:
            return
        mine, other = _returns(path), _returns(self.baseline)
        for rows in np.array_split(np.arange(len(dates)), PARTS):
            yield Part(
                first=str(dates[rows[0]]),
                last=str(dates[rows[-1]]),
                gain=performance.sharpe(mine[rows], self.risk_free[rows])
                - performance.sharpe(other[rows], self.risk_free[rows]),
            )

    def _sweep(self, policy: Policy) -> Iterator[Path]:
        for bps in SWEEP_BPS:
            yield run(policy, attrs.evolve(self.conditions, costs=CostModel.flat(bps)))

    def _sharpe(self, path: Path) -> float:
        return performance.sharpe(_returns(path), self.risk_free)


def verdict_on(policy: str, judgements: Sequence[Judgement], trials: int) -> Verdict:
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
    contests = [judgement.baseline for judgement in judgements]
    gains = [contest.gain for contest in contests]
    last = gains[-1]
    if last is None or any(gain is None for gain in gains):
        return Verdict(
            Finding.UNTOLD,
            "nothing can be told: the window is too short (an interval wants "
            f"{10 * evidence.BLOCK} returns), or the policy does not move.",
        )
    doubts = [_doubt(contest, trials) for contest in contests]
    if all(gain is not None and gain.high < 0 for gain in gains):
        return Verdict(
            Finding.LOSS,
            f"evidence of a loss on {BASELINE}: {_told(last)}{_drawdown(strictest)}.",
        )
    if not any(doubts):
        weak = [
            contest.against
            for contest in strictest.contests[1:]
            if contest.against != policy and _doubt(contest, trials)
        ]
        but = f"; no evidence of one on {' or '.join(weak)}" if weak else ""
        return Verdict(
            Finding.GAIN,
            f"evidence of a gain on {BASELINE}: {_told(last)}, "
            f"{told_deflated(contests[-1].deflated or 0.0, trials)}{but}{_drawdown(strictest)}.",
        )
    why = f"{_told(last)}{doubts[-1]}"
    if not doubts[-1]:
        why = f"{_told(last)} above {strictest.cash}, but with cash at 0 it is not sure"
    elif not doubts[0]:
        why = f"the one with cash at 0 vanishes above {strictest.cash}, where {why}"
    return Verdict(
        Finding.NONE, f"no evidence of a gain on {BASELINE}: {why}{_drawdown(strictest)}."
    )


def summary(policy: str, judged: Sequence[Judged]) -> str:
    """What several panels come to, for one policy, in a sentence."""
    if policy == BASELINE:
        return f"this is {BASELINE} itself, which the others are held to."
    findings = [each.verdict.finding for each in judged]
    gains = [each.strictest.baseline.gain for each in judged]
    known = [gain.estimate for gain in gains if gain is not None]
    if not known:
        return "nothing can be told on any panel."
    untold = findings.count(Finding.UNTOLD)
    return (
        f"evidence of a gain on {BASELINE} on {findings.count(Finding.GAIN)} of {len(judged)} "
        f"panels, of a loss on {findings.count(Finding.LOSS)}"
        + (f", untold on {untold}" if untold else "")
        + f"; median difference of Sharpe ratios {median(known):+.2f}, "
        f"from {min(known):+.2f} to {max(known):+.2f}."
    )


def doubt(gain: Interval | None, deflated: float | None, trials: int) -> str:
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
        return f", but {told_deflated(deflated, trials)}, short of {SURE:g}"
    return ""


def _told(gain: Interval) -> str:
    way = "higher" if gain.estimate > 0 else "lower"
    return (
        f"its Sharpe ratio is {abs(gain.estimate):.2f} {way} "
        f"(95% from {gain.low:+.2f} to {gain.high:+.2f})"
    )


def told_deflated(deflated: float, trials: int) -> str:
    """A deflated probability, as part of a sentence."""
    tried = "1 trial" if trials == 1 else f"{trials} trials"
    return f"its deflated probability after {tried} is {deflated:.2f}"


def _doubt(contest: Contest, trials: int) -> str:
    return doubt(contest.gain, contest.deflated, trials)


def _drawdown(judgement: Judgement) -> str:
    beyond = judgement.drawdown_beyond_exposure
    if beyond is None or abs(beyond) < 0.005:
        return ""
    way = "shallower" if beyond < 0 else "deeper"
    return f"; it fell {abs(beyond):.0%} {way} than its exposure explains"


def _returns(path: Path) -> Floats:
    return evidence.simple_returns(path.values)
