"""Void entries of a ledger."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.corporate_actions import extend_and_book
from rebalancer.application.idempotency import find_earlier_result, fingerprint
from rebalancer.application.not_found import require
from rebalancer.application.owner_entries import exchange_id
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.application.worksheets import cancel_worksheets
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger import TRADES, Entry, EntryKind, Ledger
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions
from rebalancer.domain.rebalancing.lifecycle import Stage

log = logging.getLogger("rebalancer.actions")


@attrs.frozen
class VoidEntry:
    """Void an entry that was a mistake."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self,
        entry_id: UUID,
        *,
        portfolio_id: UUID,
        owner: UUID,
        note: str = "",
        accepted: AcceptedVersions = ANY_VERSION,
        key: str | None = None,
        now: datetime,
    ) -> tuple[Entry, ValuedPortfolio, bool]:
        """Return the entry that voids, the new portfolio, and whether the request was repeated.

        An executed proposal waits for trades again if one of its trades is void. An exchange
        that was booked with a trade or a distribution is voided with it. A corporate action whose
        entry is void is not booked again.

        Raises:
            NotFound: the portfolio or the entry does not exist, or has another owner.
            NotVoidable: the entry is void, voids another one, or other entries depend on it.
            PortfolioChanged: the version of the portfolio is not accepted.
            Conflict: the idempotency key belongs to another request.
        """
        request = fingerprint("void", portfolio_id, entry_id, note)
        market = self._market()
        with self.work.begin() as tx:
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            ledger = tx.portfolios.ledger(portfolio_id)
            done = find_earlier_result(tx, owner, key, request)
            if done is not None:
                reversal = require(ledger.find(done), "entry", done)
            else:
                accepted.check(portfolio)
                entry = require(ledger.find(entry_id), "entry", entry_id)
                exchanges = _exchanges_of(entry, ledger)
                ledger.check_voidable(entry, *exchanges)
                reversal = entry.reversal(recorded=now, note=note)
                others = [one.reversal(recorded=now, note=note) for one in exchanges]
                if entry.proposal is not None and entry.kind in TRADES:
                    reversal = _reopen(tx, entry.proposal, owner, ledger, reversal)
                portfolio, booked = extend_and_book(
                    portfolio, ledger, [*others, reversal], market, now
                )
                tx.portfolios.save(portfolio, entries=booked)
                cancel_worksheets(tx, portfolio, booked, now)
                record(
                    tx,
                    Action.CORRECTION_RECORDED,
                    at=now,
                    subject=owner,
                    target=f"portfolio:{portfolio_id}",
                    details={"entry": str(entry_id)},
                )
                if key is not None:
                    tx.keys.add(
                        IdempotencyKey(owner, key, request, result=reversal.id, created=now)
                    )
        return reversal, value_committed(portfolio, self.prices.closes, self.work), done is not None

    def _market(self) -> PriceHistory | None:
        """Return the prices for corporate actions; None if they are not available."""
        try:
            return self.prices.closes()
        except RebalancerError as error:
            log.warning("corporate actions are not booked, because there are no prices: %s", error)
            return None


def _exchanges_of(entry: Entry, ledger: Ledger) -> list[Entry]:
    """Return the exchanges that were booked with a trade, or with a distribution."""
    if entry.kind is EntryKind.EXCHANGE:
        return []
    exchanges = [one for one in ledger.effective if one.kind is EntryKind.EXCHANGE]
    if entry.proposal is not None and entry.kind in TRADES:
        for one in exchanges:
            if one.proposal == entry.proposal and _settles(one, entry):
                return [one]
    return [
        one
        for one in exchanges
        if (
            one.id == exchange_id(entry.id)
            or (entry.action is not None and one.action == entry.action)
        )
    ]


def _settles(exchange: Entry, trade: Entry) -> bool:
    """Return whether an exchange of the same proposal converts the money of a trade alone."""
    if trade.currency is None:
        return False
    if trade.kind is EntryKind.BUY:
        paid = exchange.counter_currency, exchange.counter_amount
        return paid == (trade.currency, -trade.cash)
    return (exchange.currency, exchange.amount) == (trade.currency, trade.cash)


def _reopen(tx: Transaction, proposal: UUID, owner: UUID, ledger: Ledger, reversal: Entry) -> Entry:
    """Return the entry that voids a trade of a proposal, which has open orders again."""
    record = tx.proposals.get(proposal, owner=owner)
    filled = Ledger((*ledger.entries, reversal)).fills(proposal)
    if not record.open_quantities(filled):
        return reversal
    if record.stage is Stage.EXECUTED:
        tx.proposals.save(record.reopen(), expected=Stage.EXECUTED)
    return attrs.evolve(reversal, partial=True)
