"""Unrealised gains of lots at given prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.lots.model import Lot, Term, difference, term_of

_DIGITS = 60


@attrs.frozen
class UnrealisedGain:
    """What the sale of a lot at a price would gain, before trading costs.

    Attributes:
        lot: With its cost rounded.
        value: Of its units at the price, rounded; None without a price or an exchange rate.
        days: Days held; None for a pool, or if the day of acquisition is unknown.
        term: None where it is unknown.
    """

    lot: Lot
    value: Decimal | None
    days: int | None
    term: Term | None

    @property
    def gain(self) -> Decimal | None:
        """Value minus cost; negative for a loss; None if one is unknown."""
        return difference(self.value, self.lot.cost)


def unrealised_gains(
    lots: Sequence[Lot], prices: Mapping[str, Decimal | None], on: date, currency: Currency
) -> tuple[UnrealisedGain, ...]:
    """Return the unrealised gain of each lot.

    Args:
        lots: Lots that are held.
        prices: Price of a unit by symbol, in the base currency; None or missing: unknown.
        on: Day of the prices.
        currency: The base currency.
    """
    found = []
    for lot in lots:
        price = prices.get(lot.symbol)
        with localcontext(prec=_DIGITS):
            value = None if price is None else currency.round(lot.quantity * price)
        cost = None if lot.cost is None else currency.round(lot.cost)
        dated = lot.acquired is not None and lot.is_dated
        found.append(
            UnrealisedGain(
                attrs.evolve(lot, cost=cost),
                value,
                (on - lot.acquired).days if dated and lot.acquired is not None else None,
                None if lot.acquired is None else term_of(lot.acquired, on, is_dated=lot.is_dated),
            )
        )
    return tuple(found)
