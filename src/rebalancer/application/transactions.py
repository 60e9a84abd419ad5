"""Record and read the transactions of managed portfolios.

Each use case raises NotFound if the portfolio or proposal does not exist or has another owner.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID, uuid5

import attrs

from rebalancer.application.corporate_actions import extend_and_book
from rebalancer.application.idempotency import find_earlier_result, fingerprint
from rebalancer.application.portfolios import (
    check_amount,
    check_tradable,
    find_market_day,
    get_close,
)
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.trade_amounts import check_plausible, traded_amount
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.errors import FaultCollector, InvalidRequest
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.ledger import TRADES, Entry, EntryKind, Ledger, not_positive
from rebalancer.domain.portfolio.mandate import ANY_VERSION, AcceptedVersions
from rebalancer.domain.portfolio.own_prices import own_prices, select_assets
from rebalancer.domain.rebalancing.lifecycle import fill_id

_ZERO = Decimal(0)


@attrs.frozen
class CashFlow:
    """Deposit, withdrawal, fee or dividend to record; on the day of the last close by default."""

    kind: EntryKind
    amount: Decimal
    on: date | None = None
    symbol: str | None = None
    note: str = ""


@attrs.frozen
class RecordCashFlow:
    """Record a cash flow."""

    work: UnitOfWork
    prices: PriceSource

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
        request = fingerprint("cash flow", portfolio_id, *attrs.astuple(flow))
        with self.work.begin() as tx:
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            ledger = tx.portfolios.ledger(portfolio_id)
            done = find_earlier_result(tx, owner, key, request)
            if done is not None:
                entry = next(entry for entry in ledger.entries if entry.id == done)
            else:
                accepted.check(portfolio)
                entry = _cash_entry(flow, portfolio.mandate.currency, market, ledger, id, now)
                portfolio, booked = extend_and_book(portfolio, ledger, [entry], market, now)
                tx.portfolios.save(portfolio, entries=booked)
                if key is not None:
                    tx.keys.add(IdempotencyKey(owner, key, request, result=entry.id, created=now))
        return entry, value_committed(portfolio, lambda: market, self.work), done is not None


@attrs.frozen
class Trade:
    """Executed trade to record; on the day of the last close by default.

    Attributes:
        amount: Total of the broker without costs; None: quantity times price, rounded.
        confirmed: Whether the owner confirms a price that is far from the close of the day.
    """

    kind: EntryKind
    symbol: str
    quantity: Decimal
    price: Decimal
    cost: Decimal = _ZERO
    on: date | None = None
    note: str = ""
    amount: Decimal | None = None
    confirmed: bool = False

    def identity(self) -> tuple[object, ...]:
        """Return what tells a trade from another one; older versions know no further fields."""
        known = (*attrs.astuple(self)[:7],)
        new = self.amount is not None or self.confirmed
        return (*known, self.amount, self.confirmed) if new else known


@attrs.frozen
class RecordTrades:
    """Record trades that were executed elsewhere."""

    work: UnitOfWork
    prices: PriceSource

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
        ledger or the proposal knows need no price.

        Raises:
            InvalidRequest: an amount, a day or a symbol is invalid; the field names the trade.
            Overdrawn: a sale exceeds the holding, or a purchase the cash.
            ProposalClosed: the proposal was never accepted, or is executed.
            PortfolioChanged: the version of the portfolio is not accepted.
            Conflict: the idempotency key belongs to another request.
        """
        market = self.prices.closes()
        request = fingerprint(
            "trades", portfolio_id, proposal_id, *(trade.identity() for trade in trades)
        )
        with self.work.begin() as tx:
            record = None
            if proposal_id is not None:  # first: its lock is the portfolio's
                record = tx.proposals.get(proposal_id, owner=owner)
                if record.portfolio_id != portfolio_id:
                    raise InvalidRequest(
                        "the proposal is for another portfolio; omit it",
                        field="proposal_id",
                        code="proposal_of_other_portfolio",
                    )
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            ledger = tx.portfolios.ledger(portfolio_id)
            done = find_earlier_result(tx, owner, key, request)
            if done is not None:
                entries = _entries_of(done, proposal_id, len(trades), ledger)
            else:
                accepted.check(portfolio)
                if not trades:
                    raise InvalidRequest(
                        "no trades; name at least one", field="trades", code="no_trades"
                    )
                currency = portfolio.mandate.currency
                known = set(ledger.symbols)
                if record is not None:
                    known |= {order.symbol for order in record.proposal.orders}
                own = _own_closes(trades, market, ledger, currency)
                entries, faults = [], FaultCollector()
                for number, trade in enumerate(trades):
                    with faults.collect(f"trades[{number}]."):
                        entries.append(
                            _trade_entry(
                                trade, currency, market, own, known, uuid5(id, str(number)), now
                            )
                        )
                faults.raise_any()
                if record is not None:
                    filled, entries = record.fill(entries, ledger.fills(record.id), now)
                    if filled.stage is not record.stage:
                        tx.proposals.save(filled, expected=record.stage)
                portfolio, booked = extend_and_book(portfolio, ledger, entries, market, now)
                tx.portfolios.save(portfolio, entries=booked)
                if key is not None:
                    tx.keys.add(IdempotencyKey(owner, key, request, result=id, created=now))
        return entries, value_committed(portfolio, lambda: market, self.work), done is not None


@attrs.frozen
class ReadTransactions:
    """Read the ledger of a portfolio."""

    work: UnitOfWork

    def __call__(
        self, portfolio_id: UUID, *, owner: UUID, before: UUID | None = None, limit: int
    ) -> tuple[list[Entry], frozenset[UUID]]:
        """Return a page of entries, the latest recorded first, and which of them are void."""
        with self.work.read() as tx:
            tx.portfolios.get(portfolio_id, owner=owner)
            found = tx.portfolios.entries(portfolio_id, before=before, limit=limit)
            return found, tx.portfolios.void(portfolio_id, [entry.id for entry in found])


def _cash_entry(
    flow: CashFlow,
    currency: Currency,
    market: PriceHistory,
    ledger: Ledger,
    id: UUID,
    now: datetime,
) -> Entry:
    faults = FaultCollector()
    on, amount = market.last_date, flow.amount
    with faults.collect():
        amount = check_amount(amount, currency, field="amount")
    with faults.collect():
        on = find_market_day(flow.on, market, now)
    with faults.collect():
        if flow.symbol is not None:
            if flow.kind is not EntryKind.DIVIDEND:
                raise InvalidRequest(
                    f"a {flow.kind} has no symbol; only dividends have one",
                    field="symbol",
                    code="unexpected_value",
                )
            if flow.symbol not in ledger.symbols:
                check_tradable(flow.symbol, market, market.last_date, field="symbol")
    faults.raise_any()
    return Entry(
        id=id,
        kind=flow.kind,
        on=on,
        recorded=now,
        amount=amount,
        symbol=flow.symbol,
        note=flow.note,
    )


def _trade_entry(
    trade: Trade,
    currency: Currency,
    market: PriceHistory,
    own: PriceHistory,
    known: Collection[str],
    id: UUID,
    now: datetime,
) -> Entry:
    """Return the entry of a trade; assets in ``known`` need no price.

    Its price is compared with the close in ``own``, the prices of the portfolio, if the market has
    one.

    Raises:
        InvalidRequest: a field is invalid; all of them are reported.
    """
    if trade.kind not in TRADES:
        raise InvalidRequest(
            f"{trade.kind} is not a trade; choose buy or sell", field="side", code="invalid_side"
        )
    faults = FaultCollector()
    on, cost, amount = market.last_date, trade.cost, _ZERO
    with faults.collect():
        on = find_market_day(trade.on, market, now)
    with faults.collect():
        if trade.symbol not in known:
            check_tradable(trade.symbol, market, on, field="symbol")
    for name in ("quantity", "price"):
        with faults.collect():
            if not getattr(trade, name) > 0:
                raise not_positive(getattr(trade, name), name)
    with faults.collect():
        if trade.quantity > 0 and trade.price > 0:
            amount = traded_amount(trade.quantity, trade.price, trade.amount, currency)
            if not trade.confirmed:
                close = _known_close(trade.symbol, market, on)
                if close is not None:
                    close = _known_close(trade.symbol, own, on)
                check_plausible(amount, trade.price, close)
    with faults.collect():
        if cost:
            cost = check_amount(cost, currency, field="cost")
    faults.raise_any()
    return Entry(
        id=id,
        kind=trade.kind,
        on=on,
        recorded=now,
        amount=amount,
        symbol=trade.symbol,
        quantity=trade.quantity,
        price=trade.price,
        cost=cost,
        note=trade.note,
    )


def _own_closes(
    trades: Sequence[Trade], market: PriceHistory, ledger: Ledger, currency: Currency
) -> PriceHistory:
    """Return the closes of the traded assets as traded, with the splits that the ledger records."""
    traded = {trade.symbol for trade in trades}
    entries = tuple(entry for entry in ledger.effective if entry.symbol in traded)
    return own_prices(select_assets(market, sorted(traded)), Ledger(entries), currency.code)


def _known_close(symbol: str, market: PriceHistory, on: date) -> Decimal | None:
    """Return the close as of a day; None for an asset without a current price."""
    with suppress(InvalidRequest):
        return get_close(symbol, market, on, field="symbol")
    return None


def _entries_of(id: UUID, proposal_id: UUID | None, count: int, ledger: Ledger) -> list[Entry]:
    """Return the entries of an earlier request; older versions numbered those of a proposal."""
    ids = {uuid5(id, str(number)) for number in range(count)}
    found = [entry for entry in ledger.entries if entry.id in ids]
    if not found and proposal_id is not None:
        ids = {fill_id(proposal_id, number) for number in range(count)}
        found = [entry for entry in ledger.entries if entry.id in ids]
    return found
