"""Telemetry that is switched off."""

from __future__ import annotations

from rebalancer.application.ports.telemetry import Counter, Gauge, Histogram


class NoMetrics:
    """Discards all measurements."""

    def add(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        """See `Metrics.add`."""

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        """See `Metrics.set`."""

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """See `Metrics.observe`."""
