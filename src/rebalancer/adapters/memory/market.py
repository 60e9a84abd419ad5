"""Market data in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from threading import Lock
from typing import Any

import attrs
from numpy.typing import NDArray

from rebalancer.application.ports.market import no_progress
from rebalancer.application.revision_cache import CHECK_INTERVAL
from rebalancer.application.stored_market import StoredPrices
from rebalancer.domain.market.bars import Bars, join_years, split_by_year
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory


@attrs.frozen
class MemoryPrices:
    """A price history at hand, as a source of prices.

    Attributes:
        history: All that is on offer; a `PriceHistory` has no gaps left to fill.
    """

    history: PriceHistory

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return self.history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        return self.history.window(symbols, days=days, until=until)


@attrs.frozen
class MemoryInstruments:
    """A list of instruments at hand, as a source of them."""

    listed: Instruments

    def instruments(self) -> Instruments:
        """See `InstrumentSource.instruments`."""
        return self.listed


class MemoryMarket:
    """See `MarketStore`; what is in it ends with the process.

    Args:
        patience: See `Remembered`; so is the next.
        clock: See there.
    """

    def __init__(
        self, *, patience: float = CHECK_INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = Lock()
        self._years: dict[tuple[str, int], Bars] = {}
        self._listed = Instruments()
        self._revision = 0
        self._prices = StoredPrices(
            lambda: self.bars().values(),
            lambda: str(self._revision),
            patience=patience,
            clock=clock,
        )

    def prepare(self) -> None:
        """See `MarketStore.prepare`."""

    def check(self) -> None:
        """See `MarketStore.check`."""
        self._prices.check()

    def withheld(self) -> Mapping[str, str]:
        """See `MarketStore.withheld`."""
        return self._prices.withheld()

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return self._prices.symbols()

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        return self._prices.closes(symbols, days=days, until=until)

    def instruments(self) -> Instruments:
        """See `InstrumentSource.instruments`."""
        return self._listed

    def save_bars(
        self, bars: Sequence[Bars], *, progress: Callable[[int], None] = no_progress
    ) -> int:
        """See `MarketStore.save_bars`."""
        changed = 0
        with self._lock:
            for key, given in split_by_year(bars).items():
                known = self._years.get(key)
                year = given if known is None else known.merged_with(given)
                changed += year.count_changes_since(known)
                self._years[key] = year
            self._revision += changed > 0
        progress(len(bars))
        self._prices.ask_again()
        return changed

    def save_instruments(self, instruments: Instruments) -> int:
        """See `MarketStore.save_instruments`."""
        with self._lock:
            known = self._listed.by_symbol
            self._listed = Instruments({**known, **instruments.by_symbol})
            return sum(known.get(one.symbol) != one for one in instruments)

    def bars(
        self,
        symbols: Sequence[str] | None = None,
        *,
        first: date | None = None,
        last: date | None = None,
    ) -> dict[str, Bars]:
        """See `MarketStore.bars`."""
        with self._lock:
            years = sorted(self._years.items())
        parts: dict[str, list[dict[str, NDArray[Any]]]] = {}
        for (symbol, year), part in years:
            inside = (first is None or year >= first.year) and (last is None or year <= last.year)
            if inside and (symbols is None or symbol in symbols):
                parts.setdefault(symbol, []).append(part.columns())
        return join_years(parts, first, last)
