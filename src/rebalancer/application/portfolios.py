"""Portfolios in somebody's keeping: opened, funded, revised, measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext
from uuid import UUID, uuid5

import attrs

from rebalancer.application.accounts import load_account
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.backtest.track_record import TrackRecord, track_record
from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.idempotency import IdempotencyKey
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.ledger import EMPTY, TRADES, Entry, EntryKind
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.rebalancing.lifecycle import Stage, fill_id
from rebalancer.domain.rebalancing.limits import find_breaches

_ZERO = Decimal(0)


@attrs.frozen
class ValuedPortfolio:
    """A portfolio at the last close.

    Attributes:
        portfolio: Which.
        as_of: Day of the close.
        prices: Of what it holds.
    """

    portfolio: ManagedPortfolio
    as_of: date
    prices: Mapping[str, Decimal]

    @property
    def value(self) -> Decimal:
        """Cash and holdings, rounded to the minor unit."""
        with localcontext(prec=60):
            positions = self.portfolio.positions
            held = sum(
                (units * self.prices[symbol] for symbol, units in positions.holdings.items()), _ZERO
            )
            return self.portfolio.mandate.currency.round(positions.cash + held)


@attrs.frozen
class OpenPortfolio:
    """Take a portfolio into keeping."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    currency: Currency

    def __call__(
        self,
        mandate: Mandate,
        *,
        cash: Decimal = _ZERO,
        holdings: Mapping[str, Decimal] | None = None,
        on: date | None = None,
        assessed_profile: bool = False,
        id: UUID,
        owner: UUID,
        now: datetime,
    ) -> ValuedPortfolio:
        """The new portfolio, funded by a first deposit of cash and of assets in kind.

        Args:
            mandate: What its owner wants.
            cash: Paid in at the start.
            holdings: Brought along, quantity by symbol.
            on: The market day of the first deposit; the last close when None.
            assessed_profile: Whether the owner's assessment sets the risk profile.
            id: The portfolio's.
            owner: Whose.
            now: When.

        Raises:
            InvalidRequest: a symbol or the day is unknown, an amount makes no sense, or the targets
                exceed limits that are not acknowledged.
            NotAuthenticated: the owner is gone.
        """
        market = self.prices.closes()
        if mandate.currency != self.currency:
            raise InvalidRequest(
                f"is {mandate.currency}, but prices are in {self.currency}; exchange rates are not "
                "supported yet",
                field="currency",
            )
        with self.work.read() as tx:
            assessment = load_account(tx, owner).assessment
        if assessed_profile and assessment is not None:
            mandate = attrs.evolve(mandate, risk_profile=assessment.profile)
        _check(mandate, market, self.instruments)
        day = market_day(on, market)
        entries = []
        if cash:
            amount = money(cash, mandate.currency, field="cash")
            entries.append(
                Entry(uuid5(id, "cash"), EntryKind.DEPOSIT, day, recorded=now, amount=amount)
            )
        for symbol, quantity in sorted((holdings or {}).items()):
            if not quantity:
                continue
            price = close_of(symbol, market, day, field=f"holdings.{symbol}")
            entries.append(
                Entry(
                    uuid5(id, f"holding {symbol}"),
                    EntryKind.DEPOSIT,
                    day,
                    recorded=now,
                    amount=worth(quantity, price, mandate.currency),
                    symbol=symbol,
                    quantity=quantity,
                    price=price,
                )
            )
        opened = ManagedPortfolio.opened(mandate, id=id, owner=owner, entries=entries, now=now)
        with self.work.begin() as tx:
            tx.portfolios.add(opened, entries)
        return value_portfolio(opened, market)


@attrs.frozen
class ReadPortfolio:
    """Look at a portfolio, or at all of one's own."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(self, id: UUID, *, owner: UUID) -> ValuedPortfolio:
        """The portfolio at the last close.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """
        with self.work.read() as tx:
            portfolio = tx.portfolios.get(id, owner=owner)
        return value_portfolio(portfolio, self.prices.closes())

    def all(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ValuedPortfolio]:
        """Some of the owner's portfolios, the oldest first."""
        with self.work.read() as tx:
            found = tx.portfolios.page(owner, after=after, limit=limit)
        market = self.prices.closes()
        return [value_portfolio(portfolio, market) for portfolio in found]


@attrs.frozen
class RevisePortfolio:
    """Change what is wanted of a portfolio."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource

    def __call__(
        self, mandate: Mandate, *, id: UUID, owner: UUID, version: int, now: datetime
    ) -> ValuedPortfolio:
        """The portfolio under its new mandate.

        Raises:
            NotFound: there is none, or it is somebody else's.
            PortfolioChanged: its version is no longer the one given.
            InvalidRequest: as `OpenPortfolio`, or the currency differs.
        """
        market = self.prices.closes()
        with self.work.read() as tx:
            tx.portfolios.get(id, owner=owner)  # somebody else's is not found, whatever is asked
        _check(mandate, market, self.instruments)
        with self.work.begin() as tx:
            kept = tx.portfolios.get(id, owner=owner)
            revised = attrs.evolve(kept.revised(mandate, now), version=version + 1)
            tx.portfolios.save(revised)
        return value_portfolio(revised, market)


@attrs.frozen
class ClosePortfolio:
    """Put a portfolio away."""

    work: UnitOfWork

    def __call__(self, id: UUID, *, owner: UUID, version: int | None, now: datetime) -> None:
        """It is found no more; its ledger is kept for the record.

        Raises:
            NotFound: there is none, or it is somebody else's.
            PortfolioChanged: its version is no longer the one given, if one is.
        """
        with self.work.begin() as tx:
            kept = tx.portfolios.get(id, owner=owner)
            at = kept.version if version is None else version
            tx.portfolios.close(id, owner=owner, version=at, now=now)


@attrs.frozen
class CashFlow:
    """Money that came or went.

    Attributes:
        kind: Deposit, withdrawal, fee or dividend.
        amount: How much, > 0.
        on: The market day on which it counts; None: the last close.
        symbol: What paid the dividend; None otherwise.
        note: What its author wants to remember.
    """

    kind: EntryKind
    amount: Decimal
    on: date | None = None
    symbol: str | None = None
    note: str = ""


@attrs.frozen
class RecordCashFlow:
    """Write down money that came or went."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self,
        flow: CashFlow,
        *,
        portfolio_id: UUID,
        owner: UUID,
        key: str | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[Entry, ValuedPortfolio, bool]:
        """The entry, the portfolio with it, and whether the same request had written it before.

        Raises:
            NotFound: there is no such portfolio, or it is somebody else's.
            InvalidRequest: the amount, the day or the symbol makes no sense.
            Overdrawn: more is taken out than there is.
            Conflict: the key belongs to another request.
        """
        market = self.prices.closes()
        asked = fingerprint("cash flow", portfolio_id, *attrs.astuple(flow))
        with self.work.begin() as tx:
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            ledger = tx.portfolios.ledger(portfolio_id)
            if (done := find_earlier_result(tx, owner, key, asked)) is not None:
                entry = next(entry for entry in ledger.entries if entry.id == done)
                return entry, value_portfolio(portfolio, market), True
            if flow.symbol is not None:
                if flow.kind is not EntryKind.DIVIDEND:
                    raise InvalidRequest("is only for dividends", field="symbol")
                close_of(flow.symbol, market, market.last_date, field="symbol")
            entry = Entry(
                id=id,
                kind=flow.kind,
                on=market_day(flow.on, market),
                recorded=now,
                amount=money(flow.amount, portfolio.mandate.currency, field="amount"),
                symbol=flow.symbol,
                note=flow.note,
            )
            booked = portfolio.booked(ledger.followed_by([entry]), now)
            tx.portfolios.save(booked, entries=[entry])
            if key is not None:
                tx.keys.add(IdempotencyKey(owner, key, asked, result=entry.id, created=now))
        return entry, value_portfolio(booked, market), False


@attrs.frozen
class Trade:
    """A trade that was made elsewhere.

    Attributes:
        kind: Buy or sell.
        symbol: What.
        quantity: How many, > 0.
        price: Of one.
        cost: What it cost on top.
        on: The market day on which it was made; None: the last close.
        note: What its author wants to remember.
    """

    kind: EntryKind
    symbol: str
    quantity: Decimal
    price: Decimal
    cost: Decimal = _ZERO
    on: date | None = None
    note: str = ""


@attrs.frozen
class RecordTrades:
    """Write down trades that were made elsewhere, from a worksheet or on one's own."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self,
        trades: Sequence[Trade],
        *,
        portfolio_id: UUID,
        owner: UUID,
        proposal_id: UUID | None = None,
        key: str | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[list[Entry], ValuedPortfolio, bool]:
        """The entries, the portfolio with them, and whether they had been written before.

        Args:
            trades: At least one.
            portfolio_id: Whose ledger.
            owner: Whose portfolio.
            proposal_id: The accepted proposal that they carry out, which is executed by this.
            key: What the caller calls the request.
            id: The entries' ids follow from it, or from the proposal's.
            now: When.

        Raises:
            NotFound: there is no such portfolio or proposal, or it is somebody else's.
            InvalidRequest: an amount, a day or a symbol makes no sense; names the trade.
            Overdrawn: more is sold or paid than there is.
            ProposalClosed: the proposal does not wait for trades.
            Conflict: the key belongs to another request.
        """
        market = self.prices.closes()
        asked = fingerprint(
            "trades", portfolio_id, proposal_id, *(attrs.astuple(trade) for trade in trades)
        )
        with self.work.begin() as tx:
            record = None
            if proposal_id is not None:  # first, as whoever holds one portfolio waits for no other
                record = tx.proposals.get(proposal_id, owner=owner)
                if record.portfolio_id != portfolio_id:
                    raise InvalidRequest("is for another portfolio", field="proposal_id")
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            ledger = tx.portfolios.ledger(portfolio_id)
            if (done := find_earlier_result(tx, owner, key, asked)) is not None:
                ids = {_entry_id(proposal_id, done, number) for number in range(len(trades))}
                kept = [entry for entry in ledger.entries if entry.id in ids]
                return kept, value_portfolio(portfolio, market), True
            if not trades:
                raise InvalidRequest("name at least one", field="trades")
            currency = portfolio.mandate.currency
            entries = [
                _entry(trade, f"trades[{number}]", currency, market, proposal_id, id, number, now)
                for number, trade in enumerate(trades)
            ]
            if record is not None:
                tx.proposals.save(record.carried_out(now), expected=Stage.ACCEPTED)
            booked = portfolio.booked(ledger.followed_by(entries), now)
            tx.portfolios.save(booked, entries=entries)
            if key is not None:
                tx.keys.add(IdempotencyKey(owner, key, asked, result=id, created=now))
        return entries, value_portfolio(booked, market), False


@attrs.frozen
class ReadTransactions:
    """Look at a portfolio's ledger."""

    work: UnitOfWork

    def __call__(
        self, portfolio_id: UUID, *, owner: UUID, before: UUID | None = None, limit: int
    ) -> list[Entry]:
        """Entries, the latest written first.

        Raises:
            NotFound: there is no such portfolio, or it is somebody else's.
        """
        with self.work.read() as tx:
            tx.portfolios.get(portfolio_id, owner=owner)
            return tx.portfolios.entries(portfolio_id, before=before, limit=limit)


@attrs.frozen
class MeasurePerformance:
    """Say how a portfolio did, beside what else could have been done with the same money."""

    work: UnitOfWork
    prices: PriceSource

    def __call__(
        self, portfolio_id: UUID, *, owner: UUID, benchmark: str | None = None
    ) -> tuple[ManagedPortfolio, TrackRecord]:
        """The portfolio, and its record from the first entry to the last close.

        Raises:
            NotFound: there is no such portfolio, or it is somebody else's.
            InvalidRequest: its ledger is empty, or the benchmark is unknown.
        """
        with self.work.read() as tx:
            portfolio = tx.portfolios.get(portfolio_id, owner=owner)
            ledger = tx.portfolios.ledger(portfolio_id)
        record = track_record(
            ledger, portfolio.mandate.targets, self.prices.closes(), benchmark=benchmark
        )
        return portfolio, record


def fingerprint(*parts: object) -> str:
    """SHA-256 of what somebody asks for; numbers count by their worth, however they are written."""
    return hashlib.sha256(repr(_canonical(parts)).encode()).hexdigest()


def _canonical(part: object) -> object:
    if isinstance(part, Decimal):
        return format(part.normalize(), "f")
    return [_canonical(one) for one in part] if isinstance(part, tuple) else part


def find_earlier_result(tx: Transaction, owner: UUID, key: str | None, asked: str) -> UUID | None:
    """What came of an earlier request with the same key; None when there was none.

    Raises:
        Conflict: that was another request.
    """
    kept = None if key is None else tx.keys.get(owner, key)
    if kept is None:
        return None
    if kept.fingerprint != asked:
        raise Conflict("this Idempotency-Key was used for another request; take a new one")
    return kept.result


def money(amount: Decimal, currency: Currency, *, field: str) -> Decimal:
    """An amount that can be paid.

    Raises:
        InvalidRequest: it is not positive, or finer than the smallest coin.
    """
    if not amount > 0:
        raise InvalidRequest(f"must be more than zero, got {amount}", field=field)
    rounded = currency.round(amount)
    if rounded != amount:
        raise InvalidRequest(
            f"is finer than {currency.minor_unit} {currency}, the least that can be paid",
            field=field,
        )
    return rounded


def market_day(on: date | None, market: PriceHistory) -> date:
    """A day on which something counts; the last close when None.

    Raises:
        InvalidRequest: the prices do not reach it.
    """
    last = market.last_date
    if on is None:
        return last
    first = market.dates[0].item()
    if not first <= on <= last:
        raise InvalidRequest(f"{on} lies outside of the prices, {first} to {last}", field="on")
    return on


def close_of(symbol: str, market: PriceHistory, on: date, *, field: str) -> Decimal:
    """The last close of an asset at or before a day, in the digits in which it was read.

    Raises:
        InvalidRequest: the asset is unknown, or had no price yet.
    """
    column = market.columns.get(symbol)
    if column is None:
        raise InvalidRequest("is unknown: the prices have no such column", field=field)
    close = float(market.closes[market.row_as_of(on), column])
    if close != close:
        raise InvalidRequest(f"has no price on {on} or before", field=field)
    return Decimal(repr(close))


def worth(quantity: Decimal, price: Decimal, currency: Currency) -> Decimal:
    """Quantity times price, in money that can be paid."""
    with localcontext(prec=60):
        return currency.round(quantity * price)


def value_portfolio(portfolio: ManagedPortfolio, market: PriceHistory) -> ValuedPortfolio:
    """A portfolio at the market's last close."""
    exact, columns = market.exact_closes(), market.columns
    held = portfolio.positions.holdings
    unknown = [symbol for symbol in held if symbol not in columns]
    if unknown:
        raise InvalidRequest(
            f"{', '.join(unknown)}: held, but the prices have no such column", field="holdings"
        )
    return ValuedPortfolio(
        portfolio, market.last_date, {symbol: exact[columns[symbol]] for symbol in held}
    )


def _entry(
    trade: Trade,
    field: str,
    currency: Currency,
    market: PriceHistory,
    proposal_id: UUID | None,
    id: UUID,
    number: int,
    now: datetime,
) -> Entry:
    try:
        if trade.kind not in TRADES:
            raise InvalidRequest("is buy or sell", field="side")
        for name in ("quantity", "price"):
            if not getattr(trade, name) > 0:
                raise InvalidRequest("must be more than zero", field=name)
        on = market_day(trade.on, market)
        close_of(trade.symbol, market, on, field="symbol")
        return Entry(
            id=_entry_id(proposal_id, id, number),
            kind=trade.kind,
            on=on,
            recorded=now,
            amount=worth(trade.quantity, trade.price, currency),
            symbol=trade.symbol,
            quantity=trade.quantity,
            price=trade.price,
            cost=money(trade.cost, currency, field="cost") if trade.cost else _ZERO,
            proposal=proposal_id,
            note=trade.note,
        )
    except InvalidRequest as error:
        raise InvalidRequest(error.message, field=f"{field}.{error.field}") from None


def _entry_id(proposal_id: UUID | None, id: UUID, number: int) -> UUID:
    return uuid5(id, str(number)) if proposal_id is None else fill_id(proposal_id, number)


def _check(mandate: Mandate, market: PriceHistory, instruments: InstrumentSource) -> None:
    """Raise unless targets are known, and within the profile's limits or acknowledged."""
    exceeded = find_breaches(mandate.over(EMPTY, id="new"), market, instruments.instruments())
    if exceeded and not mandate.acknowledge_limits:
        assert mandate.risk_profile is not None
        limits = "; ".join(f"{name} leaves {left:.1%} of them" for name, left in exceeded.items())
        raise InvalidRequest(
            f"exceed what the profile {mandate.risk_profile.name} bears ({limits}); lower them, or "
            "send acknowledge_limits: true, and proposals will keep to the limits",
            field="targets",
        )
