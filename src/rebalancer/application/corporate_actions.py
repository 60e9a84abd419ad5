"""Book corporate actions of the market in the ledgers of stored portfolios.

Portfolios with automatic booking have their actions booked whenever they are read or changed after
an action became known. In others the actions wait for their owner, see
`rebalancer.application.action_requests`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from threading import Lock
from uuid import UUID

import attrs

from rebalancer.application.ledger_changes import (
    ExtendedPortfolio,
    LedgerChange,
    change_ledger,
)
from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.store import Transaction, UnitOfWork
from rebalancer.domain.errors import Conflict, InvalidRequest, RebalancerError
from rebalancer.domain.market.actions import DISTRIBUTIONS, CorporateAction
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.action_reviews import (
    PAID_WITHIN,
    SPLIT_WITHIN,
    review_actions,
)
from rebalancer.domain.portfolio.corporate_actions import (
    ActionReview,
    ActionState,
    BookingTerms,
    due_actions,
    follow_renames,
)
from rebalancer.domain.portfolio.entries import REORGANISATIONS, Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger
from rebalancer.domain.portfolio.mandate import (
    ActionBooking,
    ManagedPortfolio,
    Mandate,
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
    booked = extend_and_book(portfolio, Ledger(), entries, market, now)
    return attrs.evolve(booked.portfolio, version=portfolio.version), list(booked.entries)


def extend_and_book(
    portfolio: ManagedPortfolio,
    ledger: Ledger,
    entries: Sequence[Entry],
    market: PriceHistory | None,
    now: datetime,
) -> ExtendedPortfolio:
    """Return the portfolio with further entries, and with the corporate actions that are due then.

    A trade of an earlier day may change what an action paid. Without a market, or if an action
    cannot be booked, the actions are left to the next read. The entries of a long ledger are not
    read if its actions are known, and the further entries do not concern them.

    Raises:
        Overdrawn: cash or a holding would be negative, without the actions.
    """
    longer = ledger.extended_by(entries)
    if market is None:
        return ExtendedPortfolio(portfolio.book(longer, now), tuple(entries), longer)
    try:
        known = _find_known(portfolio, market)
        if known is not None and leave_reviews(entries, market):
            due = attrs.evolve(known, ledger=longer)
        else:
            due = find_due(portfolio, longer, market, now)
    except RebalancerError:
        log.exception("corporate actions of portfolio %s cannot be derived", portfolio.id)
        return ExtendedPortfolio(portfolio.book(longer, now), tuple(entries), longer)
    digest = None if due.notes else _digest(market)
    booked = portfolio.book(due.ledger, now, mandate=due.mandate, booked_actions=digest)
    _remember(booked, due, market)
    return ExtendedPortfolio(booked, (*entries, *due.entries), due.ledger)


def unbooked_notes(
    portfolio: ManagedPortfolio, market: PriceHistory, work: UnitOfWork, now: datetime
) -> tuple[str, ...]:
    """Return what is not booked in a portfolio that was stored with `extend_and_book`.

    Its ledger is read only if it may lack an action.
    """
    digest = _digest(market)
    if digest is None:
        return ()
    known = _find_known(portfolio, market)
    if known is not None:
        return known.notes
    with work.read() as tx:
        ledger = tx.portfolios.ledger(portfolio.id)
        return find_due(portfolio, ledger, market, now).notes


def leave_reviews(entries: Iterable[Entry], market: PriceHistory) -> bool:
    """Return whether entries change nothing about any corporate action of their ledger.

    They do if they might stand for an action, or move units that a later action concerns.
    """
    by_symbol = due_actions(market).by_symbol
    for entry in entries:
        if entry.action is not None or entry.kind in REORGANISATIONS:
            return False
        if entry.symbol is None:
            continue
        actions = by_symbol.get(entry.symbol, ())
        if entry.kind in _PAYMENTS and any(
            entry.on - _STANDS_FOR <= action.ex_day <= entry.on for action in actions
        ):
            return False
        if entry.quantity and any(
            action.ex_day > entry.on
            for symbol in _reachable(entry.symbol, by_symbol)
            for action in by_symbol.get(symbol, ())
        ):
            return False
    return True


_PAYMENTS = frozenset({EntryKind.DIVIDEND, EntryKind.RETURN_OF_CAPITAL})

_STANDS_FOR = PAID_WITHIN + SPLIT_WITHIN
"""Time after an ex-day in which an owner's payment may stand for it, weekends included."""


def _reachable(symbol: str, by_symbol: Mapping[str, Sequence[CorporateAction]]) -> dict[str, None]:
    """Return an asset and those that its corporate actions bring, directly or not."""
    found, waiting = {symbol: None}, [symbol]
    while waiting:
        for action in by_symbol.get(waiting.pop(), ()):
            if action.other and action.other not in found:
                found[action.other] = None
                waiting.append(action.other)
    return found


@attrs.define
class _RecentReviews:
    """What is not booked in portfolios that were reviewed recently, for one market.

    A portfolio is known by its version and the time of its change.
    """

    most: int = 10_000
    _found: OrderedDict[_Key, DueBooking] = attrs.field(factory=OrderedDict, init=False)
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def get(self, portfolio: ManagedPortfolio) -> DueBooking | None:
        with self._lock:
            return self._found.get(_key(portfolio))

    def put(self, portfolio: ManagedPortfolio, due: DueBooking) -> None:
        with self._lock:
            self._found[_key(portfolio)] = attrs.evolve(due, ledger=Ledger(), entries=())
            self._found.move_to_end(_key(portfolio))
            while len(self._found) > self.most:
                self._found.popitem(last=False)


_Key = tuple[UUID, int, datetime]


def _key(portfolio: ManagedPortfolio) -> _Key:
    return portfolio.id, portfolio.version, portfolio.changed


def _recent(market: PriceHistory) -> _RecentReviews:
    return market.memo("recent reviews", _RecentReviews)


def _remember(portfolio: ManagedPortfolio, due: DueBooking, market: PriceHistory) -> None:
    """Keep what is not booked in a portfolio, if anything; the portfolio states if all is."""
    if due.notes:
        _recent(market).put(portfolio, attrs.evolve(due, mandate=portfolio.mandate))


def _find_known(portfolio: ManagedPortfolio, market: PriceHistory) -> DueBooking | None:
    """Return what is due in a portfolio if that is known without its entries; None otherwise."""
    digest = _digest(market)
    if digest is None:
        return None
    if portfolio.booked_actions == digest:
        automatic = portfolio.mandate.corporate_actions is ActionBooking.AUTOMATIC
        mandate = portfolio.mandate
        return DueBooking(Ledger(), follow_renames(mandate, market) if automatic else mandate)
    known = _recent(market).get(portfolio)
    return None if known is None or known.mandate != portfolio.mandate else known


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
        found: dict[UUID, BookedPortfolio] = {}
        for one in stale:
            known = _find_known(one, market)
            if known is not None:
                found[one.id] = BookedPortfolio(one, known.notes, known.pending)
        stale = [one for one in stale if one.id not in found]
        try:
            found |= self._book(stale, market, digest) if stale else {}
        except Exception:
            log.exception("corporate actions of %d portfolios cannot be booked", len(stale))
            found |= {one.id: BookedPortfolio(one, (_NOT_BOOKED,)) for one in stale}
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
            _remember(portfolio, due, market)
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
        self, portfolio: ManagedPortfolio, market: PriceHistory, digest: str, now: datetime
    ) -> BookedPortfolio:
        """Book what is due in the stored portfolio, which may have changed since it was read."""

        def plan(
            tx: Transaction, stored: ManagedPortfolio, ledger: Ledger
        ) -> LedgerChange[DueBooking]:
            due = find_due(stored, ledger, market, now)
            if not due.entries and due.mandate is stored.mandate:
                return LedgerChange(due)
            booked = stored.book(
                due.ledger,
                now,
                mandate=due.mandate,
                booked_actions=None if due.notes else digest,
            )
            return LedgerChange(due, ExtendedPortfolio(booked, due.entries, due.ledger))

        due, stored = change_ledger(self.work, portfolio.id, portfolio.owner, plan, now=now)
        _remember(stored, due, market)
        return BookedPortfolio(stored, due.notes, due.pending)
