"""Value of stored portfolios over time, from snapshots in this process and in the store."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Lock
from uuid import UUID

import attrs

from rebalancer.application.ports.store import UnitOfWork
from rebalancer.domain.backtest.history_snapshots import (
    WINDOW,
    HistorySnapshot,
    KeptHistory,
    take_snapshot,
)
from rebalancer.domain.backtest.periods import ValueHistory
from rebalancer.domain.errors import RebalancerError
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger import Ledger, LedgerMark
from rebalancer.domain.portfolio.mandate import ManagedPortfolio

MOST_SNAPSHOTS = 1_000
"""Snapshots that a process keeps, about 50 kB each for five years of closes."""

STORED_FROM = 500
"""Entries from which on a snapshot is stored; shorter ledgers are measured as fast."""

log = logging.getLogger("rebalancer.valuation")


@attrs.frozen(eq=False)
class _Kept:
    """What is known of a portfolio.

    Attributes:
        version: Version and time of change of the portfolio.
        market: Prices of the snapshot.
        mark: End of the ledger; None if it is not known.
        snapshot: Its history; None if it cannot be measured.
    """

    version: tuple[int, datetime]
    market: weakref.ref[PriceHistory]
    mark: LedgerMark | None
    snapshot: HistorySnapshot | None


@attrs.define
class HistoryCache:
    """Snapshots of recently measured portfolios."""

    most: int = MOST_SNAPSHOTS
    _found: OrderedDict[UUID, _Kept] = attrs.field(factory=OrderedDict, init=False)
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def get(self, id: UUID) -> _Kept | None:
        """Return what is known of a portfolio."""
        with self._lock:
            if id in self._found:
                self._found.move_to_end(id)
            return self._found.get(id)

    def put(self, id: UUID, kept: _Kept) -> None:
        """Keep what is known of a portfolio, and forget those that were not asked for."""
        with self._lock:
            self._found[id] = kept
            self._found.move_to_end(id)
            while len(self._found) > self.most:
                self._found.popitem(last=False)


@attrs.frozen
class ReadHistories:
    """Read the value of stored portfolios over time.

    An unchanged portfolio is not read. Of a changed one, and after new closes, only the later
    entries are read where its snapshot can be continued, see `HistorySnapshot.continued`.
    Snapshots of long ledgers are stored, for other processes.

    Attributes:
        cache: Snapshots of this process.
    """

    work: UnitOfWork
    cache: HistoryCache = attrs.field(factory=HistoryCache, init=False, repr=False)

    def __call__(
        self, portfolios: Sequence[ManagedPortfolio], market: PriceHistory
    ) -> dict[UUID, ValueHistory]:
        """Return the histories by portfolio, in the base currencies.

        A portfolio without entries or without prices has no history.
        """
        found: dict[UUID, HistorySnapshot | None] = {}
        unknown = []
        for one in portfolios:
            kept = self.cache.get(one.id)
            if kept is not None and kept.version == _version(one) and kept.market() is market:
                found[one.id] = kept.snapshot
            else:
                unknown.append(one)
        if unknown:
            found |= self._measure(unknown, market)
        return {id: one.history for id, one in found.items() if one is not None}

    def _measure(
        self, portfolios: Sequence[ManagedPortfolio], market: PriceHistory
    ) -> dict[UUID, HistorySnapshot | None]:
        """Continue snapshots, or measure all entries of a portfolio."""
        found: dict[UUID, HistorySnapshot | None] = {}
        marks: dict[UUID, LedgerMark | None] = {}
        begun = {one.id: kept for one in portfolios if (kept := self._recall(one)) is not None}
        with self.work.read() as tx:
            begun |= tx.portfolios.histories([one.id for one in portfolios if one.id not in begun])
            for one in portfolios:
                ledger = tx.portfolios.ledger(one.id)
                marks[one.id] = find_mark(ledger)
                continued = _continue(one, begun.get(one.id), ledger, market)
                if continued is not None:
                    found[one.id] = continued
            rest = [one for one in portfolios if one.id not in found]
            ledgers = tx.portfolios.ledgers([one.id for one in rest])
        for one in rest:
            ledger, mark = ledgers[one.id], marks[one.id]
            if mark is not None and mark.count != len(ledger.entries):
                marks[one.id] = None  # it has changed since
            found[one.id] = self._measure_all(one, ledger, market)
            begun.pop(one.id, None)  # it does not hold any more
        for one in portfolios:
            known = _Kept(_version(one), weakref.ref(market), marks[one.id], found[one.id])
            self.cache.put(one.id, known)
        self._store(begun, found, marks)
        return found

    def _recall(self, portfolio: ManagedPortfolio) -> KeptHistory | None:
        """Return the snapshot of a portfolio that this process keeps."""
        kept = self.cache.get(portfolio.id)
        if kept is None or kept.snapshot is None or kept.mark is None:
            return None
        return KeptHistory(kept.mark, kept.snapshot)

    def _store(
        self,
        begun: Mapping[UUID, KeptHistory],
        found: Mapping[UUID, HistorySnapshot | None],
        marks: Mapping[UUID, LedgerMark | None],
    ) -> None:
        """Store snapshots of long ledgers that are new, or whose base is much later than before."""
        stored = {}
        for id, snapshot in found.items():
            mark, before = marks[id], begun.get(id)
            if snapshot is None or snapshot.base is None or mark is None or mark.number is None:
                continue
            known = None if before is None else before.snapshot.base
            moved = known is None or not 0 <= snapshot.base.row - known.row < WINDOW
            if mark.count >= STORED_FROM and moved:
                stored[id] = KeptHistory(mark, snapshot)
        if not stored:
            return
        try:
            with self.work.begin() as tx:
                tx.portfolios.keep_histories(stored)
        except Exception:  # a reader needs no store that can be written
            log.exception("snapshots of %d histories cannot be stored", len(stored))

    def _measure_all(
        self, portfolio: ManagedPortfolio, ledger: Ledger, market: PriceHistory
    ) -> HistorySnapshot | None:
        """Measure all entries; None for an empty ledger, or one without prices."""
        try:
            code = portfolio.mandate.currency.code
            return take_snapshot(ledger, market, currency=code, checked=True)
        except RebalancerError:
            return None


def _continue(
    portfolio: ManagedPortfolio, kept: KeptHistory | None, ledger: Ledger, market: PriceHistory
) -> HistorySnapshot | None:
    """Return the snapshot of a portfolio with its later entries; None if all are needed."""
    if kept is None or kept.snapshot.currency != portfolio.mandate.currency.code:
        return None
    try:
        later = ledger.since(kept.mark)
        return None if later is None else kept.snapshot.continued(later, market)
    except RebalancerError:  # which all entries explain
        return None


def find_mark(ledger: Ledger) -> LedgerMark | None:
    """Return the end of a ledger; None if it is not known without all entries."""
    try:
        return ledger.mark
    except RebalancerError:  # a ledger without checkpoints, while others are read
        return None


def _version(portfolio: ManagedPortfolio) -> tuple[int, datetime]:
    return portfolio.version, portfolio.changed
