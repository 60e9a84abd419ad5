"""What an evaluation found out, as tables of text: for the terminal and for reports alike."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs

from rebalancer.domain.backtest.engine import BASELINE
from rebalancer.domain.backtest.evaluation import (
    EQUAL_EXPOSURE,
    Comparison,
    Judgement,
    PanelEvaluation,
    PolicyEvaluation,
)
from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.backtest.findings import Findings
from rebalancer.domain.backtest.pooling import PooledComparison, PooledEvaluation
from rebalancer.domain.backtest.result import Performance

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


def figures(name: str, done: PanelEvaluation) -> Table:
    """How policies and sceptics did on one panel."""
    strictest = done.policies[0].strictest
    above = "" if strictest.cash == "0" else f"; cash earns {strictest.cash}"
    asked = {evaluation.policy for evaluation in done.policies}
    others: dict[str, Comparison] = {}
    for evaluation in done.policies:
        for comparison in evaluation.strictest.comparisons:
            if comparison.against not in {EQUAL_EXPOSURE, *asked}:
                others.setdefault(comparison.against, comparison)
    exposed = [
        (
            baseline_label(evaluation.strictest.comparisons[2], evaluation.policy),
            evaluation.strictest.comparisons[2],
        )
        for evaluation in done.policies
        if differs_in_exposure(evaluation.strictest)
    ]
    return Table(
        title=f"{name}: {done.dates[0]} to {done.dates[-1]}, {len(done.symbols)} assets, "
        f"{done.cost_label}{above}",
        texts=("policy",),
        figures=("Sharpe", "CAGR", "max DD", "beyond exposure", "exposure", "turn/y", "orders/y"),
        sections=(
            tuple(
                (
                    evaluation.policy,
                    *_figures(evaluation.strictest.performance, _beyond(evaluation.strictest)),
                )
                for evaluation in done.policies
            ),
            tuple(
                (label, *_figures(comparison.performance, ""))
                for label, comparison in (*others.items(), *exposed)
            ),
        ),
        caption="Beyond exposure: how much deeper (+) or shallower (-) it fell than monthly would "
        "have at the same exposure.",
    )


def gains(done: PanelEvaluation) -> Table:
    """What policies gain on each sceptic on one panel."""
    free = done.policies[0].strictest.cash != "0"
    return Table(
        title="Gain of Sharpe ratio",
        texts=("policy", "on"),
        figures=(
            *("gain", "P(>0)", "PSR", "DSR"),
            *(("cash at 0",) if free else ()),
            *("thirds", "gone at"),
        ),
        sections=tuple(_gains(evaluation, free=free) for evaluation in done.policies),
        caption="Give or take the 95% interval. P(>0): probability of a gain. PSR and DSR: of the "
        f"return difference at equal volatility, DSR after {_many(done.trials, 'trial')}. Gone at: "
        "cost of trading at which the gain on monthly has vanished, basis points.",
    )


def _gains(evaluation: PolicyEvaluation, *, free: bool) -> tuple[Row, ...]:
    rows = []
    for at, comparison in shown(evaluation):
        without = evaluation.judgements[0].comparisons[at].gain
        row = [
            evaluation.policy,
            _short(comparison),
            give_or_take(comparison.gain),
            *(_chance(each) for each in (comparison.probability, comparison.probabilistic)),
            _chance(comparison.deflated),
        ]
        if free:
            row.append("" if without is None else f"{without.estimate:+.2f}")
        if at == 0:
            row.append(" ".join(f"{part.gain:+.2f}" for part in evaluation.strictest.subperiods))
            row.append(_break_even(evaluation.strictest))
        rows.append(tuple(row))
    return tuple(rows)


def pooled(findings: Findings) -> Table:
    """What policies gain on each sceptic, over all panels together."""
    free = any(each.strictest is not each.at_zero for each in findings.pooled)
    policies = []
    for each in findings.pooled:
        rows = []
        for without, comparison in zip(each.at_zero, each.strictest, strict=True):
            if comparison.against == each.policy:
                continue
            row = [
                each.policy,
                _short(comparison),
                f"{comparison.panels}",
                give_or_take(comparison.gain),
                "" if comparison.median is None else f"{comparison.median:+.2f}",
                _chance(comparison.probability),
                _chance(comparison.deflated),
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


def shown(evaluation: PolicyEvaluation) -> list[tuple[int, Comparison]]:
    """Contests that are worth a row, each with its place: not with itself, none twice over."""
    return [
        (at, comparison)
        for at, comparison in enumerate(evaluation.strictest.comparisons)
        if comparison.against != evaluation.policy
        and (comparison.against != EQUAL_EXPOSURE or differs_in_exposure(evaluation.strictest))
    ]


def verdicts(done: PanelEvaluation) -> list[str]:
    """A sentence a policy on what one panel says, and one on each ensemble's seeds."""
    said = []
    for evaluation in done.policies:
        said.append(f"{evaluation.policy}: {evaluation.verdict.sentence}")
        if evaluation.strictest.seeds:
            said.append(f"{evaluation.policy}: {seeds(evaluation.strictest.seeds)}")
    return said


def pooled_verdict(each: PooledEvaluation) -> str:
    """A sentence on what all panels together say."""
    return f"{each.policy}: {each.verdict.sentence}"


def seeds(alone: Sequence[float]) -> str:
    """What each seed of an ensemble gains, in a sentence."""
    return (
        f"its {_many(len(alone), 'seed')} alone gain {median(alone):+.2f} on {BASELINE} (median), "
        f"from {min(alone):+.2f} to {max(alone):+.2f}."
    )


def differs_in_exposure(judgement: Judgement) -> bool:
    """Whether its exposure is another than the baseline's: else both are one sceptic."""
    own, usual = judgement.performance, judgement.baseline.performance
    return abs(own.average_exposure - usual.average_exposure) >= _SAME_EXPOSURE


def baseline_label(comparison: Comparison, policy: str) -> str:
    """What a sceptic of a policy is called where other policies' sceptics are, too."""
    if comparison.against == EQUAL_EXPOSURE:
        return f"{BASELINE}, as exposed as {policy}"
    return comparison.against


def give_or_take(gain: ConfidenceInterval | None) -> str:
    """A gain with its interval; empty where nothing can be told."""
    return "" if gain is None else f"{gain.estimate:+.2f} ±{gain.high - gain.estimate:.2f}"


def _short(comparison: Comparison | PooledComparison) -> str:
    if comparison.against == EQUAL_EXPOSURE:
        return f"{BASELINE}, as exposed"
    return (
        f"best rule: {comparison.against.partition(' (')[0]}"
        if comparison.chosen
        else comparison.against
    )


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
