"""The pooled cost of the United Kingdom, with its same-day and 30-day rules.

A sale is matched with units that are bought on the same day, then with those bought within the 30
days after it, the earliest first, and then with the pool (the section 104 holding), of which each
unit has the average cost. All purchases of a day count as one.

Units that are matched with a later purchase stay in the pool until then, as the law takes them not
to have been sold from it. New symbols and splits between sale and purchase are followed; a merger
or a spin-off of the asset ends the search.

References:
    HM Revenue and Customs. Capital Gains Manual CG51560, Share identification rules; helpsheet
    HS284, Shares and Capital Gains Tax. Taxation of Chargeable Gains Act 1992, sections 104 to
    106A.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_FLOOR, Decimal

import attrs

from rebalancer.domain.money import MOST_DECIMALS
from rebalancer.domain.portfolio.entries import TRADES, Entry, EntryKind, multiply_units
from rebalancer.domain.portfolio.lots.holdings import LotHoldings
from rebalancer.domain.portfolio.lots.model import (
    Lot,
    LotMethod,
    LotUse,
    MatchRule,
    allocate,
    share,
    total,
)

MATCHED_WITHIN = timedelta(days=30)
"""Time after a sale within which purchases are matched with it."""

_ZERO = Decimal(0)
_FINEST = Decimal(1).scaleb(-MOST_DECIMALS)

Days = Sequence[tuple[date, Sequence[Entry]]]
"""Effective entries by day, earliest first."""


@attrs.define(eq=False)
class _Reserved:
    """Units of a later purchase that are matched with a sale.

    Attributes:
        day: Day of the purchase.
        symbol: Present symbol of the asset.
        units: Units at present, after the splits since the sale.
        quantity: Units that were sold.
        uses: Uses of the sale, to which this one is added on the day of the purchase.
    """

    day: date
    symbol: str
    units: Decimal
    quantity: Decimal
    uses: list[LotUse]


class PoolHoldings(LotHoldings):
    """Pools by symbol: each asset has one lot, without a day of acquisition."""

    def __init__(self, days: Days) -> None:
        super().__init__(LotMethod.UK_POOL, {})
        self._days = days
        self._rows = {day: row for row, (day, _) in enumerate(days)}
        self._bought, self._sold = _sum_trades(days)
        self._reserved: list[_Reserved] = []
        self._claimed: Sums = {}
        self._today: dict[str, list[Lot]] = {}
        self._same_day: dict[str, Lot] = {}

    def receive(self, lot: Lot) -> None:
        """Add units to the pool of their asset."""
        pooled = self.lots.get(lot.symbol)
        if pooled:
            pool = pooled[0]
            added = attrs.evolve(
                pool,
                quantity=pool.quantity + lot.quantity,
                cost=total((pool.cost, lot.cost)),
            )
        else:
            added = attrs.evolve(lot, acquired=None)
        self.lots[lot.symbol] = [added]

    def buy(self, lot: Lot) -> None:
        """Add a purchase, which sales of its day and earlier ones may use."""
        self._today.setdefault(lot.symbol, []).append(lot)

    def end_purchases(self, day: date) -> None:
        """Divide the purchases of a day between its sales, earlier ones and the pool."""
        self._same_day = {}
        for symbol, lots in self._today.items():
            self._divide(symbol, lots, day)
        self._today = {}

    def _divide(self, symbol: str, lots: Sequence[Lot], day: date) -> None:
        bought = sum((lot.quantity for lot in lots), _ZERO)
        cost = total(lot.cost for lot in lots)
        same_day = min(bought, self._sold.get((day, symbol), _ZERO))
        waiting = [one for one in self._reserved if one.day == day and one.symbol == symbol]
        self._reserved = [one for one in self._reserved if one not in waiting]
        units = [same_day, *(one.units for one in waiting)]
        units.append(bought - sum(units, _ZERO))
        costs = [None] * len(units) if cost is None else allocate(cost, units)
        first = lots[0]
        for one, paid in zip(waiting, costs[1:], strict=False):
            one.uses.append(LotUse(first.id, one.quantity, paid, day, rule=MatchRule.THIRTY_DAYS))
        if same_day:
            self._same_day[symbol] = attrs.evolve(first, quantity=same_day, cost=costs[0])
        if units[-1]:
            self.receive(attrs.evolve(first, quantity=units[-1], cost=costs[-1]))

    def sell(self, entry: Entry) -> list[LotUse]:
        """Match a sale; units of later purchases are added to the result once these are replayed.

        Raises:
            Overdrawn: fewer units are held.
        """
        assert entry.symbol is not None
        uses: list[LotUse] = []
        rest = entry.quantity
        if entry.symbol in self._same_day:
            rest -= self._use_same_day(entry.symbol, rest, uses)
        if rest:
            rest -= self._reserve(entry, rest, uses)
        uses += self._take(entry.symbol, rest, entry)
        return uses

    def _use_same_day(self, symbol: str, most: Decimal, uses: list[LotUse]) -> Decimal:
        """Use purchases of the day; return the number of units."""
        lot = self._same_day[symbol]
        units = min(most, lot.quantity)
        if not units:
            return _ZERO
        cost = None if lot.cost is None else share(lot.cost, units, lot.quantity)
        rest = None if lot.cost is None or cost is None else lot.cost - cost
        uses.append(LotUse(lot.id, units, cost, lot.acquired, rule=MatchRule.SAME_DAY))
        self._same_day[symbol] = attrs.evolve(lot, quantity=lot.quantity - units, cost=rest)
        return units

    def _reserve(self, entry: Entry, most: Decimal, uses: list[LotUse]) -> Decimal:
        """Reserve units of purchases within 30 days after a sale; return how many units it sold."""
        symbol, reserved = str(entry.symbol), _ZERO
        ratios: list[Decimal] = []
        for day, entries in self._days[self._rows[entry.on] + 1 :]:
            if day > entry.on + MATCHED_WITHIN or reserved == most:
                break
            for other in entries:
                if other.symbol != symbol:
                    continue
                if other.kind in (EntryKind.MERGER, EntryKind.SPIN_OFF):
                    return reserved
                if other.kind is EntryKind.RENAME:
                    symbol = str(other.other)
                elif other.kind is EntryKind.SPLIT and other.ratio is not None:
                    ratios.append(other.ratio)
            free = self._free(day, symbol)
            if not free > 0:
                continue
            quantity = most - reserved
            units = _grow(quantity, ratios)
            if units > free:
                quantity = (quantity * free / units).quantize(_FINEST, ROUND_FLOOR)
                while (units := _grow(quantity, ratios)) > free:
                    quantity -= _FINEST
            if not (quantity > 0 and units > 0):
                continue
            sold = str(entry.symbol)
            self._reserved.append(_Reserved(day, sold, quantity, quantity, uses))
            self._claimed[day, symbol] = self._claimed.get((day, symbol), _ZERO) + units
            reserved += quantity
        return reserved

    def _free(self, day: date, symbol: str) -> Decimal:
        """Return the units bought on a day that neither its sales nor earlier ones use."""
        key = (day, symbol)
        bought = self._bought.get(key, _ZERO)
        return bought - min(bought, self._sold.get(key, _ZERO)) - self._claimed.get(key, _ZERO)

    def split(self, symbol: str, ratio: Decimal) -> list[LotUse]:
        """Multiply the units of a pool, and those that are matched with later purchases."""
        reserved = [one for one in self._reserved if one.symbol == symbol]
        before = sum((one.units for one in reserved), _ZERO)
        for one in reserved:
            one.units = multiply_units(one.units, ratio)
        after = sum((one.units for one in reserved), _ZERO)
        pooled = self.lots.get(symbol)
        if not pooled:
            return []
        pool = pooled[0]
        units = multiply_units(pool.quantity - before, ratio) + after
        if not units:
            del self.lots[symbol]
            return [_pool_use(pool)]
        self.lots[symbol] = [attrs.evolve(pool, quantity=units)]
        return []

    def rename(self, symbol: str, other: str) -> None:
        """Move a pool to the new symbol of its asset."""
        super().rename(symbol, other)
        for one in self._reserved:
            if one.symbol == symbol:
                one.symbol = other


def _pool_use(pool: Lot) -> LotUse:
    return LotUse(pool.id, pool.quantity, pool.cost, None, rule=MatchRule.POOL)


def _grow(units: Decimal, ratios: Sequence[Decimal]) -> Decimal:
    """Return units after splits."""
    for ratio in ratios:
        units = multiply_units(units, ratio)
    return units


Sums = dict[tuple[date, str], Decimal]
"""Units by day and symbol."""


def _sum_trades(days: Days) -> tuple[Sums, Sums]:
    """Return the units that are bought, and those that are sold."""
    bought: Sums = {}
    sold: Sums = {}
    for day, entries in days:
        for entry in entries:
            if entry.symbol is not None and entry.kind in TRADES:
                sums = bought if entry.kind is EntryKind.BUY else sold
                key = (day, entry.symbol)
                sums[key] = sums.get(key, _ZERO) + entry.quantity
    return bought, sold
