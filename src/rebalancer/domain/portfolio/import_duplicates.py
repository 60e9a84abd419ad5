"""Transactions of a statement whose entries are recorded already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.portfolio.entries import FLOWS, Entry
from rebalancer.domain.portfolio.import_terms import ImportTerms
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.planned_flows import MATCHING_DAYS
from rebalancer.domain.portfolio.stand_ins import is_stand_in


class Certainty(StrEnum):
    """Why a transaction counts as a duplicate of a recorded entry."""

    RECORDED = "recorded"
    """It was imported before."""
    CHANGED = "changed"
    """It was imported before, with another content: the source corrected it."""
    VOID = "void"
    """It was imported before, and its owner voided the entry."""
    PROBABLE = "probable"
    """An entry has the same kind, day, symbol, quantity and amount; or books a planned flow of the
    same kind and amount within a few days."""


@attrs.frozen
class PlannedEntry:
    """An entry that a statement adds.

    Attributes:
        line: Of the statement; 0 for a deposit of cash that it does not list.
        entry: To add.
    """

    line: int
    entry: Entry


@attrs.frozen
class Duplicate:
    """A transaction whose entry is recorded already.

    Attributes:
        line: Of the statement.
        certainty: Why it counts as a duplicate.
        entry: What would have been added.
        recorded: Entry of the ledger.
        is_added: Whether it is added all the same.
    """

    line: int
    certainty: Certainty
    entry: Entry
    recorded: Entry
    is_added: bool = False


def separate_duplicates(
    planned: Sequence[tuple[int, Entry]],
    terms: ImportTerms,
    ledger: Ledger,
    undone: frozenset[UUID],
) -> tuple[list[PlannedEntry], list[Duplicate]]:
    """Return the entries that are new, and the others."""
    recorded = {entry.id: entry for entry in ledger.entries}
    effective = {entry.id for entry in ledger.effective}
    new: list[PlannedEntry] = []
    duplicates: list[Duplicate] = []
    matched: set[UUID] = set()
    for line, entry in planned:
        while entry.id in undone and entry.id in recorded:
            entry = attrs.evolve(entry, id=uuid5(entry.id, "again"))
        known = recorded.get(entry.id)
        if known is None:
            new.append(PlannedEntry(line, entry))
            continue
        matched.add(known.id)
        certainty = Certainty.RECORDED
        if known.id not in effective:
            certainty = Certainty.VOID
        elif _facts(known) != _facts(entry):
            certainty = Certainty.CHANGED
        duplicates.append(Duplicate(line, certainty, entry, known))
    similar: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for one in ledger.effective:
        # Statements list the deposits themselves, which then replace those that stand for them.
        if one.id not in matched and not is_stand_in(one):
            similar[_likeness(one)].append(one)
    added: list[PlannedEntry] = []
    equal = [
        alike.pop(0) if (alike := similar.get(_likeness(each.entry))) else None for each in new
    ]
    for each, known in zip(new, equal, strict=True):
        known = known or _find_planned(each.entry, similar, terms)
        if known is None:
            added.append(each)
            continue
        keeps = terms.include_duplicates
        duplicates.append(
            Duplicate(each.line, Certainty.PROBABLE, each.entry, known, is_added=keeps)
        )
        if keeps:
            added.append(each)
    return added, duplicates


def _find_planned(
    entry: Entry, similar: Mapping[tuple[object, ...], list[Entry]], terms: ImportTerms
) -> Entry | None:
    """Take and return the nearest entry that books a planned flow like this one; None without."""
    if entry.kind not in FLOWS or entry.symbol is not None or not terms.planned:
        return None
    for days in range(1, MATCHING_DAYS + 1):
        for on in (entry.on - timedelta(days=days), entry.on + timedelta(days=days)):
            found = similar.get(_likeness(attrs.evolve(entry, on=on)), [])
            for at, one in enumerate(found):
                if one.id in terms.planned:
                    return found.pop(at)
    return None


def _facts(entry: Entry) -> tuple[object, ...]:
    """Return what a source may correct in a transaction.

    The market day does not count: that of a recent transaction is known only later.
    """
    likeness = _likeness(attrs.evolve(entry, on=date.min))
    return (*likeness, entry.cost, entry.withheld, entry.ratio, entry.counter_amount)


def _likeness(entry: Entry) -> tuple[object, ...]:
    """Return what entries of the same transaction have in common."""
    return (entry.kind, entry.on, entry.symbol, entry.quantity, entry.amount, entry.currency)
