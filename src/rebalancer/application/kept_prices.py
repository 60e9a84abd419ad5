"""Prices that we keep ourselves, as a source of them: read once, and again when they change."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import date
from threading import Lock
from typing import Generic, TypeVar

from rebalancer.application.ports.market import PricesUnavailable
from rebalancer.domain.errors import InvalidRequest, Unavailable
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

    Whether it has is asked at most once in a while, by one thread for all. A store that did not
    answer is not asked again in that while either: whoever waited for it meanwhile waits no more.

    Args:
        read: Reads it.
        revision: Tells its revision, which grows with every change, *after* the change.
        patience: Seconds, see `PATIENCE`.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        read: Callable[[], T],
        revision: Callable[[], Hashable],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._revision = read, revision
        self._patience, self._clock = patience, clock
        self._lock = Lock()
        self._asked: float | None = None
        self._known: tuple[Hashable, T] | None = None
        self._failed: Unavailable | None = None

    def __call__(self) -> T:
        """What it is now.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago.
        """
        with self._lock:
            if self._asked is None or self._clock() - self._asked >= self._patience:
                try:
                    revision = self._revision()  # before the reading, which may see more, not less
                    if self._known is None or self._known[0] != revision:
                        self._known = revision, self._read()
                    self._failed = None
                except Unavailable as error:
                    self._failed = error
                self._asked = self._clock()
            if self._failed is not None:
                raise type(self._failed)(*self._failed.args)
            assert self._known is not None
            return self._known[1]

    def ask_again(self) -> None:
        """Something has changed, as whoever calls knows."""
        with self._lock:
            self._asked = None


class KeptPrices:
    """See `PriceSource`: over every asset that is kept, by symbol.

    The whole market is held in memory, so that every window is a slice of the same history; the
    same call gives the same object for as long as nothing changes. Assets whose closes have a gap
    of more than 5 rows are not on offer, and the log says so.

    Args:
        read: Reads the bars of all assets; closes suffice.
        revision: See `Remembered`; so are the next.
        patience: See there.
        clock: See there.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Bars]],
        revision: Callable[[], Hashable],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def offer() -> Offer:
            made = Offer.of(read())
            for symbol, why in made.withheld.items():
                log.warning("%s is not on offer: %s", symbol, why)
            return made

        self._offer = Remembered(offer, revision, patience=patience, clock=clock)
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

    def ask_again(self) -> None:
        """Prices were kept a moment ago."""
        self._offer.ask_again()

    def _now(self) -> Offer:
        try:
            return self._offer()
        except PricesUnavailable:
            raise
        except Unavailable as error:
            raise PricesUnavailable(*error.args) from None


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
