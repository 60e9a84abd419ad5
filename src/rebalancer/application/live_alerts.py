"""Evaluate alerts at quotes, for portfolios whose owners have chosen it.

Each tick is evaluated in memory. A portfolio of which an alert would begin or end is then leased
and evaluated like every other one, so that several processes may do this at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from rebalancer.application.alert_evaluation import EvaluateAlerts, EvaluationReport
from rebalancer.application.alerts import own_band
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.quotes import ReadQuotes
from rebalancer.application.watched_books import QuoteState, Watched, quote_book, watch_book
from rebalancer.domain.alerts.evaluation import Observation, evaluate_alerts
from rebalancer.domain.alerts.measures import measure
from rebalancer.domain.alerts.record import AlertRecord
from rebalancer.domain.alerts.settings import OF_MARKET
from rebalancer.domain.market.live_quotes import DEFAULT_LIMITS, QuoteLimits
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.mandate import ManagedPortfolio

REFRESH = timedelta(minutes=1)
"""Time after which portfolios and settings are read again; alerts read them before they begin."""


@attrs.frozen(eq=False)
class _Known:
    """What is evaluated at each tick."""

    records: tuple[AlertRecord, ...]
    portfolios: tuple[ManagedPortfolio, ...]
    watched: Watched
    market: PriceHistory


@attrs.define
class WatchQuotes:
    """Evaluate the alerts of portfolios that are watched at quotes; one thread calls it."""

    work: UnitOfWork
    prices: PriceSource
    quotes: ReadQuotes
    evaluate: EvaluateAlerts
    clock: Clock
    limits: QuoteLimits = DEFAULT_LIMITS
    _known: _Known | None = attrs.field(default=None, init=False, repr=False)
    _checked: datetime | None = attrs.field(default=None, init=False, repr=False)

    def __call__(self, *, should_stop: Callable[[], bool] = lambda: False) -> EvaluationReport:
        """Evaluate one tick.

        Args:
            should_stop: Asked before each portfolio that is stored.

        Raises:
            Unavailable: a store or the prices cannot be reached.
        """
        now = self.clock()
        known = self._read(now)
        report = EvaluationReport()
        if known is None:
            return report
        live = [set(one.positions.holdings) for one in known.portfolios]
        quoted = quote_book(known.watched, live, known.market, self.quotes, now, self.limits)
        observations = [
            Observation(
                record.portfolio,
                record.settings,
                record.state,
                own_band(portfolio.mandate),
                symbols,
                kinds=OF_MARKET if state is QuoteState.QUOTES else frozenset(),
            )
            for record, portfolio, symbols, state in zip(
                known.records,
                known.portfolios,
                known.watched.symbols,
                quoted.states,
                strict=True,
            )
        ]
        measures = measure(quoted.book, quoted.prices)
        changed = [
            record.portfolio
            for record, one in zip(
                known.records, evaluate_alerts(observations, measures, now), strict=True
            )
            if one.began or one.ended
        ]
        for portfolio in changed:
            if should_stop():
                break
            report = report.plus(self.evaluate(portfolio=portfolio))
        if changed:
            self._checked = None
        return report

    def _read(self, now: datetime) -> _Known | None:
        """Return the portfolios, read at most a minute ago; None without any.

        Prices are read only if there is one.
        """
        known = self._known
        is_recent = self._checked is not None and now - self._checked < REFRESH
        if is_recent and known is None:
            return None
        if is_recent and known is not None and known.market is self.prices.closes():
            return known
        self._checked = now
        with self.work.read() as tx:
            live = tx.alerts.live()
            found = tx.portfolios.get_many([one.portfolio for one in live])
        records = tuple(one for one in live if one.portfolio in found)
        if not records:
            self._known = None
            return None
        market = self.prices.closes()
        portfolios = tuple(found[one.portfolio] for one in records)
        states = [one.state for one in records]
        instruments = self.evaluate.instruments.instruments()
        watched = watch_book(portfolios, states, market, self.work, instruments)
        self._known = _Known(records, portfolios, watched, market)
        return self._known
