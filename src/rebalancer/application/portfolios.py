"""Use cases of managed portfolios: open, read, revise, close.

Each raises NotFound if the portfolio does not exist or has another owner. Those with whom it is
shared can read it; for changes they get NotAllowed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import attrs
import numpy as np

from rebalancer.application.accounts import load_account
from rebalancer.application.audit import record
from rebalancer.application.corporate_actions import (
    BookActions,
    extend_and_book,
    open_and_book,
)
from rebalancer.application.idempotency import ClientRequest
from rebalancer.application.ledger_changes import LedgerChange, change_ledger
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas, size_of_portfolio
from rebalancer.application.target_groups import check_members
from rebalancer.application.trade_amounts import traded_value
from rebalancer.application.valuation import ValuedPortfolio, value_booked, value_committed
from rebalancer.domain.audit.events import Action
from rebalancer.domain.errors import Conflict, FaultCollector, InvalidRequest, NotFound
from rebalancer.domain.market.convertible import check_convertible
from rebalancer.domain.market.currencies import missing_rate
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.ledger import EMPTY, Entry, EntryKind, Ledger, not_positive
from rebalancer.domain.portfolio.mandate import (
    ANY_VERSION,
    AcceptedVersions,
    ManagedPortfolio,
    Mandate,
)
from rebalancer.domain.rebalancing.limits import find_breaches

_ZERO = Decimal(0)


@attrs.frozen
class OpenPortfolio:
    """Open a portfolio."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        mandate: Mandate,
        *,
        cash: Decimal = _ZERO,
        foreign_cash: Mapping[str, Decimal] | None = None,
        holdings: Mapping[str, Decimal] | None = None,
        on: date | None = None,
        assessed_profile: bool = False,
        request: ClientRequest | None = None,
        id: UUID,
        owner: UUID,
        now: datetime,
    ) -> ValuedPortfolio:
        """Return the new portfolio, funded by a first deposit of cash and of assets in kind.

        ``foreign_cash`` has amounts by the ISO 4217 codes of other currencies than the base one.
        The deposit is on the day of the last close unless ``on`` names a day. With
        ``assessed_profile`` the owner's assessment sets the risk profile. If the same request has
        opened a portfolio before, that one is returned, which has another id.

        Raises:
            InvalidRequest: a symbol or the day is unknown, an amount is invalid, a price cannot be
                converted into the portfolio's currency, or the targets
                exceed limits that are not acknowledged.
            NotAuthenticated: the owner no longer exists.
            QuotaReached: the owner has too many portfolios.
            DailyQuotaReached: the owner has stored too much today.
            Conflict: the key belongs to another request, or the same request is running.
        """
        market = self.prices.closes().in_currency(mandate.currency.code)
        if request is not None:
            with self.work.read() as tx:
                earlier = request.earlier_result(tx, owner)
                before = None if earlier is None else _reopened(tx, earlier, owner)
            if before is not None:
                return value_committed(before, lambda: market, self.work)
        with self.work.read() as tx:
            assessment = load_account(tx, owner).assessment
        if assessed_profile and assessment is not None:
            mandate = attrs.evolve(mandate, risk_profile=assessment.profile)
        faults = FaultCollector()
        with faults.collect():
            wanted = {*mandate.targets, *(holdings or {})}
            check_convertible(market, sorted(wanted), needed=wanted)
        if market.without_rate(wanted):
            market = self.prices.closes()  # for the other faults
        with faults.collect():
            _check_limits(mandate, market, self.instruments)
        with faults.collect():
            held = [symbol for symbol, units in (holdings or {}).items() if units]
            check_members(mandate, held, self.instruments.instruments())
        day, entries = market.last_date, []
        with faults.collect():
            day = find_market_day(on, market, now)
        if cash:
            with faults.collect():
                amount = check_amount(cash, mandate.currency, field="cash")
                entries.append(
                    Entry(uuid5(id, "cash"), EntryKind.DEPOSIT, day, recorded=now, amount=amount)
                )
        for code, amount in sorted((foreign_cash or {}).items()):
            if not amount:
                continue
            with faults.collect():
                if market.last_rate(code) is None:
                    raise missing_rate(code, mandate.currency.code, field=f"cash.{code}")
                amount = check_amount(amount, Currency(code), field=f"cash.{code}")
                entries.append(
                    Entry(
                        uuid5(id, f"cash {code}"),
                        EntryKind.DEPOSIT,
                        day,
                        recorded=now,
                        amount=amount,
                        currency=code,
                    )
                )
        for symbol, quantity in sorted((holdings or {}).items()):
            if not quantity:
                continue
            with faults.collect():
                price = get_close(symbol, market, day, field=f"holdings.{symbol}")
                code = market.currency_of(symbol, mandate.currency.code)
                entries.append(
                    Entry(
                        uuid5(id, f"holding {symbol}"),
                        EntryKind.DEPOSIT,
                        day,
                        recorded=now,
                        amount=traded_value(quantity, price, Currency(code)),
                        symbol=symbol,
                        quantity=quantity,
                        price=price,
                        currency=None if code == mandate.currency.code else code,
                    )
                )
        faults.raise_any()
        opened = ManagedPortfolio.open(mandate, id=id, owner=owner, entries=entries, now=now)
        opened, entries = open_and_book(opened, entries, market, now)
        with self.work.begin() as tx:
            self.quotas.check_portfolios(tx, owner)
            tx.portfolios.add(opened, entries)
            self.quotas.take_bytes(tx, owner, size_of_portfolio(mandate, entries), now)
            record(tx, Action.PORTFOLIO_OPENED, at=now, subject=owner, target=f"portfolio:{id}")
            if request is not None:
                request.store_result(tx, owner, id, now)
        return value_committed(opened, lambda: market, self.work)


def _reopened(tx: Transaction, id: UUID, owner: UUID) -> ManagedPortfolio:
    """Return the portfolio that an earlier request opened; raise Conflict if it is closed."""
    try:
        return tx.portfolios.get(id, owner=owner)
    except NotFound:
        raise Conflict(
            f"this request has opened portfolio {id}, which is closed; choose a new key to open "
            "another one",
            code="portfolio_closed",
        ) from None


@attrs.frozen
class ReadPortfolio:
    """Read one portfolio, all of an owner, or all that others share."""

    work: UnitOfWork
    prices: PriceSource
    book: BookActions

    def __call__(self, id: UUID, *, actor: UUID) -> ValuedPortfolio:
        """Return the portfolio at the last close, with the corporate actions that are due."""
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(id, actor)
        market = self.prices.closes()
        return value_booked(self.book(portfolio, market), market, self.work)

    def all(
        self, owner: UUID, *, shared: bool = False, after: UUID | None = None, limit: int
    ) -> list[ValuedPortfolio]:
        """Return a page of an owner's portfolios, or of those ``shared`` with him or her.

        The oldest is first.
        """
        with self.work.read() as tx:
            page = tx.portfolios.shared_page if shared else tx.portfolios.page
            found = page(owner, after=after, limit=limit)
        market = self.prices.closes()
        return [value_booked(one, market, self.work) for one in self.book.many(found, market)]


@attrs.frozen
class RevisePortfolio:
    """Change the mandate of a portfolio."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource

    def __call__(
        self,
        change: Callable[[ManagedPortfolio], Mandate],
        *,
        id: UUID,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        now: datetime,
    ) -> ValuedPortfolio:
        """Return the portfolio with the mandate that ``change`` makes of the current state.

        Raises:
            PortfolioChanged: its version is not accepted, or another request was faster.
            InvalidRequest: as `OpenPortfolio`, or the currency differs.
        """
        with self.work.read() as tx:
            stored = tx.portfolios.get(id, owner=owner)
        market = self.prices.closes().in_currency(stored.mandate.currency.code)
        accepted.check(stored)
        mandate = change(stored)
        check_targets_of(mandate, stored, market, self.instruments)
        revised = stored.revise(mandate, now)
        rules = (stored.mandate.corporate_actions, stored.mandate.conversions)
        if rules == (mandate.corporate_actions, mandate.conversions):
            revised = attrs.evolve(revised, booked_actions=stored.booked_actions)

        def plan(tx: Transaction, current: ManagedPortfolio, ledger: Ledger) -> LedgerChange[None]:
            current.check_version(stored.version)
            before = attrs.evolve(revised, version=stored.version)

            def then(tx: Transaction) -> None:
                target = f"portfolio:{id}"
                record(tx, Action.PORTFOLIO_CHANGED, at=now, subject=owner, target=target)

            return LedgerChange(None, extend_and_book(before, ledger, [], market, now), then)

        _, revised = change_ledger(self.work, id, owner, plan, now=now)
        return value_committed(revised, lambda: market, self.work)


@attrs.frozen
class ClosePortfolio:
    """Close a portfolio."""

    work: UnitOfWork

    def __call__(
        self, id: UUID, *, owner: UUID, accepted: AcceptedVersions = ANY_VERSION, now: datetime
    ) -> None:
        """Close the portfolio; it is no longer found, but its ledger stays in the database.

        Raises:
            PortfolioChanged: its version is not accepted.
        """
        with self.work.begin() as tx:
            stored = tx.portfolios.get(id, owner=owner)
            accepted.check(stored)
            tx.portfolios.close(id, owner=owner, version=stored.version, now=now)
            record(tx, Action.PORTFOLIO_CLOSED, at=now, subject=owner, target=f"portfolio:{id}")


def check_amount(amount: Decimal, currency: Currency, *, field: str) -> Decimal:
    """Return an amount that can be paid.

    Raises:
        InvalidRequest: it is not positive, or finer than the minor unit.
    """
    if not amount > 0:
        raise not_positive(amount, field)
    rounded = currency.round(amount)
    if rounded != amount:
        raise InvalidRequest(
            f"{amount} is finer than the smallest amount, {currency.minor_unit} {currency}; "
            "round it",
            field=field,
            code="amount_too_fine",
        )
    return rounded


def find_market_day(on: date | None, market: PriceHistory, now: datetime) -> date:
    """Return the day of the last close at or before a day; that of the last close when None.

    A weekend or a holiday means the close before it, also after the last close until the day of
    ``now``, of which UTC may lag a day behind.

    Raises:
        InvalidRequest: the day is outside the prices, or to come.
    """
    first, last = market.dates[0].item(), market.last_date
    if on is None:
        return last
    if first <= on <= last:
        row = int(np.searchsorted(market.dates, np.datetime64(on), "right")) - 1
        day: date = market.dates[row].item()
        return day
    if last < on <= now.date() + timedelta(days=1):
        with suppress(InvalidRequest):  # the last close is too old
            market.row_as_of(on)
            return last
    raise InvalidRequest(
        f"{on} is outside the prices from {first} to {last}; choose a day in between",
        field="on",
        code="day_outside_prices",
    )


def get_close(symbol: str, market: PriceHistory, on: date, *, field: str) -> Decimal:
    """Return the last close at or before a day, as traded, in the digits in which it was read.

    Raises:
        InvalidRequest: the symbol is unknown, has no close yet, or has none any more.
    """
    column = market.columns.get(symbol)
    if column is None:
        raise unknown_symbols([symbol], market.symbols, field=field)
    row = market.row_as_of(on)
    close = float(market.traded[row, column])
    if close != close:
        last = market.until(row).last_known(symbol)
        if last is not None:
            raise InvalidRequest(
                f"{symbol} has no close on {on}, the last one is of {last[0]}; choose that day or "
                "an earlier one",
                field=field,
                code="no_current_price",
            )
        first = market.observed[:, column].argmax()
        remedy = "add its prices"
        if market.observed[first, column]:
            remedy = f"choose {market.dates[first]} or a later day"
        raise InvalidRequest(
            f"{symbol} has no price on {on} or before; {remedy}",
            field=field,
            code="no_price_yet",
        )
    return Decimal(repr(close))


def check_tradable(symbol: str, market: PriceHistory, on: date, *, field: str) -> None:
    """Check that the market knows an asset on a day.

    An asset whose prices have ended may be traded at a price that its owner states.

    Raises:
        InvalidRequest: the symbol is unknown, or has no price yet.
    """
    try:
        get_close(symbol, market, on, field=field)
    except InvalidRequest as error:
        if error.code != "no_current_price":
            raise


def check_targets_of(
    mandate: Mandate,
    stored: ManagedPortfolio,
    market: PriceHistory,
    instruments: InstrumentSource,
) -> None:
    """Check the targets that a stored portfolio is to have.

    Raises:
        InvalidRequest: a price cannot be converted into the portfolio's currency, a symbol is
            unknown, or the targets exceed limits that are not acknowledged.
    """
    market = market.in_currency(stored.mandate.currency.code)
    known = {*stored.mandate.targets, *stored.positions.holdings}
    check_convertible(market, sorted(mandate.targets), needed=mandate.targets.keys() - known)
    _check_limits(mandate, market, instruments, known=known)
    held = [symbol for symbol, units in stored.positions.holdings.items() if units]
    check_members(mandate, held, instruments.instruments())


def _check_limits(
    mandate: Mandate,
    market: PriceHistory,
    instruments: InstrumentSource,
    *,
    known: Collection[str] = (),
) -> None:
    """Check that the targets are within the profile's limits, or that this is acknowledged.

    Assets in ``known``, which the portfolio holds or targets already, may have no current price;
    they have no part in the limits then.

    Raises:
        InvalidRequest: they are not, or a symbol is unknown.
    """
    priced = {
        symbol: weight
        for symbol, weight in mandate.targets.items()
        if symbol not in known or (symbol in market.columns and symbol not in market.withheld)
    }
    checked = attrs.evolve(mandate, targets=priced, target_groups=None).apply_to(EMPTY, id="new")
    exceeded = find_breaches(checked, market, instruments.instruments())
    if exceeded and not mandate.acknowledge_limits:
        assert mandate.risk_profile is not None
        limits = "; ".join(f"{name} allows {left:.1%} of them" for name, left in exceeded.items())
        raise InvalidRequest(
            f"the targets exceed the limits of the profile {mandate.risk_profile.name} ({limits}); "
            "lower them, or acknowledge the limits, which proposals then respect",
            field="targets",
            code="targets_exceed_limits",
        )
