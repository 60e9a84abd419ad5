"""Market data of a store as a source of prices: cached, and cut into windows."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from threading import Lock

from rebalancer.application.garbage_collection import rare_garbage_collection
from rebalancer.application.history_provider import GivenHistory, warn_of_unknown
from rebalancer.application.ports.market import (
    Calendars,
    MarketStore,
    PriceCache,
    PriceSource,
    RateSource,
    Revised,
    SharedHistories,
    no_progress,
)
from rebalancer.application.revision_cache import CHECK_INTERVAL, RevisionCache
from rebalancer.domain.errors import Unavailable
from rebalancer.domain.market.actions import CorporateAction, inherit_instruments
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot, columns_of_bars
from rebalancer.domain.market.close_columns import CloseColumns, join_closes
from rebalancer.domain.market.currencies import NO_RATES
from rebalancer.domain.market.history_tables import OpenTables, TablesInMemory
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable
from rebalancer.domain.market.quality import Decisions, Finding, Verdict

_ASSETS_PER_READ = 500

_REVISED: tuple[Revised, ...] = ("bars", "actions", "instruments", "verdicts")
"""Kinds of stored data that a history follows from."""

log = logging.getLogger("rebalancer.market.withheld")


_Window = tuple[tuple[str, ...] | None, int | None, date | None]
"""Assets, days and last day of a window."""


class StoredMarket:
    """Market store as a `PriceSource` and `InstrumentSource`.

    All closes are held in memory, so that every window is a slice of one history. The same call
    returns the same object until the data change; changes by other processes are seen after
    ``check_interval`` seconds. The log states which assets are withheld, and why. While the store
    is down, the last prices are served.

    Args:
        store: Where market data are stored.
        cache: Shares snapshots among the processes of all hosts; None without one.
        shared: Shares histories among the processes of this host; None without one.
        accepted: Symbols whose jumps are true, see `rebalancer.domain.market.close_quality`.
        currency: ISO 4217 code of assets whose currency is not stated.
        rates: Exchange rates for currencies that the store's rates do not connect.
        calendars: Sessions of the instruments' markets; None: weekdays count.
        check_interval: Seconds, see `RevisionCache`.
        windows: Most windows that are remembered.
        window_bytes: Most bytes of remembered windows that are copies.
        clock: Seconds of any origin.
        today: Day in UTC; closes of days to come are not used before.
    """

    def __init__(
        self,
        store: MarketStore,
        cache: PriceCache | None = None,
        shared: SharedHistories | None = None,
        *,
        accepted: Collection[str] = (),
        currency: str = "USD",
        rates: RateSource | None = None,
        calendars: Calendars | None = None,
        check_interval: float = CHECK_INTERVAL,
        windows: int = 32,
        window_bytes: int = 128_000_000,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self.store = store
        self._today, self._has_later = today, False
        self._cache, self._shared = cache, shared
        self._accepted = frozenset(accepted)
        self._currency, self._rates, self._calendars = currency, rates, calendars
        self._histories = RevisionCache(
            "prices",
            self._read_history,
            self._revision,
            check_interval=check_interval,
            clock=clock,
        )
        self._instruments = RevisionCache(
            "instruments",
            lambda _: inherit_instruments(store.instruments(), store.actions()),
            lambda: store.revision("instruments", "actions"),
            check_interval=check_interval,
            clock=clock,
        )
        self._lock = Lock()
        self._max_windows, self._max_bytes = windows, window_bytes
        self._windows: OrderedDict[_Window, PriceHistory] = OrderedDict()
        self._windows_of: PriceHistory | None = None

    def prepare(self) -> None:
        """See `MarketStore.prepare`."""
        self.store.prepare()

    def check(self) -> None:
        """Check that the snapshot is the current one.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago.
            InvalidRequest: the stored data are invalid.
        """
        self._histories.check()

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`; sorted."""
        history = self.history()
        return () if history is None else history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        history = self.history()
        if history is None:
            raise PricesUnavailable("no prices are imported yet", code="prices_not_imported")
        key = (None if symbols is None else tuple(symbols), days, until)
        with self._lock:
            if self._windows_of is not history:
                self._windows_of = history
                self._windows.clear()
            window = self._windows.get(key)
            if window is None:
                window = history.window(symbols, days=days, until=until)
                self._windows[key] = window
                while len(self._windows) > 1 and self._is_full():
                    self._windows.popitem(last=False)
            else:
                self._windows.move_to_end(key)
            return window

    def _is_full(self) -> bool:
        """Whether too many windows are remembered; those of all assets are slices, not copies."""
        if len(self._windows) > self._max_windows:
            return True
        copies = (one for (symbols, *_), one in self._windows.items() if symbols is not None)
        return sum(one.nbytes for one in copies) > self._max_bytes

    def known_by(self, time: datetime) -> PriceSource:
        """Return the prices as they were known at a time: what a proposal of that time saw.

        Bars and corporate actions that became known later are left out, and corrected ones have
        their earlier figures. Instruments, rates and sessions are the current ones.

        Raises:
            PricesUnavailable: the store did not answer, or had no prices then.
        """
        try:
            history = self._read_snapshot(time).history(self._terms(time))
        except Unavailable as error:
            raise PricesUnavailable(error.message) from error.__cause__
        if history is None:
            raise PricesUnavailable(
                f"no prices were known by {time:%Y-%m-%d %H:%M}; choose a later time",
                code="no_prices_known",
            )
        return GivenHistory(history)

    def withheld(self) -> Mapping[str, str]:
        """Return why assets are withheld, by symbol.

        Raises:
            PricesUnavailable: the store did not answer.
        """
        history = self.history()
        return {} if history is None else history.withheld

    def findings(self) -> tuple[Finding, ...]:
        """Return what the check of the closes found.

        Raises:
            PricesUnavailable: the store did not answer.
        """
        history = self.history()
        return () if history is None else history.findings

    def instruments(self) -> Instruments:
        """See `InstrumentSource.instruments`; renamed assets have both symbols."""
        return self._instruments.get()

    def save_bars(
        self,
        bars: Sequence[Bars],
        *,
        known: datetime | None = None,
        source: str = "",
        progress: Callable[[int], None] = no_progress,
    ) -> int:
        """See `MarketStore.save_bars`."""
        try:
            return self.store.save_bars(bars, known=known, source=source, progress=progress)
        finally:
            self._histories.invalidate()

    def save_actions(
        self, actions: Iterable[CorporateAction], *, known: datetime | None = None, source: str = ""
    ) -> int:
        """See `MarketStore.save_actions`."""
        try:
            return self.store.save_actions(actions, known=known, source=source)
        finally:
            self._instruments.invalidate()
            self._histories.invalidate()

    def verdicts(self) -> tuple[Verdict, ...]:
        """See `MarketStore.verdicts`."""
        return self.store.verdicts()

    def save_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        """See `MarketStore.save_verdicts`."""
        try:
            return self.store.save_verdicts(verdicts)
        finally:
            self._histories.invalidate()

    def save_instruments(self, instruments: Instruments) -> int:
        """See `MarketStore.save_instruments`."""
        try:
            return self.store.save_instruments(instruments)
        finally:
            self._instruments.invalidate()
            self._histories.invalidate()

    def history(self) -> PriceHistory | None:
        """Return all prices; None if none are stored.

        Raises:
            PricesUnavailable: the store did not answer.
        """
        try:
            return self._histories.get()
        except PricesUnavailable:
            raise
        except Unavailable as error:
            raise PricesUnavailable(error.message) from error.__cause__

    def _revision(self) -> str:
        """Return the revision of everything that a history follows from."""
        stored = self.store.revision(*_REVISED)
        return f"{stored} {self._today()}" if self._has_later else stored

    def _read_history(self, revision: str) -> PriceHistory | None:
        terms = self._terms()

        stored = revision.split(" ")[: len(_REVISED)]

        def build(open_tables: OpenTables) -> PriceHistory | None:
            key = " ".join(stored[:2])  # bars and actions make a snapshot
            read = self._read_snapshot
            with rare_garbage_collection():
                snapshot = read() if self._cache is None else self._cache.get(key, read)
                self._has_later = terms.first_after_latest(snapshot.days) is not None
                history = snapshot.history(terms, open_tables)
            del snapshot  # its memory is needed no more
            if history is not None:
                history.withheld  # noqa: B018  # once for all processes, as it reads every asset
            return history

        if self._shared is None:
            history = build(TablesInMemory)
        else:
            key = f"{' '.join(stored)} {terms.digest}"
            history = self._shared.get(key, build)
            hidden = None if history is None else history.hidden_from
            if hidden is not None and terms.latest is not None and hidden <= terms.latest:
                history = self._shared.get(f"{key} {terms.latest}", build)  # its day has come
        if history is not None:
            self._has_later = history.hidden_from is not None
            warn_of_unknown(self._accepted, history.symbols)
        for symbol, reason in ({} if history is None else history.withheld).items():
            log.warning("%s is withheld: %s", symbol, reason)
        return history

    def _read_snapshot(self, known_by: datetime | None = None) -> MarketSnapshot:
        """Read all closes, some assets at a time so that memory stays small."""
        store = self.store
        symbols = store.symbols()

        def part(some: Sequence[str]) -> CloseColumns:
            if known_by is None:
                return store.closes(some)
            bars = store.bars(["close"], symbols=some, known_by=known_by)
            return columns_of_bars(bars.values())

        parts = (
            part(symbols[start : start + _ASSETS_PER_READ])
            for start in range(0, len(symbols), _ASSETS_PER_READ)
        )
        table = join_closes(parts, capacity=len(symbols))
        return MarketSnapshot.of_table(table, store.actions(known_by=known_by))

    def _terms(self, known_by: datetime | None = None) -> PricingTerms:
        """Return what turns stored closes into prices of shares, at present or at a time."""
        instruments = self.store.instruments()
        return PricingTerms(
            self._currency,
            instruments,
            NO_RATES if self._rates is None else self._rates.rates(),
            self._accepted,
            {} if self._calendars is None else self._calendars.sessions(instruments.markets),
            decisions=Decisions.of(self.store.verdicts(), known_by=known_by),
            latest=(self._today() if known_by is None else known_by.date()) + timedelta(days=1),
        )
