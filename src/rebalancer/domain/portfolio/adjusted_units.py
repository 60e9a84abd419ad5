"""Units of a statement that are adjusted for later splits, as they were when they were traded.

Some tools change the units of earlier transactions when a split is recorded, and people do the same
by hand. A ledger books the split, so units that are adjusted for it would be multiplied twice.

A statement may state such a split itself; then its earlier rows count as adjusted. Otherwise the
closes decide: the price of an adjusted row differs from the close of its day by the ratio of the
split. Only splits that the market knows can be decided so, since closes of others may be adjusted,
too. A tool adjusts for all splits up to some day, so the first n splits are undone, where n makes
the prices agree with the closes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from statistics import median
from uuid import UUID

import attrs

from rebalancer.domain.money import MOST_DECIMALS
from rebalancer.domain.portfolio.entries import (
    TRADES,
    Entry,
    EntryKind,
    multiply_units,
    same_ratio,
)
from rebalancer.domain.portfolio.import_terms import ImportTerms, KnownSplit
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.statements import Remark

_ZERO, _ONE = Decimal(0), Decimal(1)
_DIGITS = 60
_FINEST = _ONE.scaleb(-MOST_DECIMALS)

AGREES = math.log(1.1)
"""Prices agree with closes whose logarithms differ by this at most, in the median."""

SAME_SPLIT = timedelta(days=7)
"""Days by which the day of a split may differ from that of the market."""

Planned = tuple[int, Entry]
"""Line of a statement, and the entry that it becomes."""


@attrs.frozen
class _Split:
    """A split for which rows may be adjusted.

    Attributes:
        on: Rows before this day may be adjusted.
        stated: Entry of the statement that states it; None if the market alone knows it.
        is_known: Whether the market knows it.
    """

    on: date
    ratio: Decimal
    stated: Entry | None = None
    is_known: bool = True


def undo_adjustments(
    planned: Sequence[Planned],
    terms: ImportTerms,
    ledger: Ledger,
    applied: Collection[UUID],
) -> tuple[list[Planned], list[Remark]]:
    """Return the entries with units and prices as they were traded, and remarks about them.

    Args:
        planned: In the order of the statement.
        terms: Splits and closes of the market.
        ledger: Of the portfolio.
        applied: Ids of those splits for which earlier rows of the statement are adjusted.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for at, (_, entry) in enumerate(planned):
        if entry.symbol is not None and (entry.quantity or entry.kind is EntryKind.SPLIT):
            rows[entry.symbol].append(at)
    found: list[Planned | None] = list(planned)
    remarks: list[Remark] = []
    recorded = {entry.id: entry for entry in ledger.effective} if rows else {}
    for symbol, places in rows.items():
        lines = [planned[at] for at in places]
        splits = _candidates(lines, terms.splits(symbol), applied)
        if not splits:
            continue
        undone = _choose(splits, lines, terms)
        restated = _restate(lines, splits, undone)
        if _is_recorded_adjusted(lines, restated, recorded):
            stated = {one.stated.id for one in splits if one.stated is not None}
            dropped = {id for id in stated if id not in recorded}
            restated = [line if line[1].id not in dropped else None for line in lines]
            remarks.append(_recorded_remark(symbol, lines, undone))
        else:
            remarks += _remarks(symbol, lines, splits, undone)
        for at, line in zip(places, restated, strict=True):
            found[at] = line
    return [line for line in found if line is not None], remarks


def match_split(on: date, ratio: Decimal | None, splits: Iterable[KnownSplit]) -> KnownSplit | None:
    """Return the split of the market that a split of a day is; None without one."""
    for day, known in splits:
        if abs(day - on) <= SAME_SPLIT and same_ratio(known, ratio):
            return day, known
    return None


def _candidates(
    lines: Sequence[Planned], known: Sequence[KnownSplit], applied: Collection[UUID]
) -> list[_Split]:
    """Return the splits for which rows may be adjusted, by day.

    A split that the statement books is left out, as its rows are in units as traded.
    """
    left = list(known)
    found = []
    for _, entry in lines:
        if entry.kind is not EntryKind.SPLIT or entry.ratio is None:
            continue
        match = match_split(entry.on, entry.ratio, left)
        if match is not None:
            left.remove(match)
        if entry.id in applied:
            found.append(_Split(entry.on, entry.ratio, entry, match is not None))
    first = min((entry.on for _, entry in lines if entry.quantity), default=None)
    found += [_Split(on, ratio) for on, ratio in left if first is not None and on > first]
    return sorted(found, key=lambda one: one.on)


def _choose(splits: Sequence[_Split], lines: Sequence[Planned], terms: ImportTerms) -> list[_Split]:
    """Return the splits for which rows are adjusted."""
    known = [one for one in splits if one.is_known]
    others = [one for one in splits if not one.is_known]
    usual = max((at + 1 for at, one in enumerate(known) if one.stated is not None), default=0)
    scores = []
    for count in range(len(known) + 1):
        undone = [*others, *known[:count]]
        errors = []
        for _, entry in lines:
            if entry.kind not in TRADES or not any(one.on > entry.on for one in known):
                continue
            assert entry.symbol is not None and entry.price is not None
            close = terms.close(entry.symbol, entry.on, entry.currency or terms.base.code)
            if close is not None and close > 0 and entry.price > 0:
                price = entry.price * _factor(undone, entry.on)
                errors.append(abs(math.log(float(price / close))))
        scores.append(median(errors) if errors else 0.0)
    best = min(range(len(scores)), key=lambda count: (scores[count], abs(count - usual)))
    count = best if scores[usual] > AGREES >= scores[best] else usual
    return sorted([*others, *known[:count]], key=lambda one: one.on)


def _factor(splits: Iterable[_Split], on: date) -> Decimal:
    """Return the units of today for each unit of a day."""
    factor = _ONE
    with localcontext(prec=_DIGITS):
        for one in splits:
            if one.on > on:
                factor = multiply_units(factor, one.ratio)
    return factor


def _restate(
    lines: Sequence[Planned], splits: Sequence[_Split], undone: Sequence[_Split]
) -> list[Planned | None]:
    """Return rows in the units of their days.

    Units of a day are rounded so that what is held agrees with the statement at each row: a
    third of a unit that is sold after a split of 3 for 1 leaves nothing.
    """
    if not undone:
        return list(lines)
    found: list[Planned | None] = list(lines)
    order = sorted(range(len(lines)), key=lambda at: lines[at][1].on)
    held, stated = _ZERO, _ZERO
    waiting = list(undone)
    kept = [(one.on, one.ratio) for one in splits if one not in undone]
    booked = {one.stated.id for one in splits if one.stated is not None}
    kept += [
        (entry.on, entry.ratio)
        for _, entry in lines
        if entry.kind is EntryKind.SPLIT and entry.ratio is not None and entry.id not in booked
    ]
    kept.sort(key=lambda one: one[0])
    with localcontext(prec=_DIGITS):
        for at in order:
            line, entry = lines[at]
            if not entry.quantity:
                continue
            while waiting and waiting[0].on <= entry.on:
                held = multiply_units(held, waiting.pop(0).ratio)
            while kept and kept[0][0] <= entry.on:
                _, ratio = kept.pop(0)
                held, stated = multiply_units(held, ratio), multiply_units(stated, ratio)
            stated += entry.units
            units = stated
            for one in waiting:
                units = _divide(units, one.ratio)
            moved = abs(units.quantize(_FINEST, ROUND_HALF_EVEN) - held)
            held += moved.copy_sign(entry.units)
            if moved and moved != entry.quantity:
                found[at] = line, _with_quantity(entry, moved)
    return found


def _divide(units: Decimal, ratio: Decimal) -> Decimal:
    """Return the units before a split; a rounded ratio is the fraction that it stands for."""
    return units / multiply_units(_ONE.scaleb(30), ratio) * _ONE.scaleb(30)


def _with_quantity(entry: Entry, quantity: Decimal) -> Entry:
    price = entry.price
    if price is not None:
        worth = entry.amount or price * entry.quantity
        price = (worth / quantity).quantize(_FINEST, ROUND_HALF_EVEN)
    return attrs.evolve(entry, quantity=quantity.normalize() + _ZERO, price=price)


def _is_recorded_adjusted(
    lines: Sequence[Planned], restated: Sequence[Planned | None], recorded: dict[UUID, Entry]
) -> bool:
    """Return whether an earlier import recorded rows in adjusted units."""
    for (_, entry), changed in zip(lines, restated, strict=True):
        known = recorded.get(entry.id)
        if known is None or changed is None or changed[1].quantity == entry.quantity:
            continue
        if known.quantity == entry.quantity:
            return True
    return False


def _recorded_remark(symbol: str, lines: Sequence[Planned], undone: Sequence[_Split]) -> Remark:
    last = undone[-1]
    return Remark(
        _line_of(last, lines),
        "units_recorded_adjusted",
        f"an earlier import recorded {symbol} in units after its split of {last.on}, so neither "
        "they nor the split are recorded again; undo that import, and import the file again, to "
        "record units as they were traded",
    )


def _remarks(
    symbol: str, lines: Sequence[Planned], splits: Sequence[_Split], undone: Sequence[_Split]
) -> list[Remark]:
    found = []
    for one in splits:
        earlier = sum(1 for _, entry in lines if entry.quantity and entry.on < one.on)
        rows = "1 row" if earlier == 1 else f"{earlier} rows"
        ratio = f"{one.ratio.normalize():f}"
        if one in undone and earlier:
            found.append(
                Remark(
                    _line_of(one, lines),
                    "split_undone",
                    f"{rows} of {symbol} before {one.on} are in units after its split, {ratio} "
                    "for 1; they are recorded with units and prices as they were traded, and the "
                    "split is booked",
                )
            )
        elif one.stated is not None and earlier:
            found.append(
                Remark(
                    _line_of(one, lines),
                    "split_not_applied",
                    f"the closes show that {rows} of {symbol} before {one.on} are in units before "
                    f"its split, {ratio} for 1; they are recorded as they are, and the split is "
                    "booked",
                )
            )
    return found


def _line_of(split: _Split, lines: Sequence[Planned]) -> int:
    """Return the line that states a split; 0 if the market alone knows it."""
    return next((line for line, entry in lines if entry is split.stated), 0)
