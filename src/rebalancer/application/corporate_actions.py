"""Book corporate actions of the market in the ledgers of stored portfolios.

Portfolios with automatic booking have their actions booked whenever they are read or changed after
an action became known. In others the actions wait for their owner, see
`rebalancer.application.action_requests`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import attrs

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.worksheets import cancel_worksheets
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError
from rebalancer.domain.market.actions import DISTRIBUTIONS
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.action_reviews import review_actions
from rebalancer.domain.portfolio.corporate_actions import (
    ActionReview,
    ActionState,
    BookingTerms,
    due_actions,
    follow_renames,
)
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import (
    ActionBooking,
    ManagedPortfolio,
    Mandate,
    PortfolioChanged,
)

log = logging.getLogger("rebalancer.actions")

_NOT_BOOKED = (
    "Corporate actions could not be booked, so holdings and cash may not be those of today; read "
    "the portfolio again later."
)


@attrs.frozen
class BookedPortfolio:
    """Portfolio with its corporate actions.

    Attributes:
        notes: What is not booked, as sentences.
        pending: Actions that are not booked; they wait for the owner, or cannot be booked.
    """

    portfolio: ManagedPortfolio
    notes: tuple[str, ...] = ()
    pending: tuple[ActionReview, ...] = ()

    def check_units(self, until: date) -> None:
        """Check that no pending action changes the units that are held.

        Args:
            until: Actions of later days do not count.

        Raises:
            Conflict: a split or the like of a held asset is not booked.
        """
        for review in self.pending:
            changes = review.action.kind not in DISTRIBUTIONS
            if changes and review.on <= until and review.action.symbol in self._held:
                raise Conflict(
                    f"the action {review.key} is not booked, so the units of "
                    f"{review.action.symbol} are not those of today; confirm or dismiss it first",
                    code="action_pending",
                )

    @property
    def _held(self) -> Mapping[str, Decimal]:
        return self.portfolio.positions.holdings


@attrs.frozen
class DueBooking:
    """What is due in one ledger.

    Attributes:
        ledger: With the entries.
        mandate: With new symbols.
        entries: To append to the ledger.
        notes: What cannot be booked, and what waits for the owner, as sentences.
        pending: Actions that cannot be booked, or that wait for the owner.
    """

    ledger: Ledger
    mandate: Mandate
    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    pending: tuple[ActionReview, ...] = ()


def find_due(
    portfolio: ManagedPortfolio, ledger: Ledger, market: PriceHistory, now: datetime
) -> DueBooking:
    """Return the entries and the new symbols that are due in a ledger.

    An action that would leave cash or a holding negative is left out.
    """
    mandate = portfolio.mandate
    actions = due_actions(market)
    if not (actions.entries or actions.withdrawn):
        return DueBooking(ledger, mandate)
    terms = BookingTerms.of(portfolio, market)
    if mandate.corporate_actions is ActionBooking.CONFIRM:
        waiting = _pending(review_actions(ledger, terms, now))
        return DueBooking(ledger, mandate, notes=_waiting_note(waiting), pending=tuple(waiting))
    followed = follow_renames(mandate, market)
    pending = _pending(review_actions(ledger, terms, now))
    entries = tuple(entry for review in pending for entry in review.due)
    if not entries:
        return DueBooking(ledger, followed)
    try:
        return DueBooking(ledger.extended_by(entries), followed, entries)
    except (Conflict, InvalidRequest):
        return _book_singly(ledger, followed, terms, pending, now)


def _book_singly(
    ledger: Ledger,
    mandate: Mandate,
    terms: BookingTerms,
    pending: Sequence[ActionReview],
    now: datetime,
) -> DueBooking:
    """Book each action that can be booked, in turn."""
    booked: list[Entry] = []
    notes, left = [], []
    for review in pending:
        key = review.key
        reviews = review_actions(ledger, terms, now, only=[key])
        due = [entry for one in reviews if one.key == key for entry in one.due]
        try:
            ledger = ledger.extended_by(due)
        except (Conflict, InvalidRequest) as error:
            notes.append(f"The action {key} could not be booked: {error.message}.")
            left.append(review)
            continue
        booked += due
    return DueBooking(ledger, mandate, tuple(booked), tuple(notes), tuple(left))


def _pending(reviews: Sequence[ActionReview]) -> list[ActionReview]:
    return [review for review in reviews if review.state is ActionState.PENDING]


def _waiting_note(waiting: Sequence[ActionReview]) -> tuple[str, ...]:
    if not waiting:
        return ()
    what = (
        "1 corporate action waits"
        if len(waiting) == 1
        else f"{len(waiting)} corporate actions wait"
    )
    return (f"{what} for confirmation, from {waiting[0].key} on; holdings and cash lack them.",)


def open_and_book(
    portfolio: ManagedPortfolio, entries: Sequence[Entry], market: PriceHistory, now: datetime
) -> tuple[ManagedPortfolio, list[Entry]]:
    """Return a new portfolio, as `extend_and_book` does with its first entries; version 1."""
    booked, every = extend_and_book(portfolio, Ledger(), entries, market, now)
    return attrs.evolve(booked, version=portfolio.version), every


def extend_and_book(
    portfolio: ManagedPortfolio,
    ledger: Ledger,
    entries: Sequence[Entry],
    market: PriceHistory | None,
    now: datetime,
) -> tuple[ManagedPortfolio, list[Entry]]:
    """Return the portfolio with further entries, and with the corporate actions that are due then.

    A trade of an earlier day may change what an action paid. Without a market, or if an action
    cannot be booked, the actions are left to the next read.

    Returns:
        The portfolio, and all entries to append to its ledger.

    Raises:
        Overdrawn: cash or a holding would be negative, without the actions.
    """
    longer = ledger.extended_by(entries)
    if market is None:
        return portfolio.book(longer, now), list(entries)
    try:
        due = find_due(portfolio, longer, market, now)
    except RebalancerError:
        log.exception("corporate actions of portfolio %s cannot be derived", portfolio.id)
        return portfolio.book(longer, now), list(entries)
    digest = None if due.notes else _digest(market)
    booked = portfolio.book(due.ledger, now, mandate=due.mandate, booked_actions=digest)
    return booked, [*entries, *due.entries]


def unbooked_notes(
    portfolio: ManagedPortfolio, market: PriceHistory, work: UnitOfWork, now: datetime
) -> tuple[str, ...]:
    """Return what is not booked in a portfolio that was stored with `extend_and_book`.

    Its ledger is read only if it may lack an action.
    """
    digest = _digest(market)
    if digest is None or digest == portfolio.booked_actions:
        return ()
    with work.read() as tx:
        ledger = tx.portfolios.ledger(portfolio.id)
    return find_due(portfolio, ledger, market, now).notes


def _digest(market: PriceHistory) -> str | None:
    due = due_actions(market)
    return due.digest if due.entries or due.withdrawn else None


@attrs.frozen
class BookActions:
    """Book corporate actions in portfolios that have just been read."""

    work: UnitOfWork
    clock: Clock

    def __call__(self, portfolio: ManagedPortfolio, market: PriceHistory) -> BookedPortfolio:
        """Return a portfolio with the actions that are due; see `many`."""
        (booked,) = self.many([portfolio], market)
        return booked

    def many(
        self, portfolios: Sequence[ManagedPortfolio], market: PriceHistory
    ) -> list[BookedPortfolio]:
        """Return portfolios with the actions that are due, in the same order.

        Ledgers are read only if the actions have changed since they were booked. An action that
        cannot be booked, and a store that cannot be written, leave the portfolio as it is, with a
        note.
        """
        digest = _digest(market)
        stale = [one for one in portfolios if digest is not None and one.booked_actions != digest]
        if not stale or digest is None:
            return [BookedPortfolio(one) for one in portfolios]
        try:
            found = self._book(stale, market, digest)
        except Exception:
            log.exception("corporate actions of %d portfolios cannot be booked", len(stale))
            found = {one.id: BookedPortfolio(one, (_NOT_BOOKED,)) for one in stale}
        return [found.get(one.id, BookedPortfolio(one)) for one in portfolios]

    def _book(
        self, portfolios: Sequence[ManagedPortfolio], market: PriceHistory, digest: str
    ) -> dict[UUID, BookedPortfolio]:
        now = self.clock()
        with self.work.read() as tx:
            ledgers = tx.portfolios.ledgers([one.id for one in portfolios])
        found: dict[UUID, BookedPortfolio] = {}
        unconcerned: dict[UUID, int] = {}
        for portfolio in portfolios:
            due = find_due(portfolio, ledgers[portfolio.id], market, now)
            if due.entries or due.mandate is not portfolio.mandate:
                found[portfolio.id] = self._write(portfolio, market, digest, now)
                continue
            found[portfolio.id] = BookedPortfolio(portfolio, due.notes, due.pending)
            if not due.notes:
                unconcerned[portfolio.id] = portfolio.version
        if unconcerned:
            try:
                with self.work.begin() as tx:
                    tx.portfolios.mark_booked(digest, unconcerned)
            except RebalancerError as error:  # the ledgers are read again next time
                log.warning("portfolios cannot be marked as booked: %s", error)
        return found

    def _write(
        self,
        portfolio: ManagedPortfolio,
        market: PriceHistory,
        digest: str,
        now: datetime,
        attempts: int = 2,
    ) -> BookedPortfolio:
        """Book what is due in the stored portfolio, which may have changed since it was read."""
        try:
            with self.work.begin() as tx:
                stored = tx.portfolios.get(portfolio.id, owner=portfolio.owner)
                due = find_due(stored, tx.portfolios.ledger(stored.id), market, now)
                if not due.entries and due.mandate is stored.mandate:
                    return BookedPortfolio(stored, due.notes, due.pending)
                booked = stored.book(
                    due.ledger,
                    now,
                    mandate=due.mandate,
                    booked_actions=None if due.notes else digest,
                )
                tx.portfolios.save(booked, entries=due.entries)
                cancel_worksheets(tx, booked, due.entries, now)
        except PortfolioChanged:
            if attempts <= 1:
                raise
            return self._write(portfolio, market, digest, now, attempts - 1)
        return BookedPortfolio(booked, due.notes, due.pending)
