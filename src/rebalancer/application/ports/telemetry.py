"""Ports of telemetry: metrics, which count and time, and traces, which follow one request."""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen
class Metric:
    """A measured quantity; each combination of label values is a series of its own.

    Label values come from small fixed sets, such as routes or kinds of jobs: never from ids, paths
    or other texts of clients, or the number of series would grow without bound.

    Attributes:
        name: Unique name, with the unit at its end.
        text: What it measures, as a sentence.
        labels: Names of its labels.
    """

    name: str
    text: str
    labels: tuple[str, ...] = ()


@attrs.frozen
class Counter(Metric):
    """A number of events, which only grows."""


@attrs.frozen
class Gauge(Metric):
    """A current value.

    Attributes:
        summed: Whether the values of all processes add up; otherwise the latest one counts, of a
            quantity that all processes observe alike.
    """

    summed: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Histogram(Metric):
    """A distribution of observed values.

    Attributes:
        bounds: Upper bounds of its buckets, ascending; values beyond the last one count, too.
    """

    bounds: tuple[float, ...] = attrs.field(kw_only=True)


class Metrics(Protocol):
    """Records measurements of this process; thread-safe, and it never raises for a known metric.

    Label values are given in the order of `Metric.labels`.
    """

    def add(self, counter: Counter, *labels: str, amount: float = 1.0) -> None:
        """Count events of a series."""

    def set(self, gauge: Gauge, value: float, *labels: str) -> None:
        """Set the current value of a series."""

    def observe(self, histogram: Histogram, value: float, *labels: str) -> None:
        """Add a value to the distribution of a series."""
