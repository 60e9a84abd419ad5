"""Value stored portfolios, also those with assets that have no current price."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import date
from decimal import Decimal, localcontext

import attrs
import numpy as np

from rebalancer.application.corporate_actions import BookedPortfolio, unbooked_notes
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.market.actions import ActionKind
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Finding, Rule
from rebalancer.domain.market.quotes import NOTABLE_RATE_AGE
from rebalancer.domain.portfolio.corporate_actions import due_actions
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.own_prices import adjustment_note, own_prices, select_assets

_DIGITS = 60

log = logging.getLogger("rebalancer.valuation")


@attrs.frozen
class HeldPrice:
    """Price of a holding.

    Attributes:
        price: Price of a share as traded, in ``currency``.
        on: Day of the price.
        stale: Whether it is older than the last close: the asset has no current price.
        currency: ISO 4217 code of the price.
        value: Value of the holding in the portfolio's base currency, not rounded; None without an
            exchange rate.
    """

    price: Decimal
    on: date
    stale: bool = False
    currency: str = ""
    value: Decimal | None = None


@attrs.frozen
class ValuedPortfolio:
    """Portfolio at the last close.

    Attributes:
        as_of: Day of the last close; None if the portfolio could not be valued.
        prices: Price of each holding; a holding without any known price is missing.
        notes: What a reader of the value must know, as sentences.
        foreign_values: Value in the base currency of the cash in other currencies, by ISO 4217
            code, not rounded; a currency without an exchange rate is missing.
    """

    portfolio: ManagedPortfolio
    as_of: date | None
    prices: Mapping[str, HeldPrice]
    notes: tuple[str, ...] = ()
    foreign_values: Mapping[str, Decimal] = attrs.field(factory=dict)

    @property
    def cash_by_currency(self) -> dict[str, Decimal]:
        """Cash by ISO 4217 code, the base currency first."""
        positions = self.portfolio.positions
        return {self.portfolio.mandate.currency.code: positions.cash, **positions.foreign_cash}

    @property
    def value(self) -> Decimal | None:
        """Cash and holdings in the base currency, rounded to the minor unit.

        None if a holding has no price, or a price or cash has no exchange rate.
        """
        positions = self.portfolio.positions
        if self.as_of is None:
            return None
        values = [
            self.prices[symbol].value if symbol in self.prices else None
            for symbol in positions.holdings
        ] + [self.foreign_values.get(currency) for currency in positions.foreign_cash]
        with localcontext(prec=_DIGITS):
            total = positions.cash
            for value in values:
                if value is None:
                    return None
                total += value
            return self.portfolio.mandate.currency.round(total)


def value_portfolio(
    portfolio: ManagedPortfolio, market: PriceHistory, work: UnitOfWork
) -> ValuedPortfolio:
    """Return a portfolio at the market's last close, in its base currency.

    An asset without a current price is valued at the later one of its last close and of its last
    price in the portfolio's ledger, which is read from ``work`` only then.
    """
    base = portfolio.mandate.currency.code
    market = market.in_currency(base)
    columns, withheld = market.columns, market.withheld
    held = portfolio.positions.holdings
    reasons = {
        symbol: _delisting(symbol, market) or withheld.get(symbol, "no price data")
        for symbol in held
        if symbol not in columns or symbol in withheld
    }
    exact = market.exact_closes()
    prices = {
        symbol: HeldPrice(exact[columns[symbol]], market.newest_close([symbol]))
        for symbol in held
        if symbol not in reasons
    }
    notes = []
    jumped = market.memo("possible splits", lambda: _possible_splits(market)).keys() & held.keys()
    if reasons or jumped:
        with work.read() as tx:
            ledger = tx.portfolios.ledger(portfolio.id)
            _ = ledger.entries  # which are read until the transaction ends
        own = own_prices(select_assets(market, [*held, *ledger.symbols]), ledger, base)
        notes += _split_notes(own, ledger, jumped)
        market = own if reasons else market
    for symbol, reason in reasons.items():
        last = market.last_known(symbol)
        if last is None:
            notes.append(f"{symbol} has no known price, so the portfolio has no value: {reason}.")
            continue
        day, price = last[0], Decimal(repr(last[1]))
        prices[symbol] = HeldPrice(price, day, stale=True)
        notes.append(f"{symbol} is valued at {price:f} of {day}, its last known price: {reason}.")
    rates = _Rates(market, base)
    for symbol, one in prices.items():
        currency = market.currency_of(symbol, base)
        worth = rates.convert(held[symbol] * one.price, currency)
        prices[symbol] = attrs.evolve(one, currency=currency, value=worth)
    foreign = {
        currency: worth
        for currency, money in portfolio.positions.foreign_cash.items()
        if (worth := rates.convert(money, currency)) is not None
    }
    notes += rates.notes()
    caution = adjustment_note(market, held.keys() - reasons.keys())
    if caution is not None:
        notes.append(caution)
    return ValuedPortfolio(portfolio, market.last_date, prices, tuple(notes), foreign)


def _possible_splits(market: PriceHistory) -> dict[str, list[Finding]]:
    """Return the jumps that may be splits that no action explains, by symbol."""
    found: dict[str, list[Finding]] = {}
    for one in market.findings:
        if one.rule is Rule.SPLIT_RATIO and one.until is None:
            found.setdefault(one.symbol, []).append(one)
    return found


def _split_notes(market: PriceHistory, ledger: Ledger, symbols: Collection[str]) -> list[str]:
    """Return the jumps of assets since they are held, which the ledger does not explain either."""
    since: dict[str, date] = {}
    for entry in ledger.effective:
        for symbol in (entry.symbol, entry.other):
            if symbol is not None and symbol in symbols:
                since[symbol] = min(entry.on, since.get(symbol, entry.on))
    found = _possible_splits(market)
    return [
        f"{one.text}; if it was a split, record it."
        for symbol in sorted(symbols)
        for one in found.get(symbol, ())
        if symbol in since and since[symbol] < one.day
    ]


def _delisting(symbol: str, market: PriceHistory) -> str | None:
    """Return that an asset is delisted, and since when; None if it is not."""
    for action in due_actions(market).by_symbol.get(symbol, ()):
        if action.kind is ActionKind.DELISTING:
            return f"it is delisted since {action.ex_day}"
    return None


@attrs.frozen
class _Rates:
    """Exchange rates into one currency at the last close.

    Attributes:
        found: Rate by currency and its day; None without a rate.
    """

    market: PriceHistory
    base: str
    found: dict[str, tuple[Decimal, date] | None] = attrs.field(factory=dict)

    def convert(self, amount: Decimal, currency: str) -> Decimal | None:
        """Return an amount in the base currency, not rounded; None without a rate."""
        if currency == self.base:
            return amount
        if currency not in self.found:
            self.found[currency] = self._find(currency)
        rate = self.found[currency]
        if rate is None:
            return None
        with localcontext(prec=_DIGITS):
            return amount * rate[0]

    def _find(self, currency: str) -> tuple[Decimal, date] | None:
        quotes = self.market.quotes
        last = self.market.dates[-1:]
        rates = None if quotes is None else quotes.exchange.convert(currency, self.base, last)
        if rates is None or np.isnan(rates.rates[0]):
            return None
        return Decimal(repr(float(rates.rates[0]))), rates.days[0].item()

    def notes(self) -> list[str]:
        """Return sentences about rates that are missing or old."""
        said = []
        for currency, rate in sorted(self.found.items()):
            if rate is None:
                said.append(
                    f"An exchange rate from {currency} to {self.base} is missing, so the portfolio "
                    "has no value."
                )
                continue
            last = self.market.last_date
            age = int(np.busday_count(np.datetime64(rate[1], "D"), np.datetime64(last, "D")))
            if age > NOTABLE_RATE_AGE:
                said.append(
                    f"The exchange rate from {currency} to {self.base} is of {rate[1]}, {age} "
                    "weekdays before the last close."
                )
        return said


def value_booked(
    booked: BookedPortfolio, market: PriceHistory, work: UnitOfWork
) -> ValuedPortfolio:
    """Return a portfolio whose corporate actions are booked, with the notes of booking."""
    valued = value_portfolio(booked.portfolio, market, work)
    return attrs.evolve(valued, notes=(*valued.notes, *booked.notes))


def value_committed(
    portfolio: ManagedPortfolio, market: Callable[[], PriceHistory], work: UnitOfWork
) -> ValuedPortfolio:
    """Return a portfolio that has just been stored, at the last close or without a value.

    It does not raise, because an error would mean that the change was rejected.
    """
    try:
        prices = market()
        notes = unbooked_notes(portfolio, prices, work, portfolio.changed)
        return value_booked(BookedPortfolio(portfolio, notes), prices, work)
    except Exception:
        log.exception("portfolio %s is stored, but cannot be valued", portfolio.id)
        note = "The portfolio is stored, but its value could not be computed; read it again later."
        return ValuedPortfolio(portfolio, None, {}, (note,))
