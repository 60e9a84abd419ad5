"""Prices that we keep ourselves, as a source of them: read once, and again when they change."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date
from threading import Lock
from typing import TypeVar

from rebalancer.application.ports.market import PriceCache
from rebalancer.application.revision_cache import CHECK_INTERVAL, RevisionCache
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable

T = TypeVar("T")

log = logging.getLogger("rebalancer.market")

_REMEMBERED = 32
"""Windows that a source remembers; of a large market one takes some 10 MB."""


class StoredPrices:
    """See `PriceSource`: over every asset that is kept, by symbol.

    The whole market is held in memory, so that every window is a slice of the same history; the
    same call gives the same object for as long as nothing changes. Assets whose closes have a gap
    of more than 5 rows are not on offer, and the log says so. While the store is away, what is
    known serves on.

    Args:
        read: Reads the bars of all assets; closes suffice.
        revision: See `RevisionCache`.
        cache: Where others may have put what they read; None: nowhere.
        patience: See `RevisionCache`; so is the next.
        clock: See there.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Bars]],
        revision: Callable[[], str],
        *,
        cache: PriceCache | None = None,
        patience: float = CHECK_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def offer() -> MarketSnapshot:
            return MarketSnapshot.of(read())

        def found(revision: str) -> MarketSnapshot:
            found = offer() if cache is None else cache.get(revision, offer)
            for symbol, why in found.withheld.items():
                log.warning("%s is not on offer: %s", symbol, why)
            return found

        self._offer = RevisionCache("prices", found, revision, patience=patience, clock=clock)
        self._lock = Lock()
        self._windows: OrderedDict[Hashable, PriceHistory] = OrderedDict()
        self._windows_of: MarketSnapshot | None = None

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

    def _now(self) -> MarketSnapshot:
        try:
            return self._offer()
        except PricesUnavailable:
            raise
        except Unavailable as error:
            raise PricesUnavailable(*error.args) from error.__cause__


def _window(
    offer: MarketSnapshot, symbols: tuple[str, ...] | None, days: int | None, until: date | None
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


def _why(symbol: str, offer: MarketSnapshot) -> str:
    return f"{symbol}: {offer.withheld.get(symbol, 'unknown, there are no prices of it')}"
