"""Prices that we keep ourselves, as a source of them: read once, and again when they change."""

from __future__ import annotations

import copy
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date
from threading import Condition, Lock
from typing import Generic, TypeVar

from rebalancer.application.ports.market import PriceCache, PricesUnavailable
from rebalancer.domain.errors import InvalidRequest, RebalancerError, Unavailable
from rebalancer.domain.market.bars import Bars, Offer
from rebalancer.domain.market.prices import PriceHistory

T = TypeVar("T")

log = logging.getLogger("rebalancer.market")

PATIENCE = 1.0
"""Seconds for which nobody asks whether anything has changed."""

_REMEMBERED = 32
"""Windows that a source remembers; of a large market one takes some 10 MB."""


class Remembered(Generic[T]):
    """Something that is read again when its revision has changed.

    Whether it has is asked at most once in a while, by one thread for all. Meanwhile others have
    what is known, or the failure of a moment ago; they wait only where neither is there yet, or for
    what somebody has just changed. So one thread at most waits for a store that does not answer,
    and what is known serves on until it does.

    Args:
        what: What it is called, in the plural.
        read: Reads it, as of a revision.
        revision: Tells its revision, which is another one after every change.
        patience: Seconds, see `PATIENCE`; after them a store that did not answer is asked again.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[str], T],
        revision: Callable[[], str],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._read, self._revision = read, revision
        self._patience, self._clock = patience, clock
        self._told = Condition()
        self._asking = False
        self._asked: float | None = None
        self._changes = 0
        """How often somebody has said that something has changed."""

        self._covered = 0
        """How many of these whoever asked last knew of."""

        self._known: tuple[str, T] | None = None
        self._failed: RebalancerError | None = None

    def __call__(self) -> T:
        """What it is now, or was when it could last be read.

        Raises:
            Unavailable: the store has not answered yet.
            InvalidRequest: what it has makes no sense, and has not yet.
        """
        with self._told:
            while self._asking and self._worth_waiting():
                self._told.wait()
            if self._asking or self._fresh():
                return self._answer()
            self._asking = True
            changes = self._changes
        found: tuple[str, T] | None = None
        failed: RebalancerError | None = None
        try:
            found = self._ask()
        except RebalancerError as error:
            failed = error
        finally:  # others go on in any case
            with self._told:
                self._asking = False
                self._note(found, failed, changes)
                self._told.notify_all()
        with self._told:
            return self._answer()

    def ask_again(self) -> None:
        """Something has changed, as whoever calls knows."""
        with self._told:
            self._changes += 1

    def check(self) -> None:
        """See that what is known is what there is.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago.
            InvalidRequest: what it has makes no sense.
        """
        self()
        with self._told:
            if self._failed is not None:
                raise _again(self._failed)

    def _ask(self) -> tuple[str, T]:
        revision = self._revision()  # before the reading, which may see more, not less
        if self._known is not None and self._known[0] == revision:
            return self._known
        return revision, self._read(revision)

    def _note(
        self, found: tuple[str, T] | None, failed: RebalancerError | None, changes: int
    ) -> None:
        if found is not None:
            if self._failed is not None and self._known is not None:
                log.warning("%s can be read again", self._what)
            self._known = found
        elif failed is None:
            return  # a bug, which whoever asked meets; the next one asks again
        elif self._failed is None and self._known is not None:
            log.warning("%s cannot be read, those known serve on: %s", self._what, failed)
        self._failed, self._asked, self._covered = failed, self._clock(), changes

    def _worth_waiting(self) -> bool:
        nothing = self._known is None and self._failed is None
        return nothing or self._covered < self._changes

    def _fresh(self) -> bool:
        if self._asked is None or self._covered < self._changes:
            return False
        return self._clock() - self._asked < self._patience

    def _answer(self) -> T:
        if self._known is not None:
            return self._known[1]
        assert self._failed is not None
        raise _again(self._failed)


def _again(failed: RebalancerError) -> RebalancerError:
    """The same failure, for another thread to raise."""
    again = copy.copy(failed)
    again.__cause__ = failed.__cause__
    return again


class KeptPrices:
    """See `PriceSource`: over every asset that is kept, by symbol.

    The whole market is held in memory, so that every window is a slice of the same history; the
    same call gives the same object for as long as nothing changes. Assets whose closes have a gap
    of more than 5 rows are not on offer, and the log says so. While the store is away, what is
    known serves on.

    Args:
        read: Reads the bars of all assets; closes suffice.
        revision: See `Remembered`.
        cache: Where others may have put what they read; None: nowhere.
        patience: See `Remembered`; so is the next.
        clock: See there.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Bars]],
        revision: Callable[[], str],
        *,
        cache: PriceCache | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def offer() -> Offer:
            return Offer.of(read())

        def found(revision: str) -> Offer:
            found = offer() if cache is None else cache.get(revision, offer)
            for symbol, why in found.withheld.items():
                log.warning("%s is not on offer: %s", symbol, why)
            return found

        self._offer = Remembered("prices", found, revision, patience=patience, clock=clock)
        self._lock = Lock()
        self._windows: OrderedDict[Hashable, PriceHistory] = OrderedDict()
        self._windows_of: Offer | None = None

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        history = self._now().history
        return () if history is None else history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        offer = self._now()
        asked = (None if symbols is None else tuple(symbols), days, until)
        with self._lock:
            if self._windows_of is not offer:
                self._windows_of = offer
                self._windows.clear()
            known = self._windows.get(asked)
            if known is None:
                known = self._windows[asked] = _window(offer, *asked)
                if len(self._windows) > _REMEMBERED:
                    self._windows.popitem(last=False)
            else:
                self._windows.move_to_end(asked)
            return known

    def withheld(self) -> Mapping[str, str]:
        """See `MarketStore.withheld`."""
        return self._now().withheld

    def check(self) -> None:
        """See `MarketStore.check`."""
        self._offer.check()

    def ask_again(self) -> None:
        """Prices were kept a moment ago."""
        self._offer.ask_again()

    def _now(self) -> Offer:
        try:
            return self._offer()
        except PricesUnavailable:
            raise
        except Unavailable as error:
            raise PricesUnavailable(*error.args) from error.__cause__


def _window(
    offer: Offer, symbols: tuple[str, ...] | None, days: int | None, until: date | None
) -> PriceHistory:
    history = offer.history
    if history is None and not offer.withheld:
        raise PricesUnavailable(
            "no prices are kept yet: run `rebalancer market import --prices FILE`"
        )
    columns = {} if history is None else history.columns
    lacking = [symbol for symbol in symbols or () if symbol not in columns]
    named = symbols is not None and any(symbol in offer.withheld for symbol in lacking)
    if named or history is None:
        told = lacking if named else list(offer.withheld)
        reasons = "; ".join(_why(symbol, offer) for symbol in dict.fromkeys(told))
        raise InvalidRequest(f"{reasons}: import the missing prices", field="prices")
    return history.window(symbols, days=days, until=until)


def _why(symbol: str, offer: Offer) -> str:
    return f"{symbol}: {offer.withheld.get(symbol, 'unknown, there are no prices of it')}"
