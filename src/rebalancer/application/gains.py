"""Measure the realised and unrealised gains of a portfolio, and its income."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, localcontext
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.corporate_actions import BookActions, BookedPortfolio
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.valuation import ValuedPortfolio, value_booked
from rebalancer.domain.market.currencies import NO_RATES
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quotes import NOTABLE_RATE_AGE
from rebalancer.domain.portfolio.lots.holdings import Selections
from rebalancer.domain.portfolio.lots.model import LotMethod
from rebalancer.domain.portfolio.lots.replay import trace_lots
from rebalancer.domain.portfolio.lots.unrealised import UnrealisedGain, unrealised_gains
from rebalancer.domain.portfolio.lots.years import RealisedGains, TaxYear, realised_gains
from rebalancer.domain.portfolio.mandate import ManagedPortfolio

_DIGITS = 60


@attrs.frozen
class GainsReport:
    """Gains and income of a portfolio, in its base currency.

    Attributes:
        year: The only tax year of `realised`; None: all.
        as_of: Day of the prices of `open_lots`.
        open_lots: Lots that are held, with their unrealised gains.
        notes: What is unknown and why, as sentences.
    """

    portfolio: ManagedPortfolio
    method: LotMethod
    year: TaxYear | None
    as_of: date
    realised: RealisedGains
    open_lots: tuple[UnrealisedGain, ...]
    notes: tuple[str, ...]


@attrs.frozen
class MeasureGains:
    """Measure a portfolio's gains and income from its ledger."""

    work: UnitOfWork
    prices: PriceSource
    book: BookActions

    def __call__(
        self,
        portfolio_id: UUID,
        *,
        actor: UUID,
        method: LotMethod | None = None,
        year: TaxYear | None = None,
        selections: Selections | None = None,
    ) -> GainsReport:
        """Return the gains by a method; None: the one that the portfolio prefers.

        Amounts of each day are converted at its exchange rate, and lots that are held are valued at
        the last close.

        Args:
            portfolio_id: Portfolio that the actor may read.
            actor: Account that asks.
            method: See `LotMethod`.
            year: The only tax year to report disposals and income of; None: all.
            selections: Lots to use by sale, for the method SPECIFIC alone.

        Raises:
            NotFound: the portfolio does not exist for this account.
            InvalidRequest: a selection names an unknown sale, or units that are not held.
        """
        market = self.prices.closes()
        with self.work.read() as tx:
            stored = tx.portfolios.get_for(portfolio_id, actor)
        booked = self.book(stored, market)
        with self.work.read() as tx:  # positions and entries of the same state
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
            ledger = tx.portfolios.ledger(portfolio_id)
            _ = ledger.entries  # which are read until the transaction ends
        base = portfolio.mandate.currency
        chosen = method or portfolio.mandate.preferences.lot_method
        rates = DayRates(market, base.code)
        history = trace_lots(ledger, chosen, base=base.code, rates=rates, selections=selections)
        valued = value_booked(BookedPortfolio(portfolio, booked.notes), market, self.work)
        return GainsReport(
            portfolio,
            chosen,
            year,
            market.last_date,
            realised_gains(history, base, year),
            unrealised_gains(history.lots, _unit_prices(valued), market.last_date, base),
            (*history.notes, *rates.notes(), *valued.notes),
        )


def _unit_prices(valued: ValuedPortfolio) -> dict[str, Decimal | None]:
    """Return the price of a unit of each holding in the base currency; None if it is unknown."""
    held = valued.portfolio.positions.holdings
    with localcontext(prec=_DIGITS):
        return {
            symbol: None if one.value is None else one.value / held[symbol]
            for symbol, one in valued.prices.items()
        }


@attrs.frozen
class DayRates:
    """Exchange rates of the market into one currency, by day.

    Attributes:
        found: Rate by currency and day; None without one.
        old: Days whose rate is of an earlier day, by currency, with that day.
    """

    market: PriceHistory
    base: str
    found: dict[tuple[str, date], Decimal | None] = attrs.field(factory=dict)
    old: dict[str, dict[date, date]] = attrs.field(factory=dict)

    def __call__(self, currency: str, on: date) -> Decimal | None:
        """Return the last rate at or before a day, however old; None before the first."""
        key = (currency, on)
        if key not in self.found:
            self.found[key] = self._find(currency, on)
        return self.found[key]

    def _find(self, currency: str, on: date) -> Decimal | None:
        quotes = self.market.quotes
        exchange = NO_RATES if quotes is None else quotes.exchange
        day = np.array([on], dtype="datetime64[D]")
        rates = exchange.convert(currency, self.base, day)
        if rates is None or np.isnan(rates.rates[0]):
            return None
        if np.busday_count(rates.days[0], day[0]) > NOTABLE_RATE_AGE:
            self.old.setdefault(currency, {})[on] = rates.days[0].item()
        return Decimal(repr(float(rates.rates[0])))

    def notes(self) -> tuple[str, ...]:
        """Return sentences about rates that are old."""
        said = []
        for currency, days in sorted(self.old.items()):
            on, known = max(days.items(), key=lambda pair: pair[0] - pair[1])
            more = len(days) - 1
            others = f"; older rates than usual count on {more} other days, too" if more else ""
            said.append(
                f"The exchange rate from {currency} to {self.base} that counts on {on} is of "
                f"{known}{others}."
            )
        return tuple(said)
