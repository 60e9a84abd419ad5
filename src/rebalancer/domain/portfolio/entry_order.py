"""Which entries of a ledger count, and in which order they take effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

import attrs

from rebalancer.domain.portfolio.entries import Entry, EntryKind, order_of_effect


def effective_entries(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return the entries that count: without those that are void and those that void them."""
    voided = {entry.voids for entry in entries if entry.voids is not None}
    if not voided:
        return entries
    return tuple(entry for entry in entries if entry.voids is None and entry.id not in voided)


def group_by_day(effective: Sequence[Entry]) -> Iterator[tuple[date, list[Entry]]]:
    """Yield effective entries by day, earliest first; within a day in their order of effect.

    That is `order_of_effect`, then as recorded. An entry that was recorded before a new symbol was,
    and takes effect on its day or later, has the new symbol here.
    """
    renamed = _follow_renames(effective)
    ordered = sorted(renamed, key=lambda entry: (entry.on, order_of_effect(entry)))
    for day, entries in groupby(ordered, key=lambda entry: entry.on):
        yield day, list(entries)


def _follow_renames(effective: Sequence[Entry]) -> Sequence[Entry]:
    """Return the effective entries, with the symbols that their assets had on their days."""
    renames = [
        (place, entry) for place, entry in enumerate(effective) if entry.kind is EntryKind.RENAME
    ]
    if not renames:
        return effective
    renames.sort(key=lambda pair: pair[1].on)
    return [_rename(entry, place, renames) for place, entry in enumerate(effective)]


def _rename(entry: Entry, place: int, renames: Sequence[tuple[int, Entry]]) -> Entry:
    """Return an entry with the symbol that its asset had on its day.

    Args:
        entry: An effective entry.
        place: Its place in the order of recording.
        renames: The new symbols by day, each with its place.
    """
    symbol = entry.symbol
    for recorded, rename in renames:
        if recorded > place and rename.symbol == symbol and rename.on <= entry.on:
            symbol = rename.other
    if symbol in (entry.symbol, entry.other):
        return entry
    return attrs.evolve(entry, symbol=symbol)
