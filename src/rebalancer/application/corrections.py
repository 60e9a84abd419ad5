"""Void entries of a ledger."""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.audit import record
from rebalancer.application.corporate_actions import extend_and_book
from rebalancer.application.idempotency import add_key, find_earlier_result, fingerprint
from rebalancer.application.ledger_changes import LedgerChange, change_ledger
from rebalancer.application.not_found import require
from rebalancer.application.owner_entries import exchange_id
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger import TRADES, Entry, EntryKind, Ledger, void_id
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions, ManagedPortfolio
from rebalancer.domain.rebalancing.lifecycle import ProposalRecord, Stage

log = logging.getLogger("rebalancer.actions")


@attrs.frozen
class VoidEntry:
    """Void an entry that was a mistake."""

    work: UnitOfWork
    prices: PriceSource
    quotas: Quotas = DEFAULT_QUOTAS

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
        market = read_market(self.prices)

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[Entry, bool]]:
            done = find_earlier_result(tx, owner, key, request)
            if done is not None:
                return LedgerChange((require(ledger.find(done), "entry", done), True))
            accepted.check(portfolio)
            entry = require(ledger.find(entry_id), "entry", entry_id)
            exchanges = _exchanges_of(entry, ledger)
            ledger.check_voidable(entry, *exchanges)
            reversal = entry.reversal(recorded=now, note=note)
            others = [one.reversal(recorded=now, note=note) for one in exchanges]
            reopened = None
            if entry.proposal is not None and entry.kind in TRADES:
                reopened, reversal = _reopen(tx, entry.proposal, owner, ledger, reversal)
            extended = extend_and_book(portfolio, ledger, [*others, reversal], market, now)

            def then(tx: Transaction) -> None:
                if reopened is not None:
                    tx.proposals.save(reopened, expected=Stage.EXECUTED)
                record(
                    tx,
                    Action.CORRECTION_RECORDED,
                    at=now,
                    subject=owner,
                    target=f"portfolio:{portfolio_id}",
                    details={"entry": str(entry_id)},
                )
                add_key(tx, owner=owner, key=key, request=request, result=reversal.id, now=now)

            return LedgerChange((reversal, False), extended, then)

        (reversal, replayed), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas
        )
        return reversal, value_committed(portfolio, self.prices.closes, self.work), replayed


def read_market(prices: PriceSource) -> PriceHistory | None:
    """Return the prices for corporate actions; None if they are not available."""
    try:
        return prices.closes()
    except RebalancerError as error:
        log.warning("corporate actions are not booked, because there are no prices: %s", error)
        return None


def _exchanges_of(entry: Entry, ledger: Ledger) -> list[Entry]:
    """Return the exchanges that were booked with a trade, or with a distribution."""
    if entry.kind is EntryKind.EXCHANGE:
        return []
    if entry.proposal is not None and entry.kind in TRADES:
        for one in ledger.of_proposal(entry.proposal):
            if _counts(one, ledger) and _settles(one, entry):
                return [one]
    if entry.action is not None:
        return [
            one
            for one in ledger.effective
            if one.kind is EntryKind.EXCHANGE
            and (one.id == exchange_id(entry.id) or one.action == entry.action)
        ]
    return [one for one in ledger.pick([exchange_id(entry.id)]) if _counts(one, ledger)]


def _counts(exchange: Entry, ledger: Ledger) -> bool:
    """Return whether an entry is an exchange that is neither void nor voids another one."""
    if exchange.kind is not EntryKind.EXCHANGE or exchange.voids is not None:
        return False
    return ledger.find(void_id(exchange.id)) is None


def _settles(exchange: Entry, trade: Entry) -> bool:
    """Return whether an exchange of the same proposal converts the money of a trade alone."""
    if trade.currency is None:
        return False
    if trade.kind is EntryKind.BUY:
        paid = exchange.counter_currency, exchange.counter_amount
        return paid == (trade.currency, -trade.cash)
    return (exchange.currency, exchange.amount) == (trade.currency, trade.cash)


def _reopen(
    tx: Transaction, proposal: UUID, owner: UUID, ledger: Ledger, reversal: Entry
) -> tuple[ProposalRecord | None, Entry]:
    """Return a proposal that has open orders again, and the entry that voids a trade of it.

    None is returned for a proposal that need not be stored.
    """
    record = tx.proposals.get(proposal, owner=owner)
    filled = ledger.followed_by([reversal]).fills(proposal)
    if not record.open_quantities(filled):
        return None, reversal
    reopened = record.reopen() if record.stage is Stage.EXECUTED else None
    return reopened, attrs.evolve(reversal, partial=True)
