"""Compare what a source answers with what another one has given before.

The figures of the first source stay. What the other one has differently is a finding, and never
averaged; what the first one lacks, later days, is taken from the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats
from rebalancer.domain.market.actions import INFERRED, ActionKind, CorporateAction
from rebalancer.domain.market.bar_years import BarYear
from rebalancer.domain.market.bars import Bars
from rebalancer.domain.market.currencies import is_rate_symbol
from rebalancer.domain.market.day_quality import AGREEMENT, agrees_with_change, disagreements
from rebalancer.domain.market.quality import Decision, Finding, Rule, Verdict

RATE_AGREEMENT = 0.02
"""As `AGREEMENT`, of exchange rates: they are fixed at different times of a day."""

ACTION_AGREEMENT = 0.01
"""Relative difference up to which values of actions agree: sources round them."""


@attrs.frozen
class SourceComparison:
    """What to store of an answer.

    Attributes:
        bars: Days of which no other source has figures.
        actions: Actions of which no other source has figures, outside of its days.
        findings: Disagreements, open.
        compared: Days of which both sources have figures, increasing.
    """

    bars: Bars
    actions: tuple[CorporateAction, ...]
    findings: tuple[Verdict, ...] = ()
    compared: Dates = attrs.field(factory=lambda: np.array([], dtype="datetime64[D]"))


def compare_sources(
    bars: Bars,
    actions: Sequence[CorporateAction],
    stored: Iterable[BarYear],
    stored_actions: Iterable[CorporateAction],
    *,
    source: str,
    known: datetime,
) -> SourceComparison:
    """Compare an answer with the stored figures of other sources.

    Stored figures without a source, adjusted ones, and inferred actions are not compared: the
    answer replaces them.

    Args:
        bars: Answer, as traded.
        actions: Answer, of the same time.
        stored: Stored years of the asset.
        stored_actions: Stored actions of the asset.
        source: Name of the answering source.
        known: Time of the answer.
    """
    days, closes, sources = _others(stored, source)
    compared = np.intersect1d(bars.days, days)
    if not len(days) or bars.adjusted:
        return SourceComparison(bars, tuple(actions))
    new = np.flatnonzero(~np.isin(bars.days, days))
    tolerance = RATE_AGREEMENT if is_rate_symbol(bars.symbol) else AGREEMENT
    different = disagreements(days, closes, bars.days, bars.close, tolerance=tolerance)
    notes: list[tuple[date, str]] = []
    if len(different):
        at = int(np.searchsorted(days, different[0]))
        theirs = bars.close[int(np.searchsorted(bars.days, different[0]))]
        more = len(different) - 1
        rest = f" and {more} more day{'' if more == 1 else 's'}" if more else ""
        notes.append(
            (
                different[0].item(),
                f"closed on {different[0]} at {closes[at]:.10g} by {sources[at]}, which is used, "
                f"and at {theirs:.10g} by {source}{rest}",
            )
        )
    saved, differing = _compare_actions(
        actions, [one for one in stored_actions if one.source != INFERRED], compared, source
    )
    symbol = bars.symbol
    findings: dict[date, str] = {}
    for day, note in (*notes, *differing):
        findings[day] = f"{findings[day]}; {note}" if day in findings else note
    return SourceComparison(
        bars.at(new),
        saved,
        tuple(
            Verdict(symbol, Rule.SOURCES_DISAGREE, day, Decision.OPEN, known, note)
            for day, note in sorted(findings.items())
        ),
        compared,
    )


def confirm_changes(
    findings: Iterable[Finding],
    stored: Iterable[Verdict],
    bars: Bars,
    comparison: SourceComparison,
    *,
    source: str,
    known: datetime,
) -> list[Verdict]:
    """Return decisions that accept withheld changes of closes which another source has, too.

    Args:
        findings: What the check of the stored closes has found.
        stored: States of findings; those that an operator decided stay.
        bars: Answer of the other source, as traded.
        comparison: Of the answer with the stored figures.
        source: Name of the answering source.
        known: Time of the answer.
    """
    decided = {one.key for one in stored if one.decision in (Decision.ACCEPT, Decision.REJECT)}
    compared = set(comparison.compared.tolist())
    found = []
    for one in findings:
        if one.symbol != bars.symbol or not one.withholds or one.day not in compared:
            continue
        change = one.after / one.before
        if agrees_with_change(np.datetime64(one.day, "D"), change, bars.days, bars.close):
            note = f"{source} has the same change"
            verdict = Verdict(one.symbol, one.rule, one.day, Decision.ACCEPT, known, note)
            if verdict.key not in decided:
                found.append(verdict)
    return found


def update_disagreements(
    stored: Iterable[Verdict], symbol: str, comparison: SourceComparison, *, known: datetime
) -> list[Verdict]:
    """Return the states of disagreements that a comparison changes.

    A disagreement on which an operator decided stays decided. An open one of a compared day that
    is no more is resolved.

    Args:
        stored: States of findings.
        symbol: The asset.
        comparison: Its comparison.
        known: Time of the comparison.
    """
    own = {
        one.day: one for one in stored if one.symbol == symbol and one.rule is Rule.SOURCES_DISAGREE
    }
    found = {one.day: one for one in comparison.findings}
    changed = [
        one
        for day, one in found.items()
        if day not in own
        or own[day].decision is Decision.RESOLVED
        or (own[day].decision is Decision.OPEN and own[day].note != one.note)
    ]
    compared = set(comparison.compared.tolist())
    changed += [
        attrs.evolve(one, decision=Decision.RESOLVED, decided=known)
        for day, one in own.items()
        if day in compared and day not in found and one.decision is Decision.OPEN
    ]
    return changed


def _others(stored: Iterable[BarYear], source: str) -> tuple[Dates, Floats, list[str]]:
    """Return days, closes and names of the stored figures of other sources, days increasing."""
    days: list[Dates] = []
    closes: list[Floats] = []
    names: list[str] = []
    for year in stored:
        if year.bars.adjusted:
            continue
        rows = np.flatnonzero([name not in ("", source) for name in year.sources])
        days.append(year.bars.days[rows])
        closes.append(year.bars.close[rows])
        names += year.sources[rows].tolist()
    if not days:
        return np.array([], dtype="datetime64[D]"), np.array([]), []
    every, figures = np.concatenate(days), np.concatenate(closes)
    order = np.argsort(every)
    return every[order], figures[order], [names[at] for at in order]


def _compare_actions(
    actions: Sequence[CorporateAction],
    stored: Sequence[CorporateAction],
    compared: Dates,
    source: str,
) -> tuple[tuple[CorporateAction, ...], list[tuple[date, str]]]:
    """Return the actions to save, and day and text of each disagreement."""
    others = {one.key: one for one in stored if one.source not in ("", source)}
    given = {one.key: one for one in actions}
    saved: list[CorporateAction] = []
    notes: list[tuple[date, str]] = []
    for key, one in given.items():
        other = others.get(key)
        if other is None and not _is_among(one.ex_day, compared):
            saved.append(one)
        elif other is None and not any(each.key == key for each in stored):
            notes.append((one.ex_day, f"has {_text(one)} by {source} alone, which is not used"))
        elif other is None:
            saved.append(one)
        elif not _agree(one, other):
            notes.append(
                (
                    one.ex_day,
                    f"has {_text(other)} by {other.source}, which is used, and of "
                    f"{one.value.normalize():f} by {source}",
                )
            )
    for key, other in others.items():
        if key not in given and _is_among(other.ex_day, compared):
            notes.append((other.ex_day, f"has {_text(other)} by {other.source}, not by {source}"))
    return tuple(saved), notes


def _is_among(day: date, days: Dates) -> bool:
    found: Bools = np.isin(np.datetime64(day, "D"), days)
    return bool(found)


def _agree(one: CorporateAction, other: CorporateAction) -> bool:
    """Return whether two values of an action are the same; an unstated currency is any."""
    if None not in (one.currency, other.currency) and one.currency != other.currency:
        return False
    largest = max(abs(one.value), abs(other.value))
    return not largest or float(abs(one.value - other.value) / largest) <= ACTION_AGREEMENT


def _text(action: CorporateAction) -> str:
    kind = action.kind.value.replace("_", " ")
    if action.kind in (ActionKind.RENAME, ActionKind.DELISTING):
        return f"a {kind} on {action.ex_day}"
    return f"a {kind} of {action.value.normalize():f} on {action.ex_day}"
