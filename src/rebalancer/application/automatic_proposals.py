"""Automatic proposals, and their acceptance on paper within the owner's limits.

Each step is one transaction, which also stores how far the automation of the portfolio is. So a
worker that takes over from a dead one repeats nothing and leaves nothing out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs

from rebalancer.application.alerts import DEFAULT_POLICY
from rebalancer.application.audit import record as record_event
from rebalancer.application.decisions import AcceptProposal, Mode
from rebalancer.application.live_prices import NoQuotes
from rebalancer.application.notices import raise_notice
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.market import Calendars, PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.rebalance import (
    ProposalRequest,
    ProposalResult,
    ProposeForPortfolio,
)
from rebalancer.domain.alerts.automation import AutoAcceptRefused, DaySpending
from rebalancer.domain.alerts.record import AlertRecord, AutomationProgress, AutomationStop, Trigger
from rebalancer.domain.audit.events import Action, Outcome
from rebalancer.domain.errors import Conflict, RebalancerError, Unavailable
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.notices.kinds import NoticeKind
from rebalancer.domain.notices.notice import Notice
from rebalancer.domain.portfolio.costs import cost_model
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.rebalancing.lifecycle import ProposalOrigin, ProposalRecord, Stage

log = logging.getLogger("rebalancer.alerts")

_ZERO = Decimal(0)
_STOPPED = "automation_stopped"


class LeaseLost(Conflict):
    """Another worker evaluates the portfolio by now."""

    default_code = "lease_lost"


def market_of(portfolio: ManagedPortfolio, market: PriceHistory) -> str | None:
    """Return the code of the market on which most of a portfolio's assets trade.

    None if no market is stated; the first code of several.
    """
    if market.quotes is None:
        return None
    symbols = {*portfolio.positions.holdings, *portfolio.mandate.targets}
    codes = (
        market.quotes.markets[market.columns[symbol]]
        for symbol in symbols
        if symbol in market.columns
    )
    counts = Counter(code for code in codes if code is not None)
    return min(counts, key=lambda code: (-counts[code], code), default=None)


@attrs.frozen
class RunAutomation:
    """Make the automatic proposal that is due for a portfolio, and accept it if it may be."""

    work: UnitOfWork
    prices: PriceSource
    calendars: Calendars
    propose: ProposeForPortfolio
    accept: AcceptProposal
    clock: Clock

    def __call__(self, record: AlertRecord, *, worker: UUID) -> AutomationProgress:
        """Return how far the automation is afterwards; the lease of the worker ends.

        Raises:
            LeaseLost: another worker evaluates the portfolio by now; nothing is stored.
            Unavailable: a store or the prices cannot be reached; the worker that is next continues.
        """
        progress = record.progress
        if progress.pending is not None:
            progress = self._propose(record, progress.pending, worker)
        if progress.accepting is not None:
            progress = self._accept(record, progress, progress.accepting, worker)
        return progress

    def _propose(self, record: AlertRecord, trigger: Trigger, worker: UUID) -> AutomationProgress:
        """Make and store a proposal."""
        now = self.clock()
        with self.work.read() as tx:
            stop = tx.automation.stop_for(record.owner)
        if stop is not None:
            return self._refuse(record, worker, _stopped(stop), f"proposal {trigger.cause}", now)
        if not record.automation.proposes:
            return self._close(record, worker, "switched_off", now)
        id = trigger.proposal_id(record.portfolio)
        request = ProposalRequest(
            record.portfolio,
            record.owner,
            record.automation.policy or DEFAULT_POLICY,
            cost_model(None, None, None),
            origin=trigger.origin,
            # At the closes of the day before, there may be nothing to trade.
            at_quotes=trigger.origin is ProposalOrigin.ALERT and record.settings.live,
            id=id,
            now=now,
        )
        (answer,) = self.propose.compute([request])
        if isinstance(answer, NoQuotes):
            (answer,) = self.propose.compute([attrs.evolve(request, at_quotes=False)])
        if isinstance(answer, ProposalResult) and answer.current.stage is Stage.NOTHING_TO_DO:
            return self._close(record, worker, "nothing_to_do", now)
        accepts = record.automation.auto_accept is not None
        progress = attrs.evolve(
            record.progress,
            pending=None,
            accepting=id if accepts else None,
            last_proposal=id,
            last_run=now,
            outcome="proposed",
        )

        def also(tx: Transaction) -> None:
            assert isinstance(answer, ProposalResult)  # it is stored
            self._save(tx, record, progress, worker, release=not accepts)
            _supersede(tx, record, now, by=id)
            made = answer.current.record
            event = Action.AUTOMATIC_PROPOSAL
            origin = {"portfolio": str(record.portfolio), "origin": trigger.origin.value}
            _audit(tx, event, record, now, target=f"proposal:{id}", details=origin)
            _notify(
                tx,
                NoticeKind.PROPOSAL_MADE,
                record,
                key=f"proposal:{id}:made",
                now=now,
                link=f"/portfolios/{record.portfolio}/proposals/{id}",
                orders=len(made.proposal.orders),
                turnover=Decimal(f"{made.proposal.turnover:.6f}"),
            )

        try:
            if isinstance(answer, RebalancerError):
                raise answer
            self.propose.store([answer], also)
        except (Unavailable, LeaseLost):
            raise
        except RebalancerError as error:
            return self._refuse(record, worker, error, f"proposal {trigger.cause}", now)
        return progress

    def _accept(
        self, record: AlertRecord, progress: AutomationProgress, id: UUID, worker: UUID
    ) -> AutomationProgress:
        """Accept a proposal on paper if it is within the limits of the day."""
        now = self.clock()
        latest = self.prices.closes()
        done = attrs.evolve(progress, accepting=None, last_run=now, outcome="accepted")

        def guard(tx: Transaction, proposal: ProposalRecord) -> Mapping[str, str]:
            stop = tx.automation.stop_for(record.owner)
            if stop is not None:
                raise _stopped(stop)
            stored = tx.alerts.find(record.portfolio)
            limits = None if stored is None else stored.automation.auto_accept
            if limits is None:
                raise AutoAcceptRefused(
                    "automatic acceptance is switched off", code="auto_accept_off"
                )
            if not self.accept.broker.is_simulated:
                raise AutoAcceptRefused(
                    "only the paper broker executes automatically; accept it yourself",
                    code="auto_accept_not_paper",
                )
            portfolio = tx.portfolios.get(record.portfolio)
            day = self._day(portfolio, latest, now)
            spending = DaySpending.of(proposal.proposal)
            spent = tx.automation.spent(record.portfolio, day)
            DaySpending.total([*spent, spending]).check(limits)
            tx.automation.spend(record.portfolio, record.owner, day, id, spending)
            self._save(tx, record, done, worker, release=True)
            _notify(
                tx,
                NoticeKind.AUTO_ACCEPTED,
                record,
                key=f"proposal:{id}:accepted",
                now=now,
                link=f"/portfolios/{record.portfolio}/proposals/{id}",
                amount=sum(spending.orders.values(), _ZERO),
                currency=portfolio.mandate.currency,
                orders=len(proposal.proposal.orders),
            )
            return {"by": "automation", "day": day.isoformat()}

        try:
            self.accept(id, owner=record.owner, mode=Mode.PAPER, guard=guard, now=now)
        except (Unavailable, LeaseLost):
            raise
        except RebalancerError as error:
            kept = attrs.evolve(record, progress=progress)
            return self._refuse(kept, worker, error, f"proposal:{id}:accept", now, proposal=id)
        return done

    def _day(self, portfolio: ManagedPortfolio, latest: PriceHistory, now: datetime) -> date:
        """Return the day in the time zone of the portfolio's market."""
        code = market_of(portfolio, latest)
        return (now if code is None else now.astimezone(self.calendars.time_zone(code))).date()

    def _close(
        self, record: AlertRecord, worker: UUID, outcome: str, now: datetime
    ) -> AutomationProgress:
        """Store that nothing is proposed."""
        progress = attrs.evolve(
            record.progress, pending=None, accepting=None, last_run=now, outcome=outcome
        )
        with self.work.begin() as tx:
            self._save(tx, record, progress, worker, release=True)
        return progress

    def _refuse(
        self,
        record: AlertRecord,
        worker: UUID,
        error: RebalancerError,
        cause: str,
        now: datetime,
        *,
        proposal: UUID | None = None,
    ) -> AutomationProgress:
        """Store that something was refused, with an event and a notice that state why."""
        progress = attrs.evolve(
            record.progress, pending=None, accepting=None, last_run=now, outcome=error.code
        )
        what = f"portfolio:{record.portfolio}" if proposal is None else f"proposal:{proposal}"
        page = "" if proposal is None else f"/proposals/{proposal}"
        key = f"automation:{record.portfolio}:{cause}:refused"
        if error.code == _STOPPED:  # one notice for all that a stop prevents
            key = f"automation:{record.portfolio}:{error.facts['since']}:stopped"
        with self.work.begin() as tx:
            self._save(tx, record, progress, worker, release=True)
            details = {"portfolio": str(record.portfolio), "reason": error.code}
            event, refused = Action.AUTOMATION_REFUSED, Outcome.REFUSED
            _audit(tx, event, record, now, target=what, outcome=refused, details=details)
            _notify(
                tx,
                NoticeKind.AUTO_BLOCKED,
                record,
                key=key,
                now=now,
                link=f"/portfolios/{record.portfolio}{page}",
                reason=error.message,
            )
        log.info("automation of portfolio %s is refused: %s", record.portfolio, error)
        return progress

    def _save(
        self,
        tx: Transaction,
        record: AlertRecord,
        progress: AutomationProgress,
        worker: UUID,
        *,
        release: bool,
    ) -> None:
        """Store the progress; raise LeaseLost, which rolls back, if the lease was lost.

        The portfolio is locked first, as where its owner changes settings: one order of locks.
        """
        tx.portfolios.get(record.portfolio)
        if not tx.alerts.save_progress(record.portfolio, progress, worker=worker, release=release):
            raise LeaseLost(f"portfolio {record.portfolio} is evaluated by another worker by now")


class AutomationStopped(AutoAcceptRefused):
    """The kill switch is set."""

    default_code = _STOPPED


def _stopped(stop: AutomationStop) -> AutomationStopped:
    whose = "the operators of this service" if stop.owner is None else "you"
    error = AutomationStopped(f"{whose} have stopped automation; nothing is done until it resumes")
    error.facts = {"since": stop.since.isoformat()}
    return error


def _supersede(tx: Transaction, record: AlertRecord, now: datetime, *, by: UUID) -> None:
    """Let the automatic proposals expire that wait for a decision."""
    for waiting in tx.proposals.waiting([record.portfolio], now).get(record.portfolio, ()):
        if waiting.origin is not None and waiting.id != by:
            tx.proposals.save(waiting.supersede(now, by), expected=waiting.stage)
            for state in ("waits", "expires"):
                tx.notices.resolve(
                    record.owner, f"alert:{record.portfolio}:proposal_{state}:{waiting.id}:1", now
                )


def _audit(
    tx: Transaction,
    action: Action,
    record: AlertRecord,
    now: datetime,
    *,
    target: str,
    details: Mapping[str, str],
    outcome: Outcome = Outcome.DONE,
) -> None:
    owner = record.owner
    record_event(tx, action, at=now, subject=owner, target=target, outcome=outcome, details=details)


def _notify(
    tx: Transaction,
    kind: NoticeKind,
    record: AlertRecord,
    *,
    key: str,
    now: datetime,
    link: str,
    **facts: Any,
) -> None:
    """Raise a notice about the portfolio of a record."""
    name = tx.portfolios.get(record.portfolio).mandate.name
    notice = Notice.new(
        kind,
        owner=record.owner,
        portfolio=record.portfolio,
        key=key,
        now=now,
        link=link,
        portfolio_name=name,
        **facts,
    )
    raise_notice(tx, notice)
