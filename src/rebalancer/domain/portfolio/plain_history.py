"""The history of a ledger as tools tell it that know neither splits nor other reorganisations.

What counts is retold as trades, transfers, payments and exchanges, whose sums are exactly the cash
and the holdings of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal, localcontext

import attrs

from rebalancer.domain.portfolio.entries import (
    REORGANISATIONS,
    Entry,
    EntryKind,
    move_units,
    multiply_units,
)
from rebalancer.domain.portfolio.ledger import Ledger

_ZERO = Decimal(0)
_DIGITS = 60


@attrs.frozen
class Movement:
    """Something that changed cash or holdings.

    Attributes:
        on: Effective day.
        kind: Kind of an entry that is no reorganisation; a deposit or withdrawal with a symbol is
            in kind and moves no cash.
        symbol: Asset by its latest symbol; None for money alone.
        quantity: Units, after all later splits, >= 0; 0 for money alone.
        amount: As in `Entry`, in ``currency``.
        cost: Cost of a trade.
        withheld: Tax withheld from income.
        currency: ISO 4217 code of all amounts.
        counter_amount: Money that an exchange brings, in ``counter_currency``.
        counter_currency: ISO 4217 code; empty without an exchange.
        note: What the owner noted, or which reorganisation it retells.
    """

    on: date
    kind: EntryKind
    amount: Decimal
    currency: str
    symbol: str | None = None
    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    withheld: Decimal = _ZERO
    counter_amount: Decimal = _ZERO
    counter_currency: str = ""
    note: str = ""

    @property
    def cash_changes(self) -> tuple[tuple[str, Decimal], ...]:
        """Change of the cash by currency; both sides of an exchange."""
        match self.kind:
            case EntryKind.BUY:
                change = -self.amount - self.cost
            case EntryKind.SELL:
                change = self.amount - self.cost
            case EntryKind.DEPOSIT | EntryKind.WITHDRAWAL if self.symbol is not None:
                return ()
            case EntryKind.FEE | EntryKind.TAX | EntryKind.WITHDRAWAL:
                change = -self.amount
            case EntryKind.EXCHANGE:
                return (
                    (self.currency, -self.amount),
                    (self.counter_currency, self.counter_amount),
                )
            case _:
                change = self.amount - self.withheld
        return ((self.currency, change),)

    @property
    def units(self) -> Decimal:
        """Change of the units of its symbol; 0 where it pays income or a charge."""
        if self.kind in (EntryKind.BUY, EntryKind.DEPOSIT):
            return self.quantity
        return -self.quantity


@attrs.frozen
class PlainHistory:
    """A ledger without reorganisations.

    Attributes:
        movements: By day, in their order of effect.
        retold: Kinds of entries that were retold as others.
    """

    movements: tuple[Movement, ...]
    retold: frozenset[EntryKind] = frozenset()


def retell(ledger: Ledger, currency: str) -> PlainHistory:
    """Return the history of a ledger; void entries are left out.

    Quantities are those after later splits, and symbols the latest ones. Spin-offs and mergers
    become transfers in kind with an amount of 0, and money that a merger pays becomes a sale. A
    difference that rounding leaves becomes a transfer on the last day.

    Args:
        ledger: Of the portfolio.
        currency: ISO 4217 code of its base currency.
    """
    entries = [entry for _, day in ledger.by_day() for entry in day]
    names: dict[str, str] = {}
    factors: dict[str, list[Decimal]] = {}
    found: list[Movement] = []
    with localcontext(prec=_DIGITS):
        for entry, legs in reversed(list(_with_legs(entries, currency))):
            if entry.kind is EntryKind.RENAME:
                assert entry.symbol is not None and entry.other is not None
                names[entry.symbol] = names.get(entry.other, entry.other)
                factors[entry.symbol] = list(factors.get(entry.other, ()))
            elif entry.kind is EntryKind.SPLIT:
                assert entry.symbol is not None and entry.ratio is not None
                factors.setdefault(entry.symbol, []).insert(0, entry.ratio)
            else:
                if entry.kind not in (EntryKind.SPIN_OFF, EntryKind.MERGER):
                    legs = (_plain(entry, currency),)
                for leg in reversed(legs):
                    found.append(_latest(leg, names, factors))
        found.reverse()
        found += _remainders(ledger, found, currency)
    kinds = frozenset(entry.kind for entry in entries) & REORGANISATIONS
    return PlainHistory(tuple(found), kinds)


def _with_legs(entries: list[Entry], currency: str) -> Iterator[tuple[Entry, tuple[Movement, ...]]]:
    """Yield each entry, with the movements that retell a spin-off or a merger."""
    holdings: dict[str, Decimal] = {}
    for entry in entries:
        before = dict(holdings)
        move_units(holdings, entry)
        legs: tuple[Movement, ...] = ()
        if entry.kind in (EntryKind.SPIN_OFF, EntryKind.MERGER):
            legs = tuple(_legs(entry, before, holdings, currency))
        yield entry, legs


def _legs(
    entry: Entry, before: dict[str, Decimal], after: dict[str, Decimal], currency: str
) -> Iterator[Movement]:
    assert entry.symbol is not None and entry.other is not None
    note = entry.note or entry.title
    received = after.get(entry.other, _ZERO) - before.get(entry.other, _ZERO)
    given = before.get(entry.symbol, _ZERO) - after.get(entry.symbol, _ZERO)
    code = entry.currency or currency
    if given or entry.amount:
        kind = EntryKind.SELL if entry.amount else EntryKind.WITHDRAWAL
        kind = kind if given else EntryKind.DIVIDEND
        yield Movement(entry.on, kind, entry.amount, code, entry.symbol, given, note=note)
    if received:
        yield Movement(entry.on, EntryKind.DEPOSIT, _ZERO, code, entry.other, received, note=note)


def _plain(entry: Entry, currency: str) -> Movement:
    return Movement(
        on=entry.on,
        kind=entry.kind,
        amount=entry.amount,
        currency=entry.currency or currency,
        symbol=entry.symbol,
        quantity=entry.quantity,
        cost=entry.cost,
        withheld=entry.withheld,
        counter_amount=entry.counter_amount or _ZERO,
        counter_currency="" if entry.counter_amount is None else entry.counter_currency or currency,
        note=entry.note,
    )


def _latest(
    movement: Movement, names: dict[str, str], factors: dict[str, list[Decimal]]
) -> Movement:
    """Return a movement with the symbol and the units of today."""
    symbol = movement.symbol
    if symbol is None:
        return movement
    quantity = movement.quantity
    for ratio in factors.get(symbol, ()):
        quantity = multiply_units(quantity, ratio)
    return attrs.evolve(movement, symbol=names.get(symbol, symbol), quantity=quantity)


def _remainders(ledger: Ledger, movements: list[Movement], currency: str) -> Iterator[Movement]:
    """Yield the transfers that make the units those of the ledger."""
    units = {symbol: -held for symbol, held in ledger.positions.holdings.items()}
    for one in movements:
        if one.symbol is not None:
            units[one.symbol] = units.get(one.symbol, _ZERO) + one.units
    for symbol, difference in sorted(units.items()):
        if difference:
            kind = EntryKind.WITHDRAWAL if difference > 0 else EntryKind.DEPOSIT
            yield Movement(
                movements[-1].on,
                kind,
                _ZERO,
                currency,
                symbol,
                abs(difference),
                note="rounding of reorganisations",
            )
