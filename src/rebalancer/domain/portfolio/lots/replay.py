"""Follow the lots of a ledger from its first entry to its last.

All amounts are in the base currency: each is converted at the rate of its day, so that a gain
includes the change of the exchange rate between purchase and sale. Within a day, reorganisations
come first, then returned capital, then what arrives, then what leaves, so that a sale may be
recorded before the purchase of its day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal, localcontext
from uuid import UUID

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import REORGANISATIONS, Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.lots.holdings import LotHoldings, Selections
from rebalancer.domain.portfolio.lots.model import (
    Disposal,
    Income,
    Lot,
    LotHistory,
    LotMethod,
    LotUse,
    Transfer,
    allocate,
    fine,
)
from rebalancer.domain.portfolio.lots.uk_pool import PoolHoldings

Rates = Callable[[str, date], Decimal | None]
"""Units of the base currency per unit of a currency on a day; None without a rate."""

_ZERO, _ONE = Decimal(0), Decimal(1)
_DIGITS = 60
_INCOME = frozenset({EntryKind.DIVIDEND, EntryKind.INTEREST, EntryKind.TAX, EntryKind.FEE})


def trace_lots(
    ledger: Ledger,
    method: LotMethod,
    *,
    base: str,
    rates: Rates,
    selections: Selections | None = None,
) -> LotHistory:
    """Return the lots after all entries of a ledger, and the disposals and income before.

    A purchase costs its amount and its trading cost; a sale brings its amount less its trading
    cost. An asset moved in costs what its entry states as cost basis, at the rate of that day.
    Moving it out realises nothing. A merger's money is the proceeds of the cost that does not pass
    to the other asset. Returned capital reduces the cost, and is a gain beyond it.

    Args:
        ledger: Entries of the portfolio; void ones do not count.
        method: See `LotMethod`.
        base: ISO 4217 code of the base currency.
        rates: Exchange rates into the base currency.
        selections: Lots to use by sale, for the method SPECIFIC alone.

    Raises:
        InvalidRequest: a selection names an unknown sale, or units that are not held.
        Overdrawn: the ledger sells more than it holds.
    """
    chosen = selections or {}
    _check_selections(ledger, method, chosen)
    with localcontext(prec=_DIGITS):
        return _Replay(list(ledger.by_day()), method, base, rates, chosen).run()


@attrs.frozen
class _Realised:
    """A disposal before its proceeds are divided; its uses may still grow.

    Attributes:
        is_divided: Whether the uses have their proceeds already.
    """

    entry: Entry
    quantity: Decimal
    proceeds: Decimal | None
    uses: list[LotUse]
    is_divided: bool = False


class _Replay:
    def __init__(
        self,
        days: Sequence[tuple[date, Sequence[Entry]]],
        method: LotMethod,
        base: str,
        rates: Rates,
        selections: Selections,
    ) -> None:
        self._days, self._method, self._base, self._rates = days, method, base, rates
        self._selections = selections
        self._holdings = (
            PoolHoldings(days) if method is LotMethod.UK_POOL else LotHoldings(method, selections)
        )
        self._realised: list[_Realised] = []
        self._transfers: list[Transfer] = []
        self._income: list[Income] = []
        self._gaps = _Gaps(base)

    def run(self) -> LotHistory:
        for day, entries in self._days:
            for entry in entries:
                if entry.kind in REORGANISATIONS:
                    self._reorganise(entry)
            for entry in entries:
                if entry.kind is EntryKind.RETURN_OF_CAPITAL:
                    self._return_capital(entry)
            for entry in entries:
                if entry.units > 0:
                    self._acquire(entry)
            self._holdings.end_purchases(day)
            leaving = [entry for entry in entries if entry.units < 0]
            for entry in sorted(leaving, key=lambda one: one.id not in self._selections):
                self._dispose(entry)
            self._income += [self._receive(entry) for entry in entries if entry.kind in _INCOME]
        return LotHistory(
            self._method,
            tuple(self._holdings.remaining()),
            tuple(_divide(one) for one in self._realised),
            tuple(self._transfers),
            tuple(self._income),
            self._gaps.notes(),
        )

    def _convert(self, amount: Decimal, currency: str | None, day: date) -> Decimal | None:
        """Return an amount in the base currency; None without a rate."""
        if currency is None or currency == self._base or not amount:
            return amount
        rate = self._rates(currency, day)
        if rate is None:
            self._gaps.rates.setdefault(currency, set()).add(day)
            return None
        return fine(amount * rate)

    def _reorganise(self, entry: Entry) -> None:
        symbol = str(entry.symbol)
        match entry.kind:
            case EntryKind.SPLIT:
                assert entry.ratio is not None
                lost = self._holdings.split(symbol, entry.ratio)
                if lost:
                    self._realise(entry, _ZERO, lost)
            case EntryKind.RENAME:
                self._holdings.rename(symbol, str(entry.other))
            case EntryKind.SPIN_OFF:
                if entry.cost_share is None and self._holdings.lots.get(symbol):
                    self._gaps.shares.append(entry)
                self._holdings.spin_off(entry)
            case _:
                self._merge(entry)

    def _merge(self, entry: Entry) -> None:
        passing = entry.cost_share
        if passing is None and not entry.amount:
            passing = _ONE
        held = bool(self._holdings.lots.get(str(entry.symbol)))
        if passing is None and held:
            self._gaps.shares.append(entry)
        stays = self._holdings.merge(entry, passing)
        if entry.amount or any(use.cost != 0 for use in stays):
            self._realise(entry, self._convert(entry.amount, entry.currency, entry.on), stays)

    def _return_capital(self, entry: Entry) -> None:
        symbol = str(entry.symbol)
        amount = self._convert(entry.amount, entry.currency, entry.on)
        if not self._holdings.lots.get(symbol):
            self._realised.append(_Realised(entry, _ZERO, amount, [], is_divided=True))
            return
        excess = self._holdings.reduce_cost(symbol, amount)
        if excess:
            proceeds = sum((use.proceeds or _ZERO for use in excess), _ZERO)
            quantity = sum((use.quantity for use in excess), _ZERO)
            self._realised.append(_Realised(entry, quantity, proceeds, excess, is_divided=True))

    def _acquire(self, entry: Entry) -> None:
        symbol, is_bought = str(entry.symbol), entry.kind is EntryKind.BUY
        paid = entry.amount + entry.cost if is_bought else entry.cost_basis
        if paid is None:
            self._gaps.bases.append(entry)
        cost = None if paid is None else self._convert(paid, entry.currency, entry.on)
        lot = Lot(entry.id, symbol, entry.quantity, cost, entry.on, is_dated=is_bought)
        if is_bought:
            self._holdings.buy(lot)
        else:
            self._holdings.receive(lot)

    def _dispose(self, entry: Entry) -> None:
        if entry.kind is EntryKind.SELL:
            proceeds = self._convert(entry.amount - entry.cost, entry.currency, entry.on)
            uses = self._holdings.sell(entry)
            self._realised.append(_Realised(entry, entry.quantity, proceeds, uses))
            return
        used = tuple(self._holdings.withdraw(entry))
        self._transfers.append(
            Transfer(entry.id, str(entry.symbol), entry.on, entry.quantity, used)
        )

    def _realise(self, entry: Entry, proceeds: Decimal | None, uses: list[LotUse]) -> None:
        quantity = sum((use.quantity for use in uses), _ZERO)
        self._realised.append(_Realised(entry, quantity, proceeds, uses))

    def _receive(self, entry: Entry) -> Income:
        return Income(
            entry.id,
            entry.kind,
            entry.symbol,
            entry.on,
            self._convert(entry.amount, entry.currency, entry.on),
            self._convert(entry.withheld, entry.currency, entry.on),
        )


@attrs.frozen
class _Gaps:
    """What is not known: exchange rates, cost bases and shares of the cost."""

    base: str
    rates: dict[str, set[date]] = attrs.field(factory=dict)
    bases: list[Entry] = attrs.field(factory=list)
    shares: list[Entry] = attrs.field(factory=list)

    def notes(self) -> tuple[str, ...]:
        """Return sentences: what is unknown, what that affects, and the remedy."""
        found = []
        moved: dict[str, list[Entry]] = {}
        for entry in self.bases:
            moved.setdefault(str(entry.symbol), []).append(entry)
        for symbol, entries in sorted(moved.items()):
            units = sum((entry.quantity for entry in entries), _ZERO).normalize()
            found.append(
                f"The cost of {units:f} units of {symbol} moved in "
                f"{_days({entry.on for entry in entries})} is unknown, and so are their gains; "
                "void each deposit and record it with its cost basis."
            )
        for entry in self.shares:
            what = "spin-off" if entry.kind is EntryKind.SPIN_OFF else "merger"
            found.append(
                f"The {what} of {entry.on} does not state which share of the cost of "
                f"{entry.symbol} passes to {entry.other}, so the costs of both are unknown; record "
                "it with its share of the cost."
            )
        for currency, days in sorted(self.rates.items()):
            found.append(
                f"No exchange rate from {currency} to {self.base} is known {_days(days)}, so "
                "amounts of then are unknown; import earlier rates."
            )
        return tuple(found)


def _days(days: set[date]) -> str:
    """Write days, such as "on 2022-01-03 and 2 other days until 2022-03-01"."""
    first, last, others = min(days), max(days), len(days) - 1
    if not others:
        return f"on {first}"
    if others == 1:
        return f"on {first} and {last}"
    return f"on {first} and {others} other days until {last}"


def _divide(one: _Realised) -> Disposal:
    """Return the disposal with the proceeds of each use."""
    entry, uses = one.entry, list(one.uses)
    if not one.is_divided:
        parts: Sequence[Decimal | None] = [None] * len(uses)
        if one.proceeds is not None and uses:
            parts = allocate(one.proceeds, [use.quantity for use in uses])
        uses = [attrs.evolve(use, proceeds=part) for use, part in zip(uses, parts, strict=True)]
    return Disposal(
        entry.id,
        entry.kind,
        str(entry.symbol),
        entry.on,
        one.quantity,
        one.proceeds,
        tuple(uses),
    )


def _check_selections(ledger: Ledger, method: LotMethod, selections: Selections) -> None:
    """Check that selections are of sales of the ledger, and that the method uses them."""
    if not selections:
        return
    if method is not LotMethod.SPECIFIC:
        raise InvalidRequest(
            f"the method {method} chooses lots itself; omit the lots, or choose the method "
            f"{LotMethod.SPECIFIC}",
            field="lots",
            code="lots_not_used",
        )
    sales: set[UUID] = {entry.id for entry in ledger.effective if entry.kind is EntryKind.SELL}
    for id in selections:
        if id not in sales:
            raise InvalidRequest(
                f"{id} is not a sale that counts in this ledger; name the entry of a sale",
                field="lots",
                code="unknown_sale",
            )
