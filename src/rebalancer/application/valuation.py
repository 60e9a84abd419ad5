"""Value stored portfolios, also those with assets that have no current price."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, localcontext

import attrs

from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger_prices import fill_from_ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio

_ZERO = Decimal(0)

log = logging.getLogger("rebalancer.valuation")


@attrs.frozen
class HeldPrice:
    """Price of a holding.

    Attributes:
        price: Price per unit.
        on: Day of the price.
        stale: Whether it is older than the last close: the asset has no current price.
    """

    price: Decimal
    on: date
    stale: bool = False


@attrs.frozen
class ValuedPortfolio:
    """Portfolio at the last close.

    Attributes:
        as_of: Day of the last close; None if the portfolio could not be valued.
        prices: Price of each holding; a holding without any known price is missing.
        notes: What a reader of the value must know, as sentences.
    """

    portfolio: ManagedPortfolio
    as_of: date | None
    prices: Mapping[str, HeldPrice]
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> Decimal | None:
        """Cash and holdings, rounded to the minor unit; None if a holding has no price."""
        positions = self.portfolio.positions
        if self.as_of is None or any(symbol not in self.prices for symbol in positions.holdings):
            return None
        with localcontext(prec=60):
            held = sum(
                (units * self.prices[symbol].price for symbol, units in positions.holdings.items()),
                _ZERO,
            )
            return self.portfolio.mandate.currency.round(positions.cash + held)


def value_portfolio(
    portfolio: ManagedPortfolio, market: PriceHistory, work: UnitOfWork
) -> ValuedPortfolio:
    """Return a portfolio at the market's last close.

    An asset without a current price is valued at the later one of its last close and of its last
    price in the portfolio's ledger, which is read from ``work`` only then.
    """
    columns, withheld = market.columns, market.withheld
    held = portfolio.positions.holdings
    reasons = {
        symbol: withheld.get(symbol, "no price data")
        for symbol in held
        if symbol not in columns or symbol in withheld
    }
    exact = market.exact_closes()
    prices = {
        symbol: HeldPrice(exact[columns[symbol]], market.last_date)
        for symbol in held
        if symbol not in reasons
    }
    notes = []
    if reasons:
        with work.read() as tx:
            market = fill_from_ledger(market, tx.portfolios.ledger(portfolio.id))
    for symbol, reason in reasons.items():
        last = market.last_known(symbol)
        if last is None:
            notes.append(f"{symbol} has no known price, so the portfolio has no value: {reason}.")
            continue
        day, price = last[0], Decimal(repr(last[1]))
        prices[symbol] = HeldPrice(price, day, stale=True)
        notes.append(f"{symbol} is valued at {price:f} of {day}, its last known price: {reason}.")
    return ValuedPortfolio(portfolio, market.last_date, prices, tuple(notes))


def value_committed(
    portfolio: ManagedPortfolio, market: Callable[[], PriceHistory], work: UnitOfWork
) -> ValuedPortfolio:
    """Return a portfolio that has just been stored, at the last close or without a value.

    It does not raise, because an error would mean that the change was rejected.
    """
    try:
        return value_portfolio(portfolio, market(), work)
    except Exception:
        log.exception("portfolio %s is stored, but cannot be valued", portfolio.id)
        note = "The portfolio is stored, but its value could not be computed; read it again later."
        return ValuedPortfolio(portfolio, None, {}, (note,))
