"""The ledger: what happened to a portfolio, from which its cash and holdings follow.

Entries are facts and are never changed; a mistake is mended by a further entry. Each has a day on
which it counts (its effective date, a market day) and a time at which it was written down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, localcontext
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.money import LARGEST

_ZERO = Decimal(0)
_DIGITS = 60


class Overdrawn(Conflict):
    """An entry would leave less than nothing, in cash or of an asset, at the end of some day."""


class EntryKind(StrEnum):
    """What happened. A deposit or withdrawal with a symbol moves the asset itself."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    BUY = "buy"
    SELL = "sell"
    FEE = "fee"
    DIVIDEND = "dividend"


TRADES = frozenset({EntryKind.BUY, EntryKind.SELL})
FLOWS = frozenset({EntryKind.DEPOSIT, EntryKind.WITHDRAWAL})


@attrs.frozen
class Entry:
    """One line of a ledger.

    Attributes:
        id: Unique; the same id is the same entry.
        kind: What happened.
        on: The market day from whose close on it counts.
        recorded: When it was written down, with a time zone.
        amount: Its worth, >= 0: money paid in or out, the traded value, the value of what was
            moved in kind; costs apart.
        symbol: The asset traded or moved, or that a dividend or fee comes from; None otherwise.
        quantity: How many were traded or moved, > 0; 0 for money alone.
        price: Of one of them; None for money alone.
        cost: What the trade cost on top, >= 0.
        proposal: The proposal that it carries out; None when there is none.
        note: What its author wants to remember.

    Raises:
        InvalidRequest: an attribute contradicts the kind; names it.
    """

    id: UUID
    kind: EntryKind
    on: date
    recorded: datetime
    amount: Decimal
    symbol: str | None = None
    quantity: Decimal = _ZERO
    price: Decimal | None = None
    cost: Decimal = _ZERO
    proposal: UUID | None = None
    note: str = ""

    def __attrs_post_init__(self) -> None:
        for name, number in (("amount", self.amount), ("quantity", self.quantity)):
            if not (number.is_finite() and 0 <= number < LARGEST):
                raise InvalidRequest(
                    f"must be zero or more, and less than {LARGEST:E}, got {number}", field=name
                )
        if not (self.cost.is_finite() and 0 <= self.cost < LARGEST):
            raise InvalidRequest(f"must be zero or more, got {self.cost}", field="cost")
        if self.recorded.tzinfo is None:
            raise InvalidRequest("needs a time zone", field="recorded")
        moves = self.kind in TRADES or (self.kind in FLOWS and self.symbol is not None)
        if moves != (self.quantity > 0):
            what = "must be more than zero" if moves else "is only for trades and moves in kind"
            raise InvalidRequest(what, field="quantity")
        if self.price is not None and not (self.price.is_finite() and 0 < self.price < LARGEST):
            raise InvalidRequest(f"must be more than zero, got {self.price}", field="price")
        if moves and not (self.symbol and self.price is not None):
            raise InvalidRequest("is missing", field="price" if self.symbol else "symbol")
        if not moves and self.price is not None:
            raise InvalidRequest("is only for trades and moves in kind", field="price")
        if not moves and not self.amount > 0:
            raise InvalidRequest(f"must be more than zero, got {self.amount}", field="amount")
        if self.cost and self.kind not in TRADES:
            raise InvalidRequest("is only for trades; write a fee as an entry", field="cost")

    @property
    def cash(self) -> Decimal:
        """What it adds to cash."""
        match self.kind:
            case EntryKind.BUY:
                return -self.amount - self.cost
            case EntryKind.SELL:
                return self.amount - self.cost
            case EntryKind.FEE:
                return -self.amount
            case EntryKind.DIVIDEND:
                return self.amount
        if self.symbol is not None:
            return _ZERO
        return self.amount if self.kind is EntryKind.DEPOSIT else -self.amount

    @property
    def units(self) -> Decimal:
        """What it adds to the holding of its symbol."""
        grows = self.kind in (EntryKind.BUY, EntryKind.DEPOSIT)
        return self.quantity if grows else -self.quantity

    @property
    def flow(self) -> Decimal:
        """What its owner put in (+) or took out (-), money and assets alike."""
        if self.kind not in FLOWS:
            return _ZERO
        return self.amount if self.kind is EntryKind.DEPOSIT else -self.amount


@attrs.frozen
class Positions:
    """What a ledger amounts to.

    Attributes:
        cash: Money, >= 0.
        holdings: Quantity by symbol, each > 0, in alphabetical order.
        uninvested: The part of cash that was paid in since the last rebalance and that nothing
            was bought with, 0 <= uninvested <= cash. By effective day: a deposit that is dated
            before a rebalance counts as dealt with, whenever it is written down.
        last_rebalance: Day of the last entries that carried out a proposal.
        last_entry: Latest day of any entry; None of an empty ledger.
    """

    cash: Decimal = _ZERO
    holdings: Mapping[str, Decimal] = attrs.field(factory=dict)
    uninvested: Decimal = _ZERO
    last_rebalance: date | None = None
    last_entry: date | None = None


EMPTY = Positions()


@attrs.frozen(slots=False)
class Ledger:
    """Entries in the order in which they were written down."""

    entries: tuple[Entry, ...] = ()

    def by_day(self) -> Iterable[tuple[date, list[Entry]]]:
        """Entries by effective day, earliest first; within a day as written down."""
        ordered = sorted(self.entries, key=lambda entry: entry.on)
        for day, entries in groupby(ordered, key=lambda entry: entry.on):
            yield day, list(entries)

    @cached_property
    def positions(self) -> Positions:
        """Cash and holdings at the end of the last day.

        Raises:
            Overdrawn: cash or a holding is below zero at the end of some day.
        """
        with localcontext(prec=_DIGITS):
            return self._positions()

    def _positions(self) -> Positions:
        cash = uninvested = _ZERO
        holdings: dict[str, Decimal] = {}
        rebalanced = last = None
        for day, entries in self.by_day():
            touched = set()
            for entry in entries:
                cash += entry.cash
                if entry.quantity and entry.symbol is not None:
                    holdings[entry.symbol] = holdings.get(entry.symbol, _ZERO) + entry.units
                    touched.add(entry.symbol)
                if entry.proposal is not None and entry.kind in TRADES:
                    uninvested, rebalanced = _ZERO, day
                elif entry.kind in FLOWS or entry.kind is EntryKind.BUY:
                    uninvested = max(uninvested + entry.cash, _ZERO)
            if cash < 0:
                raise Overdrawn(
                    f"cash would be {cash} at the end of {day}; deposit {-cash} more, or lower it"
                )
            for symbol in sorted(touched):
                if holdings[symbol] < 0:
                    raise Overdrawn(
                        f"holdings.{symbol}: would be {holdings[symbol]} at the end of {day}; "
                        "record first how it came to be held"
                    )
            uninvested, last = min(uninvested, cash), day
        held = {symbol: units for symbol, units in sorted(holdings.items()) if units}
        return Positions(cash, held, uninvested, rebalanced, last)

    def followed_by(self, entries: Iterable[Entry]) -> Ledger:
        """The ledger with more entries.

        Raises:
            Overdrawn: they would leave less than nothing.
        """
        longer = Ledger((*self.entries, *entries))
        _ = longer.positions
        return longer
