"""Market data in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime, tzinfo
from threading import Lock

import attrs
import numpy as np

from rebalancer.application.history_provider import GivenHistory
from rebalancer.application.ports.market import Revised, no_progress
from rebalancer.domain.arrays import Dates
from rebalancer.domain.market.actions import Actions, CorporateAction, correct_action, is_known
from rebalancer.domain.market.bar_years import (
    LATEST,
    BarYear,
    ReplacedBars,
    YearKey,
    bars_known_by,
    bars_since,
    correct_year,
    instant_of,
    years_to_correct,
)
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, columns_of_bars, split_by_year
from rebalancer.domain.market.close_columns import CloseColumns
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.quality import Verdict, VerdictKey, later_verdicts
from rebalancer.domain.market.sessions import Sessions

MemoryPrices = GivenHistory
"""Price source over a given history."""


@attrs.frozen
class MemoryInstruments:
    """Instrument source over a given list."""

    listed: Instruments

    def instruments(self) -> Instruments:
        return self.listed


@attrs.frozen
class MemoryCalendars:
    """See `Calendars`; over given sessions."""

    known: Sessions

    def sessions(self, markets: Collection[str]) -> Sessions:
        return {market: self.known[market] for market in markets if market in self.known}

    def closing_times(self, market: str) -> Dates | None:
        """Every session ends at 21:00 UTC."""
        days = self.known.get(market)
        if days is None:
            return None
        ends: Dates = np.array(days, dtype="datetime64[s]")
        ends += np.timedelta64(21, "h")
        return ends

    def opening_times(self, market: str) -> Dates | None:
        """Every session begins 6 hours before its end."""
        ends = self.closing_times(market)
        return None if ends is None else ends - np.timedelta64(6, "h")

    def time_zone(self, market: str) -> tzinfo:
        """Every market is in UTC."""
        return UTC


class MemoryMarket:
    """See `MarketStore`; its contents end with the process.

    Args:
        now: Clock for figures without a known time.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._lock = Lock()
        self._years: dict[YearKey, BarYear] = {}
        self._replaced: list[ReplacedBars] = []
        self._instruments = Instruments()
        self._actions: list[CorporateAction] = []
        self._verdicts: dict[VerdictKey, Verdict] = {}
        self._revisions = {"bars": 0, "actions": 0, "instruments": 0, "verdicts": 0}

    def prepare(self) -> None:
        """See `MarketStore.prepare`."""

    def revision(self, *of: Revised) -> str:
        return " ".join(str(self._revisions[kind]) for kind in of)

    def save_bars(
        self,
        bars: Sequence[Bars],
        *,
        known: datetime | None = None,
        source: str = "",
        progress: Callable[[int], None] = no_progress,
    ) -> int:
        total = 0
        given = split_by_year(bars)
        symbols = {symbol for symbol, _ in given}
        with self._lock:
            instant = instant_of(known or self._now())
            stored = {
                key: year.bars.adjusted for key, year in self._years.items() if key[0] in symbols
            }
            for key, year in years_to_correct(given, stored).items():
                found = correct_year(self._years.get(key), year, instant, source)
                self._years[key] = found.year
                self._replaced += [] if found.replaced is None else [found.replaced]
                total += found.changed
            self._revisions["bars"] += total > 0
        progress(len(bars))
        return total

    def symbols(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(sorted({symbol for (symbol, _), year in self._years.items() if len(year)}))

    def years(self, symbol: str, *, since: date | None = None) -> tuple[BarYear, ...]:
        first = 0 if since is None else since.year
        with self._lock:
            own = {key: year for key, year in self._years.items() if key[0] == symbol}
        return tuple(own[key] for key in sorted(own) if key[1] >= first and len(own[key]))

    def save_instruments(self, instruments: Instruments) -> int:
        with self._lock:
            stored = self._instruments.by_symbol
            changed = sum(stored.get(one.symbol) != one for one in instruments)
            self._instruments = Instruments({**stored, **instruments.by_symbol})
            self._revisions["instruments"] += changed > 0
        return changed

    def save_actions(
        self, actions: Iterable[CorporateAction], *, known: datetime | None = None, source: str = ""
    ) -> int:
        with self._lock:
            stored = {one.key: one for one in self._actions}
            given = {one.key: one for one in actions}
            changed = [
                found
                for key, one in given.items()
                if (found := correct_action(stored.get(key), one, known or self._now(), source))
            ]
            self._actions += changed
            self._revisions["actions"] += len(changed) > 0
        return len(changed)

    def actions(self, *, known_by: datetime | None = None) -> Actions:
        with self._lock:
            stored = list(self._actions)
        return Actions.of(one for one in stored if is_known(one, known_by))

    def save_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        with self._lock:
            changed = later_verdicts(self._verdicts, verdicts)
            self._verdicts |= changed
            self._revisions["verdicts"] += len(changed) > 0
        return len(changed)

    def verdicts(self) -> tuple[Verdict, ...]:
        with self._lock:
            return tuple(sorted(self._verdicts.values(), key=lambda one: one.key))

    def bars(
        self,
        fields: Sequence[str] = BAR_FIELDS,
        *,
        symbols: Collection[str] | None = None,
        since: date | None = None,
        known_by: datetime | None = None,
    ) -> dict[str, Bars]:
        with self._lock:
            years, replaced = list(self._years.values()), list(self._replaced)
        if symbols is not None:
            years = [one for one in years if one.bars.symbol in symbols]
            replaced = [one for one in replaced if one.figures.bars.symbol in symbols]
        if known_by is None:
            found = bars_known_by(years, [], LATEST)
        else:
            found = bars_known_by(years, replaced, instant_of(known_by))
        limited = {symbol: one.with_fields(fields) for symbol, one in found.items()}
        return bars_since(limited, since)

    def closes(self, symbols: Collection[str]) -> CloseColumns:
        return columns_of_bars(self.bars(["close"], symbols=symbols).values())

    def instruments(self) -> Instruments:
        return self._instruments
