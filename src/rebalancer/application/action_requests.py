"""List, confirm, dismiss and record the corporate actions of a stored portfolio.

Each use case raises NotFound if the portfolio does not exist or has another owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID, uuid5

import attrs

from rebalancer.application.corporate_actions import BookActions, extend_and_book
from rebalancer.application.idempotency import add_key, find_earlier_result, fingerprint
from rebalancer.application.ledger_changes import LedgerChange, change_ledger
from rebalancer.application.owner_entries import CashFlow, Recording
from rebalancer.application.portfolios import check_tradable, find_market_day
from rebalancer.application.ports.market import PriceSource
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.valuation import ValuedPortfolio, value_committed
from rebalancer.domain.errors import Conflict, FaultCollector, InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.action_reviews import review_actions
from rebalancer.domain.portfolio.corporate_actions import (
    ActionReview,
    ActionState,
    BookingTerms,
    replace_symbol,
)
from rebalancer.domain.portfolio.entries import REORGANISATIONS, Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import (
    ANY_VERSION,
    AcceptedVersions,
    ManagedPortfolio,
    Mandate,
)

_ZERO = Decimal(0)

PAYMENTS = frozenset({EntryKind.DIVIDEND, EntryKind.RETURN_OF_CAPITAL})
"""Payments of an asset that may be recorded as its corporate action."""


@attrs.frozen
class Confirmation:
    """Decision on a pending corporate action.

    Attributes:
        key: Key of the action.
        dismissed: Whether it is not to be booked.
        amount: Amount before tax that was paid; None: as computed.
        withheld: Tax withheld from it.
    """

    key: str
    dismissed: bool = False
    amount: Decimal | None = None
    withheld: Decimal = _ZERO


@attrs.frozen
class OwnAction:
    """Corporate action that the market does not know.

    Attributes:
        kind: A reorganisation, a dividend or a return of capital.
        on: First day in the new form, or ex-day; None: the day of the last close.
        ratio: See `Entry`; so are the others.
    """

    kind: EntryKind
    symbol: str
    on: date | None = None
    ratio: Decimal | None = None
    other: str | None = None
    cost_share: Decimal | None = None
    amount: Decimal = _ZERO
    currency: str | None = None
    withheld: Decimal = _ZERO
    note: str = ""


@attrs.frozen
class PortfolioActions:
    """Corporate actions of a portfolio.

    Attributes:
        reviews: Those that the market knows, by ex-day.
        own: Effective reorganisations that only the ledger knows.
        currency: Base currency of the portfolio.
    """

    reviews: tuple[ActionReview, ...]
    own: tuple[Entry, ...]
    currency: Currency


@attrs.frozen
class ListActions:
    """List the corporate actions of a portfolio."""

    work: UnitOfWork
    prices: PriceSource
    book: BookActions

    def __call__(self, portfolio_id: UUID, *, actor: UUID, now: datetime) -> PortfolioActions:
        """Return the actions with their state; automatic ones are booked first."""
        market = self.prices.closes()
        with self.work.read() as tx:
            portfolio = tx.portfolios.get_for(portfolio_id, actor)
        portfolio = self.book(portfolio, market).portfolio
        with self.work.read() as tx:
            ledger = tx.portfolios.ledger(portfolio_id)
            return collect_actions(portfolio, ledger, market, now)


@attrs.frozen
class DecideActions:
    """Confirm or dismiss pending corporate actions, and record others."""

    work: UnitOfWork
    prices: PriceSource
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(
        self,
        decisions: Sequence[Confirmation],
        own: Sequence[OwnAction] = (),
        *,
        portfolio_id: UUID,
        owner: UUID,
        accepted: AcceptedVersions = ANY_VERSION,
        key: str | None = None,
        id: UUID,
        now: datetime,
    ) -> tuple[PortfolioActions, ValuedPortfolio, bool]:
        """Return the actions, the new portfolio, and whether the request was repeated.

        An action that is dismissed is booked and voided, so that the ledger shows it. A new symbol
        changes the targets and the lists of assets, too.

        Raises:
            InvalidRequest: an action is not pending, or a field is invalid; names the field.
            Overdrawn: cash or a holding would be negative.
            PortfolioChanged: the version of the portfolio is not accepted.
            Conflict: the idempotency key belongs to another request.
        """
        if not decisions and not own:
            raise InvalidRequest(
                "no action; name at least one to confirm, dismiss or record",
                field="decisions",
                code="no_actions",
            )
        market = self.prices.closes()
        asked = fingerprint(
            "actions", portfolio_id, *map(attrs.astuple, decisions), *map(attrs.astuple, own)
        )

        def plan(
            tx: Transaction, portfolio: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[tuple[PortfolioActions, bool]]:
            if find_earlier_result(tx, owner, key, asked) is not None:
                return LedgerChange((collect_actions(portfolio, ledger, market, now), True))
            accepted.check(portfolio)
            desk = _Desk(portfolio, ledger, market, id, now)
            entries = [*desk.decide(decisions), *desk.record(own)]
            mandate = _follow(portfolio.mandate, entries)
            extended = extend_and_book(
                attrs.evolve(portfolio, mandate=mandate), ledger, entries, market, now
            )
            actions = collect_actions(extended.portfolio, extended.ledger, market, now)
            then = partial(add_key, owner=owner, key=key, request=asked, result=id, now=now)
            return LedgerChange((actions, False), extended, then)

        (actions, replayed), portfolio = change_ledger(
            self.work, portfolio_id, owner, plan, now=now, quotas=self.quotas
        )
        return actions, value_committed(portfolio, lambda: market, self.work), replayed


def collect_actions(
    portfolio: ManagedPortfolio, ledger: Ledger, market: PriceHistory, now: datetime
) -> PortfolioActions:
    """Return the corporate actions of a portfolio with their state."""
    reviews = tuple(review_actions(ledger, BookingTerms.of(portfolio, market), now))
    known = {entry.id for review in reviews for entry in review.entries}
    own = tuple(
        entry
        for entry in ledger.effective
        if entry.kind in REORGANISATIONS and entry.id not in known
    )
    return PortfolioActions(reviews, own, portfolio.mandate.currency)


@attrs.frozen
class _Desk:
    """Entries that one request makes."""

    portfolio: ManagedPortfolio
    ledger: Ledger
    market: PriceHistory
    id: UUID
    now: datetime

    def decide(self, decisions: Sequence[Confirmation]) -> list[Entry]:
        """Return the entries of confirmed and dismissed actions."""
        terms = BookingTerms.of(self.portfolio, self.market)
        confirmed = [one.key for one in decisions if not one.dismissed]
        reviews = {
            review.key: review
            for review in review_actions(self.ledger, terms, self.now, only=confirmed)
        }
        faults, found = FaultCollector(), list[Entry]()
        for number, decision in enumerate(decisions):
            with faults.collect(f"decisions[{number}]."):
                review = reviews.get(decision.key)
                if review is None or review.state is not ActionState.PENDING:
                    raise _not_pending(decision.key, review)
                found += (
                    self._dismiss(review) if decision.dismissed else self._confirm(review, decision)
                )
        faults.raise_any()
        return found

    def record(self, own: Sequence[OwnAction]) -> list[Entry]:
        """Return the entries of actions that the market does not know."""
        recording = Recording(self.portfolio.mandate.currency, self.market, self.ledger, self.now)
        faults, found = FaultCollector(), list[Entry]()
        for number, action in enumerate(own):
            with faults.collect(f"record[{number}]."):
                id = uuid5(self.id, f"own {number}")
                if action.kind in PAYMENTS:
                    flow = CashFlow(
                        action.kind,
                        action.amount,
                        action.on,
                        action.symbol,
                        action.note,
                        action.currency,
                        action.withheld,
                    )
                    found.append(recording.cash_entry(flow, id))
                else:
                    found.append(self._reorganise(action, id, found))
        faults.raise_any()
        return found

    def _confirm(self, review: ActionReview, decision: Confirmation) -> list[Entry]:
        """Return the entries of a pending action, with the figures that its owner states."""
        if decision.amount is None and not decision.withheld:
            return list(review.due)
        main = next(one for one in review.due if one.voids is None)
        if main.kind in REORGANISATIONS:
            raise InvalidRequest(
                f"the action {review.key} pays no money; omit the amount and the tax",
                field="amount",
                code="unexpected_value",
            )
        stated = attrs.evolve(
            main,
            id=uuid5(self.id, review.key),
            amount=main.amount if decision.amount is None else decision.amount,
            withheld=decision.withheld,
        )
        recording = Recording(self.portfolio.mandate.currency, self.market, self.ledger, self.now)
        reversals = [one for one in review.due if one.voids is not None]
        exchanged = any(one.kind is EntryKind.EXCHANGE for one in review.due if one.voids is None)
        exchange = recording.proceeds_exchange(stated) if exchanged else None
        return [*reversals, stated, *([] if exchange is None else [exchange])]

    def _dismiss(self, review: ActionReview) -> list[Entry]:
        """Return the entries that keep what the ledger has, so that the action does not return."""
        if review.entries:  # what is booked stays, as its owner's own figures
            main = next(one for one in review.entries if one.kind is not EntryKind.EXCHANGE)
            again = attrs.evolve(main, id=uuid5(self.id, review.key), recorded=self.now)
            return [main.reversal(recorded=self.now, corrects=True), again]
        booked = [
            one for one in review.due if one.voids is None and one.kind is not EntryKind.EXCHANGE
        ]
        return [*booked, *(one.reversal(recorded=self.now, note="dismissed") for one in booked)]

    def _reorganise(self, action: OwnAction, id: UUID, made: Sequence[Entry]) -> Entry:
        """Return the entry of a split, a new symbol, a spin-off or a merger.

        ``made`` are the entries that the request has made before.
        """
        known = Ledger((*self.ledger.effective, *made))
        on = find_market_day(action.on, self.market, self.now)
        for field, symbol in (("symbol", action.symbol), ("other", action.other)):
            if symbol and symbol not in known.symbols:
                check_tradable(symbol, self.market, self.market.last_date, field=field)
        if not _held_before(known, action.symbol, on) > 0:
            raise InvalidRequest(
                f"the portfolio held no {action.symbol} before {on}; record its purchase first, or "
                "correct the day",
                field="symbol",
                code="not_held",
            )
        base = self.portfolio.mandate.currency.code
        return Entry(
            id=id,
            kind=action.kind,
            on=on,
            recorded=self.now,
            amount=action.amount,
            symbol=action.symbol,
            note=action.note,
            currency=None if action.currency == base else action.currency,
            withheld=action.withheld,
            ratio=action.ratio,
            other=action.other,
            cost_share=action.cost_share,
        )


def _held_before(ledger: Ledger, symbol: str, day: date) -> Decimal:
    """Return the units of an asset at the start of a day."""
    earlier = tuple(entry for entry in ledger.effective if entry.on < day)
    return Ledger(earlier).positions.holdings.get(symbol, _ZERO)


def _not_pending(key: str, review: ActionReview | None) -> Exception:
    if review is None:
        return InvalidRequest(
            f"{key!r} is not a corporate action of the portfolio; choose one of the list",
            field="key",
            code="unknown_action",
        )
    return Conflict(
        f"the action {key} is {review.state} already; void its entry to change that",
        code="action_not_pending",
    )


def _follow(mandate: Mandate, entries: Sequence[Entry]) -> Mandate:
    """Return the mandate with the new symbols of entries."""
    for entry in entries:
        if entry.kind is EntryKind.RENAME and entry.voids is None:
            void = any(one.voids == entry.id for one in entries)
            if not void:
                mandate = replace_symbol(mandate, str(entry.symbol), str(entry.other))
    return mandate
