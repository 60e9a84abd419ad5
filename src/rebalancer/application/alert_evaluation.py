"""Evaluate alerts after new closes, after changes of ledgers, and as time passes.

Portfolios are evaluated in chunks. Each is leased, so that two workers never evaluate the same one.
The state, the episodes and the notices of a portfolio are stored in one transaction: a worker that
dies before it has changed nothing, and another one takes over when the lease ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import numpy as np

from rebalancer.application.alerts import own_band
from rebalancer.application.automatic_proposals import LeaseLost, RunAutomation, market_of
from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.histories import ReadHistories
from rebalancer.application.metrics import ALERTS
from rebalancer.application.notices import raise_notice
from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.application.ports.market import Calendars, InstrumentSource, PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.ports.telemetry import Metrics
from rebalancer.application.quotes import ReadQuotes
from rebalancer.application.rebalance import newest_close
from rebalancer.application.synchronize import DELAY
from rebalancer.application.telemetry import NO_METRICS
from rebalancer.application.watched_books import (
    QuoteState,
    Watched,
    quote_book,
    watch_book,
)
from rebalancer.domain.alerts.automation import scheduled_session
from rebalancer.domain.alerts.evaluation import (
    AlertState,
    Evaluated,
    Observation,
    evaluate_alerts,
)
from rebalancer.domain.alerts.measures import Measures, Peak, measure
from rebalancer.domain.alerts.record import AlertRecord, AutomationProgress, Trigger
from rebalancer.domain.alerts.settings import OF_MARKET, OF_PROPOSALS, AlertKind
from rebalancer.domain.alerts.watches import Episode
from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.market.live_quotes import DEFAULT_LIMITS, QuoteLimits
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin, ProposalRecord

log = logging.getLogger("rebalancer.alerts")

CHECK = timedelta(minutes=15)
"""Time after which a portfolio is evaluated again though nothing changed: hours and days pass."""

SETTLED = timedelta(minutes=2)
"""Time after an evaluation until other prices of the same day count."""

LEASE = timedelta(minutes=10)
"""Time after which another worker takes over."""

CHUNK = 200
"""Portfolios that are leased and evaluated together."""


@attrs.frozen
class EvaluationReport:
    """What an evaluation did.

    Attributes:
        portfolios: How many were evaluated.
        alerts: How many alerts began.
        proposals: How many portfolios had an automatic proposal due.
    """

    portfolios: int = 0
    alerts: int = 0
    proposals: int = 0

    def plus(self, other: EvaluationReport) -> EvaluationReport:
        """Return the sum of two reports."""
        return EvaluationReport(
            self.portfolios + other.portfolios,
            self.alerts + other.alerts,
            self.proposals + other.proposals,
        )


@attrs.frozen
class _Due:
    """A leased record with what was found of its portfolio."""

    record: AlertRecord
    portfolio: ManagedPortfolio
    proposals: Sequence[ProposalRecord]


@attrs.frozen
class EvaluateAlerts:
    """Evaluate the alerts of all portfolios that are due, and run their automation."""

    work: UnitOfWork
    prices: PriceSource
    calendars: Calendars
    book: BookActions
    histories: ReadHistories
    automate: RunAutomation
    quotes: ReadQuotes
    clock: Clock
    ids: Ids
    instruments: InstrumentSource
    limits: QuoteLimits = DEFAULT_LIMITS
    metrics: Metrics = NO_METRICS

    def __call__(
        self,
        *,
        portfolio: UUID | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> EvaluationReport:
        """Evaluate what is due.

        Args:
            portfolio: The only portfolio to evaluate, also if it is not due; None: all.
            should_stop: Asked after each chunk; when true, the rest is left for the next run.

        Raises:
            Unavailable: a store or the prices cannot be reached.
        """
        report, worker = EvaluationReport(), self.ids()
        market: PriceHistory | None = None
        while not should_stop():
            if market is None:
                with self.work.read() as tx:
                    if not tx.alerts.any():
                        return report
            market = self.prices.closes()
            now = self.clock()
            with self.work.begin() as tx:
                leased = tx.alerts.claim(
                    now,
                    worker=worker,
                    until=now + LEASE,
                    market=_version(market),
                    settled=now + CHECK - SETTLED,
                    limit=CHUNK,
                    portfolio=portfolio,
                )
            if not leased:
                break
            report = report.plus(self._evaluate(leased, market, worker, now))
            if portfolio is not None:
                break
        return report

    def _evaluate(
        self, leased: Sequence[AlertRecord], market: PriceHistory, worker: UUID, now: datetime
    ) -> EvaluationReport:
        due = self._read(leased, market, now)
        found = self._observe(due, market, now)
        stored = self._store(found, worker)
        proposals = 0
        for one in stored:
            for began in one.evaluated.began:
                self.metrics.add(ALERTS, began.kind.value)
            if one.record.progress.is_open:
                proposals += 1
                self._automate(one.record, worker)
        alerts = sum(len(one.evaluated.began) for one in stored)
        return EvaluationReport(len(stored), alerts, proposals)

    def _automate(self, record: AlertRecord, worker: UUID) -> None:
        """Run the automation of a portfolio; what fails is continued when its lease ends."""
        try:
            self.automate(record, worker=worker)
        except LeaseLost as error:
            log.warning("%s", error)
        except RebalancerError as error:
            log.warning("automation of portfolio %s waits: %s", record.portfolio, error)

    def _read(
        self, leased: Sequence[AlertRecord], market: PriceHistory, now: datetime
    ) -> list[_Due]:
        ids = [one.portfolio for one in leased]
        with self.work.read() as tx:
            portfolios = tx.portfolios.get_many(ids)
            waiting = tx.proposals.waiting(ids, now)
        booked = {
            one.portfolio.id: one.portfolio
            for one in self.book.many(list(portfolios.values()), market)
        }
        return [
            _Due(one, booked[one.portfolio], waiting.get(one.portfolio, ()))
            for one in leased
            if one.portfolio in booked
        ]

    def _observe(self, due: Sequence[_Due], market: PriceHistory, now: datetime) -> list[_Found]:
        """Evaluate the alerts of leased portfolios at the last closes, or at quotes.

        Without a quote, a portfolio that is evaluated at quotes waits for new closes: at earlier
        ones its alerts would end, and begin again with the next quote.
        """
        states = self._advance(due, market, now)
        watched = watch_book(
            [one.portfolio for one in due],
            states,
            market,
            self.work,
            self.instruments.instruments(),
        )
        live = [
            set(one.portfolio.positions.holdings) if one.record.settings.live else None
            for one in due
        ]
        quoted = quote_book(watched, live, market, self.quotes, now, self.limits)
        measures = measure(quoted.book, quoted.prices)
        ages = _Ages(self.calendars, market, now)
        observations = []
        for row, (one, state, symbols) in enumerate(zip(due, states, watched.symbols, strict=True)):
            settings = one.record.settings
            held = one.portfolio.positions.holdings
            at_quotes = quoted.states[row]
            unchanged = (
                one.record.version == one.portfolio.version
                and one.record.market == _version(market)
            )
            waits = at_quotes is QuoteState.DOUBTFUL or (
                settings.live and at_quotes is QuoteState.CLOSES and unchanged
            )
            stale = settings.prices_stale is not None
            observations.append(
                Observation(
                    one.portfolio.id,
                    settings,
                    state,
                    own_band(one.portfolio.mandate),
                    symbols,
                    {symbol: ages.missed(symbol) for symbol in held} if stale else {},
                    {
                        each.id: (each.proposed, each.expires)
                        for each in one.proposals
                        if not _is_stale(each, one.portfolio, market)
                    },
                    kinds=_TIMED if waits else _ALL,
                )
            )
        evaluated = evaluate_alerts(observations, measures, now)
        return [
            self._finish(one, result, row, watched, measures, market, now)
            for row, (one, result) in enumerate(zip(due, evaluated, strict=True))
        ]

    def _advance(
        self, due: Sequence[_Due], market: PriceHistory, now: datetime
    ) -> list[AlertState]:
        """Return the states with the present peaks and deposits."""
        measured = [one.portfolio for one in due if one.record.settings.drawdown is not None]
        histories = self.histories(measured, market) if measured else {}
        states = []
        for one in due:
            uninvested = one.portfolio.positions.uninvested > 0
            state = one.record.state.note_deposit(uninvested, now)
            history = histories.get(one.portfolio.id)
            if one.record.settings.drawdown is None:
                state = attrs.evolve(state, peak=None)
            elif history is not None:
                known = state.peak
                peak = Peak.begin(history) if known is None else known.advance(history)
                state = attrs.evolve(state, peak=peak)
            states.append(state)
        return states

    def _finish(
        self,
        due: _Due,
        evaluated: Evaluated,
        row: int,
        watched: Watched,
        measures: Measures,
        market: PriceHistory,
        now: datetime,
    ) -> _Found:
        """Return the record to store after an evaluation, and its notices."""
        portfolio, before = due.portfolio, due.record
        progress = self._progress(due, evaluated, market)
        record = attrs.evolve(
            before,
            state=evaluated.state,
            progress=progress,
            due=now + CHECK,
            version=portfolio.version,
            market=_version(market),
        )
        facts = _Facts(due, evaluated, row, watched, measures, market)
        notices = tuple(facts.notice(one) for one in evaluated.began)
        return _Found(record, evaluated, notices, now)

    def _progress(
        self, due: _Due, evaluated: Evaluated, market: PriceHistory
    ) -> AutomationProgress:
        """Return the progress of automation with the proposal that is due now, if one is."""
        automation, progress = due.record.automation, due.record.progress
        portfolio = due.portfolio
        converted = market.in_currency(portfolio.mandate.currency.code)
        trigger: Trigger | None = None
        if automation.frequency is None:
            progress = attrs.evolve(progress, scheduled=None)
        else:
            symbols = [*portfolio.mandate.targets, *portfolio.positions.holdings]
            day = converted.newest_close(symbols)
            code = market_of(portfolio, market)
            sessions = None if code is None else self.calendars.sessions([code]).get(code)
            session = scheduled_session(automation.frequency, day, sessions)
            last = progress.scheduled
            if last is None:  # it begins with the next period
                progress = attrs.evolve(progress, scheduled=session or day)
            elif session is not None and session > last:
                progress = attrs.evolve(progress, scheduled=session)
                trigger = Trigger(ProposalOrigin.SCHEDULE, session.isoformat())
        alerts = [one for one in evaluated.began if one.kind not in _WITHOUT_PROPOSAL]
        if trigger is None and automation.on_alert and alerts:
            trigger = Trigger(ProposalOrigin.ALERT, alerts[0].key)
        if trigger is None or progress.is_open:
            return progress
        last_one = progress.last_proposal
        if any(
            one.id == last_one and not _is_stale(one, portfolio, market) for one in due.proposals
        ):
            return progress  # the proposal that waits is the same
        return attrs.evolve(progress, pending=trigger)

    def _store(self, found: Sequence[_Found], worker: UUID) -> list[_Found]:
        """Store results in one transaction; return those whose lease was not lost.

        If that fails, each is stored alone, so that one portfolio does not affect the others.
        """
        try:
            with self.work.begin() as tx:
                return [one for one in found if one.store(tx, worker)]
        except Unavailable:
            raise
        except RebalancerError as error:
            if len(found) > 1:
                return [each for one in found for each in self._store([one], worker)]
            for one in found:
                log.warning("alerts of %s cannot be stored: %s", one.record.portfolio, error)
            return []


_ALL = frozenset(AlertKind)
_TIMED = _ALL - OF_MARKET

_WITHOUT_PROPOSAL = OF_PROPOSALS | {AlertKind.PRICES_STALE}
"""Kinds of alerts that a proposal does not answer."""


@attrs.frozen
class _Found:
    """What is stored of a portfolio after its evaluation."""

    record: AlertRecord
    evaluated: Evaluated
    notices: tuple[Notice, ...]
    now: datetime

    def store(self, tx: Transaction, worker: UUID) -> bool:
        """Store it unless the lease was lost; return whether it was stored."""
        record = self.record
        if not tx.alerts.finish(record, worker=worker, release=not record.progress.is_open):
            log.warning("portfolio %s is evaluated by another worker by now", record.portfolio)
            return False
        tx.alerts.begin_episodes(record.owner, self.evaluated.began)
        for kind, subject, number in self.evaluated.ended:
            tx.alerts.end_episode(record.portfolio, kind, subject, number, self.now)
            key = Episode(record.portfolio, kind, subject, number, self.now, 0.0, 0.0).key
            tx.notices.resolve(record.owner, key, self.now)
        for notice in self.notices:
            raise_notice(tx, notice)
        return True


def _version(market: PriceHistory) -> str:
    """Return the version of prices, see `Alerts.claim`."""
    return f"{market.last_date} {market.digest}"


def _is_stale(proposal: ProposalRecord, portfolio: ManagedPortfolio, market: PriceHistory) -> bool:
    newest = newest_close(proposal, market)
    return proposal.staleness(version=portfolio.version, newest=newest) is not None


@attrs.define
class _Ages:
    """How many sessions assets have missed by now."""

    calendars: Calendars
    market: PriceHistory
    now: datetime
    _found: dict[str, int | None] = attrs.field(factory=dict, init=False)

    def missed(self, symbol: str) -> int | None:
        """Return the sessions of an asset's market since its last close whose close is expected.

        Weekdays where the sessions are not known; None without any close.
        """
        if symbol not in self._found:
            self._found[symbol] = self._count(symbol)
        return self._found[symbol]

    def _count(self, symbol: str) -> int | None:
        last = self.last(symbol)
        if last is None:
            return None
        code = None
        if self.market.quotes is not None:
            code = self.market.quotes.markets[self.market.columns[symbol]]
        ends = None if code is None else self.calendars.closing_times(code)
        if code is None or ends is None:
            today = np.datetime64(self.now.astimezone(UTC).date(), "D")
            return max(0, int(np.busday_count(last + np.timedelta64(1, "D"), today)))
        moment = np.datetime64(int((self.now - DELAY).timestamp()), "s")
        days = self.calendars.sessions([code])[code]
        ended = int(np.searchsorted(ends, moment, side="right"))
        return max(0, ended - int(np.searchsorted(days, last, side="right")))

    def last(self, symbol: str) -> np.datetime64 | None:
        """Return the day of an asset's last close; None without any."""
        if symbol not in self.market.columns:
            return None
        known = self.market.last_known(symbol)
        return None if known is None else np.datetime64(known[0], "D")


@attrs.frozen
class _Facts:
    """Facts that notices about one portfolio state."""

    due: _Due
    evaluated: Evaluated
    row: int
    watched: Watched
    measures: Measures
    market: PriceHistory

    def notice(self, episode: Episode) -> Notice:
        """Return the notice of an alert."""
        kind, facts, page = self._describe(episode)
        portfolio = self.due.portfolio
        return Notice.new(
            kind,
            owner=portfolio.owner,
            portfolio=portfolio.id,
            key=episode.key,
            now=episode.began,
            link=f"/portfolios/{portfolio.id}{page}",
            portfolio_name=portfolio.mandate.name,
            **facts,
        )

    def _describe(self, episode: Episode) -> tuple[NoticeKind, Mapping[str, Any], str]:
        portfolio, kind = self.due.portfolio, episode.kind
        value, limit = _fraction(episode.value), _fraction(episode.limit)
        currency = portfolio.mandate.currency
        if kind is AlertKind.BAND:
            slot = self.watched.symbols[self.row].index(episode.subject)
            weight = float(self.measures.weights[self.row, slot])
            target = float(self.watched.book.targets[self.row, slot])
            facts: Mapping[str, Any] = {
                "symbol": episode.subject,
                "weight": _fraction(weight),
                "target": _fraction(target),
                "band": limit,
            }
            return NoticeKind.POSITION_OUTSIDE_BAND, facts, "/rebalance"
        if kind is AlertKind.DRIFT:
            return NoticeKind.DRIFT, {"drift": value, "limit": limit}, "/rebalance"
        if kind is AlertKind.DRAWDOWN:
            return NoticeKind.DRAWDOWN, {"drawdown": value, "limit": limit}, ""
        if kind in (AlertKind.CASH_ABOVE, AlertKind.CASH_BELOW):
            cash = currency.round(Decimal(repr(float(self.watched.book.cash[self.row]))))
            facts = {"amount": cash, "currency": currency, "share": value, "limit": limit}
            return NoticeKind.CASH, facts, "/rebalance"
        if kind is AlertKind.DEPOSIT_UNINVESTED:
            seen = self.evaluated.state.deposit_seen
            assert seen is not None  # its age is the value
            amount = portfolio.positions.uninvested
            facts = {"amount": amount, "currency": currency, "since": seen.date()}
            return NoticeKind.DEPOSIT_UNINVESTED, facts, "/rebalance"
        if kind is AlertKind.PRICES_STALE:
            known = self.market.last_known(episode.subject)
            assert known is not None  # its age is the value
            return NoticeKind.PRICES_STALE, {"symbol": episode.subject, "last": known[0]}, ""
        proposal = next(one for one in self.due.proposals if str(one.id) == episode.subject)
        facts = {"orders": len(proposal.proposal.orders)}
        page = f"/proposals/{proposal.id}"
        if kind is AlertKind.PROPOSAL_WAITS:
            facts |= {"proposed": proposal.proposed.date()}
            return NoticeKind.PROPOSAL_WAITING, facts, page
        facts |= {"expires": proposal.expires}
        return NoticeKind.PROPOSAL_EXPIRING, facts, page


def _fraction(value: float) -> Decimal:
    return Decimal(f"{value:.6f}")
