"""Fundamentals and economic series in memory."""

from __future__ import annotations

from datetime import datetime
from threading import Lock

from rebalancer.application.ports.reference import StoredFacts, StoredSeries


class MemoryReference:
    """See `ReferenceStore`; its contents end with the process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._facts: dict[str, StoredFacts] = {}
        self._series: dict[str, StoredSeries] = {}

    def prepare(self) -> None:
        """See `ReferenceStore.prepare`."""

    def facts(self, symbol: str) -> StoredFacts | None:
        return self._facts.get(symbol)

    def save_facts(self, facts: StoredFacts) -> None:
        with self._lock:
            self._facts[facts.facts.symbol] = facts

    def series(self, id: str) -> StoredSeries | None:
        return self._series.get(id)

    def save_series(self, series: StoredSeries) -> StoredSeries:
        with self._lock:
            before = self._series.get(series.series.id)
            extended = series if before is None else before.extended_by(series)
            self._series[series.series.id] = extended
        return extended

    def facts_fetched(self) -> dict[str, datetime]:
        with self._lock:
            return {symbol: one.fetched for symbol, one in sorted(self._facts.items())}

    def series_fetched(self) -> dict[str, datetime]:
        with self._lock:
            return {id: one.fetched for id, one in sorted(self._series.items())}
