"""Decide on proposals: accept, reject or cancel them, and record what the broker filled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import attrs

from rebalancer.application import audit
from rebalancer.application.corporate_actions import BookActions, extend_and_book
from rebalancer.application.idempotency import (
    ClientRequest,
    add_key,
    find_earlier_result,
    fingerprint,
)
from rebalancer.application.ledger_changes import (
    ExtendedPortfolio,
    LedgerChange,
    change_ledger,
)
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.portfolios import Broker
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.rebalance import (
    ProposalStatus,
    newest_close,
    proposal_status,
    read_fills,
)
from rebalancer.domain.accounts.shares import Right, only_the_owner
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.rebalancing.lifecycle import Fill, ProposalClosed, ProposalRecord, Stage

log = logging.getLogger("rebalancer.proposals")


class Mode(StrEnum):
    """How an accepted proposal is executed: by the broker, or elsewhere by its owner."""

    PAPER = "paper"
    WORKSHEET = "worksheet"


Guard = Callable[[Transaction, ProposalRecord], Mapping[str, str]]
"""Checks an acceptance in its transaction, and returns further facts for the audit trail.

It raises to reject the acceptance, so that nothing is stored.
"""


def _no_guard(tx: Transaction, record: ProposalRecord) -> Mapping[str, str]:
    return {}


@attrs.frozen
class AcceptProposal:
    """Accept a proposal, and submit its orders to the broker."""

    work: UnitOfWork
    prices: PriceSource
    broker: Broker
    book: BookActions

    def __call__(
        self,
        id: UUID,
        *,
        owner: UUID,
        mode: Mode = Mode.PAPER,
        key: str | None = None,
        guard: Guard = _no_guard,
        now: datetime,
    ) -> tuple[ProposalStatus, bool]:
        """Accept a proposal.

        If the broker fills at once, the planned cash flow and every fill are in the ledger
        afterwards. Otherwise the proposal stays accepted until `CollectFills` has its fills. With a
        worksheet it stays accepted until its orders are filled or cancelled, or it expires.

        Returns:
            The accepted proposal, and whether the same request had accepted it before.

        Raises:
            NotFound: the proposal does not exist or belongs to another user.
            ProposalClosed: it is decided, has expired, or has nothing to trade.
            ProposalStale: the portfolio or the market has changed.
            Conflict: the key belongs to another request.
            As the guard does.
        """
        latest = self.prices.closes()
        submits = mode is Mode.PAPER
        fills: list[Fill] | None = None
        with self.work.read() as tx:
            record = tx.proposals.get(id, owner=owner)
            stored = tx.portfolios.get(record.portfolio_id, owner=owner)
        self.book(stored, latest)  # makes the proposal stale if it is of before
        if submits and self.broker.fills_at_once:
            self.broker.submit(record)
            fills = self.broker.fills(record)
        asked = fingerprint("accept", id, mode.value)

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[ProposalRecord, bool, Mapping[UUID, Mapping[str, Decimal]]]]:
            record = tx.proposals.get(id, owner=owner)
            if find_earlier_result(tx, owner, key, asked) is not None:
                return LedgerChange((record, True, read_fills(tx, [record])))
            done = record.accept(
                now, version=portfolio.version, newest=newest_close(record, latest)
            )
            extended = None
            if fills is not None:
                extended = _book_fills(done, portfolio, ledger, fills, latest, now)
                done = done.execute(now)

            def then(tx: Transaction) -> None:
                tx.proposals.save(done, expected=record.stage)
                facts = guard(tx, done)
                _record(tx, Action.PROPOSAL_ACCEPTED, done, now, mode=mode.value, **facts)
                add_key(tx, owner=owner, key=key, request=asked, result=id, now=now)

            filled = {id: {fill.symbol: fill.quantity for fill in fills or ()}}
            return LedgerChange((done, False, filled), extended, then)

        (done, replayed, filled), portfolio = change_ledger(
            self.work, record.portfolio_id, owner, plan, now=now
        )
        if submits and not replayed and not self.broker.fills_at_once:
            self.broker.submit(done)
        return proposal_status(done, portfolio.version, latest, now, filled), replayed


@attrs.frozen
class CollectFills:
    """Record the fills of an accepted proposal once its broker has all of them."""

    work: UnitOfWork
    broker: Broker

    def __call__(self, id: UUID, *, now: datetime) -> bool:
        """Submit the orders again, in case a crash prevented it, and book their fills.

        Returns:
            Whether the proposal is executed.

        Raises:
            NotFound: the proposal does not exist.
            ProposalClosed: it is not accepted.
            Overdrawn: the portfolio changed so that the fills no longer fit its ledger.
        """
        with self.work.read() as tx:
            record = tx.proposals.get(id)
        if record.stage is Stage.EXECUTED:
            return True
        record.execute(now)  # raises unless the proposal is accepted
        self.broker.submit(record)
        fills = self.broker.fills(record)
        if fills is None:
            return False

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[None]:
            done = record.execute(now)

            def then(tx: Transaction) -> None:
                tx.proposals.save(done, expected=Stage.ACCEPTED)
                _record(tx, Action.PROPOSAL_RECORDED, done, now)

            return LedgerChange(
                None, _book_fills(record, portfolio, ledger, fills, None, now), then
            )

        change_ledger(self.work, record.portfolio_id, None, plan, now=now)
        return True

    def pending(self, *, now: datetime) -> None:
        """Book the fills of all proposals that the broker lists; maintenance calls this.

        A proposal that cannot be booked, such as one of a portfolio closed since, is logged.

        Raises:
            Unavailable: the broker or the store did not answer.
        """
        for id in self.broker.pending():
            try:
                self(id, now=now)
            except Unavailable:
                raise
            except RebalancerError as error:
                log.warning("the fills of proposal %s cannot be booked: %s", id, error)


def _record(
    tx: Transaction, action: Action, proposal: ProposalRecord, now: datetime, **details: str
) -> None:
    """Record a decision about a proposal in the audit trail."""
    audit.record(
        tx,
        action,
        at=now,
        subject=proposal.owner,
        target=f"proposal:{proposal.id}",
        details={"portfolio": str(proposal.portfolio_id), **details},
    )


def _book_fills(
    record: ProposalRecord,
    portfolio: ManagedPortfolio,
    ledger: Ledger,
    fills: Sequence[Fill],
    market: PriceHistory | None,
    now: datetime,
) -> ExtendedPortfolio:
    """Return a portfolio with the cash flow and the fills of an accepted proposal."""
    last = portfolio.positions.last_entry
    entries = record.ledger_entries(fills, now, last_entry=last)
    return extend_and_book(portfolio, ledger, entries, market, now)


@attrs.frozen
class RejectProposal:
    """Reject a proposal."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self,
        id: UUID,
        *,
        actor: UUID,
        remark: str = "",
        request: ClientRequest | None = None,
        now: datetime,
    ) -> tuple[ProposalStatus, bool]:
        """Reject a proposal; an adviser can reject those that he or she requested.

        Returns:
            The rejected proposal, and whether the same request had rejected it before.

        Raises:
            NotFound: the proposal does not exist or belongs to another user.
            NotAllowed: the actor may read the portfolio, and did not request the proposal.
            ProposalClosed: it is decided, has expired, or has nothing to trade.
            Conflict: the key belongs to another request.
        """
        latest = self.prices.closes()
        with self.work.begin() as tx:
            record = tx.proposals.get_for(id, actor)
            if record.owner != actor:
                if record.actor != actor:
                    raise only_the_owner()
                tx.proposals.get_for(id, actor, Right.PROPOSE)
            version = tx.portfolios.get_for(record.portfolio_id, actor).version
            if request is not None and request.earlier_result(tx, actor) is not None:
                return proposal_status(record, version, latest, now), True
            rejected = record.reject(now, remark)
            tx.proposals.save(rejected, expected=record.stage)
            _record(tx, Action.PROPOSAL_REJECTED, rejected, now)
            if request is not None:
                request.store_result(tx, actor, id, now)
        return proposal_status(rejected, version, latest, now), False


@attrs.frozen
class CancelProposal:
    """Cancel the open orders of an accepted proposal."""

    work: UnitOfWork
    prices: PriceSource
    broker: Broker

    def __call__(
        self,
        id: UUID,
        *,
        owner: UUID,
        remark: str = "",
        request: ClientRequest | None = None,
        now: datetime,
    ) -> tuple[ProposalStatus, bool]:
        """Cancel the orders that are not filled; trades that were recorded stay.

        Returns:
            The cancelled proposal, and whether the same request had cancelled it before.

        Raises:
            NotFound: the proposal does not exist or belongs to another user.
            ProposalClosed: it is not accepted, has expired, or is at the broker.
            Conflict: the key belongs to another request.
            Unavailable: the broker did not answer.
        """
        latest = self.prices.closes()
        at_broker = id in self.broker.pending()
        with self.work.begin() as tx:
            record = tx.proposals.get(id, owner=owner)
            version = tx.portfolios.get(record.portfolio_id, owner=owner).version
            filled = read_fills(tx, [record])
            if request is not None and request.earlier_result(tx, owner) is not None:
                return proposal_status(record, version, latest, now, filled), True
            cancelled = record.cancel(now, remark)
            if at_broker:
                raise ProposalClosed(
                    f"the broker has the orders of proposal {id}; cancel them there",
                    code="orders_at_broker",
                )
            tx.proposals.save(cancelled, expected=record.stage)
            _record(tx, Action.PROPOSAL_CANCELLED, cancelled, now)
            if request is not None:
                request.store_result(tx, owner, id, now)
        return proposal_status(cancelled, version, latest, now, filled), False
