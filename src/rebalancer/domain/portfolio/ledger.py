"""The ledger of a portfolio, from which its cash and holdings follow.

Entries never change. A mistake is corrected by a further entry that voids it: both stay visible,
and neither counts any more. Each entry has an effective day, which is a market day, and the time at
which it was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal, localcontext
from functools import cached_property
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict
from rebalancer.domain.portfolio.checkpoints import Checkpoint, StoredEntries, moved_symbols
from rebalancer.domain.portfolio.entries import (
    FLOWS,
    TRADES,
    Entry,
    EntryKind,
    filled_quantities,
    move_units,
    not_positive,
    void_id,
)
from rebalancer.domain.portfolio.entry_order import effective_entries, group_by_day
from rebalancer.domain.portfolio.positions import EMPTY, Overdrawn, Positions

__all__ = [
    "EMPTY",
    "FLOWS",
    "TRADES",
    "Entry",
    "EntryKind",
    "Ledger",
    "NotVoidable",
    "Overdrawn",
    "Positions",
    "filled_quantities",
    "not_positive",
    "void_id",
]

_ZERO = Decimal(0)
_DIGITS = 60


class NotVoidable(Conflict):
    """The entry is void already, voids another one, or other entries depend on it."""

    default_code = "not_voidable"


@attrs.frozen
class LedgerMark:
    """The end of a ledger at a moment.

    Attributes:
        number: Of the last entry, see `StoredEntries`; None if no entry has one.
        count: Number of entries.
    """

    number: int | None
    count: int


@attrs.frozen(slots=False, eq=False)
class Ledger:
    """Entries in the order in which they were recorded.

    Attributes:
        added: All entries, or those that follow the stored ones.
        stored: Stored entries, which are read when they are needed; None without any.
    """

    added: tuple[Entry, ...] = ()
    stored: StoredEntries | None = attrs.field(default=None, kw_only=True, repr=False)

    def __eq__(self, other: object) -> bool:
        return self.entries == other.entries if isinstance(other, Ledger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.entries)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All entries."""
        return self.added if self.stored is None else (*self.stored.after(0), *self.added)

    @property
    def count(self) -> int:
        """Number of entries."""
        return len(self.added) if self.stored is None else self.state.count

    @cached_property
    def effective(self) -> tuple[Entry, ...]:
        """The entries that count: without those that are void and those that void them."""
        return effective_entries(self.entries)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Every asset that was ever traded, moved or received, also by void entries."""
        return moved_symbols(self.added) if self.stored is None else self.state.symbols

    @property
    def open_proposals(self) -> frozenset[UUID]:
        """Proposals with orders that were still open after their latest recorded trade."""
        return self.state.open_proposals

    def fills(self, proposal: UUID) -> dict[str, Decimal]:
        """Return the quantity of each asset that trades of a proposal bought or sold."""
        return filled_quantities(self.of_proposal(proposal))

    def of_proposal(self, proposal: UUID) -> list[Entry]:
        """Return the entries of a proposal, as recorded."""
        stored = [] if self.stored is None else self.stored.of_proposal(proposal)
        return [*stored, *(entry for entry in self.added if entry.proposal == proposal)]

    def by_day(self) -> Iterator[tuple[date, list[Entry]]]:
        """Yield effective entries by day, see `group_by_day`."""
        return iter(self._by_day)

    @cached_property
    def _by_day(self) -> list[tuple[date, list[Entry]]]:
        return list(group_by_day(self.effective))

    @property
    def mark(self) -> LedgerMark | None:
        """The end of the ledger, from which `since` returns later entries; None if unknown."""
        if self.stored is None:
            return LedgerMark(None, len(self.added))
        whole = not self.added and self.origin.count == self.count
        return LedgerMark(self.origin.last, self.count) if whole else None

    def since(self, mark: LedgerMark) -> tuple[Entry, ...] | None:
        """Return the entries that were recorded after a mark of the same ledger; None if unknown.

        Only those entries are read.
        """
        if self.stored is None:
            return self.added[mark.count :] if mark.number is None else None
        if mark.number is None:
            return None
        later = (*self.stored.after(mark.number), *self.added)
        return later if mark.count + len(later) == self.count else None

    @property
    def positions(self) -> Positions:
        """Cash and holdings at the end of the last day.

        Raises:
            Overdrawn: cash or a holding is negative at the end of a day.
        """
        return self.state.positions

    @property
    def state(self) -> Checkpoint:
        """State after all entries; its number is that of the checkpoint that it extends.

        Raises:
            Overdrawn: cash or a holding is negative at the end of a day.
        """
        return self._states[1]

    @property
    def origin(self) -> Checkpoint:
        """The latest stored checkpoint that precedes the added entries; see `state`."""
        return self._states[0]

    @cached_property
    def _states(self) -> tuple[Checkpoint, Checkpoint]:
        """The checkpoint that is extended, and the state after all entries."""
        if self.stored is None:
            return Checkpoint(), Checkpoint().extended_by(self.added)
        new: tuple[Entry, ...] | None = None
        for checkpoint in self.stored.checkpoints():
            if new is None:  # older versions record entries without checkpoints
                new = (*self.stored.after(checkpoint.last), *self.added)
            if checkpoint.precedes(new, self.stored):
                later = (*self.stored.after(checkpoint.last), *self.added)
                return checkpoint, checkpoint.extended_by(later)
        return Checkpoint(), Checkpoint().extended_by(self.entries)

    def followed_by(self, entries: Iterable[Entry]) -> Ledger:
        """Return the ledger with more entries, without a check."""
        return Ledger((*self.added, *entries), stored=self.stored)

    def extended_by(self, entries: Iterable[Entry]) -> Ledger:
        """Return the ledger with more entries.

        Raises:
            Overdrawn: cash or a holding would be negative.
        """
        longer = self.followed_by(entries)
        _ = longer.state
        return longer

    def find(self, id: UUID) -> Entry | None:
        """Return the entry of this id; None without one."""
        found = self._by_id.get(id)
        if found is None and self.stored is not None:
            found = next(iter(self.stored.pick([id])), None)
        return found

    def pick(self, ids: Sequence[UUID]) -> list[Entry]:
        """Return the entries with some ids, as recorded; unknown ids are left out."""
        wanted = set(ids)
        stored = [] if self.stored is None else self.stored.pick(ids)
        return [*stored, *(entry for entry in self.added if entry.id in wanted)]

    @cached_property
    def _by_id(self) -> dict[UUID, Entry]:
        return {entry.id: entry for entry in self.added}

    def currency_of(self, symbol: str) -> str | None:
        """Return the currency in which an asset was last traded or moved; None: the base one."""
        return self.state.currencies.get(symbol)

    def has_corporate_entries(self, symbol: str, *kinds: EntryKind) -> bool:
        """Return whether entries of an asset may be of these kinds; of any of `Checkpoint`'s."""
        found = self.state.corporate.get(symbol, frozenset())
        return bool(found & set(kinds) if kinds else found)

    def least_cash(self, currency: str, since: date) -> Decimal:
        """Return the least cash of a currency at the end of any day from a day on.

        It may be negative: the added entries are not checked.
        """
        cash, later, days = _ZERO, self, set[date]()
        if self.stored is not None and all(entry.voids is None for entry in self.added):
            before = Ledger(stored=self.stored).state
            if before.day is not None and before.day <= since:
                cash, later, days = before.cash_in(currency), Ledger(self.added), {before.day}
        changes = dict.fromkeys(days, _ZERO)
        least = None
        with localcontext(prec=_DIGITS):
            for entry in later.effective:
                for code, much in entry.cash_changes:
                    changes[entry.on] = changes.get(entry.on, _ZERO) + (
                        much if code == currency else _ZERO
                    )
            for day, change in sorted(changes.items()):
                cash += change
                if day >= since:
                    least = cash if least is None else min(least, cash)
        return cash if least is None else least

    def check_voidable(self, entry: Entry, *together: Entry) -> None:
        """Check that one of the entries may be voided, ``together`` with others.

        Raises:
            NotVoidable: it is void, voids another one, or other entries depend on it.
        """
        if entry.voids is not None:
            raise NotVoidable(
                f"entry {entry.id} voids another one and cannot be voided; record the other one "
                "again"
            )
        if self.find(void_id(entry.id)) is not None:
            raise NotVoidable(f"the {entry.title} is void already", code="already_void")
        if self.stored is not None:
            with suppress(Overdrawn):  # which all entries explain
                reversals = [one.reversal(recorded=one.recorded) for one in (entry, *together)]
                self.extended_by(reversals)
                return
        void = {one.id for one in (entry, *together)}
        others = Ledger(tuple(other for other in self.effective if other.id not in void))
        try:
            _ = others.positions
        except Overdrawn as error:
            needed = others.first_overdraft()
            assert needed is not None
            problem = error.message.partition(";")[0]
            raise NotVoidable(
                f"the {entry.title} cannot be voided: without it {problem}; void the "
                f"{needed.title} first",
                code="entry_needed",
            ) from None

    def first_overdraft(self) -> Entry | None:
        """Return the last entry that takes what is missing at the end of the first overdrawn day.

        None if the ledger is not overdrawn.
        """
        seen: list[Entry] = []
        cash: dict[str | None, Decimal] = {}
        holdings: dict[str, Decimal] = {}
        with localcontext(prec=_DIGITS):
            for _, entries in self.by_day():
                seen += entries
                touched: set[str] = set()
                for entry in entries:
                    for currency, change in entry.cash_changes:
                        cash[currency] = cash.get(currency, _ZERO) + change
                    touched.update(move_units(holdings, entry))
                for currency in sorted(cash, key=lambda code: code or ""):
                    if cash[currency] < 0:
                        return next(
                            entry
                            for entry in reversed(seen)
                            if any(
                                code == currency and change < 0
                                for code, change in entry.cash_changes
                            )
                        )
                for symbol in sorted(touched):
                    if holdings[symbol] < 0:
                        return next(
                            entry
                            for entry in reversed(seen)
                            if entry.symbol == symbol and entry.units < 0
                        )
        return None
