"""Metrics in files that all processes of a server write, and one of them reads.

prometheus_client maps a file of each process into memory. The folder of these files must be in the
environment before the library is first imported, see `open_endpoint`.
"""

from __future__ import annotations

from typing import Any

import prometheus_client

from rebalancer.application.metrics import CATALOG
from rebalancer.application.ports.telemetry import Counter, Gauge, Histogram, Metric


class PrometheusMetrics:
    """Records measurements of this process; a process needs one instance, which threads share."""

    def __init__(self) -> None:
        """Create the metrics of the catalogue."""
        self._collectors = {metric.name: _collector(metric) for metric in CATALOG}
        self._series: dict[tuple[str, ...], Any] = {}  # `labels` would take longer than to count

    def add(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        self._find(counter, labels).inc(amount)

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        self._find(gauge, labels).set(value)

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        self._find(histogram, labels).observe(value)

    def _find(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        key = (metric.name, *labels)
        found = self._series.get(key)
        if found is None:
            collector = self._collectors[metric.name]
            found = self._series[key] = collector.labels(*labels) if metric.labels else collector
        return found


def _collector(metric: Metric) -> Any:
    """Return the library's metric, in no registry: the endpoint reads files."""
    options: dict[str, Any] = {"labelnames": metric.labels, "registry": None}
    if isinstance(metric, Histogram):
        return prometheus_client.Histogram(
            metric.name, metric.text, buckets=metric.bounds, **options
        )
    if isinstance(metric, Gauge):
        mode: Any = "livesum" if metric.summed else "livemostrecent"
        return prometheus_client.Gauge(metric.name, metric.text, multiprocess_mode=mode, **options)
    return prometheus_client.Counter(metric.name, metric.text, **options)
