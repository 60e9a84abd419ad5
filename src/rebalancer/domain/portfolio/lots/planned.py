"""What planned sales would realise, and the lots that sales would use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID, uuid5

import attrs

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.replay import Rates, trace_lots
from rebalancer.domain.portfolio.lots.sellable import SaleGain, SellableLot
from rebalancer.domain.portfolio.lots.years import TaxYear

_SALES = UUID("0e9d9c5e-7a0b-4f43-9a55-2f0c5d5c7f0e")
"""Namespace of the ids of entries that stand for planned sales."""

_ZERO, _ONE = Decimal(0), Decimal(1)


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
class LotsForSale:
    """Lots of a portfolio, and what its sales of the tax year have realised.

    Attributes:
        lots: By symbol, in the order in which a sale would use them.
        gain_this_year: Net gain of the disposals of the tax year whose gain is known, rounded.
        unknown_this_year: Number of its disposals whose gain is unknown.
    """

    lots: dict[str, tuple[SellableLot, ...]]
    gain_this_year: Decimal
    unknown_this_year: int


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
        SaleGain.of(by_entry[entry.id], method, currency)
        for _, entry in zip(sales, planned, strict=True)
    )


def lots_for_sale(
    ledger: Ledger,
    *,
    on: date,
    now: datetime,
    method: LotMethod,
    currency: Currency,
    rates: Rates,
) -> LotsForSale:
    """Return the lots that sales on a day would use; the arguments are those of `plan_sales`.

    The sale of all units uses the lots in the order in which sales of fewer units do.
    """
    until = [entry for entry in ledger.effective if entry.on <= on]
    held = Ledger(tuple(until)).positions.holdings
    sales = [PlannedSale(symbol, units, _ONE, units, _ZERO) for symbol, units in held.items()]
    planned = {_entry(sale, on, now).id: sale.symbol for sale in sales}
    extended = Ledger((*until, *(_entry(sale, on, now) for sale in sales)))
    history = trace_lots(extended, method, base=currency.code, rates=rates)
    year = TaxYear.of(on, method)
    lots, gain, unknown = {}, _ZERO, 0
    for made in history.disposals:
        if made.entry in planned:
            lots[planned[made.entry]] = tuple(map(SellableLot.of, made.uses))
        elif made.on in year:
            realised = made.rounded(currency.round).gain
            unknown += realised is None
            gain += realised or _ZERO
    return LotsForSale(lots, gain, unknown)


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
