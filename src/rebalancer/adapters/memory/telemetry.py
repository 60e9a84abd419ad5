"""Metrics in memory, for tests."""

from __future__ import annotations

from threading import Lock

import attrs

from rebalancer.application.ports.telemetry import Counter, Gauge, Histogram

Series = tuple[str, ...]
"""Name of a metric, followed by its label values."""


@attrs.define(eq=False)
class MemoryMetrics:
    """Stores measurements by series; histograms store all values."""

    values: dict[Series, float] = attrs.field(factory=dict, init=False)
    observed: dict[Series, list[float]] = attrs.field(factory=dict, init=False)
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def add(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        with self._lock:
            series = (counter.name, *labels)
            self.values[series] = self.values.get(series, 0.0) + amount

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        with self._lock:
            self.values[gauge.name, *labels] = value

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        with self._lock:
            self.observed.setdefault((histogram.name, *labels), []).append(value)
