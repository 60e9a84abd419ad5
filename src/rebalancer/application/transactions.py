"""Record and read the transactions of managed portfolios.

Each use case raises NotFound if the portfolio or proposal does not exist or has another owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from uuid import UUID, uuid5

import attrs

from rebalancer.application.corporate_actions import BookActions, extend_and_book
from rebalancer.application.idempotency import add_key, find_earlier_result, fingerprint
from rebalancer.application.ledger_changes import LedgerChange, change_ledger
from rebalancer.application.not_found import require
from rebalancer.application.owner_entries import CashFlow, Recording, Trade
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.errors import FaultCollector, InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions, ManagedPortfolio
from rebalancer.domain.portfolio.portfolio import Conversions
from rebalancer.domain.rebalancing.lifecycle import fill_id

_ZERO = Decimal(0)


@attrs.frozen
class RecordCashFlow:
    """Record a cash flow."""

    work: UnitOfWork
    prices: PriceSource
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        flow: CashFlow,
        *,
        portfolio_id: UUID,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        key: str | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[Entry, ValuedPortfolio, bool]:
        """Return the entry, the new portfolio, and whether the request was repeated.

        Raises:
            InvalidRequest: the amount, the day or the symbol is invalid.
            Overdrawn: the withdrawal exceeds the cash.
            PortfolioChanged: the version of the portfolio is not accepted.
            Conflict: the idempotency key belongs to another request.
        """
        market = self.prices.closes()
        request = fingerprint("cash flow", portfolio_id, *flow.identity())

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[Entry, bool]]:
            done = find_earlier_result(tx, owner, key, request)
            if done is not None:
                return LedgerChange((require(ledger.find(done), "entry", done), True))
            accepted.check(portfolio)
            recording = Recording(portfolio.mandate.currency, market, ledger, now)
            entry = recording.cash_entry(flow, id)
            extended = extend_and_book(portfolio, ledger, [entry], market, now)
            then = partial(add_key, owner=owner, key=key, request=request, result=id, now=now)
            return LedgerChange((entry, False), extended, then)

        (entry, replayed), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas
        )
        return entry, value_committed(portfolio, lambda: market, self.work), replayed


@attrs.frozen
class RecordTrades:
    """Record trades that were executed elsewhere."""

    work: UnitOfWork
    prices: PriceSource
    book: BookActions
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        trades: Sequence[Trade],
        *,
        portfolio_id: UUID,
        owner: UUID,
        proposal_id: UUID | None = None,
        accepted: AcceptedVersions = ANY_VERSION,
        key: str | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[list[Entry], ValuedPortfolio, bool]:
        """Return the entries, the new portfolio, and whether the request was repeated.

        Trades that fill open orders of an accepted proposal are linked to it, and it becomes
        executed with the last of them. Other trades are recorded without a link. Assets that the
        ledger or the proposal knows need no price. With automatic conversions, an exchange pays
        what a purchase in another currency lacks, and converts the proceeds of a sale.

        Raises:
            InvalidRequest: an amount, a day or a symbol is invalid; the field names the trade.
            Overdrawn: a sale exceeds the holding, or a purchase the cash.
            ProposalClosed: the proposal was never accepted, or is executed.
            PortfolioChanged: the version of the portfolio is not accepted.
            Conflict: the idempotency key belongs to another request.
        """
        market = self.prices.closes()
        if proposal_id is not None:  # a split cancels what is open
            with self.work.read() as tx:
                stored = tx.portfolios.get(portfolio_id, owner=owner)
            self.book(stored, market)
        request = fingerprint(
            "trades", portfolio_id, proposal_id, *(trade.identity() for trade in trades)
        )

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[list[Entry], bool]]:
            record = None
            if proposal_id is not None:
                record = tx.proposals.get(proposal_id, owner=owner)
                if record.portfolio_id != portfolio_id:
                    raise InvalidRequest(
                        "the proposal is for another portfolio; omit it",
                        field="proposal_id",
                        code="proposal_of_other_portfolio",
                    )
            done = find_earlier_result(tx, owner, key, request)
            if done is not None:
                return LedgerChange((_entries_of(done, proposal_id, len(trades), ledger), True))
            accepted.check(portfolio)
            if not trades:
                raise InvalidRequest(
                    "no trades; name at least one", field="trades", code="no_trades"
                )
            recording = Recording(portfolio.mandate.currency, market, ledger, now)
            known = set(ledger.symbols)
            if record is not None:
                known |= {order.symbol for order in record.proposal.orders}
            own = recording.own_closes(trades)
            entries, faults = list[Entry](), FaultCollector()
            for number, trade in enumerate(trades):
                with faults.collect(f"trades[{number}]."):
                    entries.append(recording.trade_entry(trade, own, known, uuid5(id, str(number))))
            faults.raise_any()
            filled = record
            if record is not None:
                filled, entries = record.fill(entries, ledger.fills(record.id), now)
            converts = portfolio.mandate.conversions is Conversions.AUTOMATIC
            exchanges = recording.exchanges(entries) if converts else []
            extended = extend_and_book(portfolio, ledger, [*entries, *exchanges], market, now)

            def then(tx: Transaction) -> None:
                if record is not None and filled is not None and filled.stage is not record.stage:
                    tx.proposals.save(filled, expected=record.stage)
                add_key(tx, owner=owner, key=key, request=request, result=id, now=now)

            return LedgerChange((entries, False), extended, then)

        (entries, replayed), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas
        )
        return entries, value_committed(portfolio, lambda: market, self.work), replayed


@attrs.frozen
class ReadTransactions:
    """Read the ledger of a portfolio."""

    work: UnitOfWork

    def __call__(
        self, portfolio_id: UUID, *, actor: UUID, before: UUID | None = None, limit: int
    ) -> tuple[list[Entry], frozenset[UUID], Currency]:
        """Return a page of entries, which of them are void, and the base currency.

        The latest recorded entry is first.
        """
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
            found = tx.portfolios.entries(portfolio_id, before=before, limit=limit)
            void = tx.portfolios.void(portfolio_id, [entry.id for entry in found])
        return found, void, portfolio.mandate.currency


def _entries_of(id: UUID, proposal_id: UUID | None, count: int, ledger: Ledger) -> list[Entry]:
    """Return the entries of an earlier request; older versions numbered those of a proposal."""
    found = ledger.pick([uuid5(id, str(number)) for number in range(count)])
    if not found and proposal_id is not None:
        found = ledger.pick([fill_id(proposal_id, number) for number in range(count)])
    return found
