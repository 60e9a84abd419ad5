"""Tables and sentences of an evaluation, for the terminal and for HTML reports."""

from __future__ import annotations

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
    """Table of texts.

    Attributes:
        texts: Headings of the columns of text, which come first.
        figures: Headings of the columns of figures.
        sections: Rows in groups; a short row leaves the last columns empty.
    """

    title: str
    texts: tuple[str, ...]
    figures: tuple[str, ...]
    sections: tuple[tuple[Row, ...], ...]
    caption: str

    @property
    def headings(self) -> Row:
        """Headings of all columns."""
        return (*self.texts, *self.figures)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of all sections, each with all columns."""
        count = len(self.headings)
        return tuple(
            (*row, *[""] * (count - len(row))) for section in self.sections for row in section
        )


def figures(name: str, done: PanelEvaluation) -> Table:
    """Return the performance of policies and baselines on one panel."""
    strictest = done.policies[0].strictest
    above = "" if strictest.cash == "0" else f"; cash earns {strictest.cash}"
    requested = {evaluation.policy for evaluation in done.policies}
    others: dict[str, Comparison] = {}
    for evaluation in done.policies:
        for comparison in evaluation.strictest.comparisons:
            if comparison.against not in {EQUAL_EXPOSURE, *requested}:
                others.setdefault(comparison.against, comparison)
    for evaluation in done.policies:
        if differs_in_exposure(evaluation.strictest):
            comparison = evaluation.strictest.equal_exposure
            others[baseline_label(comparison, evaluation.policy)] = comparison
    return Table(
        title=f"{name}: {done.dates[0]} to {done.dates[-1]}, "
        f"{_pluralize(len(done.symbols), 'asset')}, {done.cost_label}{above}",
        texts=("policy",),
        figures=("Sharpe", "CAGR", "max DD", "beyond exposure", "exposure", "turn/y", "orders/y"),
        sections=(
            tuple(
                (each.policy, *_format_performance(each.strictest.performance, each.strictest))
                for each in done.policies
            ),
            tuple(
                (label, *_format_performance(comparison.performance))
                for label, comparison in others.items()
            ),
        ),
        caption="Beyond exposure: how much deeper (+) or shallower (-) the drawdown is than that "
        f"of monthly at the same exposure. {done.frequency.sentence}",
    )


def gains(done: PanelEvaluation) -> Table:
    """Return the gains of policies over each baseline on one panel."""
    with_cash = done.policies[0].strictest.cash != "0"
    return Table(
        title="Gain of Sharpe ratio",
        texts=("policy", "over"),
        figures=(
            *("gain", "P(>0)", "PSR", "DSR"),
            *(("cash at 0",) if with_cash else ()),
            *("thirds", "gone at"),
        ),
        sections=tuple(_gain_rows(evaluation, with_cash=with_cash) for evaluation in done.policies),
        caption="\u00b1: 95% interval. P(>0): probability of a gain. PSR and DSR: of the return "
        "difference at equal volatility, DSR after "
        f"{_pluralize(done.trials, 'trial')}. Gone at: trading cost, in basis points, at which the "
        "gain over monthly vanishes.",
    )


def _gain_rows(evaluation: PolicyEvaluation, *, with_cash: bool) -> tuple[Row, ...]:
    rows = []
    for at, comparison in shown(evaluation):
        at_zero = evaluation.judgements[0].comparisons[at].gain
        row = [
            evaluation.policy,
            _short_label(comparison),
            _format_gain(comparison.gain),
            *(_format_share(each) for each in (comparison.probability, comparison.probabilistic)),
            _format_share(comparison.deflated),
        ]
        if with_cash:
            row.append("" if at_zero is None else f"{at_zero.estimate:+.2f}")
        if at == 0:
            row.append(" ".join(f"{part.gain:+.2f}" for part in evaluation.strictest.subperiods))
            row.append(_format_break_even(evaluation.strictest))
        rows.append(tuple(row))
    return tuple(rows)


def pooled(findings: Findings) -> Table:
    """Return the gains of policies over each baseline on all panels together."""
    with_cash = any(each.strictest is not each.at_zero for each in findings.pooled)
    policies = []
    for each in findings.pooled:
        rows = []
        for at_zero, comparison in zip(each.at_zero, each.strictest, strict=True):
            if comparison.against == each.policy:
                continue
            row = [
                each.policy,
                _short_label(comparison),
                f"{comparison.panels}",
                _format_gain(comparison.gain),
                "" if comparison.median is None else f"{comparison.median:+.2f}",
                _format_share(comparison.probability),
                _format_share(comparison.deflated),
            ]
            if with_cash:
                row.append("" if at_zero.gain is None else f"{at_zero.gain.estimate:+.2f}")
            rows.append(tuple(row))
        policies.append(tuple(rows))
    return Table(
        title=f"All {len(findings.panels)} panels together: mean gain of Sharpe ratio",
        texts=("policy", "over"),
        figures=(
            *("panels", "gain", "median", "P(>0)", "deflated"),
            *(("cash at 0",) if with_cash else ()),
        ),
        sections=tuple(policies),
        caption="\u00b1: 95% interval, from blocks of the calendar that are drawn for all panels "
        f"together. Deflated: probability after {_pluralize(findings.trials, 'trial')}.",
    )


def shown(evaluation: PolicyEvaluation) -> list[tuple[int, Comparison]]:
    """Return the comparisons to show, with their positions: none with the policy itself."""
    return [
        (at, comparison)
        for at, comparison in enumerate(evaluation.strictest.comparisons)
        if comparison.against != evaluation.policy
        and (comparison.against != EQUAL_EXPOSURE or differs_in_exposure(evaluation.strictest))
    ]


def verdicts(done: PanelEvaluation) -> list[str]:
    """Return a sentence on each policy, and one on each ensemble's seeds."""
    sentences = []
    for evaluation in done.policies:
        sentences.append(f"{evaluation.policy}: {evaluation.verdict.sentence}")
        if seeds := evaluation.strictest.seeds:
            sentences.append(
                f"{evaluation.policy}: its {_pluralize(len(seeds), 'seed')} alone gain "
                f"{median(seeds):+.2f} over {BASELINE} (median), from {min(seeds):+.2f} to "
                f"{max(seeds):+.2f}."
            )
    return sentences


def pooled_verdict(each: PooledEvaluation) -> str:
    """Return a sentence on a policy, from all panels together."""
    return f"{each.policy}: {each.verdict.sentence}"


def differs_in_exposure(judgement: Judgement) -> bool:
    """Return whether the exposure differs from monthly's; if not, two baselines are equal."""
    own, usual = judgement.performance, judgement.baseline.performance
    return abs(own.average_exposure - usual.average_exposure) >= _SAME_EXPOSURE


def baseline_label(comparison: Comparison, policy: str) -> str:
    """Return the label of a policy's baseline among those of other policies."""
    if comparison.against == EQUAL_EXPOSURE:
        return f"{BASELINE}, as exposed as {policy}"
    return comparison.against


def _short_label(comparison: Comparison | PooledComparison) -> str:
    if comparison.against == EQUAL_EXPOSURE:
        return f"{BASELINE}, as exposed"
    if comparison.chosen:
        return f"best rule: {comparison.against.partition(' (')[0]}"
    return comparison.against


def _format_gain(gain: ConfidenceInterval | None) -> str:
    return "" if gain is None else f"{gain.estimate:+.2f} \u00b1{gain.high - gain.estimate:.2f}"


def _format_performance(performance: Performance, judgement: Judgement | None = None) -> Row:
    beyond = None if judgement is None else judgement.drawdown_beyond_exposure
    return (
        f"{performance.sharpe:.2f}",
        _format_yearly(performance.cagr, ".1%"),
        f"{performance.max_drawdown:.1%}",
        "" if beyond is None else f"{beyond:+.0%}",
        f"{performance.average_exposure:.0%}",
        _format_yearly(performance.turnover_per_year, ".0%"),
        _format_yearly(performance.orders_per_year, ".0f"),
    )


def _format_yearly(figure: float | None, form: str) -> str:
    """Return a figure a year; a dash where the window is shorter than a year."""
    return "-" if figure is None else format(figure, form)


def _format_share(share: float | None) -> str:
    return "" if share is None else f"{share:.2f}"


def _format_break_even(judgement: Judgement) -> str:
    """Return the cost at which the gain vanishes, that it lasts, or "no gain"."""
    if judgement.break_even_bps is not None:
        return f"{judgement.break_even_bps:.0f}"
    highest = judgement.sweep[-1]
    return f"> {highest.bps:.0f}" if highest.gain > 0 else "no gain"


def _pluralize(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
