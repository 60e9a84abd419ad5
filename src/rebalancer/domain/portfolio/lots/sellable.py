"""Lots in the order in which a sale would use them, and what a sale of some units would gain."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from uuid import UUID

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency, canonical_text
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.lots.model import (
    Disposal,
    LotMethod,
    LotUse,
    MatchRule,
    Term,
    allocate,
    difference,
    share,
    total,
)

_ZERO = Decimal(0)
_DIGITS = 60
_NO_ID = UUID(int=0)


@attrs.frozen
class SellableLot:
    """Units of an asset that a sale would use together.

    Attributes:
        quantity: Units, > 0.
        cost: What they cost in the base currency, trading costs included; None: unknown.
        acquired: Day from which the holding period counts; None: unknown, or units of a pool.
        is_dated: Whether they were acquired on that day; otherwise on that day or earlier.
    """

    quantity: Decimal
    cost: Decimal | None
    acquired: date | None = None
    is_dated: bool = True

    @classmethod
    def of(cls, use: LotUse) -> SellableLot:
        """Return the units of a lot that a sale uses."""
        acquired = use.acquired if use.rule is MatchRule.LOT else None
        return cls(use.quantity, use.cost, acquired, use.is_dated)


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

    @classmethod
    def of(cls, made: Disposal, method: LotMethod, currency: Currency) -> SaleGain:
        """Return what a disposal realises."""
        with localcontext(prec=_DIGITS):
            found = made.rounded(currency.round)
            terms = [use.term(found.on) for use in found.uses]
            long_term = total(
                use.gain if term is Term.LONG else currency.round(_ZERO)
                for use, term in zip(found.uses, terms, strict=True)
            )
            return cls(
                found.symbol,
                method,
                found.proceeds,
                found.cost,
                None if None in terms else long_term,
            )


def gain_of_sale(
    symbol: str,
    quantity: Decimal,
    proceeds: Decimal,
    lots: Sequence[SellableLot],
    *,
    on: date,
    method: LotMethod,
    currency: Currency,
) -> SaleGain:
    """Return what a sale of some units would realise.

    Args:
        symbol: The asset.
        quantity: Units, at most those of the lots.
        proceeds: Money received after the cost of the trade, in the base currency.
        lots: In the order in which the sale uses them.
        on: Day of the sale.
        method: Method of that order.
        currency: The base currency.
    """
    with localcontext(prec=_DIGITS):
        used = list(_use(lots, quantity))
        parts = allocate(proceeds, [lot.quantity for lot in used])
        uses = tuple(
            LotUse(_NO_ID, lot.quantity, lot.cost, lot.acquired, lot.is_dated, part)
            for lot, part in zip(used, parts, strict=True)
        )
        made = Disposal(_NO_ID, EntryKind.SELL, symbol, on, quantity, proceeds, uses)
        return SaleGain.of(made, method, currency)


def in_order_of_sale(lots: Sequence[SellableLot], method: LotMethod) -> tuple[SellableLot, ...]:
    """Return the lots of an asset in the order in which the sales of a method use them.

    Lots of unknown age come first, as do those of a pool; equal ones keep their order. With an
    average cost, each unit has it; it is unknown if the cost of one lot is.
    """
    by_age = sorted(lots, key=lambda lot: lot.acquired or date.min)
    match method:
        case LotMethod.LIFO:
            return tuple(reversed(by_age))
        case LotMethod.HIGHEST_COST:
            with localcontext(prec=_DIGITS):
                return tuple(sorted(by_age, key=_dearest_first))
        case LotMethod.AVERAGE_COST | LotMethod.UK_POOL:
            with localcontext(prec=_DIGITS):
                cost = total(lot.cost for lot in by_age)
                units = [lot.quantity for lot in by_age]
                parts = [None] * len(units) if cost is None else allocate(cost, units)
                return tuple(
                    attrs.evolve(lot, cost=part) for lot, part in zip(by_age, parts, strict=True)
                )
        case _:
            return tuple(by_age)


def _dearest_first(lot: SellableLot) -> tuple[bool, Decimal]:
    return (lot.cost is None, _ZERO if lot.cost is None else -lot.cost / lot.quantity)


class UnitCosts:
    """Costs of the first units of an asset's lots; units of unknown cost count as 0."""

    def __init__(self, lots: Sequence[SellableLot]) -> None:
        self._lots = lots
        self._units, self._costs = [_ZERO], [_ZERO]
        with localcontext(prec=_DIGITS):
            for lot in lots:
                self._units.append(self._units[-1] + lot.quantity)
                self._costs.append(self._costs[-1] + (lot.cost or _ZERO))

    @property
    def ends(self) -> Sequence[Decimal]:
        """Units until the end of each lot."""
        return self._units[1:]

    def __call__(self, quantity: Decimal) -> Decimal:
        """Return the cost of some units, at most those of the lots."""
        with localcontext(prec=_DIGITS):
            whole = bisect_right(self._units, quantity) - 1
            cost, rest = self._costs[whole], quantity - self._units[whole]
            if rest and whole < len(self._lots):
                lot = self._lots[whole]
                cost += share(lot.cost or _ZERO, rest, lot.quantity)
            return cost


def units_of(lots: Sequence[SellableLot]) -> Decimal:
    """Return the units of lots."""
    with localcontext(prec=_DIGITS):
        return sum((lot.quantity for lot in lots), _ZERO)


def check_lots(lots: Mapping[str, Sequence[SellableLot]], holdings: Mapping[str, Decimal]) -> None:
    """Check that lots are those of the holdings.

    Raises:
        InvalidRequest: a quantity or a cost is not a valid amount, or the units of an asset's lots
            are not those that are held; the field names the asset.
    """
    with localcontext(prec=_DIGITS):
        for symbol in sorted({*lots, *holdings}):
            _check_units(symbol, lots.get(symbol, ()), holdings.get(symbol, _ZERO))


def _check_units(symbol: str, lots: Sequence[SellableLot], held: Decimal) -> None:
    units = _ZERO
    for lot in lots:
        if not (lot.quantity.is_finite() and lot.quantity > 0):
            raise InvalidRequest(
                f"a lot of {lot.quantity} units; enter a finite quantity above zero",
                field=f"lots.{symbol}",
                code="amount_not_positive",
            )
        if lot.cost is not None and not (lot.cost.is_finite() and lot.cost >= 0):
            raise InvalidRequest(
                f"a lot that cost {lot.cost}; enter a finite amount of zero or more, or omit an "
                "unknown cost",
                field=f"lots.{symbol}",
                code="amount_negative",
            )
        units += lot.quantity
    if units != held:
        raise InvalidRequest(
            f"the lots have {canonical_text(units)} units, and {canonical_text(held)} are held; "
            "state the lots of all units",
            field=f"lots.{symbol}",
            code="lots_differ_from_holding",
        )


def _use(lots: Sequence[SellableLot], quantity: Decimal) -> Iterator[SellableLot]:
    """Yield the first units of the lots."""
    for lot in lots:
        if quantity <= 0:
            return
        if lot.quantity <= quantity:
            yield lot
        else:
            cost = None if lot.cost is None else share(lot.cost, quantity, lot.quantity)
            yield attrs.evolve(lot, quantity=quantity, cost=cost)
        quantity -= lot.quantity
