"""Market data of a store as a source of prices: cached, and cut into windows."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date
from threading import Lock

from rebalancer.application.ports.market import MarketStore, PriceCache, no_progress
from rebalancer.application.revision_cache import CHECK_INTERVAL, RevisionCache
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable
from rebalancer.domain.market.symbols import hint_at

log = logging.getLogger("rebalancer.market")


class StoredMarket:
    """Market store as a `PriceSource` and `InstrumentSource`.

    All closes are held in memory, so that every window is a slice of one history. The same call
    returns the same object until the data change; changes by other processes are seen after
    ``check_interval`` seconds. Assets with a gap of more than 5 rows are withheld, and the log
    states why. While the store is down, the last snapshot is served.

    Args:
        store: Where market data are stored.
        cache: Shares snapshots among processes; None without one.
        check_interval: Seconds, see `RevisionCache`.
        windows: Most windows that are remembered; one of a large market takes about 10 MB.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: MarketStore,
        cache: PriceCache | None = None,
        *,
        check_interval: float = CHECK_INTERVAL,
        windows: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self._shared = cache
        self._snapshots = RevisionCache(
            "prices",
            self._read_snapshot,
            lambda: store.revision("bars"),
            check_interval=check_interval,
            clock=clock,
        )
        self._instruments = RevisionCache(
            "instruments",
            lambda _: store.instruments(),
            lambda: store.revision("instruments"),
            check_interval=check_interval,
            clock=clock,
        )
        self._lock = Lock()
        self._max_windows = windows
        self._windows: OrderedDict[Hashable, PriceHistory] = OrderedDict()
        self._windows_of: MarketSnapshot | None = None

    def prepare(self) -> None:
        """See `MarketStore.prepare`."""
        self.store.prepare()

    def check(self) -> None:
        """Check that the snapshot is the current one.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago.
            InvalidRequest: the stored data are invalid.
        """
        self._snapshots.check()

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`; sorted."""
        history = self._snapshot().history
        return () if history is None else history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`; a withheld asset is refused with its reason."""
        snapshot = self._snapshot()
        key = (None if symbols is None else tuple(symbols), days, until)
        with self._lock:
            if self._windows_of is not snapshot:
                self._windows_of = snapshot
                self._windows.clear()
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = _cut_window(snapshot, *key)
                if len(self._windows) > self._max_windows:
                    self._windows.popitem(last=False)
            else:
                self._windows.move_to_end(key)
            return window

    def withheld(self) -> Mapping[str, str]:
        """Return why assets are withheld, by symbol.

        Raises:
            PricesUnavailable: the store did not answer.
        """
        return self._snapshot().withheld

    def instruments(self) -> Instruments:
        """See `InstrumentSource.instruments`."""
        return self._instruments.get()

    def save_bars(
        self, bars: Sequence[Bars], *, progress: Callable[[int], None] = no_progress
    ) -> int:
        """See `MarketStore.save_bars`."""
        try:
            return self.store.save_bars(bars, progress=progress)
        finally:
            self._snapshots.invalidate()

    def save_instruments(self, instruments: Instruments) -> int:
        """See `MarketStore.save_instruments`."""
        try:
            return self.store.save_instruments(instruments)
        finally:
            self._instruments.invalidate()

    def _snapshot(self) -> MarketSnapshot:
        try:
            return self._snapshots.get()
        except PricesUnavailable:
            raise
        except Unavailable as error:
            raise PricesUnavailable(error.message) from error.__cause__

    def _read_snapshot(self, revision: str) -> MarketSnapshot:
        def read() -> MarketSnapshot:
            return MarketSnapshot.of(self.store.bars(["close"]).values())

        snapshot = read() if self._shared is None else self._shared.get(revision, read)
        for symbol, reason in snapshot.withheld.items():
            log.warning("%s is withheld: %s", symbol, reason)
        return snapshot


def _cut_window(
    snapshot: MarketSnapshot, symbols: tuple[str, ...] | None, days: int | None, until: date | None
) -> PriceHistory:
    history, withheld = snapshot.history, snapshot.withheld
    if history is None and not withheld:
        raise PricesUnavailable("no prices are imported yet", code="prices_not_imported")
    columns = {} if history is None else history.columns
    missing = [symbol for symbol in symbols or () if symbol not in columns]
    asks_withheld = symbols is not None and any(symbol in withheld for symbol in missing)
    if asks_withheld or history is None:
        named = missing if asks_withheld else list(withheld)
        reasons = "; ".join(
            f"{symbol}: {withheld.get(symbol) or _unknown(symbol, columns)}"
            for symbol in dict.fromkeys(named)
        )
        raise InvalidRequest(
            f"{reasons}; import the missing prices", field="prices", code="prices_withheld"
        )
    return history.window(symbols, days=days, until=until)


def _unknown(symbol: str, known: Iterable[str]) -> str:
    return f"unknown symbol, no price data{hint_at([symbol], known)}"
