"""The ledger of a portfolio, from which its cash and holdings follow.

Entries never change. A mistake is corrected by a further entry that voids it: both stay visible,
and neither counts any more. Each entry has an effective day, which is a market day, and the time at
which it was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from functools import cached_property
from itertools import groupby
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict
from rebalancer.domain.portfolio.entries import (
    FLOWS,
    TRADES,
    Entry,
    EntryKind,
    filled_quantities,
    move_units,
    not_positive,
    order_of_effect,
    void_id,
)

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


class Overdrawn(Conflict):
    """Cash or a holding would be negative at the end of a day."""

    default_code = "overdrawn"


class NotVoidable(Conflict):
    """The entry is void already, voids another one, or other entries depend on it."""

    default_code = "not_voidable"


@attrs.frozen
class Positions:
    """Cash and holdings that follow from a ledger.

    Attributes:
        cash: Money in the base currency, >= 0.
        holdings: Quantity by symbol, each > 0, sorted by symbol.
        uninvested: Base cash paid in since the last rebalance and not spent,
            0 <= uninvested <= cash. Exchanges into other currencies spend it.
            By effective day: a deposit dated before a rebalance counts as invested, also if it is
            recorded later. The trades of a proposal with open orders spend what they cost.
        last_rebalance: Day of the last trades of a proposal.
        last_entry: Latest effective day of entries that are not booked corporate actions; None
            without any.
        foreign_cash: Money in other currencies by ISO 4217 code, each > 0, sorted by code.
    """

    cash: Decimal = _ZERO
    holdings: Mapping[str, Decimal] = attrs.field(factory=dict)
    uninvested: Decimal = _ZERO
    last_rebalance: date | None = None
    last_entry: date | None = None
    foreign_cash: Mapping[str, Decimal] = attrs.field(factory=dict)


EMPTY = Positions()


@attrs.frozen(slots=False)
class Ledger:
    """Entries in the order in which they were recorded."""

    entries: tuple[Entry, ...] = ()

    @cached_property
    def effective(self) -> tuple[Entry, ...]:
        """The entries that count: without those that are void and those that void them."""
        voided = {entry.voids for entry in self.entries if entry.voids is not None}
        if not voided:
            return self.entries
        return tuple(
            entry for entry in self.entries if entry.voids is None and entry.id not in voided
        )

    @cached_property
    def symbols(self) -> frozenset[str]:
        """Every asset that was ever traded, moved or received, also by void entries."""
        moved = {entry.symbol for entry in self.entries if entry.symbol and entry.quantity}
        received = {entry.other for entry in self.entries if entry.other}
        return frozenset(moved | received)

    @property
    def open_proposals(self) -> frozenset[UUID]:
        """Proposals with orders that were still open after their latest recorded trade."""
        latest = {
            entry.proposal: entry.partial
            for entry in self.entries
            if entry.proposal is not None and entry.kind in TRADES
        }
        return frozenset(id for id, partial in latest.items() if partial)

    def fills(self, proposal: UUID) -> dict[str, Decimal]:
        """Return the quantity of each asset that trades of a proposal bought or sold."""
        return filled_quantities(entry for entry in self.entries if entry.proposal == proposal)

    def by_day(self) -> Iterable[tuple[date, list[Entry]]]:
        """Yield effective entries by day, earliest first; within a day in their order of effect.

        That is `order_of_effect`, then as recorded. An entry that was recorded before a new symbol
        was, and takes effect on its day or later, has the new symbol here.
        """
        ordered = sorted(self._carried_on, key=lambda entry: (entry.on, order_of_effect(entry)))
        for day, entries in groupby(ordered, key=lambda entry: entry.on):
            yield day, list(entries)

    @cached_property
    def _carried_on(self) -> tuple[Entry, ...]:
        """The effective entries, with the symbols that their assets had on their days."""
        renames = [
            (place, entry)
            for place, entry in enumerate(self.effective)
            if entry.kind is EntryKind.RENAME
        ]
        if not renames:
            return self.effective
        renames.sort(key=lambda pair: pair[1].on)
        return tuple(_rename(entry, place, renames) for place, entry in enumerate(self.effective))

    @cached_property
    def positions(self) -> Positions:
        """Cash and holdings at the end of the last day.

        Raises:
            Overdrawn: cash or a holding is negative at the end of a day.
        """
        with localcontext(prec=_DIGITS):
            return self._sum_up()

    def _sum_up(self) -> Positions:
        uninvested = _ZERO
        cash: dict[str | None, Decimal] = {None: _ZERO}
        holdings: dict[str, Decimal] = {}
        rebalanced = last = None
        incomplete = self.open_proposals
        for day, entries in self.by_day():
            touched: set[str] = set()
            for entry in entries:
                for currency, change in entry.cash_changes:
                    cash[currency] = cash.get(currency, _ZERO) + change
                touched.update(move_units(holdings, entry))
                executes = entry.proposal is not None and entry.kind in TRADES
                if executes:
                    rebalanced = day
                if executes and entry.proposal not in incomplete:
                    uninvested = _ZERO
                elif entry.currency is None and entry.kind in _INVESTED:
                    uninvested = max(uninvested + entry.cash, _ZERO)
            _check_cash(cash, day)
            for symbol in sorted(touched):
                if holdings[symbol] < 0:
                    raise Overdrawn(
                        f"the holding of {symbol} would be {holdings[symbol]} at the end of "
                        f"{day}; record its purchase or deposit first"
                    )
            uninvested = min(uninvested, cash[None])
            if any(entry.action is None for entry in entries):
                last = day
        held = {symbol: units for symbol, units in sorted(holdings.items()) if units}
        base = cash.pop(None)
        foreign = sorted((code, money) for code, money in cash.items() if code and money)
        return Positions(base, held, uninvested, rebalanced, last, dict(foreign))

    def extended_by(self, entries: Iterable[Entry]) -> Ledger:
        """Return the ledger with more entries.

        Raises:
            Overdrawn: cash or a holding would be negative.
        """
        longer = Ledger((*self.entries, *entries))
        _ = longer.positions
        return longer

    def find(self, id: UUID) -> Entry | None:
        """Return the entry of this id; None without one."""
        return self._by_id.get(id)

    @cached_property
    def _by_id(self) -> dict[UUID, Entry]:
        return {entry.id: entry for entry in self.entries}

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


_INVESTED = FLOWS | {EntryKind.BUY, EntryKind.EXCHANGE}
"""Kinds that pay uninvested cash in, or spend it."""


def _check_cash(cash: Mapping[str | None, Decimal], day: date) -> None:
    """Check that there is no debt in any currency at the end of a day; raise Overdrawn."""
    for currency, money in cash.items():
        if money < 0:
            where = "cash" if currency is None else f"cash in {currency}"
            raise Overdrawn(
                f"{where} would be {money} at the end of {day}; deposit {-money} more or lower "
                "the amount"
            )


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
