"""What an evaluation found out, as tables of text: for the terminal and for reports alike."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs

from rebalancer.domain.backtest.evaluation import (
    AT_ITS_EXPOSURE,
    Contest,
    Evaluation,
    Judged,
    Judgement,
)
from rebalancer.domain.backtest.evidence import Interval
from rebalancer.domain.backtest.findings import Findings
from rebalancer.domain.backtest.pooling import Pooled, PooledContest
from rebalancer.domain.backtest.run import BASELINE, Performance

_SAME_EXPOSURE = 0.005

Row = tuple[str, ...]


@attrs.frozen
class Table:
    """Text in rows and columns.

    Attributes:
        title: Above it.
        texts: Headings of the columns of text, the first ones.
        figures: Headings of the columns of figures.
        sections: Rows, grouped; a short row leaves the last columns empty.
        caption: Below it.
    """

    title: str
    texts: tuple[str, ...]
    figures: tuple[str, ...]
    sections: tuple[tuple[Row, ...], ...]
    caption: str


def figures(name: str, done: Evaluation) -> Table:
    """How policies and sceptics did on one panel."""
    strictest = done.judged[0].strictest
    above = "" if strictest.cash == "0" else f"; cash earns {strictest.cash}"
    asked = {judged.policy for judged in done.judged}
    others: dict[str, Contest] = {}
    for judged in done.judged:
        for contest in judged.strictest.contests:
            if contest.against not in {AT_ITS_EXPOSURE, *asked}:
                others.setdefault(contest.against, contest)
    exposed = [
        (sceptic_label(judged.strictest.contests[2], judged.policy), judged.strictest.contests[2])
        for judged in done.judged
        if holds_less(judged.strictest)
    ]
    return Table(
        title=f"{name}: {done.dates[0]} to {done.dates[-1]}, {len(done.symbols)} assets, "
        f"{done.cost_label}{above}",
        texts=("policy",),
        figures=("Sharpe", "CAGR", "max DD", "beyond exposure", "exposure", "turn/y", "orders/y"),
        sections=(
            tuple(
                (judged.policy, *_figures(judged.strictest.performance, _beyond(judged.strictest)))
                for judged in done.judged
            ),
            tuple(
                (label, *_figures(contest.performance, ""))
                for label, contest in (*others.items(), *exposed)
            ),
        ),
        caption="Beyond exposure: how much deeper (+) or shallower (-) it fell than monthly would "
        "have at the same exposure.",
    )


def gains(done: Evaluation) -> Table:
    """What policies gain on each sceptic on one panel."""
    free = done.judged[0].strictest.cash != "0"
    return Table(
        title="Gain of Sharpe ratio",
        texts=("policy", "on"),
        figures=(
            *("gain", "P(>0)", "PSR", "DSR"),
            *(("cash at 0",) if free else ()),
            *("thirds", "gone at"),
        ),
        sections=tuple(_gains(judged, free=free) for judged in done.judged),
        caption="Give or take the 95% interval. P(>0): probability of a gain. PSR and DSR: of the "
        f"return difference at equal volatility, DSR after {_many(done.trials, 'trial')}. Gone at: "
        "cost of trading at which the gain on monthly has vanished, basis points.",
    )


def _gains(judged: Judged, *, free: bool) -> tuple[Row, ...]:
    rows = []
    for at, contest in shown(judged):
        without = judged.judgements[0].contests[at].gain
        row = [
            judged.policy,
            _short(contest),
            give_or_take(contest.gain),
            *(_chance(each) for each in (contest.probability, contest.probabilistic)),
            _chance(contest.deflated),
        ]
        if free:
            row.append("" if without is None else f"{without.estimate:+.2f}")
        if at == 0:
            row.append(" ".join(f"{part.gain:+.2f}" for part in judged.strictest.parts))
            row.append(_break_even(judged.strictest))
        rows.append(tuple(row))
    return tuple(rows)


def pooled(findings: Findings) -> Table:
    """What policies gain on each sceptic, over all panels together."""
    free = any(each.strictest is not each.at_zero for each in findings.pooled)
    policies = []
    for each in findings.pooled:
        rows = []
        for without, contest in zip(each.at_zero, each.strictest, strict=True):
            if contest.against == each.policy:
                continue
            row = [
                each.policy,
                _short(contest),
                f"{contest.panels}",
                give_or_take(contest.gain),
                "" if contest.median is None else f"{contest.median:+.2f}",
                _chance(contest.probability),
                _chance(contest.deflated),
            ]
            if free:
                row.append("" if without.gain is None else f"{without.gain.estimate:+.2f}")
            rows.append(tuple(row))
        policies.append(tuple(rows))
    return Table(
        title=f"All {len(findings.panels)} panels together: mean gain of Sharpe ratio",
        texts=("policy", "on"),
        figures=(
            *("panels", "gain", "median", "P(>0)", "deflated"),
            *(("cash at 0",) if free else ()),
        ),
        sections=tuple(policies),
        caption="Give or take the 95% interval, from blocks of the calendar that are drawn for all "
        f"panels together. Deflated: probability after {_many(findings.trials, 'trial')}.",
    )


def shown(judged: Judged) -> list[tuple[int, Contest]]:
    """Contests that are worth a row, each with its place: not with itself, none twice over."""
    return [
        (at, contest)
        for at, contest in enumerate(judged.strictest.contests)
        if contest.against != judged.policy
        and (contest.against != AT_ITS_EXPOSURE or holds_less(judged.strictest))
    ]


def verdicts(done: Evaluation) -> list[str]:
    """A sentence a policy on what one panel says, and one on each ensemble's seeds."""
    said = []
    for judged in done.judged:
        said.append(f"{judged.policy}: {judged.verdict.sentence}")
        if judged.strictest.seeds:
            said.append(f"{judged.policy}: {seeds(judged.strictest.seeds)}")
    return said


def pooled_verdict(each: Pooled) -> str:
    """A sentence on what all panels together say."""
    return f"{each.policy}: {each.verdict.sentence}"


def seeds(alone: Sequence[float]) -> str:
    """What each seed of an ensemble gains, in a sentence."""
    return (
        f"its {_many(len(alone), 'seed')} alone gain {median(alone):+.2f} on {BASELINE} (median), "
        f"from {min(alone):+.2f} to {max(alone):+.2f}."
    )


def holds_less(judgement: Judgement) -> bool:
    """Whether its exposure is another than the baseline's: else both are one sceptic."""
    own, usual = judgement.performance, judgement.baseline.performance
    return abs(own.average_exposure - usual.average_exposure) >= _SAME_EXPOSURE


def sceptic_label(contest: Contest, policy: str) -> str:
    """What a sceptic of a policy is called where other policies' sceptics are, too."""
    if contest.against == AT_ITS_EXPOSURE:
        return f"{BASELINE}, as exposed as {policy}"
    return contest.against


def give_or_take(gain: Interval | None) -> str:
    """A gain with its interval; empty where nothing can be told."""
    return "" if gain is None else f"{gain.estimate:+.2f} ±{gain.high - gain.estimate:.2f}"


def _short(contest: Contest | PooledContest) -> str:
    if contest.against == AT_ITS_EXPOSURE:
        return f"{BASELINE}, as exposed"
    return f"best rule: {contest.against.partition(' (')[0]}" if contest.chosen else contest.against


def _figures(performance: Performance, beyond: str) -> Row:
    return (
        f"{performance.sharpe:.2f}",
        f"{performance.cagr:.1%}",
        f"{performance.max_drawdown:.1%}",
        beyond,
        f"{performance.average_exposure:.0%}",
        f"{performance.turnover_per_year:.0%}",
        f"{performance.orders_per_year:.0f}",
    )


def _beyond(judgement: Judgement) -> str:
    beyond = judgement.drawdown_beyond_exposure
    return "" if beyond is None else f"{beyond:+.0%}"


def _chance(chance: float | None) -> str:
    return "" if chance is None else f"{chance:.2f}"


def _break_even(judgement: Judgement) -> str:
    """The cost at which the gain is gone; or that it lasts, or that there is none."""
    if judgement.break_even_bps is not None:
        return f"{judgement.break_even_bps:.0f}"
    dearest = judgement.sweep[-1]
    return f"> {dearest.bps:.0f}" if dearest.gain > 0 else "no gain"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
