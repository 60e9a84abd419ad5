"""The ledger of a portfolio, from which its cash and holdings follow.

Entries never change. A mistake is corrected by a further entry that voids it: both stay visible,
and neither counts any more. Each entry has an effective day, which is a market day, and the time at
which it was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, localcontext
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.money import LARGEST

_ZERO = Decimal(0)
_DIGITS = 60


class Overdrawn(Conflict):
    """Cash or a holding would be negative at the end of a day."""

    default_code = "overdrawn"


class NotVoidable(Conflict):
    """The entry is void already, voids another one, or other entries depend on it."""

    default_code = "not_voidable"


class EntryKind(StrEnum):
    """Kind of entry; a deposit or withdrawal with a symbol is in kind."""

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
        on: Effective market day; it counts from that day's close.
        recorded: Time of recording, with a zone.
        amount: Value, >= 0: money paid in or out, value traded or moved in kind; without costs.
        symbol: Asset that is traded, moved, or pays the dividend or fee; None otherwise.
        quantity: Units traded or moved, > 0; 0 for money alone.
        price: Price per unit; None for money alone.
        cost: Cost of the trade on top, >= 0.
        proposal: Proposal that the trade executes; None without one.
        voids: Entry that this one voids, with whose values it is recorded; None for most entries.
        partial: Whether orders of the proposal were still open after this entry was recorded.

    Raises:
        InvalidRequest: an attribute contradicts the kind; its field is named.
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
    voids: UUID | None = None
    partial: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("amount", "quantity", "cost"):
            number = getattr(self, name)
            if not (number.is_finite() and 0 <= number < LARGEST):
                raise InvalidRequest(
                    f"{number} is out of range; enter 0 or more, and less than {LARGEST:E}",
                    field=name,
                    code="amount_out_of_range",
                )
        if self.recorded.tzinfo is None:
            raise InvalidRequest(
                f"{self.recorded} has no time zone; add one",
                field="recorded",
                code="missing_time_zone",
            )
        moves = self.kind in TRADES or (self.kind in FLOWS and self.symbol is not None)
        if moves and not self.quantity > 0:
            raise not_positive(self.quantity, "quantity")
        if self.price is not None and not (self.price.is_finite() and 0 < self.price < LARGEST):
            raise not_positive(self.price, "price")
        if moves and not (self.symbol and self.price is not None):
            raise InvalidRequest(
                f"a {self.kind} of an asset needs a symbol and a price; add it",
                field="price" if self.symbol else "symbol",
                code="missing_value",
            )
        if not moves and (self.quantity or self.price is not None):
            raise InvalidRequest(
                f"a {self.kind} of money has no quantity and no price; omit both",
                field="quantity" if self.quantity else "price",
                code="unexpected_value",
            )
        if not moves and not self.amount > 0:
            raise not_positive(self.amount, "amount")
        if self.cost and self.kind not in TRADES:
            raise InvalidRequest(
                "only trades have a cost; record a fee as an entry of its own",
                field="cost",
                code="unexpected_value",
            )

    @property
    def cash(self) -> Decimal:
        """Change of cash."""
        match self.kind:
            case EntryKind.BUY:
                change = -self.amount - self.cost
            case EntryKind.SELL:
                change = self.amount - self.cost
            case EntryKind.FEE:
                change = -self.amount
            case EntryKind.DIVIDEND:
                change = self.amount
            case _:
                return self.flow if self.symbol is None else _ZERO
        return self._signed(change)

    @property
    def units(self) -> Decimal:
        """Change of the holding of its symbol."""
        grows = self.kind in (EntryKind.BUY, EntryKind.DEPOSIT)
        return self._signed(self.quantity if grows else -self.quantity)

    @property
    def flow(self) -> Decimal:
        """Value that the owner paid in (+) or took out (-), in money or in kind."""
        if self.kind not in FLOWS:
            return _ZERO
        return self._signed(self.amount if self.kind is EntryKind.DEPOSIT else -self.amount)

    def _signed(self, change: Decimal) -> Decimal:
        return change if self.voids is None else -change

    @property
    def title(self) -> str:
        """Short description, such as "purchase of 10 AAPL of 2022-01-03"."""
        what = _TITLES[self.kind]
        if self.quantity:
            what = f"{what} of {self.quantity.normalize():f} {self.symbol}"
        else:
            what = f"{what} of {self.amount:f}"
        return f"{what} of {self.on}"

    def reversal(self, *, recorded: datetime, note: str = "", partial: bool = False) -> Entry:
        """Return the entry that voids this one; its id follows from this one's."""
        return attrs.evolve(
            self,
            id=void_id(self.id),
            recorded=recorded,
            note=note,
            voids=self.id,
            partial=partial,
        )


def void_id(entry: UUID) -> UUID:
    """Return the id of the entry that voids an entry, so that no entry is voided twice."""
    return uuid5(entry, "void")


_TITLES = {
    EntryKind.DEPOSIT: "deposit",
    EntryKind.WITHDRAWAL: "withdrawal",
    EntryKind.BUY: "purchase",
    EntryKind.SELL: "sale",
    EntryKind.FEE: "fee",
    EntryKind.DIVIDEND: "dividend",
}


@attrs.frozen
class Positions:
    """Cash and holdings that follow from a ledger.

    Attributes:
        cash: Money, >= 0.
        holdings: Quantity by symbol, each > 0, sorted by symbol.
        uninvested: Cash paid in since the last rebalance and not spent, 0 <= uninvested <= cash.
            By effective day: a deposit dated before a rebalance counts as invested, also if it is
            recorded later. The trades of a proposal with open orders spend what they cost.
        last_rebalance: Day of the last trades of a proposal.
        last_entry: Latest effective day; None for an empty ledger.
    """

    cash: Decimal = _ZERO
    holdings: Mapping[str, Decimal] = attrs.field(factory=dict)
    uninvested: Decimal = _ZERO
    last_rebalance: date | None = None
    last_entry: date | None = None


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
        """Every asset that was ever traded or moved, also by void entries."""
        return frozenset(
            entry.symbol for entry in self.entries if entry.symbol is not None and entry.quantity
        )

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
        """Yield effective entries by day, earliest first; within a day as recorded."""
        ordered = sorted(self.effective, key=lambda entry: entry.on)
        for day, entries in groupby(ordered, key=lambda entry: entry.on):
            yield day, list(entries)

    @cached_property
    def positions(self) -> Positions:
        """Cash and holdings at the end of the last day.

        Raises:
            Overdrawn: cash or a holding is negative at the end of a day.
        """
        with localcontext(prec=_DIGITS):
            return self._sum_up()

    def _sum_up(self) -> Positions:
        cash = uninvested = _ZERO
        holdings: dict[str, Decimal] = {}
        rebalanced = last = None
        incomplete = self.open_proposals
        for day, entries in self.by_day():
            touched = set()
            for entry in entries:
                cash += entry.cash
                if entry.quantity and entry.symbol is not None:
                    holdings[entry.symbol] = holdings.get(entry.symbol, _ZERO) + entry.units
                    touched.add(entry.symbol)
                executes = entry.proposal is not None and entry.kind in TRADES
                if executes:
                    rebalanced = day
                if executes and entry.proposal not in incomplete:
                    uninvested = _ZERO
                elif entry.kind in FLOWS or entry.kind is EntryKind.BUY:
                    uninvested = max(uninvested + entry.cash, _ZERO)
            if cash < 0:
                raise Overdrawn(
                    f"cash would be {cash} at the end of {day}; deposit {-cash} more or lower "
                    "the amount"
                )
            for symbol in sorted(touched):
                if holdings[symbol] < 0:
                    raise Overdrawn(
                        f"the holding of {symbol} would be {holdings[symbol]} at the end of "
                        f"{day}; record its purchase or deposit first"
                    )
            uninvested, last = min(uninvested, cash), day
        held = {symbol: units for symbol, units in sorted(holdings.items()) if units}
        return Positions(cash, held, uninvested, rebalanced, last)

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
        return next((entry for entry in self.entries if entry.id == id), None)

    def check_voidable(self, entry: Entry) -> None:
        """Check that one of the entries may be voided.

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
        others = Ledger(tuple(other for other in self.effective if other.id != entry.id))
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
        with localcontext(prec=_DIGITS):
            for _, entries in self.by_day():
                seen += entries
                if sum((entry.cash for entry in seen), _ZERO) < 0:
                    return next(entry for entry in reversed(seen) if entry.cash < 0)
                for symbol in sorted({entry.symbol for entry in entries if entry.symbol}):
                    moves = [entry for entry in seen if entry.symbol == symbol and entry.quantity]
                    if sum((entry.units for entry in moves), _ZERO) < 0:
                        return next(entry for entry in reversed(moves) if entry.units < 0)
        return None


def filled_quantities(entries: Iterable[Entry]) -> dict[str, Decimal]:
    """Return the quantity of each asset that trades bought or sold, without void ones."""
    filled: dict[str, Decimal] = {}
    for entry in entries:
        if entry.kind in TRADES and entry.symbol is not None:
            quantity = entry.quantity if entry.voids is None else -entry.quantity
            filled[entry.symbol] = filled.get(entry.symbol, _ZERO) + quantity
    return {symbol: quantity for symbol, quantity in filled.items() if quantity}


def not_positive(number: Decimal, field: str) -> InvalidRequest:
    """Return the error for an amount, quantity or price that is not positive."""
    return InvalidRequest(
        f"{number} is out of range; enter more than 0, and less than {LARGEST:E}",
        field=field,
        code="not_positive",
    )
