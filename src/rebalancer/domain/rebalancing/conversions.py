"""Convert money between the currencies of a portfolio, exactly, as its orders need.

Every balance is exact in its own currency: balance after = balance before + changes by orders
+ received - given. A conversion gives its spread in the currency that it converts from, or takes it
from what it receives in the base currency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext

import attrs

from rebalancer.domain.money import Currency, canonical_text

_ZERO = Decimal(0)

_RATE_DIGITS = 12
"""Significant digits of a rate that is shown."""


@attrs.frozen
class ConversionOrder:
    """Conversion of money that the orders of a proposal need.

    Attributes:
        from_currency: ISO 4217 code of the money that is given.
        to_currency: ISO 4217 code of the money that is received.
        from_amount: Money given, > 0, with the spread where that is paid on top.
        to_amount: Money received, > 0, without the spread where that is deducted.
        rate: Units of ``to_currency`` per unit of ``from_currency``, before the spread.
        cost: Spread, in the base currency of the portfolio.
        automatic: Whether the broker converts with the orders; else the owner has to.
    """

    from_currency: str
    to_currency: str
    from_amount: Decimal
    to_amount: Decimal
    rate: Decimal
    cost: Decimal
    automatic: bool = True


@attrs.frozen
class CashChange:
    """Change of cash by an order in a foreign currency.

    Attributes:
        currency: ISO 4217 code of the order's currency.
        amount: Money received (+) or paid (-) in that currency, costs included.
        value: The same in the base currency.
        spread: Cost of a conversion, as a share of the converted amount.
    """

    currency: str
    amount: Decimal
    value: Decimal
    spread: Decimal


@attrs.frozen
class ExactRates:
    """Exchange rates into the base currency of a portfolio at one close.

    Attributes:
        base: Base currency.
        rates: Units of the base currency per unit, by the ISO 4217 codes of other currencies.
        spread: Cost of a conversion, as a share of the converted amount.
    """

    base: Currency
    rates: Mapping[str, Decimal]
    spread: Decimal

    def worth(self, amount: Decimal, currency: str) -> Decimal:
        """Return the value of money in the base currency, rounded to its minor unit."""
        return self.base.round(amount * self.of(currency))

    def of(self, currency: str) -> Decimal:
        """Return units of the base currency per unit of a currency."""
        return Decimal(1) if currency == self.base.code else self.rates[currency]

    def between(self, source: str, target: str) -> Decimal:
        """Return units of a target currency per unit of a source, to twelve digits."""
        with localcontext(prec=_RATE_DIGITS, rounding=ROUND_HALF_EVEN):
            rate = self.of(source) / self.of(target)
        return Decimal(canonical_text(rate))


@attrs.frozen
class SettledCash:
    """Cash by currency after orders and conversions.

    Attributes:
        base: Cash in the base currency.
        foreign: Cash by the ISO 4217 codes of other currencies, without zeros, sorted.
        conversions: Conversions, one for each pair of currencies and direction.
        cost: Their cost in the base currency.
        total: Value of all cash in the base currency.
        uncovered: Debits in any currency that no cash was left to convert for, as a positive amount
            of the base currency.
    """

    base: Decimal
    foreign: Mapping[str, Decimal]
    conversions: tuple[ConversionOrder, ...]
    cost: Decimal
    total: Decimal
    uncovered: Decimal


def settle_cash(
    balances: Mapping[str, Decimal],
    changes: Sequence[CashChange],
    rates: ExactRates,
    *,
    automatic: bool,
) -> SettledCash:
    """Convert what orders need.

    Automatic: each purchase is paid with cash of its currency, and what is missing is converted
    from the base currency; the proceeds of each sale are converted to it. Otherwise proceeds stay
    in their currency, and only what is missing at the end is converted.

    In both cases a debit at the end, in the base currency first, is covered from the base currency,
    then from the currency with the largest cash.

    Args:
        balances: Cash by currency, with changes by orders in the base currency.
        changes: Changes by orders in other currencies.
        rates: Exchange rates of all these currencies.
        automatic: Whether the broker converts with each order.
    """
    account = _Account(balances, rates, automatic)
    for change in changes:
        account.book(change)
    account.cover_debits()
    return account.result()


class _Account:
    """Cash by currency while it is settled."""

    def __init__(self, balances: Mapping[str, Decimal], rates: ExactRates, automatic: bool) -> None:
        self._rates, self._automatic = rates, automatic
        self._base = rates.base.code
        self._units = {code: Currency(code).minor_unit for code in (self._base, *rates.rates)}
        self._cash = {self._base: _ZERO, **balances}
        self._lines: dict[tuple[str, str], tuple[Decimal, Decimal, Decimal]] = {}

    def book(self, change: CashChange) -> None:
        """Add the cash of an order, and convert it if the broker does."""
        code = change.currency
        held = self._cash.get(code, _ZERO)
        if not self._automatic:
            self._cash[code] = held + change.amount
        elif change.amount < 0:
            used = min(held, -change.amount)
            missing = -change.amount - used
            self._cash[code] = held - used
            if missing:
                exact = -change.value if not used else missing * self._rates.of(code)
                paid = max(self._round(exact, self._base), self._units[self._base])
                spread = self._round(paid * change.spread, self._base)
                self._convert(self._base, code, paid + spread, missing, spread)
                self._cash[code] -= missing
        else:
            spread = self._round(change.value * change.spread, self._base)
            self._cash[code] = held + change.amount
            if change.value > spread:
                self._convert(code, self._base, change.amount, change.value - spread, spread)

    def cover_debits(self) -> None:
        """Convert cash of other currencies for each currency with a debit."""
        codes = sorted(self._cash, key=lambda code: (code != self._base, code))
        for target in codes:
            if self._cash[target] < 0:
                for source in self._sources(target):
                    self._cover(source, target)
                    if self._cash[target] >= 0:
                        break

    def result(self) -> SettledCash:
        """Return the cash as settled."""
        rates, base = self._rates, self._cash[self._base]
        foreign = {code: self._cash[code] for code in sorted(self._cash) if code != self._base}
        foreign = {code: amount for code, amount in foreign.items() if amount}
        worth = {code: rates.worth(amount, code) for code, amount in foreign.items()}
        debits = [-amount for amount in (base, *worth.values()) if amount < 0]
        owed = any(amount < 0 for amount in foreign.values())
        uncovered = sum(debits, _ZERO)
        return SettledCash(
            base=base,
            foreign=foreign,
            conversions=tuple(
                ConversionOrder(
                    source,
                    target,
                    given,
                    received,
                    rates.between(source, target),
                    cost,
                    self._automatic,
                )
                for (source, target), (given, received, cost) in self._lines.items()
            ),
            cost=sum((cost for _, _, cost in self._lines.values()), _ZERO),
            total=sum(worth.values(), base),
            uncovered=max(uncovered, self._units[self._base]) if owed else uncovered,
        )

    def _sources(self, target: str) -> list[str]:
        """Return the currencies with cash: the base currency, then by value, the largest first."""
        rich = [code for code, amount in self._cash.items() if amount > 0 and code != target]
        return sorted(
            rich,
            key=lambda code: (
                code != self._base,
                -self._cash[code] * self._rates.of(code),
                code,
            ),
        )

    def _cover(self, source: str, target: str) -> None:
        """Convert from a currency what another one lacks, or all of its cash."""
        rates, spread = self._rates, self._rates.spread
        have, lack = self._cash[source], -self._cash[target]
        rate = rates.of(source) / rates.of(target)
        given = max(self._round(lack / rate, source), self._units[source])
        paid = self._round(given * spread, source)
        received = lack
        if given + paid > have:
            given = self._round(have / (1 + spread), source)
            paid = have - given
            received = min((given * rate).quantize(self._units[target], ROUND_DOWN), lack)
        if received > 0:
            cost = self._round(paid * rates.of(source), self._base)
            self._convert(source, target, given + paid, received, cost)

    def _convert(
        self, source: str, target: str, given: Decimal, received: Decimal, cost: Decimal
    ) -> None:
        self._cash[source] -= given
        self._cash[target] = self._cash.get(target, _ZERO) + received
        before = self._lines.get((source, target), (_ZERO, _ZERO, _ZERO))
        self._lines[source, target] = (
            before[0] + given,
            before[1] + received,
            before[2] + cost,
        )

    def _round(self, amount: Decimal, code: str) -> Decimal:
        return amount.quantize(self._units[code], ROUND_HALF_EVEN)
