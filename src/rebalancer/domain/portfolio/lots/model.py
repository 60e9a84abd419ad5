"""Lots, disposals and income of a ledger, with amounts in its base currency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import attrs

from rebalancer.domain.portfolio.entries import EntryKind

_ZERO = Decimal(0)
_FINEST = Decimal("1e-24")
"""Amounts in the base currency are multiples of it, so that they add up without a rest."""


class LotMethod(StrEnum):
    """Which units a sale disposes of, and what they cost.

    FIFO: those acquired first. LIFO: those acquired last. HIGHEST_COST: those with the highest cost
    a unit. AVERAGE_COST: all units of an asset have its average cost; those acquired first are
    sold. SPECIFIC: the lots that the caller names for a sale, and those acquired first for the
    rest. UK_POOL: units bought on the same day, then those bought within 30 days after the sale,
    then the pool at its average cost (the United Kingdom's section 104 holding).
    """

    FIFO = "fifo"
    LIFO = "lifo"
    HIGHEST_COST = "highest_cost"
    AVERAGE_COST = "average_cost"
    SPECIFIC = "specific"
    UK_POOL = "uk_pool"


class MatchRule(StrEnum):
    """Why a disposal uses some units: they are of a lot, or follow a rule of the UK's pool."""

    LOT = "lot"
    SAME_DAY = "same_day"
    THIRTY_DAYS = "thirty_days"
    POOL = "pool"


class Term(StrEnum):
    """Whether units were held for more than a year."""

    SHORT = "short"
    LONG = "long"


@attrs.frozen
class Lot:
    """Units of an asset that were acquired together and are still held.

    Attributes:
        id: Unique; that of the entry which acquired the units, or derived from a spin-off's.
        quantity: Units, > 0.
        cost: What they cost, trading costs included; None: unknown.
        acquired: Day from which the holding period counts; None for a pool.
        is_dated: Whether that day is known. If not, the units were moved in on ``acquired``, and
            acquired on that day or earlier.
    """

    id: UUID
    symbol: str
    quantity: Decimal
    cost: Decimal | None
    acquired: date | None
    is_dated: bool = True


@attrs.frozen
class LotUse:
    """Units of a lot that a disposal uses.

    Attributes:
        lot: Id of the lot.
        cost: Part of the lot's cost; None: unknown.
        proceeds: Part of the disposal's proceeds; None: unknown.
        acquired: See `Lot`. By the rule THIRTY_DAYS, it is after the disposal.
        is_dated: See `Lot`.
        rule: Why these units are used.
    """

    lot: UUID
    quantity: Decimal
    cost: Decimal | None
    acquired: date | None
    is_dated: bool = True
    proceeds: Decimal | None = None
    rule: MatchRule = MatchRule.LOT

    @property
    def gain(self) -> Decimal | None:
        """Proceeds minus cost; None if one is unknown."""
        return difference(self.proceeds, self.cost)

    def days(self, on: date) -> int | None:
        """Return the days from the acquisition to a day; None if the acquisition is unknown."""
        if self.acquired is None or not self.is_dated or self.rule is not MatchRule.LOT:
            return None
        return (on - self.acquired).days

    def term(self, on: date) -> Term | None:
        """Return whether the units were held for more than a year; None if that is unknown."""
        if self.acquired is None or self.rule is not MatchRule.LOT:
            return None
        return term_of(self.acquired, on, is_dated=self.is_dated)


@attrs.frozen
class Disposal:
    """A sale, or another event that realises a gain.

    Attributes:
        entry: Id of the ledger's entry.
        kind: SELL; MERGER for the money that a merger pays; RETURN_OF_CAPITAL for capital returned
            beyond the cost; a reorganisation that leaves no units.
        quantity: Units sold, or units on which the money is paid.
        proceeds: Money received, after trading costs; None without an exchange rate.
        uses: The units in the order in which they are used.
    """

    entry: UUID
    kind: EntryKind
    symbol: str
    on: date
    quantity: Decimal
    proceeds: Decimal | None
    uses: tuple[LotUse, ...]

    @property
    def cost(self) -> Decimal | None:
        """Cost of the units; None if that of one is unknown."""
        return total(use.cost for use in self.uses)

    @property
    def gain(self) -> Decimal | None:
        """Proceeds minus cost; negative for a loss; None if one is unknown."""
        return difference(self.proceeds, self.cost)

    def rounded(self, rounding: Callable[[Decimal], Decimal]) -> Disposal:
        """Return the disposal with rounded amounts, those of the uses adding up to the totals."""
        proceeds = _round_running([use.proceeds for use in self.uses], rounding)
        costs = _round_running([use.cost for use in self.uses], rounding)
        uses = tuple(
            attrs.evolve(use, proceeds=money, cost=cost)
            for use, money, cost in zip(self.uses, proceeds, costs, strict=True)
        )
        money = None if self.proceeds is None else rounding(self.proceeds)
        return attrs.evolve(self, proceeds=money, uses=uses)


@attrs.frozen
class Transfer:
    """Units that left in kind, with their cost and without a gain."""

    entry: UUID
    symbol: str
    on: date
    quantity: Decimal
    uses: tuple[LotUse, ...]

    @property
    def cost(self) -> Decimal | None:
        """Cost of the units; None if that of one is unknown."""
        return total(use.cost for use in self.uses)


@attrs.frozen
class Income:
    """Income or a charge.

    Attributes:
        kind: DIVIDEND, INTEREST, TAX or FEE.
        amount: Before tax; None without an exchange rate.
        withheld: Tax withheld from it; None without an exchange rate.
    """

    entry: UUID
    kind: EntryKind
    symbol: str | None
    on: date
    amount: Decimal | None
    withheld: Decimal | None = _ZERO

    def rounded(self, rounding: Callable[[Decimal], Decimal]) -> Income:
        """Return the income with rounded amounts."""
        amount = None if self.amount is None else rounding(self.amount)
        withheld = None if self.withheld is None else rounding(self.withheld)
        return attrs.evolve(self, amount=amount, withheld=withheld)


@attrs.frozen
class LotHistory:
    """Lots of a ledger after its last entry, and what led to them.

    Attributes:
        lots: Units still held, by symbol and in the order of acquisition.
        disposals: By day.
        transfers: Units that left in kind, by day.
        income: By day.
        notes: What is unknown and why, as sentences.
    """

    method: LotMethod
    lots: tuple[Lot, ...]
    disposals: tuple[Disposal, ...]
    transfers: tuple[Transfer, ...]
    income: tuple[Income, ...]
    notes: tuple[str, ...]


def term_of(acquired: date, on: date, *, is_dated: bool = True) -> Term | None:
    """Return whether units were held for more than a year on a day.

    The holding period begins on the day after the acquisition, as the IRS counts it (Publication
    550, Holding period; Revenue Ruling 66-7).

    Args:
        acquired: Day of the acquisition.
        on: Day of the disposal.
        is_dated: Whether the units may have been acquired earlier; the term is then None unless it
            is LONG.
    """
    begins = acquired + timedelta(days=1)
    try:
        ends = begins.replace(year=begins.year + 1)
    except ValueError:  # the 29th of February
        ends = date(begins.year + 1, 3, 1)
    if on >= ends:
        return Term.LONG
    return Term.SHORT if is_dated else None


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Return the sum; None if an amount is unknown."""
    summed = _ZERO
    for amount in amounts:
        if amount is None:
            return None
        summed += amount
    return summed


def difference(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    """Return one minus the other; None if either is unknown."""
    return None if one is None or other is None else one - other


def fine(amount: Decimal) -> Decimal:
    """Round an amount so far that sums and differences are exact."""
    return amount.quantize(_FINEST)


def share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return the share of an amount that belongs to a part of a whole."""
    return amount if part == whole else fine(amount * part / whole)


def allocate(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Divide an amount by weights, of which one is positive; the parts add up to it."""
    whole = sum(weights, _ZERO)
    reached, given, parts = _ZERO, _ZERO, []
    for weight in weights:
        reached += weight
        until = share(amount, reached, whole)
        parts.append(until - given)
        given = until
    return parts


def _round_running(
    amounts: Sequence[Decimal | None], rounding: Callable[[Decimal], Decimal]
) -> list[Decimal | None]:
    """Round amounts so that they add up to their rounded sum."""
    exact, given = _ZERO, _ZERO
    rounded: list[Decimal | None] = []
    for amount in amounts:
        if amount is None:
            rounded.append(None)
            continue
        exact += amount
        until = rounding(exact)
        rounded.append(until - given)
        given = until
    return rounded
