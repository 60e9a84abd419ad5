"""Deposits that stand for cash which a statement does not list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID, uuid5

from rebalancer.domain.portfolio.entries import Entry, EntryKind, void_id
from rebalancer.domain.portfolio.ledger import Ledger

STAND_IN_NOTE = "cash that the statement does not list"
"""Note of such a deposit, by which it is recognised."""


def is_stand_in(entry: Entry) -> bool:
    """Return whether an entry is a deposit that stands for cash which a statement lacks."""
    return (
        entry.kind is EntryKind.DEPOSIT
        and entry.symbol is None
        and entry.voids is None
        and entry.note == STAND_IN_NOTE
    )


def restored_id(stand_in: UUID) -> UUID:
    """Return the id of the entry that restores a stand-in, when what replaced it is undone."""
    return uuid5(void_id(stand_in), "restored")


def with_restored(ledger: Ledger, ids: Sequence[UUID]) -> list[Entry]:
    """Return entries by id, with those that restored them since."""
    found = ledger.pick(ids)
    latest: Iterable[Entry] = found
    while again := ledger.pick([restored_id(one.id) for one in latest if is_stand_in(one)]):
        found += again
        latest = again
    return found
