"""State of a ledger after its first entries, from which later ones are added.

A checkpoint can be extended by entries that take effect after all those that it includes. An
entry of an earlier day, or one that voids an included entry, needs an earlier checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from typing import Protocol
from uuid import UUID

import attrs

from rebalancer.domain.portfolio.entries import (
    FLOWS,
    LAST_OF_DAY,
    TRADES,
    Entry,
    EntryKind,
    move_units,
    order_of_effect,
)
from rebalancer.domain.portfolio.entry_order import effective_entries, group_by_day
from rebalancer.domain.portfolio.positions import Overdrawn, Positions

_ZERO = Decimal(0)
_DIGITS = 60
_BASE = ""
"""Key of cash in the base currency."""

_INVESTED = FLOWS | {EntryKind.BUY, EntryKind.EXCHANGE}
"""Kinds that pay uninvested cash in, or spend it."""

_CORPORATE = frozenset(
    {
        EntryKind.SPLIT,
        EntryKind.DIVIDEND,
        EntryKind.RETURN_OF_CAPITAL,
        EntryKind.SPIN_OFF,
    }
)
"""Kinds that may stand for a corporate action of their asset."""


class StoredEntries(Protocol):
    """Entries of a stored ledger, each read only when it is needed.

    Numbers are those of `Checkpoint.last`.
    """

    def checkpoints(self) -> Iterator[Checkpoint]:
        """Yield the stored checkpoints, the latest first; each is read when it is reached.

        If a checkpoint precedes the entries that are added, so do the earlier ones.
        """

    def after(self, number: int) -> tuple[Entry, ...]:
        """Return the entries that were recorded after one, as recorded."""

    def pick(self, ids: Sequence[UUID]) -> list[Entry]:
        """Return the entries with some ids, as recorded; unknown ids are left out."""

    def of_proposal(self, proposal: UUID) -> list[Entry]:
        """Return the entries of a proposal, as recorded."""

    def includes(self, id: UUID, number: int) -> bool:
        """Return whether an entry was recorded up to a number."""

    def includes_trade(self, proposal: UUID, number: int) -> bool:
        """Return whether a trade of a proposal was recorded up to a number."""


@attrs.frozen
class Checkpoint:
    """State of a ledger after all entries up to one.

    Attributes:
        last: Number of that entry in the order of recording; 0 before the first.
        count: Number of entries.
        day: Latest effective day of the entries that count.
        cash: Money by ISO 4217 code, the base currency as "", in the order of first use.
        holdings: Units by symbol, also of assets that are no longer held.
        uninvested: See `Positions.uninvested`; not yet limited to the cash at the end of ``day``.
        last_rebalance: See `Positions`.
        last_entry: See `Positions`.
        open_proposals: See `Ledger.open_proposals`.
        symbols: See `Ledger.symbols`.
        currencies: Currency in which an asset was last traded or moved, if not the base one.
        corporate: Kinds of entries by asset that may stand for its corporate actions, also void
            ones.
    """

    last: int = 0
    count: int = 0
    day: date | None = None
    cash: Mapping[str, Decimal] = attrs.field(factory=lambda: {_BASE: _ZERO})
    holdings: Mapping[str, Decimal] = attrs.field(factory=dict)
    uninvested: Decimal = _ZERO
    last_rebalance: date | None = None
    last_entry: date | None = None
    open_proposals: frozenset[UUID] = frozenset()
    symbols: frozenset[str] = frozenset()
    currencies: Mapping[str, str] = attrs.field(factory=dict)
    corporate: Mapping[str, frozenset[EntryKind]] = attrs.field(factory=dict)

    @property
    def positions(self) -> Positions:
        """Cash and holdings at the end of the last day."""
        base = self.cash[_BASE]
        held = {symbol: units for symbol, units in sorted(self.holdings.items()) if units}
        foreign = {
            code: money for code, money in sorted(self.cash.items()) if code != _BASE and money
        }
        return Positions(
            base,
            held,
            min(self.uninvested, base),
            self.last_rebalance,
            self.last_entry,
            foreign,
        )

    def cash_in(self, currency: str | None) -> Decimal:
        """Return the money in a currency, None being the base currency."""
        return self.cash.get(currency or _BASE, _ZERO)

    def precedes(self, entries: Sequence[Entry], stored: StoredEntries) -> bool:
        """Return whether entries that are recorded next leave what is included as it is."""
        new = {entry.id for entry in entries}
        voided = {entry.voids for entry in entries if entry.voids is not None}
        for entry in entries:
            if entry.voids is not None:
                if entry.voids not in new and stored.includes(entry.voids, self.last):
                    return False
            elif entry.id not in voided and not self._is_before(entry):
                return False
        for proposal, partial in _latest_trades(entries).items():
            if (proposal in self.open_proposals) == partial:
                continue
            # Whether a proposal has open orders decides what its earlier trades spend.
            if not partial or stored.includes_trade(proposal, self.last):
                return False
        return True

    def _is_before(self, entry: Entry) -> bool:
        if self.day is None or entry.on > self.day:
            return True
        return entry.on == self.day and order_of_effect(entry) == LAST_OF_DAY

    def extended_by(self, entries: Sequence[Entry]) -> Checkpoint:
        """Return the state after further entries, see `precedes`; ``last`` stays.

        Raises:
            Overdrawn: cash or a holding is negative at the end of a day.
        """
        if not entries:
            return self
        effective = effective_entries(tuple(entries))
        latest = _latest_trades(entries)
        closed = frozenset(id for id, partial in latest.items() if not partial)
        opened = frozenset(id for id, partial in latest.items() if partial)
        start = attrs.evolve(
            self,
            count=self.count + len(entries),
            open_proposals=(self.open_proposals - closed) | opened,
            symbols=self.symbols | moved_symbols(entries),
            currencies=self._currencies_after(effective),
            corporate=self._corporate_after(entries),
        )
        with localcontext(prec=_DIGITS):
            return start._replay(effective)

    def _replay(self, effective: Sequence[Entry]) -> Checkpoint:
        uninvested, cash, holdings = self.uninvested, dict(self.cash), dict(self.holdings)
        latest, rebalanced, last = self.day, self.last_rebalance, self.last_entry
        for day, entries in group_by_day(effective):
            if day != latest:
                uninvested = min(uninvested, cash[_BASE])
            latest = day
            touched: set[str] = set()
            for entry in entries:
                for currency, change in entry.cash_changes:
                    code = currency or _BASE
                    cash[code] = cash.get(code, _ZERO) + change
                touched.update(move_units(holdings, entry))
                executes = entry.proposal is not None and entry.kind in TRADES
                if executes:
                    rebalanced = day
                if executes and entry.proposal not in self.open_proposals:
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
            if any(entry.action is None for entry in entries):
                last = day
        return attrs.evolve(
            self,
            day=latest,
            cash=cash,
            holdings=holdings,
            uninvested=uninvested,
            last_rebalance=rebalanced,
            last_entry=last,
        )

    def _currencies_after(self, effective: Sequence[Entry]) -> dict[str, str]:
        found = dict(self.currencies)
        for entry in effective:
            if entry.symbol is None or not entry.quantity:
                continue
            if entry.currency is None:
                found.pop(entry.symbol, None)
            else:
                found[entry.symbol] = entry.currency
        return found

    def _corporate_after(self, entries: Sequence[Entry]) -> dict[str, frozenset[EntryKind]]:
        found = dict(self.corporate)
        for entry in entries:
            if entry.symbol is not None and entry.kind in _CORPORATE:
                found[entry.symbol] = found.get(entry.symbol, frozenset()) | {entry.kind}
        return found


@attrs.frozen
class RecordedEntries:
    """Entries in memory by their numbers, see `StoredEntries`.

    Attributes:
        entries: In the order of recording.
        kept: Checkpoints, the earliest first.
    """

    entries: Mapping[int, Entry]
    kept: Sequence[Checkpoint] = ()
    _numbers: Mapping[UUID, int] = attrs.field(init=False, repr=False, eq=False)

    @_numbers.default
    def _number(self) -> Mapping[UUID, int]:
        return {entry.id: number for number, entry in self.entries.items()}

    def checkpoints(self) -> Iterator[Checkpoint]:
        """See `StoredEntries.checkpoints`."""
        return reversed(self.kept)

    def between(self, number: int, last: int) -> tuple[Entry, ...]:
        """Return the entries that were recorded after one number, and up to another."""
        return tuple(entry for at, entry in self.entries.items() if number < at <= last)

    def after(self, number: int) -> tuple[Entry, ...]:
        """See `StoredEntries.after`."""
        return tuple(entry for at, entry in self.entries.items() if at > number)

    def pick(self, ids: Sequence[UUID]) -> list[Entry]:
        """See `StoredEntries.pick`."""
        numbers = sorted(self._numbers[id] for id in set(ids) if id in self._numbers)
        return [self.entries[number] for number in numbers]

    def of_proposal(self, proposal: UUID) -> list[Entry]:
        """See `StoredEntries.of_proposal`."""
        return [entry for entry in self.entries.values() if entry.proposal == proposal]

    def includes(self, id: UUID, number: int) -> bool:
        """See `StoredEntries.includes`."""
        return self._numbers.get(id, number + 1) <= number

    def includes_trade(self, proposal: UUID, number: int) -> bool:
        """See `StoredEntries.includes_trade`."""
        return any(
            at <= number and entry.proposal == proposal and entry.kind in TRADES
            for at, entry in self.entries.items()
        )


def moved_symbols(entries: Sequence[Entry]) -> frozenset[str]:
    """Return every asset that entries trade, move or bring, also void ones."""
    moved = {entry.symbol for entry in entries if entry.symbol and entry.quantity}
    received = {entry.other for entry in entries if entry.other}
    return frozenset(moved | received)


def _latest_trades(entries: Sequence[Entry]) -> dict[UUID, bool]:
    """Return whether orders were still open after the latest trade of each proposal."""
    return {
        entry.proposal: entry.partial
        for entry in entries
        if entry.proposal is not None and entry.kind in TRADES
    }


def _check_cash(cash: Mapping[str, Decimal], day: date) -> None:
    """Check the cash in each currency at the end of a day; raise Overdrawn if it is negative."""
    for currency, money in cash.items():
        if money < 0:
            where = f"cash in {currency}" if currency else "cash"
            raise Overdrawn(
                f"{where} would be {money} at the end of {day}; deposit {-money} more or lower "
                "the amount"
            )
