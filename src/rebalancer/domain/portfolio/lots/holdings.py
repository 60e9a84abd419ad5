"""Lots that are held, and how trades and reorganisations change them."""

from __future__ import annotations

from bisect import insort_right
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import Entry, multiply_units
from rebalancer.domain.portfolio.lots.model import (
    Lot,
    LotMethod,
    LotUse,
    MatchRule,
    allocate,
    share,
    total,
)
from rebalancer.domain.portfolio.positions import Overdrawn

Selections = Mapping[UUID, Mapping[UUID, Decimal]]
"""Units to use of each lot, by the ids of the sale's entry and of the lot."""

_ZERO, _ONE = Decimal(0), Decimal(1)


class LotHoldings:
    """Lots by symbol under one of the methods that identify lots.

    Attributes:
        lots: Lots by symbol in the order of acquisition.
    """

    def __init__(self, method: LotMethod, selections: Selections) -> None:
        self.lots: dict[str, list[Lot]] = {}
        self._method, self._selections = method, selections

    def receive(self, lot: Lot) -> None:
        """Add a lot that was moved in, or received by a spin-off or merger."""
        insort_right(self.lots.setdefault(lot.symbol, []), lot, key=_acquired)

    def buy(self, lot: Lot) -> None:
        """Add a lot that was bought."""
        self.receive(lot)

    def end_purchases(self, day: date) -> None:
        """Take note that the purchases of a day are complete; its sales follow."""

    def sell(self, entry: Entry) -> list[LotUse]:
        """Remove the units of a sale; the result may grow until the last entry is replayed.

        Raises:
            InvalidRequest: a lot that is named for the sale is not held, or has fewer units.
            Overdrawn: fewer units are held.
        """
        assert entry.symbol is not None
        chosen = self._selections.get(entry.id, {})
        uses, rest = self._take_selected(entry, chosen) if chosen else ([], entry.quantity)
        return [*uses, *self._take(entry.symbol, rest, entry)]

    def withdraw(self, entry: Entry) -> list[LotUse]:
        """Remove units that are moved out.

        Raises:
            Overdrawn: fewer units are held.
        """
        assert entry.symbol is not None
        return self._take(entry.symbol, entry.quantity, entry)

    def split(self, symbol: str, ratio: Decimal) -> list[LotUse]:
        """Multiply the units of an asset; return lots of which none remain."""
        held = self.lots.get(symbol, [])
        units = _multiply([lot.quantity for lot in held], ratio)
        self.lots[symbol], lost = _with_units(held, units)
        return lost

    def rename(self, symbol: str, other: str) -> None:
        """Move the lots of an asset to its new symbol."""
        for lot in self.lots.pop(symbol, []):
            self.receive(attrs.evolve(lot, symbol=other))

    def spin_off(self, entry: Entry) -> None:
        """Add the units of another asset, to which a share of the cost passes."""
        assert entry.symbol and entry.other and entry.ratio is not None
        held = self.lots.get(entry.symbol, [])
        units = _multiply([lot.quantity for lot in held], entry.ratio)
        kept = []
        for lot, received in zip(held, units, strict=True):
            if not received:
                kept.append(lot)
                continue
            passed = None
            if lot.cost is not None and entry.cost_share is not None:
                passed = share(lot.cost, entry.cost_share, _ONE)
            left = None if lot.cost is None or passed is None else lot.cost - passed
            kept.append(attrs.evolve(lot, cost=left))
            self.receive(
                attrs.evolve(
                    lot,
                    id=uuid5(entry.id, str(lot.id)),
                    symbol=entry.other,
                    quantity=received,
                    cost=passed,
                )
            )
        self.lots[entry.symbol] = kept

    def merge(self, entry: Entry, passing: Decimal | None) -> list[LotUse]:
        """Replace the units of an asset by those of another; return the cost that stays.

        Args:
            entry: The merger.
            passing: Share of the cost that passes to the other asset; None: unknown.
        """
        assert entry.symbol and entry.other and entry.ratio is not None
        held = self.lots.pop(entry.symbol, [])
        units = _multiply([lot.quantity for lot in held], entry.ratio)
        stays, passed = [], []
        for lot in held:
            cost = None
            if lot.cost is not None and passing is not None:
                cost = share(lot.cost, passing, _ONE)
            left = None if lot.cost is None or cost is None else lot.cost - cost
            stays.append(_use(attrs.evolve(lot, cost=left)))
            passed.append(attrs.evolve(lot, symbol=entry.other, cost=cost))
        received, lost = _with_units(passed, units)
        for lot in received:
            self.receive(lot)
        if not lost:
            return stays
        return [_add_cost(use, more.cost) for use, more in zip(stays, lost, strict=True)]

    def reduce_cost(self, symbol: str, amount: Decimal | None) -> list[LotUse]:
        """Reduce the cost of an asset by returned capital; return what exceeds it, as proceeds.

        Args:
            symbol: The asset.
            amount: Capital returned; None: unknown.
        """
        self._level(symbol)
        held = self.lots.get(symbol, [])
        if amount is None:
            self.lots[symbol] = [attrs.evolve(lot, cost=None) for lot in held]
            return []
        excess, reduced = [], []
        for lot, part in zip(held, _by_units(amount, held), strict=True):
            if lot.cost is None:
                reduced.append(lot)
                continue
            less = min(part, lot.cost)
            reduced.append(attrs.evolve(lot, cost=lot.cost - less))
            if part > less:
                beyond = attrs.evolve(lot, cost=_ZERO)
                excess.append(attrs.evolve(_use(beyond), proceeds=part - less))
        self.lots[symbol] = reduced
        return excess

    def remaining(self) -> list[Lot]:
        """Return the lots that are held, by symbol and in the order of acquisition."""
        for symbol in self.lots:
            self._level(symbol)
        return [lot for symbol in sorted(self.lots) for lot in self.lots[symbol]]

    def _take(self, symbol: str, quantity: Decimal, entry: Entry) -> list[LotUse]:
        """Remove units in the order of the method."""
        self._level(symbol)
        uses: list[LotUse] = []
        left: dict[UUID, Lot | None] = {}
        for lot in self._in_order(symbol):
            if not quantity:
                break
            units = min(quantity, lot.quantity)
            use, left[lot.id] = _cut(lot, units)
            uses.append(use)
            quantity -= units
        if quantity:
            raise Overdrawn(
                f"the {entry.title} needs {quantity:f} more than is held; record the purchase or "
                "deposit first"
            )
        self._replace(symbol, left)
        return uses

    def _take_selected(
        self, entry: Entry, chosen: Mapping[UUID, Decimal]
    ) -> tuple[list[LotUse], Decimal]:
        """Remove the units of the named lots; return them, and how many units are still to take."""
        symbol, rest = str(entry.symbol), entry.quantity
        held = {lot.id: lot for lot in self.lots.get(symbol, [])}
        uses: list[LotUse] = []
        left: dict[UUID, Lot | None] = {}
        for id, units in chosen.items():
            available = held[id].quantity if id in held else _ZERO
            if not 0 < units <= available:
                raise InvalidRequest(
                    f"{units:f} units of lot {id} cannot be used for the {entry.title}: "
                    f"{available:f} are held; name lots of {symbol} that are held on that day",
                    field="lots",
                    code="lot_not_held",
                )
            if units > rest:
                raise InvalidRequest(
                    f"the lots named for the {entry.title} have more units than it sells; name at "
                    f"most {entry.quantity:f}",
                    field="lots",
                    code="lots_exceed_sale",
                )
            use, left[id] = _cut(held[id], units)
            uses.append(use)
            rest -= units
        self._replace(symbol, left)
        return uses, rest

    def _in_order(self, symbol: str) -> Sequence[Lot]:
        """Return the lots of an asset in the order in which sales use them."""
        held = self.lots.get(symbol, [])
        if self._method is LotMethod.LIFO:
            return held[::-1]
        if self._method is LotMethod.HIGHEST_COST:
            return sorted(held, key=_dearest_first)
        return list(held)

    def _level(self, symbol: str) -> None:
        """Give each unit the average cost, if the method has one."""
        held = self.lots.get(symbol)
        if self._method is not LotMethod.AVERAGE_COST or not held:
            return
        cost = total(lot.cost for lot in held)
        costs = [None] * len(held) if cost is None else _by_units(cost, held)
        self.lots[symbol] = [
            attrs.evolve(lot, cost=cost) for lot, cost in zip(held, costs, strict=True)
        ]

    def _replace(self, symbol: str, left: Mapping[UUID, Lot | None]) -> None:
        """Replace lots by what is left of them."""
        if left:
            after = (left.get(lot.id, lot) for lot in self.lots[symbol])
            self.lots[symbol] = [lot for lot in after if lot is not None]


def _acquired(lot: Lot) -> date:
    return lot.acquired or date.min


def _dearest_first(lot: Lot) -> tuple[bool, Decimal]:
    """Sort by cost a unit, the highest first; unknown costs are last."""
    return (lot.cost is None, _ZERO if lot.cost is None else -lot.cost / lot.quantity)


def _by_units(amount: Decimal, lots: Sequence[Lot]) -> list[Decimal]:
    return allocate(amount, [lot.quantity for lot in lots])


def _use(lot: Lot) -> LotUse:
    rule = MatchRule.POOL if lot.acquired is None else MatchRule.LOT
    return LotUse(lot.id, lot.quantity, lot.cost, lot.acquired, lot.is_dated, rule=rule)


def _cut(lot: Lot, units: Decimal) -> tuple[LotUse, Lot | None]:
    """Return units of a lot as used, and what is left of it; None if that is nothing."""
    if units == lot.quantity:
        return _use(lot), None
    cost = None if lot.cost is None else share(lot.cost, units, lot.quantity)
    rest = None if lot.cost is None or cost is None else lot.cost - cost
    used = attrs.evolve(lot, quantity=units, cost=cost)
    return _use(used), attrs.evolve(lot, quantity=lot.quantity - units, cost=rest)


def _multiply(units: Sequence[Decimal], ratio: Decimal) -> list[Decimal]:
    """Multiply the units of lots so that they add up to the multiplied sum."""
    reached, given, found = _ZERO, _ZERO, []
    for one in units:
        reached += one
        until = multiply_units(reached, ratio)
        found.append(until - given)
        given = until
    return found


def _with_units(lots: Sequence[Lot], units: Sequence[Decimal]) -> tuple[list[Lot], list[LotUse]]:
    """Return lots with other units; lots that lose all units if none of them has any left.

    The cost of a lot without units passes to the next one with units, or to the last one.
    """
    if lots and not any(units):
        return [], [_use(lot) for lot in lots]
    found: list[Lot] = []
    carried: Decimal | None = _ZERO
    for lot, quantity in zip(lots, units, strict=True):
        cost = total((lot.cost, carried))
        if quantity:
            found.append(attrs.evolve(lot, quantity=quantity, cost=cost))
            carried = _ZERO
        else:
            carried = cost
    if found and carried != 0:
        found[-1] = attrs.evolve(found[-1], cost=total((found[-1].cost, carried)))
    return found, []


def _add_cost(use: LotUse, more: Decimal | None) -> LotUse:
    return attrs.evolve(use, cost=total((use.cost, more)))
