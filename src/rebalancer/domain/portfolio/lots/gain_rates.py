"""Gains for an amount of money raised, and the sales that raise it with the least gain."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rebalancer.domain.portfolio.lots.sellable import SellableLot


@attrs.frozen
class LotGains:
    """Lots of an asset in the order in which sales use them, at a price, before trading costs.

    Attributes:
        values: Money that the sale of each lot raises.
        rates: Gain of each lot for that money, at most 1; 1 if its cost is unknown.
    """

    values: tuple[float, ...]
    rates: tuple[float, ...]

    @classmethod
    def of(cls, lots: Sequence[SellableLot], price: float) -> LotGains:
        """Return the gains of lots at a price above 0."""
        values = tuple(float(lot.quantity) * price for lot in lots)
        rates = (
            1.0 - float(lot.cost or 0) / value for lot, value in zip(lots, values, strict=True)
        )
        return cls(values, tuple(rates))

    def pieces(self, room: float) -> list[tuple[float, float]]:
        """Return the rates and the money of pieces of a sale of up to ``room``.

        Rates rise from piece to piece. A lot with a smaller rate than the one before it forms a
        piece with that, because sales use lots in their order: together they are the lower convex
        hull of the gain as a function of the money.
        """
        hull: list[tuple[float, float]] = []
        for value, rate in zip(self.values, self.rates, strict=True):
            money = min(value, room)
            if money <= 0:
                break
            room -= money
            hull.append((rate, money))
            while len(hull) > 1 and hull[-2][0] >= hull[-1][0]:
                (rate, money), (before, earlier) = hull.pop(), hull.pop()
                both = money + earlier
                hull.append(((rate * money + before * earlier) / both, both))
        return hull


def raise_with_least_gain(
    rooms: Sequence[float], amount: float, lots: Sequence[LotGains]
) -> list[float]:
    """Return what to sell of each asset, so that an amount is raised with the least gain.

    Pieces with the smallest gain for their money come first; of equal ones, those of the asset with
    the largest room.

    Args:
        rooms: Most to sell of each asset, money.
        amount: Money to raise; less is raised if all rooms together are less.
        lots: Of each asset.
    """
    pieces = [
        (rate, -room, slot, money)
        for slot, (room, each) in enumerate(zip(rooms, lots, strict=False))
        if room > 0
        for rate, money in each.pieces(room)
    ]
    taken = [0.0] * len(rooms)
    for _, _, slot, money in sorted(pieces):
        part = min(money, amount)
        taken[slot] += part
        amount -= part
        if amount <= 0:
            break
    return taken
