"""Ports of telemetry: metrics, which count and time, and traces, which follow one request."""

from __future__ import annotations

from contextlib import AbstractContextManager
from enum import StrEnum
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
            quantity that is the same in all processes.
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


class SpanKind(StrEnum):
    """Role of a span in its trace."""

    SERVER = "server"
    CONSUMER = "consumer"
    CLIENT = "client"


class Span(Protocol):
    """An operation of a trace, while it runs."""

    def rename(self, name: str) -> None:
        """Replace the name, which comes from a small fixed set like the labels of metrics."""

    def note(self, name: str, value: str | int) -> None:
        """Set an attribute; never a personal text or a secret."""

    def fail(self, reason: str) -> None:
        """Mark the operation as failed; an exception that leaves the block does so by itself."""


class Tracer(Protocol):
    """Records what is done for a request, step by step, in all processes.

    A span belongs to the current trace, see `current_trace`, and becomes the current one in its
    block. Only spans of sampled traces are recorded; those of others cost next to nothing.
    """

    def samples(self) -> bool:
        """Decide whether to record a new trace."""

    def span(self, name: str, kind: SpanKind) -> AbstractContextManager[Span]:
        """Run a block as an operation of the current trace."""

    def flush(self) -> None:
        """Send what was recorded, unless that takes more than a few seconds."""
