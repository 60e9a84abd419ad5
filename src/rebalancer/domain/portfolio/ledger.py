"""The ledger of a portfolio, from which its cash and holdings follow.

Entries never change; a further entry corrects a mistake. Each entry has an effective day, which is
a market day, and the time at which it was recorded.
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
    """Cash or a holding would be negative at the end of a day."""

    default_code = "overdrawn"


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
        """Change of the holding of its symbol."""
        grows = self.kind in (EntryKind.BUY, EntryKind.DEPOSIT)
        return self.quantity if grows else -self.quantity

    @property
    def flow(self) -> Decimal:
        """Value that the owner paid in (+) or took out (-), in money or in kind."""
        if self.kind not in FLOWS:
            return _ZERO
        return self.amount if self.kind is EntryKind.DEPOSIT else -self.amount


@attrs.frozen
class Positions:
    """Cash and holdings that follow from a ledger.

    Attributes:
        cash: Money, >= 0.
        holdings: Quantity by symbol, each > 0, sorted by symbol.
        uninvested: Cash paid in since the last rebalance and not spent, 0 <= uninvested <= cash.
            By effective day: a deposit dated before a rebalance counts as invested, also if it is
            recorded later.
        last_rebalance: Day of the last entries that executed a proposal.
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
    def symbols(self) -> frozenset[str]:
        """Every asset that was ever traded or moved."""
        return frozenset(
            entry.symbol for entry in self.entries if entry.symbol is not None and entry.quantity
        )

    def by_day(self) -> Iterable[tuple[date, list[Entry]]]:
        """Yield entries by effective day, earliest first; within a day as recorded."""
        ordered = sorted(self.entries, key=lambda entry: entry.on)
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


def not_positive(number: Decimal, field: str) -> InvalidRequest:
    """Return the error for an amount, quantity or price that is not positive."""
    return InvalidRequest(
        f"{number} is out of range; enter more than 0, and less than {LARGEST:E}",
        field=field,
        code="not_positive",
    )
