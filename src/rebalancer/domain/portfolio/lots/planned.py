"""Gains that planned sales would realise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.lots.model import (
    Disposal,
    LotMethod,
    Term,
    difference,
    total,
)
from rebalancer.domain.portfolio.lots.replay import Rates, trace_lots

_SALES = UUID("0e9d9c5e-7a0b-4f43-9a55-2f0c5d5c7f0e")
"""Namespace of the ids of entries that stand for planned sales."""

_ZERO = Decimal(0)
_DIGITS = 60


@attrs.frozen
class PlannedSale:
    """A sale that is not made yet.

    Attributes:
        symbol: Asset; each has at most one sale.
        quantity: Units, at most those held.
        price: Price of a unit in ``currency``.
        amount: Quantity times price, rounded.
        cost: Expected cost of the trade in ``currency``.
        currency: ISO 4217 code; None: the base currency.
    """

    symbol: str
    quantity: Decimal
    price: Decimal
    amount: Decimal
    cost: Decimal
    currency: str | None = None


@attrs.frozen
class SaleGain:
    """What a sale would realise, in the base currency, rounded to its minor unit.

    Attributes:
        method: Lot method by which it is computed.
        proceeds: After the expected cost of the trade; None without an exchange rate.
        cost: Of the units that the sale uses; None if unknown.
        long_term: Part of the gain on units held for more than a year; None if it is unknown.
    """

    symbol: str
    method: LotMethod
    proceeds: Decimal | None
    cost: Decimal | None
    long_term: Decimal | None

    @property
    def gain(self) -> Decimal | None:
        """Proceeds minus cost; negative for a loss; None if one is unknown."""
        return difference(self.proceeds, self.cost)


def plan_sales(
    ledger: Ledger,
    sales: Sequence[PlannedSale],
    *,
    on: date,
    now: datetime,
    method: LotMethod,
    currency: Currency,
    rates: Rates,
) -> tuple[SaleGain, ...]:
    """Return what sales on a day would realise, in the same order.

    Later purchases, which the pool of the United Kingdom would match, are not known yet.

    Args:
        ledger: Of the portfolio; entries after the day do not count.
        sales: Planned sales.
        on: Their day.
        now: Time of planning.
        method: See `LotMethod`; lots cannot be named.
        currency: The base currency.
        rates: Exchange rates into the base currency.

    Raises:
        Overdrawn: the ledger holds less than is to be sold.
    """
    until = [entry for entry in ledger.effective if entry.on <= on]
    planned = [_entry(sale, on, now) for sale in sales]
    extended = Ledger((*until, *planned))
    history = trace_lots(extended, method, base=currency.code, rates=rates)
    by_entry = {one.entry: one for one in history.disposals}
    return tuple(
        _gain(sale, by_entry[entry.id], method, currency)
        for sale, entry in zip(sales, planned, strict=True)
    )


def _entry(sale: PlannedSale, on: date, now: datetime) -> Entry:
    return Entry(
        id=uuid5(_SALES, sale.symbol),
        kind=EntryKind.SELL,
        on=on,
        recorded=now,
        amount=sale.amount,
        symbol=sale.symbol,
        quantity=sale.quantity,
        price=sale.price,
        cost=sale.cost,
        currency=sale.currency,
    )


def _gain(sale: PlannedSale, made: Disposal, method: LotMethod, currency: Currency) -> SaleGain:
    with localcontext(prec=_DIGITS):
        found = made.rounded(currency.round)
        terms = [use.term(found.on) for use in found.uses]
        long_term = total(
            use.gain if term is Term.LONG else currency.round(_ZERO)
            for use, term in zip(found.uses, terms, strict=True)
        )
        return SaleGain(
            sale.symbol,
            method,
            found.proceeds,
            found.cost,
            None if None in terms else long_term,
        )
