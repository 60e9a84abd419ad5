"""Statements of a portfolio over a period, for people to print and file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from uuid import UUID

import attrs

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.backtest.period_statement import PeriodStatement, state_period
from rebalancer.domain.portfolio.mandate import ManagedPortfolio


@attrs.frozen
class PortfolioStatement:
    """The statement of a portfolio.

    Attributes:
        since: First day of the period.
        until: Last day of the period.
        names: Name of each asset that has one, by symbol.
        at: Time at which it was made.
        notes: What a reader should know, as sentences.
    """

    portfolio: ManagedPortfolio
    statement: PeriodStatement
    since: date
    until: date
    names: Mapping[str, str]
    at: datetime
    notes: tuple[str, ...] = ()


@attrs.frozen
class StatePortfolio:
    """Make the statement of a portfolio over a period."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    book: BookActions

    def __call__(
        self,
        portfolio_id: UUID,
        *,
        actor: UUID,
        since: date | None = None,
        until: date | None = None,
        now: datetime,
    ) -> PortfolioStatement:
        """Return the statement.

        Without ``until`` the period ends at the last close, and without ``since`` it begins with
        the year in which it ends.

        Raises:
            InvalidRequest: the ledger is empty, or the period has no close.
        """
        market = self.prices.closes()
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
        booked = self.book(portfolio, market)
        with self.work.read() as tx:
            ledger = tx.portfolios.ledger(portfolio_id)
            _ = ledger.entries  # which are read until the transaction ends
        last = until or market.last_date
        first = since or date(last.year, 1, 1)
        found = state_period(
            ledger,
            market,
            since=first,
            until=last,
            currency=booked.portfolio.mandate.currency,
        )
        listed = self.instruments.instruments()
        symbols = {one.symbol for one in found.holdings}
        return PortfolioStatement(
            portfolio=booked.portfolio,
            statement=found,
            since=first,
            until=last,
            names={symbol: name for symbol in symbols if (name := listed[symbol].name)},
            at=now,
            notes=(*(_no_price(symbol) for symbol in found.unpriced), *booked.notes),
        )


def _no_price(symbol: str) -> str:
    return f"{symbol} has no known price and counts as 0."
