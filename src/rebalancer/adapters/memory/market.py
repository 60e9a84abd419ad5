"""Market data in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from threading import Lock
from typing import Any

import attrs
from numpy.typing import NDArray

from rebalancer.application.history_provider import HistoryProvider
from rebalancer.application.ports.market import Revised, no_progress
from rebalancer.domain.market.actions import Actions, CorporateAction
from rebalancer.domain.market.bars import BAR_FIELDS, Bars, join_years, merge_year, split_by_year
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.quality import Verdict
from rebalancer.domain.market.sessions import Sessions


@attrs.frozen(slots=False)
class MemoryPrices(HistoryProvider):
    """Price source over a given history."""

    history: PriceHistory

    def read(self) -> PriceHistory:
        return self.history


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


class MemoryMarket:
    """See `MarketStore`; its contents end with the process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._years: dict[tuple[str, int], Bars] = {}
        self._instruments = Instruments()
        self._actions: dict[object, CorporateAction] = {}
        self._verdicts: dict[object, Verdict] = {}
        self._revisions = {"bars": 0, "actions": 0, "instruments": 0, "verdicts": 0}

    def prepare(self) -> None:
        """See `MarketStore.prepare`."""

    def revision(self, of: Revised) -> str:
        return str(self._revisions[of])

    def save_bars(
        self,
        bars: Sequence[Bars],
        *,
        known: datetime | None = None,
        source: str = "",
        progress: Callable[[int], None] = no_progress,
    ) -> int:
        total = 0
        with self._lock:
            for key, given in split_by_year(bars).items():
                self._years[key], changed = merge_year(self._years.get(key), given)
                total += changed
            self._revisions["bars"] += total > 0
        progress(len(bars))
        return total

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
        changed = 0
        with self._lock:
            for action in actions:
                changed += self._actions.get(action.key) != action
                self._actions[action.key] = action
            self._revisions["actions"] += changed > 0
        return changed

    def actions(self, *, known_by: datetime | None = None) -> Actions:
        return Actions.of(self._actions.values())

    def save_verdicts(self, verdicts: Iterable[Verdict]) -> int:
        changed = 0
        with self._lock:
            for verdict in verdicts:
                changed += self._verdicts.get(verdict.key) != verdict
                self._verdicts[verdict.key] = verdict
            self._revisions["verdicts"] += changed > 0
        return changed

    def verdicts(self) -> tuple[Verdict, ...]:
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
            years = sorted(self._years.items())
        parts: dict[str, list[Mapping[str, NDArray[Any]]]] = {}
        for (symbol, _), bars in years:
            columns = bars.columns()
            wanted = {name: columns[name] for name in ("days", *fields) if name in columns}
            parts.setdefault(symbol, []).append(wanted)
        return join_years(parts)

    def instruments(self) -> Instruments:
        return self._instruments
