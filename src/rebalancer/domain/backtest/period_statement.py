"""The statement of a period: what was held, what moved, and why the value changed.

Every figure is in exact money of the base currency, rounded once to its minor unit, so that the
lines add up to the totals and the totals to the closing value.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, localcontext

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.backtest.accounts import measure_account
from rebalancer.domain.backtest.courses import PriceTable
from rebalancer.domain.backtest.lines import Span
from rebalancer.domain.backtest.periods import find_span
from rebalancer.domain.backtest.replays import Replay
from rebalancer.domain.market.currencies import missing_rate
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import (
    CHARGES,
    FLOWS,
    INCOME,
    Entry,
    EntryKind,
    move_units,
)
from rebalancer.domain.portfolio.ledger import Ledger

_ZERO = Decimal(0)
_DIGITS = 60


@attrs.frozen
class Activity:
    """An entry of the period.

    Attributes:
        on: Effective day.
        amount: In ``currency``, as in `Entry`.
        cost: Cost of a trade, in ``currency``.
        withheld: Tax withheld from income, in ``currency``.
        currency: ISO 4217 code.
        value: Amount in the base currency, at the rate of the day.
        base_cost: Cost in the base currency.
        base_withheld: Tax withheld in the base currency.
        counter_amount: Money that an exchange brings, in ``counter_currency``.
        counter_value: The same in the base currency.
    """

    on: date
    kind: EntryKind
    symbol: str | None
    other: str | None
    quantity: Decimal
    price: Decimal | None
    ratio: Decimal | None
    amount: Decimal
    cost: Decimal
    withheld: Decimal
    currency: str
    value: Decimal
    base_cost: Decimal
    base_withheld: Decimal
    counter_amount: Decimal
    counter_currency: str
    counter_value: Decimal
    note: str


@attrs.frozen
class HoldingLine:
    """An asset over the period; all but the quantities and the price are in the base currency.

    Attributes:
        price: Last price, in ``currency``; None without one, or if it is no longer held.
        opening: Value at the beginning.
        added: Value bought or transferred in.
        removed: Value sold, transferred out, or paid by a merger.
        closing: Value at the end.
    """

    symbol: str
    quantity: Decimal
    price: Decimal | None
    currency: str
    opening: Decimal
    added: Decimal
    removed: Decimal
    closing: Decimal

    @property
    def gain(self) -> Decimal:
        """Change of the value that was not bought, sold or transferred, without income."""
        return self.closing - self.opening - self.added + self.removed


@attrs.frozen
class CashLine:
    """Money of one currency; values are in the base currency.

    Attributes:
        gain: Change of the value that is not from movements, by exchange rates and rounding.
    """

    currency: str
    amount: Decimal
    opening: Decimal
    closing: Decimal
    gain: Decimal


@attrs.frozen
class PeriodStatement:
    """The statement of a period, in the base currency.

    Attributes:
        opened: Day of the close from which it is measured; None if it begins with the first entry.
        closed: Day of the last close of the period.
        opening: Value then.
        closing: Value at the end.
        deposits: Money and assets that were paid or moved in; assets at the close of the day.
        withdrawals: Money and assets that were taken or moved out.
        income: Dividends, interest and returned capital, before tax.
        taxes: Taxes, withheld or paid.
        costs: Costs of trades.
        fees: Other fees.
        exchange: Gain by exchange rates on cash, with what exchanges cost, and rounding.
        holdings: Assets that were held at the beginning, the end, or in between, by symbol.
        cash: Money by currency, the base currency first.
        activities: Entries of the period, by day.
        return_: Time-weighted return, a fraction; None without two closes.
        unpriced: Assets held at the end without a price.
    """

    currency: Currency
    opened: date | None
    closed: date
    opening: Decimal
    closing: Decimal
    deposits: Decimal
    withdrawals: Decimal
    income: Decimal
    taxes: Decimal
    costs: Decimal
    fees: Decimal
    exchange: Decimal
    holdings: tuple[HoldingLine, ...]
    cash: tuple[CashLine, ...]
    activities: tuple[Activity, ...]
    return_: float | None
    unpriced: tuple[str, ...]

    @property
    def gains(self) -> Decimal:
        """Change of the value of all holdings that was not bought, sold or transferred."""
        return sum((one.gain for one in self.holdings), _ZERO)

    @property
    def flows(self) -> Decimal:
        """Deposits minus withdrawals."""
        return self.deposits - self.withdrawals

    def of_kinds(self, *kinds: EntryKind) -> tuple[Activity, ...]:
        """Return the activities of some kinds."""
        return tuple(one for one in self.activities if one.kind in kinds)


def state_period(
    ledger: Ledger,
    market: PriceHistory,
    *,
    since: date | None = None,
    until: date | None = None,
    currency: Currency,
) -> PeriodStatement:
    """Return the statement of a period of a ledger.

    It is measured from the last close before the first day to the last close of the period. Entries
    on a day without a close count at the close before, splits and the like at the next one.

    Args:
        ledger: Of the portfolio; void entries are left out.
        market: Prices, in any currencies.
        since: First day; None: that of the first entry.
        until: Last day; None: that of the last close.
        currency: Base currency of the portfolio.

    Raises:
        InvalidRequest: as `measure_track_record`.
    """
    replay = Replay.of(ledger, market, (), currency.code)
    span = find_span(replay.dates, since, until)
    history = measure_account(ledger, market, currency=currency.code).history
    before = 1.0 if span.first is None else float(history.index[span.first])
    after = float(history.index[span.last])
    is_measured = span.last > 0 and before > 0
    with localcontext(prec=_DIGITS):
        account = _Account(replay, currency)
        found = account.run(span)
    statement = attrs.evolve(found, return_=after / before - 1.0 if is_measured else None)
    _check(statement)
    return statement


class _Account:
    """Replay of a ledger in exact money."""

    def __init__(self, replay: Replay, currency: Currency) -> None:
        self._replay, self._currency = replay, currency
        self._prices: PriceTable = replay.prices
        self._quoted = dict(zip(replay.symbols, replay.currencies(currency.code), strict=True))
        self._held: dict[str, Decimal] = {}
        self._cash: dict[str, Decimal] = {currency.code: _ZERO}
        self._added: dict[str, Decimal] = {}
        self._removed: dict[str, Decimal] = {}
        self._moved: dict[str, Decimal] = {}
        self._totals = dict.fromkeys(
            ("deposits", "withdrawals", "income", "taxes", "costs", "fees", "exchange"), _ZERO
        )
        self._activities: list[Activity] = []
        self._other_rates: dict[str, Floats] = {}

    def run(self, span: Span) -> PeriodStatement:
        """Return the statement of a period, without its return."""
        first = -1 if span.first is None else span.first
        stood: tuple[dict[str, Decimal], dict[str, Decimal]] | None = None
        for row, entries in self._replay.days:
            if row > span.last:
                break
            if row > first and stood is None:
                stood = self._values(first)
            for entry in entries:
                self._apply(entry, row, counts=row > first)
        if stood is None:
            stood = self._values(first)
        return self._state(span, *stood)

    def _apply(self, entry: Entry, row: int, *, counts: bool) -> None:
        move_units(self._held, entry)
        for code, change in entry.cash_changes:
            named = code or self._currency.code
            self._cash[named] = self._cash.get(named, _ZERO) + change
        if not counts:
            return
        code = entry.currency or self._currency.code
        value = self._transferred(entry, row) or self._convert(entry.amount, code, row)
        cost = self._convert(entry.cost, code, row)
        withheld = self._convert(entry.withheld, code, row)
        counter = entry.counter_amount or _ZERO
        counter_code = ""
        if entry.counter_amount is not None:
            counter_code = entry.counter_currency or self._currency.code
        counter_value = self._convert(counter, counter_code, row) if counter_code else _ZERO
        self._count(entry, value, cost, withheld)
        if counter_code:
            self._totals["exchange"] += counter_value - value
            self._move(code, -value)
            self._move(counter_code, counter_value)
        elif entry.kind in (EntryKind.BUY, EntryKind.FEE, EntryKind.TAX):
            self._move(code, -value - cost)
        elif entry.kind in (EntryKind.SELL, EntryKind.MERGER) or entry.kind in INCOME:
            self._move(code, value - cost - withheld)
        elif entry.symbol is None:
            self._move(code, value if entry.kind is EntryKind.DEPOSIT else -value)
        self._activities.append(
            Activity(
                on=entry.on,
                kind=entry.kind,
                symbol=entry.symbol,
                other=entry.other,
                quantity=entry.quantity,
                price=entry.price,
                ratio=entry.ratio,
                amount=entry.amount,
                cost=entry.cost,
                withheld=entry.withheld,
                currency=code,
                value=value,
                base_cost=cost,
                base_withheld=withheld,
                counter_amount=counter,
                counter_currency=counter_code,
                counter_value=counter_value,
                note=entry.note,
            )
        )

    def _count(self, entry: Entry, value: Decimal, cost: Decimal, withheld: Decimal) -> None:
        """Add an entry to the totals, and to what was added to and removed from its asset."""
        totals, symbol, kind = self._totals, entry.symbol, entry.kind
        totals["costs"] += cost
        totals["taxes"] += withheld
        if kind is EntryKind.DEPOSIT:
            totals["deposits"] += value
        elif kind is EntryKind.WITHDRAWAL:
            totals["withdrawals"] += value
        elif kind in INCOME:
            totals["income"] += value
        elif kind in CHARGES:
            totals["taxes" if kind is EntryKind.TAX else "fees"] += value
        if symbol is None or kind in INCOME or kind in CHARGES:
            return
        if kind in (EntryKind.BUY, EntryKind.DEPOSIT):
            self._added[symbol] = self._added.get(symbol, _ZERO) + value
        elif kind in (EntryKind.SELL, EntryKind.WITHDRAWAL, EntryKind.MERGER):
            self._removed[symbol] = self._removed.get(symbol, _ZERO) + value

    def _move(self, code: str, value: Decimal) -> None:
        self._moved[code] = self._moved.get(code, _ZERO) + value

    def _transferred(self, entry: Entry, row: int) -> Decimal | None:
        """Return the value of units that are moved in kind at the close, if they have a price."""
        if entry.kind not in FLOWS or entry.symbol is None:
            return None
        return self._worth(entry.symbol, entry.quantity, row)

    def _worth(self, symbol: str, units: Decimal, row: int) -> Decimal:
        """Return the value of units at a close in the base currency, rounded."""
        rate = float(self._prices.rates[row, self._prices.assets[symbol]])
        worth = units * self._price(symbol, row) * Decimal(repr(rate))
        return self._currency.round(worth)

    def _convert(self, amount: Decimal, code: str, row: int) -> Decimal:
        """Return an amount in the base currency at a rate of a row, rounded."""
        rate = Decimal(repr(self._rate(code, row))) if amount else _ZERO
        return self._currency.round(amount * rate)

    def _rate(self, code: str, row: int) -> float:
        """Return the units of the base currency per unit of a currency."""
        base, prices = self._currency.code, self._prices
        if code == base or code in prices.currencies:
            return prices.rate(None if code == base else code, row)
        if code not in self._other_rates:  # no cash of it was held, as after transfers in kind
            quotes = self._replay.filled.quotes
            dates = self._replay.dates
            found = None if quotes is None else quotes.exchange.convert(code, base, dates)
            if found is None or np.isnan(found.rates).all():
                raise missing_rate(code, base)
            self._other_rates[code] = found.rates
        known = self._other_rates[code]
        first = int(np.argmin(np.isnan(known)))
        return float(known[max(row, first)])

    def _price(self, symbol: str, row: int) -> Decimal:
        """Return the price as traded in the asset's own currency; 0 without one."""
        column = self._prices.assets[symbol]
        return Decimal(repr(float(self._prices.traded[row, column])))

    def _values(self, row: int) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """Return the values of assets and of cash at a close; nothing before the first one."""
        if row < 0:
            return {}, {}
        known = self._prices.assets
        assets = {
            symbol: self._worth(symbol, units, row)
            for symbol, units in self._held.items()
            if units and symbol in known
        }
        cash = {
            code: self._convert(amount, code, row) for code, amount in self._cash.items() if amount
        }
        return assets, cash

    def _state(
        self, span: Span, assets: Mapping[str, Decimal], cash: Mapping[str, Decimal]
    ) -> PeriodStatement:
        closing_assets, closing_cash = self._values(span.last)
        symbols = {*assets, *closing_assets, *self._added, *self._removed}
        symbols |= {symbol for symbol, units in self._held.items() if units}
        lines = tuple(
            HoldingLine(
                symbol=symbol,
                quantity=self._held.get(symbol, _ZERO),
                price=self._known_price(symbol, span.last),
                currency=self._quoted.get(symbol, self._currency.code),
                opening=assets.get(symbol, _ZERO),
                added=self._added.get(symbol, _ZERO),
                removed=self._removed.get(symbol, _ZERO),
                closing=closing_assets.get(symbol, _ZERO),
            )
            for symbol in sorted(symbols)
        )
        codes = sorted({*cash, *closing_cash, *self._moved} - {self._currency.code})
        money = tuple(
            CashLine(
                currency=code,
                amount=self._cash.get(code, _ZERO),
                opening=(opened := cash.get(code, _ZERO)),
                closing=(closed := closing_cash.get(code, _ZERO)),
                gain=closed - opened - self._moved.get(code, _ZERO),
            )
            for code in (self._currency.code, *codes)
        )
        totals = dict(self._totals)
        totals["exchange"] += sum((one.gain for one in money), _ZERO)
        dates = self._replay.dates
        return PeriodStatement(
            currency=self._currency,
            opened=None if span.first is None else dates[span.first].item(),
            closed=dates[span.last].item(),
            opening=sum([*assets.values(), *cash.values()], _ZERO),
            closing=sum([*closing_assets.values(), *closing_cash.values()], _ZERO),
            **totals,
            holdings=lines,
            cash=money,
            activities=tuple(sorted(self._activities, key=lambda one: one.on)),
            return_=None,
            unpriced=tuple(one.symbol for one in lines if one.quantity and one.price is None),
        )

    def _known_price(self, symbol: str, row: int) -> Decimal | None:
        if not self._held.get(symbol) or symbol not in self._prices.assets:
            return None
        return self._price(symbol, row) or None


def _check(found: PeriodStatement) -> None:
    """Check that a statement adds up; raise RuntimeError if it does not, which is a bug."""
    explained = found.flows + found.income - found.taxes - found.costs - found.fees
    explained += found.gains + found.exchange
    if found.opening + explained != found.closing:
        raise RuntimeError(
            f"the statement to {found.closed} does not add up: {found.opening} + {explained} is "
            f"not {found.closing}"
        )
